"""Small hand-made guests: a machine with code at 1 MiB, flat segments for every ring, and tables that lead home.

Tests give code as bytes, assembled by hand, with the assembly beside it in a comment: they need no assembler.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ringviz.facts.registers import EFLAGS_FIXED
from ringviz.facts.segments import Descriptor, Gate, SegmentCache, encode_descriptor, encode_gate, null_cache
from ringviz.machine.bus import Bus
from ringviz.machine.delivery import Shutdown, TaskGateError
from ringviz.machine.devices import pc_devices
from ringviz.machine.machine import Machine
from ringviz.machine.microcode import Effect, UnsupportedError
from ringviz.machine.state import CS, ESP, SS, CpuState, TableRegister, fields_of
from ringviz.machine.stops import BudgetSpent, Fault, Paused, PortIo, SensitiveInsn, SoftInterrupt, Stop

NASM = shutil.which("nasm")
RAM_BYTES = 4 << 20
CODE = 0x10_0000
GDT, IDT, TSS, LDT = 0x1000, 0x2000, 0x3000, 0x5000
HANDLERS = 0x6000
"""One handler each 16 bytes, by vector."""
DATA = 0x20_0000
"""Where guests may scribble; DS:EBX points there."""
STACK_TOP = 0x9_0000
"""Of the running code; the TSS gives ring 0, 1, 2 theirs below."""
INNER_STACK_TOP = (0x8_8000, 0x8_4000, 0x8_0000)

TSS_SELECTOR, LDT_SELECTOR, FREE_SELECTOR = 0x48, 0x50, 0x58
"""FREE_SELECTOR is the first of the GDT entries that nothing uses."""
GDT_ENTRIES = 32
IDT_ENTRIES = 256

CODE_ACCESS, DATA_ACCESS = 0xC9B, 0xC93
HALT = b"\xf4"
ERROR_CODE_VECTORS = (8, 10, 11, 12, 13, 14, 17)


def code_selector(ring: int) -> int:
    """Flat 32-bit code of a ring."""
    return 0x08 + 0x10 * ring | ring


def data_selector(ring: int) -> int:
    """Flat data of a ring."""
    return 0x10 + 0x10 * ring | ring


def flat(selector: int, access: int) -> SegmentCache:
    """A 4 GiB segment from 0, of the ring in the selector."""
    return SegmentCache(selector, 0, 0xFFFF_FFFF, access | (selector & 3) << 5)


def flat_state(ring: int = 0, eip: int = CODE, *, eflags: int = EFLAGS_FIXED) -> CpuState:
    """The CPU in a ring, in flat segments, with the tables of `lay_tables`."""
    data = flat(data_selector(ring), DATA_ACCESS)
    segments = [data] * 6
    segments[CS] = flat(code_selector(ring), CODE_ACCESS)
    return CpuState(
        gpr=[0, 0, 0, DATA, STACK_TOP, 0, DATA, DATA],
        eip=eip,
        eflags=eflags,
        segments=segments,
        ldtr=null_cache(),
        tr=SegmentCache(TSS_SELECTOR, TSS, 0x1FFF, 0x8B),
        gdtr=TableRegister(GDT, 8 * GDT_ENTRIES - 1),
        idtr=TableRegister(IDT, 8 * IDT_ENTRIES - 1),
        cr0=0x11,
        cr2=0,
        cr3=0,
        cr4=0,
        cpl=ring,
        dr=[0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400],
        efer=0,
        sysenter=[0, 0, 0],
    )


def real_state(eip: int = 0x7C00) -> CpuState:
    """The CPU in real mode, all segments 0."""
    state = flat_state()
    state.segments = [SegmentCache(0, 0, 0xFFFF, 0x93)] * 6
    state.segments[CS] = SegmentCache(0, 0, 0xFFFF, 0x9B)
    state.cr0 = 0x10
    state.idtr = TableRegister(0, 0x3FF)
    state.eip, state.gpr[ESP] = eip, 0x7000
    return state


def gate(selector: int, offset: int, type_: int = 0xE, dpl: int = 0, *, present: bool = True, params: int = 0) -> int:
    """A gate as the 8 bytes of its table entry."""
    return encode_gate(Gate(offset, selector, type_, dpl, present, param_count=params))


def put_descriptor(write: Callable[[int, bytes], None], selector: int, descriptor: Descriptor | int) -> None:
    """Put a descriptor, or any 8 bytes given as a number, into the GDT or the LDT that lies at `LDT`."""
    table = LDT if selector & 4 else GDT
    raw = descriptor if isinstance(descriptor, int) else encode_descriptor(descriptor)
    write(table + (selector & ~7), raw.to_bytes(8, "little"))


def lay_tables(write: Callable[[int, bytes], None], *, idt_dpl: int = 0, handler: bytes | None = None) -> None:
    """Write GDT, IDT, TSS and a handler for every exception.

    Args:
        write: puts bytes at an address.
        idt_dpl: DPL of the gates of all vectors from 32 on, and of INT3 and INTO.
        handler: code of every handler, at most 16 bytes; by default it skips one byte of the code and returns.
    """
    for address, data in _tables(idt_dpl, handler):
        write(address, data)


@lru_cache(maxsize=64)
def _tables(idt_dpl: int, handler: bytes | None) -> tuple[tuple[int, bytes], ...]:
    """Give what `lay_tables` writes, by address: it does so for thousands of machines."""
    laid: list[tuple[int, bytes]] = []

    def write(address: int, data: bytes) -> None:
        laid.append((address, data))

    for ring in range(4):
        put_descriptor(write, code_selector(ring), Descriptor(0, 0xFFFF_FFFF, CODE_ACCESS | ring << 5))
        put_descriptor(write, data_selector(ring), Descriptor(0, 0xFFFF_FFFF, DATA_ACCESS | ring << 5))
    put_descriptor(write, TSS_SELECTOR, Descriptor(TSS, 0x1FFF, 0x8B))
    put_descriptor(write, LDT_SELECTOR, Descriptor(LDT, 0xFF, 0x82))
    gates = b""
    for vector in range(IDT_ENTRIES):
        number = min(vector, 32)
        dpl = idt_dpl if vector >= 32 or vector in (3, 4) else 0
        gates += gate(code_selector(0), HANDLERS + 16 * number, 0xE, dpl).to_bytes(8, "little")
    write(IDT, gates)
    for vector in range(33):
        write(HANDLERS + 16 * vector, skip_handler(vector) if handler is None else handler)
    for ring, top in enumerate(INNER_STACK_TOP):
        write(TSS + 4 + 8 * ring, top.to_bytes(4, "little") + data_selector(ring).to_bytes(4, "little"))
    write(TSS + 0x66, (0x68).to_bytes(2, "little"))
    write(TSS + 0x68, b"\xff" * 0x1F98)
    return tuple(laid)


def skip_handler(vector: int) -> bytes:
    """Code that goes on one byte behind the fault; behind an INT it just returns."""
    if vector in ERROR_CODE_VECTORS:
        return bytes.fromhex("83c404 ff0424 cf")  # add esp, 4; inc dword [esp]; iret
    if vector in (3, 4, 32):
        return b"\xcf"  # iret
    return bytes.fromhex("ff0424 cf")  # inc dword [esp]; iret


def make_machine(
    code: bytes = HALT,
    ring: int = 0,
    *,
    at: int = CODE,
    eflags: int = EFLAGS_FIXED,
    idt_dpl: int = 0,
    handler: bytes | None = None,
    ram_bytes: int = RAM_BYTES,
) -> Machine:
    """A machine about to execute `code` in a ring."""
    machine = Machine(Bus(pc_devices(ram_bytes)), ram_bytes)
    lay_tables(machine.ram.write, idt_dpl=idt_dpl, handler=handler)
    machine.ram.write(at, code)
    machine.cpu.load(flat_state(ring, at, eflags=eflags))
    return machine


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    why: str
    """halt, shutdown, exit, budget, paused, or the name of what this machine does not have."""
    retired: int
    state: dict[str, int]
    ram: bytes
    weight: int
    stops: tuple[str, ...] = ()


def play(machine: Machine, limit: int = 1_000_000, *, step: bool = False, most_pauses: int = 1000) -> str:
    """Run bare metal until it halts, shuts down, exits, or `limit` instructions have retired; say which."""
    pauses, last_io = 0, -1
    while machine.retired < limit:
        stop = machine.run(min(limit, machine.retired + 1) if step else limit)
        is_io = isinstance(stop, PortIo)
        pauses += isinstance(stop, Paused) or (is_io and machine.retired == last_io)
        last_io = machine.retired if is_io else -1
        if pauses > most_pauses:
            return "paused"
        why = answer(machine, stop)
        if why is not None:
            return why
    return "budget"


def answer(machine: Machine, stop: Stop) -> str | None:
    """Complete a stop as bare hardware does; a word if that ends the run."""
    match stop:
        case BudgetSpent() | Paused():
            return None
        case Fault() | SoftInterrupt() | PortIo() | SensitiveInsn():
            try:
                done = machine.complete(stop)
            except (TaskGateError, UnsupportedError) as error:
                return type(error).__name__
            if isinstance(done, Shutdown):
                return "shutdown"
            if done is Effect.HALTED:
                return "halt"
            return None if machine.bus.exit_code is None else "exit"
        case _:
            raise AssertionError(f"nobody asked for {stop}")


def ending(machine: Machine, limit: int = 1_000_000, *, step: bool = False, most_pauses: int = 1000) -> Ending:
    """Play to the end and give all there is to compare."""
    why = play(machine, limit, step=step, most_pauses=most_pauses)
    return Ending(why, machine.retired, fields_of(machine.state), machine.ram.read(0, machine.ram.size), machine.weight)


def set_stack(state: CpuState, selector: int, pointer: int, access: int = DATA_ACCESS) -> None:
    """Give a state another flat stack."""
    state.segments[SS] = flat(selector, access)
    state.gpr[ESP] = pointer


def assemble(source: str, folder: Path) -> bytes:
    """Assemble with NASM, for the tests that are marked to need it."""
    assert NASM is not None
    (folder / "source.asm").write_text(source, encoding="ascii")
    command = [NASM, "-f", "bin", "-o", str(folder / "source.bin"), str(folder / "source.asm")]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "source.bin").read_bytes()
