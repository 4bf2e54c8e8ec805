"""Virtual machines that are kept: their definitions, their disks, where each stands, and what can be done with them."""
