"""Standing, going, coming back, and changing the technique underfoot."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.conditions import AtAddress, OnKind, OnRingChange
from ringviz.engine.places import resolve_address, resolve_condition
from ringviz.engine.session import Session
from ringviz.engine.view import Snapshot
from ringviz.errors import InputError, UnsupportedError
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.events import Kind
from ringviz.vmm.registry import available, technique_facts
from tests.cli.guests import from_bytes

TECHNIQUES = available()
SAME_CODE = [technique for technique in TECHNIQUES if technique_facts(technique).alignment == "instruction"]
SOFTWARE = ("classic", "trap-emulate", "binary-translation")


def session(scenario: str, technique: str = "native") -> Session:
    return Session(find_scenario(scenario), technique)


def belief(snapshot: Snapshot) -> list[tuple[str, str]]:
    """What the guest thinks: its registers, without the modes that only the real column has."""
    return [(row.name, row.guest) for row in snapshot.registers if row.name != "mode"]


def picture(snapshot: Snapshot) -> tuple[object, ...]:
    """Everything a screen shows, comparable."""
    return (
        snapshot.position, snapshot.outcome, snapshot.console, snapshot.rings, snapshot.code, snapshot.registers,
        snapshot.card, list(snapshot.events), snapshot.ledger, snapshot.timeline,
    )  # fmt: skip


@pytest.mark.parametrize("here", SAME_CODE)
@pytest.mark.parametrize("there", SAME_CODE)
def test_swapping_the_technique_keeps_instruction_and_registers(here: str, there: str) -> None:
    one = session("syscall-roundtrip", here)
    one.seek(500)
    other = one.swapped(there)
    a, b = one.snapshot(), other.snapshot()
    assert (a.position, a.technique_id) == (500, here)
    assert (b.position, b.technique_id) == (500, there)
    assert belief(a) == belief(b)
    assert [row.address for row in a.code if row.is_current] == [row.address for row in b.code if row.is_current]


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_three_steps_back_and_on_to_the_event_give_the_same_screen(technique: str) -> None:
    one = session("syscall-roundtrip", technique)
    one.seek(500)
    one.next_event()
    before = picture(one.snapshot())
    for _ in range(3):
        one.back()
    assert one.position == before[0] - 3  # type: ignore[operator]
    assert one.next_event()
    assert picture(one.snapshot()) == before


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_walking_back_shows_the_screens_of_the_way_there(technique: str) -> None:
    one = session("rings-tour", technique)
    one.seek(580)
    screens = []
    for _ in range(14):
        screens.append(picture(one.snapshot())[:-1])  # the timeline knows how far the run has been explored
        one.step()
    for screen in reversed(screens):
        one.back()
        assert picture(one.snapshot())[:-1] == screen


def test_a_run_ends_where_the_exit_port_is_written_and_can_be_left_again() -> None:
    one = session("hello-serial")
    one.run()
    assert (one.is_over, one.outcome, one.position) == (True, "exit", one.end)
    assert one.snapshot().outcome == "the guest ended the run through port F4h, exit code 1"
    end = picture(one.snapshot())
    one.step()
    assert picture(one.snapshot()) == end
    one.back()
    assert (one.is_over, one.position) == (False, end[0] - 1)  # type: ignore[operator]
    one.step()
    assert one.is_over
    assert picture(one.snapshot()) == end


def test_before_the_first_instruction_there_is_nothing_to_go_back_to() -> None:
    one = session("hello-serial")
    start = picture(one.snapshot())
    one.back()
    assert one.previous_event() is False
    assert picture(one.snapshot()) == start


def test_a_seek_beyond_the_end_stands_at_the_end() -> None:
    one = session("hello-serial", "amd-v")
    one.seek(10**9)
    assert one.is_over
    assert one.position == one.end


def test_a_cancelled_run_stands_where_it_got_to_and_goes_on() -> None:
    one = session("syscall-roundtrip", "trap-emulate")
    looks = iter([False] * 30)
    one.run(lambda: next(looks, None) is not False)
    stood = one.position
    assert stood > 0
    assert not one.is_over
    one.run()
    assert one.is_over
    fresh = session("syscall-roundtrip", "trap-emulate")
    fresh.run()
    assert picture(one.snapshot()) == picture(fresh.snapshot())


def test_events_are_visited_in_order_both_ways() -> None:
    one = session("rings-tour", "trap-emulate")
    places = []
    for _ in range(40):
        assert one.next_event()
        places.append(one.position)
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    for place in reversed(places[:-1]):
        assert one.previous_event()
        assert one.position == place


def test_running_to_an_address_stops_before_the_instruction_every_time_round() -> None:
    one = session("syscall-roundtrip")
    address = resolve_address(one, "user_program.trip")
    for turn in range(1, 4):
        assert one.run_to(AtAddress(address))
        current = next(row for row in one.snapshot().code if row.is_current)
        assert (current.address, current.label) == (address, "user_program.trip")
        assert len([e for e in one.events if e.cause == "INT 80h"]) == turn - 1
    assert not one.run_to(AtAddress(0x00F0_0000))
    assert one.is_over


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_running_to_a_ring_change_crosses_between_kernel_and_program(technique: str) -> None:
    one = session("syscall-roundtrip", technique)
    believed = []
    for _ in range(6):
        assert one.run_to(OnRingChange())
        crossing = one.snapshot().rings.crossing
        if technique == "emulation":
            assert crossing is None  # nothing of the guest runs in a ring of the CPU
        else:
            assert crossing is not None
            assert crossing.source != crossing.target
        believed.append(one.snapshot().rings.believed)
    kernel = 1 if technique == "paravirt" else 0  # it was told
    assert believed == [3, kernel, 3, kernel, 3, kernel]


def test_running_to_a_kind_of_event_finds_the_first_silent_one() -> None:
    one = session("popf-hole", "trap-emulate")
    assert one.run_to(OnKind(Kind.SILENT))
    card = one.snapshot().card
    assert card.kind is Kind.SILENT
    assert card.parts[0].text == "PUSHFD".lower() or card.parts[0].text == "PUSHFD"
    assert not session("popf-hole", "native").run_to(OnKind(Kind.SILENT))


def test_places_are_understood_in_every_spelling() -> None:
    one = session("syscall-roundtrip")
    address = resolve_address(one, "user_program.trip")
    assert resolve_address(one, f"0x{address:x}") == resolve_address(one, f"{address:X}h") == address
    assert resolve_condition(one, "ring") == OnRingChange()
    assert resolve_condition(one, "silent") == OnKind(Kind.SILENT)
    assert resolve_condition(one, f" 0x{address:X} ") == AtAddress(address)
    for nonsense in ("", "nowhere", "0xzz", "guest"):
        with pytest.raises(InputError, match="is no step, no event"):
            resolve_condition(one, nonsense)


def test_what_does_not_go_together_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="paravirt needs a kernel that was recompiled"):
        Session(find_scenario(from_bytes(tmp_path, "f4", start="real")), "paravirt")
    with pytest.raises(UnsupportedError, match="amd-v needs a CPU with it; p4-672"):
        Session(find_scenario("hello-serial"), "amd-v", cpu="p4-672")
    with pytest.raises(UnsupportedError, match='trap-emulate has no --mmu "nested"'):
        Session(find_scenario("hello-serial"), "trap-emulate", mmu="nested")
    with pytest.raises(UnsupportedError, match="vt-x needs a CPU with it; barcelona"):
        Session(find_scenario("hello-serial"), "vt-x", cpu="barcelona")
    with pytest.raises(InputError, match='technique "magic" is unknown'):
        session("hello-serial", "magic")


@pytest.mark.parametrize("technique", SOFTWARE)
def test_the_two_columns_of_the_cpu_differ_just_where_ring_compression_says(technique: str) -> None:
    one = session("popf-hole", technique)
    one.seek(2000)
    rows = {row.name: row for row in one.snapshot().registers}
    assert {name for name, row in rows.items() if row.differs} >= {
        "ring",
        "CS",
        "SS",
        "CR0",
        "CR3",
        "GDTR",
        "IDTR",
        "TR",
    }
    assert (rows["ring"].guest, rows["ring"].real) == ("0", "1")
    # Translated code has a code segment of its own, and lies elsewhere.
    is_translated = technique == "binary-translation"
    assert (rows["CS"].guest, rows["CS"].real) == ("0008", "ffb1" if is_translated else "0009")
    assert rows["EIP"].differs is is_translated
    assert not any(rows[name].differs for name in ("EAX", "EBX", "ESP", "DS"))


def test_under_amd_v_belief_and_truth_are_one() -> None:
    one = session("popf-hole", "amd-v")
    one.seek(2000)
    snapshot = one.snapshot()
    assert not any(row.differs for row in snapshot.registers)
    assert [seat.ring for seat in snapshot.rings.seats] == [-1, 0, 1, 2, 3]
    assert (snapshot.rings.real, snapshot.rings.believed, snapshot.rings.real_mode) == (0, 0, "guest mode")


def test_an_escape_is_called_one_in_the_list_and_on_the_card() -> None:
    one = Session(find_scenario("popf-hole"), "vt-x", controls=("-use-io-bitmaps",))
    assert one.next_event()
    snapshot = one.snapshot()
    assert snapshot.events[-1].action.startswith("ESCAPED: ")
    assert "ESCAPED to the device" in [part.text for part in snapshot.card.parts]
    contained = Session(find_scenario("popf-hole"), "vt-x")
    assert contained.next_event()
    assert "ESCAPED" not in contained.snapshot().events[-1].action
