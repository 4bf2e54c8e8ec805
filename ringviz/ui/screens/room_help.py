"""What stands in a machine room, and its keys: one page of text over the screen."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from ringviz.engine.host_view import LEGEND, MODELLED
from ringviz.facts.scheduling import PERIOD_CYCLES

_WORDS: Sequence[tuple[str, str]] = (
    ("state", "what the host does with the machine now: running, ready (waits for the CPU), parked (may not for its "
              "cap), sleeping, paused, stopped; moving or ending while that goes on"),
    ("where", "the mode and the ring in which its CPU is; in brackets the ring that its guest believes to be in"),
    ("weight", "its part of the CPU against the others that want it"),
    ("cap", "the most that it gets, also if nobody else wants the rest"),
    ("CPU", f"part of the last accounting period, {PERIOD_CYCLES:,} cycles, in which it had the CPU; ▲ ▼ more or less "
            "than in the one before"),
    ("ready", "part of it in which it wanted the CPU and did not have it: stolen time"),
    ("exits", "how often its VMM was called, for each million cycles that it had the CPU"),
    ("balloon", "pages that its guest's driver has given up; shared: those whose frame stands behind others, too"),
)  # fmt: skip
_KEYS: Sequence[tuple[str, str]] = (
    ("space", "let the host run, or hold it"),
    ("n", "run it for one accounting period"),
    ("↑ ↓", "point at another machine; page up and page down scroll"),
    ("enter", "look at its guest on its own, at the instruction at which it stands; esc comes back"),
    ("+ -", "twice its weight, or half of it"),
    ("> <", "a cap that is higher or lower by a tenth of the CPU"),
    ("] [", "a MiB of memory more or less: its balloon has the rest"),
    ("p", "pause it, or let it go on"),
    ("o", "switch it on or off"),
    ("r d", "reset it; ask its guest to shut down"),
    ("s v", "keep a snapshot of it; go back to the last"),
    ("c D", "make another one like it; forget it"),
    ("m", "move it to the other host, or let it stay"),
    ("h", "auto-converge: slow it down while it moves"),
    ("l", "its whole life, as a table"),
    ("x", "who has which frame of the host's memory"),
    ("t", "another colour theme"),
    ("q", "leave; your own machines are kept as they stand"),
)


class RoomHelpScreen(ModalScreen[None]):
    """Explains the machine room."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,f1", "dismiss", "close", show=False)]

    def __init__(self) -> None:
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """Give the page."""
        with VerticalScroll(classes="box page") as box:
            box.border_title = Content("The machine room")
            box.border_subtitle = Content("esc closes · ↑↓ scroll")
            yield Static(_text(), markup=False)

    def on_mount(self) -> None:
        """Arrow keys scroll the page."""
        self.query_one(VerticalScroll).focus()


def _text() -> Content:
    parts: list[tuple[str, str]] = [
        ("One host, its CPU, and the machines that share it. Whatever you change by key holds at once.\n\n", "")
    ]
    for heading, rows in (("What stands in a row", _WORDS), ("Keys", _KEYS)):
        parts.append((f"{heading}\n", "bold $primary"))
        for name, words in rows:
            parts += [(f"  {name:<8}", "bold"), (f" {words}\n", "")]
        parts.append(("\n", ""))
    parts += [("Who had the CPU\n", "bold $primary"), (f"{LEGEND}\n\n", ""), (f"{MODELLED}.", "$dim")]
    return Content.assemble(*parts)
