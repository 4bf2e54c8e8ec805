"""Places to stop at, as people write them, and runs that stop there."""

from pathlib import Path

import pytest

from ringviz.engine.conditions import AtAddress, AtEvent, AtStep, OnDivergence, OnEvent, OnKind, OnRingChange
from ringviz.engine.places import in_other_builds, resolve_condition, resolve_stop
from ringviz.engine.session import Session
from ringviz.errors import InputError
from ringviz.guest.scenario import find_scenario
from ringviz.record.workbench import Workbench
from ringviz.vmm.events import Kind
from tests.guest.test_build import needs_nasm


@pytest.fixture
def session() -> Session:
    return Session(find_scenario("rings-tour"), "vt-x")


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("500", AtStep(500)),
        ("step 1 200", AtStep(1200)),
        ("#12", AtEvent(12)),
        ("event 12", AtEvent(12)),
        ("event", OnEvent()),
        ("ring", OnRingChange()),
        ("divergence", OnDivergence()),
        ("ring 3", OnRingChange(3)),
        ("exit", OnKind(Kind.EXIT)),
        ("exit 30", OnKind(Kind.EXIT, "30")),
        ("exit CPUID", OnKind(Kind.EXIT, "cpuid")),
        ("0x100040", AtAddress(0x100040)),
        ("100040h", AtAddress(0x100040)),
        ("putc.wait", AtAddress(0x100181)),
    ],
)
def test_a_place_is_understood(session: Session, text: str, condition: object) -> None:
    session = Session(find_scenario("rings-tour"), "native") if text == "putc.wait" else session
    assert resolve_condition(session, text) == condition


@pytest.mark.parametrize("text", ["nowhere", "putc if", "putc if eax", "putc if eaz == 1", "putc if eax == soon"])
def test_what_is_no_place_is_refused_in_one_line(session: Session, text: str) -> None:
    with pytest.raises(InputError) as error:
        resolve_stop(session, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "binary-translation", "amd-v", "emulation"])
def test_a_condition_on_registers_passes_the_place_until_it_holds(technique: str) -> None:
    session = Session(find_scenario("rings-tour"), technique)
    # Every character passes here with its code in AL, and above it what the loader left in EAX.
    stop = resolve_stop(session, "putc if eax == 0x2BAD0020 and zf = 0")
    assert session.run_until((stop,)) is stop
    guest = session.cpu_state(is_real=False)
    assert (guest.eip, guest.gpr[0]) == (session.source.address_of("putc"), 0x2BAD0020)
    first = session.position
    assert session.run_until((stop,)) is stop
    assert session.position > first
    session.seek(0)
    assert session.run_until((stop,)) is stop
    assert session.position == first


def test_of_several_stops_the_first_to_hold_is_named_and_a_run_without_one_goes_to_the_end(session: Session) -> None:
    never, soon, late = (resolve_stop(session, text) for text in ("ring 2", "step 40", "step 4000"))
    assert session.run_until((never, late, soon)) is soon
    assert session.position == 40
    assert session.run_until((never,)) is None
    assert session.is_over


def test_an_exit_is_found_by_its_reason_and_a_ring_by_its_number(session: Session) -> None:
    assert session.run_until((resolve_stop(session, "exit 30"),)) is not None
    assert "30" in session.events.raw[session.event_count() - 1].cause
    assert session.run_until((resolve_stop(session, "ring 3"),)) is not None
    assert session.cpu_state(is_real=False).cpl == 3


def test_a_breakpoint_is_exact_however_the_run_is_cut_into_slices() -> None:
    session = Session(find_scenario("rings-tour"), "binary-translation")
    stop = resolve_stop(session, "putc if eax == 0x2BAD0020")
    session.run_until((stop,))
    whole = session.position
    session.seek(0)
    polls = 0

    def after_a_few() -> bool:
        nonlocal polls
        polls += 1
        return polls % 3 == 0

    while session.run_until((stop,), after_a_few) is None:
        assert session.position <= whole
        assert not session.is_over
    assert session.position == whole


def test_an_events_number_is_the_same_when_the_run_is_played_again(session: Session) -> None:
    stop = resolve_stop(session, "#5")
    assert session.run_until((stop,)) is stop
    there = session.position
    session.run()
    session.seek(0)
    assert session.run_until((stop,)) is stop
    assert session.position == there
    assert session.event_count() == 5


def test_the_next_divergence_is_where_the_guest_gets_something_else_than_on_bare_metal() -> None:
    session = Session(find_scenario("popf-hole"), "trap-emulate")
    # A PUSHF that shows what it would have shown in ring 0 is silent, and none.
    assert session.run_to(OnKind(Kind.SILENT))
    assert not session.events.raw[-1].is_divergence
    assert session.run_to(OnDivergence())
    told = session.events.raw[-1]
    assert (told.instruction, told.got, told.native_would) == ("pushfd", "00000246", "00000046")
    assert not Session(find_scenario("popf-hole"), "vt-x").run_to(OnDivergence())


@pytest.mark.parametrize("technique", ["native", "trap-emulate"])
@pytest.mark.parametrize("places", [("putc",), ("ring",), ("1500", "putc if eax == 0x20"), ("event", "#3", "0")])
def test_running_backwards_meets_the_same_places_as_running_forwards(technique: str, places: tuple[str, ...]) -> None:
    session = Session(find_scenario("rings-tour"), technique)
    stops = [resolve_stop(session, place) for place in places]
    forward: list[int] = []
    while len(forward) < 4 and session.run_until(stops) is not None:
        forward.append(session.position)
    session.seek(1 + (forward[-1] if forward else 900))
    backward = []
    while session.run_back_until(stops) is not None:
        backward.append(session.position)
        assert len(backward) < 100
    # Standing at the first instruction is no running to it, but it is where running back ends.
    assert [at for at in reversed(backward) if at] == forward
    assert (0 in backward) == ("0" in places)


def test_running_backwards_with_nothing_to_meet_or_cancelled_stands_where_it_stood() -> None:
    session = Session(find_scenario("rings-tour"))
    session.run()
    end, text = session.position, session.snapshot().outcome
    stop = resolve_stop(session, "ring if eax == 0x12345678")
    assert session.run_back_until((stop,)) is None
    assert session.run_back_until(()) is None
    assert session.run_back_until((resolve_stop(session, "100"),), lambda: True) is None
    assert (session.position, session.is_over, session.snapshot().outcome) == (end, True, text)
    assert session.run_back_until((resolve_stop(session, "100"),)) is not None
    assert session.position == 100


def test_a_distance_behind_a_symbol_is_an_address(session: Session) -> None:
    putc = session.source.address_of("putc")
    assert putc is not None
    for text in ("putc+3h", "putc + 3", "putc+0x3"):
        assert resolve_condition(session, text) == AtAddress(putc + 3)
    with pytest.raises(InputError):
        resolve_condition(session, "putc+nothing")


def test_what_holds_in_this_build_only_is_said_so_that_it_holds_in_others(session: Session) -> None:
    putc = session.source.address_of("putc")
    assert putc is not None
    assert in_other_builds(session, f"0x{putc + 3:x} if eax == 5") == "putc+3h if eax == 5"
    assert in_other_builds(session, f"{putc:x}h") == "putc"
    assert in_other_builds(session, "0x7") == "0x7"
    for text in ("500", "#12"):
        assert in_other_builds(session, text) == text
    for text in ("putc", "putc+3h", "ring 3", "exit 30", "divergence", "event"):
        assert in_other_builds(session, text) == ""


@needs_nasm
def test_a_breakpoint_at_an_address_follows_its_instruction_into_an_edited_guest(tmp_path: Path) -> None:
    bench = Workbench(find_scenario("rings-tour"), tmp_path)
    original = Session(bench.scenario, "native")
    putc = original.source.address_of("putc")
    assert putc is not None
    name, text = next((name, text) for name, text in bench.texts.items() if "\nputc:" in text)
    bench.change(name, text.replace("\nputc:", "\n    times 16 nop\nputc:", 1))
    edited = Session(bench.build(), "native")
    assert edited.build != original.build
    elsewhere = in_other_builds(original, f"0x{putc + 1:x}")
    assert edited.run_until((resolve_stop(edited, elsewhere),)) is not None
    assert edited.cpu_state(is_real=False).eip == putc + 17
