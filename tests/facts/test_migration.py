"""The numbers of live migration have sources, and the rules that are offered are those that are built."""

import pytest

from ringviz.facts.migration import MIGRATION_NUMBERS, STOP_RULES, number
from ringviz.facts.source import Status
from ringviz.facts.sources import WORKS
from ringviz.vmm.migration.rounds import DEFAULT_RULES, Link, make_rules

CITED = {work.cite for work in WORKS.values()}


def test_every_number_and_rule_names_its_source() -> None:
    sources = {row.id: row.source for row in MIGRATION_NUMBERS.values()}
    sources |= {row.id: row.source for row in STOP_RULES.values()}
    assert len(sources) == len(MIGRATION_NUMBERS) + len(STOP_RULES)
    for name, source in sources.items():
        assert source.work in CITED or (source.status is Status.CHOSEN and source.note), name
        assert source.status is not Status.REMEMBERED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("downtime-limit", 300_000),
        ("throttle-trigger", 50),
        ("throttle-initial", 20),
        ("throttle-increment", 10),
        ("throttle-most", 99),
        ("xen-rounds", 29),
        ("xen-factor", 3),
        ("xen-few-pages", 50),
        ("clark-most", 500),
        ("clark-step", 50),
        ("clark-little", 256 * 1024),
    ],
)
def test_the_numbers_are_those_of_the_works(name: str, value: int) -> None:
    assert number(name) == value


def test_all_rules_that_are_described_can_be_chosen() -> None:
    assert DEFAULT_RULES in STOP_RULES
    for name in STOP_RULES:
        assert make_rules(name, Link(10)).rate([]) > 0
