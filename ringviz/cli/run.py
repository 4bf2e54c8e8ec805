"""`ringviz run`, and `ringviz` alone: opens the app."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.list import available
from ringviz.cli.names import known
from ringviz.cli.options import (
    ConsoleInput,
    Controls,
    Cpu,
    Disk,
    Disk2,
    Keys,
    Limit,
    Memory,
    Mmu,
    OneTechnique,
    Scenario,
)
from ringviz.errors import InputError, RingvizError
from ringviz.guest.scenario import Scenario as Guest
from ringviz.guest.scenario import find_scenario

if TYPE_CHECKING:
    from ringviz.record.replay import Replay
    from ringviz.ui.runner import Noted


def run(
    scenario: Scenario,
    technique: OneTechnique = None,
    mmu: Mmu = None,
    cpu: Cpu = None,
    control: Controls = None,
    disk: Disk = None,
    disk2: Disk2 = None,
    memory: Memory = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Note what is shown as a replay; see `ringviz replay`."),
    ] = None,
) -> int:
    """Open the app inside a scenario; a host of several machines, from `ringviz vm demo`, in its machine room."""
    from ringviz.record.machines.host_file import host_ids

    if scenario in host_ids():
        given = (mmu, cpu, control, disk, disk2, memory, limit, console_input, keys, record)
        has_options = technique is not None or any(value is not None for value in given)
        if not has_options:
            from ringviz.cli.vm_demo import open_room_of, show_host

            return open_room_of(scenario) if has_terminal() else show_host(scenario)
        if not _is_scenario(scenario):
            raise InputError(f"{scenario} is a host of several machines, which its file describes; expected no options")

    def prepare() -> Guest:
        return chosen(scenario, disk, disk2, memory, limit, console_input, keys)

    return open_app(scenario, technique or "native", mmu, cpu, control or (), prepare, record=record)


def _is_scenario(name: str) -> bool:
    """Some hosts have the name of a guest that runs on them."""
    try:
        find_scenario(name)
    except RingvizError:
        return False
    return True


def has_terminal() -> bool:
    """Whether there is a terminal that the app can be opened on, or, with a driver of Textual's named, a browser."""
    if os.environ.get("TEXTUAL_DRIVER"):
        return True
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def open_app(
    scenario: str | None = None,
    technique: str = "native",
    mmu: str | None = None,
    cpu: str | None = None,
    controls: Sequence[str] = (),
    prepare: Callable[[], Guest] | None = None,
    replay: "Replay | None" = None,
    speed: float = 1.0,
    record: Path | None = None,
) -> int:
    """Open the app, at its home screen or inside a scenario.

    Raises:
        InputError: there is no terminal to open it on.
    """
    if not has_terminal():
        raise InputError("the app needs a terminal; without one use `ringviz stat`, `compare` or `trace`, see --help")
    # What can be told from the names alone is told before the screen changes.
    prepared = None if prepare is None else prepare()
    known("technique", technique, [row.id for row in available()])
    if controls:
        from ringviz.vmm.registry import choose

        choose(technique, mmu, cpu, controls)
    noted = None if record is None or scenario is None else _recorder(record, scenario)
    from ringviz.ui.app import run_app

    return run_app(scenario, technique, mmu, cpu, controls, prepared, replay, speed, noted)


def _recorder(path: Path, scenario: str) -> "Noted":
    """Give what notes each place that the session comes to.

    Raises:
        ReplayError: the file cannot be written.
    """
    from ringviz.engine.session import Session
    from ringviz.record.recorder import Recorder

    recorder = Recorder(path, scenario)

    def noted(sitting: object, is_step: bool) -> None:
        if isinstance(sitting, Session):
            recorder.note(sitting, is_step=is_step)

    return noted
