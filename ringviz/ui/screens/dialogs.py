"""The small questions over the explore screen: which technique, go where."""

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ringviz.engine.view import Kind
from ringviz.ui.laboratory import TechniqueChoice

_KINDS = ", ".join(kind.value for kind in Kind if kind is not Kind.GUEST)


class TechniqueDialog(ModalScreen[str | None]):
    """Choose another technique; gives its id, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,m,q", "dismiss(None)", "cancel", show=False)]

    def __init__(self, techniques: Sequence[TechniqueChoice], current: str) -> None:
        self._techniques = techniques
        self._current = current
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """Give the list, with the present technique marked."""
        with Vertical(classes="box") as box:
            box.border_title = Content("The same guest, at this instruction, under …")
            yield OptionList(
                *(Option(technique_prompt(t, t.id == self._current), id=t.id) for t in self._techniques), markup=False
            )
            yield Static("enter choose · esc cancel", markup=False, classes="hint")

    def on_mount(self) -> None:
        """Stand on the present technique."""
        ids = [t.id for t in self._techniques]
        if self._current in ids:
            self.query_one(OptionList).highlighted = ids.index(self._current)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)


def technique_prompt(technique: TechniqueChoice, is_current: bool = False) -> Content:
    """Give a technique as two lines: its name, and where its VMM sits."""
    mark = "► " if is_current else "  "
    return Content.assemble(
        (f"{mark}{technique.title}", "bold"), (f"  {technique.id}", "$dim"), (f"\n    {technique.seat}", "$dim")
    )


class AddressDialog(ModalScreen[str | None]):
    """Ask for what to look at; gives the text, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel", show=False)]

    def __init__(self) -> None:
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """One input line."""
        with Vertical(classes="box") as box:
            box.border_title = Content("Look at")
            field = Input(placeholder="0x101000 · a symbol · esp · eip · access", id="place")
            field.cursor_blink = False
            yield field
            yield Static(
                "An address or symbol stays. A register is followed: the view moves as it does. access follows what "
                "the last step read or wrote.",
                markup=False,
                classes="hint",
            )

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)


class GoToDialog(ModalScreen[str | None]):
    """Ask for a place; gives the text, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel", show=False)]

    def __init__(self) -> None:
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """One input line."""
        with Vertical(classes="box") as box:
            box.border_title = Content("Go to")
            field = Input(placeholder="500 · #12 · 0x100046 · a symbol · ring 3 · exit 30 · divergence", id="place")
            field.cursor_blink = False
            yield field
            yield Static(
                "A number is a step, #12 an event. An address or symbol: run until the guest comes there. ring: to the "
                "next change of ring; ring 3: to that one. divergence: to where the guest next gets something else "
                f"than on bare metal. {_KINDS}: to the next event of that kind; with a number or word behind it, to "
                "one whose cause or instruction says so. `if eax == 5` may follow. enter goes · esc cancels",
                markup=False,
                classes="hint",
            )

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)
