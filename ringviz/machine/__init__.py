"""The physical computer: the only user of Unicorn."""
