"""The rings panel: who sits where, who is believed to be where, and the last crossing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ringviz.engine.view import Crossing, RingsView, Seat
from ringviz.facts.techniques import TechniqueFacts
from ringviz.machine.state import CpuState
from ringviz.vmm.events import Event, Kind

if TYPE_CHECKING:
    from ringviz.engine.snapshots import Moment

_KERNEL, _PROGRAMS, _VMM = "guest OS", "applications", "VMM"


def build_rings(
    technique: TechniqueFacts, guest: CpuState, real: CpuState, before: Moment | None, events: Sequence[Event]
) -> RingsView:
    """Say who sits in which ring, and how the CPU last came from one to another."""
    residents = dict.fromkeys(range(4), "")
    if technique.vmm_ring == -1:
        residents = {-1: ""} | residents
    if technique.guest_kernel_ring is not None:
        residents[technique.guest_kernel_ring] = _KERNEL
    if technique.vmm_ring is not None:
        residents[technique.vmm_ring] = _VMM
    residents[3] = _PROGRAMS
    return RingsView(
        seats=tuple(Seat(ring, resident) for ring, resident in sorted(residents.items())),
        real=real.cpl,
        believed=guest.cpl,
        real_mode="guest mode" if technique.vmm_ring == -1 else "",
        crossing=_last_crossing(events),
    )


def _last_crossing(events: Sequence[Event]) -> Crossing | None:
    """Find the last event that took the CPU to another ring, or to the VMM and back."""
    for event in reversed(events):
        if event.kind is Kind.SILENT:
            continue
        if event.from_ring != event.to_ring or event.via_ring is not None:
            return Crossing(event.from_ring, event.to_ring, event.via_ring, event.cause)
    return None
