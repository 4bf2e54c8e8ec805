"""What `ringviz vm` does with a machine: at once where no host is at work, else by an order that the host answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.output import print_lines
from ringviz.engine.automation.rules import Deed
from ringviz.errors import InputError
from ringviz.record.machines.inbox import (
    SETTINGS,
    Answer,
    check_order,
    find_answer,
    leave_order,
    withdraw_order,
)
from ringviz.record.machines.store import InUseError, default_folder

if TYPE_CHECKING:
    from ringviz.record.machines.contents import Contents
    from ringviz.record.machines.room import Room

PATIENCE_S = 10.0
"""Ours: a host at work has an accounting period over in less, unless it is held."""
_LOOK_S = 0.02
_REFUSED = "refused: "

Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        help="How long to wait for a host at work; 0: leave the order there, and do not wait for an answer.",
    ),
]


@contextmanager
def open_room() -> Iterator[Room]:
    """Give the user's machines, while nobody else has them."""
    from ringviz.record.machines.room import Room

    room = Room(default_folder(), _now)
    try:
        yield room
    finally:
        room.close()


def look_into_room() -> tuple[Contents, bool]:
    """Give what is kept of the user's machines, and tell whether a host is at work on them now."""
    from ringviz.record.machines.contents import understood_contents
    from ringviz.record.machines.store import read_content

    is_at_work = False
    try:
        with open_room():  # what is left over of one that was killed is put right first
            pass
    except InUseError:
        is_at_work = True
    return understood_contents(read_content(default_folder())), is_at_work


def tell(room: Room, name: str) -> None:
    """Print in which state a machine is."""
    print_lines([f"{name}: {room.machines[name].state.value}"])


def operate(name: str, deeds: Sequence[Deed], wait_s: float) -> int:
    """Do something with one machine, or have the host at work do it when its accounting period is over.

    Args:
        name: the machine.
        deeds: what is to be done with it, in this order.
        wait_s: how long to wait for the host.

    Raises:
        RingvizError: it cannot be done, or the host has not taken it in time; then nothing has changed.
    """
    if not 0 <= wait_s < float("inf"):
        raise InputError(f"--wait: found {wait_s:g}, expected seconds, 0 or more")
    if not deeds:
        raise InputError(f"{name}: nothing to change is given")
    last = deeds[-1]
    shown = last.named if last.action == "clone" else last.target
    from ringviz.record.machines.operating import carry_out

    try:
        with open_room() as room:
            carry_out(room, deeds)
            if last.action == "destroy":
                print_lines([f"{shown}: destroyed"])
            else:
                tell(room, shown)
    except InUseError:
        if last.action in SETTINGS:
            check_order(default_folder(), last.target, deeds)
        _order(deeds, shown, wait_s)
    return Exit.DONE


def _order(deeds: Sequence[Deed], name: str, wait_s: float) -> None:
    order = leave_order(default_folder(), deeds, time.time_ns(), wants_answer=wait_s > 0)
    if not wait_s:
        print_lines([f"{name}: the host is at work; it takes the order when its accounting period is over"])
        return
    answer = _answered(order, name, wait_s)
    for result in answer.results:
        if result.startswith(_REFUSED):
            raise InputError(result.removeprefix(_REFUSED))
    state = answer.state or "destroyed"
    print_lines(
        [f"{name}: {state}; the host has taken the order at {answer.clock:,} modelled cycles, and that is kept"]
    )


def _answered(order: str, name: str, wait_s: float) -> Answer:
    """Wait for the host; if it goes away meanwhile, the order is carried out here."""
    folder = default_folder()
    until = time.monotonic() + wait_s
    is_withdrawn = False
    while True:
        answer = find_answer(folder, order)
        if answer is not None:
            return answer
        if is_withdrawn:
            raise InputError(
                f"{name}: the host at work has not come to the end of an accounting period within {wait_s:g} s; "
                "the order is withdrawn, and nothing has changed"
            )
        with suppress(InUseError), open_room():  # whoever opens the folder carries out what waits there
            continue
        if time.monotonic() >= until:
            is_withdrawn = withdraw_order(folder, order)
            if not is_withdrawn and time.monotonic() >= until + wait_s:
                raise InputError(f"{name}: the host has taken the order, and says nothing; look with `ringviz vm show`")
        time.sleep(_LOOK_S)


def _now() -> int:
    """The clock, or what the environment says instead, as for reproducible builds."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", "") or time.time())
