"""Where no RAM answers: ones are read, writes are lost; and which pages count as written."""

import pytest

from ringviz.facts.exceptions import Vector
from ringviz.machine.state import EAX, EDX
from ringviz.machine.stops import BudgetSpent, Fault, Paused
from tests.machine.guests import CODE, DATA, RAM_BYTES, make_machine, play


@pytest.mark.parametrize("address", [RAM_BYTES, RAM_BYTES + 0x1234, 0x8000_0000, 0xF000_0000, 0xF000_3000, 0xFFFF_FFFC])
def test_beyond_ram_ones_are_read_and_writes_are_lost(address: int) -> None:
    at = address.to_bytes(4, "little").hex()
    # mov eax, 12345678h; mov [at], eax; mov edx, [at]; mov eax, [at]; hlt
    machine = make_machine(bytes.fromhex(f"b878563412 a3{at} 8b15{at} a1{at} f4"))
    assert play(machine) == "halt"
    assert (machine.state.gpr[EAX], machine.state.gpr[EDX]) == (0xFFFF_FFFF, 0xFFFF_FFFF)
    assert machine.retired == 5


def test_an_access_across_the_end_of_ram_is_half_real() -> None:
    at = (RAM_BYTES - 2).to_bytes(4, "little").hex()
    machine = make_machine(bytes.fromhex(f"b844332211 a3{at} 8b15{at} f4"))
    assert play(machine) == "halt"
    assert machine.state.gpr[EDX] == 0xFFFF_3344
    assert machine.ram.read(RAM_BYTES - 2, 2) == b"\x44\x33"


def test_ram_itself_reads_ones_and_drops_writes_beyond_its_end() -> None:
    ram = make_machine().ram
    ram.write(RAM_BYTES - 1, b"\x01\x02\x03")
    ram.write(RAM_BYTES + 4096, b"\x05")
    assert ram.read(RAM_BYTES - 1, 3) == b"\x01\xff\xff"


def test_jumping_beyond_ram_is_an_invalid_opcode() -> None:
    machine = make_machine(bytes.fromhex("b800000080 ffe0"))  # FF FF is no instruction
    stop = machine.run(100)
    assert isinstance(stop, Fault)
    assert (stop.vector, machine.state.eip, machine.retired) == (Vector.UD, 0x8000_0000, 2)


def test_a_string_instruction_through_all_of_nothing_gives_way() -> None:
    machine = make_machine(bytes.fromhex("b9ffffffff bf00000080 b0ff f3ae f4"))  # REPE SCASB, and ones everywhere
    assert machine.run(100) == Paused()
    assert machine.retired == 3


def test_dirty_pages_are_those_written_by_the_cpu_and_from_outside_and_no_others() -> None:
    page = DATA >> 12
    # mov [ebx], eax; mov eax, [ebx+1000h]; mov [ebx+2FFEh], eax; jmp $
    machine = make_machine(bytes.fromhex("8903 8b8300100000 8983fe2f0000 ebfe"))
    machine.collect_dirty()
    machine.ram.write(DATA + 0x9000, b"xx")
    assert machine.run(10) == BudgetSpent()
    assert machine.collect_dirty() == {page, page + 2, page + 3, page + 9}
    machine.run(20)
    assert machine.collect_dirty() == set()


def test_a_page_is_dirty_again_after_it_was_collected() -> None:
    machine = make_machine(bytes.fromhex("ff03 ebfc"))  # inc dword [ebx]; jmp
    machine.collect_dirty()
    for count in (10, 20, 30):
        machine.run(count)
        assert machine.collect_dirty() == {DATA >> 12}
    assert machine.ram.read_int(DATA, 4) == 15


def test_code_written_from_outside_is_seen_at_once() -> None:
    machine = make_machine(bytes.fromhex("40 ebfd"))  # inc eax; jmp
    machine.run(10)
    machine.ram.write(CODE, b"\x4a")  # dec edx
    machine.run(20)
    assert (machine.state.gpr[EAX], machine.state.gpr[EDX]) == (5, 0xFFFF_FFFB)
