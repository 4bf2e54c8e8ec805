"""An exception or interrupt to be delivered, and what every mode's way of delivering it has in common.

Source: Intel SDM Vol. 3A, "Protection of Exception- and Interrupt-Handler Procedures", "Error Code".
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.exceptions import EXCEPTIONS, ExceptionKind, Vector, selector_error
from ringviz.facts.registers import Eflags
from ringviz.facts.segments import Selector
from ringviz.machine.descriptors import TableEntry, find_entry
from ringviz.machine.linear import LinearMemory
from ringviz.machine.state import CpuState

CLEARED_BY_GATE = Eflags.TF | Eflags.NT | Eflags.RF | Eflags.VM
"""Flags that are 0 in every handler."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """What is to be delivered."""

    vector: int
    error_code: int | None = None
    linear: int | None = None
    """#PF: what goes to CR2."""
    is_software: bool = False
    """INT n, INT3 or INTO: the gate's DPL is checked."""
    is_external: bool = False
    """A device's interrupt: benign, whatever its vector is the number of."""
    next_eip: int | None = None
    """Software interrupts and traps: the EIP to save; None saves the current one."""

    @property
    def is_external_to_program(self) -> bool:
        """Sets the EXT bit in error codes of faults met on the way."""
        return not self.is_software


class DeliveryFault(Exception):  # noqa: N818 - an exception of the guest, not an error of ours
    """Delivering one event raised another."""

    def __init__(self, vector: int, error_code: int | None, linear: int | None = None) -> None:
        super().__init__(f"vector {vector}, error code {error_code}")
        self.vector = vector
        self.error_code = error_code
        self.linear = linear


def code_entry(state: CpuState, memory: LinearMemory, selector: int, ext: bool) -> TableEntry:
    """Find the handler's code segment and check everything but its ring against the current one."""
    if Selector(selector).is_null:
        raise DeliveryFault(Vector.GP, int(ext))
    entry = find_entry(state, memory, selector)
    if entry is None or not entry.descriptor.is_code or entry.descriptor.dpl > state.cpl:
        raise DeliveryFault(Vector.GP, selector_error(selector, ext=ext))
    if not entry.descriptor.present:
        raise DeliveryFault(Vector.NP, selector_error(selector, ext=ext))
    return entry


def saved_flags(eflags: int, event: Interruption) -> int:
    """EFLAGS as saved: fault-class exceptions save RF set, so that a breakpoint on the instruction is passed."""
    row = EXCEPTIONS.get(event.vector)
    if not event.is_software and not event.is_external and row is not None and row.kind is ExceptionKind.FAULT:
        return eflags | Eflags.RF
    return eflags
