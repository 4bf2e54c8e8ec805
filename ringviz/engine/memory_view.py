"""The memory panel's rows: bytes, the stack, descriptor tables and page tables, with what the last step did to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ringviz.engine.memory_look import ACCESS, LINE, MemoryLook, MemoryMode
from ringviz.engine.memory_touches import MemoryTouch, Places, find_touches
from ringviz.engine.page_map import page_rows
from ringviz.engine.table_rows import MemoryRow, gdt_rows, idt_rows
from ringviz.facts.registers import GPR_NAMES
from ringviz.guest.symbols import SourceMap
from ringviz.machine.microcode.operands import segment_base, stack_mask
from ringviz.machine.state import EBP, ESP, SS, CpuState
from ringviz.machine.step_trace import StepTrace
from ringviz.vmm.technique import Technique

LINES_BEFORE, LINES_AFTER = 16, 64
"""How much around its address a hex view has, for panels of every height."""
_WORDS_BELOW, _WORDS_ABOVE = 8, 72


@dataclass(frozen=True, slots=True)
class HexRow:
    """Sixteen bytes."""

    address: int
    data: tuple[int | None, ...]
    """None where the guest's page tables lead nowhere."""
    marks: str
    """A letter for each byte: `r` read, `w` written, `b` both, by the last step; else a blank."""
    label: str
    """Symbol that starts in this line, or empty."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryView:
    """All that the panel shows of one moment."""

    look: MemoryLook
    """As resolved: `base` is the address that was found."""
    title: str
    """What is being looked at, and whose it is."""
    note: str
    """One sentence about it, or empty."""
    hex_rows: tuple[HexRow, ...]
    rows: tuple[MemoryRow, ...]
    touches: tuple[MemoryTouch, ...]
    """What the last step read and wrote of the guest's memory, in order."""


def build_memory(
    technique: Technique,
    source: SourceMap,
    look: MemoryLook,
    trace: StepTrace | None,
    before: CpuState | None,
) -> MemoryView:
    """Look at memory.

    Args:
        technique: standing at the moment in question; it is not disturbed.
        source: for names.
        look: what at.
        trace: what the last step read and wrote; None where there was none.
        before: the guest's CPU before that step.
    """
    guest = technique.guest_state()
    places = Places(technique, guest)
    touches = find_touches(places, trace, guest, before)
    base = resolve(look.follow, look.base, guest, touches)
    resolved = replace(look, base=base)
    hex_rows: tuple[HexRow, ...] = ()
    rows: tuple[MemoryRow, ...] = ()
    match look.mode:
        case MemoryMode.HEX:
            hex_rows = tuple(_hex_rows(places, source, base, trace, guest))
            title, note = _hex_title(look, base, source), ""
        case MemoryMode.STACK:
            rows, title, note = _stack(places, source, guest, trace)
        case MemoryMode.GDT:
            rows, title, note = gdt_rows(technique, guest, places, trace)
        case MemoryMode.IDT:
            rows, title, note = idt_rows(technique, guest, places, trace, source)
        case MemoryMode.PAGES:
            rows, title, note = page_rows(technique, guest)
    return MemoryView(resolved, title, note, hex_rows, rows, touches)


def chief(touches: Sequence[MemoryTouch]) -> MemoryTouch | None:
    """Give the access that a step was about: what was written matters more than what was read on the way to it."""
    known = [touch for touch in touches if touch.linear is not None]
    return min(known, key=lambda touch: not touch.is_write, default=None)


def resolve(follow: str, base: int, guest: CpuState, touches: Sequence[MemoryTouch]) -> int:
    """Give the linear address that somebody wants to see; `base` where what is followed leads nowhere."""
    if follow == ACCESS:
        touch = chief(touches)
        if touch is not None and touch.linear is not None:
            return touch.linear
        return base or guest.linear_eip
    if follow in ("eip", "rip"):
        return guest.linear_eip
    if follow in ("esp", "rsp"):
        return _stack_top(guest)
    if follow == "cr2":
        return guest.cr2
    names = GPR_NAMES if follow in GPR_NAMES else guest.gpr_names
    return guest.gpr[names.index(follow)] & guest.address_mask if follow in names else base


def _hex_title(look: MemoryLook, base: int, source: SourceMap) -> str:
    found = source.symbol_at(base)
    name = "" if found is None else f" {found[0]}" + (f" + {found[1]:X}h" if found[1] else "")
    follows = {"": "", ACCESS: ", last access"}.get(look.follow, f", {look.follow.upper()}")
    return f"{base:08X}{name}{follows}"


def _hex_rows(
    places: Places, source: SourceMap, base: int, trace: StepTrace | None, guest: CpuState
) -> Iterator[HexRow]:
    mask = guest.address_mask
    first = max(0, (base & ~(LINE - 1)) - LINES_BEFORE * LINE)
    for address in range(first, first + (LINES_BEFORE + LINES_AFTER) * LINE, LINE):
        if address > mask:
            return
        ram = places.ram_of(address)
        data = places.memory.peek(address, LINE)
        marks = " " * LINE
        if trace is not None and ram is not None:
            marks = "".join(_MARKS[trace.mark_at(ram + offset)] for offset in range(LINE))
        found = next(
            (name for at in range(address, address + LINE) for name in _names_at(source, at)),
            "",
        )
        yield HexRow(address, (None,) * LINE if data is None else tuple(data), marks, found)


_MARKS = {(False, False): " ", (True, False): "r", (False, True): "w", (True, True): "b"}


def _names_at(source: SourceMap, address: int) -> Iterator[str]:
    found = source.symbol_at(address)
    if found is not None and not found[1]:
        yield found[0]


def _stack_top(guest: CpuState) -> int:
    return (segment_base(guest, SS) + (guest.gpr[ESP] & stack_mask(guest))) & guest.address_mask


def _stack(
    places: Places, source: SourceMap, guest: CpuState, trace: StepTrace | None
) -> tuple[tuple[MemoryRow, ...], str, str]:
    size = 8 if guest.is_64bit else 4 if guest.segments[SS].db else 2
    name = "RSP" if guest.long is not None else "ESP" if size > 2 else "SP"
    top = _stack_top(guest)
    frame = (segment_base(guest, SS) + (guest.gpr[EBP] & stack_mask(guest))) & guest.address_mask
    rows = []
    for number in range(-_WORDS_BELOW, _WORDS_ABOVE):
        address = top + number * size
        if not 0 <= address <= guest.address_mask - size + 1:
            continue
        data = places.memory.peek(address, size)
        value = None if data is None else int.from_bytes(data, "little")
        is_read, is_written, old = places.marks(trace, address, size)
        distance = f"{'+' if number >= 0 else '-'}{abs(number) * size:02X}h"
        rows.append(
            MemoryRow(
                place=f"{address:08X} {name}{distance if number else '':<5}",
                value="-" * 2 * size if value is None else f"{value:0{2 * size}X}",
                note=_word_note(source, value, old, size, is_frame=address == frame, is_popped=number < 0),
                is_current=not number,
                is_read=is_read,
                is_written=is_written,
                is_faint=number < 0,
            )
        )
    return tuple(rows), f"stack of ring {guest.cpl}, {name} {top:08X}", f"{size * 8}-bit words; below {name}: popped"


def _word_note(
    source: SourceMap, value: int | None, old: int | None, size: int, *, is_frame: bool, is_popped: bool
) -> str:
    parts = []
    if old is not None and old != value:
        parts.append(f"was {old:0{2 * size}X}")
    if is_frame:
        parts.append("◂ EBP")
    found = None if value is None or is_popped else source.symbol_at(value)
    if found is not None:
        parts.append(found[0] + (f" + {found[1]:X}h" if found[1] else ""))
    return "  ".join(parts)
