"""What a log keeps of events that are alike."""

from ringviz.engine.event_log import EventLog
from ringviz.facts.costs import CPU_PROFILES
from ringviz.vmm.events import Change, Event, Kind


def happened(at: int, flag: int) -> Event:
    """Make an event of values that no other one has as objects, as a VMM does."""
    return Event(
        at, 0x10_0000 + 3, "".join(["c", "li"]), "cli", Kind.TRAP, "".join(["#GP", "(0)"]), f"CPL {1} > IOPL {0}",
        "VMM in ring 0", f"virtual IF {flag} → 0", changes=(Change("IF", False, flag, 0),),
    )  # fmt: skip


def test_equal_values_of_events_are_kept_once() -> None:
    log = EventLog(CPU_PROFILES["p4-672"])
    for at in range(3):
        log.append(happened(at, 1))
    log.append(happened(3, 0))
    first, second, _, other = log.raw
    assert (first.at, second.at, other.at) == (0, 1, 3)
    for field in ("address", "instruction", "cause", "rule", "action", "changes"):
        assert getattr(first, field) is getattr(second, field)
    assert other.changes == (Change("IF", False, 0, 0),)
    assert other.action == "virtual IF 0 → 0"
    assert other.rule is first.rule


def test_a_log_of_events_that_differ_keeps_each_as_it_was() -> None:
    log = EventLog(CPU_PROFILES["p4-672"])
    made = [happened(at, at) for at in range(3_000)]
    for event in made:
        log.append(event)
    assert log.raw == [happened(at, at) for at in range(3_000)]
