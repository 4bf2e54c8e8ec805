"""Guests that a CPU without the unrestricted guest cannot run as they are: those in real mode.

VMX operation fixes CR0.PE and CR0.PG to 1 there. The VMMs of those years ran real-mode code in virtual-8086 mode, and
so does this one: with IOPL 0 and every bit of the exception bitmap set, whatever is sensitive raises #GP and exits. VM
entry is strict about that mode: each base 16 times its selector, each limit FFFFh. A guest that does not fit (a limit
left over from protected mode; behind MOV CR0 a selector left over from real mode, whose RPL is none) cannot be entered
at all, and the VMM emulates it, instruction by instruction, until VM entry would take it again.

Source: Intel SDM Vol. 3C, "Unrestricted Guests", "Checks on Guest Segment Registers"; Vol. 3B, "8086 Emulation".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ringviz.facts.registers import Eflags
from ringviz.facts.segments import SegmentCache
from ringviz.machine.state import CS, DS, ES, FS, GS, SS, CpuState, segment
from ringviz.vmm import virtual_8086

_NO_PORTS = segment(0, 0, 0, 0x8B)
"""A busy TSS too short for an I/O map: in virtual-8086 mode every port raises #GP(0). The guest's own TR means nothing
in real mode, but the CPU would look for a map where it points to."""
_KEPT_VIRTUAL = Eflags.VM | Eflags.IOPL
_NON_CONFORMING = 11
"""Segment types up to here are data and non-conforming code."""


class Running(Enum):
    """How the guest runs just now."""

    NON_ROOT = "in VMX non-root operation, in its own mode"
    VIRTUAL_8086 = "in VMX non-root operation, in virtual-8086 mode instead of real mode"
    EMULATED = "not at all: the VMM emulates it"
    """The emulated CPU serves as the emulator, stopped before everything that is privileged or sensitive."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the guest in real mode believes, where the real registers of virtual-8086 mode say something else."""

    guest: CpuState
    segments: tuple[SegmentCache, ...]
    """The real segment registers, as the guest was let go with them."""

    def believed(self, real: CpuState) -> CpuState:
        """Give the CPU as the guest sees it; control registers are somebody else's to settle."""
        guest = real.copy()
        guest.cpl = 0
        guest.eflags = real.eflags & ~_KEPT_VIRTUAL | self.guest.eflags & _KEPT_VIRTUAL
        guest.tr = self.guest.tr
        guest.segments = [
            old if now == then else virtual_8086.reloaded_by_guest(now, old)
            for now, then, old in zip(real.segments, self.segments, self.guest.segments, strict=True)
        ]
        return guest

    def copy(self) -> Held:
        """Give an independent copy."""
        return Held(self.guest.copy(), self.segments)


def hold(guest: CpuState) -> tuple[CpuState, Held]:
    """Put a guest in real mode into virtual-8086 mode: give the real state, and what it believes."""
    real = guest.copy()
    real.segments = virtual_8086.segments_of(guest)
    real.eflags = guest.eflags & ~Eflags.IOPL | Eflags.VM
    real.tr = _NO_PORTS
    real.cpl = 3
    return real, Held(guest.copy(), tuple(real.segments))


def running_of(guest: CpuState) -> Running:
    """Tell how a guest can run on a CPU without the unrestricted guest."""
    if not guest.is_protected:
        return Running.VIRTUAL_8086 if virtual_8086.fits(guest) else Running.EMULATED
    return Running.NON_ROOT if guest.eflags & Eflags.VM or _may_enter(guest) else Running.EMULATED


def _may_enter(guest: CpuState) -> bool:
    """Check the rules on RPL and DPL, which a load in protected mode cannot break, and one in real mode can."""
    code, stack = guest.segments[CS], guest.segments[SS]
    if (code.selector ^ stack.selector) & 3 or stack.dpl != stack.rpl:
        return False
    data = (guest.segments[index] for index in (ES, DS, FS, GS))
    return all(not it.is_usable or it.type > _NON_CONFORMING or it.dpl >= it.rpl for it in data)
