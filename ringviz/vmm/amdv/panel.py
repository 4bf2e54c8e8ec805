"""The VMCB to look at: what the last #VMEXIT wrote, what the VMM changed since, and what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ringviz.facts.exceptions import EXCEPTIONS
from ringviz.facts.layout import BitField, ByteField
from ringviz.facts.registers import CR0_BITS, CR4_BITS, EFER_BITS, RegisterBit
from ringviz.facts.svm import (
    EVENTINJ_FIELDS,
    INTERCEPTS,
    IOIO_EXITINFO1_FIELDS,
    NPF_EXITINFO1_FIELDS,
    VMCB_CONTROL,
    VMCB_SAVE,
    EventType,
    svm_exit,
)
from ringviz.vmm.side import Mark, Side, SideRow


@dataclass(frozen=True, slots=True)
class Images:
    """The VMCB around the last exit."""

    before_exit: bytes
    at_exit: bytes
    """Right after the CPU had written to it, before the VMM did."""


_FIRST = (
    "EXITCODE", "EXITINFO1", "EXITINFO2", "EXITINTINFO", "EVENTINJ", "RIP", "RSP", "RAX", "RFLAGS", "CPL", "CR0", "CR2",
    "CR3", "CR4", "EFER", "INTERRUPT_SHADOW", "INTERCEPT_CR", "INTERCEPT_DR", "INTERCEPT_EXCEPTIONS",
    "INTERCEPT_MISC1", "INTERCEPT_MISC2", "IOPM_BASE_PA", "MSRPM_BASE_PA", "GUEST_ASID", "NP_CONTROL", "N_CR3",
)  # fmt: skip
"""What a learner looks at first; then follows the rest of both areas in its order."""
_FIELDS: Mapping[str, ByteField] = {**VMCB_CONTROL, **VMCB_SAVE}


def vmcb_panel(address: int, now: bytes, images: Images, name: str = "VMCB") -> Side:
    """Make the panel."""
    rows = tuple(_row(field, now, images) for field in _in_order(len(now)))
    return Side("VMCB", f"{name} at {address:08X}h: control area, and state save area from 400h on", rows)


def _in_order(size_bytes: int) -> Iterator[ByteField]:
    rest = {name: field for name, field in _FIELDS.items() if field.end <= size_bytes}
    for name in _FIRST:
        yield rest.pop(name)
    yield from rest.values()


def _value(field: ByteField, image: bytes) -> int:
    return int.from_bytes(image[field.offset : field.end], "little")


def _row(field: ByteField, now: bytes, images: Images) -> SideRow:
    value, at_exit, before = (_value(field, image) for image in (now, images.at_exit, images.before_exit))
    digits = 2 * field.size_bytes
    if field.size_bytes == 8 and not value >> 32:
        digits = 8  # a 32-bit guest fills no more
    mark, old = Mark.NONE, ""
    if value != at_exit:
        mark, old = Mark.BY_VMM, f"{at_exit:0{digits}X}"
    elif at_exit != before:
        mark, old = Mark.BY_CPU, f"{before:0{digits}X}"
    explain = _NOTES.get(field.name)
    note = "" if explain is None else explain(value, now)
    return SideRow(f"{field.offset:03X}h", field.name, f"{value:0{digits}X}", old, mark, note or field.title)


# ---- what numbers mean -----------------------------------------------------------------------------------------------

_Explain = Callable[[int, bytes], str]


def _exit_code(value: int, _now: bytes) -> str:
    try:
        row = svm_exit(value)
    except KeyError:
        return "no such exit"
    return f"{row.name}: {row.title}"


def _info1(value: int, now: bytes) -> str:
    code = _value(VMCB_CONTROL["EXITCODE"], now)
    match code:
        case 0x07B:
            return _io(value)
        case 0x07C:
            return "WRMSR" if value else "RDMSR"
        case 0x400:
            return "; ".join(field.title for field in NPF_EXITINFO1_FIELDS.values() if field.get(value))
        case _ if 0x040 <= code < 0x060 and code - 0x040 in EXCEPTIONS:
            return "error code of the exception" if EXCEPTIONS[code - 0x040].has_error_code else ""
        case _:
            return ""


def _io(value: int) -> str:
    def get(name: str) -> int:
        return IOIO_EXITINFO1_FIELDS[name].get(value)

    size = next((bits for bits in (8, 16, 32) if get(f"SZ{bits}")), 0)
    parts = [f"{'IN' if get('TYPE') else 'OUT'} port {get('PORT'):X}h", f"{size} bits"]
    parts += ["string"] * get("STR") + ["REP"] * get("REP")
    return ", ".join(parts)


def _info2(value: int, now: bytes) -> str:
    del value
    return {
        0x07B: "address of the next instruction",
        0x04E: "linear address of the page fault",
        0x400: "guest-physical address",
    }.get(_value(VMCB_CONTROL["EXITCODE"], now), "")


def _event(value: int, _now: bytes) -> str:
    def get(fields: Mapping[str, BitField], name: str) -> int:
        return fields[name].get(value)

    if not get(EVENTINJ_FIELDS, "V"):
        return "nothing"
    vector = get(EVENTINJ_FIELDS, "VECTOR")
    row = EXCEPTIONS.get(vector)
    name = row.mnemonic if row is not None and row.mnemonic.startswith("#") else f"vector {vector}"
    kind = get(EVENTINJ_FIELDS, "TYPE")
    kinds = {event.value: event.name.lower() for event in EventType}
    code = f", error code {get(EVENTINJ_FIELDS, 'ERRORCODE'):X}h" if get(EVENTINJ_FIELDS, "EV") else ""
    return f"{name}, {kinds.get(kind, 'reserved')}{code}"


def _intercepts(offset: int) -> _Explain:
    rows = [row for row in INTERCEPTS.values() if row.offset == offset]

    def explain(value: int, _now: bytes) -> str:
        return ", ".join(row.name for row in rows if value >> row.bit & 1) or "none"

    return explain


def _bits(rows: Mapping[str, RegisterBit]) -> _Explain:
    def explain(value: int, _now: bytes) -> str:
        return ", ".join(name for name, row in rows.items() if value & row.mask)

    return explain


_NOTES: Mapping[str, _Explain] = {
    "EXITCODE": _exit_code,
    "EXITINFO1": _info1,
    "EXITINFO2": _info2,
    "EXITINTINFO": _event,
    "EVENTINJ": _event,
    "CR0": _bits(CR0_BITS),
    "CR4": _bits(CR4_BITS),
    "EFER": _bits(EFER_BITS),
    **{name: _intercepts(field.offset) for name, field in VMCB_CONTROL.items() if name.startswith("INTERCEPT_")},
}
