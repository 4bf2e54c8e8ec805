"""What is loaded into the CPU is what is read back, and a restored CPU goes on as if nothing had been."""

from hypothesis import given, settings

from ringviz.facts.registers import Cr4
from ringviz.facts.segments import Descriptor, SegmentCache
from ringviz.machine.machine import Machine
from ringviz.machine.state import DS, EAX, CpuState, fields_of
from ringviz.machine.stops import BudgetSpent
from tests.machine.guests import CODE, DATA, DATA_ACCESS, FREE_SELECTOR, make_machine, play, put_descriptor
from tests.strategies import cpu_states

# fninit; (top:) fld1; fldpi; faddp; fsqrt; fst qword [ebx]; inc eax; cvtsi2sd xmm0, eax; addsd xmm1, xmm0;
# mulsd xmm2, xmm1; movaps [ebx+16], xmm1; fistp dword [ebx+8]; jmp top
FLOATING = bytes.fromhex("dbe3 d9e8 d9eb dec1 d9fa dd13 40 f20f2ac0 f20f58c8 f20f59d1 0f294b10 db5b08 ebe0")


def floating_machine() -> Machine:
    machine = make_machine(FLOATING)
    machine.state.cr4 |= Cr4.OSFXSR | Cr4.OSXMMEXCPT
    return machine


def everything(machine: Machine) -> tuple[dict[str, int], tuple[int, ...], bytes, int]:
    return fields_of(machine.state), machine.cpu.fpu_image(), machine.ram.read(0, machine.ram.size), machine.retired


@settings(max_examples=60, deadline=None)
@given(cpu_states())
def test_a_state_loaded_through_vmrun_is_read_back_equal(state: CpuState) -> None:
    machine = make_machine()
    machine.cpu.load(state.copy())
    saved = machine.save()  # brings it into the emulator
    machine.restore(saved)  # and forgets the Python copy
    assert machine.state == state


@settings(max_examples=30, deadline=None)
@given(cpu_states(), cpu_states())
def test_a_saved_state_comes_back_whatever_was_loaded_between(first: CpuState, second: CpuState) -> None:
    machine = make_machine()
    machine.cpu.load(first.copy())
    saved = machine.save()
    machine.cpu.load(second.copy())
    machine.save()
    machine.restore(saved)
    assert machine.state == first


def test_a_restored_run_goes_on_bit_for_bit_with_fpu_and_sse() -> None:
    machine = floating_machine()
    for at in (1, 7, 250, 1003):
        assert machine.run(at) == BudgetSpent()
        saved, ram = machine.save(), machine.ram.read(0, machine.ram.size)
        machine.run(at + 777)
        expected = everything(machine)
        machine.ram.write(0, ram)
        machine.restore(saved)
        assert machine.retired == at
        machine.run(at + 777)
        assert everything(machine) == expected
        machine.ram.write(0, ram)
        machine.restore(saved)


def test_fpu_and_sse_survive_an_entry_into_another_ring() -> None:
    machine = floating_machine()
    machine.run(300)
    before = machine.cpu.fpu_image()
    assert len(set(before)) > 5  # it has computed something
    machine.state.segments[DS] = SegmentCache(0x10, 4, 0xFFFF_FFFF, DATA_ACCESS)  # only VMRUN can load that
    assert machine.cpu.fpu_image() == before


def test_a_run_in_pieces_equals_a_run_in_one_with_fpu_and_sse() -> None:
    whole, pieces = floating_machine(), floating_machine()
    whole.run(1000)
    for at in range(0, 1000, 13):
        pieces.run(at)
        pieces.save()
    pieces.run(1000)
    assert everything(pieces) == everything(whole)


def test_a_hidden_part_that_differs_from_the_table_outlives_save_and_restore() -> None:
    # mov eax, FREE; mov ds, ax; (change GDT from outside); mov eax, [0]; hlt
    machine = make_machine(bytes.fromhex("b858000000 8ed8 a100000000 f4"))
    put_descriptor(machine.ram.write, FREE_SELECTOR, Descriptor(DATA, 0xFFFF_FFFF, DATA_ACCESS))
    machine.ram.write_int(DATA, 0x1234_5678, 4)
    machine.run(2)
    put_descriptor(machine.ram.write, FREE_SELECTOR, Descriptor(CODE, 0xFFFF_FFFF, DATA_ACCESS))
    saved = machine.save()
    assert play(machine) == "halt"
    machine.restore(saved)
    assert machine.state.segments[DS].base == DATA
    assert play(machine) == "halt"
    assert machine.state.gpr[EAX] == 0x1234_5678


def test_restoring_brings_the_devices_and_the_count_back() -> None:
    machine = make_machine(bytes.fromhex("b041 e6e9 b042 e6e9 f4"))  # prints A, B on port E9h
    machine.run(1)
    saved = machine.save()
    assert play(machine) == "halt"
    assert (machine.bus.console, machine.retired) == ("AB", 5)
    machine.restore(saved)
    assert (machine.bus.console, machine.retired) == ("", 1)
    assert play(machine) == "halt"
    assert machine.bus.console == "AB"
