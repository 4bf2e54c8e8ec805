"""The hypervisor's clock: ticks for a guest that runs, a timer for one that sleeps, and the time for both."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ringviz.engine.recording import Recording
from ringviz.facts.hypercalls import EventChannel, SharedInfo
from ringviz.machine.devices.uart import Uart, UartState
from ringviz.vmm.events import Kind
from ringviz.vmm.paravirt import layout
from ringviz.vmm.registry import choose
from tests.vmm.lockstep import Run
from tests.vmm.paravirt.guests import DATA, HANDLERS, STOP, eax, finished, hypercall, le, make_kernel, start, words
from tests.vmm.paravirt.guests import technique_of as paravirt
from tests.vmm.paravirt.test_events import CALLBACK, SHARED, START, UNMASK
from tests.vmm.paravirt.test_save_restore import complete

VIRQ = DATA + 0x100
BIND_CLOCK = hypercall(32, EventChannel.BIND_VIRQ, VIRQ)
BLOCK = hypercall(6, 1)
TICK = 10_000
"""Instructions between two ticks."""
CLEAR = (
    b"\xc7\x05" + le(SHARED + 0x800) + le(0) + b"\xc7\x05" + le(SHARED + 4) + le(0) + b"\xc6\x05" + le(SHARED) + b"\0"
)
"""Take note of all events: their bits, their words, and that one waits."""
COUNT = b"\xff\x05" + le(DATA)
"""One tick more: INC of the first word of DATA."""
RETURN = b"\x50" + b"\xb8" + le(23) + b"\xcd\x82"
"""PUSH EAX and the hypercall for IRET."""
ASLEEP = b"\xeb" + bytes([256 - len(BLOCK) - 2])
"""Jump back to BLOCK."""


def set_timer(nanoseconds: int) -> bytes:
    return hypercall(15, nanoseconds & 0xFFFF_FFFF, nanoseconds >> 32)


def play(folder: Path, code: bytes, limit: int) -> Run:
    parts = {HANDLERS: COUNT + CLEAR + RETURN, VIRQ: words(0, 0, 0), DATA: words(0)}
    return finished(folder / "guest", START + CALLBACK + code, parts, limit=limit)


def shared(run: Run, offset: int, size: int) -> int:
    return run.technique.machine.ram.read_int(layout.SHARED_INFO + offset, size)


def ticks(run: Run) -> int:
    return run.technique.machine.ram.read_int(layout.GUEST_BASE + DATA, 4)


def interrupts(run: Run) -> list[str]:
    return [event.action for event in run.events if event.cause == "external interrupt"]


def test_a_guest_that_runs_is_told_of_every_tick(tmp_path: Path) -> None:
    run = play(tmp_path, BIND_CLOCK + UNMASK + STOP, limit=5 * TICK + 100)
    assert ticks(run) == 5
    assert interrupts(run) == ["VIRQ_TIMER on channel 1: it runs"] * 5
    positions = [event.at for event in run.events if event.cause == "external interrupt"]
    assert {later - earlier for earlier, later in pairwise(positions)} <= {TICK, TICK + 1}


def test_a_guest_that_never_asks_for_the_time_is_not_interrupted(tmp_path: Path) -> None:
    run = play(tmp_path, UNMASK + STOP, limit=5 * TICK)
    assert interrupts(run) == []


def test_a_guest_that_masks_events_finds_one_that_waits(tmp_path: Path) -> None:
    run = play(tmp_path, BIND_CLOCK + STOP, limit=3 * TICK)
    assert ticks(run) == 0
    assert (shared(run, SharedInfo.UPCALL_PENDING, 1), shared(run, SharedInfo.EVENTS_PENDING, 4)) == (1, 1 << 1)


def test_a_guest_that_blocks_without_a_timer_sleeps_for_ever(tmp_path: Path) -> None:
    run = play(tmp_path, BIND_CLOCK + BLOCK + STOP, limit=TICK)
    assert run.ended is not None
    assert (run.ended.how, ticks(run), run.technique.machine.idle) == ("halted", 0, 0)


def test_a_timer_without_a_channel_wakes_nobody(tmp_path: Path) -> None:
    run = play(tmp_path, set_timer(10_000_000) + BLOCK + STOP, limit=TICK)
    assert run.ended is not None
    assert run.ended.how == "halted"


def test_a_guest_that_blocks_with_a_timer_is_woken_at_the_first_tick_behind_it(tmp_path: Path) -> None:
    run = play(tmp_path, BIND_CLOCK + set_timer(35_000_000) + BLOCK + STOP, limit=200)
    machine = run.technique.machine
    assert interrupts(run) == [
        *["the hypervisor's own clock ticks; the guest is not told"] * 3,
        "VIRQ_TIMER on channel 1: the time it asked for has come",
    ]
    assert ticks(run) == 1
    assert 35_000 < machine.idle < 50_000
    assert not machine.is_halted


def test_a_timer_comes_once(tmp_path: Path) -> None:
    run = play(tmp_path, BIND_CLOCK + set_timer(5_000_000) + BLOCK + ASLEEP, limit=200)
    assert run.ended is not None
    assert (run.ended.how, ticks(run)) == ("halted", 1)


def test_a_timer_of_zero_takes_the_last_one_back(tmp_path: Path) -> None:
    run = play(tmp_path, BIND_CLOCK + set_timer(5_000_000) + set_timer(0) + BLOCK + STOP, limit=200)
    assert run.ended is not None
    assert (run.ended.how, ticks(run)) == ("halted", 0)
    assert "no timer any more" in [event.action for event in run.events]


def test_a_time_that_has_passed_comes_at_the_next_tick(tmp_path: Path) -> None:
    run = play(tmp_path, BIND_CLOCK + set_timer(1) + BLOCK + STOP, limit=200)
    assert ticks(run) == 1
    assert run.technique.machine.idle <= TICK + 1


def test_an_event_that_waits_lets_a_guest_block_only_for_a_moment(tmp_path: Path) -> None:
    send_to_itself = hypercall(32, EventChannel.BIND_IPI, DATA + 0x200) + hypercall(32, EventChannel.SEND, DATA + 0x204)
    run = play(tmp_path, BIND_CLOCK + send_to_itself + BLOCK + STOP, limit=200)
    assert (ticks(run), run.technique.machine.idle) == (1, 0)


def test_the_shared_page_tells_the_time_and_how_to_reckon_on(tmp_path: Path) -> None:
    run = play(tmp_path, BIND_CLOCK + UNMASK + STOP, limit=3 * TICK)
    version, stamp = shared(run, SharedInfo.TIME_VERSION, 4), shared(run, SharedInfo.TIME_TSC, 8)
    assert (version, version % 2) == (2 * (1 + ticks(run)), 0)
    assert shared(run, SharedInfo.SYSTEM_TIME, 8) == stamp * 1000
    assert 2 * TICK < stamp < 3 * TICK
    shift, multiplier = shared(run, SharedInfo.TSC_SHIFT, 1), shared(run, SharedInfo.TSC_MULTIPLIER, 4)
    assert (TICK << shift) * multiplier >> 32 == TICK * 1000


@pytest.mark.parametrize("position", [5_000, 40_000, 41_000])
def test_a_run_can_be_returned_to_before_and_behind_a_sleep(tmp_path: Path, position: int) -> None:
    code = BIND_CLOCK + UNMASK + b"\xb9" + le(40_000) + b"\xe2\xfe" + set_timer(95_000_000) + BLOCK + STOP
    parts = {HANDLERS: COUNT + CLEAR + RETURN, VIRQ: words(0, 0, 0), DATA: words(0)}
    scenario = make_kernel(tmp_path / "guest", START + CALLBACK + code, parts, limit=60_000)
    tape, fresh = (Recording(scenario, "paravirt", choose("paravirt")) for _ in range(2))
    tape.seek(60_000)
    assert tape.technique.machine.idle > 50_000
    tape.seek(position)
    fresh.seek(position)
    assert complete(tape) == complete(fresh)
    assert tape.technique.machine.now == fresh.technique.machine.now


def test_what_is_typed_can_be_read(tmp_path: Path) -> None:
    code = START + hypercall(18, 1, 8, DATA + 0x300) + STOP
    run = start(tmp_path / "guest", code, {}, limit=40)
    bus = run.technique.machine.bus
    states = dict(bus.save())
    states[Uart.name] = UartState(*states[Uart.name])._replace(received=b"a")
    bus.restore(tuple(states.items()))
    run.finish()
    assert eax(run) == 1
    assert run.technique.machine.ram.read(layout.GUEST_BASE + DATA + 0x300, 2) == b"a\0"
    assert [event.action for event in run.events if event.kind is Kind.HYPERCALL][-1] == "console → 'a'"


def test_where_nothing_is_typed_nothing_is_read(tmp_path: Path) -> None:
    run = finished(tmp_path / "guest", START + hypercall(18, 1, 8, DATA + 0x300) + STOP, {}, limit=40)
    assert eax(run) == 0
    assert not paravirt(run).hypervisor.domain.has_clock
