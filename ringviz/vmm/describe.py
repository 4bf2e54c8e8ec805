"""Events in words: exceptions, ports and devices, said the same way under every technique."""

from __future__ import annotations

from ringviz.facts.exceptions import EXCEPTIONS, PageFaultError, Vector
from ringviz.facts.registers import Eflags, iopl
from ringviz.facts.virtual_8086 import IN_VIRTUAL_8086, InVirtual8086
from ringviz.guest.instruction import Instruction
from ringviz.machine.bus import Bus
from ringviz.machine.delivery import Delivered, Interruption, Shutdown
from ringviz.machine.devices.pic import PicPair
from ringviz.machine.microcode.ports import PORT_FORMS, port_of
from ringviz.machine.state import EAX, CpuState
from ringviz.machine.stops import Fault, PortIo, SoftInterrupt

_DEVICE_TITLES = {
    "uart": "UART",
    "debug-console": "debug console",
    "pic": "interrupt controller",
    "cmos": "CMOS",
    "exit": "exit port",
    "pit": "timer",
    "ide": "disk",
    "keyboard": "keyboard",
    "vga": "screen",
    "local-apic": "local APIC",
    "io-apic": "I/O APIC",
}

_VIRTUAL_8086_RULES = {
    InVirtual8086.TRAPS_BY_IOPL: "virtual-8086 mode: IOPL < 3",
    InVirtual8086.TRAPS_BY_PORT_MAP: "virtual-8086 mode: the I/O map does not allow the port",
    InVirtual8086.TRAPS_BY_PRIVILEGE: "virtual-8086 mode: CPL 3 is not 0",
}


def vector_name(vector: int) -> str:
    """`#GP` for exceptions that have a mnemonic, else `vector 80h`."""
    row = EXCEPTIONS.get(vector)
    if row is not None and row.mnemonic.startswith("#"):
        return row.mnemonic
    return f"vector {vector:02X}h"


def fault_name(stop: Fault) -> str:
    """`#GP(0)`, `#PF at 00300000`, `#UD`."""
    name = vector_name(stop.vector)
    if stop.vector == Vector.PF and stop.linear is not None:
        return f"{name} at {stop.linear:08X}"
    return name if stop.error_code is None else f"{name}({stop.error_code:X})"


def page_fault_text(error_code: int) -> str:
    """`ring 3, write, no page`: what the error code of a #PF says."""
    ring = "ring 3" if error_code & PageFaultError.U else "kernel"
    what = "fetch" if error_code & PageFaultError.I else "write" if error_code & PageFaultError.W else "read"
    if error_code & PageFaultError.R:
        return f"{ring}, {what}, a reserved bit is set"
    return f"{ring}, {what}, {'not allowed' if error_code & PageFaultError.P else 'no page'}"


EXTERNAL = "external interrupt"
"""Cause of the events in which a device calls and the guest does not hear of it yet."""


def interrupt_request(vector: int, bus: Bus) -> str:
    """`interrupt 20h (timer)`: what the interrupt controller gave the CPU, and whose request it is if known."""
    controller = bus.find(PicPair)
    line = None if controller is None else controller.line_in_service(vector)
    name = None if line is None else bus.device_on(line)
    whose = "" if name is None else f" ({_DEVICE_TITLES.get(name, name)})"
    return f"interrupt {vector:02X}h{whose}"


def interruption_name(what: Interruption, bus: Bus) -> str:
    """`#GP`, `INT 10h` or `interrupt 08h (timer)`: a vector's number alone does not say which of the three it is."""
    if what.is_external:
        return interrupt_request(what.vector, bus)
    if what.is_software and what.vector not in (Vector.BP, Vector.OF):
        return f"INT {what.vector:02X}h"
    return vector_name(what.vector)


def interrupt_name(stop: SoftInterrupt) -> str:
    """`INT 80h`."""
    return f"INT {stop.vector:02X}h"


def fault_rule(stop: Fault, state: CpuState) -> str:
    """The privilege rule behind a fault, where there is one; else what the exception means."""
    form = stop.instruction.form if stop.instruction is not None else None
    if state.eflags & Eflags.VM and stop.vector == Vector.GP and form is not None:
        return virtual_8086_rule(form)
    if stop.vector == Vector.GP and form in ("cli", "sti", "in", "out", "ins", "outs"):
        port = "" if form in ("cli", "sti") else ", and the I/O map does not allow the port"
        return f"CPL {state.cpl} > IOPL {iopl(state.eflags)}{port}"
    if stop.vector == Vector.GP and stop.error_code == 0 and form is not None and state.cpl:
        return f"CPL {state.cpl} is not 0"
    row = EXCEPTIONS.get(stop.vector)
    return row.title if row is not None else ""


def virtual_8086_rule(form: str) -> str:
    """Why an instruction traps in virtual-8086 mode while IOPL is 0."""
    row = IN_VIRTUAL_8086.get(form)
    what = InVirtual8086.TRAPS_BY_PRIVILEGE if row is None else row.what
    return _VIRTUAL_8086_RULES.get(what, _VIRTUAL_8086_RULES[InVirtual8086.TRAPS_BY_PRIVILEGE])


def delivered_text(result: Delivered | Shutdown, state: CpuState) -> str:
    """Where an event went."""
    if isinstance(result, Shutdown):
        return "no handler could be entered: triple fault"
    where = f"{state.eip:08X}" if state.is_protected else f"{state.segments[1].selector:04X}:{state.eip:04X}"
    text = f"to the guest's handler at {where}"
    if result.to_cpl != result.from_cpl:
        text += f", ring {result.from_cpl} → {result.to_cpl}, stack from the TSS"
    if len(result.chain) > 1:
        text += f", as {vector_name(result.vector)}"
    return text


_NO_DEVICE = "no device at port"


def device_title(bus: Bus, port: int) -> str:
    """The device at a port, by its common name."""
    name = bus.device_at(port)
    return f"{_NO_DEVICE} {port:X}h" if name is None else _DEVICE_TITLES.get(name, name)


def port_charges(bus: Bus, instruction: Instruction, before: CpuState) -> tuple[str, ...]:
    """What a VMM pays to the hardware for an instruction that it carries out: reaching a device, if there is one.

    The VMM reaches it on the guest's behalf, so bare metal pays for that access too. Where no device answers the VMM
    knows that by itself: the bus, on which bare metal waits in vain, is not asked.
    """
    if instruction.form not in PORT_FORMS:
        return ()
    return () if bus.device_at(port_of(before, instruction)[0]) is None else ("native-port-io",)


def unclaimed_port(action: str) -> int | None:
    """Give the port that nobody claims, out of what `port_action` says; None if a device has it."""
    _, _, rest = action.partition(f"{_NO_DEVICE} ")
    return int(rest.partition("h")[0], 16) if rest else None


def register_action(bus: Bus, gpa: int) -> str:
    """`local APIC, register 0B0h`; empty where no device has registers in memory."""
    device = bus.memory_device(gpa)
    if device is None:
        return ""
    return f"{_DEVICE_TITLES.get(device.name, device.name)}, register {gpa - device.window.start:03X}h"


def port_action(bus: Bus, stop: PortIo, after: CpuState) -> str:
    """`UART ← 48h 'H'`, `UART → 60h`."""
    title = device_title(bus, stop.port)
    arrow = "→" if stop.is_input else "←"
    if stop.instruction.is_string:
        return f"{title} {arrow} {'memory' if not stop.is_input else 'to memory'}"
    value = after.gpr[EAX] & ((1 << 8 * stop.size) - 1)
    shown = f"{value:0{2 * stop.size}X}h"
    if stop.size == 1 and 0x20 <= value < 0x7F and title in ("UART", "debug console") and not stop.is_input:
        shown += f" '{chr(value)}'"
    return f"{title} {arrow} {shown}"


def port_name(stop: PortIo) -> str:
    """`OUT 3F8h`."""
    return f"{'IN' if stop.is_input else 'OUT'} {stop.port:X}h"
