"""`ringviz controls`: the bits of a technique's control structure that can be flipped, and why some cannot."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ringviz.cli.exits import Exit
from ringviz.cli.options import Controls, Cpu, Json, Mmu, Technique
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table

if TYPE_CHECKING:
    from ringviz.vmm.controls import Control
    from ringviz.vmm.setup import Setup

SCHEMA = 1
ROWS = (
    Column("Control"),
    Column("Now"),
    Column("What it does, and why it may be fixed", wraps=True),
)


def controls(
    technique: Technique = "vt-x", mmu: Mmu = None, cpu: Cpu = None, control: Controls = None, json: Json = False
) -> int:
    """List the controls of a technique, for --control."""
    from ringviz.vmm.registry import choose, controls_of

    setup = choose(technique, mmu, cpu)
    rows = controls_of(technique, mmu, cpu, control or ())
    if json:
        print_json(catalogue(technique, setup, rows))
    else:
        print_lines(report(technique, setup, rows))
    return Exit.DONE


def catalogue(technique: str, setup: "Setup", rows: Mapping[str, "Control"]) -> dict[str, object]:
    """Give the list as an object for scripts."""
    return {
        "schema": SCHEMA,
        "technique": technique,
        "mmu": setup.mmu,
        "cpu": setup.cpu.id,
        "controls": [
            {"id": row.id, "title": row.title, "group": row.group, "on": row.is_on, "rule": row.rule or None}
            for row in rows.values()
        ],
    }


def report(technique: str, setup: "Setup", rows: Mapping[str, "Control"]) -> Iterator[str]:
    """Give the list as a text for people, by group."""
    if not rows:
        yield f"{technique} has no controls to change"
        return
    yield strong(f"Controls of {technique} on the {setup.cpu.title}, memory: {setup.mmu}")
    yield "`--control +NAME` sets one, `--control -NAME` clears it, on stat, compare, trace and run."
    groups: dict[str, list[Control]] = {}
    for row in rows.values():
        groups.setdefault(row.group, []).append(row)
    for group, members in groups.items():
        yield ""
        yield strong(group)
        yield from table(ROWS, [_row(row) for row in members], width_cells())


def _row(row: "Control") -> tuple[str, ...]:
    text = row.title if not row.rule else f"{row.title}. Fixed: {row.rule}"
    return (row.id, "on" if row.is_on else "off", text)
