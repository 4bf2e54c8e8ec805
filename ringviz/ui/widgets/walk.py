"""The page-walk panel: which entries translate an address, in one dimension or two, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from textual.content import Content

from ringviz.engine.view import Snapshot
from ringviz.ui.glyphs import DIFFERS
from ringviz.ui.widgets.panel import keyed, printable, set_title, wrapped
from ringviz.ui.widgets.scrolled import ScrolledPanel

if TYPE_CHECKING:
    from ringviz.engine.walks import AgreementView, ReadRow, TableWalkView, WalkView

_WALKERS = {"CPU": "The CPU walks ", "VMM": "The VMM walks ", "emulator": "The emulator walks "}
_TABLES = {"guest": "the guest's own tables", "shadow": "the shadow", "direct": "the guest's tables, as checked"}
_LABEL = 14
"""Cells of the left column, which names the guest's steps."""
_CELL = 12
"""Cells of one nested entry."""


class WalkPanel(ScrolledPanel):
    """One address on its way through the page tables."""

    TITLE = "Page walk"
    EXPLANATION = (
        "How one linear address becomes a physical one, entry by entry, if the TLB has nothing. Each number is "
        "one read of memory. In one dimension the entries stand one under the other. With nested paging every "
        "step of the guest's own walk (downwards) is a guest-physical address that has to go through the nested "
        "tables first (to the right): that is what makes up to 24 reads of 4. With shadow page tables the VMM "
        f"walks the guest's tables once, and the CPU the shadow made from them; {DIFFERS} marks a level at which "
        "the two differ. a takes an address, a symbol or a register to follow; access follows what the last step "
        "accessed."
    )

    def title_for(self, snapshot: Snapshot) -> Content:
        """Give the address and the number of reads."""
        view = snapshot.walk
        if view is None:
            return Content(self.TITLE)
        label = f" {printable(view.label)}" if view.label else ""
        count = view.references
        reads = f" · {count} read{'s' if count != 1 else ''}" if count else ""
        return Content.assemble(f"{self.TITLE} · {view.linear:08X}{label}", (f" {_purpose(view)}{reads}", "$dim"))

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Redraw what changed; a note stands in the lower edge of the frame, where there is one."""
        super().watch_snapshot(snapshot)
        if snapshot is not None and snapshot.walk is not None:
            note = "" if self.screen.has_class("-short") else printable(snapshot.walk.note)
            set_title(self, self.title_for(snapshot), Content(note))

    def all_lines(self, snapshot: Snapshot, width: int) -> Sequence[Content]:
        """Give the walks in the order in which they are made."""
        view = snapshot.walk
        if view is None:
            return []
        lines: list[Content] = []
        for number, walked in enumerate(view.walks):
            lines += _walk_lines(walked, number, view.linear, width)
        if view.agreement is not None:
            lines += _agreement_lines(view.agreement, width)
        return lines

    def first_line(self, snapshot: Snapshot, lines: Sequence[Content], room: int) -> int:
        """Begin at the beginning."""
        del snapshot, lines, room
        return 0

    def foot(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Say where the CPU's walk ends."""
        view = snapshot.walk
        if view is None or not view.walks:
            return []
        last = next((walked for walked in view.walks if walked.walker == "CPU"), view.walks[-1])
        style = "bold $kind-silent" if last.error_code is not None or last.refusal else "bold $kind-gate"
        return wrapped(
            Content.assemble(("ends: ", "$dim"), (printable(last.end), style)), width, 1 if height < 15 else 3
        )


def _purpose(view: WalkView) -> str:
    access = view.access
    what = "fetch" if access.is_fetch else "write" if access.is_write else "read"
    return f"{what}, ring 3" if access.is_user else what


def _walk_lines(walked: TableWalkView, walk: int, linear: int, width: int) -> Iterator[Content]:
    mode = f", {walked.mode}" if walked.mode else ""
    heading = f"{_WALKERS[walked.walker]}{_TABLES[walked.tables]}{mode}: {walked.arithmetic}"
    yield Content.assemble((printable(heading), "bold")).truncate(width, ellipsis=True)
    if walked.nested_root is not None:
        yield from _two_dimensions(walked, walk, width)
        return
    if walked.reads:
        yield Content.assemble(("  ", ""), (_split(walked.reads, linear), "$dim"))
        yield Content.assemble(("  CR3 ", "$dim"), (f"{walked.root:08X}", "$foreground"))
    for depth, row in enumerate(walked.reads):
        where = row.gpa if row.hpa is None else row.hpa
        at = "" if where is None else f"at {where:08X} "
        indent = "  " * (depth + 1)
        line = Content.assemble(
            (f"{indent}└►{row.number} ", "bold $kind-exit"),
            (f"{row.name}[{row.index:03X}] ", "bold"),
            (at, "$dim"),
            (printable(row.text), "$foreground" if row.bits.is_present else "bold $kind-silent"),
        )
        yield keyed(line, (walk, row.number))


def _split(reads: Sequence[ReadRow], linear: int) -> str:
    """`00301234 = PDE 000 | PTE 301 | 234`: which bits choose which entry."""
    page = next((row.bits.page_bytes for row in reversed(reads) if row.bits.page_bytes), None)
    parts = [f"{row.name} {row.index:03X}" for row in reads]
    if page is not None:
        parts.append(f"offset {linear & (page - 1):03X}")
    return f"{linear:08X} = {' │ '.join(parts)}"


def _two_dimensions(walked: TableWalkView, walk: int, width: int) -> Iterator[Content]:
    """Draw the guest's walk downwards, and each translation through the nested tables to the right of it."""
    yield Content.assemble(("  guest ↓", "bold $kind-guest"), ("  nested →", "bold $kind-exit"))
    levels = _nested_levels(walked.reads)
    room = max(5, min(_CELL, (width - _LABEL - 13) // max(1, levels)))
    groups = [list(group) for _, group in groupby(walked.reads, key=_step)]
    is_last = len(groups) - 1
    for number, group in enumerate(groups):
        if group[0].tables == "nested":
            what = "CR3" if number == 0 and walked.mode else "page" if number == is_last else "table"
            yield keyed(_nested_line(what, group, room), (walk, group[-1].number))
            continue
        for row in group:
            where = "" if row.hpa is None else f"at {row.hpa:08X} "
            line = Content.assemble(
                ("  └►", "$kind-guest"),
                (f"{row.number} {row.name}[{row.index:03X}] ", "bold $kind-guest"),
                (where, "$dim"),
                (printable(row.text), "$foreground" if row.bits.is_present else "bold $kind-silent"),
            )
            yield keyed(line, (walk, row.number))


def _step(row: ReadRow) -> tuple[str, int]:
    """Tell one step of the guest's walk from the next: what is translated, or the entry itself."""
    if row.tables == "nested":
        return "nested", row.translates or 0
    return row.tables, -row.number


def _nested_levels(reads: Sequence[ReadRow]) -> int:
    runs = [len(list(group)) for key, group in groupby(reads, key=_step) if key[0] == "nested"]
    return max(runs, default=1)


def _nested_line(what: str, group: Sequence[ReadRow], room: int) -> Content:
    first = group[0]
    parts: list[tuple[str, str]] = [(f"{what:<5} {first.translates or 0:08X} ".ljust(_LABEL + 1), "$kind-guest")]
    for row in group:
        name = f"{row.number} {row.name}"
        text = name if len(name) + 2 <= room else f"{row.number}"
        style = "$kind-exit" if row.bits.is_present else "bold $kind-silent"
        parts += [("─", "$dim"), (text, style), ("─" * (room - 1 - len(text)), "$dim")]
    last = group[-1]
    page = last.bits.page_bytes
    if last.bits.address is None or page is None:
        parts.append(("× refused", "bold $kind-silent"))
    else:
        parts.append((f"► {last.bits.address | (first.translates or 0) & (page - 1):08X}", "bold $kind-exit"))
    return Content.assemble(*parts)


def _agreement_lines(agreement: AgreementView, width: int) -> Iterator[Content]:
    yield Content.assemble(("Side by side: ", "bold"), (printable(agreement.verdict), "bold $kind-exit"))
    yield from wrapped(Content.assemble((f"  {printable(agreement.text)}", "$dim")), width, 3)
    for row in agreement.levels:
        if row.word and row.word != "same":
            yield Content.assemble(
                (f"  {DIFFERS} {printable(row.table)}: ", "bold $kind-silent"), (printable(row.word), "$foreground")
            )
