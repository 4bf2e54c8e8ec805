"""What a VMM has beside the guest's own code, to look at: translated code, hypercalls, a control structure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mark(Enum):
    """Why a row stands out; the value is the word to show where there is no colour."""

    NONE = ""
    CURRENT = "now"
    """The CPU executes this next, or this is what the present instruction has become."""
    BY_CPU = "cpu"
    """Written by the hardware at the last exit."""
    BY_VMM = "vmm"
    """Changed by the VMM since."""


@dataclass(frozen=True, slots=True)
class SideRow:
    """One line: an instruction of translated code, a field of a control structure, a hypercall."""

    place: str
    """Where it is: an address in the code cache, a field's encoding or offset, a hypercall's number."""
    name: str
    """What it is: the instruction's text, the field's name."""
    value: str = ""
    """The field's value; empty for code."""
    old: str = ""
    """The value before, where it changed."""
    mark: Mark = Mark.NONE
    note: str = ""
    """One short sentence for a learner, or empty."""
    origin: int | None = None
    """Guest address of the instruction that this row was made from, if any."""
    original: str = ""
    """That instruction's text, on the first row made from it."""


@dataclass(frozen=True, slots=True)
class Side:
    """One panel's worth."""

    title: str
    """`Code cache`, `VMCS`, `VMCB`, `Hypercalls`."""
    caption: str
    """One line that says what is being looked at."""
    rows: tuple[SideRow, ...]
