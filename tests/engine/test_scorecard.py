"""From a run's numbers to the three properties of a virtual machine monitor."""

from dataclasses import replace

import pytest

from ringviz.engine.fidelity import Divergence, Fidelity
from ringviz.engine.scorecard import Verdict, scorecard, scorecard_json
from ringviz.engine.stat import Cycles, Safety, Stat
from ringviz.facts.properties import MAJORITY, PROPERTIES
from ringviz.facts.source import Status

FIRST = Divergence(1763, 0x10007F, "pushfd", "answer", 0x46, 0x246, "pushf")
RUN = Stat(
    scenario="popf-hole",
    technique="amd-v",
    mmu="nested",
    cpu="barcelona",
    outcome="exit",
    exit_code=1,
    console="",
    retired=1000,
    direct=900,
    cycles=Cycles(1000, 500),
    slowdown=1.5,
    events=(),
    guest_state_sha256="0" * 64,
    fidelity=Fidelity(True, None, ()),
    safety=Safety(3, 3),
    vmm_calls=120,
)


def verdicts(run: Stat) -> list[Verdict]:
    return [score.verdict for score in scorecard(run).scores]


def test_a_run_that_keeps_all_three() -> None:
    card = scorecard(RUN)
    assert [score.property.id for score in card.scores] == list(PROPERTIES)
    assert verdicts(RUN) == [Verdict.HOLDS] * 3
    assert (card.direct_share, card.calls_per_thousand) == (0.9, 120.0)
    assert card.score("safety").figure == "3 of 3 contained"


def test_fidelity_names_the_first_place_where_it_fails() -> None:
    score = scorecard(replace(RUN, fidelity=Fidelity(False, FIRST, (FIRST, FIRST)))).score("fidelity")
    assert score.verdict is Verdict.FAILS
    assert score.figure == "differs at step 1,763: pushfd"
    assert "the guest got 246h, bare metal gives 46h. 2 instructions differ in all." in score.words


def test_a_recompiled_kernel_is_identical_at_its_markers() -> None:
    score = scorecard(replace(RUN, technique="paravirt", fidelity=Fidelity(True, None, (), 27))).score("fidelity")
    assert (score.verdict, score.figure) == (Verdict.HOLDS, "identical at 27 markers")
    assert "compared at 27 markers" in score.words


def test_a_run_compared_at_intervals_does_not_claim_every_instruction() -> None:
    fidelity = Fidelity(True, None, (), closely_until=123_456)
    score = scorecard(replace(RUN, fidelity=fidelity)).score("fidelity")
    assert (score.verdict, score.figure) == (Verdict.HOLDS, "identical at intervals")
    assert "at every stop up to step 123,456, and from there after every 10,000" in score.words


def test_what_was_not_compared_or_not_attempted_is_not_claimed() -> None:
    assert verdicts(replace(RUN, fidelity=None, safety=Safety(0, 0))) == [
        Verdict.UNTRIED,
        Verdict.HOLDS,
        Verdict.UNTRIED,
    ]
    assert verdicts(replace(RUN, retired=0, direct=0))[1] is Verdict.UNTRIED


@pytest.mark.parametrize(
    ("direct", "verdict"), [(0, Verdict.FAILS), (499, Verdict.FAILS), (500, Verdict.HOLDS), (1000, Verdict.HOLDS)]
)
def test_performance_holds_from_ringvizs_own_line_on(direct: int, verdict: Verdict) -> None:
    assert verdicts(replace(RUN, direct=direct))[1] is verdict


def test_the_line_is_marked_as_ringvizs_own() -> None:
    assert MAJORITY.value == 0.5
    assert MAJORITY.source.status is Status.CHOSEN
    assert {row.id for row in PROPERTIES.values() if row.source.status is Status.CHOSEN} == set()


def test_emulation_runs_nothing_directly_and_has_nothing_to_call() -> None:
    card = scorecard(replace(RUN, technique="emulation", direct=0, vmm_calls=0))
    assert card.calls_per_thousand is None
    assert card.score("performance").verdict is Verdict.FAILS
    assert "each was carried out by a program" in card.score("performance").words


def test_an_attempt_that_got_through_is_a_failure() -> None:
    score = scorecard(replace(RUN, safety=Safety(3, 2))).score("safety")
    assert (score.verdict, score.figure) == (Verdict.FAILS, "2 of 3 contained")


def test_the_json_has_words_and_numbers() -> None:
    made = scorecard_json(scorecard(RUN))
    assert made["direct_share"] == 0.9
    assert made["majority"] == 0.5
    assert made["fidelity"] == {
        "verdict": "holds",
        "figure": "identical",
        "words": "The guest saw what it sees on bare metal, at every instruction.",
    }
