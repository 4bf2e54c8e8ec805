"""The FPU's and SSE's registers can be taken from one CPU and loaded into another."""

import pytest

from ringviz.machine.bus import Bus
from ringviz.machine.machine import Machine
from ringviz.machine.state import CS, segment

CODE = bytes.fromhex(
    "dbe3 d9eb d9e8 d9ea def9"  # fninit; fldpi; fld1; fldl2e; fdivp
    "660fefc9 660f76d2"  # pxor xmm1, xmm1; pcmpeqd xmm2, xmm2
)


def machine(*, has_long_mode: bool) -> Machine:
    return Machine(Bus(()), 1 << 16, has_long_mode=has_long_mode)


@pytest.mark.parametrize("has_long_mode", [False, True])
def test_another_cpu_holds_the_same_afterwards(has_long_mode: bool) -> None:
    first, second = machine(has_long_mode=has_long_mode), machine(has_long_mode=has_long_mode)
    first.ram.write(0x1000, CODE)
    state = first.state.copy()
    state.cr0, state.cr4, state.eip, state.eflags = 0x11, 0x200, 0x1000, 2
    state.segments = [segment(16, 0, 0xFFFF_FFFF, 0xC93)] * 6
    state.segments[CS] = segment(8, 0, 0xFFFF_FFFF, 0xC9B)
    first.cpu.load(state)
    first.run(7)
    assert first.retired == 7
    fresh = second.cpu.fpu_registers()
    second.cpu.load_fpu_registers(first.cpu.fpu_registers())
    assert second.cpu.fpu_registers() == first.cpu.fpu_registers() != fresh
    assert second.cpu.fpu_image() == first.cpu.fpu_image()


def test_registers_of_another_kind_of_cpu_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        machine(has_long_mode=False).cpu.load_fpu_registers(machine(has_long_mode=True).cpu.fpu_registers())
