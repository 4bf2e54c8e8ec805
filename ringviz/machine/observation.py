"""Whoever wants to know which linear addresses a run translates, and when the CPU forgets what it has translated."""

from __future__ import annotations

from typing import Protocol

from ringviz.guest.instruction import Instruction
from ringviz.machine.paging import Access

FLUSHING_FORMS = frozenset({"mov-to-cr", "invlpg"})
"""Forms with which a program makes its own CPU forget translations."""


class Observer(Protocol):
    """Told by a `Machine` while it runs."""

    def accessed(self, linear: int, access: Access) -> None:
        """The CPU is about to access memory on its own account: a gate, a descriptor, the frame of an interrupt."""

    def refused(self, linear: int, error_code: int) -> None:
        """The CPU's page walk has ended in a page fault."""

    def passing(self, instruction: Instruction) -> None:
        """The CPU is about to execute one of `FLUSHING_FORMS` by itself."""

    def flushed(self, *, everything: bool = False) -> None:
        """Microcode, a VMM or a change of world makes the CPU forget its translations, global ones too or not."""
