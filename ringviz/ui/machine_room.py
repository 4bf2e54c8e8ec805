"""The machine room as an app: one host, and every machine of it can be entered and looked at as a guest on its own."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from textual.screen import Screen

from ringviz.engine.automation.rules import Automation
from ringviz.record.machines.leaving import Peer
from ringviz.record.machines.receiving import Receiving
from ringviz.record.machines.room import Room
from ringviz.ui.app import RingvizApp
from ringviz.ui.engine_editing import EngineEditing
from ringviz.ui.engine_laboratory import EngineLaboratory
from ringviz.ui.host_thread import OpenedHost
from ringviz.ui.screens.machine_room import MachineRoomScreen


@dataclass(frozen=True, slots=True)
class OtherHostSeen:
    """The host to which machines can move, and what is heard of it."""

    peer: Peer
    lines: Callable[[], Sequence[str]] = tuple


class MachineRoomApp(RingvizApp):
    """A host at work; see `MachineRoomScreen`."""

    def __init__(
        self,
        room: Room,
        automation: Automation | None = None,
        title: str = "",
        stop_at: int | None = None,
        other: OtherHostSeen | None = None,
        edits: Path | None = None,
        receiving: Receiving | None = None,
        summary: str = "",
    ) -> None:
        """Open the room.

        Args:
            room: whose machines run.
            automation: rules and orders that the host lives by.
            title: what it is called, if it is a demonstration.
            stop_at: cycles after which it is held for the first time.
            other: where machines can move to.
            edits: folder in which changed guests are kept; None keeps them nowhere.
            receiving: a port at which machines may come; None if none does.
            summary: what the demonstration shows.
        """
        laboratory = EngineLaboratory()
        super().__init__(laboratory=laboratory, editing=EngineEditing(laboratory, edits))
        peer, lines = (None, tuple) if other is None else (other.peer, other.lines)
        opened = OpenedHost(room, automation, stop_at, peer, lines, receiving)
        self.room = MachineRoomScreen(nullcontext(opened), title, summary)
        self.machine_room = self.room

    def home(self) -> Screen[None]:
        """Give the machine room."""
        return self.room

    def _remember_place(self) -> None:
        """Machines of a host are no places to come back to."""
