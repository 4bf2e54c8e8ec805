"""A state of the CPU in which no two parts are alike: it shows whether each is where it is looked for."""

from __future__ import annotations

from ringviz.facts.registers import Efer
from ringviz.facts.segments import SegmentCache
from ringviz.machine.state import CS, FS, GS, CpuState, LongRegisters, TableRegister, segment


def telling_state() -> CpuState:
    """Give such a state of a CPU without long mode."""
    telling = CpuState(
        [0x1111_1111 * (i + 1) for i in range(8)],
        0x1234,
        0x0000_3202,
        [SegmentCache(8 * i | 3, 0x10_0000 * (i + 1), 0xF_0FFF + 0x1000_0000 * i, 0xCF3) for i in range(6)],
        SegmentCache(0x50, 0x55_0000, 0x7F, 0x082),
        SegmentCache(0x58, 0x66_0000, 0x67, 0x08B),
        TableRegister(0x77_0000, 0x3F),
        TableRegister(0x88_0000, 0x7FF),
        0x0000_0011,
        0xAABB_C000,
        0x00CC_D000,
        0x0000_0210,
        3,
        [0x1000, 0x2000, 0x3000, 0x4000, 0, 0, 0xFFFF_0FF0, 0x400],
        0,
        [0x10, 0x20, 0x30],
    )
    telling.segments[CS] = SegmentCache(0x0B, 0x0030_0000, 0xFFFF_FFFF, 0xCFB)
    return telling


def long_telling_state() -> CpuState:
    """Give such a state of a CPU with long mode."""
    state = telling_state()
    state.gpr = [0x1111_1111_1111_1111 * i for i in range(16)]
    state.eip = 0xFFFF_8000_0000_1234
    state.segments[CS] = segment(0x0B, 0, 0xFFFF_FFFF, 0xAFB)
    for index in (FS, GS):
        old = state.segments[index]
        state.segments[index] = segment(old.selector, 0x1234_5678_9A00 + index, old.limit, old.access)
    high = 0xFFFF_8000_0000_0000
    state.ldtr = segment(0x50, high + 0x55_0000, 0x7F, 0x082)
    state.tr = segment(0x58, high + 0x66_0000, 0x67, 0x08B)
    state.gdtr = TableRegister(high + 0x77_0000, 0x3F)
    state.idtr = TableRegister(high + 0x88_0000, 0x7FF)
    state.cr0, state.cr2, state.cr4 = 0x8000_0011, high + 0xABC, 0x0000_0230
    state.efer = Efer.SCE | Efer.LME | Efer.LMA
    state.sysenter = [0x10, high + 0x20, high + 0x30]
    state.long = LongRegisters(0x0102_0304_0506_0708, high + 1, high + 2, 0x4_7700, high + 4, 5)
    return state
