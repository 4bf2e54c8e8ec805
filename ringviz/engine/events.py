"""Recorded events: numbered, priced, and told in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.vmm.events import Event as RawEvent
from ringviz.vmm.events import Kind

__all__ = ["VMM_KINDS", "Change", "Event", "Kind", "RawEvent", "record", "sentence"]


VMM_KINDS = frozenset(
    {Kind.TRAP, Kind.REFLECT, Kind.EXIT, Kind.TRANSLATE, Kind.CALLOUT, Kind.HYPERCALL, Kind.VIOLATION}
)
"""Kinds of event for which the guest was left for the VMM."""


@dataclass(frozen=True, slots=True)
class Change:
    """One register that an event changed, as text."""

    name: str
    owner: str
    """`guest` for the virtual CPU, `real` for the CPU itself."""
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run, ready to be written down."""

    number: int
    """1-based."""
    at: int
    """Guest instructions retired before it."""
    address: int
    instruction: str
    kind: Kind
    cause: str
    rule: str
    handler: str
    action: str
    cycles: int | None
    """Modelled price, VMM and hardware together; None where the event's price has no source."""
    cost_cause: str
    """Cost causes charged, joined by `+`; empty if nothing is."""
    changes: tuple[Change, ...]
    got: str
    native_would: str
    from_ring: int
    to_ring: int
    resume: int
    detail: tuple[tuple[str, str], ...]
    escaped: bool = False
    """The guest got at something that is not its own."""
    is_between: bool = False
    """An interrupt before `instruction`, which had no part in it."""


def record(number: int, raw: RawEvent, cycles: int | None) -> Event:
    """Number and price an event."""
    return Event(
        number=number,
        at=raw.at,
        address=raw.address,
        instruction=raw.instruction,
        kind=raw.kind,
        cause=raw.cause,
        rule=raw.rule,
        handler=raw.handler,
        action=raw.action,
        cycles=cycles,
        cost_cause="+".join((*raw.charges, *raw.native_charges)),
        changes=tuple(
            Change(change.name, "real" if change.is_real else "guest", f"{change.old:X}", f"{change.new:X}")
            for change in raw.changes
        ),
        got=raw.got,
        native_would=raw.native_would,
        from_ring=raw.from_ring,
        to_ring=raw.to_ring,
        resume=raw.resume,
        detail=raw.detail,
        escaped=raw.escaped,
        is_between=raw.is_between,
    )


def sentence(event: Event) -> str:
    """Tell an event in one or two plain sentences that stand without colour, sign or picture."""
    where = f"{event.instruction} at {event.address:08X}h"
    if event.is_between:
        return _sentence_between(event, where)
    price = _price(event)
    match event.kind:
        case Kind.SILENT:
            if event.got == event.native_would:
                return f"{where} is sensitive but did not trap; it gave the {event.action}."
            return (
                f"{where} is sensitive but did not trap in ring {event.from_ring}. The guest got {event.got};"
                f" a CPU of its own would have given {event.native_would}."
            )
        case Kind.TRAP:
            return f"{where} trapped with {event.cause} ({event.rule}); the {event.handler} did: {event.action}.{price}"
        case Kind.REFLECT:
            action = event.action.replace("passed on", "passed it on", 1)
            return f"{where} raised {event.cause} ({event.rule}); the {event.handler} {action}.{price}"
        case Kind.TRANSLATE:
            return f"{where} had {event.cause}; the {event.handler} made one: {event.action}.{price}"
        case Kind.CALLOUT:
            return f"{where}, translated, calls the {event.handler} ({event.rule}): {event.action}.{price}"
        case Kind.HYPERCALL:
            return f"{where} asked the {event.handler} with {event.cause} ({event.rule}): {event.action}.{price}"
        case Kind.VIOLATION if event.escaped:
            return f"{where}: {event.cause}, {event.action}. Escaped: {event.rule}.{price}"
        case Kind.EXIT | Kind.VIOLATION:
            return (
                f"{where} left the guest with {event.cause} ({event.rule}); the {event.handler}: {event.action}.{price}"
            )
        case Kind.GATE | Kind.FAULT:
            return f"{where}: {event.cause} ({event.rule}), {event.action}, {_by_whom(event)}.{price}"
        case Kind.IO:
            return f"{where}: {event.cause}, {event.action}, {_by_whom(event)}.{price}"
        case _:
            return f"{where}: {event.cause}, {event.action}.{price}"


def _sentence_between(event: Event, where: str) -> str:
    """Tell an interrupt: no instruction of the guest has brought it about."""
    what = f"Before {where}: {event.cause} ({event.rule})"
    if event.kind in (Kind.INTERRUPT, Kind.END):
        return f"{what}, {event.action}, {_by_whom(event)}.{_price(event)}"
    return f"{what}; the {event.handler}: {event.action}.{_price(event)}"


def _price(event: Event) -> str:
    return "" if event.cycles is None else f" Modelled price: {event.cycles:,} cycles."


_NO_VMM = ("guest kernel", "guest hypervisor (L1)", "the CPU", "device")


def _by_whom(event: Event) -> str:
    """Say that the hardware did it, or else who did."""
    return "without a VMM" if event.handler in _NO_VMM else f"by {event.handler}"
