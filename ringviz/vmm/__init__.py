"""The virtualization techniques, one file or folder each, none importing another."""
