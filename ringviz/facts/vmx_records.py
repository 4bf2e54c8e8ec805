"""What VT-x CPUs said about their own VMX: capability registers as recorded on real ones, the evidence for `features`.

A register of controls says in its low half which of them must be 1, and in its high half which may be 1. Where a record
lacks a register, the CPU does not have it. Of a Pentium 4 no record was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ringviz.facts.source import Source, by
from ringviz.facts.sources import VMLATENCY


@dataclass(frozen=True, slots=True)
class VmxRecord:
    """The registers of one CPU."""

    profile: str
    """Id of the cost profile that it stands for."""
    cpu: str
    registers: Mapping[str, int]
    """Value by the manual's name."""
    source: Source

    def may_be_1(self, register: str, bit: int) -> bool:
        """The CPU lets software set a control; False too if it has no such register."""
        return bool(self.registers.get(register, 0) >> (32 + bit) & 1)

    def must_be_1(self, register: str, bit: int) -> bool:
        """The CPU insists on a control."""
        return bool(self.registers[register] >> bit & 1)


_NAMES = ("BASIC", "PINBASED_CTLS", "PROCBASED_CTLS", "EXIT_CTLS", "ENTRY_CTLS", "MISC", "PROCBASED_CTLS2")
_NAMES_SINCE_NEHALEM = (*_NAMES, "EPT_VPID_CAP", "TRUE_PROCBASED_CTLS")


def _record(profile: str, cpu: str, *values: int) -> VmxRecord:
    names = _NAMES_SINCE_NEHALEM if len(values) > len(_NAMES) else _NAMES[: len(values)]
    registers = {f"IA32_VMX_{name}": value for name, value in zip(names, values, strict=True)}
    return VmxRecord(profile, cpu, MappingProxyType(registers), VMLATENCY.at(f"results, {cpu}"))


VMX_RECORDS: Mapping[str, VmxRecord] = by(
    "profile",
    _record(
        "core2",
        "Core 2 T7400",
        0x001A_0400_0000_0007,
        0x0000_001F_0000_0016,
        0x77B9_FFFE_0401_E172,
        0x0003_EFFF_0003_6DFF,
        0x0000_1FFF_0000_11FF,
        0x0000_0000_0004_03C0,
    ),
    _record(
        "nehalem",
        "Core i5 760",
        0x00DA_0400_0000_000E,
        0x0000_007F_0000_0016,
        0xFFF9_FFFE_0401_E172,
        0x007F_FFFF_0003_6DFF,
        0x0000_FFFF_0000_11FF,
        0x0000_0000_0004_01C5,
        0x0000_007F_0000_0000,
        0x0000_0F01_0611_4141,
        0xFFF9_FFFE_0400_6172,
    ),
    _record(
        "westmere",
        "Xeon X5650",
        0x00DA_0400_0000_000F,
        0x0000_007F_0000_0016,
        0xFFF9_FFFE_0401_E172,
        0x007F_FFFF_0003_6DFF,
        0x0000_FFFF_0000_11FF,
        0x0000_0000_0004_01E7,
        0x0000_04FF_0000_0000,
        0x0000_0F01_0613_4141,
        0xFFF9_FFFE_0400_6172,
    ),
    _record(
        "sandy-bridge",
        "Core i7-2600",
        0x00DA_0400_0000_0010,
        0x0000_007F_0000_0016,
        0xFFF9_FFFE_0401_E172,
        0x007F_FFFF_0003_6DFF,
        0x0000_FFFF_0000_11FF,
        0x0000_0000_1004_01E5,
        0x0000_00FF_0000_0000,
        0x0000_0F01_0611_4141,
        0xFFF9_FFFE_0400_6172,
    ),
    _record(
        "haswell",
        "Core i7-4770",
        0x00DA_0400_0000_0012,
        0x0000_007F_0000_0016,
        0xFFF9_FFFE_0401_E172,
        0x007F_FFFF_0003_6DFF,
        0x0000_FFFF_0000_11FF,
        0x0000_0000_3004_81E5,
        0x0000_7CFF_0000_0000,
        0x0000_0F01_0633_4141,
        0xFFF9_FFFE_0400_6172,
    ),
    _record(
        "skylake",
        "Core i7-6700K",
        0x00DA_0400_0000_0004,
        0x0000_007F_0000_0016,
        0xFFF9_FFFE_0401_E172,
        0x01FF_FFFF_0003_6DFF,
        0x0003_FFFF_0000_11FF,
        0x0000_0000_7004_C1E7,
        0x001F_7CFF_0000_0000,
        0x0000_0F01_0633_4141,
        0xFFF9_FFFE_0400_6172,
    ),
)
