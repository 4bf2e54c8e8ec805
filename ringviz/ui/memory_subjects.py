"""What is pointed at in memory and in a page walk, each as one paragraph."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from ringviz.engine.memory_look import LINE, MemoryMode
from ringviz.facts.explanations import EXPLANATIONS
from ringviz.facts.glossary import GLOSSARY
from ringviz.facts.paging import ENTRY_FORMATS, EntryBits, PagingMode
from ringviz.facts.sources import SDM3A
from ringviz.ui.glyphs import grouped
from ringviz.ui.subject import Subject

if TYPE_CHECKING:
    from ringviz.engine.memory_touches import MemoryTouch
    from ringviz.engine.memory_view import HexRow, MemoryView
    from ringviz.engine.table_rows import MemoryRow
    from ringviz.engine.walks import ReadRow, TableWalkView, WalkView

_WORD = 4
_ABOUT = {
    MemoryMode.STACK: "register ESP",
    MemoryMode.GDT: "register GDTR",
    MemoryMode.IDT: "register IDTR",
    MemoryMode.PAGES: "register CR3",
}
"""What explains the rows of a list."""
_WHOSE = {
    "guest": "It is the guest's own entry.",
    "shadow": "It is an entry of the shadow page tables, which the VMM made from the guest's: the CPU reads these.",
    "direct": "It is the guest's own entry, and the CPU reads it: every change to it is checked by the hypervisor.",
    "nested": "It is an entry of the VMM's nested tables, which turn guest-physical addresses into real ones.",
}


def memory_subject(view: MemoryView, pointed: Hashable | None) -> Subject | None:
    """Give the row of memory that is pointed at; None if it is none of these."""
    match pointed:
        case int():
            return next((_bytes(row, view) for row in view.hex_rows if row.address == pointed), None)
        case (str() as mode, int() as index) if mode == view.look.mode.value and index < len(view.rows):
            return _row(view.rows[index], view.look.mode)
        case _:
            return None


def walk_subject(view: WalkView, pointed: Hashable | None) -> Subject | None:
    """Give the read of a page walk that is pointed at; None if it is none of these."""
    match pointed:
        case (int() as walk, int() as number) if walk < len(view.walks):
            walked = view.walks[walk]
            return next((_read(row, walked, view) for row in walked.reads if row.number == number), None)
        case _:
            return None


def _bytes(row: HexRow, view: MemoryView) -> Subject:
    label = f", in which {row.label} begins" if row.label else ""
    if all(byte is None for byte in row.data):
        now = "Here the guest's page tables lead nowhere."
    else:
        words = (row.data[at : at + _WORD] for at in range(0, LINE, _WORD))
        now = f"As 32-bit numbers (their lowest bytes come first): {' '.join(map(_word, words))}."
    done = [_touch(touch) for touch in view.touches if _is_in(touch, row)]
    now += f" The last step {'; it '.join(done)}." if done else " The last step did nothing here."
    text = (
        "Sixteen bytes by linear address: the one that the guest's segments lead to, and that its page tables, if "
        "paging is on, turn into a physical one. w shows how."
    )
    return Subject(f"{row.address:08X}h{label}", now, text, str(SDM3A.at("Protected-Mode Memory Management")))


def _word(data: tuple[int | None, ...]) -> str:
    return "".join("--" if byte is None else f"{byte:02X}" for byte in reversed(data)) + "h"


def _is_in(touch: MemoryTouch, row: HexRow) -> bool:
    at = touch.linear
    return at is not None and at < row.address + LINE and row.address < at + touch.size_bytes


def _touch(touch: MemoryTouch) -> str:
    where = "" if touch.linear is None else f" at {touch.linear:08X}h"
    size = f"{touch.size_bytes} byte{'s' if touch.size_bytes != 1 else ''}"
    if not touch.is_write:
        return f"read {size}{where}"
    values = "" if touch.old is None or touch.new is None else f" ({touch.old:X}h → {touch.new:X}h)"
    return (
        f"wrote {size}{where}{values}{'' if touch.is_by_code else ', not by the instruction itself but on its behalf'}"
    )


def _row(row: MemoryRow, mode: MemoryMode) -> Subject:
    about = EXPLANATIONS[_ABOUT[mode]]
    now = f"{row.value}." if row.value else ""
    if row.beside:
        now += f" What the CPU really uses in its place: {row.beside}."
    if row.note:
        now += f" {row.note[:1].upper()}{row.note[1:]}."
    if row.is_current:
        now += " It is in use now."
    if row.is_read or row.is_written:
        did = " and ".join(word for word, is_so in (("read", row.is_read), ("written", row.is_written)) if is_so)
        now += f" The last step has {did} it."
    see = tuple(GLOSSARY[term].term for term in about.see)
    return Subject(f"{mode.value}: {row.place}", now.strip(), about.text, str(about.source), about.lesson, see)


def _read(row: ReadRow, walked: TableWalkView, view: WalkView) -> Subject:
    where = "" if row.gpa is None else f" at guest-physical {row.gpa:08X}h"
    real = "" if row.hpa is None or row.hpa == row.gpa else f", really at {row.hpa:08X}h"
    now = (
        f"Read {row.number} of {len(walked.reads)} on the way from {view.linear:08X}h, by the {walked.walker}: entry "
        f"{row.index:X}h of the {row.table}{where}{real}. It holds {row.value:0{2 * row.size_bytes}X}h."
    )
    if row.translates is not None:
        now += f" It translates the guest-physical address {row.translates:08X}h."
    text = " ".join((_WHOSE[row.tables], *_bits(row.bits)))
    mode = PagingMode(walked.nested_mode if row.tables == "nested" else walked.mode)
    source = next(str(form.source) for form in ENTRY_FORMATS.values() if form.mode is mode)
    return Subject(f"{row.name}[{row.index:03X}h]", now, text, source, EXPLANATIONS["register CR3"].lesson)


def _bits(bits: EntryBits) -> Iterator[str]:
    """Say what an entry says, bit by bit, as far as it has them."""
    if not bits.is_present:
        yield "It is not present: whoever comes here gets a page fault, and the other bits mean nothing to the CPU."
        return
    if bits.address is not None:
        size = bits.page_bytes
        leads = "the next table" if size is None else f"a page of {grouped(size)} bytes"
        yield f"It leads to {leads} at {bits.address:08X}h."
    for is_so, words in (
        (bits.is_writable, ("It can be written.", "It is read-only.")),
        (bits.is_user, ("Ring 3 has access.", "Ring 3 has none: supervisor only.")),
        (bits.is_executable, ("Code may be fetched from it.", "No code may be fetched from it.")),
        (bits.is_accessed, ("It has been used.", "It has not been used since the bit was cleared.")),
        (bits.is_dirty, ("It has been written to.", "It has not been written to since the bit was cleared.")),
        (bits.is_global, ("It stays in the TLB when CR3 is loaded.", "")),
    ):
        if is_so is not None and words[not is_so]:
            yield words[not is_so]
