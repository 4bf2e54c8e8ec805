"""The rings panel: who sits where, who is believed to be where, and the last crossing."""

from __future__ import annotations

from collections.abc import Sequence

from ringviz.engine.view import Crossing, RingsView, Seat
from ringviz.facts.registers import Eflags
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.techniques import TechniqueFacts
from ringviz.machine.state import CpuState
from ringviz.vmm.events import Event, Kind

VIRTUAL_8086 = "virtual-8086 mode"
_KERNEL = "guest OS"
_REAL_MODE_LESSON = "Real mode is played in ring 3."


def plays_real_mode(technique: TechniqueFacts, guest: CpuState, real: CpuState) -> bool:
    """Tell whether the guest is in real mode, and its CPU really in virtual-8086 mode, which looks the same."""
    is_data = RESIDENTS[technique.id].guest_is_data
    return not is_data and not guest.is_protected and bool(real.eflags & Eflags.VM)


def level_of(guest: CpuState) -> str:
    """Give the level of a guest that is a hypervisor itself: L1 while it runs, L2 while its own guest does."""
    return "L2" if guest.is_guest_mode else "L1"


def build_rings(technique: TechniqueFacts, guest: CpuState, real: CpuState, events: Sequence[Event]) -> RingsView:
    """Say who sits in which ring, and how the CPU last came from one to another."""
    picture = RESIDENTS[technique.id]
    residents, mode, lesson = picture.rings, picture.guest_mode, picture.lesson
    if plays_real_mode(technique, guest, real):
        # Virtual-8086 mode is always ring 3: the kernel is not where ring compression puts it.
        residents = {ring: who for ring, who in residents.items() if who != _KERNEL} | {3: _KERNEL}
        mode, lesson = mode or VIRTUAL_8086, _REAL_MODE_LESSON
    if guest.svm is not None:
        mode = f"{mode}, {level_of(guest)}".lstrip(", ")
    rings = sorted({0, 1, 2, 3, *residents})
    return RingsView(
        seats=tuple(Seat(ring, residents.get(ring, "")) for ring in rings),
        real=real.cpl if picture.always_in is None else picture.always_in,
        believed=guest.cpl,
        real_mode=mode,
        crossing=_last_crossing(events),
        vmm_mode=picture.vmm_mode,
        is_data=picture.guest_is_data,
        lesson=lesson,
    )


def _last_crossing(events: Sequence[Event]) -> Crossing | None:
    """Find the last event that took the CPU to another ring, or to the VMM and back."""
    for event in reversed(events):
        if event.kind is Kind.SILENT:
            continue
        if event.from_ring != event.to_ring or event.via_ring is not None:
            return Crossing(event.from_ring, event.to_ring, event.via_ring, event.cause)
    return None
