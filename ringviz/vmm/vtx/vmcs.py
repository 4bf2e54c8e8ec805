"""A VMCS region: real bytes in VMM memory, read and written field by field.

The manual fixes the first eight bytes and leaves the rest to the CPU. Here eight bytes hold the launch state, and then
comes a slot of eight bytes for each field, in the order of the encodings.

Source: Intel SDM Vol. 3C, "Format of the VMCS Region"; the layout behind the first eight bytes is ringviz's own.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from ringviz.facts.vmx import VMCS_FIELDS
from ringviz.machine.memory import Ram

_LAUNCH_STATE_AT = 8
FIELDS_AT = 16
_SLOT = 8
_ALL = struct.Struct(f"<{len(VMCS_FIELDS)}Q")
NAMES = tuple(field.name for field in VMCS_FIELDS.values())
OFFSETS = {field.name: FIELDS_AT + _SLOT * number for number, field in enumerate(VMCS_FIELDS.values())}
"""Where the slot of each field is, counted from the start of the region."""
_MASKS = {field.name: (1 << 8 * field.size_bytes) - 1 for field in VMCS_FIELDS.values()}


class LaunchState(IntEnum):
    """What VMCLEAR sets and VMLAUNCH changes."""

    CLEAR = 0
    LAUNCHED = 1


class Vmcs:
    """One region. What may be done with it, and when, is the affair of the CPU that uses it."""

    def __init__(self, ram: Ram, address: int) -> None:
        self._ram = ram
        self.address = address

    @property
    def revision(self) -> int:
        """The VMCS revision identifier, bits 30:0 of the first four bytes."""
        return self._ram.read_int(self.address, 4) & 0x7FFF_FFFF

    @revision.setter
    def revision(self, value: int) -> None:
        self._ram.write_int(self.address, value, 4)

    @property
    def launch_state(self) -> LaunchState:
        """Clear or launched."""
        return LaunchState(self._ram.read_int(self.address + _LAUNCH_STATE_AT, 8))

    @launch_state.setter
    def launch_state(self, value: LaunchState) -> None:
        self._ram.write_int(self.address + _LAUNCH_STATE_AT, value, 8)

    def get(self, name: str) -> int:
        """Read a field."""
        return self._ram.read_int(self.address + OFFSETS[name], _SLOT)

    def put(self, name: str, value: int) -> None:
        """Write a field, cut to its width."""
        self._ram.write_int(self.address + OFFSETS[name], value & _MASKS[name], _SLOT)

    def put_run(self, first: str, values: bytes) -> None:
        """Write neighbouring fields at once, as slots of eight bytes."""
        self._ram.write(self.address + OFFSETS[first], values)

    def image(self) -> bytes:
        """All fields as they lie in memory."""
        return self._ram.read(self.address + FIELDS_AT, _ALL.size)

    def fields(self) -> dict[str, int]:
        """All fields by name."""
        return fields_of_image(self.image())


def fields_of_image(image: bytes) -> dict[str, int]:
    """Take the image of all fields apart."""
    return dict(zip(NAMES, _ALL.unpack(image), strict=True))
