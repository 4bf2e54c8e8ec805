"""Descriptor tables as rows: each entry in words, and where a VMM has a table of its own, the real one beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ringviz.engine.memory_touches import Places
from ringviz.facts.exceptions import EXCEPTIONS
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.segments import SEGMENT_TYPES, SYSTEM_TYPES, decode_descriptor, decode_gate, decode_long_gate
from ringviz.guest.symbols import SourceMap
from ringviz.machine.linear import LinearMemory
from ringviz.machine.state import CpuState, TableRegister
from ringviz.machine.step_trace import StepTrace
from ringviz.vmm.technique import Technique

_SEGMENTS = ("ES", "CS", "SS", "DS", "FS", "GS")
_REAL_MODE_VECTORS = 256


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """One line of a list: a word of the stack, a descriptor, a stretch of pages."""

    place: str
    """Where it is, or its number."""
    value: str
    """What the guest's own says."""
    beside: str = ""
    """What the CPU really uses in its place; empty where it uses the guest's."""
    note: str = ""
    is_current: bool = False
    """It is in use now: the top of the stack, the descriptor of CS."""
    is_read: bool = False
    is_written: bool = False
    is_faint: bool = False
    """Out of use: popped, or not present."""
    is_heading: bool = False


Rows = tuple[tuple[MemoryRow, ...], str, str]
"""Rows, the title and a note."""


def gdt_rows(technique: Technique, guest: CpuState, places: Places, trace: StepTrace | None) -> Rows:
    """Give the global descriptor table, without its empty entries."""
    real = _other(technique, guest, lambda state: state.gdtr)
    long = guest.is_long_active

    def read(memory: LinearMemory, table: TableRegister, offset: int) -> tuple[int, int] | None:
        return _entry(memory, table, offset, _descriptor_size(memory, table, offset) if long else 8)

    rows = []
    selectors = {cache.selector & ~7: [] for cache in (*guest.segments, guest.tr)}  # type: dict[int, list[str]]
    if guest.is_protected:
        for name, cache in zip((*_SEGMENTS, "TR"), (*guest.segments, guest.tr), strict=True):
            if not cache.selector & 4:
                selectors[cache.selector & ~7].append(name)
    offset, empty = 8, 0
    while offset + 7 <= guest.gdtr.limit:
        own = read(places.memory, guest.gdtr, offset)
        size = 8 if own is None else own[1]
        beside = None if real is None else read(technique.machine.memory, real, offset)
        if own is not None and own[0] == 0:
            empty += 1
        else:
            users = selectors.get(offset, [])
            place = f"{offset:04X} {' '.join(users)}".rstrip()
            row = _row(place, own, beside, _descriptor_text, places, trace, guest.gdtr, offset)
            rows.append(replace(row, is_current=bool(users)))
        offset += size
    title = f"GDT {guest.gdtr.base:08X}, limit {guest.gdtr.limit:04X}"
    return tuple(rows), *_heads(title, real, empty)


def idt_rows(technique: Technique, guest: CpuState, places: Places, trace: StepTrace | None, source: SourceMap) -> Rows:
    """Give the interrupt table: gates, or in real mode far pointers; entries that are not there are counted."""
    if not guest.is_protected:
        return _real_mode_rows(guest, places, trace, source)
    real = _other(technique, guest, lambda state: state.idtr)
    size = 16 if guest.is_long_active else 8
    rows = []
    empty = 0
    for vector in range(min(256, (guest.idtr.limit + 1) // size)):
        own = _entry(places.memory, guest.idtr, vector * size, size)
        beside = None if real is None else _entry(technique.machine.memory, real, vector * size, size)
        if own is not None and not own[0] >> 47 & 1:
            empty += 1
            continue
        place = f"{vector:02X}h {_vector_name(vector):<4}"
        row = _row(place, own, beside, _gate_text, places, trace, guest.idtr, vector * size, size)
        handler = 0 if own is None else (decode_long_gate(own[0]) if size == 16 else decode_gate(own[0])).offset
        found = source.symbol_at(handler) if own is not None else None
        label = "" if found is None else found[0] + (f" + {found[1]:X}h" if found[1] else "")
        rows.append(replace(row, note=label))
    return tuple(rows), *_heads(f"IDT {guest.idtr.base:08X}, limit {guest.idtr.limit:04X}", real, empty)


def _vector_name(vector: int) -> str:
    name = EXCEPTIONS[vector].mnemonic if vector in EXCEPTIONS else ""
    return name if name.startswith("#") else ""


def _heads(title: str, real: TableRegister | None, empty: int) -> tuple[str, str]:
    notes = ["1 entry is empty" if empty == 1 else f"{empty} entries are empty"] if empty else []
    if real is None:
        return title, "; ".join(notes)
    own = f"≠ the VMM's own table at {real.base:08X}, limit {real.limit:04X}"
    return f"{title}; really {real.base:08X}", "; ".join([*notes, own])


def _other(
    technique: Technique, guest: CpuState, table_of: Callable[[CpuState], TableRegister]
) -> TableRegister | None:
    """Give the table that the CPU uses in place of the guest's; None where it uses that one, or no CPU is involved."""
    if RESIDENTS[technique.id].guest_is_data:
        return None
    table = table_of(technique.real_state())
    return None if table == table_of(guest) else table


def _descriptor_size(memory: LinearMemory, table: TableRegister, offset: int) -> int:
    """In long mode, descriptors of the system have 16 bytes."""
    raw = memory.peek(table.base + offset, 8)
    return 16 if raw is not None and not raw[5] & 0x10 and raw[5] & 0xF else 8


def _entry(memory: LinearMemory, table: TableRegister, offset: int, size: int) -> tuple[int, int] | None:
    if offset + size - 1 > table.limit:
        return None
    data = memory.peek(table.base + offset, size)
    return None if data is None else (int.from_bytes(data, "little"), size)


def _row(
    place: str,
    own: tuple[int, int] | None,
    beside: tuple[int, int] | None,
    text: Callable[[int, int], str],
    places: Places,
    trace: StepTrace | None,
    table: TableRegister,
    offset: int,
    size: int = 8,
) -> MemoryRow:
    value = "its page is not there" if own is None else text(*own)
    other = "" if beside is None else text(*beside)
    is_read, is_written, _ = places.marks(trace, table.base + offset, size)
    return MemoryRow(
        place,
        value,
        other if other != value else "",
        is_read=is_read,
        is_written=is_written,
        is_faint=own is not None and not own[0] >> 47 & 1,
    )


def _descriptor_text(raw: int, size: int) -> str:
    """`ring 0 code, execute/read  base 00000000 limit FFFFFFFF 32-bit`."""
    found = decode_descriptor(raw & (1 << 64) - 1)
    absent = "" if found.present else "  not present"
    if not found.s:
        kind = SYSTEM_TYPES.get(found.type)
        name = f"system type {found.type:X}h" if kind is None else kind.name
        if kind is not None and kind.is_gate:
            gate = decode_gate(raw & (1 << 64) - 1)
            return f"ring {gate.dpl} {name} → {gate.selector:04X}:{gate.offset:08X}{absent}"
        base = found.base | (raw >> 64 << 32 if size == 16 else 0)
        return f"ring {found.dpl} {name}  base {base:08X} limit {found.limit:X}{absent}"
    name = SEGMENT_TYPES[found.type & 0xE].name
    width = "64" if found.l and found.is_code else "32" if found.db else "16"
    accessed = " A" if found.type & 1 else ""
    return f"ring {found.dpl} {name}  base {found.base:X} limit {found.limit:X} {width}-bit{accessed}{absent}"


def _gate_text(raw: int, size: int) -> str:
    """`ring 0 32-bit Interrupt Gate → 0008:00100200`."""
    if size == 16:
        long = decode_long_gate(raw)
        kind = "Interrupt Gate" if long.is_interrupt_gate else "Trap Gate" if long.is_trap_gate else "no gate"
        stack = f", stack IST{long.ist}" if long.ist else ""
        return f"ring {long.dpl} 64-bit {kind} → {long.selector:04X}:{long.offset:08X}{stack}"
    gate = decode_gate(raw)
    name = "no gate" if gate.kind is None else gate.kind.name
    absent = "" if gate.present else "  not present"
    return f"ring {gate.dpl} {name} → {gate.selector:04X}:{gate.offset:08X}{absent}"


def _real_mode_rows(guest: CpuState, places: Places, trace: StepTrace | None, source: SourceMap) -> Rows:
    """Give the interrupt vectors of real mode: far pointers of four bytes."""
    rows = []
    for vector in range(min(_REAL_MODE_VECTORS, (guest.idtr.limit + 1) // 4)):
        data = places.memory.peek(guest.idtr.base + vector * 4, 4)
        if data is None or not any(data):
            continue
        offset, segment = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:], "little")
        is_read, is_written, _ = places.marks(trace, guest.idtr.base + vector * 4, 4)
        found = source.symbol_at(offset)
        note = found[0] if found is not None and not found[1] else ""
        place = f"{vector:02X}h {_vector_name(vector):<4}"
        rows.append(MemoryRow(place, f"{segment:04X}:{offset:04X}", note=note, is_read=is_read, is_written=is_written))
    return tuple(rows), f"interrupt vectors {guest.idtr.base:08X}", "real mode: far pointers; zeros are left out"
