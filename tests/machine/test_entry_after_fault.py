"""An exception's instruction can be tried again in a changed machine, once and no further."""

from __future__ import annotations

from ringviz.facts.registers import Cr0
from ringviz.machine.state import EAX, EBX, ECX
from ringviz.machine.stops import BudgetSpent, Fault, SensitiveInsn
from tests.machine.guests import make_machine


def test_a_block_that_faulted_does_not_run_while_the_cpu_enters_it_anew() -> None:
    # mov eax, 5; div ecx; inc eax; inc ebx; inc ecx; hlt
    machine = make_machine(bytes.fromhex("b805000000 f7f1 40 43 41 f4"))
    assert machine.run(1) == BudgetSpent()  # so that a block begins at the instruction that faults
    assert isinstance(machine.run(2), Fault)
    before = machine.state.gpr[EBX]
    machine.state.gpr[ECX] = 1
    machine.state.cr0 ^= Cr0.AM  # more than plain registers: only a new VMRUN brings it in
    assert machine.run(2) == BudgetSpent()
    state = machine.state
    assert (state.gpr[EAX], state.gpr[EBX], state.gpr[ECX]) == (5, before, 1)


def test_an_instruction_completed_from_outside_ends_rf_in_the_emulator_too() -> None:
    # pushf with RF set, iret to cpuid; pushf; pop eax; hlt
    code = "6802000100 0e 6800000000 cf 0fa2 9c 58 f4"
    raw = bytearray(bytes.fromhex(code))
    machine = make_machine(bytes(raw))
    at = machine.state.eip
    raw[7:11] = (at + 12).to_bytes(4, "little")
    machine.ram.write(at, bytes(raw))
    for form in ("iret", "cpuid"):
        stop = machine.run(100)
        assert isinstance(stop, SensitiveInsn)
        assert stop.form == form
        machine.complete(stop)
    machine.run(100)
    assert machine.state.gpr[EAX] >> 16 & 1 == 0
