"""Reading and writing the guest's memory for a hypercall: never the hypervisor's, never past a page that refuses.

As in Xen, addresses in arguments are linear ones, whatever the guest's segments say.
"""

from __future__ import annotations

import struct

from ringviz.facts.hypercalls import HYPERVISOR_START, Error
from ringviz.machine.linear import LinearMemory, PageFault
from ringviz.machine.memory import PAGE


class Refused(Exception):  # noqa: N818 - an answer to the guest, not an error of ours
    """A hypercall ends with an error number."""

    def __init__(self, error: Error, why: str, *, is_attempt: bool = False, requests: int = 0) -> None:
        super().__init__(why)
        self.error = error
        self.is_attempt = is_attempt
        """The guest reached for what is not its own, or for the right to write to what the hypervisor relies on."""
        self.requests = requests
        """Requests of a list that had been carried out before."""


def may_access(linear: int, size: int) -> bool:
    """Tell whether a range lies below the hypervisor."""
    return linear >= 0 and linear + size <= HYPERVISOR_START


def read(memory: LinearMemory, linear: int, size: int) -> bytes:
    """Copy bytes from the guest, at most a few pages.

    Raises:
        Refused: -EFAULT.
    """
    if not may_access(linear, size):
        raise Refused(Error.EFAULT, f"{linear:08X}h is not the guest's", is_attempt=True)
    parts = []
    try:
        while size:
            part = min(size, PAGE - linear % PAGE)
            parts.append(memory.read(linear, part))
            linear, size = linear + part, size - part
    except PageFault:
        raise Refused(Error.EFAULT, f"nothing is mapped at {linear:08X}h") from None
    return b"".join(parts)


def read_words(memory: LinearMemory, linear: int, count: int) -> tuple[int, ...]:
    """Copy 32-bit numbers from the guest.

    Raises:
        Refused: -EFAULT.
    """
    return struct.unpack(f"<{count}I", read(memory, linear, 4 * count))


def write(memory: LinearMemory, linear: int, data: bytes) -> None:
    """Copy bytes to the guest; pages it must not write to refuse the hypervisor too.

    Raises:
        Refused: -EFAULT.
    """
    if not may_access(linear, len(data)):
        raise Refused(Error.EFAULT, f"{linear:08X}h is not the guest's", is_attempt=True)
    try:
        memory.write(linear, data)
    except PageFault:
        raise Refused(Error.EFAULT, f"{linear:08X}h cannot be written to") from None


def write_word(memory: LinearMemory, linear: int, value: int) -> None:
    """Copy one 32-bit number to the guest."""
    write(memory, linear, (value & 0xFFFF_FFFF).to_bytes(4, "little"))
