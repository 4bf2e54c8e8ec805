"""A tape can be played, left and returned to: every way to a position gives the same bits."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringviz.engine.recording import _MOST_NEAR_FRAMES, _STOPS_PER_NEAR_FRAME, LIMIT_REACHED, Recording
from ringviz.guest import Scenario
from ringviz.guest.scenario import find_scenario
from ringviz.machine.stops import Stop
from ringviz.vmm.outcome import Outcome
from ringviz.vmm.registry import available
from ringviz.vmm.stall import NO_PROGRESS
from tests.engine.complete_state import everything, fresh, recording
from tests.vmm.guests import bare_scenario, kernel_scenario, slots

TECHNIQUES = tuple(technique for technique in available() if technique != "paravirt")
"""All that take any guest; a recompiled kernel has tests of its own."""
FEW_EXAMPLES = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@cache
def length(scenario: Scenario, technique: str) -> int:
    tape = recording(scenario, technique)
    tape.play_to_the_end()
    return tape.position


@pytest.mark.parametrize("technique", TECHNIQUES)
@FEW_EXAMPLES
@given(data=st.data())
def test_seek_gives_the_bits_of_a_fresh_run(technique: str, data: st.DataObject) -> None:
    scenario = find_scenario("rings-tour")
    end = length(scenario, technique)
    places = data.draw(st.lists(st.sampled_from([0, 1, end - 1, end]) | st.integers(0, end), min_size=2, max_size=4))
    tape = recording(scenario, technique)
    for place in places:
        tape.seek(place)
        assert everything(tape) == fresh(scenario, technique, place)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_seek_to_each_keyframe_and_its_neighbours_gives_the_bits_of_a_fresh_run(technique: str) -> None:
    scenario = find_scenario("syscall-roundtrip")
    tape = recording(scenario, technique)
    tape.play_to_the_end()
    frames = [frame.position for frame in tape._keyframes]
    assert len(frames) > 2
    for frame in (frames[1], frames[len(frames) // 2]):
        for place in (frame + 1, frame, frame - 1):
            tape.seek(place)
            assert everything(tape) == fresh(scenario, technique, place)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_walking_back_gives_what_was_seen_on_the_way_forward(technique: str) -> None:
    scenario = find_scenario("rings-tour")
    tape = recording(scenario, technique)
    tape.seek(900)
    seen = []
    for _ in range(25):
        seen.append(everything(tape))
        tape.seek(tape.position + 1)
    for state in reversed(seen):
        tape.seek(tape.position - 1)
        assert everything(tape) == state
    for state in seen:
        assert everything(tape) == state
        tape.seek(tape.position + 1)


@pytest.mark.parametrize("technique", TECHNIQUES)
@FEW_EXAMPLES
@given(stops=st.lists(st.integers(1, 7_000), max_size=40))
def test_running_with_stops_tells_what_running_straight_tells(technique: str, stops: list[int]) -> None:
    scenario = find_scenario("rings-tour")
    straight, broken = recording(scenario, technique), recording(scenario, technique)
    straight.play_to_the_end()
    for stop in sorted(stops):
        broken.play(stop)
        assert broken.position == stop
    broken.play_to_the_end()
    assert broken.log.raw == straight.log.raw
    assert everything(broken) == everything(straight)
    assert broken.end == straight.end


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_stepping_tells_what_running_tells(technique: str) -> None:
    scenario = find_scenario("hello-serial")
    straight, stepped = recording(scenario, technique), recording(scenario, technique)
    straight.play_to_the_end()
    while not stepped.is_at_end:
        stepped.play(stepped.position + 1)
    assert stepped.log.raw == straight.log.raw
    assert everything(stepped) == everything(straight)


def reaching_out(folder: Path) -> Scenario:
    """A guest that reaches beyond its memory at many places, one table of the VMM's after the other."""
    codes = [b"\xa1" + (0x0080_0000 + (i << 22)).to_bytes(4, "little") for i in range(40)]  # mov eax, [..]
    return kernel_scenario(folder / "guest", slots(*codes), limit=5_000)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_going_back_gives_what_the_vmm_had_not_built_yet_back_too(tmp_path: Path, technique: str) -> None:
    scenario = reaching_out(tmp_path)
    tape = recording(scenario, technique)
    tape.play_to_the_end()
    end = tape.position
    for _ in range(3):
        tape.seek(100)
        assert everything(tape) == fresh(scenario, technique, 100)
        tape.seek(end)
        assert everything(tape) == fresh(scenario, technique, end)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(
    ("code", "outcome", "position"),
    [
        (b"\xf4", "halted", 1),
        (b"\x0f\x0b", "triple-fault", 0),
        (b"\x90\xb0\x05\xe6\xf4", "exit", 3),  # nop; mov al, 5; out F4h, al
        (b"\xeb\xfe", "budget", 10_000),
    ],
)
def test_every_end_is_where_it_should_be(
    tmp_path: Path, code: bytes, outcome: str, position: int, technique: str
) -> None:
    tape = recording(bare_scenario(tmp_path / "guest", code), technique)
    tape.play_to_the_end()
    assert tape.end is not None
    assert (tape.end.outcome, tape.end.position, tape.position) == (outcome, position, position)
    tape.seek(0)
    assert tape.position == 0
    tape.seek(99_999)
    assert (tape.position, tape.is_at_end) == (position, True)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_handler_that_faults_at_once_ends_the_run(tmp_path: Path, technique: str) -> None:
    scenario = kernel_scenario(tmp_path / "guest", b"\x0f\x0b", extra=((0x6000 + 16 * 6, b"\xcf"),), limit=10_000_000)
    tape = recording(scenario, technique)
    tape.play(10_000)
    assert tape.end is None or tape.end.text in (NO_PROGRESS, LIMIT_REACHED)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_an_endless_loop_is_cancelled_promptly(tmp_path: Path, technique: str) -> None:
    tape: Recording = recording(bare_scenario(tmp_path / "guest", b"\xeb\xfe", limit=10**12), technique)
    started = time.monotonic()
    tape.play_to_the_end(lambda: time.monotonic() - started > 0.1)
    assert time.monotonic() - started < 2
    assert tape.end is None
    assert tape.position > 0


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_long_string_instruction_is_cancelled_promptly(tmp_path: Path, technique: str) -> None:
    code = b"\xb9" + b"\xff" * 4 + b"\xf3\xac"  # mov ecx, -1; rep lodsb
    tape = recording(bare_scenario(tmp_path / "guest", code, limit=10**12), technique)
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > 3

    tape.play_to_the_end(cancelled)
    assert tape.end is None


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_long_fill_beyond_memory_ends_or_is_cancelled(tmp_path: Path, technique: str) -> None:
    code = b"\xbf\x00\x00\x50\x00\xb9" + (1_200_000).to_bytes(4, "little") + b"\xf3\xaa\xf4"  # mov edi; rep stosb; hlt
    tape = recording(bare_scenario(tmp_path / "guest", code), technique)
    tape.play_to_the_end()
    assert tape.end is not None
    assert (tape.end.outcome, tape.technique.guest_state().gpr[1]) == ("halted", 0)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_going_to_and_fro_where_much_happens_gives_the_bits_of_going_straight(technique: str) -> None:
    scenario = find_scenario("syscall-roundtrip")
    straight = recording(scenario, technique)
    middle = length(scenario, technique) // 2
    seen = {}
    for place in range(middle, middle + 200, 20):
        straight.play(place)
        seen[place] = everything(straight)
    tape = recording(scenario, technique)
    for place in (*sorted(seen, reverse=True), middle + 60, middle + 160, middle, middle + 180):
        tape.seek(place)
        assert everything(tape) == seen[place]
    assert len(tape._near) <= _MOST_NEAR_FRAMES


def test_a_step_back_plays_few_stops_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = bytes.fromhex("b9 c8000000  fa fb 40 fa fb 40 49 75 f7 f4")  # 200 x (cli; sti; inc eax) twice
    tape = recording(bare_scenario(tmp_path, rounds), "trap-emulate")
    tape.play_to_the_end()
    answered: list[Stop] = []
    handle = tape.technique.handle

    def counted(stop: Stop) -> Outcome:
        answered.append(stop)
        return handle(stop)

    monkeypatch.setattr(tape.technique, "handle", counted)
    tape.seek(1500)
    played = []
    for _ in range(400):
        answered.clear()
        tape.seek(tape.position - 1)
        played.append(len(answered))
    # Only where the stretch before the tape's own keyframe begins, all of that is played.
    assert sorted(played)[-20] <= 2 * _STOPS_PER_NEAR_FRAME
    assert max(played) <= 100
