"""A recompiled kernel is compared with the original at markers, and found there when the technique changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.fidelity import check_fidelity
from ringviz.engine.markers import MarkerRun, marker_track
from ringviz.engine.session import Session
from ringviz.engine.stat import stat, stat_json
from ringviz.guest import Scenario, load_scenario
from ringviz.guest.build import write_build
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose
from tests.short_scenarios import SHORT

RECOMPILED = [scenario.id for scenario in SHORT if scenario.guest.paravirt]

TOML = """\
schema = 1
title = "Two builds"
summary = "Made for a test."
level = "advanced"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "flat"
memory_mib = 4
load = 0x10000
entry = 0x10000
start = "protected"
paravirt = true
[limits]
instructions = 1_000
"""
KERNEL = """\
bits 32
org 0x10000
start:
    mov esp, 0x40000
    mov esi, 0
    mov ebx, 7
    test ebx, ebx
%ifdef PARAVIRT
    {paravirt}
%else
    {original}
%endif
.marker_one:
    inc ebx
.marker_two:
%ifdef PARAVIRT
    mov ecx, {reason}
    mov ebx, 2
    mov eax, 6
    int 0x82
%else
    mov al, 1
    out 0xF4, al
%endif
"""


def two_builds(
    folder: Path, paravirt: str = "nop", original: str = "nop", reason: int = 1, toml: str = TOML
) -> Scenario:
    made = folder / "made"
    made.mkdir()
    (made / "scenario.toml").write_text(toml, encoding="utf-8")
    text = KERNEL.format(paravirt=paravirt, original=original, reason=reason)
    (made / "guest.asm").write_text(text, encoding="utf-8")
    write_build(load_scenario(made, is_built=False))
    return load_scenario(made)


@pytest.mark.parametrize("scenario_id", RECOMPILED)
def test_a_ported_kernel_means_the_same_at_every_marker(scenario_id: str) -> None:
    verdict = check_fidelity(find_scenario(scenario_id), "paravirt")
    assert verdict.identical, verdict.first_divergence
    assert verdict.markers is not None
    assert verdict.markers >= 2


def test_two_builds_that_mean_the_same_are_identical(tmp_path: Path) -> None:
    verdict = check_fidelity(two_builds(tmp_path), "paravirt")
    assert (verdict.identical, verdict.markers) == (True, 2)


@pytest.mark.parametrize(
    ("paravirt", "what", "native", "here"),
    [
        ("mov ebx, 8", "ebx", 7, 8),
        ("mov edi, 5", "edi", 0, 5),
        ("cmp ebx, ebx", "PF", 0, 1),
        ("stc", "CF", 0, 1),
        ("push eax", "esp", 0x40000, 0x3FFFC),
    ],
)
def test_the_first_difference_is_named_with_its_marker(
    tmp_path: Path, paravirt: str, what: str, native: int, here: int
) -> None:
    verdict = check_fidelity(two_builds(tmp_path, paravirt), "paravirt")
    assert not verdict.identical
    first = verdict.first_divergence
    assert first is not None
    assert (first.what, first.native, first.here) == (what, native, here)
    assert first.instruction == "(marker_one, marker 1)"
    assert first.address > 0x10000


def test_printed_text_is_compared(tmp_path: Path) -> None:
    text = "pushad\n mov ebx, 0\n mov ecx, 1\n mov edx, start\n mov eax, 18\n int 0x82\n popad"
    first = check_fidelity(two_builds(tmp_path, text), "paravirt").first_divergence
    assert first is not None
    assert (first.what, first.native) == ("console", "")


def test_the_interrupt_flag_is_the_shared_pages_mask(tmp_path: Path) -> None:
    unmask = (
        "pushad\n mov edi, [0x40000]\n mov ebx, 0x30000\n mov ecx, 0x6007\n mov edx, 2\n mov eax, 14\n int 0x82\n"
        " mov byte [0x30001], 0\n popad"
    )
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    assert check_fidelity(two_builds(tmp_path / "same", unmask, "sti"), "paravirt").identical
    first = check_fidelity(two_builds(tmp_path / "other", unmask), "paravirt").first_divergence
    assert first is not None
    assert (first.what, first.native, first.here) == ("IF", 0, 1)


def test_leftovers_are_not_compared_at_their_marker_and_are_at_others(tmp_path: Path) -> None:
    toml = TOML + '[leftovers]\nmarker_one = ["edi"]\n'
    first = check_fidelity(two_builds(tmp_path, "mov edi, 5", toml=toml), "paravirt").first_divergence
    assert first is not None
    assert (first.what, first.instruction) == ("edi", "(marker_two, marker 2)")


def test_the_order_of_markers_and_the_end_are_compared(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = check_fidelity(two_builds(tmp_path / "a", "jmp start.marker_two"), "paravirt").first_divergence
    assert first is not None
    assert (first.what, first.native, first.here) == ("marker", "marker_one", "marker_two")
    first = check_fidelity(two_builds(tmp_path / "b", reason=2), "paravirt").first_divergence
    assert first is not None
    assert (first.what, first.native, first.here) == ("exit code", 3, 5)


def test_stat_tells_a_verdict_at_markers_in_the_same_fields() -> None:
    result = stat(find_scenario("hello-serial"), "paravirt", fidelity=True)
    assert stat_json(result)["fidelity"] == {"identical": True, "first_divergence": None, "closely_until": None}
    assert result.mmu == "direct"
    assert result.slowdown is not None
    assert 0 < result.slowdown < 1  # one hypercall for a text that bare metal prints byte by byte


# ---- the same place under another technique ------------------------------------------------------------------------


def marker_positions(technique: str) -> list[int]:
    run = MarkerRun(find_scenario("rings-tour"), technique, choose(technique))
    while run.next_marker() is not None:
        pass
    return [passed.position for passed in run.passed]


@pytest.mark.parametrize("other", ["native", "amd-v", "trap-emulate"])
def test_swapping_to_and_from_a_recompiled_kernel_stands_at_the_last_marker_passed(other: str) -> None:
    original, ported = marker_positions("native"), marker_positions("paravirt")
    assert len(original) == len(ported) == 7
    session = Session(find_scenario("rings-tour"), other)
    for position, expected in ((0, 0), (original[0] - 1, 0), (original[2], ported[2]), (original[3] + 9, ported[3])):
        session.seek(position)
        there = session.swapped("paravirt")
        assert there.position == expected
        back = there.swapped(other)
        assert back.position == max((place for place in original if place <= position), default=0)


def test_swapping_at_the_end_stands_at_the_end() -> None:
    session = Session(find_scenario("rings-tour"), "paravirt")
    session.run()
    there = session.swapped("native")
    assert there.is_over
    assert there.position == there.end != session.position


def test_a_track_answers_in_any_order() -> None:
    track = marker_track(find_scenario("rings-tour"), "native", choose("native"))
    places = marker_positions("native")
    assert track.position_of(5) == places[4]
    assert track.position_of(0) == 0
    assert track.count_at(places[1]) == 2
    assert track.count_at(places[1] - 1) == 1
    assert track.position_of(99) == places[-1]


def test_the_bill_of_a_recompiled_kernel_is_compared_with_bare_metal_at_the_end_only() -> None:
    session = Session(find_scenario("hello-serial"), "paravirt")
    session.seek(100)
    assert session.ledger().native_cycles is None
    session.run()
    native = stat(find_scenario("hello-serial"), "native")
    assert session.ledger().native_cycles == native.cycles.total
