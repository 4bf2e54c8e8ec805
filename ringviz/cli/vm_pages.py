"""`ringviz vm pages`: who has which frame of a host's memory, and what has become of its guests' pages."""

import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.errors import InputError
from ringviz.facts.host_memory import RECLAIM_STATES

if TYPE_CHECKING:
    from ringviz.engine.frame_map import GuestPages, HostPages
    from ringviz.vmm.host.allotment import Allotment, MemoryRules
    from ringviz.vmm.host.host import Host

SCHEMA = 1
_ROWS = 8
"""Lines of the picture of all frames."""
_GUESTS = (
    Column("Machine"),
    Column("Pages", is_number=True),
    Column("Private", is_number=True),
    Column("Shared", is_number=True),
    Column("Balloon", is_number=True),
    Column("Swapped", is_number=True),
    Column("Untouched", is_number=True),
    Column("VMM", is_number=True),
    Column("Target", is_number=True),
    Column("Active", is_number=True),
)
_WORK = (
    Column("Machine"),
    Column("Scanned", is_number=True),
    Column("Copied", is_number=True),
    Column("Out", is_number=True),
    Column("In", is_number=True),
    Column("Used in balloon", is_number=True),
    Column("Cycles", is_number=True),
)


def pages(
    host: Annotated[
        str | None,
        typer.Argument(
            metavar="[HOST]",
            help="A host from `ringviz vm demo`, or a TOML file: it is run, and nothing of it is kept. "
            "Without it: your own machines, as they stand.",
        ),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="CYCLES", help="Run HOST for so long; else for as long as it says itself."),
    ] = None,
    runs: Annotated[bool, typer.Option("--frames", help="List every stretch of frames too.")] = False,
    json: Json = False,
) -> int:
    """Show who has which frame of the host's memory: private, shared, ballooned, swapped out, free or a VMM's."""
    from ringviz.engine.frame_map import host_pages

    if at is not None and (host is None or at < 1):
        raise InputError(f"--at: found {at}, expected at least 1, and a host to run")
    with _own_host() if host is None else _host_of(host, at) as there:
        shown = host_pages(there)
    if json:
        print_json({"schema": SCHEMA} | asdict(shown))
    else:
        print_lines(_lines(shown, runs=runs))
    return Exit.DONE


def memory_words(rules: "MemoryRules") -> str:
    """Say how a host goes about its memory, to stand behind its size."""
    words = []
    if rules.overcommits:
        words.append(f"overcommitted, idle tax {rules.tax_percent} %")
    if rules.shares_pages:
        words.append("pages shared")
    return f" ({'; '.join(words)})" if words else ""


def allotment_words(allotment: "Allotment") -> str:
    """Say what a machine may have of the host's memory."""
    most = "all of it" if allotment.max_mib is None else f"{allotment.max_mib} MiB"
    least = "as the host's rules say" if allotment.min_mib is None else f"{allotment.min_mib} MiB"
    shares = "one for each page" if allotment.shares is None else f"{allotment.shares:,}"
    return f"Memory: at most {most}, at least {least}; shares: {shares}"


@contextmanager
def _host_of(name: str, cycles: int | None) -> Iterator["Host"]:
    from ringviz.record.machines.host_file import find_host, open_host

    definition = find_host(name)
    with tempfile.TemporaryDirectory(prefix="ringviz-", ignore_cleanup_errors=True) as folder:
        room = open_host(definition, Path(folder), lambda: 0)
        try:
            yield room.run(cycles or definition.cycles, definition.automation)
        finally:
            room.close()


@contextmanager
def _own_host() -> Iterator["Host"]:
    from ringviz.record.machines.room import Room
    from ringviz.record.machines.store import default_folder

    room = Room(default_folder(), lambda: 0)
    try:
        run = room.prepare()
        run.begin()
        yield run.host
    finally:
        room.close()


def _lines(shown: "HostPages", *, runs: bool) -> Iterator[str]:
    from ringviz.engine.frame_map import frame_cells, guest_cells, legend

    state = RECLAIM_STATES[shown.state]
    yield strong(f"{shown.frames:,} frames of 4 KiB, {shown.free:,} of them free: {state.id}")
    yield from textwrap.wrap(
        f"{state.text} Sharing saves {shown.saved_by_sharing:,} frames; {shown.swap_pages:,} pages are in the swap "
        f"file; {shown.hints:,} hints.",
        width_cells(),
    )
    yield ""
    width = width_cells() - 2
    cells = min(shown.frames, _ROWS * width)
    picture = frame_cells(shown, cells)
    yield from (f"  {picture[start : start + width]}" for start in range(0, len(picture), width))
    yield from textwrap.wrap(f"One character is {shown.frames / cells:,.3g} frames. {legend(shown.guests)}",
                             width_cells())  # fmt: skip
    for guest in shown.guests:
        yield ""
        yield f"{guest.machine}, as its guest sees its memory from page 0 on:"
        yield f"  {guest_cells(guest, width)}".rstrip()
    yield ""
    yield from table(_GUESTS, [_counts(guest) for guest in shown.guests], width_cells())
    yield ""
    yield from table(_WORK, [_work(guest) for guest in shown.guests], width_cells())
    yield "Cycles: what the host's work on their pages has cost them, modelled"
    if runs:
        yield ""
        columns = (Column("Frames"), Column("Number", is_number=True), Column("What", wraps=True))
        rows = [(f"{run.first:05X}-{run.first + run.count - 1:05X}", f"{run.count:,}", run.text) for run in shown.runs]
        yield from table(columns, rows, width_cells())


def _counts(guest: "GuestPages") -> tuple[str, ...]:
    numbers = (guest.pages, guest.private, guest.shared, guest.ballooned, guest.swapped, guest.untouched)
    target = "-" if guest.target is None else f"{guest.target:,}"
    active = "-" if guest.active_percent is None else f"{guest.active_percent:.0f} %"
    return (guest.machine, *(f"{number:,}" for number in numbers), f"{guest.vmm_frames:,}", target, active)


def _work(guest: "GuestPages") -> tuple[str, ...]:
    numbers = (guest.scanned, guest.copied, guest.swapped_out, guest.swapped_in, guest.touched_in_balloon, guest.cycles)
    return (guest.machine, *(f"{number:,}" for number in numbers))
