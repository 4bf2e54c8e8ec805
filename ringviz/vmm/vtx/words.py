"""What the VMM did at an exit, and what will exit, in a few words."""

from __future__ import annotations

from ringviz.facts.registers import Cr0
from ringviz.facts.vmx import INSTRUCTION_EXITS, VMX_CONTROLS
from ringviz.guest.instruction import Instruction
from ringviz.machine.bus import Bus
from ringviz.machine.microcode.ports import PORT_FORMS, port_of
from ringviz.machine.state import ADDRESS_32, ECX, CpuState
from ringviz.machine.stops import PortIo
from ringviz.vmm import describe
from ringviz.vmm.vtx.exits import Controls

_LMSW_BITS = 0xF


def emulated_text(instruction: Instruction, old: CpuState, new: CpuState, bus: Bus) -> str:
    """Say what the VMM did on the guest's behalf; `old` and `new` are what the guest sees."""
    form = instruction.form or ""
    if form in PORT_FORMS:
        port, size, is_input = port_of(old, instruction)
        return "virtual " + describe.port_action(bus, PortIo(is_input, port, size, instruction), new)
    name = _control_register(instruction)
    if name is not None:
        was, is_now = getattr(old, name), getattr(new, name)
        if form == "mov-from-cr":
            return f"virtual {name.upper()} read: {was:X}"
        return f"virtual {name.upper()} {was:X} → {is_now:X}"
    return {
        "cpuid": "CPUID of the virtual machine",
        "hlt": "the virtual CPU waits for an interrupt",
        "rdmsr": f"virtual MSR {old.gpr[ECX] & ADDRESS_32:X}h read",
        "wrmsr": f"virtual MSR {old.gpr[ECX] & ADDRESS_32:X}h written",
        "invlpg": "the page's translation is forgotten",
        "invd": "the virtual CPU's caches are forgotten; the real ones stay",
        "wbinvd": "the virtual CPU's caches are written back; the real ones stay",
        "rdtsc": "time-stamp counter of the virtual machine",
        "mov-to-dr": "virtual debug register written",
        "mov-from-dr": "virtual debug register read",
    }.get(form, "emulated on the virtual CPU")


def _control_register(instruction: Instruction) -> str | None:
    if instruction.form in ("clts", "lmsw"):
        return "cr0"
    if instruction.form not in ("mov-to-cr", "mov-from-cr"):
        return None
    return next(op.register for op in instruction.ops if op.register and op.register.startswith("cr"))


def rule_before(controls: Controls, instruction: Instruction) -> str | None:
    """Why an instruction will exit, told before its operands are known; None if it will not."""
    row = INSTRUCTION_EXITS[instruction.form or ""]
    if row.is_ruled:
        return _ruled_before(controls, instruction)
    if row.control is None:
        return "unconditional in VMX non-root operation"
    return f"“{VMX_CONTROLS[row.control].name}” is 1" if controls.has(row.control) else None


def _ruled_before(controls: Controls, instruction: Instruction) -> str | None:
    def control(name: str) -> str | None:
        return f"“{VMX_CONTROLS[name].name}” is 1" if controls.has(name) else None

    form = instruction.form
    register = _control_register(instruction)
    mask = {"cr0": controls.cr0_mask, "cr4": controls.cr4_mask}.get(register or "", 0)
    match form:
        case "mov-to-cr" if register == "cr3":
            return control("cr3-load-exiting")
        case "mov-from-cr":
            return control("cr3-store-exiting") if register == "cr3" else None
        case "mov-to-cr" if register is not None and mask:
            return f"if it changes a bit of the {register.upper()} guest/host mask"
        case "clts" if controls.cr0_mask & Cr0.TS:
            return "if TS is set in the CR0 read shadow"
        case "lmsw" if controls.cr0_mask & _LMSW_BITS:
            return "if it changes a bit of the CR0 guest/host mask"
        case "mov-to-cr" | "clts" | "lmsw":
            return None
        case "rdmsr" | "wrmsr":
            has = controls.has("use-msr-bitmaps")
            return "if the MSR bitmap marks the register" if has else "“Use MSR bitmaps” is 0, so every MSR exits"
        case _:
            if controls.has("use-io-bitmaps"):
                return "if the I/O bitmap marks the port"
            return control("unconditional-io-exiting")
