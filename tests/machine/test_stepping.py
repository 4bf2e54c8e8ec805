"""Single steps on end, which keep a callback on every instruction, leave everything as a run in one go does."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.facts.registers import Cr0
from ringviz.machine.machine import Machine
from ringviz.machine.native_hooks import PURE_PYTHON_VARIABLE
from ringviz.machine.state import fields_of
from ringviz.machine.stops import BudgetSpent
from tests.machine.guests import CODE, RAM_BYTES, ending, make_machine, play
from tests.machine.test_exact_counts import PROGRAMS

_STEPS = 12
"""More than enough for the machine to expect further ones."""
_DIRECTORY, _TABLE = 0x20_0000, 0x20_1000
_ACCESSED = 0x20


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(PROGRAMS)), st.lists(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 7, 60, 300]), max_size=60))
def test_steps_and_strides_in_any_order_end_like_one_run(name: str, strides: list[int]) -> None:
    code = bytes.fromhex(PROGRAMS[name][0])
    machine, position = make_machine(code), 0
    for stride in strides:
        position += stride
        if play(machine, position) == "halt":
            break
        assert machine.retired == position
    end = ending(make_machine(code), machine.retired)
    assert replace(ending(machine, machine.retired), why=end.why) == end


@pytest.mark.parametrize("name", PROGRAMS)
def test_steps_by_python_callbacks_end_like_a_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = bytes.fromhex(PROGRAMS[name][0])
    run = ending(make_machine(code), 60)
    monkeypatch.setenv(PURE_PYTHON_VARIABLE, "1")
    assert ending(make_machine(code), 60, step=True) == run


def paged_machine(code: bytes) -> Machine:
    """A machine that runs `code` with paging on, every page where it is."""
    machine = make_machine(code, ram_bytes=max(RAM_BYTES, 0x40_0000))
    machine.ram.write_int(_DIRECTORY, _TABLE | 7, 4)
    for page in range(1024):
        machine.ram.write_int(_TABLE + 4 * page, page << 12 | 7, 4)
    machine.state.cr3 = _DIRECTORY
    machine.state.cr0 |= Cr0.PG
    return machine


def test_the_end_of_single_steps_leaves_the_page_tables_alone() -> None:
    entry = _TABLE + (CODE >> 10)
    # a page of NOPs that ends with a jump to the next page, where the accessed bit of the first is cleared
    first = b"\x90" * 20 + b"\xe9" + (0x1000 - 25).to_bytes(4, "little")
    clear = bytes.fromhex("8025") + entry.to_bytes(4, "little") + bytes([0xFF & ~_ACCESSED])
    invalidate = bytes.fromhex("0f013d") + CODE.to_bytes(4, "little")
    machine = paged_machine(first.ljust(0x1000, b"\x90") + clear + invalidate + b"\x40" * 600)
    for position in range(1, 24):
        play(machine, position)
    assert machine.cpu._stepper is not None
    assert machine.state.eip == CODE + 0x1000 + len(clear) + len(invalidate)
    assert not machine.ram.read_int(entry, 4) & _ACCESSED
    assert machine.run(500) == BudgetSpent()
    assert machine.cpu._stepper is None
    assert not machine.ram.read_int(entry, 4) & _ACCESSED
    assert machine.state.gpr[0] == 500 - 23


def test_what_traces_is_told_of_no_block_that_a_step_did_not_enter() -> None:
    def told(step: int) -> list[int]:
        machine, blocks = make_machine(bytes.fromhex("40 eb00 40 eb00 40 eb00 40 eb00 40 eb00 40 f4")), []
        machine.cpu.trace(lambda linear, size: blocks.append(linear), lambda *_: None)
        for position in range(step, 11, step):
            play(machine, position)
        return sorted(set(blocks))

    assert told(1)[0] == CODE
    assert told(10) == [CODE + 3 * number for number in range(5)]


_ARITHMETIC = ("83c07f", "83e811", "83d001", "40", "21c3", "c1e003", "90")
"""add eax; sub eax; adc eax; inc eax; and ebx, eax; shl eax; nop: each leaves other flags."""
_JUMP_ON = "eb00"
_STORES_NOWHERE = ("a300000090", "a300100090", "a300200090")
"""mov [..], eax where no memory is: what the CPU cannot do by itself comes in the middle of a block."""


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([*_ARITHMETIC, *_STORES_NOWHERE]), min_size=40, max_size=40),
    st.lists(st.integers(1, 8), min_size=12, max_size=12),
)
def test_flags_are_right_where_short_runs_are_broken_off_by_what_the_cpu_cannot_do(
    code: list[str], strides: list[int]
) -> None:
    # The emulator computes flags late, and less of them where a callback stands on every instruction of a block.
    run = make_machine(bytes.fromhex("".join(code)) + b"\xf4")
    for position in range(1, 5):
        run.run(position)
    for stride in strides:
        position = min(position + stride, len(code))
        run.run(position)
        fresh = make_machine(bytes.fromhex("".join(code)) + b"\xf4")
        fresh.run(position)
        assert fields_of(run.state) == fields_of(fresh.state), position


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([*_ARITHMETIC, *_STORES_NOWHERE, _JUMP_ON]), min_size=40, max_size=40),
    st.lists(st.integers(2, 12), min_size=6, max_size=6),  # single steps on end stop within a block that was entered
)
def test_counting_how_often_blocks_are_entered_changes_nothing_and_counts_right(
    code: list[str], strides: list[int]
) -> None:
    program = bytes.fromhex("".join(code)) + b"\xf4"
    begins = {
        number: CODE + sum(len(each) for each in code[:number]) // 2
        for number in range(1, len(code))
        if code[number - 1] == _JUMP_ON
    }
    counted = make_machine(program)
    counters = {number: counted.cpu.hooks.count_at(at) for number, at in begins.items()}
    position = 0
    for stride in strides:
        position = min(position + stride, len(code))
        counted.run(position)
        fresh = make_machine(program)
        fresh.run(position)
        assert fields_of(counted.state) == fields_of(fresh.state), position
    # What the CPU cannot do by itself is begun anew when a page has been lent for it.
    for number, counter in counters.items():
        if code[number] not in _STORES_NOWHERE:
            assert counter.value == (number < position), number
