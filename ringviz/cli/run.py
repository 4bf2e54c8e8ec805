"""`ringviz run`, and `ringviz` alone: opens the app."""

import os
import sys
from collections.abc import Callable, Sequence

from ringviz.cli.chosen import chosen
from ringviz.cli.list import available
from ringviz.cli.names import known
from ringviz.cli.options import ConsoleInput, Controls, Cpu, Disk, Disk2, Keys, Limit, Memory, Mmu, Scenario, Technique
from ringviz.errors import InputError
from ringviz.guest.scenario import Scenario as Guest


def run(
    scenario: Scenario,
    technique: Technique = "native",
    mmu: Mmu = None,
    cpu: Cpu = None,
    control: Controls = None,
    disk: Disk = None,
    disk2: Disk2 = None,
    memory: Memory = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
) -> int:
    """Open the app inside a scenario."""

    def prepare() -> Guest:
        return chosen(scenario, disk, disk2, memory, limit, console_input, keys)

    return open_app(scenario, technique, mmu, cpu, control or (), prepare)


def open_app(
    scenario: str | None = None,
    technique: str = "native",
    mmu: str | None = None,
    cpu: str | None = None,
    controls: Sequence[str] = (),
    prepare: Callable[[], Guest] | None = None,
) -> int:
    """Open the app, at its home screen or inside a scenario.

    Raises:
        InputError: there is no terminal to open it on.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise InputError("the app needs a terminal; without one use `ringviz stat`, `compare` or `trace`, see --help")
    # What can be told from the names alone is told before the screen changes.
    prepared = None if prepare is None else prepare()
    known("technique", technique, [row.id for row in available()])
    if controls:
        from ringviz.vmm.registry import choose

        choose(technique, mmu, cpu, controls)
    from ringviz.ui.app import run_app

    return run_app(scenario, technique, mmu, cpu, controls, prepared)
