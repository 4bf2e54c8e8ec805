"""The guest's page tables beside the shadow that the CPU walks, and whether they say the same about an access."""

from __future__ import annotations

from ringviz.machine.paging import RW, US, Access, P, ReadEntry, Walk
from ringviz.machine.state import CpuState
from ringviz.vmm.guest_space import GuestSpace
from ringviz.vmm.mmu.answers import Elsewhere, Refused, Traced
from ringviz.vmm.mmu.shadow import ShadowPaging
from ringviz.vmm.walks import (
    Agreement,
    Tables,
    TableWalk,
    Verdict,
    Walker,
    Walks,
    one_dimension,
    window_of,
    within,
)

HIDDEN_FAULT_NEXT = "the next such access is a hidden fault, and the VMM brings the shadow up to date"


def shadow_walks(
    shadow: ShadowPaging,
    space: GuestSpace,
    read_host: ReadEntry,
    guest: CpuState,
    real: CpuState,
    linear: int,
    access: Access,
) -> Walks:
    """Walk the shadow as the CPU does, and the guest's own tables as the VMM does when it makes the shadow.

    Args:
        shadow: the shadows of this guest.
        space: guest-physical memory.
        read_host: entry at a host-physical address.
        guest: the virtual CPU.
        real: the CPU.
        linear: the address.
        access: what for.
    """

    def read_guest(gpa: int, size: int) -> int:
        return int.from_bytes(space.peek_physical(gpa, size), "little")

    cpu = shadow_walk(space, read_host, real, linear, access)
    vmm = one_dimension(
        read_guest, guest, linear, access,
        walker=Walker.VMM, tables=Tables.GUEST, gpa_of=lambda gpa: gpa, hpa_of=within(space.base, space.size),
    )  # fmt: skip
    return Walks((cpu, vmm), agreement(shadow, space.base, linear, access, vmm.done, cpu.done))


def shadow_walk(space: GuestSpace, read_host: ReadEntry, real: CpuState, linear: int, access: Access) -> TableWalk:
    """Walk the shadow as the CPU does."""
    return one_dimension(
        read_host, real, linear, access,
        walker=Walker.CPU, tables=Tables.SHADOW, gpa_of=window_of(space.base, space.size), hpa_of=lambda hpa: hpa,
    )  # fmt: skip


def agreement(shadow: ShadowPaging, base: int, linear: int, access: Access, guest: Walk, real: Walk) -> Agreement:
    """Judge one access by both walks.

    Args:
        shadow: the shadows of this guest.
        base: host-physical address of guest-physical 0.
        linear: the address.
        access: what for.
        guest: the walk through the guest's own tables.
        real: the walk through the shadow.
    """
    allows = real.physical is not None
    match shadow.judge(linear, access, guest):
        case Refused():
            if allows:
                return Agreement(Verdict.TOO_GENEROUS, "the guest's tables refuse what the shadow allows")
            return Agreement(Verdict.AGREES, "both refuse: the page fault is the guest's own, and is passed on to it")
        case Traced():
            if allows:
                return Agreement(Verdict.TOO_GENEROUS, "the guest writes unseen to a page that the VMM watches")
            text = "the page is watched (it holds a page table): the write traps, and the VMM carries it out"
            return Agreement(Verdict.TRACED, text)
        case Elsewhere(gpa, is_own):
            what = "the VMM has this linear address for itself" if is_own else f"nothing answers at {gpa:08X}h"
            return Agreement(Verdict.NOT_MAPPED, f"{what}: the VMM carries such an access out by itself")
    assert guest.physical is not None
    if not allows:
        return Agreement(Verdict.OUT_OF_DATE, f"{_what_is_missing(access, real)}; {HIDDEN_FAULT_NEXT}")
    if real.physical != base + guest.physical:
        return Agreement(Verdict.TOO_GENEROUS, "the shadow leads to another page than the guest's tables")
    return Agreement(Verdict.AGREES, "the shadow leads to where the guest's tables lead")


def _what_is_missing(access: Access, real: Walk) -> str:
    """Say what a shadow does not allow yet."""
    value = real.entries[-1].value if real.entries else 0
    if not value & P:
        return "the shadow has no entry for this page yet"
    if access.is_user and not value & US:
        return "the shadow keeps the page from ring 3"
    if access.is_write and not value & RW:
        return "the shadow is read-only until the first write, so that the VMM can set the guest's dirty bit"
    return "the shadow allows less than the guest's entry"
