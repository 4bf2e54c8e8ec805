"""The app: the only user of Textual."""
