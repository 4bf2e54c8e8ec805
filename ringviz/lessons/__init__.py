"""Lessons, quizzes and progress."""
