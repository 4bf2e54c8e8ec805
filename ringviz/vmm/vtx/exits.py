"""Which of the CPU's stops leave VMX non-root operation, under the controls that are set just now.

A stop that is not an exit here is the guest's own affair: the CPU goes on in non-root operation. The order in each
function is the manual's: #UD, privilege and I/O-map checks come before an exit, everything else after it.

Source: Intel SDM Vol. 3C, "VMX Non-Root Operation", "Basic VM-Exit Information".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Cr4
from ringviz.facts.vmx import (
    CONTROL_FIELDS,
    CR_QUALIFICATION,
    DR_QUALIFICATION,
    INSTRUCTION_EXITS,
    INTERRUPTION,
    IO_QUALIFICATION,
    VMX_CONTROLS,
    CrAccess,
    InstructionExit,
    InterruptionType,
    Reason,
)
from ringviz.guest.instruction import Instruction, Operand
from ringviz.machine.delivery import Interruption
from ringviz.machine.linear import LinearMemory, NotCanonical, PageFault
from ringviz.machine.microcode.operands import (
    REGISTERS,
    SEGMENT_INDEX,
    linear_address,
    read_register,
    segment_base,
)
from ringviz.machine.paging import Access
from ringviz.machine.state import ADDRESS_32, ECX, EDI, ES, ESI, CpuState
from ringviz.machine.stops import PortIo
from ringviz.vmm.vtx.instruction_information import instruction_information

ReadByte = Callable[[int], int]
"""A byte of host-physical memory: for the bitmaps."""

_MSR_HIGH = 0xC000_0000
_MSR_RUN = 0x2000
_LMSW_BITS = 0xE
"""MP, EM and TS: the bits that LMSW loads besides PE."""
_DEBUG_CONDITIONS = 0x600F


@dataclass(frozen=True, slots=True)
class VmExit:
    """What the CPU writes into the VMCS about one exit, and which rule asked for it."""

    reason: Reason
    rule: str
    qualification: int = 0
    length: int = 0
    """VM-exit instruction length; 0 where the field means nothing."""
    instruction_information: int = 0
    interruption: int = 0
    error_code: int = 0
    idt_vectoring: int = 0
    idt_error_code: int = 0
    linear: int | None = None
    physical: int | None = None
    io_registers: tuple[int, int, int, int] | None = None
    """RCX, RSI, RDI, RIP for INS and OUTS."""


@dataclass(frozen=True, slots=True)
class Controls:
    """The fields of a VMCS that decide about exits, taken together."""

    words: dict[str, int]
    exception_bitmap: int
    page_fault_mask: int
    page_fault_match: int
    cr0_mask: int
    cr0_shadow: int
    cr4_mask: int
    cr4_shadow: int
    cr3_targets: tuple[int, ...]
    io_bitmaps: tuple[int, int]
    msr_bitmap: int

    @classmethod
    def of(cls, fields: dict[str, int]) -> Controls:
        """Take them out of a VMCS."""
        return cls(
            {word: fields[name] for word, name in CONTROL_FIELDS.items()},
            fields["EXCEPTION_BITMAP"],
            fields["PAGE_FAULT_ERROR_CODE_MASK"],
            fields["PAGE_FAULT_ERROR_CODE_MATCH"],
            fields["CR0_GUEST_HOST_MASK"],
            fields["CR0_READ_SHADOW"],
            fields["CR4_GUEST_HOST_MASK"],
            fields["CR4_READ_SHADOW"],
            tuple(fields[f"CR3_TARGET_VALUE{number}"] for number in range(fields["CR3_TARGET_COUNT"])),
            (fields["IO_BITMAP_A"], fields["IO_BITMAP_B"]),
            fields["MSR_BITMAP"],
        )

    def has(self, control: str) -> bool:
        """Tell whether a control is set and counts."""
        row = VMX_CONTROLS[control]
        if row.word == "secondary" and not self.has("activate-secondary-controls"):
            return False
        return bool(self.words[row.word] & row.mask)


# ---- instructions ----------------------------------------------------------------------------------------------------


def instruction_exit(
    controls: Controls,
    instruction: Instruction,
    guest: CpuState,
    memory: LinearMemory,
    port: PortIo | None,
    read: ReadByte,
) -> VmExit | None:
    """Tell whether an instruction exits, and what it reports.

    Args:
        controls: as set now.
        instruction: about to be executed.
        guest: the CPU as the guest sees it.
        memory: likewise.
        port: for IN, OUT, INS and OUTS that this ring may execute: which port.
        read: memory of the bitmaps.
    """
    row = INSTRUCTION_EXITS.get(instruction.form or "")
    if row is None or not _reaches_the_exit(row, guest):
        return None
    if row.is_ruled:
        return _ruled_exit(controls, row, instruction, guest, memory, port, read)
    if row.control is not None and not controls.has(row.control):
        return None
    rule = "unconditional" if row.control is None else f"“{VMX_CONTROLS[row.control].name}” is 1"
    return VmExit(
        row.reason,
        rule,
        _plain_qualification(instruction, guest),
        instruction.size,
        instruction_information(instruction),
    )


def _reaches_the_exit(row: InstructionExit, guest: CpuState) -> bool:
    """The checks that have priority over the exit."""
    match row.needs:
        case "ring-0" | "ring-0-or-ud":
            return guest.cpl == 0
        case "tsd":
            return not (guest.cr4 & Cr4.TSD and guest.cpl)
        case "pce":
            return bool(guest.cr4 & Cr4.PCE) or guest.cpl == 0
        case _:
            return True


def _plain_qualification(instruction: Instruction, guest: CpuState) -> int:
    """Exit qualification of the instructions that one control bit decides about."""
    match instruction.form:
        case "invlpg":
            return linear_address(guest, instruction.ops[0], instruction.address_size_bits)
        case "mov-to-dr" | "mov-from-dr":
            to_register = instruction.form == "mov-to-dr"
            debug, general = instruction.ops if to_register else reversed(instruction.ops)
            value = DR_QUALIFICATION["NUMBER"].put(0, int((debug.register or "dr0")[2:]))
            value = DR_QUALIFICATION["DIRECTION"].put(value, int(not to_register))
            return DR_QUALIFICATION["GPR"].put(value, _gpr(general))
        case (
            "lgdt"
            | "lidt"
            | "sgdt"
            | "sidt"
            | "lldt"
            | "ltr"
            | "sldt"
            | "str"
            | "vmclear"
            | "vmptrld"
            | "vmptrst"
            | ("vmread" | "vmwrite" | "vmxon")
        ):
            # The displacement of the memory operand, which the VMM needs to find it.
            memory = next((operand for operand in instruction.ops if operand.kind == "mem"), None)
            return 0 if memory is None else memory.displacement & guest.address_mask
        case _:
            return 0


def _gpr(operand: Operand) -> int:
    return REGISTERS[operand.register or "eax"][0]


def _ruled_exit(
    controls: Controls,
    row: InstructionExit,
    instruction: Instruction,
    guest: CpuState,
    memory: LinearMemory,
    port: PortIo | None,
    read: ReadByte,
) -> VmExit | None:
    match row.form:
        case "mov-to-cr":
            return _mov_to_cr(controls, instruction, guest)
        case "mov-from-cr":
            return _mov_from_cr(controls, instruction)
        case "clts":
            if controls.cr0_mask & controls.cr0_shadow & Cr0.TS:
                return _cr_exit(instruction, CrAccess.CLTS, "TS is set in the CR0 guest/host mask and read shadow")
            return None
        case "lmsw":
            return _lmsw(controls, instruction, guest, memory)
        case "rdmsr" | "wrmsr":
            rule = _msr_rule(controls, guest.gpr[ECX] & ADDRESS_32, row.form == "wrmsr", read)
            return None if rule is None else VmExit(row.reason, rule, length=instruction.size)
        case _:
            assert port is not None, "the caller knows the port"
            return _port_exit(controls, port, guest, read)


def _mov_to_cr(controls: Controls, instruction: Instruction, guest: CpuState) -> VmExit | None:
    register, general = instruction.ops
    number, value = int((register.register or "cr0")[2:]), read_register(guest, general.register or "eax")
    match number:
        case 0 if (value ^ controls.cr0_shadow) & controls.cr0_mask:
            rule = "a bit of the CR0 guest/host mask differs from the CR0 read shadow"
        case 4 if (value ^ controls.cr4_shadow) & controls.cr4_mask:
            rule = "a bit of the CR4 guest/host mask differs from the CR4 read shadow"
        case 3 if controls.has("cr3-load-exiting") and value not in controls.cr3_targets:
            rule = "“CR3-load exiting” is 1"
            if controls.cr3_targets:
                rule += ", and the value is none of the CR3-target values"
        case 8 if controls.has("cr8-load-exiting"):
            rule = "“CR8-load exiting” is 1"
        case _:
            return None
    return _cr_exit(instruction, CrAccess.MOV_TO_CR, rule, number, _gpr(general))


def _mov_from_cr(controls: Controls, instruction: Instruction) -> VmExit | None:
    general, register = instruction.ops
    if register.register not in ("cr3", "cr8") or not controls.has(f"{register.register}-store-exiting"):
        return None
    number = int(register.register[2:])
    rule = f"“CR{number}-store exiting” is 1"
    return _cr_exit(instruction, CrAccess.MOV_FROM_CR, rule, number, _gpr(general))


def _lmsw(controls: Controls, instruction: Instruction, guest: CpuState, memory: LinearMemory) -> VmExit | None:
    operand = instruction.ops[0]
    address = None
    if operand.kind == "reg":
        source = read_register(guest, operand.register or "ax") & 0xFFFF
    else:
        address = linear_address(guest, operand, instruction.address_size_bits)
        try:
            source = memory.read_int(address, 2, Access(is_user=guest.cpl == 3))
        except (PageFault, NotCanonical):
            return None  # the operand is read first
    mask, shadow = controls.cr0_mask, controls.cr0_shadow
    sets_pe = bool(source & Cr0.PE and mask & Cr0.PE and not shadow & Cr0.PE)
    if not sets_pe and not (source ^ shadow) & mask & _LMSW_BITS:
        return None
    value = CR_QUALIFICATION["TYPE"].put(0, CrAccess.LMSW)
    value = CR_QUALIFICATION["LMSW_MEMORY"].put(value, int(address is not None))
    value = CR_QUALIFICATION["LMSW_SOURCE"].put(value, source)
    rule = "a bit of the CR0 guest/host mask differs from the CR0 read shadow"
    return VmExit(Reason.CR_ACCESS, rule, value, instruction.size, linear=address)


def _cr_exit(instruction: Instruction, kind: CrAccess, rule: str, number: int = 0, gpr: int = 0) -> VmExit:
    value = CR_QUALIFICATION["NUMBER"].put(0, number)
    value = CR_QUALIFICATION["TYPE"].put(value, kind)
    value = CR_QUALIFICATION["GPR"].put(value, gpr)
    return VmExit(Reason.CR_ACCESS, rule, value, instruction.size)


def _msr_rule(controls: Controls, number: int, is_write: bool, read: ReadByte) -> str | None:
    """Why RDMSR or WRMSR of a register exits; None if it does not."""
    if not controls.has("use-msr-bitmaps"):
        return "“Use MSR bitmaps” is 0, so every MSR exits"
    low = number < _MSR_RUN
    if not low and not _MSR_HIGH <= number < _MSR_HIGH + _MSR_RUN:
        return "the MSR is in neither of the bitmaps' ranges"
    # Four bitmaps of 1 KiB: read low, read high, write low, write high.
    place = (2 if is_write else 0) + (0 if low else 1)
    bit = number & (_MSR_RUN - 1)
    if read(controls.msr_bitmap + 0x400 * place + (bit >> 3)) >> (bit & 7) & 1:
        return f"bit {bit:X}h of the MSR bitmap for {'writes' if is_write else 'reads'} is 1"
    return None


def _port_exit(controls: Controls, port: PortIo, guest: CpuState, read: ReadByte) -> VmExit | None:
    """IN, OUT, INS, OUTS: the bitmaps, if they are used, override the unconditional control."""
    if controls.has("use-io-bitmaps"):
        if not _ports_are_marked(controls.io_bitmaps, port.port, port.size, read):
            return None
        rule = f"the I/O bitmap's bit for port {port.port:X}h is 1"
    elif controls.has("unconditional-io-exiting"):
        rule = "“Unconditional I/O exiting” is 1"
    else:
        return None
    instruction = port.instruction
    immediate = any(operand.kind == "imm" for operand in instruction.ops)
    value = 0
    for name, part in (
        ("SIZE", port.size - 1),
        ("DIRECTION", int(port.is_input)),
        ("STRING", int(instruction.is_string)),
        ("REP", int(bool(instruction.rep))),
        ("IMMEDIATE", int(immediate)),
        ("PORT", port.port),
    ):
        value = IO_QUALIFICATION[name].put(value, part)
    if not instruction.is_string:
        return VmExit(Reason.IO_INSTRUCTION, rule, value, instruction.size)
    return VmExit(
        Reason.IO_INSTRUCTION,
        rule,
        value,
        instruction.size,
        instruction_information(instruction),
        linear=_string_address(guest, port),
        io_registers=(guest.gpr[ECX], guest.gpr[ESI], guest.gpr[EDI], guest.eip),
    )


def _string_address(guest: CpuState, port: PortIo) -> int:
    """Linear address of the memory side of INS or OUTS."""
    instruction = port.instruction
    base = segment_base(guest, ES if port.is_input else _segment_of(instruction))
    offset = guest.gpr[EDI if port.is_input else ESI]
    return (base + (offset & ((1 << instruction.address_size_bits) - 1))) & guest.address_mask


def _segment_of(instruction: Instruction) -> int:
    return SEGMENT_INDEX[instruction.ops[1].segment or "ds"]


def _ports_are_marked(bitmaps: tuple[int, int], port: int, size: int, read: ReadByte) -> bool:
    """Any of the ports of an access has its bit set; an access that runs over the last port always exits."""
    if port + size > 0x1_0000:
        return True
    for number in range(port, port + size):
        at = bitmaps[number >> 15] + ((number & 0x7FFF) >> 3)
        if read(at) >> (number & 7) & 1:
            return True
    return False


# ---- exceptions ------------------------------------------------------------------------------------------------------


def exception_exit(
    controls: Controls, event: Interruption, *, during: Interruption | None = None, dr6: int = 0, length: int = 0
) -> VmExit | None:
    """Tell whether an exception exits.

    Args:
        controls: as set now.
        event: the exception.
        during: what was being delivered when it was raised, if anything.
        dr6: of a #DB: the conditions that would go to DR6.
        length: of the instruction, for INT3 and INTO.
    """
    vector = event.vector
    if event.is_software and vector not in (Vector.BP, Vector.OF):
        return None  # INT n has no control
    bit = bool(controls.exception_bitmap >> vector & 1)
    rule = f"bit {vector} of the exception bitmap is {int(bit)}"
    if vector == Vector.PF:
        matches = (event.error_code or 0) & controls.page_fault_mask == controls.page_fault_match
        if bit != matches:
            return None
        if not matches:
            rule += ", and the error code does not match"
    elif not bit:
        return None
    qualification = 0
    if vector == Vector.PF:
        qualification = event.linear or 0
    elif vector == Vector.DB:
        qualification = dr6 & _DEBUG_CONDITIONS
    return VmExit(
        Reason.EXCEPTION_NMI,
        rule,
        qualification,
        length,
        interruption=interruption_information(event),
        error_code=event.error_code or 0,
        idt_vectoring=0 if during is None else interruption_information(during),
        idt_error_code=(during.error_code or 0) if during is not None else 0,
    )


def interruption_information(event: Interruption) -> int:
    """Describe an event as the interruption-information fields do."""
    if event.is_software:
        exceptions = (Vector.BP, Vector.OF)
        kind = (
            InterruptionType.SOFTWARE_EXCEPTION if event.vector in exceptions else InterruptionType.SOFTWARE_INTERRUPT
        )
    elif event.is_external:
        kind = InterruptionType.EXTERNAL_INTERRUPT
    elif event.vector == Vector.DB and event.next_eip is not None:
        kind = InterruptionType.PRIVILEGED_SOFTWARE_EXCEPTION
    else:
        kind = InterruptionType.HARDWARE_EXCEPTION
    value = INTERRUPTION["VECTOR"].put(0, event.vector)
    value = INTERRUPTION["TYPE"].put(value, kind)
    value = INTERRUPTION["ERROR_CODE_VALID"].put(value, int(event.error_code is not None))
    return INTERRUPTION["VALID"].put(value, 1)
