"""The program `ringviz`: which commands there are, and how each of them ends."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from ringviz import __version__
from ringviz.cli.build import build
from ringviz.cli.chart import chart
from ringviz.cli.check import check
from ringviz.cli.compare import compare
from ringviz.cli.consolidate import consolidate
from ringviz.cli.controls import controls
from ringviz.cli.cpus import cpus
from ringviz.cli.diff import diff
from ringviz.cli.disk import disk
from ringviz.cli.doctor import doctor
from ringviz.cli.exits import Exit, guarded
from ringviz.cli.export import export
from ringviz.cli.help import help_
from ringviz.cli.learn import learn
from ringviz.cli.lecture import lecture
from ringviz.cli.list import list_all
from ringviz.cli.migrate import migrate
from ringviz.cli.new import new
from ringviz.cli.notes import notes
from ringviz.cli.output import prepare, print_lines
from ringviz.cli.paper import paper
from ringviz.cli.quiz import quiz
from ringviz.cli.replay import replay
from ringviz.cli.run import open_app, run
from ringviz.cli.screenshots import screenshots
from ringviz.cli.serve import serve
from ringviz.cli.stat import stat
from ringviz.cli.trace import trace
from ringviz.cli.vm import vm
from ringviz.cli.walk import walk
from ringviz.cli.whatif import whatif

COMMANDS: dict[str, Callable[..., int]] = {
    "run": run,
    "list": list_all,
    "cpus": cpus,
    "controls": controls,
    "stat": stat,
    "compare": compare,
    "consolidate": consolidate,
    "migrate": migrate,
    "whatif": whatif,
    "chart": chart,
    "trace": trace,
    "diff": diff,
    "replay": replay,
    "lecture": lecture,
    "notes": notes,
    "export": export,
    "walk": walk,
    "learn": learn,
    "quiz": quiz,
    "paper": paper,
    "check": check,
    "build": build,
    "serve": serve,
    "doctor": doctor,
    "screenshots": screenshots,
    "help": help_,
}

GROUPS = {"new": new, "disk": disk, "vm": vm}
"""Commands that have commands of their own."""

# Help texts and errors may hold guest and file names, and `[ebx]` is a tag to Rich: no markup anywhere.
app = typer.Typer(name="ringviz", rich_markup_mode=None, pretty_exceptions_enable=False)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; the command line of the process if none is given."""
    prepare()
    program = typer.main.get_command(app)
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Outside Typer's standalone mode its errors reach `guarded`, and what the command returns is the exit code.
    return guarded(lambda: int(program.main(given, prog_name="ringviz", standalone_mode=False) or Exit.DONE))


@app.callback(invoke_without_command=True)
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
    return open_app() if context.invoked_subcommand is None else Exit.DONE
