"""The life of a machine: as a line with what is possible now, as a table, and a question where something is lost."""

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from ringviz.record.machines.life_cycle import OPERATIONS, Life
from ringviz.record.machines.room_view import RoomRow

KEYS: Mapping[str, str] = {
    "start": "o", "stop": "o", "pause": "p", "resume": "p", "reset": "r", "shutdown": "d", "migrate": "m", "stay": "m",
    "snapshot": "s", "revert": "v", "clone": "c", "destroy": "D",
}  # fmt: skip
"""The key of the machine room for each operation."""
LOSES: Mapping[str, str] = {
    "stop": "What is in its memory is lost; what it has written to its disks is kept.",
    "reset": "What is in its memory is lost; what it has written to its disks is kept.",
    "revert": "What it has become since its last snapshot is lost.",
    "destroy": "It is lost, with its disks and snapshots.",
}
"""What an operation takes away; those that are not here take nothing."""


_GAP = "  "


def possible(row: RoomRow, *, has_peer: bool) -> Iterator[str]:
    """Give the operations that can be done with a machine as it is."""
    for operation in OPERATIONS.values():
        lacks = (operation.id == "migrate" and not has_peer) or (operation.id == "revert" and not row.snapshots)
        if row.life in operation.sources and not lacks:
            yield operation.id


def life_lines(row: RoomRow, *, has_peer: bool, width: int) -> Iterator[Content]:
    """Say where in its life a machine is, and which ways lead on, each with its key."""
    parts: list[str | tuple[str, str]] = [(f"Life of {row.name}: ", "bold")]
    for state in Life:
        parts.append((f"[{state.value}]", "bold $ring-lit") if state is row.life else (f" {state.value} ", "$dim"))
    yield Content.assemble(*parts)
    ways = []
    for operation in possible(row, has_peer=has_peer):
        target = OPERATIONS[operation].target
        leads_on = "" if target is None else f" → {target.value}"
        ways.append(Content.assemble((KEYS[operation], "bold $primary"), f" {operation}{leads_on}"))
    yield from packed(ways, width)


def packed(parts: Iterable[Content], width: int) -> Iterator[Content]:
    """Put parts side by side, as many as a line has room for; none is cut in two by the end of a line."""
    line: list[Content] = []
    taken = 0
    for part in parts:
        if line and taken + part.cell_length > width:
            yield Content(_GAP).join(line)
            line, taken = [], 0
        line.append(part)
        taken += part.cell_length + len(_GAP)
    yield Content(_GAP).join(line)


class LifeDialog(ModalScreen[None]):
    """The whole state machine, with where the machine is in it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,l,q,enter", "dismiss", "close", show=False)]

    def __init__(self, name: str, state: Life) -> None:
        super().__init__(classes="dialog")
        self._name, self._state = name, state

    def compose(self) -> ComposeResult:
        """Give the table: for each operation its key, and the state that it leads to from each in which it can be."""
        with Vertical(classes="box") as box:
            box.border_title = Content(f"The life of {self._name}")
            yield Static(Content("\n").join(self._lines()), markup=False)
            yield Static("stays: the state is the same afterwards, or another machine's · esc close", markup=False,
                         classes="hint")  # fmt: skip

    def _lines(self) -> Iterator[Content]:
        heads = [(f"{_SHORT.get(life, life.value):<10}", self._look(life)) for life in Life]
        yield Content.assemble((f"{'key':<4}{'operation':<11}", "bold"), *heads)
        for operation in OPERATIONS.values():
            cells = []
            for life in Life:
                target = "stays" if operation.target is None else _SHORT.get(operation.target, operation.target.value)
                cells.append((f"{target if life in operation.sources else '·':<10}", self._look(life)))
            yield Content.assemble((f"{KEYS[operation.id]:<4}", "bold $primary"), f"{operation.id:<11}", *cells)
        yield Content.assemble(f"{'':<15}", *((f"{'▲ here' if life is self._state else '':<10}", "bold $ring-lit")
                                              for life in Life))  # fmt: skip

    def _look(self, life: Life) -> str:
        return "bold $ring-lit" if life is self._state else ""


_SHORT = {Life.SHUTTING_DOWN: "ending", Life.MIGRATING: "moving"}


class ConfirmDialog(ModalScreen[bool]):
    """Ask before something is lost."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes", show=False),
        Binding("escape,n,q,enter,space", "dismiss(False)", "no", show=False),
    ]

    def __init__(self, operation: str, name: str) -> None:
        super().__init__(classes="dialog")
        self._operation, self._name = operation, name

    def compose(self) -> ComposeResult:
        """Give the question."""
        with Vertical(classes="box") as box:
            box.border_title = Content(f"{self._operation} {self._name}?")
            yield Static(Content(LOSES[self._operation]), markup=False)
            yield Static("y yes · any of n, enter, esc: no", markup=False, classes="hint")
