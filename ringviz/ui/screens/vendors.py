"""The vendors screen: one guest at one instruction under VT-x and AMD-V, exit beside exit, field beside field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ringviz.engine.view import SideMark
from ringviz.facts.residents import RESIDENTS
from ringviz.ui.commands import VENDORS, Command, bindings
from ringviz.ui.glyphs import MARK_LOOKS, grouped
from ringviz.ui.requests import ClosePair
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.moving import MovingScreen
from ringviz.ui.widgets.card import chain
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.panel import printable, set_title, wrapped

if TYPE_CHECKING:
    from ringviz.engine.vendors import VendorColumn, VendorField, VendorRow, VendorsView

_TITLE = "Not compatible, but similar"
_EXPLANATION = (
    "Intel and AMD built the same idea at the same time, each in its own way: the bits are at other places and have "
    "other names, so a VMM needs code for both; but for nearly every field of the one there is a field of the other. "
    "Both halves show the same guest at the same instruction, and every key moves both. ▼ marks what the CPU changed "
    "at the last exit, * what the VMM has changed since, ► the reason of the last exit. Arrow keys choose a line of "
    "the table; what is different all the same stands beneath it."
)
_SPACIOUS = 110
"""Width from which on the table has a column for the purpose of each pair of fields."""
_PURPOSE_CELLS = 26


class VendorsScreen(MovingScreen):
    """Two columns over one table."""

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = VENDORS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(VENDORS)]
    AUTO_FOCUS = "#pairs"

    def __init__(self) -> None:
        self._view: VendorsView | None = None
        self._entries: list[VendorRow | str] = []
        super().__init__()

    def compose(self) -> ComposeResult:
        """Where we are, the two vendors, the table, a note, the keys."""
        yield Static("", markup=False, id="where")
        with Horizontal(id="vendors"):
            yield Static("", markup=False, id="intel", classes="vendor")
            yield Static("", markup=False, id="amd", classes="vendor")
        yield OptionList(id="pairs", markup=False)
        yield Static("", markup=False, id="difference")
        yield KeyLine(VENDORS)

    def known_end(self) -> int | None:
        """Where the run ends, if that is known."""
        return None if self._view is None else self._view.end

    def show(self, view: VendorsView) -> None:
        """Take over a new moment."""
        self._view = view
        self._draw()

    def on_mount(self) -> None:
        """Draw what came before the widgets were there."""
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Fit everything into the new size."""
        self._draw()

    def action_stop(self) -> None:
        """Stop a run; with nothing running, leave."""
        if self.in_motion or self.is_busy:
            self.ringviz.engine.cancel()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Back to the one guest."""
        self.ringviz.wants_pair = False
        self.ringviz.engine.cancel()
        self.ringviz.engine.submit(ClosePair())
        self.dismiss()

    def action_explain(self) -> None:
        """What this screen is, the signs and the keys."""
        self.app.push_screen(HelpScreen(VENDORS, (_TITLE, _EXPLANATION)))

    def _draw(self) -> None:
        view = self._view
        if view is None or not self.is_mounted:
            return
        self.query_one("#where", Static).update(where_line(view, self.size.width))
        for column, box in ((view.intel, self.query_one("#intel", Static)), (view.amd, self.query_one("#amd", Static))):
            set_title(box, Content.assemble((column.title, "bold"), (f" · {column.cpu}", "$dim")))
            lines = column_lines(column, max(1, self.size.width // 2 - 4), max(1, box.content_size.height or 5))
            box.update(Content("\n").join(lines))
        options = self.query_one("#pairs", OptionList)
        options.border_title = Content(f"{view.intel.structure} and {view.amd.structure}: {_TITLE.lower()}")
        # A frame and a scrollbar are not the table's.
        width = max(10, self.size.width - 6)
        self._entries = _with_headings(view.rows)
        prompts = [_heading(e, width) if isinstance(e, str) else pair_line(e, width) for e in self._entries]
        if options.option_count != len(prompts):
            options.clear_options()
            options.add_options(
                Option(prompt, disabled=isinstance(entry, str))
                for prompt, entry in zip(prompts, self._entries, strict=True)
            )
            options.highlighted = 1 if prompts else None
            return
        for index, prompt in enumerate(prompts):
            options.replace_option_prompt_at_index(index, prompt)
        self._tell_difference(options.highlighted)

    @on(OptionList.OptionHighlighted, "#pairs")
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._tell_difference(event.option_index)

    def _tell_difference(self, index: int | None) -> None:
        """Say in words what the highlighted line shows."""
        if index is None or index >= len(self._entries):
            return
        row = self._entries[index]
        if isinstance(row, str):
            return
        self.query_one("#difference", Static).update(difference(row))


def _with_headings(rows: Sequence[VendorRow]) -> list[VendorRow | str]:
    """Put its section's name before the first row of each."""
    entries: list[VendorRow | str] = []
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            entries.append(section)
        entries.append(row)
    return entries


def _heading(text: str, width: int) -> Content:
    return Content.assemble((f"─ {text} ".ljust(width, "─"), "$dim"))


def difference(row: VendorRow) -> Content:
    """Say in words what a line shows: its purpose, what is different, what changed, and names too long for it."""
    parts = []
    for who, field in (("Intel", row.intel), ("AMD", row.amd)):
        if field is not None and field.old:
            parts.append(f"{who} {field.name}: {field.old} → {field.value}.")
        elif field is not None and not field.value:
            parts.append(f"{who}: {field.name}.")
    what = f"{printable(row.what)}. " if row.what else ""
    note = f"{printable(row.note)}. " if row.note else ""
    return Content.assemble((what, "bold"), (note, "$foreground"), (printable("  ".join(parts)), "$dim"))


def where_line(view: VendorsView, width: int) -> Content:
    """Give guest, place and the instruction about to run."""
    end = "" if view.end is None else f" of {grouped(view.end)}"
    state = f"▣ {printable(view.outcome)}" if view.outcome else f"next: {printable(view.instruction)}"
    return Content.assemble(
        (f" {printable(view.scenario_id)}", "bold $primary"),
        (" · Intel VT-x | AMD-V · ", "bold"),
        (f"step {grouped(view.position)}{end}", "bold"),
        (f" · {state}", "$dim"),
    ).truncate(width, ellipsis=True)


def column_lines(column: VendorColumn, width: int, height: int) -> list[Content]:
    """One vendor's half: what just happened, the last exit, what the exits cost so far."""
    picture = RESIDENTS[column.technique_id]
    words = Content.assemble((f"VMM: {picture.vmm_mode} · guest: {picture.guest_mode}", "$dim"))
    exits = f"{grouped(column.exits)} exits: +{grouped(column.overhead_cycles)} cycles, modelled"
    when = "" if column.last_exit_at is None else f" (step {grouped(column.last_exit_at)})"
    last = Content.assemble(
        (f"{MARK_LOOKS[SideMark.BY_CPU].glyph} last exit{when} ", "bold $kind-exit"), printable(column.last_exit or "—")
    )
    # An exit that has just happened is told by the chain.
    is_told = column.last_exit_at is not None and not column.last_exit
    tail = [
        *([] if is_told else wrapped(last, width, 2)),
        Content.assemble((exits, "$foreground")).truncate(width, ellipsis=True),
    ]
    happened = wrapped(chain(column.card), width, max(1, height - len(tail) - 1))
    return [words.truncate(width, ellipsis=True), *happened, *tail][:height]


def pair_line(row: VendorRow, width: int) -> Content:
    """One pair of fields; its purpose stands at the left where there is room."""
    what = printable(row.what)
    what = what if len(what) < _PURPOSE_CELLS else f"{what[: _PURPOSE_CELLS - 2]}…"
    purpose = f"{what:<{_PURPOSE_CELLS}}" if width >= _SPACIOUS else ""
    half = (width - len(purpose)) // 2
    # A second line of one concept says nothing about the other vendor.
    missing = "  (none)" if row.what else ""
    intel, amd = (_field_parts(field, half, missing) for field in (row.intel, row.amd))
    return Content.assemble((purpose, "$dim"), *intel, *amd)


def _field_parts(field: VendorField | None, width: int, missing: str) -> list[tuple[str, str]]:
    """A sign, a name, a value: exactly `width` cells, one of them a gap."""
    if field is None:
        return [(missing.ljust(width), "$dim")]
    look = MARK_LOOKS[field.mark]
    style = f"bold {look.colour}" if field.mark is not SideMark.NONE else "$foreground"
    value = printable(field.value)
    room = max(4, width - 3 - len(value) - 1)
    name = printable(field.name)
    name = name.ljust(room) if len(name) <= room else f"{name[: room - 1]}…"
    return [(f"{look.glyph} ", style), (name, style), (f" {value} ".ljust(width - 2 - room), style)]
