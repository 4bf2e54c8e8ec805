"""Traces on disk and scripted replays."""
