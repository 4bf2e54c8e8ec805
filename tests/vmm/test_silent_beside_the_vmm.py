"""Silent instructions whose memory the VMM watches or has to lend: they run all the same, and are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine.guests import GDT
from tests.vmm.guests import kernel_scenario, slots
from tests.vmm.lockstep import Run, silent_events

WATCHED_PAGE, NOWHERE = GDT + 0x800, 0x100_0000
CLI = b"\xfa"
TF = 0x100


def le(value: int) -> bytes:
    return value.to_bytes(4, "little")


def told(folder: Path, *codes: bytes, eflags: int = 0x202) -> list[tuple[str, bool]]:
    """Run under trap-and-emulate; give the silent instructions told, and whether each says that it lied."""
    run = Run(kernel_scenario(folder / "guest", slots(CLI, *codes), eflags=eflags), "trap-emulate")
    run.finish()
    assert run.ended is not None
    return [(event.form or "", event.is_divergence) for event in silent_events(run)]


@pytest.mark.parametrize("eflags", [0x202, 0x202 | TF])
def test_pushf_onto_the_page_of_the_guests_table_is_told(tmp_path: Path, eflags: int) -> None:
    # mov ebp, esp; mov esp, ..; pushf; mov esp, ebp
    code = b"\x89\xe5\xbc" + le(WATCHED_PAGE) + b"\x9c\x89\xec"
    assert told(tmp_path, code, eflags=eflags) == [("pushf", True)]


def test_sidt_into_the_page_of_the_guests_table_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, b"\x0f\x01\x0d" + le(WATCHED_PAGE)) == [("sidt", True)]


@pytest.mark.parametrize("eflags", [0x202, 0x202 | TF])
def test_what_is_stored_where_nothing_answers_is_no_lie(tmp_path: Path, eflags: int) -> None:
    assert told(tmp_path, b"\x0f\x01\x0d" + le(NOWHERE), eflags=eflags) == []


def test_popf_from_where_nothing_answers_is_told(tmp_path: Path) -> None:
    # mov ebp, esp; mov esp, ..; popf; mov esp, ebp: ones, and so IF and IOPL, which it drops; TF, NT and AC, which not
    code = b"\x89\xe5\xbc" + le(NOWHERE) + b"\x9d\x89\xec"
    assert told(tmp_path, code)[0] == ("popf", True)
