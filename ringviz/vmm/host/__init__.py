"""One machine with several virtual ones on it: its memory, its CPU's time, and who gets how much of both."""
