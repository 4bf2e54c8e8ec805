"""Causes: each says what is counted, and what its price is for and not for."""

from ringviz.facts.causes import CAUSES
from ringviz.facts.costs import BUILT_IN_CPUS


def test_every_cause_says_what_is_counted_and_what_its_price_holds_and_leaves_out() -> None:
    for cause in CAUSES.values():
        for text in (cause.counted, cause.included, cause.left_out):
            assert text.strip()
            assert not text.endswith("."), cause.id
    assert len({cause.counted for cause in CAUSES.values()}) > len(CAUSES) - 4


def test_a_part_belongs_to_a_cause_that_is_charged_and_costs_no_more() -> None:
    parts = [cause for cause in CAUSES.values() if cause.part_of]
    assert {cause.id for cause in parts} == {"vm-entry", "vm-exit"}
    for profile in BUILT_IN_CPUS.values():
        for cause in parts:
            assert cause.part_of is not None
            part, whole = profile.costs[cause.id].cycles, profile.costs[cause.part_of].cycles
            assert whole is not None
            assert part is None or part < whole


def test_a_cause_named_by_another_is_one() -> None:
    words = {word.strip(",:;()") for cause in CAUSES.values() for word in f"{cause.left_out} {cause.counted}".split()}
    named = {word for word in words if word.startswith(("native-", "translate-", "vm-", "vmm-"))}
    assert named <= set(CAUSES)
    assert len(named) > 5
