"""What an operation costs, found by two loops: counted in real runs, with the loop's own work gone."""

from fractions import Fraction

import pytest

from ringviz.engine.bill import between
from ringviz.engine.nanobench import Bench, Charges, Loop
from ringviz.engine.recording import Recording
from ringviz.errors import InputError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.instruction_weights import weight_of
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose

P4 = CPU_PROFILES["p4-672"]
EMPTY, OPERATION = (Loop(marker, f"{marker}_end") for marker in ("marker_empty", "marker_operation"))
ROUNDS = 20


def bench(scenario: str, *loops: Loop) -> Bench:
    return Bench(find_scenario(scenario), loops or (EMPTY, OPERATION), "empty_loop", choose("native", cpu=P4.id))


def operation(scenario: str, technique: str, mmu: str | None = None) -> Charges:
    bills = bench(scenario).bills(technique, choose(technique, mmu, P4.id))
    return bills[OPERATION].less(bills[EMPTY])


def test_on_bare_metal_a_port_access_is_all_that_differs_between_the_two_loops() -> None:
    bill = operation("nano-in", "native")
    assert (bill.causes, bill.classes, bill.rounds) == ({"native-port-io": ROUNDS}, {"by-event": ROUNDS}, ROUNDS)
    assert bill.cycles(P4) == ROUNDS * 3209


def test_the_loop_itself_is_counted_where_nothing_is_subtracted() -> None:
    empty = bench("nano-in").bills("native", choose("native", cpu=P4.id))[EMPTY]
    assert empty.causes == {}
    assert empty.classes == {"simple": ROUNDS, "branch": ROUNDS, "call": 1, "return": 1}
    assert empty.cycles(P4) == ROUNDS * 2 + 11


def test_the_first_instruction_of_a_handler_retires_and_the_one_that_faulted_does_not() -> None:
    bill = operation("nano-divzero", "native")
    assert bill.causes == {"native-exception": ROUNDS}
    assert bill.classes == {"load-and-store": ROUNDS, "simple": ROUNDS, "by-event": ROUNDS}


def test_an_instruction_that_a_translator_replaces_is_charged_its_sequence_and_not_its_own_weight() -> None:
    assert operation("nano-cr8wr", "binary-translation").classes == {}
    returns = operation("nano-callret", "binary-translation")
    assert (returns.causes, returns.classes) == ({"translated-indirect": ROUNDS}, {"call": ROUNDS})


def test_an_exit_comes_with_the_accesses_to_the_vmcs_that_the_vmm_really_made() -> None:
    bill = operation("nano-in", "vt-x", "shadow")
    assert bill.classes == {}
    assert bill.causes["exit"] == bill.causes["vmm-work"] == ROUNDS
    assert bill.causes["vmread"] >= 3 * ROUNDS
    assert bill.causes["vmwrite"] >= ROUNDS
    assert "native-port-io" not in bill.causes


@pytest.mark.parametrize("scenario", ["nano-cr8wr", "nano-callret", "nano-syscall", "nano-divzero", "nano-rdtsc"])
def test_what_needs_no_exit_costs_with_vt_x_what_it_costs_on_bare_metal(scenario: str) -> None:
    assert operation(scenario, "vt-x", "shadow") == operation(scenario, "native")


@pytest.mark.parametrize(
    ("scenario", "technique"),
    [("nano-callret", "native"), ("nano-callret", "binary-translation"), ("nano-rdtsc", "binary-translation"),
     ("nano-in", "vt-x"), ("nano-in", "trap-emulate")],
)  # fmt: skip
def test_a_loop_is_charged_what_the_ledger_of_the_run_has_for_the_same_stretch(scenario: str, technique: str) -> None:
    setup = choose(technique, cpu=P4.id)
    measured = bench(scenario)
    charges = measured.bills(technique, setup)[OPERATION]
    begin, end = measured.span(OPERATION)
    bill = between(Recording(find_scenario(scenario), technique, setup), begin, end)
    assert charges.causes == bill.causes
    work = sum(times * weight_of(name, P4.weights) for name, times in charges.classes.items())
    assert work == bill.guest_weight > 0


@pytest.mark.parametrize("technique", ["binary-translation", "trap-emulate", "classic", "amd-v"])
def test_every_other_technique_can_be_measured_as_well(technique: str) -> None:
    bench_ = bench("nano-divzero")
    setup = choose(technique)
    bills = bench_.bills(technique, setup)
    bill = bills[OPERATION].less(bills[EMPTY])
    assert "translate-instruction" not in bill.causes
    assert bill.cycles(setup.cpu) > ROUNDS * 800


def test_weights_below_a_cycle_stay_exact() -> None:
    bill = Charges()
    bill.classes.update({"call": 3})
    assert bill.cycles(P4) == Fraction(33, 2)


@pytest.mark.parametrize(
    ("loop", "complaint"),
    [
        (Loop("marker_nowhere", "marker_empty_end"), "no label marker_nowhere in guest.asm"),
        (Loop("panic", "marker_empty_end"), "panic is never reached"),
        (Loop("marker_operation_end", "marker_operation"), "marker_operation is never reached after"),
    ],
)
def test_a_loop_that_does_not_come_is_refused_in_one_line(loop: Loop, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        bench("nano-in", loop)
