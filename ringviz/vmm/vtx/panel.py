"""The VMCS to look at: what the last exit wrote, what the VMM changed since, and what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ringviz.facts.exceptions import EXCEPTIONS
from ringviz.facts.layout import BitField
from ringviz.facts.registers import CR0_BITS, CR4_BITS, GPR_NAMES, GPR_NAMES_64, RegisterBit
from ringviz.facts.vmx import (
    CONTROL_FIELDS,
    CR_QUALIFICATION,
    DR_QUALIFICATION,
    ENTRY_FAILURE_BIT,
    EPT_QUALIFICATION,
    EXIT_REASONS,
    INTERRUPTIBILITY,
    INTERRUPTION,
    IO_QUALIFICATION,
    VMCS_FIELDS,
    VMX_CONTROLS,
    ActivityState,
    CrAccess,
    FieldType,
    InterruptionType,
    Reason,
    VmcsField,
)
from ringviz.vmm.side import Mark, Side, SideRow
from ringviz.vmm.vtx.capabilities import Capabilities
from ringviz.vmm.vtx.operation import has_field
from ringviz.vmm.vtx.vmcs import LaunchState, Vmcs, fields_of_image


@dataclass(frozen=True, slots=True)
class Images:
    """The fields of the VMCS around the last exit."""

    before_exit: bytes
    at_exit: bytes
    """Right after the CPU had written to it, before the VMM did."""


_FIRST = (
    "VM_EXIT_REASON", "EXIT_QUALIFICATION", "VM_EXIT_INSTRUCTION_LENGTH", "VM_EXIT_INSTRUCTION_INFO",
    "VM_EXIT_INTR_INFO", "VM_EXIT_INTR_ERROR_CODE", "IDT_VECTORING_INFO", "IDT_VECTORING_ERROR_CODE",
    "GUEST_LINEAR_ADDRESS", "GUEST_PHYSICAL_ADDRESS",
    "VM_ENTRY_INTR_INFO", "VM_ENTRY_EXCEPTION_ERROR_CODE", "VM_ENTRY_INSTRUCTION_LENGTH",
    "GUEST_RIP", "GUEST_RSP", "GUEST_RFLAGS", "GUEST_CR0", "CR0_READ_SHADOW", "CR0_GUEST_HOST_MASK",
    "GUEST_CR4", "CR4_READ_SHADOW", "CR4_GUEST_HOST_MASK", "GUEST_CR3",
    "GUEST_INTERRUPTIBILITY_STATE", "GUEST_ACTIVITY_STATE",
    *CONTROL_FIELDS.values(),
    "EXCEPTION_BITMAP", "PAGE_FAULT_ERROR_CODE_MASK", "PAGE_FAULT_ERROR_CODE_MATCH",
)  # fmt: skip
"""What a learner looks at first; then follow the other controls, the rest of the guest, and the host."""
_ORDER = (FieldType.READ_ONLY, FieldType.CONTROL, FieldType.GUEST, FieldType.HOST)


def vmcs_panel(vmcs: Vmcs, images: Images, capabilities: Capabilities) -> Side:
    """Make the panel."""
    now, at_exit, before = vmcs.fields(), fields_of_image(images.at_exit), fields_of_image(images.before_exit)
    state = "launched" if vmcs.launch_state is LaunchState.LAUNCHED else "clear"
    rows = tuple(_row(field, now, at_exit, before) for field in _in_order(capabilities))
    caption = f"current VMCS at {vmcs.address:08X}h, revision {vmcs.revision}, launch state {state}"
    return Side("VMCS", caption, rows)


def _in_order(capabilities: Capabilities) -> Iterator[VmcsField]:
    """Give the fields that this CPU has, the interesting ones first."""
    by_name = {field.name: field for field in VMCS_FIELDS.values() if has_field(capabilities, field.feature)}
    for name in _FIRST:
        if name in by_name:
            yield by_name.pop(name)
    yield from sorted(by_name.values(), key=lambda field: (_ORDER.index(field.type), field.encoding))


def _row(field: VmcsField, now: Mapping[str, int], at_exit: Mapping[str, int], before: Mapping[str, int]) -> SideRow:
    name, digits = field.name, 2 * field.size_bytes
    if field.size_bytes == 8 and not now[name] >> 32:
        digits = 8  # a 32-bit guest fills no more of a natural-width field
    mark, old = Mark.NONE, ""
    if now[name] != at_exit[name]:
        mark, old = Mark.BY_VMM, f"{at_exit[name]:0{digits}X}"
    elif at_exit[name] != before[name]:
        mark, old = Mark.BY_CPU, f"{before[name]:0{digits}X}"
    return SideRow(f"{field.encoding:04X}h", field.title, f"{now[name]:0{digits}X}", old, mark, _note(name, now))


def _note(name: str, fields: Mapping[str, int]) -> str:
    """What the value of a field means, where a number does not say it by itself."""
    explain = _NOTES.get(name)
    return "" if explain is None else explain(fields[name], fields)


# ---- what numbers mean -----------------------------------------------------------------------------------------------

_Explain = Callable[[int, Mapping[str, int]], str]


def _reason(value: int, _fields: Mapping[str, int]) -> str:
    row = EXIT_REASONS.get(value & 0xFFFF)
    text = "no such reason" if row is None else f"{row.number}, {row.name}: {row.title}"
    return f"VM-entry failure; {text}" if value & ENTRY_FAILURE_BIT else text


def _qualification(value: int, fields: Mapping[str, int]) -> str:
    match fields["VM_EXIT_REASON"] & 0xFFFF:
        case Reason.CR_ACCESS:
            return _cr_qualification(value, fields)
        case Reason.MOV_DR:
            get = _getter(DR_QUALIFICATION, value)
            to_from = "from" if get("DIRECTION") else "to"
            return f"MOV {to_from} DR{get('NUMBER')}, {_gpr_name(get('GPR'), fields)}"
        case Reason.IO_INSTRUCTION:
            get = _getter(IO_QUALIFICATION, value)
            what = "IN" if get("DIRECTION") else "OUT"
            parts = [f"{what} port {get('PORT'):X}h, {get('SIZE') + 1} byte{'s' if get('SIZE') else ''}"]
            parts += ["string"] * bool(get("STRING")) + ["REP"] * bool(get("REP"))
            parts += ["port immediate" if get("IMMEDIATE") else "port in DX"]
            return ", ".join(parts)
        case Reason.EPT_VIOLATION:
            return _set_titles(EPT_QUALIFICATION, value)
        case Reason.EXCEPTION_NMI if fields["VM_EXIT_INTR_INFO"] & 0xFF == 14:
            return "linear address of the page fault"
        case Reason.INVLPG:
            return "linear address of the operand"
        case _:
            return ""


def _cr_qualification(value: int, fields: Mapping[str, int]) -> str:
    get = _getter(CR_QUALIFICATION, value)
    match get("TYPE"):
        case CrAccess.MOV_TO_CR:
            return f"MOV to CR{get('NUMBER')} from {_gpr_name(get('GPR'), fields)}"
        case CrAccess.MOV_FROM_CR:
            return f"MOV from CR{get('NUMBER')} to {_gpr_name(get('GPR'), fields)}"
        case CrAccess.CLTS:
            return "CLTS"
        case _:
            return f"LMSW of {get('LMSW_SOURCE'):04X}h"


def _gpr_name(number: int, fields: Mapping[str, int]) -> str:
    """Name of a general register, at the width of the machine: one whose VMM is 64-bit has sixteen of 64 bits."""
    is_long = fields[CONTROL_FIELDS["exit"]] & VMX_CONTROLS["host-address-space-size-on-exit"].mask
    return (GPR_NAMES_64[number] if is_long else GPR_NAMES[number & 7]).upper()


def _getter(fields: Mapping[str, BitField], value: int) -> Callable[[str], int]:
    return lambda name: fields[name].get(value)


def _set_titles(fields: Mapping[str, BitField], value: int) -> str:
    return "; ".join(field.title for field in fields.values() if field.get(value))


_TYPE_NAMES = {kind.value: kind.name.lower().replace("_", " ") for kind in InterruptionType}


def _interruption(value: int, _fields: Mapping[str, int]) -> str:
    if not INTERRUPTION["VALID"].get(value):
        return "nothing"
    vector = INTERRUPTION["VECTOR"].get(value)
    row = EXCEPTIONS.get(vector)
    name = row.mnemonic if row is not None and row.mnemonic.startswith("#") else f"vector {vector}"
    kind = _TYPE_NAMES.get(INTERRUPTION["TYPE"].get(value), "reserved")
    return f"{name}, {kind}" + (", error code" if INTERRUPTION["ERROR_CODE_VALID"].get(value) else "")


def _controls(word: str) -> _Explain:
    rows = [row for row in VMX_CONTROLS.values() if row.word == word]

    def explain(value: int, _fields: Mapping[str, int]) -> str:
        return ", ".join(row.name for row in rows if value & row.mask)

    return explain


def _exceptions(value: int, _fields: Mapping[str, int]) -> str:
    names = (EXCEPTIONS[v].mnemonic if v in EXCEPTIONS else f"vector {v}" for v in range(32) if value >> v & 1)
    return ", ".join(names) or "no exception exits"


def _bits(rows: Mapping[str, RegisterBit], prefix: str) -> _Explain:
    def explain(value: int, _fields: Mapping[str, int]) -> str:
        names = [name for name, row in rows.items() if value & row.mask]
        return prefix + (", ".join(names) or "none")

    return explain


def _interruptibility(value: int, _fields: Mapping[str, int]) -> str:
    return _set_titles(INTERRUPTIBILITY, value)


def _activity(value: int, _fields: Mapping[str, int]) -> str:
    return ActivityState(value).name.lower().replace("_", " ") if value <= ActivityState.WAIT_FOR_SIPI else ""


def _always(text: str) -> _Explain:
    return lambda _value, _fields: text


_NOTES: Mapping[str, _Explain] = {
    "VM_EXIT_REASON": _reason,
    "EXIT_QUALIFICATION": _qualification,
    "VM_EXIT_INTR_INFO": _interruption,
    "IDT_VECTORING_INFO": _interruption,
    "VM_ENTRY_INTR_INFO": _interruption,
    "EXCEPTION_BITMAP": _exceptions,
    "CR0_GUEST_HOST_MASK": _bits(CR0_BITS, "the VMM owns: "),
    "CR4_GUEST_HOST_MASK": _bits(CR4_BITS, "the VMM owns: "),
    "GUEST_CR0": _bits(CR0_BITS, "real: "),
    "GUEST_CR4": _bits(CR4_BITS, "real: "),
    "CR0_READ_SHADOW": _bits(CR0_BITS, "where masked, the guest reads: "),
    "CR4_READ_SHADOW": _bits(CR4_BITS, "where masked, the guest reads: "),
    "GUEST_INTERRUPTIBILITY_STATE": _interruptibility,
    "GUEST_ACTIVITY_STATE": _activity,
    "GUEST_SS_ACCESS_RIGHTS": lambda value, _fields: f"its DPL is the guest's CPL: {value >> 5 & 3}",
    **{name: _controls(word) for word, name in CONTROL_FIELDS.items()},
}
