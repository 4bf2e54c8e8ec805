"""The count of retired instructions is exact, however the machine runs, stops, faults or writes over its own code."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.facts.registers import Eflags
from ringviz.machine.native_hooks import PURE_PYTHON_VARIABLE, ROWS
from ringviz.machine.state import EAX, ECX, ESP, fields_of
from ringviz.machine.stops import Breakpoint, BudgetSpent, Watched
from tests.machine.guests import CODE, DATA, HALT, STACK_TOP, answer, ending, make_machine, play


def absolute(address: int) -> str:
    return address.to_bytes(4, "little").hex()


# name: code, and how many instructions it retires until HLT, that included; counted by hand
PROGRAMS: dict[str, tuple[str, int]] = {
    "straight": ("40 40 40 f4", 4),
    "loop of 100": ("b964000000 49 75fd f4", 1 + 200 + 1),
    "LOOP of 50": ("b932000000 90 e2fd f4", 1 + 100 + 1),
    "LOOP to itself": ("b907000000 e2fe f4", 1 + 7 + 1),
    "REPNE before MOVS": ("b905000000 f2a5 f4", 3),
    "REP with ECX 0": ("31c9 f3aa f4", 3),
    "REP with ECX 1": ("b901000000 f3aa f4", 3),
    "REP with ECX 5000": ("b988130000 f3aa f4", 3),
    "two REPs": ("b907000000 f3ab b903000000 f3a4 40 f4", 6),
    "REPNE that finds": ("b910000000 31c0 f2ae f4", 4),
    "REPNE that does not": ("b910000000 b001 f2ae f4", 4),
    "REP in a loop": ("ba05000000 b903000000 f3aa 4a 75f6 f4", 1 + 5 * 4 + 1),
    # call +2; hlt; (f:) call +1; ret; (g:) ret
    "nested calls": ("e801000000 f4 e801000000 c3 c3", 5),
    "MOV SS": ("8cd0 8ed0 40 40 f4", 5),
    "POP SS": ("16 17 40 f4", 4),
    "STI": ("fb 40 fa 40 f4", 5),
    "3000 straight": ("40" * 3000 + "f4", 3001),
    "over a page": ("90" * 0x1000 + "f4", 0x1001),
    # the handler is three instructions without an error code, and skips one byte of the two of UD2: 0b is an OR then
    "UD2 in the middle": ("40 0f0b c0 40 f4", 1 + 2 + 1 + 1 + 1),
    "INT in the middle": ("40 cd80 40 f4", 1 + 1 + 1 + 1 + 1),
    "SMC: a store patches the next instruction": (f"c605{absolute(CODE + 7)}43 40 f4", 3),
    "SMC: a store patches itself": (f"c605{absolute(CODE + 6)}90 40 f4", 3),
    "SMC: the instruction after the next": (f"c605{absolute(CODE + 8)}43 40 40 f4", 4),
    "SMC: behind the block": (f"c605{absolute(CODE + 9)}43 eb00 40 f4", 4),
    # mov ecx, 5; (top:) inc byte [imm of add]; add eax, 0; dec ecx; jnz top; hlt
    "SMC in a loop": (f"b905000000 fe05{absolute(CODE + 13)} 83c000 49 75f4 f4", 1 + 5 * 4 + 1),
    # mov ecx, 3000; the same: more replays than the log has rows
    "SMC in a long loop": (f"b9b80b0000 fe05{absolute(CODE + 13)} 83c000 49 75f4 f4", 1 + 3000 * 4 + 1),
    # mov esp, CODE + 20; call +8; hlt ... : the push of the return address lands in the block of the call
    "SMC: a call overwrites its own block": (f"bc{absolute(CODE + 14)} 40 e804000000 cccccccc f4", 4),
    "SMC: a push overwrites what follows": (f"bc{absolute(CODE + 15)} b840404040 50 90909090 f4", 8),
    "SMC: REP STOS over what follows": (f"b890909090 bf{absolute(CODE + 17)} b902000000 f3aa 40 40 f4", 7),
    # a repeated instruction that has written over itself is another one: PAUSE; NOP and STOS; RET
    "SMC: REP STOS down over itself": (f"fd bf{absolute(CODE + 19)} b914000000 b090 f3aa 9090909090 f4", 4 + 1 + 5 + 1),
    "SMC: REP STOS down over its own block": (
        f"fd bf{absolute(CODE + 21)} b914000000 b090 eb00 f3aa 9090909090 f4",
        5 + 1 + 5 + 1,
    ),
    "SMC: REP STOS up over itself": (f"bf{absolute(CODE + 12)} b914000000 b090 f3aa 40 f4", 3 + 2 + 2),
    "SMC: REP STOS makes itself a RET": (
        f"68{absolute(CODE + 21)} bf{absolute(CODE + 20)} b909000000 b0c3 eb00 f3aa f4",
        7,
    ),
    "SMC: a store across blocks": (f"c705{absolute(CODE + 10)}40404040 cccccccc f4", 6),
}


def test_a_jump_into_an_instruction_of_its_own_block_is_no_replay() -> None:
    # mov eax, D08E_0010h; jmp -4: into the immediate, where MOV SS, EAX is, a block of its own
    machine = make_machine(bytes.fromhex("b810008ed0 ebfc"))
    for position in range(1, 9):
        assert machine.run(position) == BudgetSpent()
        assert machine.state.eip == CODE + (5 if position % 2 else 3)
    machine = make_machine(bytes.fromhex("b810008ed0 ebfc"))
    assert machine.run(9) == BudgetSpent()
    assert (machine.state.eip, machine.retired) == (CODE + 5, 9)


def test_a_jump_to_itself_counts_every_round_however_it_is_stepped() -> None:
    machine = make_machine(bytes.fromhex("b903000000 e2fe f4"))  # mov ecx, 3; loop $
    for position, left in ((1, 3), (2, 2), (3, 1), (4, 0)):
        assert machine.run(position) == BudgetSpent()
        assert machine.state.gpr[ECX] == left


@pytest.mark.parametrize("data", [DATA, 0x48])  # 48h is in the page in which the code goes on
def test_code_across_the_end_of_the_address_space_is_counted_one_by_one(data: int) -> None:
    machine = make_machine()
    machine.state.eip, machine.state.gpr[EAX] = 0xFFFF_FFFF, data  # nothing answers there: FFh; at 0, zeros
    for position in (1, 2, 3):  # inc dword [eax]; add [eax], al; ...
        assert machine.run(position) == BudgetSpent()
        assert (machine.retired, machine.state.eip) == (position, 2 * position - 1)
    assert machine.ram.read_int(data, 4) == 1 + 2 * (data & 0xFF)


@pytest.fixture(params=["native", "python"])
def callbacks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of callbacks: this host's machine code, and Python."""
    if request.param == "python":
        monkeypatch.setenv(PURE_PYTHON_VARIABLE, "1")
    return str(request.param)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_retires_what_was_counted_by_hand(name: str, callbacks: str) -> None:
    code, expected = PROGRAMS[name]
    machine = make_machine(bytes.fromhex(code))
    assert not (callbacks == "python" and machine.cpu.hooks.is_native)
    assert play(machine, 100_000) == "halt"
    assert machine.retired == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_running_and_stepping_end_alike(name: str) -> None:
    code = bytes.fromhex(PROGRAMS[name][0])
    run, step = make_machine(code), make_machine(code)
    limit = 1500  # stepping is slow, and the long programs repeat themselves
    assert ending(run, limit) == ending(step, limit, step=True)


@pytest.mark.parametrize("name", PROGRAMS)
def test_python_callbacks_end_like_native_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = bytes.fromhex(PROGRAMS[name][0])
    native = ending(make_machine(code), 20_000)
    monkeypatch.setenv(PURE_PYTHON_VARIABLE, "1")
    machine = make_machine(code)
    assert not machine.cpu.hooks.is_native
    assert ending(machine, 20_000) == native


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PROGRAMS)), st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_a_budget_is_met_exactly_and_in_the_state_that_stepping_gives(name: str, budgets: list[int]) -> None:
    code = bytes.fromhex(PROGRAMS[name][0])
    run, step = make_machine(code), make_machine(code)
    for budget in sorted(budgets):
        why = play(run, budget)
        play(step, budget, step=True)
        assert run.retired == step.retired
        assert run.weight == step.weight
        assert run.retired == budget or why == "halt"
        assert fields_of(run.state) == fields_of(step.state)
        assert run.ram.read(0, run.ram.size) == step.ram.read(0, step.ram.size)
        if why == "halt":
            break


@pytest.mark.parametrize("stride", [2, 7, 100])
@pytest.mark.parametrize("name", PROGRAMS)
def test_short_runs_on_end_stop_where_single_steps_come_by(name: str, stride: int, callbacks: str) -> None:
    code = bytes.fromhex(PROGRAMS[name][0])
    run, step = make_machine(code), make_machine(code)
    for budget in range(stride, 12 * stride, stride):
        why = play(run, budget)
        play(step, budget, step=True)
        assert (run.retired, run.weight) == (step.retired, step.weight)
        assert run.retired == budget or why == "halt"
        assert fields_of(run.state) == fields_of(step.state)
        assert run.ram.read(0, run.ram.size) == step.ram.read(0, step.ram.size)
        if why == "halt":
            break


@pytest.mark.parametrize("limit", [1, 2, 7, 100, 5000])
def test_a_loop_of_one_instruction_that_writes_is_no_replay(limit: int, callbacks: str) -> None:
    machine = make_machine(bytes.fromhex("e8fbffffff"))  # call $
    assert machine.run(limit) == BudgetSpent()
    assert machine.retired == limit
    assert machine.state.gpr[ESP] == STACK_TOP - 4 * limit


@pytest.mark.parametrize("budget", range(1, 8))
def test_a_store_over_its_own_block_at_the_very_end_of_a_budget(budget: int, callbacks: str) -> None:
    code = bytes.fromhex(f"40 fe05{absolute(CODE + 9)} 83c000 41 ebf3 f4")
    machine = make_machine(code)
    for _ in range(3):
        goal = machine.retired + budget
        assert machine.run(goal) == BudgetSpent()
        assert machine.retired == goal


@pytest.mark.parametrize("reach", [-4, -3, 0, 2, 16])
def test_a_store_into_its_own_block_that_lies_in_two_pages_is_executed_once(reach: int, callbacks: str) -> None:
    start = CODE + 0xFF3
    # 13 one-byte instructions up to the page's end, then: inc dword [start + reach]
    code = b"\x90" * 13 + bytes.fromhex(f"ff05{absolute(start + reach)} f4")
    machine = make_machine(code, at=start)
    before = machine.ram.read_int(start + reach, 4)
    assert play(machine) == "halt"
    assert machine.ram.read_int(start + reach, 4) == before + 1
    assert machine.retired == 13 + 1 + 1


def test_code_that_capstone_divides_otherwise_is_counted_as_the_cpu_divides_it() -> None:
    code = bytes.fromhex("40 f090 41 42 f4")  # LOCK NOP: refused by the manual
    run, step = make_machine(code), make_machine(code)
    assert ending(run) == ending(step, step=True)


def test_rf_lives_for_one_instruction_and_shows_alike_in_running_and_stepping() -> None:
    code = bytes.fromhex("0f0b 40 40 40 eb00 40 f4")  # the handler's IRET brings RF back, as a fault saves it
    for budget in range(12):
        run, step = make_machine(code), make_machine(code)
        play(run, budget)
        play(step, budget, step=True)
        assert fields_of(run.state) == fields_of(step.state), budget


def test_a_limit_is_not_cut_short_by_a_stop_point_that_means_nothing_any_more() -> None:
    machine = make_machine(bytes.fromhex("e421 c605" + absolute(CODE) + "90 c605" + absolute(CODE + 1) + "90 ebee"))
    answer(machine, machine.run(10))  # IN AL, 21h, which the stores then replace by two NOPs
    assert machine.run(50) == BudgetSpent()
    assert machine.retired == 50


def test_a_breakpoint_on_a_watched_instruction_does_not_stop_it_twice() -> None:
    machine = make_machine(bytes.fromhex("9c 0e 6812001000 cf".replace("12001000", absolute(CODE + 8))) + b"\x40\xf4")
    machine.watch(frozenset({"iret"}))
    machine.breakpoints = frozenset({CODE + 7})
    assert machine.run(100) == Breakpoint(CODE + 7)
    stop = machine.run(100)
    assert isinstance(stop, Watched)
    assert machine.step_over() == BudgetSpent()
    assert (machine.retired, machine.state.eip) == (4, CODE + 8)


def test_more_blocks_than_the_table_holds_are_counted_exactly() -> None:
    blocks = ROWS // 2 + 1000
    code = bytes.fromhex("eb00") * blocks + HALT
    machine = make_machine(code)
    assert play(machine, 1_000_000) == "halt"
    assert machine.retired == blocks + 1
    machine.state.eip = CODE
    assert play(machine, 1_000_000) == "halt"
    assert machine.retired == 2 * (blocks + 1)


def test_a_watched_instruction_stops_everywhere_it_stands() -> None:
    places = sorted(random.Random(1).sample(range(0, 600, 2), 40))
    code = bytearray(b"\x40\x40" * 300 + HALT)
    for place in places:
        code[place : place + 2] = b"\x8c\xd8"  # mov eax, ds
    machine = make_machine(bytes(code))
    machine.watch(frozenset({"mov-from-sreg"}))
    seen = []
    while isinstance(stop := machine.run(10_000), Watched):
        seen.append(machine.state.eip - CODE)
        assert stop.form == "mov-from-sreg"
        assert machine.step_over() == BudgetSpent()
    assert seen == places


def test_the_flag_state_of_a_shadowed_instruction_survives_stops() -> None:
    machine = make_machine(bytes.fromhex("fb 8cd0 8ed0 40 f4"))
    for _ in range(4):
        machine.run(machine.retired + 1)
    assert machine.state.eflags & Eflags.IF
    assert machine.state.gpr[EAX] & 0xFFFF == machine.state.segments[2].selector + 1
