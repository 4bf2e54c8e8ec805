"""What a VMM in ring 0 needs to run a guest kernel in ring 1: its own tables, and two views of one CPU."""
