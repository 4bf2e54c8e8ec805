"""The page that guest and hypervisor share: pending events, the virtual interrupt flag, the last page fault's address.

A kernel that would say CLI stores a one here; one that would ask for IF reads it. Neither takes the CPU out of ring 1.
Source: Xen public header, `struct shared_info` and `struct vcpu_info`.
"""

from __future__ import annotations

from ringviz.facts.hypercalls import SharedInfo
from ringviz.machine.memory import Ram
from ringviz.vmm.paravirt import layout

_BITS = 32
"""Bits in a C long of the guest's."""


class SharedPage:
    """One page of RAM, read and written by both sides."""

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        self.is_masked = True  # a domain starts with events masked

    def read(self, offset: int, size: int) -> int:
        """Read a field."""
        return self._ram.read_int(layout.SHARED_INFO + offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        """Write a field."""
        self._ram.write_int(layout.SHARED_INFO + offset, value, size)

    @property
    def mask(self) -> int:
        """The mask byte as it is; any value but 0 masks."""
        return self.read(SharedInfo.UPCALL_MASK, 1)

    @property
    def is_masked(self) -> bool:
        """The guest does not want to be called: its virtual IF is 0."""
        return self.mask != 0

    @is_masked.setter
    def is_masked(self, value: bool) -> None:
        self.write(SharedInfo.UPCALL_MASK, int(value), 1)

    @property
    def is_pending(self) -> bool:
        """Some event waits."""
        return self.read(SharedInfo.UPCALL_PENDING, 1) != 0

    def set_cr2(self, linear: int) -> None:
        """Leave the address of a page fault: only ring 0 can read the real CR2."""
        self.write(SharedInfo.CR2, linear, 4)

    def set_pending(self, port: int) -> None:
        """Let an event happen on a channel; a masked channel stays quiet, and an event that waits is not counted."""
        if not self._test_and_set(SharedInfo.EVENTS_PENDING, port) and not self._test(SharedInfo.EVENTS_MASK, port):
            self._announce(port)

    def unmask(self, port: int) -> None:
        """Take a channel's mask off, and announce what has happened meanwhile."""
        if self._test_and_clear(SharedInfo.EVENTS_MASK, port) and self._test(SharedInfo.EVENTS_PENDING, port):
            self._announce(port)

    def clear_pending(self, port: int) -> None:
        """Forget an event: its channel is closed."""
        self._test_and_clear(SharedInfo.EVENTS_PENDING, port)

    def _announce(self, port: int) -> None:
        if not self._test_and_set(SharedInfo.PENDING_SELECTOR, port // _BITS):
            self.write(SharedInfo.UPCALL_PENDING, 1, 1)

    def _test(self, field: int, bit: int) -> bool:
        return bool(self.read(field + bit // 8, 1) >> bit % 8 & 1)

    def _test_and_set(self, field: int, bit: int) -> bool:
        was = self.read(field + bit // 8, 1)
        self.write(field + bit // 8, was | 1 << bit % 8, 1)
        return bool(was >> bit % 8 & 1)

    def _test_and_clear(self, field: int, bit: int) -> bool:
        was = self.read(field + bit // 8, 1)
        self.write(field + bit // 8, was & ~(1 << bit % 8), 1)
        return bool(was >> bit % 8 & 1)
