"""Hits of fragments."""

from collections import Counter

import pytest

from ringviz.engine.hit_count import TECHNIQUE, count_hits
from ringviz.engine.recording import Recording
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose
from ringviz.vmm.translation.technique import BinaryTranslation


@pytest.mark.parametrize(("scenario", "position"), [("rings-tour", 1700), ("self-modifying", 900), ("teachos", 2600)])
def test_hits_are_those_that_single_steps_see(scenario: str, position: int) -> None:
    found, setup = find_scenario(scenario), choose(TECHNIQUE)
    hits = count_hits(found, setup, position)
    recording = Recording(found, TECHNIQUE, setup)
    technique = recording.technique
    assert isinstance(technique, BinaryTranslation)
    seen: Counter[int] = Counter()
    while recording.position < hits.position:
        if technique.real_state().cpl == 1:
            seen[technique.guest_state().eip] += 1
        recording.play(recording.position + 1)
    inside = {unit.instruction.address for fragment in technique.fragments() for unit in fragment.units[1:]}
    # Where code is in the middle of another fragment too, it runs without entering this one.
    # An exception's delivery and the first instruction of its handler are one step.
    known = [fragment for fragment in hits.fragments if fragment.eip not in inside and seen[fragment.eip]]
    assert len(known) > 3
    for fragment in known:
        here = fragment.eip == technique.guest_state().eip
        assert fragment.hits in (seen[fragment.eip], seen[fragment.eip] + here), hex(fragment.eip)
    assert max(fragment.hits for fragment in known) > 3
