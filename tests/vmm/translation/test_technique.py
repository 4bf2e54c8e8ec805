"""Binary translation at work: caching, chaining, self-modifying code, instructions found guilty, precise state."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.conditions import AtAddress
from ringviz.engine.session import Session
from ringviz.guest.scenario import find_scenario
from ringviz.machine.state import CS, EAX
from ringviz.vmm.events import Kind
from ringviz.vmm.translation import layout
from ringviz.vmm.translation.fragment import Way
from ringviz.vmm.translation.technique import GUILTY_AFTER, BinaryTranslation
from tests.machine.guests import FREE_SELECTOR, GDT
from tests.vmm.guests import BODY, END, SCRATCH, SLOT, bare_scenario, kernel_scenario, slots
from tests.vmm.lockstep import Run, assert_lockstep

ID = "binary-translation"


def le(value: int) -> bytes:
    return value.to_bytes(4, "little")


def loop(body: bytes, times: int) -> bytes:
    """mov ecx, times; body; dec ecx; jnz back."""
    back = len(body) + 3
    return b"\xb9" + le(times) + body + b"\x49\x75" + bytes([256 - back])


def technique(run: Run) -> BinaryTranslation:
    assert isinstance(run.technique, BinaryTranslation)
    return run.technique


def count(run: Run, kind: Kind) -> int:
    return sum(event.kind is kind for event in run.events)


def test_code_is_translated_once_however_often_it_runs(tmp_path: Path) -> None:
    few = assert_lockstep(kernel_scenario(tmp_path / "a", loop(b"\x40", 10)), ID)
    many = assert_lockstep(kernel_scenario(tmp_path / "b", loop(b"\x40", 1000)), ID)
    assert count(few, Kind.TRANSLATE) == count(many, Kind.TRANSLATE) > 0
    assert many.position > few.position + 2000


def test_a_chained_loop_never_comes_back_to_the_vmm(tmp_path: Path) -> None:
    run = Run(kernel_scenario(tmp_path, loop(b"\x40", 5000), limit=100_000), ID)
    run.finish()
    assert not [event for event in run.events if event.kind is Kind.CALLOUT and event.at in range(40, 14_000)]


def test_cli_and_sti_in_a_loop_cost_no_callout_and_are_counted(tmp_path: Path) -> None:
    run = assert_lockstep(kernel_scenario(tmp_path, loop(b"\xfa\xfb", 50)), ID)
    assert not [event for event in run.events if event.form in ("cli", "sti") and event.kind is not Kind.TRANSLATE]
    assert technique(run).tallies()["translated-cli"] == 100


def test_returns_are_looked_up_and_counted(tmp_path: Path) -> None:
    call = bytes.fromhex("e802000000 eb01 c3")  # call +2; jmp +1; ret
    run = assert_lockstep(kernel_scenario(tmp_path, loop(call, 20)), ID)
    assert technique(run).tallies()["translated-indirect"] == 20
    assert technique(run)._store._rows


def test_flags_survive_a_lookup(tmp_path: Path) -> None:
    call = bytes.fromhex("39c8 e802000000 eb05 f9 f9 c3 90 90 0f92c2 0f94c6")  # cmp; call; stc; ret; setc dl; sete dh
    assert_lockstep(kernel_scenario(tmp_path, loop(call, 5)), ID)


def test_the_guests_gs_is_its_own_although_the_translation_keeps_the_register(tmp_path: Path) -> None:
    body = slots(
        b"\x66\xb8\x10\x00\x8e\xe8",  # mov ax, 10h; mov gs, ax
        b"\x65\xa1" + le(SCRATCH),  # mov eax, gs:[SCRATCH]
        b"\x65\xff\x05" + le(SCRATCH),  # inc dword gs:[SCRATCH]
        b"\x8c\xe8",  # mov eax, gs
    )
    run = assert_lockstep(kernel_scenario(tmp_path, body), ID)
    assert "run where it stands" in {event.action[-19:] for event in run.events}


def test_code_that_writes_over_what_comes_next_is_translated_anew(tmp_path: Path) -> None:
    # inc eax becomes inc edx each time round, and back: the store's page holds the loop itself.
    target = BODY + 5 + 10
    patch = b"\x80\x35" + le(target) + b"\x02" + b"\x90\x90\x90" + b"\x40"  # xor byte [target], 2; nops; inc eax
    run = assert_lockstep(kernel_scenario(tmp_path, loop(patch, 6)), ID)
    assert [event for event in run.events if "thrown away" in event.action]


def test_what_the_vmm_writes_for_the_guest_invalidates_too(tmp_path: Path) -> None:
    # SIDT stores over code that has run already.
    store = b"\x0f\x01\x0d" + le(BODY + 0x40)
    body = slots(b"\xe8" + le(0x40 - 5), store, b"\x90", b"\xe8" + le(0x40 - 0x30 - 5), b"\xc3")
    assert_lockstep(kernel_scenario(tmp_path, body, limit=400), ID)


def test_an_instruction_that_keeps_trapping_is_translated_anew_as_a_callout(tmp_path: Path) -> None:
    write = b"\xff\x05" + le(BODY + 0x800)  # inc dword [a word on the page of the code]
    run = assert_lockstep(kernel_scenario(tmp_path, loop(write, 30) + bytes.fromhex("eb02 9090")), ID)
    traps = [event for event in run.events if event.cause.startswith("#PF") and event.instruction.startswith("inc")]
    assert len(traps) == GUILTY_AFTER
    simulated = [event for event in run.events if event.rule.startswith("it trapped too often")]
    assert len(simulated) == 30 - GUILTY_AFTER
    ways = [unit.way for fragment in technique(run)._store.fragments.values() for unit in fragment.units]
    assert Way.SIMULATE in ways


def test_a_fault_in_translated_code_shows_the_guests_address(tmp_path: Path) -> None:
    body = b"\x31\xd2\x31\xc9\xf7\xf1"  # xor edx, edx; xor ecx, ecx; div ecx
    run = assert_lockstep(kernel_scenario(tmp_path, body, limit=1_000), ID)  # it divides by zero for ever
    fault = next(event for event in run.events if event.cause == "#DE")
    assert (fault.address, fault.instruction) == (BODY + 4, "div ecx")


def test_programs_run_directly_and_their_silent_instructions_do_not(tmp_path: Path) -> None:
    run = assert_lockstep(kernel_scenario(tmp_path, slots(b"\x40" * 9, b"\x0f\x01\xe0"), ring=3), ID)
    told = [event for event in run.events if event.address in range(BODY, BODY + 2 * SLOT)]
    assert [(event.form, event.cause) for event in told] == [("smsw", "looked through")]


def test_the_real_cpu_runs_in_the_cache_in_ring_1_and_the_guest_believes_otherwise() -> None:
    run = Run(find_scenario("hello-serial"), ID)
    run.reach(1000)
    real, believed = run.technique.real_state(), run.technique.guest_state()
    assert layout.CACHE <= real.eip < layout.CACHE + layout.CACHE_SIZE
    assert (real.segments[CS].selector, real.cpl) == (layout.CODE_SELECTOR, 1)
    assert (believed.segments[CS].selector, believed.cpl) == (0x08, 0)
    assert believed.eip < 1 << 24


def test_the_side_panel_shows_the_translation_with_the_present_instruction_marked() -> None:
    run = Run(find_scenario("hello-serial"), ID)
    run.reach(1000)
    side = run.technique.side()
    assert side is not None
    current = [row for row in side.rows if row.mark.value == "now"]
    assert [row.origin for row in current] == [run.technique.guest_state().eip]
    origins = [row.origin for row in side.rows if row.origin is not None]
    assert origins == sorted(origins)


@pytest.mark.parametrize("symbol", ["putc", "print"])
def test_a_breakpoint_stops_in_translated_code_every_time(symbol: str) -> None:
    here, there = (Session(find_scenario("hello-serial"), technique) for technique in (ID, "native"))
    address = there.source.address_of(symbol)
    assert address is not None
    for _ in range(3):
        assert there.run_to(AtAddress(address))
        assert here.run_to(AtAddress(address))
        assert here.position == there.position


def test_a_full_cache_is_emptied_and_the_guest_does_not_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CACHE_SIZE", 0x1000)
    monkeypatch.setattr("ringviz.vmm.translation.technique._LARGEST_FRAGMENT", 0xE00)
    run = assert_lockstep(find_scenario("rings-tour"), ID)
    assert technique(run)._store.flushes > 3


def test_sixteen_bit_code_is_interpreted_instruction_by_instruction(tmp_path: Path) -> None:
    code16 = 0x00009B000000FFFF | (BODY + 0x100) << 16
    body = b"\xea" + le(0) + FREE_SELECTOR.to_bytes(2, "little") + b"\x90" * (0x100 - 7)
    body += b"\x40\x40\xb8\x34\x12\x66\xea" + le(BODY + 0x180) + b"\x08\x00"
    body += b"\x90" * (0x180 - len(body)) + END
    extra = [(GDT + FREE_SELECTOR, code16.to_bytes(8, "little"))]
    run = assert_lockstep(kernel_scenario(tmp_path, body, extra=extra), ID)
    assert any("instruction by instruction" in event.rule for event in run.events)
    assert run.technique.guest_state().gpr[EAX] & 0xFFFF == 0x1234


def test_a_guest_that_touches_the_code_cache_sees_empty_wires(tmp_path: Path) -> None:
    code = b"\xa1" + le(layout.CACHE) + b"\xc7\x05" + le(layout.CACHE) + le(0) + b"\xa1" + le(layout.CACHE) + b"\xf4"
    run = assert_lockstep(bare_scenario(tmp_path, code), ID)
    assert run.technique.guest_state().gpr[EAX] == 0xFFFF_FFFF
