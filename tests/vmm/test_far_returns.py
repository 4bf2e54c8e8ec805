"""What is said of a return under ring compression, before it runs, is what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.session import Session
from ringviz.vmm.events import Kind
from tests.machine.guests import code_selector
from tests.vmm.guests import BODY, SLOT, kernel_scenario, slots

BEHIND = (BODY + SLOT).to_bytes(4, "little")
PUSH_CS, PUSH_SS, PUSH_ESP, PUSH_FLAGS, RETF, IRET, NOP = b"\x0e", b"\x16", b"\x54", b"\x9c", b"\xcb", b"\xcf", b"\x90"
PUSH_BEHIND = b"\x68" + BEHIND


def push(selector: int) -> bytes:
    return b"\x68" + selector.to_bytes(4, "little")


def standing_before(folder: Path, technique: str, code: bytes) -> Session:
    """Stand before the last instruction of some code in the guest's ring 0."""
    session = Session(kernel_scenario(folder, slots(code, NOP)), technique)
    while session.cpu_state(is_real=False).eip != BODY + len(code) - 1:
        session.step()
    return session


@pytest.mark.parametrize(
    ("code", "rpl", "is_heard"),
    [
        (PUSH_CS + PUSH_BEHIND + RETF, 1, False),
        (push(code_selector(0)) + PUSH_BEHIND + RETF, 0, True),
        (PUSH_SS + PUSH_ESP + push(code_selector(3)) + PUSH_BEHIND + RETF, 3, True),
        (PUSH_FLAGS + PUSH_CS + PUSH_BEHIND + IRET, 1, False),
        (PUSH_FLAGS + push(code_selector(0)) + PUSH_BEHIND + IRET, 0, True),
    ],
)
def test_a_return_traps_if_the_selector_on_the_stack_is_of_another_ring(
    tmp_path: Path, code: bytes, rpl: int, is_heard: bool
) -> None:
    session = standing_before(tmp_path, "trap-emulate", code)
    row = next(row for row in session.snapshot().code if row.is_current)
    assert row.verdict.value == ("traps" if is_heard else "silent")
    assert (f"the RPL on the stack is {rpl}" if is_heard else f"returns to ring {rpl}") in row.note
    known = session.event_count()
    session.step()
    kinds = [event.kind for event in session.events.raw[known : session.event_count()]]
    assert (Kind.SILENT in kinds or not kinds) == (not is_heard), kinds


def test_of_a_return_further_on_nobody_knows_yet_where_it_leads(tmp_path: Path) -> None:
    session = standing_before(tmp_path, "trap-emulate", PUSH_CS + PUSH_BEHIND + RETF)
    session.back()
    row = next(row for row in session.snapshot().code if row.mnemonic == "retf")
    assert (row.verdict.value, row.note.startswith("if it leads to another ring")) == ("traps", True)


def test_on_a_cpu_on_which_all_sensitive_instructions_trap_every_return_does(tmp_path: Path) -> None:
    session = standing_before(tmp_path, "classic", PUSH_CS + PUSH_BEHIND + RETF)
    assert next(row for row in session.snapshot().code if row.is_current).verdict.value == "traps"
