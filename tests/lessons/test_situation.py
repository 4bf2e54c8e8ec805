"""A lesson can be followed by ear: where the guest stands, what the panel says, and no answer before its question."""

from __future__ import annotations

import pytest

from ringviz.engine.session import Session
from ringviz.guest.scenario import find_scenario
from ringviz.lessons.looked_at import looked_at
from ringviz.lessons.place import go
from ringviz.lessons.read import PANELS
from ringviz.lessons.situation import listing


@pytest.fixture(scope="module")
def hole() -> Session:
    session = Session(find_scenario("popf-hole"), "trap-emulate")
    go(session, "after divergence")
    return session


def test_what_will_become_of_an_instruction_is_kept_from_somebody_who_guesses(hole: Session) -> None:
    told, kept = listing(hole), listing(hole, has_verdicts=False)
    assert any("[silent]" in line for line in told)
    assert not any(line.endswith("]") and "  [" in line for line in kept)
    assert [line.split("  [")[0] for line in told] == [line.split("  [")[0] for line in kept]


@pytest.mark.parametrize(
    ("look", "words"),
    [
        ("console", "What a kernel sees"),
        ("cpu", "IF: the guest has 0, the CPU 1"),
        ("events", "The guest got 00000246"),
        ("overhead", "cycles of the guest's own work"),
        ("vmm", "There is nothing of a VMM's"),
        ("walk", "The CPU walks the shadow tables"),
        ("memory", "* 00105FF0"),
    ],
)
def test_the_panel_that_a_page_points_at_is_told(hole: Session, look: str, words: str) -> None:
    lines = looked_at(hole, look, 78)
    assert words in " ".join(" ".join(lines).split())
    assert all(len(line) <= 78 for line in lines)


def test_every_panel_but_those_told_anyway_has_something_to_say(hole: Session) -> None:
    silent = {look for look in PANELS if not looked_at(hole, look, 78)}
    assert silent == {"rings", "code", "card", "host"}  # a host is told by the page itself
