"""What is to be done with machines, in the words of rules and orders, done with a room whose host is not at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ringviz.engine.automation.rules import Deed
from ringviz.record.machines.inbox import SETTINGS, with_deed
from ringviz.record.machines.life_cycle import OPERATIONS

if TYPE_CHECKING:
    from ringviz.record.machines.room import Room


def carry_out(room: Room, deeds: Sequence[Deed]) -> None:
    """Do something with machines; values of one machine are set all at once.

    Raises:
        RingvizError: it cannot be done; one line.
    """
    if all(deed.action in SETTINGS for deed in deeds) and len({deed.target for deed in deeds}) == 1:
        definition = room.kept(deeds[0].target).definition
        for deed in deeds:
            definition = with_deed(definition, deed)
        room.set_definition(deeds[0].target, definition)
        return
    doers = _doers(room)
    for deed in deeds:
        doers[deed.action](deed)


def state_after(room: Room, deed: Deed) -> str:
    """Say what state of its machine something leads to that is still to be done; empty if the machine is gone then."""
    if deed.target not in room.machines or deed.action == "destroy":
        return ""
    kept = room.machines[deed.target]
    if deed.action == "revert" and deed.named in kept.snapshots:
        return kept.snapshots[deed.named].state.value
    target = OPERATIONS[deed.action].target if deed.action in OPERATIONS else None
    return (target or kept.state).value


def _doers(room: Room) -> Mapping[str, Callable[[Deed], None]]:
    return {
        "start": lambda deed: room.start(deed.target),
        "pause": lambda deed: room.pause(deed.target),
        "resume": lambda deed: room.resume(deed.target),
        "reset": lambda deed: room.reset(deed.target),
        "shutdown": lambda deed: room.ask_to_shut_down(deed.target),
        "stop": lambda deed: room.stop(deed.target),
        "snapshot": lambda deed: room.snapshot(deed.target, deed.named),
        "revert": lambda deed: room.revert(deed.target, deed.named),
        "clone": lambda deed: room.clone(deed.target, deed.named),
        "destroy": lambda deed: room.destroy(deed.target),
    }
