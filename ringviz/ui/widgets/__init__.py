"""The panels: each renders one part of a snapshot and knows nothing else."""
