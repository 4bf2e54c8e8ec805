"""How a command ends: the exit codes, and the one line that stands for every error."""

import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum

import typer

from ringviz.cli.output import PipeClosedError, discard_stdout
from ringviz.errors import RingvizError

TRACEBACK_VARIABLE = "RINGVIZ_TRACEBACK"
"""Set to 1 in the environment, it shows the traceback of an internal error."""


class Exit(IntEnum):
    """Exit codes; scripts and graders build on them."""

    DONE = 0
    FAILED = 1
    """The command worked and what it checked does not hold."""
    BAD_INPUT = 2
    """One line on stderr says what is wrong with the input and what was expected."""
    INTERNAL = 70
    """An error of ringviz itself; the number is EX_SOFTWARE of BSD's sysexits."""
    INTERRUPTED = 130
    """Ctrl-C; 128 + SIGINT, as shells count."""
    PIPE_CLOSED = 141
    """Whoever read the output stopped reading (`| head`); 128 + SIGPIPE, as shells count."""


USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""What Typer raises for a wrong command line. It has no public name that all supported versions of Typer share."""


def guarded(command: Callable[[], int]) -> int:
    """Run a command and give its exit code, whatever happens in it; errors become one line on stderr."""
    try:
        code = command()
        sys.stdout.flush()
    except RingvizError as error:
        complain(str(error))
        return Exit.BAD_INPUT
    except USAGE_ERROR as error:
        complain(_usage_problem(error))
        return Exit.BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except (PipeClosedError, BrokenPipeError):
        discard_stdout()
        return Exit.PIPE_CLOSED
    except Exception as error:
        return _internal(error)
    return code


def complain(text: str) -> None:
    """Print one line on stderr, in the name of the program."""
    print(f"ringviz: {one_line(text)}", file=sys.stderr)


def one_line(text: str) -> str:
    """Give a text as one printable line: line ends become spaces, control characters are spelled out."""
    joined = " ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in joined)


def _usage_problem(error: Exception) -> str:
    """Say what is wrong with the command line, and how to see what would be right."""
    message = str(error.format_message() if hasattr(error, "format_message") else error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "ringviz"
    return f"{message.rstrip('.')}; see {command} --help"


def _internal(error: Exception) -> int:
    """Report an error of ringviz itself: one line, and the traceback only for those who ask."""
    if os.environ.get(TRACEBACK_VARIABLE) == "1":
        traceback.print_exception(error)
    complain(
        f"internal error: {type(error).__name__}: {error}; please report it, "
        f"with the traceback that {TRACEBACK_VARIABLE}=1 shows"
    )
    return Exit.INTERNAL
