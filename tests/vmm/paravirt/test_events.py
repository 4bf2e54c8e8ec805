"""Event channels: how a guest is told that something happened, and when it is not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ringviz.facts.hypercalls import DOMID_SELF, FLAT_RING1_CS, FLAT_RING1_DS, EventChannel, Sched
from ringviz.machine.state import ESP
from ringviz.vmm.events import Kind
from ringviz.vmm.paravirt import layout
from tests.vmm.lockstep import Run
from tests.vmm.paravirt.guests import (
    CODE,
    DATA,
    HANDLERS,
    STACK_TOP,
    STOP,
    eax,
    finished,
    guest_word,
    hypercall,
    le,
    words,
)
from tests.vmm.paravirt.guests import technique_of as paravirt

EPERM, ESRCH, EFAULT, EEXIST, EINVAL, ENOSYS = -1, -3, -14, -17, -22, -38
SHARED, ARGUMENT, PORT = DATA + 0x1000, DATA + 0x100, DATA + 0x104
START = b"\xbc" + le(STACK_TOP) + hypercall(14, SHARED, layout.SHARED_INFO | 7, 2)
CALLBACK = hypercall(4, FLAT_RING1_CS, HANDLERS, FLAT_RING1_CS, HANDLERS + 0x100)
BIND_IPI = hypercall(32, EventChannel.BIND_IPI, ARGUMENT)
SEND = hypercall(32, EventChannel.SEND, PORT)
UNMASK = b"\xc6\x05" + le(SHARED + 1) + b"\x00"  # mov byte [mask], 0
MASK = b"\xc6\x05" + le(SHARED + 1) + b"\x01"
STOPS = {HANDLERS: STOP, HANDLERS + 0x100: STOP, ARGUMENT: words(0, 0)}


def ask(folder: Path, code: bytes, parts: dict[int, bytes] | None = None, limit: int = 80) -> Run:
    return finished(folder / "guest", START + code + STOP, STOPS | (parts or {}), limit=limit)


def upcalls(run: Run) -> list[str]:
    return [event.action for event in run.events if event.kind is Kind.REFLECT]


def shared(run: Run, offset: int, size: int = 4) -> int:
    return run.technique.machine.ram.read_int(layout.SHARED_INFO + offset, size)


def test_an_event_sent_to_oneself_raises_the_callback_at_once(tmp_path: Path) -> None:
    code = CALLBACK + BIND_IPI + UNMASK + SEND
    run = ask(tmp_path, code)
    state = run.technique.machine.state
    assert (state.eip, state.cpl) == (HANDLERS, 1)
    assert upcalls(run) == [f"passed on to the guest's callback at {HANDLERS:08X}, ring 1"]
    # The frame says that events were not masked, and now they are.
    at = state.gpr[ESP]
    assert [guest_word(run, at + 4 * i) for i in range(3)][:2] == [CODE + len(START + code), FLAT_RING1_CS]
    assert guest_word(run, at + 8) & 0x200
    assert paravirt(run).hypervisor.shared.is_masked
    assert (shared(run, 0, 1), shared(run, 4), shared(run, 0x800)) == (1, 1, 2)  # port 1
    assert eax(run) == 0


def test_a_masked_guest_is_told_when_a_hypercall_finds_it_unmasked(tmp_path: Path) -> None:
    run = ask(tmp_path / "masked", CALLBACK + BIND_IPI + SEND)
    assert upcalls(run) == []
    assert shared(run, 0, 1) == 1
    run = ask(tmp_path / "store", CALLBACK + BIND_IPI + SEND + UNMASK)
    assert upcalls(run) == []  # a store makes nobody look
    run = ask(tmp_path / "looks", CALLBACK + BIND_IPI + SEND + UNMASK + hypercall(17, 0))
    assert len(upcalls(run)) == 1


def test_returning_by_hypercall_to_an_unmasked_frame_delivers_what_waited(tmp_path: Path) -> None:
    pushes = b"".join(b"\x68" + le(v) for v in (0x202, FLAT_RING1_CS, HANDLERS + 0x100, 0))
    run = ask(tmp_path, CALLBACK + BIND_IPI + SEND + pushes + b"\xb8" + le(23) + b"\xcd\x82")
    state = run.technique.machine.state
    assert state.eip == HANDLERS
    assert guest_word(run, state.gpr[ESP]) == HANDLERS + 0x100


def test_a_masked_channel_keeps_its_event_until_it_is_unmasked(tmp_path: Path) -> None:
    mask_port = b"\xc7\x05" + le(SHARED + 0x880) + le(2)  # mov dword [evtchn_mask], 2
    run = ask(tmp_path / "quiet", CALLBACK + BIND_IPI + UNMASK + mask_port + SEND)
    assert upcalls(run) == []
    assert (shared(run, 0x800), shared(run, 0, 1)) == (2, 0)
    unmask = hypercall(32, EventChannel.UNMASK, PORT)
    run = ask(tmp_path / "unmasked", CALLBACK + BIND_IPI + UNMASK + mask_port + SEND + unmask)
    assert len(upcalls(run)) == 1


def test_blocking_unmasks_and_wakes_for_what_waited(tmp_path: Path) -> None:
    run = ask(tmp_path, CALLBACK + BIND_IPI + SEND + hypercall(6, Sched.BLOCK))
    assert run.ended is None
    assert len(upcalls(run)) == 1


def test_both_ends_of_a_loop_are_the_guests(tmp_path: Path) -> None:
    alloc = hypercall(32, EventChannel.ALLOC_UNBOUND, ARGUMENT)
    bind = hypercall(32, EventChannel.BIND_INTERDOMAIN, DATA + 0x200)
    send = hypercall(32, EventChannel.SEND, DATA + 0x208)
    parts = {
        ARGUMENT: struct.pack("<HHI", DOMID_SELF, DOMID_SELF, 0),
        DATA + 0x200: struct.pack("<HHII", DOMID_SELF, 0, 1, 0),
    }
    run = ask(tmp_path, CALLBACK + alloc + bind + UNMASK + send, parts)
    assert (guest_word(run, PORT), guest_word(run, DATA + 0x208)) == (1, 2)
    assert shared(run, 0x800) == 2  # sent on 2, so it happens on 1
    assert len(upcalls(run)) == 1


def test_a_channel_with_no_other_end_loses_its_events(tmp_path: Path) -> None:
    alloc = hypercall(32, EventChannel.ALLOC_UNBOUND, ARGUMENT)
    run = ask(tmp_path, alloc + SEND, {ARGUMENT: struct.pack("<HHI", DOMID_SELF, DOMID_SELF, 0)})
    assert (eax(run), shared(run, 0x800)) == (0, 0)


@pytest.mark.parametrize(
    ("command", "argument", "expected"),
    [
        (EventChannel.BIND_IPI, words(1, 0), EINVAL),
        (EventChannel.BIND_VIRQ, words(24, 0, 0), EINVAL),
        (EventChannel.BIND_VIRQ, words(0, 1, 0), EINVAL),
        (EventChannel.BIND_VIRQ, words(1, 0, 0), 0),
        (EventChannel.BIND_PIRQ, words(4, 0, 0), EPERM),
        (EventChannel.SEND, words(5), EINVAL),
        (EventChannel.CLOSE, words(5), EINVAL),
        (EventChannel.UNMASK, words(5), 0),
        (EventChannel.UNMASK, words(1024), EINVAL),
        (EventChannel.BIND_VCPU, words(5, 0), EINVAL),
        (EventChannel.STATUS, struct.pack("<HHI", DOMID_SELF, 0, 1024), EINVAL),
        (EventChannel.STATUS, struct.pack("<HHI", 5, 0, 1), ESRCH),
        (EventChannel.STATUS, struct.pack("<HHI", DOMID_SELF, 0, 1), 0),
        (EventChannel.ALLOC_UNBOUND, struct.pack("<HHI", 4, 4, 0), EPERM),
        (EventChannel.BIND_INTERDOMAIN, struct.pack("<HHII", 9, 0, 1, 0), ESRCH),
        (EventChannel.BIND_INTERDOMAIN, struct.pack("<HHII", DOMID_SELF, 0, 1, 0), EINVAL),
        (17, b"", ENOSYS),
    ],
)
def test_what_makes_no_sense_is_refused_with_xens_number(
    tmp_path: Path, command: int, argument: bytes, expected: int
) -> None:
    assert eax(ask(tmp_path / "a", hypercall(32, command, ARGUMENT), {ARGUMENT: argument})) == expected
    old = {ARGUMENT: words(command) + argument}
    assert eax(ask(tmp_path / "b", hypercall(16, ARGUMENT), old)) == expected
    beyond = EFAULT if command != 17 else ENOSYS
    if command != EventChannel.BIND_PIRQ:
        assert eax(ask(tmp_path / "c", hypercall(32, command, 0xFFC0_4000))) == beyond


def test_a_virtual_interrupt_has_one_channel_and_nothing_is_sent_on_it(tmp_path: Path) -> None:
    bind = hypercall(32, EventChannel.BIND_VIRQ, ARGUMENT)
    parts = {ARGUMENT: words(1, 0, 0)}
    assert eax(ask(tmp_path / "twice", bind + bind, parts)) == EEXIST
    run = ask(tmp_path / "send", bind + hypercall(32, EventChannel.SEND, ARGUMENT + 8), parts)
    assert (guest_word(run, ARGUMENT + 8), eax(run)) == (1, EINVAL)


def test_a_closed_channel_is_free_again(tmp_path: Path) -> None:
    close = hypercall(32, EventChannel.CLOSE, PORT)
    run = ask(tmp_path, BIND_IPI + SEND + close + BIND_IPI)
    assert guest_word(run, PORT) == 1
    assert shared(run, 0x800) == 0


def test_an_upcall_without_a_callback_ends_the_guest(tmp_path: Path) -> None:
    run = ask(tmp_path, BIND_IPI + UNMASK + SEND)
    assert run.ended is not None
    assert run.ended.how == "triple-fault"


def test_a_handler_that_unmasks_and_returns_by_hypercall_sees_each_event_once(tmp_path: Path) -> None:
    # Count in EDI, forget the pending bits, and go back through the frame that the upcall left.
    handler = b"\x47" + b"\xc6\x05" + le(SHARED) + b"\x00" + b"\xc7\x05" + le(SHARED + 4) + le(0)
    handler += b"\xc7\x05" + le(SHARED + 0x800) + le(0) + b"\x50" + b"\xb8" + le(23) + b"\xcd\x82"
    run = ask(tmp_path, CALLBACK + BIND_IPI + UNMASK + b"\x31\xff" + SEND + SEND + SEND, {HANDLERS: handler}, limit=120)
    assert run.technique.machine.state.gpr[7] == 3
    assert run.technique.machine.state.gpr[ESP] == STACK_TOP
    assert not paravirt(run).hypervisor.shared.is_masked
    assert run.technique.machine.state.segments[2].selector == FLAT_RING1_DS
