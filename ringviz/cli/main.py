"""The program `ringviz`: which commands there are, and how each of them ends."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from ringviz import __version__
from ringviz.cli.exits import Exit, guarded
from ringviz.cli.output import prepare, print_lines

COMMANDS: Mapping[str, str] = {
    "run": "run:run",
    "list": "list:list_all",
    "cpus": "cpus:cpus",
    "controls": "controls:controls",
    "stat": "stat:stat",
    "compare": "compare:compare",
    "consolidate": "consolidate:consolidate",
    "migrate": "migrate:migrate",
    "whatif": "whatif:whatif",
    "chart": "chart:chart",
    "trace": "trace:trace",
    "diff": "diff:diff",
    "replay": "replay:replay",
    "lecture": "lecture:lecture",
    "notes": "notes:notes",
    "export": "export:export",
    "walk": "walk:walk",
    "learn": "learn:learn",
    "quiz": "quiz:quiz",
    "paper": "paper:paper",
    "check": "check:check",
    "build": "build:build",
    "serve": "serve:serve",
    "doctor": "doctor:doctor",
    "screenshots": "screenshots:screenshots",
    "help": "help:help_",
}
"""In the order of the help: in which module of this package each is, and under which name."""

GROUPS: Mapping[str, str] = {"new": "new:new", "disk": "disk:disk", "vm": "vm:vm"}
"""Commands that have commands of their own."""

_ALONE = (COMMANDS.keys() | GROUPS.keys()) - {"help"}
"""What can be run without the others; `help` tells of all."""
_COMPLETION = "_RINGVIZ_COMPLETE"
"""Set by a shell that asks what may follow, with the words so far in other variables."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; the command line of the process if none is given."""
    prepare()
    given = list(sys.argv[1:] if arguments is None else arguments)
    program = typer.main.get_command(_app(_needed(given)))
    # Outside Typer's standalone mode its errors reach `guarded`, and what the command returns is the exit code.
    return guarded(lambda: int(program.main(given, prog_name="ringviz", standalone_mode=False) or Exit.DONE))


def _needed(given: Sequence[str]) -> Sequence[str]:
    """Give the commands that a command line can be about: the one it begins with, if it does, or all of them.

    Every command that Typer is to know costs its imports and the reading of its parameters, at each start.
    """
    if not given and _COMPLETION not in os.environ:
        return []  # the app
    first = given[0] if given else ""
    if first in _ALONE:
        return [first]
    return [*COMMANDS, *GROUPS]


def _app(names: Sequence[str]) -> typer.Typer:
    """Make the program, with these of its commands."""
    # Help texts and errors may hold guest and file names, and `[ebx]` is a tag to Rich: no markup anywhere.
    app = typer.Typer(name="ringviz", rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(home)
    for name in names:
        if name in COMMANDS:
            app.command(name)(_load(COMMANDS[name]))
        else:
            app.add_typer(_load(GROUPS[name]), name=name)
    return app


def _load(place: str) -> Any:
    """Give what stands under a name in a module of this package."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"ringviz.cli.{module}"), name)


def home(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> int:
    """Open the app at its home screen, unless a command is given.

    ringviz is a laboratory for one question: who runs in which ring, and what does it cost?
    """
    if version:
        print_lines([f"ringviz {__version__}"])
        raise typer.Exit(Exit.DONE)
    return _load("run:open_app")() if context.invoked_subcommand is None else Exit.DONE
