"""What instructions weigh is summed as exactly as they are counted, wherever a run is cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.facts.instruction_weights import HUNDREDTHS, weight_of
from ringviz.guest import instruction_weight
from ringviz.machine.bus import Bus
from ringviz.machine.machine import Machine
from ringviz.machine.stops import BudgetSpent, Fault
from tests.machine.guests import CODE, RAM_BYTES, flat_state, lay_tables, make_machine, play
from tests.machine.test_exact_counts import PROGRAMS

MIXED = bytes.fromhex("b907000000 50 58 f7e1 8b0424 893424 0f31 e800000000 5a 49 75eb f3ab f4")
"""A loop of seven rounds with an RDTSC in it, then a repeated store."""


def weighed_by_hand(code: bytes, limit: int) -> list[int]:
    """Weight after each instruction, one looked up after the other."""
    machine, sums, total = make_machine(code), [0], 0
    while len(sums) <= limit:
        instruction = machine.instruction_here()
        before = machine.retired
        if play(machine, before + 1) == "halt":
            break
        assert instruction is not None
        if instruction.is_rep_string and (now := machine.instruction_at(instruction.address)) != instruction:
            assert now is not None
            instruction = now  # it has written over itself, and is not what has completed
        total += instruction_weight.weight_of(instruction)
        sums.append(total)
    return sums


@pytest.fixture(scope="module")
def by_hand() -> list[int]:
    return weighed_by_hand(MIXED, 100)


def test_each_instruction_adds_the_weight_of_its_class(by_hand: list[int]) -> None:
    classes = ["simple", "store", "load", "multiply", "load", "store", "system-read", "call", "load", "simple"]
    assert by_hand[10] == sum(map(weight_of, classes))
    assert by_hand[-1] - by_hand[-2] == weight_of("repeated-string")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 72), min_size=1, max_size=5))
def test_the_weight_at_a_position_is_that_of_the_instructions_before_it(by_hand: list[int], places: list[int]) -> None:
    machine = make_machine(MIXED)
    for place in sorted(places):
        play(machine, place)
        assert machine.weight == by_hand[place]


def test_a_fault_in_the_middle_of_a_block_leaves_out_what_has_not_run() -> None:
    machine = make_machine(bytes.fromhex("40 f7e1 0f0b f7e1 f7e1 f4"))  # inc eax; mul ecx; ud2; ...
    assert isinstance(machine.run(100), Fault)
    assert machine.weight == weight_of("simple") + weight_of("multiply")


@pytest.mark.parametrize("name", sorted(name for name in PROGRAMS if name.startswith("SMC") and "long" not in name))
def test_a_block_thrown_away_half_way_weighs_what_it_has_run(name: str) -> None:
    code = bytes.fromhex(PROGRAMS[name][0])
    sums = weighed_by_hand(code, 40)
    machine = make_machine(code)
    play(machine, len(sums) - 1)
    assert machine.weight == sums[-1]


def test_a_saved_machine_has_its_weight_back() -> None:
    machine = make_machine(MIXED)
    play(machine, 30)
    saved, weight = machine.save(), machine.weight
    play(machine, 50)
    assert machine.weight > weight
    machine.restore(saved)
    assert machine.weight == weight


def test_a_string_instruction_that_gives_way_weighs_once() -> None:
    machine = make_machine(bytes.fromhex("b9ffffff00 be00000000 f3ac f4"))  # more rounds than the CPU makes at once
    assert play(machine) == "halt"
    assert machine.weight == 2 * weight_of("simple") + weight_of("repeated-string")


def test_a_cpu_may_have_weights_of_its_own() -> None:
    machine = Machine(Bus(()), RAM_BYTES, weights={"simple": 7})
    lay_tables(machine.ram.write)
    machine.ram.write(CODE, bytes.fromhex("40 40 f7e1 40 f4"))
    machine.cpu.load(flat_state(0, CODE))
    assert machine.run(4) == BudgetSpent()
    assert machine.weight == 3 * 7 + weight_of("multiply")


def test_nothing_is_lost_in_a_long_run() -> None:
    machine = make_machine(bytes.fromhex("b980969800 01c8 31c2 40 49 75f8 f4"))  # mov ecx, 10,000,000; five a round
    assert play(machine, 100_000_000) == "halt"
    assert machine.retired == 50_000_002
    assert machine.weight == 50_000_001 * HUNDREDTHS
