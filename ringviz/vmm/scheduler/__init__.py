"""Scheduling algorithms: who runs next. They know names, weights and cycles, and nothing of machines."""
