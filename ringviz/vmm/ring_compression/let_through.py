"""Carrying out one instruction whose memory access no shadow entry can allow for long.

Either the guest writes to a page that the VMM watches, or it reaches where its machine has nothing, or where the VMM
has taken linear addresses for itself. The instruction runs with the page lent for that long: the real one, or one
where nothing answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeGuard

from ringviz.facts.exceptions import PageFaultError, Vector
from ringviz.machine.machine import Machine
from ringviz.machine.memory import PAGE
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState
from ringviz.machine.stops import Fault, ProtectedAccess, Stop
from ringviz.vmm.guest_space import MOST_PAGES_LENT, GuestSpace
from ringviz.vmm.mmu.answers import Elsewhere, Filled, Refused, Traced
from ringviz.vmm.mmu.shadow import Lent, ShadowPaging
from ringviz.vmm.ring_compression import layout


def is_memory_refusal(stop: Stop) -> TypeGuard[Fault | ProtectedAccess]:
    """Tell whether an access was refused by the VMM's page tables or by the cut-off segments."""
    return isinstance(stop, ProtectedAccess) or (isinstance(stop, Fault) and stop.vector == Vector.PF)


def access_of(stop: Fault | ProtectedAccess) -> Access:
    """What the guest wanted of the page. The VMM's own pages are for supervisors, so what they refuse is of one."""
    if isinstance(stop, ProtectedAccess):
        return Access(is_write=stop.is_write, is_fetch=stop.instruction is None)
    error = stop.error_code or 0
    return Access(bool(error & PageFaultError.W), bool(error & PageFaultError.U), bool(error & PageFaultError.I))


@dataclass(slots=True)
class Passage:
    """How it went."""

    inner: Stop
    """Why the CPU stopped in the end; `BudgetSpent` if the instruction is complete."""
    refused: tuple[int, int] | None = None
    """Linear address and error code where the guest's own tables refused in the end: its page fault."""
    filled: list[tuple[int, Filled]] = field(default_factory=list)
    """Hidden faults met on the way, with their linear addresses."""
    lent: list[Lent] = field(default_factory=list)
    written: list[tuple[int, bytes]] = field(default_factory=list)
    """Guest pages that may have been written, with what they held before."""


def let_through(
    machine: Machine, shadow: ShadowPaging, space: GuestSpace, state: CpuState, stop: Fault | ProtectedAccess
) -> Passage:
    """Run the instruction at EIP, answering what its accesses need until it completes or stops for another reason.

    Args:
        machine: stopped before the instruction.
        shadow: the page tables.
        space: guest memory.
        state: the virtual CPU.
        stop: the access that was refused.
    """
    passage = Passage(stop)
    while is_memory_refusal(passage.inner) and len(passage.lent) < MOST_PAGES_LENT:
        refused = passage.inner
        linear, access = refused.linear or 0, access_of(refused)
        match shadow.fault(state, linear, access):
            case Refused(error_code):
                passage.refused = (linear, error_code)
                break
            case Filled() as filled:
                passage.filled.append((linear, filled))
            case Traced(gpa) | Elsewhere(gpa, is_own=True):
                frame_address = gpa & ~0xFFF
                if access.is_write and all(address != frame_address for address, _ in passage.written):
                    passage.written.append((frame_address, space.read_physical(frame_address, PAGE)))
                passage.lent.append(shadow.lend(linear, space.base + frame_address, access))
            case Elsewhere():
                passage.lent.append(shadow.lend(linear, layout.OPEN_BUS_PAGE, access))
        passage.inner = machine.step_over()
    for lent in reversed(passage.lent):
        shadow.take_back(lent)
    if passage.lent:
        machine.ram.write(layout.OPEN_BUS_PAGE, b"\xff" * PAGE)
    for gpa, old in passage.written:
        shadow.wrote(gpa, old)
    return passage
