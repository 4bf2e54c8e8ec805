"""The TLBs that the CPUs of the profiles really have, read from what they answered to CPUID.

Page walks are counted with a simpler one (`tlb`); these are for comparison, and to be put into a profile of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ringviz.facts.cpu_identity import CpuIdentity, Registers
from ringviz.facts.source import Source
from ringviz.facts.sources import APM3, SDM2

INTEL_SOURCE: Source = SDM2.at("CPUID, leaf 2: encoding of cache and TLB descriptors")
AMD_SOURCE: Source = APM3.at("CPUID, functions 8000_0005h and 8000_0006h")

FULLY = 0
"""Ways of a TLB in which an entry can stand anywhere."""


@dataclass(frozen=True, slots=True)
class RealTlb:
    """One TLB of a CPU."""

    holds: str
    """`code`, `data` or `second level`."""
    pages: str
    entries: int
    ways: int | None
    """`FULLY`, or how many; None: the manual does not say."""

    def __str__(self) -> str:
        ways = {None: "", FULLY: ", fully associative"}.get(self.ways, f", {self.ways} ways")
        return f"{self.holds}, {self.pages}: {self.entries}{ways}"


_BOTH, _4K, _4M, _LARGE, _4K_2M = "4 KiB and larger", "4 KiB", "4 MiB", "2 and 4 MiB", "4 KiB and 2 MiB"

_DESCRIPTORS: Mapping[int, RealTlb] = MappingProxyType(
    {
        0x03: RealTlb("data", _4K, 64, 4),
        0x05: RealTlb("data", _4M, 32, 4),
        0x50: RealTlb("code", _BOTH, 64, None),
        0x55: RealTlb("code", _LARGE, 7, FULLY),
        0x56: RealTlb("data, level 0", _4M, 16, 4),
        0x57: RealTlb("data, level 0", _4K, 16, 4),
        0x5A: RealTlb("data", _LARGE, 32, 4),
        0x5B: RealTlb("data", _BOTH, 64, None),
        0x63: RealTlb("data", _LARGE, 32, 4),
        0x76: RealTlb("code", _LARGE, 8, FULLY),
        0xB0: RealTlb("code", _4K, 128, 4),
        0xB1: RealTlb("code", "2 MiB (4 MiB: half)", 8, 4),
        0xB2: RealTlb("code", _4K, 64, 4),
        0xB4: RealTlb("data", _4K, 256, 4),
        0xB5: RealTlb("code", _4K, 64, 8),
        0xC1: RealTlb("second level", _4K_2M, 1024, 8),
        0xC3: RealTlb("second level", _4K_2M, 1536, 6),
        0xCA: RealTlb("second level", _4K, 512, 4),
    }
)
"""Leaf 2, one byte each; those that describe caches are left out."""
_AMD_FULLY = 0xFF
_AMD_WAYS = {1: 1, 2: 2, 4: 4, 6: 8, 8: 16}
"""Codes of associativity of the second level."""


def real_tlbs(identity: CpuIdentity) -> list[RealTlb]:
    """Give the TLBs of a CPU, those for small pages first."""
    found = _intel(identity.intel_descriptors) if identity.intel_descriptors else _amd(identity)
    return sorted(found, key=lambda tlb: (not tlb.pages.startswith(_4K), tlb.holds))


def source_of(identity: CpuIdentity) -> Source:
    """Say which manual the answers are read with."""
    return INTEL_SOURCE if identity.intel_descriptors else AMD_SOURCE


def _intel(descriptors: Registers) -> Iterator[RealTlb]:
    """Read one byte after the other; the lowest of EAX is a count, and a register with bit 31 set says nothing."""
    for number, register in enumerate(descriptors):
        for byte in () if register >> 31 else register.to_bytes(4, "little")[number == 0 :]:
            if byte in _DESCRIPTORS:
                yield _DESCRIPTORS[byte]


def _amd(identity: CpuIdentity) -> Iterator[RealTlb]:
    """Read code from the low halves of the registers, and data from the high ones."""
    for register, pages in zip((identity.amd_first_level or (0, 0))[:2], (_LARGE, _4K), strict=True):
        for holds, half in (("code", register & 0xFFFF), ("data", register >> 16)):
            ways = half >> 8
            yield RealTlb(holds, pages, half & 0xFF, FULLY if ways == _AMD_FULLY else ways)
    for register, pages in zip(identity.second_level[:2], (_LARGE, _4K), strict=True):
        for holds, half in (("code", register & 0xFFFF), ("data", register >> 16)):
            if half >> 12:
                yield RealTlb(f"second level, {holds}", pages, half & 0xFFF, _AMD_WAYS[half >> 12])
