"""Flags are what they are: no matter where the emulator begins its blocks, and so where a run was stopped before."""

import pytest

from ringviz.facts.exceptions import Vector
from ringviz.machine.state import fields_of
from ringviz.machine.stops import Fault
from tests.machine.guests import DATA, HALT, make_machine, play

SETS_FLAGS = ["69d38ff1a806", "01d8", "29d8", "21d8", "d3e0", "f7e3", "40", "f8"]
NEEDS_FLAGS = [
    "e000", "e100", "0fa3c8", "0fabc8", "0fb3c8", "0fbbc8", "0fba2303", "f00fab0b", "0fc70b", "f00fc70b", "630b", "9f",
    "d6", "27", "2f", "37", "3f", "f5", "d1d3", "11c8", "0f92c0", "9c", "0f4cc3", "0f03c8", "0f00e0", "0fc803", "dbf1",
]  # fmt: skip


@pytest.mark.parametrize("limit", [3, 100])
@pytest.mark.parametrize("second", NEEDS_FLAGS)
@pytest.mark.parametrize("first", SETS_FLAGS)
def test_flags_are_the_same_in_one_block_and_in_two(first: str, second: str, limit: int) -> None:
    endings = []
    for step in (False, True):
        machine = make_machine(bytes.fromhex("40" + first + second) + HALT * 4)
        machine.state.gpr = [0x8000_0010, 1, 0x8765_4321, DATA, machine.state.gpr[4], 0, 0, 0]
        machine.ram.write(DATA, bytes(range(0x70, 0x80)))
        play(machine, limit, step=step)
        endings.append(fields_of(machine.state))
    assert endings[0] == endings[1]


@pytest.mark.parametrize(
    "second", ["0f9703", "0f9c03", "0f9303", "d113", "c11305", "d313", "d11b", "d01b", "8013ff", "d123"]
)
@pytest.mark.parametrize("first", SETS_FLAGS)
@pytest.mark.parametrize("is_apart", [False, True])
def test_flags_are_the_same_where_a_store_meets_its_page_for_the_first_time(
    is_apart: bool, first: str, second: str
) -> None:
    between = "eb00" if is_apart else ""  # jmp $ + 2: the second begins a block
    endings = []
    for is_fresh in (False, True):
        machine = make_machine(bytes.fromhex(first + between + second) + HALT * 4)
        machine.state.gpr = [0x8000_0010, 1, 0x8765_4321, DATA, machine.state.gpr[4], 0, 0, 0]
        if not is_fresh:
            machine.ram.write(DATA, bytes(4))
        assert play(machine, 100) == "halt"
        endings.append(fields_of(machine.state))
    assert endings[0] == endings[1]


@pytest.mark.parametrize("second", ["8ec3", "8ed3", "8edb", "8ee3", "07", "17", "1f", "0fa1", "0fa9", "c503", "0fb203"])
@pytest.mark.parametrize("first", SETS_FLAGS)
def test_flags_are_the_same_where_loading_a_segment_register_faults(first: str, second: str) -> None:
    # The stack, memory and EBX all hold a selector beyond the end of the GDT.
    endings = []
    for is_apart in (False, True):
        between = "eb00" if is_apart else "90"  # jmp $ + 2: the second begins a block
        machine = make_machine(bytes.fromhex("53" + first + between + second) + HALT * 4)
        machine.state.gpr = [0x8000_0010, 1, 0x8765_4321, DATA | 0xFFF8, machine.state.gpr[4], 0, 0, 0]
        machine.ram.write(DATA | 0xFFF8, bytes.fromhex("f8ff0000f8ff"))
        stop = machine.run(100)
        assert isinstance(stop, Fault)
        assert stop.vector in (Vector.GP, Vector.SS)
        endings.append(machine.state.eflags)
    assert endings[0] == endings[1]
