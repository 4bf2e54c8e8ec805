"""The machine room as an app: one host, and every machine of it can be entered and looked at as a guest on its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import ClassVar

from textual import on
from textual.screen import Screen

from ringviz.engine.automation.rules import Automation
from ringviz.engine.session import Session
from ringviz.guest.scenario import Scenario
from ringviz.record.machines.leaving import Peer
from ringviz.record.machines.room import Room
from ringviz.ui.app import RingvizApp
from ringviz.ui.engine_laboratory import EngineLaboratory
from ringviz.ui.host_thread import Visited
from ringviz.ui.laboratory import Sitting
from ringviz.ui.requests import Open, Remarked, Seek
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.machine_room import MachineRoomScreen

_STYLES = Path(__file__).parent / "styles"


@dataclass(frozen=True, slots=True)
class OtherHostSeen:
    """The host to which machines can move, and what is heard of it."""

    peer: Peer
    lines: Callable[[], Sequence[str]] = tuple


class _HostLaboratory(EngineLaboratory):
    """Opens the machines of a host: by name, each as it was switched on."""

    def __init__(self) -> None:
        super().__init__()
        self.visited: Visited | None = None

    def open(self, scenario: str, technique: str, mmu: str | None, cpu: str | None) -> Sitting:
        """Power on a guest like the one that is visited."""
        visited = self.visited
        if visited is None or scenario != visited.name:
            return super().open(scenario, technique, mmu, cpu)
        return Session(visited.scenario, technique, mmu, cpu, visited.controls)

    def found(self, scenario: str) -> Scenario:
        """Give the guest that is visited, or load a scenario."""
        visited = self.visited
        return visited.scenario if visited is not None and scenario == visited.name else super().found(scenario)


class MachineRoomApp(RingvizApp):
    """A host at work; see `MachineRoomScreen`."""

    CSS_PATH: ClassVar[list[str | PurePath]] = [*RingvizApp.CSS_PATH, _STYLES / "machine_room.tcss"]

    def __init__(
        self,
        room: Room,
        automation: Automation | None = None,
        title: str = "",
        stop_at: int | None = None,
        other: OtherHostSeen | None = None,
    ) -> None:
        self._host_laboratory = _HostLaboratory()
        super().__init__(laboratory=self._host_laboratory)
        peer, lines = (None, tuple) if other is None else (other.peer, other.lines)
        self.room = MachineRoomScreen(room, automation, title, stop_at, peer, lines)

    def home(self) -> Screen[None]:
        """Give the machine room."""
        return self.room

    @on(Visited)
    def _visited(self, visited: Visited) -> None:
        """Show a machine's guest on its own, at the instruction at which it stands on the host."""
        self._host_laboratory.visited = visited
        self.explore = ExploreScreen()
        self.push_screen(self.explore)
        self.engine.submit(Open(visited.name, visited.technique, visited.mmu, visited.cpu))
        self.engine.submit(Seek(visited.retired))
        self.set_timer(0.3, lambda: self._notice(Remarked(f"{visited.name} as it stands on its host; esc goes back")))

    def escaped(self) -> None:
        """Back to the machine room."""
        self.leave_explore()

    def leave_explore(self) -> None:
        """Back to the machine room."""
        if isinstance(self.screen, ExploreScreen):
            self.engine.cancel()
            self.pop_screen()

    def go_home(self) -> None:
        """Back to the machine room."""
        self.leave_explore()

    def _remember_place(self) -> None:
        """Machines of a host are no places to come back to."""
