"""Lessons, quizzes and progress: words around runs of the engine, and never a figure of their own."""
