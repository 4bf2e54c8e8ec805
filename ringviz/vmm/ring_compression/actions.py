"""What an interpreter routine did, in a few words."""

from __future__ import annotations

from ringviz.facts.registers import Eflags
from ringviz.guest.instruction import Instruction
from ringviz.machine.bus import Bus
from ringviz.machine.microcode.ports import PORT_FORMS, port_of
from ringviz.machine.state import CpuState
from ringviz.machine.stops import PortIo
from ringviz.vmm import describe


def interpreted(instruction: Instruction, before: CpuState, after: CpuState, bus: Bus) -> str:
    """Say what was done to the virtual CPU."""
    form = instruction.form
    if form in PORT_FORMS:
        port, size, is_input = port_of(before, instruction)
        return "virtual " + describe.port_action(bus, PortIo(is_input, port, size, instruction), after)
    parts: list[str] = []
    if before.cpl != after.cpl:
        parts.append(f"virtual ring {before.cpl} → {after.cpl}")
    old_if, new_if = bool(before.eflags & Eflags.IF), bool(after.eflags & Eflags.IF)
    if old_if != new_if or form in ("cli", "sti"):
        parts.append(f"virtual IF {int(old_if)} → {int(new_if)}")
    for name, old, new in (
        ("GDTR", before.gdtr, after.gdtr),
        ("IDTR", before.idtr, after.idtr),
    ):
        if old != new or form == f"l{name[:3].lower()}":
            parts.append(f"virtual {name} = {new.base:08X}, limit {new.limit:04X}")
    if form == "lgdt":
        parts.append("shadow table rebuilt")
    for name, old_value, new_value in (
        ("TR", before.tr.selector, after.tr.selector),
        ("LDTR", before.ldtr.selector, after.ldtr.selector),
        ("CR0", before.cr0, after.cr0),
        ("CR3", before.cr3, after.cr3),
        ("CR4", before.cr4, after.cr4),
    ):
        if old_value != new_value:
            parts.append(f"virtual {name} {old_value:X} → {new_value:X}")
    parts += _memory_words(instruction, before, after)
    if form in ("iret", "ret-far", "jmp-far", "call-far", "sysexit", "sysenter"):
        parts.append(f"on to {after.segments[1].selector:04X}:{after.eip:08X}")
    if form in ("mov-to-sreg", "pop-sreg", "load-far-pointer"):
        parts.append("virtual segment register loaded")
    if form == "hlt":
        parts.append("virtual CPU waits for an interrupt")
    return ", ".join(parts) or "emulated on the virtual CPU"


def _memory_words(instruction: Instruction, before: CpuState, after: CpuState) -> list[str]:
    """What the guest's change of its virtual memory means for the page tables the CPU walks."""
    if before.is_paged != after.is_paged:
        if after.is_paged:
            return ["paging on: the CPU walks shadow page tables, empty at first"]
        return ["paging off: the shadow page tables are dropped"]
    if not after.is_paged:
        return []
    if instruction.form == "invlpg":
        return ["nothing to forget: the shadow follows every write to the guest's page tables"]
    if before.cr3 != after.cr3:
        return ["on to the shadow of that address space"]
    return []
