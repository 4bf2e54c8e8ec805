"""The command line: one file a command.

A command reads its arguments, calls the engine, and prints. What takes long to load (Unicorn, Textual) is imported
inside the command that needs it, so that `ringviz list` answers at once and no headless command loads the app.
"""
