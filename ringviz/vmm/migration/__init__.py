"""Live migration: a machine moves from one host to another while its guest goes on running."""
