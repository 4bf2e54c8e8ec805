"""Which of the CPU's stops leave guest mode, under the intercepts that the VMCB holds just now.

A stop that is no exit here is the guest's own affair: the CPU goes on in guest mode.

Source: AMD APM Vol. 2, "Intercept Operation", "Instruction Intercepts", "IOIO Intercepts", "MSR Intercepts"; the order
of intercept and privilege check of each instruction as two readers of the manual have it: Linux, `x86_intercept_map` in
arch/x86/kvm/svm/svm.c, which tells intercepts before an instruction's exceptions from those behind, and Bochs, svm.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Cr4
from ringviz.facts.svm import EVENTINJ_FIELDS, IOIO_EXITINFO1_FIELDS, EventType
from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Interruption
from ringviz.machine.microcode.operands import read_register
from ringviz.machine.microcode.ports import PORT_FORMS
from ringviz.machine.state import ADDRESS_32, ECX, CpuState
from ringviz.machine.stops import PortIo
from ringviz.machine.svm.report import SvmReport

ReadByte = Callable[[int], int]
"""A byte of host-physical memory: for the permission maps."""

_FREE_BITS = Cr0.TS | Cr0.MP
"""Bits of CR0 whose change CR0_SEL_WRITE does not mind."""
_MSR_RANGES = ((0x0000_0000, 0x0000), (0xC000_0000, 0x0800), (0xC001_0000, 0x1000))
"""First register of each range of the MSR permission map, and where its bits begin."""
_MSR_RUN = 0x2000


@dataclass(frozen=True, slots=True)
class _Plain:
    """An instruction that one intercept decides about."""

    intercept: str
    exit_name: str
    needs: str = ""
    """What is checked before: `ring-0`, `tsd`, `pce`, or nothing."""


_PLAIN: dict[str, _Plain] = {
    "cpuid": _Plain("CPUID", "VMEXIT_CPUID"),
    "hlt": _Plain("HLT", "VMEXIT_HLT", "ring-0"),
    "invd": _Plain("INVD", "VMEXIT_INVD", "ring-0"),
    "wbinvd": _Plain("WBINVD", "VMEXIT_WBINVD", "ring-0"),
    "invlpg": _Plain("INVLPG", "VMEXIT_INVLPG", "ring-0"),
    "rdtsc": _Plain("RDTSC", "VMEXIT_RDTSC", "tsd"),
    "rdpmc": _Plain("RDPMC", "VMEXIT_RDPMC", "pce"),
    "pushf": _Plain("PUSHF", "VMEXIT_PUSHF"),
    "popf": _Plain("POPF", "VMEXIT_POPF"),
    "iret": _Plain("IRET", "VMEXIT_IRET"),
    "int": _Plain("INTN", "VMEXIT_SWINT"),
    "int1": _Plain("ICEBP", "VMEXIT_ICEBP"),
    "sidt": _Plain("IDTR_READ", "VMEXIT_IDTR_READ"),
    "sgdt": _Plain("GDTR_READ", "VMEXIT_GDTR_READ"),
    "sldt": _Plain("LDTR_READ", "VMEXIT_LDTR_READ"),
    "str": _Plain("TR_READ", "VMEXIT_TR_READ"),
    "lidt": _Plain("IDTR_WRITE", "VMEXIT_IDTR_WRITE", "ring-0"),
    "lgdt": _Plain("GDTR_WRITE", "VMEXIT_GDTR_WRITE", "ring-0"),
    "lldt": _Plain("LDTR_WRITE", "VMEXIT_LDTR_WRITE", "ring-0"),
    "ltr": _Plain("TR_WRITE", "VMEXIT_TR_WRITE", "ring-0"),
    "vmrun": _Plain("VMRUN", "VMEXIT_VMRUN", "ring-0"),
    "vmload": _Plain("VMLOAD", "VMEXIT_VMLOAD", "ring-0"),
    "vmsave": _Plain("VMSAVE", "VMEXIT_VMSAVE", "ring-0"),
    "stgi": _Plain("STGI", "VMEXIT_STGI", "ring-0"),
    "clgi": _Plain("CLGI", "VMEXIT_CLGI", "ring-0"),
    "skinit": _Plain("SKINIT", "VMEXIT_SKINIT", "ring-0"),
    "invlpga": _Plain("INVLPGA", "VMEXIT_INVLPGA", "ring-0"),
    "vmmcall": _Plain("VMMCALL", "VMEXIT_VMMCALL"),
}
SVM_FORMS = frozenset({"vmrun", "vmload", "vmsave", "stgi", "clgi", "skinit", "invlpga", "vmmcall"})
"""The guest's virtual CPU has none of these unless its VMM lends them on: else the VMM answers with #UD."""
_CR_FORMS = frozenset({"mov-to-cr", "mov-from-cr", "clts", "lmsw", "smsw"})
_DR_FORMS = frozenset({"mov-to-dr", "mov-from-dr"})
_MSR_FORMS = frozenset({"rdmsr", "wrmsr"})
FORMS = frozenset(_PLAIN) | PORT_FORMS | _CR_FORMS | _DR_FORMS | _MSR_FORMS
"""Every form that some intercept can catch."""


def register_intercepts(instruction: Instruction) -> tuple[str, ...]:
    """The intercepts that can catch an instruction that uses a control or debug register; the first one set counts."""
    registers = [op.register for op in instruction.ops if op.register and op.register[:2] in ("cr", "dr")]
    match instruction.form:
        case "mov-to-cr" | "mov-to-dr":
            name = (registers[0] or "").upper()
            return (f"{name}_WRITE", "CR0_SEL_WRITE") if name == "CR0" else (f"{name}_WRITE",)
        case "mov-from-cr" | "mov-from-dr":
            return (f"{(registers[0] or '').upper()}_READ",)
        case "lmsw":
            return ("CR0_WRITE", "CR0_SEL_WRITE")
        case "clts":
            return ("CR0_WRITE",)
        case "smsw":
            return ("CR0_READ",)
        case _:
            return ()


def possible_intercepts(instruction: Instruction) -> tuple[str, ...]:
    """Every intercept that can catch an instruction, the first that is set counts."""
    form = instruction.form or ""
    if form in _PLAIN:
        return (_PLAIN[form].intercept,)
    if form in PORT_FORMS:
        return ("IOIO_PROT",)
    if form in _MSR_FORMS:
        return ("MSR_PROT",)
    return register_intercepts(instruction)


def instruction_exit(
    intercepts: frozenset[str],
    instruction: Instruction,
    state: CpuState,
    port: PortIo | None,
    maps: tuple[int, int],
    read: ReadByte,
) -> SvmReport | None:
    """Tell whether an instruction exits, and what it reports.

    Args:
        intercepts: names of those set.
        instruction: about to be executed.
        state: the CPU.
        port: for IN, OUT, INS and OUTS that this ring may execute: which port.
        maps: addresses of the I/O and the MSR permission map.
        read: their memory.
    """
    form = instruction.form or ""
    if form in _PLAIN:
        row = _PLAIN[form]
        if row.intercept not in intercepts or not _reaches_the_intercept(row.needs, state):
            return None
        return SvmReport(row.exit_name, row.intercept)
    if form in PORT_FORMS:
        assert port is not None, "the caller knows the port"
        if "IOIO_PROT" not in intercepts or not _port_is_marked(maps[0], port, read):
            return None
        next_eip = state.eip + instruction.size
        return SvmReport("VMEXIT_IOIO", "IOIO_PROT", _ioio_info(port), next_eip)
    if form in _MSR_FORMS:
        is_write = form == "wrmsr"
        marked = _msr_is_marked(maps[1], state.gpr[ECX] & ADDRESS_32, is_write, read)
        if "MSR_PROT" not in intercepts or state.cpl or not marked:
            return None
        return SvmReport("VMEXIT_MSR", "MSR_PROT", int(is_write))
    if state.cpl and form != "smsw":
        return None
    for name in register_intercepts(instruction):
        if name not in intercepts or (name == "CR0_SEL_WRITE" and not _changes_more(instruction, state)):
            continue
        return SvmReport(_register_exit(name), name)
    return None


def _register_exit(intercept: str) -> str:
    if intercept == "CR0_SEL_WRITE":
        return "VMEXIT_CR0_SEL_WRITE"
    register, _, verb = intercept.partition("_")
    return f"VMEXIT_{register}_{verb}"


def _changes_more(instruction: Instruction, state: CpuState) -> bool:
    """A write to CR0 changes more than TS and MP."""
    operand = instruction.ops[-1]
    if operand.register is None:
        return True
    value = read_register(state, operand.register)
    if instruction.form == "lmsw":
        value = state.cr0 & ~0xE | value & 0xF | state.cr0 & Cr0.PE
    return bool((value ^ state.cr0) & ~_FREE_BITS)


def _reaches_the_intercept(needs: str, state: CpuState) -> bool:
    match needs:
        case "ring-0":
            return state.cpl == 0
        case "tsd":
            return not (state.cr4 & Cr4.TSD and state.cpl)
        case "pce":
            return bool(state.cr4 & Cr4.PCE) or state.cpl == 0
        case _:
            return True


def _port_is_marked(permissions: int, port: PortIo, read: ReadByte) -> bool:
    return any(read(permissions + (n >> 3)) >> (n & 7) & 1 for n in range(port.port, port.port + port.size))


def _msr_is_marked(permissions: int, number: int, is_write: bool, read: ReadByte) -> bool:
    """Two bits a register: the lower for reads, the upper for writes. Registers outside the map always exit."""
    for first, offset in _MSR_RANGES:
        if first <= number < first + _MSR_RUN:
            bit = 2 * (number - first) + is_write
            return bool(read(permissions + offset + (bit >> 3)) >> (bit & 7) & 1)
    return True


def _ioio_info(stop: PortIo) -> int:
    """EXITINFO1 of an IOIO exit: type, string, REP, operand size, address size, port."""
    instruction = stop.instruction
    value = 0
    for name, part in (
        ("TYPE", int(stop.is_input)),
        ("STR", int(instruction.is_string)),
        ("REP", int(bool(instruction.rep))),
        (f"SZ{8 * stop.size}", 1),
        (f"A{instruction.address_size_bits}", 1),
        ("PORT", stop.port),
    ):
        value = IOIO_EXITINFO1_FIELDS[name].put(value, part)
    return value


def exception_exit(
    intercepts: frozenset[str], event: Interruption, during: Interruption | None = None
) -> SvmReport | None:
    """Tell whether an exception exits; INT n has an intercept of its own."""
    if event.is_software and event.vector not in (Vector.BP, Vector.OF):
        return None
    name = f"EXCP{event.vector}"
    if name not in intercepts:
        return None
    is_page_fault = event.vector == Vector.PF
    return SvmReport(
        f"VMEXIT_{name}",
        name,
        event.error_code or 0,
        (event.linear or 0) if is_page_fault else 0,
        0 if during is None else event_word(during),
    )


def event_word(event: Interruption) -> int:
    """Describe an event as EVENTINJ and EXITINTINFO do."""
    kind = EventType.SWINT if event.is_software else EventType.EXCEPTION
    kind = EventType.INTR if event.is_external else kind
    value = EVENTINJ_FIELDS["VECTOR"].put(0, event.vector)
    value = EVENTINJ_FIELDS["TYPE"].put(value, kind)
    value = EVENTINJ_FIELDS["EV"].put(value, int(event.error_code is not None))
    value = EVENTINJ_FIELDS["V"].put(value, 1)
    return EVENTINJ_FIELDS["ERRORCODE"].put(value, event.error_code or 0)


_STOPS_BY_ITSELF = (
    SVM_FORMS
    | PORT_FORMS
    | frozenset({"cpuid", "hlt", "rdtsc", "rdpmc", "rdmsr", "wrmsr", "clts", "lmsw", "ltr", "int", "int1"})
)
"""The machine stops at these in any case; to watch them would be to pass them."""


def watched_forms(intercepts: frozenset[str]) -> frozenset[str]:
    """Give the forms that some intercept of these may catch, and at which the machine does not stop by itself."""
    by_form = {
        "pushf": "PUSHF", "popf": "POPF", "iret": "IRET", "invd": "INVD", "wbinvd": "WBINVD", "invlpg": "INVLPG",
        "sidt": "IDTR_READ", "sgdt": "GDTR_READ", "sldt": "LDTR_READ", "str": "TR_READ",
        "lidt": "IDTR_WRITE", "lgdt": "GDTR_WRITE", "lldt": "LDTR_WRITE",
    }  # fmt: skip
    forms = {form for form, name in by_form.items() if name in intercepts}
    crs = {name for name in intercepts if name.startswith("CR")}
    if any(name.endswith("_WRITE") for name in crs):
        forms.add("mov-to-cr")
    if any(name.endswith("_READ") for name in crs):
        forms |= {"mov-from-cr", "smsw"}
    if any(name.startswith("DR") and name.endswith("_WRITE") for name in intercepts):
        forms.add("mov-to-dr")
    if any(name.startswith("DR") and name.endswith("_READ") for name in intercepts):
        forms.add("mov-from-dr")
    return frozenset(forms) & FORMS - _STOPS_BY_ITSELF
