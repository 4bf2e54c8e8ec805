"""The playground: the machine under the guest, built otherwise by a key, as far as its rules allow."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ringviz.errors import RingvizError
from ringviz.ui.laboratory import ControlChoice, CpuChoice, MachineChoice
from ringviz.ui.widgets.panel import printable

Settle = Callable[[str, str, Sequence[str]], MachineChoice]
"""(CPU, paging, changed controls): the machine that these make; raises RingvizError with the rule if they cannot."""

_PAGING = {
    "none": "the guest's own page tables",
    "shadow": "the CPU walks tables that the VMM keeps like the guest's",
    "nested": "the CPU walks the guest's tables and then the VMM's",
    "direct": "the CPU walks the guest's tables, which the VMM checks",
}


class MachineDialog(ModalScreen[MachineChoice | None]):
    """Choose CPU, paging and controls; gives the machine chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,s,q", "dismiss(None)", "cancel", show=False),
        Binding("space", "change", "change", show=False),
        Binding("enter", "apply", "rebuild", show=False, priority=True),
    ]

    def __init__(self, now: MachineChoice, settle: Settle) -> None:
        self._before = now
        self._machine = now
        self._settle = settle
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """Give the list, and two lines about the highlighted choice."""
        with Vertical(classes="box") as box:
            box.border_title = Content(f"The machine under this guest · {self._machine.title}")
            box.border_subtitle = Content("space change · enter rebuild, same instruction · esc cancel")
            yield OptionList(*self._options(), id="choices", markup=False)
            yield Static("", markup=False, id="reason", classes="hint")

    def on_mount(self) -> None:
        """Stand on the present CPU."""
        options = self.query_one(OptionList)
        options.highlighted = options.get_option_index(f"cpu {self._machine.cpu}")

    def action_change(self) -> None:
        """Take the highlighted choice; if a rule forbids it, say which, and change nothing."""
        options = self.query_one(OptionList)
        if options.highlighted is None:
            return
        kind, _, name = (options.get_option_at_index(options.highlighted).id or "").partition(" ")
        machine = self._machine
        cpu, mmu, controls = machine.cpu, machine.mmu, machine.changed
        match kind:
            case "cpu":
                cpu = name
            case "mmu":
                mmu = name
            case _:
                controls = _toggled(machine, name)
        try:
            self._machine = self._settle(cpu, mmu, controls)
        except RingvizError as error:
            self._say(Content.assemble(("× ", "bold $kind-violation"), (printable(str(error)), "bold $kind-violation")))
            return
        self._show()

    def action_apply(self) -> None:
        """Close with what was chosen; nothing was, if it is as before."""
        self.dismiss(None if self._machine == self._before else self._machine)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._say(self._about(event.option.id or ""))

    def _show(self) -> None:
        """Draw the list anew; another CPU may have other controls."""
        options = self.query_one(OptionList)
        highlighted = options.highlighted
        top = options.scroll_offset.y
        options.clear_options()
        options.add_options(self._options())
        options.highlighted = min(highlighted or 0, options.option_count - 1)
        options.scroll_to(y=top, animate=False, immediate=True)

    def _options(self) -> list[Option]:
        machine = self._machine
        options = [_heading("CPU")]
        options += [Option(_cpu_line(cpu, cpu.id == machine.cpu), id=f"cpu {cpu.id}") for cpu in machine.cpus]
        options.append(_heading("Memory"))
        options += [Option(_mmu_line(mmu, mmu == machine.mmu), id=f"mmu {mmu}") for mmu in machine.mmus]
        group = ""
        for control in machine.controls:
            if control.group != group:
                group = control.group
                options.append(_heading(group))
            options.append(Option(_control_line(control), id=f"control {control.id}"))
        return options

    def _about(self, option: str) -> Content:
        """Say what the highlighted choice is, and why it cannot be changed, if so."""
        kind, _, name = option.partition(" ")
        machine = self._machine
        if kind == "cpu":
            cpu = next(cpu for cpu in machine.cpus if cpu.id == name)
            text, rule = "Its features decide what can be chosen below; its prices are charged.", cpu.refusal
        elif kind == "mmu":
            text, rule = f"{_PAGING.get(name, name)}.", ""
        else:
            control = next((control for control in machine.controls if control.id == name), None)
            if control is None:
                return Content("")
            text, rule = f"While on: {control.title}.", control.rule
        if not rule:
            return Content.assemble((printable(text), "$dim"))
        return Content.assemble(
            (printable(text), "$dim"), ("\n× ", "$kind-violation"), (printable(rule), "$foreground")
        )

    def _say(self, text: Content) -> None:
        self.query_one("#reason", Static).update(text)


def _toggled(machine: MachineChoice, name: str) -> tuple[str, ...]:
    """Give the changed controls after one of them was turned over."""
    changed = {word[1:]: word for word in machine.changed}
    control = next((control for control in machine.controls if control.id == name), None)
    if control is not None:
        changed.pop(name, None)
        if control.is_on == control.is_on_by_default:
            changed[name] = f"{'-' if control.is_on else '+'}{name}"
    return tuple(sorted(changed.values()))


def _heading(text: str) -> Option:
    return Option(Content.assemble((printable(text), "bold $primary")), disabled=True)


def _cpu_line(cpu: CpuChoice, is_chosen: bool) -> Content:
    style = "bold" if is_chosen else "$dim" if cpu.refusal else "$foreground"
    sign = "●" if is_chosen else "×" if cpu.refusal else "○"
    return Content.assemble((f"  {sign} {cpu.title} ({cpu.year})", style), (f"  {cpu.id}", "$dim"))


def _mmu_line(mmu: str, is_chosen: bool) -> Content:
    style = "bold" if is_chosen else "$foreground"
    return Content.assemble((f"  {'●' if is_chosen else '○'} {mmu}", style), (f"  {_PAGING.get(mmu, '')}", "$dim"))


def _control_line(control: ControlChoice) -> Content:
    """One setting: a box, its name, and what is special about it in a word."""
    is_changed = control.is_on != control.is_on_by_default
    style = "bold $changed" if is_changed else "$dim" if control.rule else "$foreground"
    own = f"  changed from {'on' if control.is_on_by_default else 'off'}" if is_changed else ""
    fixed = "  fixed" if control.rule else ""
    word = "on " if control.is_on else "off"
    return Content.assemble(
        (f"  {'■' if control.is_on else '□'} {word} {control.id}", style), (f"{own}{fixed}", "$dim")
    )
