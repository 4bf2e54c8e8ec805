"""Carrying out one instruction whose memory access no shadow entry can allow for long.

Either the guest writes to a page that the VMM watches, or it reaches where its machine has nothing, or where the VMM
has taken linear addresses for itself. The instruction runs with the page lent for that long: the real one, or one
where nothing answers.
"""

from __future__ import annotations

from collections.abc import Callable
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

Met = Callable[[Fault | ProtectedAccess, Filled | Traced | Elsewhere], None]
"""Told of each refused access and what the VMM makes of it, before the instruction goes on."""


def is_memory_refusal(stop: Stop) -> TypeGuard[Fault | ProtectedAccess]:
    """Tell whether an access was refused by the VMM's page tables or by the cut-off segments."""
    return isinstance(stop, ProtectedAccess) or (isinstance(stop, Fault) and stop.vector == Vector.PF)


def access_of(stop: Fault | ProtectedAccess) -> Access:
    """What the guest wanted of the page. The VMM's own pages are for supervisors, so what they refuse is of one."""
    if isinstance(stop, ProtectedAccess):
        return Access(is_write=stop.is_write, is_fetch=stop.instruction is None)
    return access_in(stop.error_code or 0)


def access_in(error_code: int) -> Access:
    """What an error code says of the access."""
    return Access(*(bool(error_code & bit) for bit in (PageFaultError.W, PageFaultError.U, PageFaultError.I)))


@dataclass(slots=True)
class Passage:
    """How it went."""

    inner: Stop
    """Why the CPU stopped in the end; `BudgetSpent` if the instruction is complete."""
    refused: tuple[int, int] | None = None
    """Linear address and error code where the guest's own tables refused in the end: its page fault."""
    lent: list[Lent] = field(default_factory=list)
    written: list[tuple[int, bytes]] = field(default_factory=list)
    """Guest pages that may have been written, with what they held before."""


def let_through(
    machine: Machine,
    shadow: ShadowPaging,
    space: GuestSpace,
    state: CpuState,
    stop: Fault | ProtectedAccess,
    *,
    open_bus: int,
    met: Met | None = None,
) -> Passage:
    """Run the instruction at EIP, answering what its accesses need until it completes or stops for another reason.

    Args:
        machine: stopped before the instruction.
        shadow: the page tables.
        space: guest memory.
        state: the virtual CPU.
        stop: the access that was refused.
        open_bus: RAM address of a page of ones, to show where nothing answers.
        met: told of this access and all others on the way.
    """
    passage = Passage(stop)
    while is_memory_refusal(passage.inner) and len(passage.lent) < MOST_PAGES_LENT:
        refused = passage.inner
        linear, access = refused.linear or 0, access_of(refused)
        answer = shadow.fault(state, linear, access)
        if isinstance(answer, Refused):
            passage.refused = (linear, answer.error_code)
            break
        if met is not None:
            met(refused, answer)
        match answer:
            case Filled():
                pass
            case Traced(gpa) | Elsewhere(gpa, is_own=True):
                frame_address = gpa & ~0xFFF
                if access.is_write and all(address != frame_address for address, _ in passage.written):
                    passage.written.append((frame_address, space.read_physical(frame_address, PAGE)))
                passage.lent.append(shadow.lend(linear, space.base + frame_address, access))
            case Elsewhere(gpa):
                shown = machine.show_device(gpa, refused.instruction, is_write=access.is_write)
                if shown is not None:
                    machine.ram.write(open_bus, shown)
                passage.lent.append(shadow.lend(linear, open_bus, access))
        passage.inner = machine.step_over()
    for lent in reversed(passage.lent):
        shadow.take_back(lent)
    if passage.lent:
        machine.take_from_device(machine.ram.read(open_bus, PAGE))
        machine.ram.write(open_bus, b"\xff" * PAGE)
    for gpa, old in passage.written:
        shadow.wrote(gpa, old)
    return passage
