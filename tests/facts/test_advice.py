"""Advice: one line for every cause, and no figure without its source."""

import re

from ringviz.facts.advice import ADVICE
from ringviz.facts.causes import CAUSES
from ringviz.facts.cpu_features import CPU_FEATURES
from ringviz.facts.figures import FIGURES
from ringviz.facts.source import Status
from ringviz.facts.techniques import TECHNIQUES


def test_every_cause_has_advice_of_one_line() -> None:
    assert set(ADVICE) >= set(CAUSES)
    assert all("\n" not in row.text and row.text.endswith(".") for row in ADVICE.values())


def test_what_takes_a_cause_away_is_a_technique_or_a_feature_that_there_is() -> None:
    assert {name for row in ADVICE.values() for name in row.removed_by} <= {*TECHNIQUES, *CPU_FEATURES}


def test_every_number_in_advice_is_a_published_figure_with_its_source() -> None:
    published = {f"{figure.low:,}" for figure in FIGURES.values()}
    for row in ADVICE.values():
        numbers = re.findall(r"\b\d[\d,]*\d\b", row.text)
        assert set(numbers) <= published
        assert not numbers or row.source.status is not Status.CHOSEN
