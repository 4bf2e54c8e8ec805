"""Numbers that others measured or stated, exactly as printed; the cost model is built from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ringviz.facts.source import Source, by
from ringviz.facts.sources import (
    AA06,
    AG12,
    AMD06,
    ANANDTECH04,
    ANANDTECH05,
    BHARGAVA,
    BOCHS,
    CNET07,
    CPUID_DUMPS,
    GCC_COSTS,
    KERNEL_ENTRY,
    SEVEN_CPU,
    VMLATENCY,
    XBIT07,
)

_P4 = "3.8 GHz Pentium 4 672"
_CORE2 = "2.66 GHz Core 2 Duo, pre-production"


@dataclass(frozen=True, slots=True)
class Figure:
    """One published number, or a range if `low` and `high` differ."""

    id: str
    low: int
    high: int
    unit: Literal["cycles", "percent", "count", "hertz", "mips"]
    title: str
    source: Source

    @property
    def value(self) -> int:
        """The number.

        Raises:
            ValueError: the source gives a range.
        """
        if self.low != self.high:
            raise ValueError(f"figure {self.id} is a range, {self.low} to {self.high}")
        return self.low


def _cycles(id_: str, value: int, title: str, source: Source) -> Figure:
    return Figure(id_, value, value, "cycles", title, source)


def _clock(id_: str, hertz: int, title: str, source: Source) -> Figure:
    return Figure(id_, hertz, hertz, "hertz", title, source)


# ---- Adams & Agesen 2006 ---------------------------------------------------------------------------------------------

_RAW = AA06.at("appendix with the raw data", note=_P4)
_RDTSC = AA06.at("section 3.3", note=_P4)
_TABLE1 = AA06.at("Table 1", note=_P4)
_TABLE1_CORE2 = AA06.at("Table 1", note=_CORE2)

_ADAMS_AGESEN = (
    _cycles("p4-in", 3209, "IN from port 80h, no VMM", _RAW),
    _cycles("p4-syscall", 242, "SYSCALL to ring 0 and SYSRET back, no VMM", _RAW),
    _cycles("p4-divzero", 889, "Division by zero to the handler and back, no VMM", _RAW),
    _cycles("p4-pgfault", 1093, "True page fault to the handler and back, no VMM", _RAW),
    _cycles("p4-callret", 11, "CALL and RET, no VMM", _RAW),
    _cycles("p4-callret-translated", 51, "CALL and RET in translated code", _RAW),
    _cycles("p4-trap-rdtsc", 2030, "RDTSC by trap and emulation, whole round trip", _RDTSC),
    _cycles("p4-callout-rdtsc", 1254, "RDTSC in translated code, by a call to the emulator", _RDTSC),
    _cycles("p4-in-cache-rdtsc", 216, "RDTSC in translated code, emulated in the translation cache", _RDTSC),
    _cycles("translate", 2300, "Translating one x86 instruction", AA06.at("section 3", note=_P4)),
    _cycles("p4-cli", 60, "CLI, no VMM", AA06.at("section 3.2", note=_P4)),
    _cycles("p4-cr8wr", 150, "MOV to CR8 with no interrupt pending, no VMM", _RAW),
    _cycles("p4-store", 1, "Store to a page-table entry that leaves it as it was, no VMM", _RAW),
    _cycles("p4-vm-entry", 2409, "VM entry", _TABLE1),
    _cycles("p4-page-fault-exit", 1931, "VM exit on a page fault", _TABLE1),
    _cycles("p4-vmread", 178, "Reading one VMCS field", _TABLE1),
    _cycles("p4-vmwrite", 171, "Writing one VMCS field", _TABLE1),
    _cycles("core2-vm-entry", 937, "VM entry", _TABLE1_CORE2),
    _cycles("core2-page-fault-exit", 1186, "VM exit on a page fault", _TABLE1_CORE2),
    _cycles("core2-vmread", 52, "Reading one VMCS field", _TABLE1_CORE2),
    _cycles("core2-vmwrite", 44, "Writing one VMCS field", _TABLE1_CORE2),
    Figure("vmreads-per-exit", 10, 10, "count", "VMCS fields that a typical exit reads", AA06.at("section 7.1")),
    _clock("p4-672-clock", 3_800_000_000, "Clock of the Pentium 4 672", AA06.at("experimental setup")),
    _clock("core2-clock", 2_660_000_000, "Clock of the Core 2 Duo that was measured", _TABLE1_CORE2),
)

# ---- VM exit and entry, by generation --------------------------------------------------------------------------------


def _vmware(generation: str, value: int, title: str) -> Figure:
    return _cycles(f"{generation}-round-trip", value, f"Hardware round trip of an exit, {title}", AG12.at("Table 1"))


_TSC_CAVEAT = "in TSC cycles, so a CPU above its nominal clock shows fewer than it took"


def _vmlatency(generation: str, figure: int, low: int, high: int, title: str, cpus: str) -> tuple[Figure, Figure]:
    """Give the authors' figure for a generation, and the span of the steady values of its CPUs."""
    source = VMLATENCY.at("results", note=f"exit by CPUID; {_TSC_CAVEAT}")
    span = VMLATENCY.at("results", note=f"{cpus}; {_TSC_CAVEAT}")
    return (
        _cycles(f"{generation}-cpuid-exit", figure, f"Exit by CPUID and entry, {title}, authors' figure", source),
        Figure(f"{generation}-cpuid-exits", low, high, "cycles", f"Exit by CPUID and entry, CPUs of {title}", span),
    )


_ROUND_TRIPS = (
    _vmware("prescott", 3963, "Prescott (Pentium 4)"),
    _vmware("merom", 1579, "Merom (Core 2)"),
    _vmware("nehalem", 1009, "Nehalem"),
    _vmware("westmere", 761, "Westmere"),
    _vmware("sandy-bridge", 784, "Sandy Bridge"),
    _cycles("sandy-bridge-nested-exit", 9794, "An exit of an inner VM, Sandy Bridge", AG12.at("nested virtualization")),
    *_vmlatency("merom", 1692, 1681, 1681, "Merom", "Core 2 T5600 and T7400"),
    *_vmlatency("nehalem", 952, 933, 982, "Nehalem", "Core i5-760, lowest and last"),
    *_vmlatency("westmere", 728, 713, 816, "Westmere", "X5650, X5690, i3 U 330; the i5 M 460's 1724 is left out"),
    *_vmlatency("sandy-bridge", 701, 667, 827, "Sandy Bridge", "E5-2670, E5-2690, i7-2600; laptops are left out"),
    *_vmlatency("haswell", 482, 435, 874, "Haswell", "i7-4700MQ lowest; E5-2609 v3, which has no turbo, highest"),
    *_vmlatency("skylake", 604, 516, 636, "Skylake", "E3-1270 v5, i7-6700K, G3900, Gold 6142M and 6140"),
    Figure("amd-world-switch", 1000, 2000, "cycles", "World switch of AMD-V before Barcelona, about", AMD06.at("")),
    Figure(
        "barcelona-saving", 25, 25, "percent", "By how much Barcelona's world switch is shorter, about", AMD06.at("")
    ),
)

# ---- an interpreter of x86: Bochs on several hosts -------------------------------------------------------------------


def _bochs(id_: str, low: int, high: int, hertz: int, host: str, version: str) -> tuple[Figure, Figure]:
    """Give instructions per second and clock of one line of Bochs's own table."""
    source = BOCHS.at("cpu, option ips", note=f"Bochs {version} on a {host}")
    title = f"Million guest instructions a second, Bochs {version} on a {host}"
    return Figure(id_, low, high, "mips", title, source), _clock(f"{id_}-clock", hertz, f"Clock of that {host}", source)


_INTERPRETED = (
    *_bochs("bochs-p4", 5, 7, 1_600_000_000, "1.6 GHz Pentium 4", "2.0.1"),
    *_bochs("bochs-athlon-xp", 12, 15, 2_100_000_000, "2.1 GHz Athlon XP", "2.2.6"),
    *_bochs("bochs-core2-first", 21, 25, 2_600_000_000, "2.6 GHz Core 2 Duo", "2.2.6"),
    *_bochs("bochs-core2", 38, 43, 2_600_000_000, "2.6 GHz Core 2 Duo", "2.3.7"),
    *_bochs("bochs-sandy-bridge", 85, 95, 3_400_000_000, "3.4 GHz Core i7 2600", "2.4.6"),
)


_NOCONA = GCC_COSTS.at(
    "nocona_cost", note="64-bit Pentium 4, relative to an addition; a compiler's table, no measurement"
)


# ---- second-level caches, and page walks in two dimensions -----------------------------------------------------------

_L2 = "Load-to-use latency of the second-level cache"


def _second_level(generation: str, low: int, high: int, cpu: str, source: Source) -> Figure:
    return Figure(f"{generation}-l2", low, high, "cycles", f"{_L2}, {cpu}", source)


_WALKS = (
    _second_level(
        "p4-6xx", 27, 27, "Pentium 4 6xx", ANANDTECH05.at("Twice the Cache", note="Prescott 2M, two programs")
    ),
    _second_level("athlon-64", 17, 18, "Athlon 64", ANANDTECH05.at("Twice the Cache", note="Athlon 64, two programs")),
    _second_level("kentsfield", 11, 14, "Core 2 QX6850", XBIT07.at("L2 Cache", note="Core 2 QX6850, two programs")),
    _second_level("westmere", 10, 10, "Xeon X5650", SEVEN_CPU.at("Westmere", note="Xeon X5650")),
    _second_level("ivy-bridge", 12, 12, "Core i7-3770", SEVEN_CPU.at("Ivy Bridge", note="Core i7-3770")),
    Figure(
        "two-dimensional-walk",
        390,
        460,
        "percent",
        "Time of a page walk in two dimensions, of one in one dimension, nothing cached",
        BHARGAVA.at("Table 1"),
    ),
    Figure("walk-entries", 4, 4, "count", "Entries of a four-level walk", BHARGAVA.at("section 1")),
    Figure("nested-walk-entries", 24, 24, "count", "The same in two dimensions", BHARGAVA.at("section 1")),
)


def _brand_clock(id_: str, hertz: int, cpu: str) -> Figure:
    return _clock(f"{id_}-clock", hertz, f"Clock in the name of the {cpu}", CPUID_DUMPS.at(cpu))


FIGURES: Mapping[str, Figure] = by(
    "id",
    _cycles(
        "prescott-l1",
        4,
        "Latency of the first-level data cache",
        ANANDTECH04.at("Larger, Slower Cache", note="Prescott, as two programs measured it"),
    ),
    *_ADAMS_AGESEN,
    *_ROUND_TRIPS,
    *_INTERPRETED,
    *_WALKS,
    _cycles("nocona-multiply", 10, "Integer multiplication", _NOCONA),
    _cycles("nocona-divide", 66, "Integer division", _NOCONA),
    _cycles("nocona-fadd", 6, "FADD and FSUB", _NOCONA),
    _cycles("syscall", 99, "SYSCALL to ring 0 and SYSRET back", KERNEL_ENTRY.at("Running Benchmarks")),
    _cycles(
        "interrupt-gate", 610, "Through an interrupt gate to ring 0 and back", KERNEL_ENTRY.at("Running Benchmarks")
    ),
    _brand_clock("nehalem", 2_670_000_000, "Core i7 920"),
    _brand_clock("westmere", 3_330_000_000, "Core i7 X 980"),
    _brand_clock("sandy-bridge", 3_400_000_000, "Core i7-2600K"),
    _brand_clock("haswell", 3_400_000_000, "Core i7-4770"),
    _brand_clock("skylake", 4_000_000_000, "Core i7-6700K"),
    _clock("barcelona-clock", 2_000_000_000, "Highest clock of the first Barcelona Opterons", CNET07.at("")),
)
