"""Lets `python -m ringviz` do what the command `ringviz` does."""

import sys

from ringviz.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
