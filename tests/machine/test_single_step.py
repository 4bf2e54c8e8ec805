"""TF: one #DB after every instruction, whether the emulated CPU or microcode has executed it."""

from __future__ import annotations

import pytest

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import EFLAGS_FIXED
from ringviz.machine.machine import Machine
from ringviz.machine.state import ECX, EDX
from ringviz.machine.stops import BudgetSpent, Fault, PortIo, SensitiveInsn, Stop, Watched
from tests.machine.guests import CODE, make_machine, play

TF = 0x102
DR6_BS, DR6_BD = 0x4000, 0x2000


def step(machine: Machine) -> Stop:
    """Let one instruction be executed; give the stop that follows."""
    at = machine.retired
    stop = machine.run(at + 1)
    if isinstance(stop, (SensitiveInsn, PortIo)):
        machine.complete(stop)
        stop = machine.run(at + 1)
    return stop


@pytest.mark.parametrize(
    ("code", "size"),
    [
        ("90", 1),
        ("0fa2", 2),  # cpuid
        ("0f31", 2),  # rdtsc
        ("0f22c0", 3),  # mov cr0, eax
        ("0f22e1", 3),  # mov cr4, ecx
        ("0f23c0", 3),  # mov dr0, eax
        ("0f21c0", 3),  # mov eax, dr0
        ("e480", 2),  # in al, 80h
        ("e680", 2),  # out 80h, al
        ("6e", 1),  # outsb
        ("fa", 1),
        ("fb", 1),
        ("9c", 1),
        ("9d", 1),  # clears TF, and is stepped over all the same
        ("8ec0", 2),  # mov es, eax
    ],
)
def test_a_trap_follows_every_instruction(code: str, size: int) -> None:
    machine = make_machine(bytes.fromhex(code), eflags=TF)
    machine.state.gpr[0] = 0x11 if code.startswith("0f22") else 0x10
    stop = step(machine)
    assert isinstance(stop, Fault)
    assert (stop.vector, stop.is_trap) == (Vector.DB, True)
    assert (machine.state.eip, machine.retired) == (CODE + size, 1)
    assert machine.state.dr[6] & DR6_BS


@pytest.mark.parametrize("code", ["8ed0", "17"])  # mov ss, eax; pop ss
def test_loading_ss_holds_the_trap_off(code: str) -> None:
    machine = make_machine(bytes.fromhex(code + "9090"), eflags=TF)
    machine.state.gpr[0] = 0x10
    machine.ram.write_int(machine.state.gpr[4], 0x10, 4)
    assert step(machine) == BudgetSpent()
    stop = step(machine)
    assert isinstance(stop, Fault)
    assert machine.state.eip == CODE + len(code) // 2 + 1


def test_a_repeated_output_is_stepped_round_by_round() -> None:
    machine = make_machine(bytes.fromhex("f36e"), eflags=TF)  # rep outsb
    machine.state.gpr[ECX], machine.state.gpr[EDX] = 3, 0x80
    for left, eip, retired in ((2, CODE, 0), (1, CODE, 0), (0, CODE + 2, 1)):
        stop = step(machine)
        assert isinstance(stop, Fault)
        assert (machine.state.gpr[ECX], machine.state.eip, machine.retired) == (left, eip, retired)


def test_a_trap_that_is_due_survives_saving() -> None:
    machine = make_machine(bytes.fromhex("0fa290"), eflags=TF)
    stop = machine.run(1)
    machine.complete(stop)
    saved = machine.save()
    assert isinstance(machine.run(1), Fault)
    machine.restore(saved)
    assert isinstance(machine.run(1), Fault)
    assert machine.run(1) == BudgetSpent()


def test_general_detect_faults_once_and_says_so() -> None:
    machine = make_machine(bytes.fromhex("0f21c0"))  # mov eax, dr0
    machine.state.dr[7] |= 0x2000
    stop = machine.run(1)
    machine.complete(stop)
    assert machine.state.dr[6] & DR6_BD
    assert not machine.state.dr[7] & 0x2000
    assert machine.retired == 0


@pytest.mark.parametrize(
    ("number", "value", "reads"), [(6, 0x1000, 0xFFFF_0FF0), (7, 0xD800, 0x400), (6, 0xF, 0xFFFF_0FFF)]
)
def test_fixed_bits_of_debug_registers_stay(number: int, value: int, reads: int) -> None:
    machine = make_machine(bytes([0x0F, 0x23, 0xC0 | number << 3]))
    machine.state.gpr[0] = value
    step(machine)
    assert machine.state.dr[number] == reads


@pytest.mark.parametrize("watched", [False, True])
def test_resume_flag_is_never_pushed_by_pushf(watched: bool) -> None:
    # push 1_0002h; push 8; push (behind); iret; (behind) nop; pushf; hlt
    code = b"\x68" + (0x1_0002).to_bytes(4, "little") + b"\x6a\x08\x68" + (CODE + 13).to_bytes(4, "little") + b"\xcf"
    machine = make_machine(code + bytes.fromhex("909cf4"))
    if watched:
        machine.watch(frozenset({"iret"}))
        assert isinstance(machine.run(6), Watched)
        assert machine.step_over() == BudgetSpent()  # by the emulated CPU, which sets RF
    play(machine, 6)
    assert machine.retired == 6
    assert machine.ram.read_int(machine.state.gpr[4], 4) == EFLAGS_FIXED
