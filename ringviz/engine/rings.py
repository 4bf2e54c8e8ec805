"""The rings panel: who sits where, who is believed to be where, and the last crossing."""

from __future__ import annotations

from collections.abc import Sequence

from ringviz.engine.view import Crossing, RingsView, Seat
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.techniques import TechniqueFacts
from ringviz.machine.state import CpuState
from ringviz.vmm.events import Event, Kind


def build_rings(technique: TechniqueFacts, guest: CpuState, real: CpuState, events: Sequence[Event]) -> RingsView:
    """Say who sits in which ring, and how the CPU last came from one to another."""
    picture = RESIDENTS[technique.id]
    rings = sorted({0, 1, 2, 3, *picture.rings})
    return RingsView(
        seats=tuple(Seat(ring, picture.rings.get(ring, "")) for ring in rings),
        real=real.cpl if picture.always_in is None else picture.always_in,
        believed=guest.cpl,
        real_mode=picture.guest_mode,
        crossing=_last_crossing(events),
        vmm_mode=picture.vmm_mode,
        is_data=picture.guest_is_data,
        lesson=picture.lesson,
    )


def _last_crossing(events: Sequence[Event]) -> Crossing | None:
    """Find the last event that took the CPU to another ring, or to the VMM and back."""
    for event in reversed(events):
        if event.kind is Kind.SILENT:
            continue
        if event.from_ring != event.to_ring or event.via_ring is not None:
            return Crossing(event.from_ring, event.to_ring, event.via_ring, event.cause)
    return None
