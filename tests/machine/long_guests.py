"""A machine with long mode that is about to run code at 1 MiB: in 64-bit mode, or in compatibility mode."""

from __future__ import annotations

from ringviz.facts.registers import EFLAGS_FIXED, Cr0, Cr4, Efer
from ringviz.facts.segments import SegmentCache, null_cache
from ringviz.machine.bus import Bus
from ringviz.machine.cpuid import Cpuid, host_cpuid
from ringviz.machine.machine import Machine
from ringviz.machine.state import CS, CpuState, LongRegisters, TableRegister

RAM_BYTES = 8 << 20
CODE = 0x10_0000
TOP, POINTERS, DIRECTORY = 0x1_0000, 0x1_1000, 0x1_2000
"""Page tables: the first 8 MiB lie at 0 and once more at `HIGH`, in pages of 2 MiB, for every ring."""
HIGH = 0xFFFF_8000_0000_0000
GDT, IDT, TSS = 0x2000, 0x3000, 0x4000
STACK_TOP, RSP0, IST1 = 0x9_0000, 0x8_8000, 0x8_4000
DATA = 0x20_0000
KERNEL_CODE, DATA_0, USER_CODE_32, USER_DATA, USER_CODE, TASK = 0x08, 0x10, 0x1B, 0x23, 0x2B, 0x30
FREE_SELECTOR = 0x40
CODE_64, CODE_32, DATA_ACCESS = 0xA9B, 0xC9B, 0xC93
LONG = Efer.LME | Efer.LMA
_ALL = 7
_HANDLERS = 0x6_0000


def long_state(ring: int = 0, rip: int = CODE, *, is_64bit: bool = True) -> CpuState:
    """The CPU in long mode, in a ring, with the tables of `lay_tables`."""
    data = SegmentCache(USER_DATA if ring else DATA_0, 0, 0xFFFF_FFFF, DATA_ACCESS | ring << 5)
    segments = [data] * 6
    selector = (USER_CODE if is_64bit else USER_CODE_32) if ring else KERNEL_CODE
    segments[CS] = SegmentCache(selector, 0, 0xFFFF_FFFF, (CODE_64 if is_64bit else CODE_32) | ring << 5)
    gpr = [0] * 16
    gpr[3], gpr[4], gpr[6], gpr[7] = DATA, STACK_TOP, DATA, DATA
    return CpuState(
        gpr, rip, EFLAGS_FIXED, segments, null_cache(), SegmentCache(TASK, TSS, 0x67, 0x8B),
        TableRegister(GDT, 0x5F), TableRegister(IDT, 0xFFF), Cr0.PE | Cr0.ET | Cr0.PG, 0, TOP, int(Cr4.PAE), ring,
        [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400], LONG | Efer.SCE, [0, 0, 0],
        LongRegisters(star=0x0018_0008 << 32, lstar=HIGH + 0x5_0000, sfmask=0x4_7700),
    )  # fmt: skip


def long_gate(offset: int, *, dpl: int = 3, type_: int = 0xE, ist: int = 0, selector: int = KERNEL_CODE) -> bytes:
    """An entry of the IDT."""
    low = offset & 0xFFFF | selector << 16 | ist << 32 | (0x80 | dpl << 5 | type_) << 40 | (offset >> 16 & 0xFFFF) << 48
    return (low | offset >> 32 << 64).to_bytes(16, "little")


def handler_of(vector: int) -> int:
    """Where the handler of a vector is."""
    return HIGH + _HANDLERS + 16 * vector


def lay_tables(machine: Machine) -> None:
    """Write page tables, GDT, IDT and TSS."""
    write = machine.ram.write_int
    for index in (0, 256):
        write(TOP + 8 * index, POINTERS | _ALL, 8)
    write(POINTERS, DIRECTORY | _ALL, 8)
    for index in range(RAM_BYTES >> 21):
        write(DIRECTORY + 8 * index, index << 21 | 0x87, 8)
    for selector, raw in (
        (KERNEL_CODE, 0x00AF_9B00_0000_FFFF),
        (DATA_0, 0x00CF_9300_0000_FFFF),
        (USER_CODE_32, 0x00CF_FB00_0000_FFFF),
        (USER_DATA, 0x00CF_F300_0000_FFFF),
        (USER_CODE, 0x00AF_FB00_0000_FFFF),
        (TASK, 0x0000_8B00_4000_0067),
    ):
        write(GDT + (selector & ~7), raw, 8)
    for vector in range(256):
        machine.ram.write(IDT + 16 * vector, long_gate(handler_of(vector)))
    write(TSS + 4, RSP0, 8)
    write(TSS + 0x24, IST1, 8)


def make_long_machine(
    code: bytes = b"\xf4",
    ring: int = 0,
    *,
    at: int = CODE,
    linear: int | None = None,
    is_64bit: bool = True,
    cpuid: Cpuid = host_cpuid,
) -> Machine:
    """A machine about to execute `code` in long mode.

    Args:
        code: what to put into RAM.
        ring: to execute it in.
        at: where to put it.
        linear: where RIP is; by default there.
        is_64bit: in 64-bit mode, and not in compatibility mode.
        cpuid: what the CPU says of itself.
    """
    machine = Machine(Bus(()), RAM_BYTES, cpuid, has_long_mode=True)
    lay_tables(machine)
    machine.ram.write(at, code)
    machine.cpu.load(long_state(ring, at if linear is None else linear, is_64bit=is_64bit))
    return machine
