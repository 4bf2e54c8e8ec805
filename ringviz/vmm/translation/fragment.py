"""What a translator makes: compiled code fragments, and for each of their instructions what it means for the guest.

Source of the words: Adams & Agesen 2006, section 3: a translation unit (TU) of guest code becomes one compiled code
fragment (CCF).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ringviz.guest.instruction import Instruction
from ringviz.machine.state import CS, SS, CpuState


@dataclass(frozen=True, slots=True)
class Context:
    """What a translation takes for granted: the same guest code means something else in another one."""

    cs_selector: int
    cs_access: int
    has_wide_stack: bool
    """The stack segment has 32-bit stack pointers."""

    @classmethod
    def of(cls, state: CpuState) -> Context:
        """Give the context of a virtual CPU."""
        code = state.segments[CS]
        return cls(code.selector, code.access, state.segments[SS].db)


class Way(Enum):
    """How one guest instruction is translated; the value is a sentence for a learner."""

    IDENT = "Identical: innocuous, so the translation is the instruction itself."
    BRANCH = "A jump, rewritten to lead to the translation of its target."
    LOOKUP = "The target is known only at run time: the translation looks it up in a table."
    IN_CACHE = "A short sequence does it to the virtual CPU, without calling the VMM."
    INTERPRET = "A callout: the VMM carries it out on the virtual CPU."
    IN_PLACE = "A callout: the VMM runs this one instruction where it stands."
    SIMULATE = "A callout, because it has trapped too often: the VMM does what the traps would have led to."


@dataclass(frozen=True, slots=True)
class Callout:
    """A far call to the VMM that stands in translated code."""

    way: Way | None
    """None: translate what comes next."""
    instruction: Instruction | None
    """The guest instruction to be carried out."""


@dataclass(frozen=True, slots=True)
class Place:
    """One translated instruction, and what the guest's CPU is when the real one stands before it."""

    address: int
    """Linear, in the code cache."""
    raw: bytes
    eip: int
    """Guest instruction that it belongs to, or to which it leads."""
    is_inside: bool
    """Part of a sequence that has begun: the guest instruction can still be undone."""
    has_saved: bool
    """EAX and ECX are the sequence's, the guest's are in the saved copies."""
    weight: int
    """What it counts for, as in `ringviz.machine.code_cache`."""
    undo_weight: int
    """What its sequence has counted already."""
    may_reach: bool
    """It may use the virtual CPU's data."""
    callout: Callout | None = None
    is_gate: bool = False
    """It sets the virtual IF: an interrupt that waits may come in behind the next instruction."""
    is_miss: bool = False
    """The callout of a lookup that found nothing: the guest instruction is complete, and EAX holds where it leads."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of a fragment to guest code at a known address; first to a stub, later to that code's fragment."""

    eip: int
    jump_at: int
    """Cache address of the jump; its last four bytes are the relative target."""
    jump_size: int
    stub_at: int


@dataclass(frozen=True, slots=True)
class Unit:
    """One guest instruction of a translation unit, and its translation."""

    instruction: Instruction
    way: Way
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Fragment:
    """One compiled code fragment."""

    number: int
    context: Context
    eip: int
    address: int
    size: int
    units: tuple[Unit, ...]
    tail: tuple[Place, ...]
    """Jumps and stubs behind the last unit."""
    exits: tuple[Exit, ...]
    source: tuple[tuple[int, bytes], ...]
    """The guest code it was made from: guest-physical addresses and bytes, a run for each page."""

    @property
    def places(self) -> tuple[Place, ...]:
        """All its translated instructions, in order of address."""
        return (*(place for unit in self.units for place in unit.places), *self.tail)
