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
                "units": {row.id: row.unit or None for row in METRICS.values()},
                "states": dict(STATES),
                "reclaim_states": dict(METRICS["reclaim-state"].words or {}),
                "actions": {row.id: row.title for row in ACTIONS.values()},
            }
        )
        return Exit.DONE
    text = Column("What it is", wraps=True)
    lines = [strong("Metrics, for `when`")]
    rows = [(row.id, "the host" if row.is_hosts else "a machine", row.unit, row.title) for row in METRICS.values()]
    lines += table((Column("Metric"), Column("Of"), Column("Unit"), text), rows, width_cells())
    for metric, words in (("state", STATES), *((row.id, row.words) for row in METRICS.values() if row.words)):
        lines += ["", strong(f"Words for `{metric}`, after `is`")]
        lines += table((Column("Word"), text), list((words or {}).items()), width_cells())
    lines += ["", strong("Actions, for `do`")]
    lines += table((Column("Action"), text), [(row.id, row.title) for row in ACTIONS.values()], width_cells())
    print_lines(lines)
    return Exit.DONE
