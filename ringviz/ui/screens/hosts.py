"""Choose a host with several machines, to go into its machine room."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from ringviz.ui.host_rooms import HostChoice
from ringviz.ui.widgets.panel import printable


@dataclass(frozen=True, slots=True)
class HostWanted:
    """What somebody wants to see."""

    host: HostChoice
    is_lecture: bool
    """Its lecture, and not its machine room."""


class HostsDialog(ModalScreen[HostWanted | None]):
    """Gives a host, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,h", "dismiss(None)", "cancel", show=False),
        Binding("p", "lecture", "lecture", show=False),
    ]

    def __init__(self, hosts: Sequence[HostChoice]) -> None:
        self._hosts = hosts
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """Give the list."""
        with Vertical(classes="box") as box:
            box.border_title = Content("Several machines on one host: the machine room of …")
            yield OptionList(*map(_line, self._hosts), markup=False)
            yield Static("enter opens it · p holds its lecture · esc cancel", markup=False, classes="hint")

    def on_mount(self) -> None:
        """Stand on the first."""
        self.query_one(OptionList).highlighted = 0

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(HostWanted(self._hosts[event.option_index], is_lecture=False))

    def action_lecture(self) -> None:
        """The lecture of the highlighted host; the user's own machines have none."""
        index = self.query_one(OptionList).highlighted
        if index is not None and self._hosts[index].id:
            self.dismiss(HostWanted(self._hosts[index], is_lecture=True))


def _line(host: HostChoice) -> Content:
    count = f"  {host.machines} machine{'' if host.machines == 1 else 's'}"
    return Content.assemble(
        (printable(host.title), "bold"), (count, "$dim"), (f"\n    {printable(host.summary)}", "$dim")
    )
