"""A laboratory that answers one question: who runs in which ring, and what does it cost."""

__version__ = "0.1.0"
