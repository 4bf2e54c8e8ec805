"""What a derivation predicts is what happens: at events, and where nothing happens."""

from collections import Counter

import pytest

from ringviz.engine.derivation import RETURNS, Derivation, Taker
from ringviz.engine.session import Session
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.events import Event, Kind

_BY_VMM = frozenset({Kind.TRAP, Kind.REFLECT, Kind.EXIT, Kind.CALLOUT, Kind.HYPERCALL, Kind.VIOLATION})
_SAMPLES = 25


def taker_of(event: Event) -> Taker:
    """Who took over, as the run tells it."""
    if event.kind in _BY_VMM:
        return Taker.VMM
    if event.kind is Kind.SILENT:
        # A sensitive instruction that told the truth by chance has harmed nobody.
        return Taker.SILENT if event.is_divergence else Taker.NOBODY
    if event.kind in (Kind.IO, Kind.END):
        return Taker.DEVICE
    if event.kind is Kind.GATE and event.form in RETURNS:
        return Taker.NOBODY
    return Taker.GUEST


def is_of_the_instruction(event: Event) -> bool:
    """Not an interrupt, no page fault, no translation of what has not been translated yet, no single-step trap."""
    is_foreign = event.is_between or event.form is None or event.kind is Kind.TRANSLATE
    return not is_foreign and not event.cause.startswith(("#PF", "#DB"))


def predicts(derivation: Derivation, event: Event) -> bool:
    if taker_of(event) in derivation.takers:
        return True
    if event.kind is Kind.SILENT and not event.is_divergence:
        return Taker.SILENT in derivation.takers
    # A selector or a value that no ring may load is refused under every technique.
    return derivation.is_also_checked and event.kind in (Kind.FAULT, Kind.REFLECT)


@pytest.mark.parametrize(
    ("scenario", "technique"),
    [
        ("sensitive-17", "trap-emulate"),
        ("sensitive-17", "binary-translation"),
        ("msr-and-cr", "vt-x"),
        ("msr-and-cr", "amd-v"),
        ("rings-tour", "native"),
        ("rings-tour", "emulation"),
        ("rings-tour", "classic"),
        ("rings-tour", "paravirt"),
        ("divzero-and-friends", "trap-emulate"),
    ],
)
def test_the_one_that_is_predicted_takes_over(scenario: str, technique: str) -> None:
    session = Session(find_scenario(scenario), technique)
    session.run()
    events = list(session.events.raw)
    seen: Counter[tuple[str | None, int, Kind]] = Counter()
    tried = 0
    for event in events:
        kind = (event.form, event.from_ring, event.kind)
        seen[kind] += is_of_the_instruction(event)
        if not is_of_the_instruction(event) or seen[kind] > 1:
            continue
        session.seek(event.at)
        derivation = session.why()
        assert derivation is not None
        assert predicts(derivation, event), (event, derivation)
        tried += 1
    assert tried > 3
    busy = {event.at for event in events}
    assert session.end is not None
    for position in range(1, session.end, max(1, session.end // _SAMPLES)):
        if position not in busy:
            session.seek(position)
            quiet = session.why()
            assert quiet is None or Taker.NOBODY in quiet.takers, (position, quiet)


def test_cli_in_ring_1_is_derived_from_cpl_and_iopl_to_the_vmm() -> None:
    session = Session(find_scenario("popf-hole"), "trap-emulate")
    session.seek(1762)
    derivation = session.why()
    assert derivation is not None
    assert derivation.instruction == "cli"
    assert "The CPU, at CPL 1, though the guest believes that it is at CPL 0" in [s.answer for s in derivation.steps]
    assert "CPL 1 > IOPL 0 → #GP(0)" in [step.answer for step in derivation.steps]
    assert derivation.takers == {Taker.VMM}
    assert all(step.source for step in derivation.steps)


def test_popf_in_ring_1_is_nobodys_business_and_in_non_root_operation_too_but_rightly() -> None:
    here = Session(find_scenario("popf-hole"), "trap-emulate")
    here.seek(2315)
    silent = here.why()
    there = here.swapped("vt-x").why()
    assert silent is not None
    assert there is not None
    assert silent.instruction == there.instruction == "popfd"
    assert silent.takers == {Taker.SILENT}
    assert there.takers == {Taker.NOBODY}


def test_at_the_end_there_is_nothing_to_derive() -> None:
    session = Session(find_scenario("rings-tour"), "native")
    session.run()
    assert session.why() is None
