"""`ringviz vm policy`: the rules that a host lives by, checked, explained, and what has come of them."""

from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.automation_report import automation_json, automation_lines
from ringviz.cli.exits import Exit
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.engine.automation.words import ACTIONS, METRICS, STATES

SCHEMA = 1

policy = typer.Typer(
    rich_markup_mode=None,
    help="Rules in TOML for `ringviz vm run --policy FILE`: when a metric of a machine is over or under a threshold "
    "for some time, something is done with a machine.",
)


@policy.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The rules, in TOML.")],
    json: Json = False,
) -> int:
    """Check a file of rules and orders, and say in words what it tells the host to do."""
    from ringviz.engine.automation.reading import read_automation
    from ringviz.record.machines.host_file import read_file

    automation = read_automation(read_file(file), file.name)
    if json:
        print_json({"schema": SCHEMA} | automation_json(automation))
    else:
        print_lines(automation_lines(automation))
    return Exit.DONE


@policy.command()
def words(json: Json = False) -> int:
    """Show what can be measured of a machine, and what can be done with one."""
    if json:
        print_json(
            {
                "schema": SCHEMA,
                "metrics": {row.id: row.title for row in METRICS.values()},
                "states": dict(STATES),
                "actions": {row.id: row.title for row in ACTIONS.values()},
            }
        )
        return Exit.DONE
    text = Column("What it is", wraps=True)
    lines = [strong("Metrics, for `when`")]
    lines += table((Column("Metric"), text), [(row.id, row.title) for row in METRICS.values()], width_cells())
    lines += ["", strong("States, for `is`")]
    lines += table((Column("State"), text), list(STATES.items()), width_cells())
    lines += ["", strong("Actions, for `do`")]
    lines += table((Column("Action"), text), [(row.id, row.title) for row in ACTIONS.values()], width_cells())
    print_lines(lines)
    return Exit.DONE
