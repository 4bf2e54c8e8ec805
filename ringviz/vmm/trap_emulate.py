"""Trap-and-emulate on real x86: the VMM in ring 0, the guest kernel pushed to ring 1.

The silent instructions do not fault; nobody emulates them, and the guest gets what real x86 gives in ring 1. Each is
recorded beside what a CPU of the guest's own would have given.
"""

from __future__ import annotations

from typing import ClassVar

from ringviz.facts.exceptions import Vector
from ringviz.facts.segments import SegmentCache
from ringviz.guest.instruction import Instruction
from ringviz.machine import microcode
from ringviz.machine.delivery import Interruption, deliver
from ringviz.machine.linear import LinearMemory, PageFault
from ringviz.machine.microcode import Effect, GuestFault
from ringviz.machine.microcode.operands import SEGMENT_INDEX
from ringviz.machine.state import CS, CpuState
from ringviz.machine.stops import BudgetSpent, Fault, ProtectedAccess, Stop, Watched, has_completed
from ringviz.vmm.environment import VirtualEnvironment
from ringviz.vmm.events import Kind
from ringviz.vmm.guest_space import Overlay
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.ring_compression.monitor import RingCompression
from ringviz.vmm.silent import Told, compare_silent
from ringviz.vmm.technique import changes_between

_NOT_YET_KNOWN = SegmentCache(-1, 0, 0, 0)
"""Equal to no segment register: what is compared with it counts as loaded."""


def _loaded_register(instruction: Instruction) -> int | None:
    """Tell which segment register an instruction loads; None for those that only look."""
    match instruction.form:
        case "mov-to-sreg" | "pop-sreg":
            return SEGMENT_INDEX[instruction.ops[0].register or ""]
        case "load-far-pointer":
            return SEGMENT_INDEX[instruction.mnemonic[-2:]]
        case "jmp-far" | "call-far" | "ret-far" | "iret":
            return CS
        case _:
            return None


def _is_access(stop: Stop) -> bool:
    """Tell whether a page that the VMM keeps, or one beyond the guest's machine, has stopped the CPU."""
    return isinstance(stop, ProtectedAccess) or (isinstance(stop, Fault) and stop.vector == Vector.PF)


class TrapEmulate(RingCompression):
    """Ring compression as in the first virtual machine monitors for the PC."""

    id: ClassVar[str] = "trap-emulate"

    def on_watched(self, stop: Watched) -> Outcome:
        """Let a silent instruction run as real x86 runs it in this ring, and note what a CPU of its own would give."""
        real_before = self.machine.state.copy()
        self._catch_up()
        before = self._virtual
        at = self.machine.retired
        overlay = Overlay(self._space)
        ideal = before.copy()
        expected: CpuState | GuestFault = ideal
        environment = VirtualEnvironment(ideal, overlay, None, at, cpuid=self.machine.cpuid)
        try:
            with self.saying_where():
                microcode.execute(environment, stop.instruction)
        except GuestFault as fault:
            expected = fault
        except PageFault as refused:
            expected = GuestFault(Vector.PF, refused.error_code)
        # A register that is loaded is loaded anew, even where the shadow looks the same as before.
        loaded = _loaded_register(stop.instruction)
        let_go = self._pushed.segments[loaded] if loaded is not None else None
        if loaded is not None:
            self._pushed.segments[loaded] = _NOT_YET_KNOWN
        inner = self.machine.step_over()
        if not has_completed(inner):
            if loaded is not None and let_go is not None:
                self._pushed.segments[loaded] = let_go
            outcome = self.handle(inner)
            if not (_is_access(inner) and self.machine.retired == at + 1):
                return outcome
            # It has run after all, with a page that the VMM has lent it or let it write to; where the guest
            # single-steps, its #DB has been delivered as well.
            if microcode.owes_step_trap(before, stop.instruction, Effect.DONE):
                ideal.dr[6] = self._virtual.dr[6]
                deliver(ideal, LinearMemory(ideal, overlay), Interruption(Vector.DB))
            told = compare_silent(stop.instruction, before, self._virtual, expected, overlay, self._space)
            if told is not None and told.got != told.native_would:
                self._tell_silent(stop.instruction, told, before, real_before, at)
            return outcome
        self._catch_up()
        ideal.dr[6] = self._virtual.dr[6]  # where the guest single-steps, its trap shows there already
        told = compare_silent(stop.instruction, before, self._virtual, expected, overlay, self._space)
        if told is not None:
            self._tell_silent(stop.instruction, told, before, real_before, at)
        return RESUME if isinstance(inner, BudgetSpent) else self.handle(inner)

    def _tell_silent(
        self, instruction: Instruction, told: Told, before: CpuState, real_before: CpuState, at: int
    ) -> None:
        """Record a silent instruction that has run."""
        after = self._virtual
        self.events.append(
            self._event(
                instruction,
                before,
                real_before,
                at,
                Kind.SILENT,
                "no trap",
                told.rule,
                handler="nobody",
                action=told.text,
                charges=("silent",),
                got=told.got,
                native_would=told.native_would,
                changes=changes_between(before, after, is_real=False),
                via_ring=None,
                resume=after.eip,
                to_ring=self.machine.state.cpl,
            )
        )
