"""The classical ideal, and what if x86 had been like it: every sensitive instruction traps.

IBM's System/370 had the property that Popek and Goldberg's theorem asks for. Here the same VMM as under
trap-and-emulate runs the same guest in ring 1 of an x86 whose silent instructions trap outside ring 0. No such x86 was
ever built; the machine stops before each of them, as it would. What fails under trap-and-emulate is then seen to be
the holes in the instruction set, and not the idea.
"""

from __future__ import annotations

from typing import ClassVar

from ringviz.facts.instructions import SILENT_IDS
from ringviz.guest.instruction import Instruction
from ringviz.machine.stops import Watched
from ringviz.vmm.outcome import Ended, Outcome
from ringviz.vmm.ring_compression.monitor import RingCompression

_CAUSE = "trap (what if)"
_RULE = "on this imagined x86 every sensitive instruction traps outside ring 0"


class Classic(RingCompression):
    """Trap-and-emulate as it should have been."""

    id: ClassVar[str] = "classic"

    def on_watched(self, stop: Watched) -> Outcome:
        """Emulate the instruction on the virtual CPU, like every other that traps."""
        real = self.machine.state
        self._catch_up()
        with self.saying_where():
            event, outcome = self._interpret(stop.instruction, _CAUSE, _RULE, real)
        self._let_go()
        if event is not None:
            self.events.append(event)
        return outcome if isinstance(outcome, Ended) else self.conclude()

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """No instruction is silent here."""
        word, why = super().verdict(instruction, cpl)
        if instruction.form in SILENT_IDS:
            return "traps", _RULE
        return word, why
