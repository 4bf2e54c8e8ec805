"""What the CPUs of the profiles answered to CPUID themselves, recorded on real ones.

One CPU stands for each profile. Only leaves that say what it is and what it can do are here; what a guest is shown of
them is decided in `ringviz.machine.cpuid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.source import Source, by
from ringviz.facts.sources import CPU_REPORTS, CPUID_DUMPS

Registers = tuple[int, int, int, int]
"""EAX, EBX, ECX, EDX."""

_INTEL, _AMD = "GenuineIntel", "AuthenticAMD"


@dataclass(frozen=True, slots=True)
class CpuIdentity:
    """One CPU, in its own words."""

    profile: str
    """Id of the cost profile that it stands for."""
    name: str
    vendor: str
    """12 letters, as leaf 0 spells them in EBX, EDX, ECX."""
    signature: int
    """Leaf 1, EAX: family, model and stepping."""
    brand: str
    """Leaves 8000_0002h to 8000_0004h, with the blanks that the maker put in front."""
    max_basic_leaf: int
    max_extended_leaf: int
    basic_features: tuple[int, int]
    """Leaf 1: ECX, EDX."""
    structured_features: int
    """Leaf 7, EBX; 0 on CPUs without that leaf."""
    extended_features: tuple[int, int]
    """Leaf 8000_0001h: ECX, EDX."""
    intel_descriptors: Registers | None
    """Leaf 2: caches and TLBs, one byte each. Intel only."""
    intel_caches: tuple[Registers, ...]
    """Leaf 4, sub-leaf by sub-leaf. Intel only."""
    amd_first_level: Registers | None
    """Leaf 8000_0005h: first-level caches and TLBs. AMD only."""
    second_level: Registers
    """Leaf 8000_0006h."""
    source: Source
    note: str = ""

    @property
    def family(self) -> int:
        """Displayed family: the extended one is added to family 15 only."""
        family = self.signature >> 8 & 0xF
        return family + (self.signature >> 20 & 0xFF) if family == 0xF else family

    @property
    def model(self) -> int:
        """Displayed model: the extended one counts for families 6 and 15."""
        model = self.signature >> 4 & 0xF
        return model | (self.signature >> 16 & 0xF) << 4 if self.signature >> 8 & 0xF in (6, 15) else model

    @property
    def stepping(self) -> int:
        """Stepping of the model."""
        return self.signature & 0xF


_L1D_32K, _L1I_32K = (0x1C00_4121, 0x01C0_003F, 0x3F, 0), (0x1C00_4122, 0x01C0_003F, 0x3F, 0)
_L1I_4WAY, _L1I_8WAY = (0x1C00_4122, 0x00C0_003F, 0x7F, 0), _L1I_32K
_L2_256K, _L2_256K_4WAY = (0x1C00_4143, 0x01C0_003F, 0x1FF, 0), (0x1C00_4143, 0x00C0_003F, 0x3FF, 0)
_L3_8M = (0x1C03_C163, 0x03C0_003F, 0x1FFF, 6)


def _intel(
    profile: str,
    name: str,
    signature: int,
    brand: str,
    max_basic_leaf: int,
    basic_features: tuple[int, int],
    structured_features: int,
    extended_features: tuple[int, int],
    descriptors: Registers,
    caches: tuple[Registers, ...],
    second_level_ecx: int,
    source: Source,
    note: str = "",
) -> CpuIdentity:
    return CpuIdentity(
        profile,
        name,
        _INTEL,
        signature,
        brand,
        max_basic_leaf,
        0x8000_0008,
        basic_features,
        structured_features,
        extended_features,
        descriptors,
        caches,
        None,
        (0, 0, second_level_ecx, 0),
        source,
        note,
    )


CPU_IDENTITIES: Mapping[str, CpuIdentity] = by(
    "profile",
    _intel(
        "p4-672",
        "Pentium 4 at 3.80 GHz",
        0x0F4A,
        "              Intel(R) Pentium(R) 4 CPU 3.80GHz",
        5,
        (0x0000_649D, 0xBFEB_FBFF),
        0,
        (0, 0x2010_0000),
        (0x605B_5001, 0, 0, 0x007D_7040),
        ((0x4121, 0x01C0_003F, 0x1F, 0), (0x4143, 0x01C0_103F, 0x7FF, 0)),
        0x0800_6040,
        CPUID_DUMPS.at("Pentium 4 640", note="the same core, slower and without VT-x"),
        "No dump of a Pentium 4 672 was found. Pentium 4 of 3.80 GHz are on record as model 4, stepping 1, 3 and 10; "
        "stepping 10, the latest, is ringviz's choice",
    ),
    _intel(
        "core2",
        "Core 2 Duo E6700",
        0x06F6,
        "Intel(R) Core(TM)2 CPU          6700  @ 2.66GHz",
        0xA,
        (0x0000_E3BD, 0xBFEB_FBFF),
        0,
        (0x1, 0x2010_0000),
        (0x05B0_B101, 0x0056_57F0, 0, 0x2CB4_3049),
        (
            (0x0400_0121, 0x01C0_003F, 0x3F, 1),
            (0x0400_0122, 0x01C0_003F, 0x3F, 1),
            (0x0400_4143, 0x03C0_003F, 0xFFF, 1),
        ),
        0x1000_8040,
        CPUID_DUMPS.at("Core 2 6420", note="the same signature; name of the 6700 as its owners report it"),
        f"Signature and name of the 6700: {CPU_REPORTS.cite}. It is the 2.66 GHz Core 2 Duo that was sold",
    ),
    _intel(
        "nehalem",
        "Core i7 920 (Bloomfield)",
        0x106A4,
        "Intel(R) Core(TM) i7 CPU         920  @ 2.67GHz",
        0xB,
        (0x0098_E3BD, 0xBFEB_FBFF),
        0,
        (0x1, 0x2810_0000),
        (0x5503_5A01, 0x00F0_B2E4, 0, 0x09CA_212C),
        (_L1D_32K, _L1I_4WAY, _L2_256K, (0x1C03_C163, 0x03C0_003F, 0x1FFF, 2)),
        0x0100_6040,
        CPUID_DUMPS.at("Core i7 920"),
    ),
    _intel(
        "westmere",
        "Core i7 980X (Gulftown)",
        0x206C2,
        "Intel(R) Core(TM) i7 CPU       X 980  @ 3.33GHz",
        0xB,
        (0x029A_E3BF, 0xBFEB_FBFF),
        0,
        (0x1, 0x2C10_0000),
        (0x5503_5A01, 0x00F0_B2FF, 0, 0x00CA_0000),
        (
            (0x3C00_4121, 0x01C0_003F, 0x3F, 0),
            (0x3C00_4122, 0x00C0_003F, 0x7F, 0),
            (0x3C00_4143, 0x01C0_003F, 0x1FF, 0),
            (0x3C07_C163, 0x03C0_003F, 0x2FFF, 2),
        ),
        0x0100_6040,
        CPUID_DUMPS.at("Core i7 X 980"),
    ),
    _intel(
        "sandy-bridge",
        "Core i7-2600K",
        0x206A7,
        "       Intel(R) Core(TM) i7-2600K CPU @ 3.40GHz",
        0xD,
        (0x1F9A_E3BF, 0xBFEB_FBFF),
        0,
        (0x1, 0x2810_0000),
        (0x7603_5A01, 0x00F0_B2FF, 0, 0x00CA_0000),
        (_L1D_32K, _L1I_8WAY, _L2_256K, _L3_8M),
        0x0100_6040,
        CPUID_DUMPS.at("Core i7-2600K"),
    ),
    _intel(
        "haswell",
        "Core i7-4770",
        0x306C3,
        "Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz",
        0xD,
        (0x7FFA_FBFF, 0xBFEB_FBFF),
        0x0000_27AB,
        (0x21, 0x2C10_0000),
        (0x7603_6301, 0x00F0_B5FF, 0, 0x00C1_0000),
        (_L1D_32K, _L1I_8WAY, _L2_256K, _L3_8M),
        0x0100_6040,
        CPUID_DUMPS.at("Core i7-4770"),
    ),
    _intel(
        "skylake",
        "Core i7-6700K",
        0x506E3,
        "Intel(R) Core(TM) i7-6700K CPU @ 4.00GHz",
        0x16,
        (0x7FFA_FBBF, 0xBFEB_FBFF),
        0x029C_6FBF,
        (0x121, 0x2C10_0000),
        (0x7603_6301, 0x00F0_B5FF, 0, 0x00C3_0000),
        (_L1D_32K, _L1I_8WAY, _L2_256K_4WAY, _L3_8M),
        0x0100_6040,
        CPUID_DUMPS.at("Core i7-6700K"),
    ),
    CpuIdentity(
        "k8-revf",
        "Athlon 64 X2 6400+ (Windsor)",
        _AMD,
        0x40F33,
        "AMD Athlon(tm) 64 X2 Dual Core Processor 6400+",
        1,
        0x8000_0018,
        (0x0000_2001, 0x178B_FBFF),
        0,
        (0x1F, 0xEBD3_FBFF),
        None,
        (),
        (0xFF08_FF08, 0xFF20_FF20, 0x4002_0140, 0x4002_0140),
        (0, 0x4200_4200, 0x0400_8140, 0),
        CPUID_DUMPS.at("Athlon 64 X2 6400+"),
    ),
    CpuIdentity(
        "barcelona",
        "Opteron 2347 HE (Barcelona)",
        _AMD,
        0x100F21,
        "Quad-Core AMD Opteron(tm) Processor 2347 HE",
        5,
        0x8000_001A,
        (0x0080_2009, 0x178B_FBFF),
        0,
        (0x7FF, 0xEFD3_FBFF),
        None,
        (),
        (0xFF30_FF10, 0xFF30_FF20, 0x4002_0140, 0x4002_0140),
        (0x2080_0000, 0x4200_4200, 0x0200_8140, 0x0010_A140),
        CPUID_DUMPS.at("Opteron 2347 HE"),
    ),
)
