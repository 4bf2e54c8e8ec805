"""Adams & Agesen 2006 reproduced: who wins, by how much, and that no price comes from what it predicts."""

import pytest

from ringviz.engine.paper import Reproduction, reproduce
from ringviz.errors import UnsupportedError
from ringviz.facts.adams_agesen import DEVIATIONS, OPERATIONS, Contender
from ringviz.facts.costs import cost_of
from ringviz.facts.figures import FIGURES
from ringviz.guest.scenario import find_scenario


@pytest.fixture(scope="module")
def done() -> Reproduction:
    return reproduce("p4-672")


def test_the_same_technique_wins_on_all_seven_operations(done: Reproduction) -> None:
    assert list(done.rows) == ["syscall", "in", "cr8wr", "call/ret", "pgfault", "divzero", "ptemod"]
    assert done.agreeing == 7


def test_five_of_seven_are_within_a_factor_of_two_for_software_and_for_hardware(done: Reproduction) -> None:
    assert done.near(Contender.SOFTWARE) >= 5
    assert done.near(Contender.HARDWARE) >= 5


def test_bare_metal_costs_what_the_papers_native_column_says_but_for_what_stands_in(done: Reproduction) -> None:
    for id_, rows in done.rows.items():
        if id_ != "cr8wr":
            assert abs(rows[0].measures[Contender.NATIVE].model - rows[0].variant.native) <= 4, id_


def test_no_figure_is_a_number_of_the_two_columns_that_are_predicted(done: Reproduction) -> None:
    used = {cause for _, bill in done.bills for cause in bill.causes}
    variants = [variant for operation in OPERATIONS.values() for variant in operation.variants]
    # 51 is a figure that advice names.
    # 216 is in both: an RDTSC emulated in the translation cache is a measurement of its own, in section 3.3.
    predicted = {number for variant in variants for number in (variant.software, variant.hardware)} - {216, 11}
    assert not predicted & {cost_of(done.cpu, cause).cycles for cause in used}
    assert not predicted & {FIGURES[name].low for name in FIGURES if name.startswith("p4-")} - {51}
    assert "51" not in cost_of(done.cpu, "translated-indirect").source.note


def test_translating_is_over_before_anybody_counts(done: Reproduction) -> None:
    assert all("translate-instruction" not in bill.causes for _, bill in done.bills)


def test_every_row_that_is_off_has_its_reason_on_file_and_no_other_has(done: Reproduction) -> None:
    off = {
        f"{row.variant.id}, {who.value}"
        for rows in done.rows.values()
        for row in rows
        for who in Contender
        if not row.measures[who].is_near
    }
    assert off == set(DEVIATIONS)


def test_each_operation_has_a_guest_whose_loops_are_whole_rounds(done: Reproduction) -> None:
    for id_, rows in done.rows.items():
        assert find_scenario(OPERATIONS[id_].scenario)
        for row in rows:
            for who in Contender:
                bill = row.measures[who].bill
                assert all(times % bill.rounds == 0 for times in (*bill.causes.values(), *bill.classes.values())), id_


def test_a_cpu_without_vt_x_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="vt-x needs a CPU with it"):
        reproduce("barcelona")
