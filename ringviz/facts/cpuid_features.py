"""Feature bits of CPUID that a guest here can meet, by leaf, register and bit.

Only what a guest can use on this machine: bits for VMX are not among them, and those of long mode are shown to a 64-bit
guest only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ringviz.facts.source import Source, by
from ringviz.facts.sources import APM3, SDM2

Register = Literal["eax", "ebx", "ecx", "edx"]


@dataclass(frozen=True, slots=True)
class CpuidFeature:
    """One feature bit."""

    name: str
    """As Linux shows it in /proc/cpuinfo, where it does."""
    leaf: int
    register: Register
    bit: int
    title: str
    source: Source


_INTEL = SDM2.at("CPUID: CPU Identification")
_AMD = APM3.at("Obtaining Processor Information Via the CPUID Instruction")


def _basic(register: Register, bit: int, name: str, title: str) -> CpuidFeature:
    return CpuidFeature(name, 1, register, bit, title, _INTEL)


def _structured(bit: int, name: str, title: str) -> CpuidFeature:
    return CpuidFeature(name, 7, "ebx", bit, title, _INTEL)


def _extended(register: Register, bit: int, name: str, title: str, source: Source = _AMD) -> CpuidFeature:
    return CpuidFeature(name, 0x8000_0001, register, bit, title, source)


CPUID_FEATURES: Mapping[str, CpuidFeature] = by(
    "name",
    _basic("edx", 0, "fpu", "x87 floating point"),
    _basic("edx", 2, "de", "Breakpoints on I/O: CR4.DE"),
    _basic("edx", 3, "pse", "4 MiB pages"),
    _basic("edx", 4, "tsc", "Time-stamp counter: RDTSC"),
    _basic("edx", 5, "msr", "RDMSR and WRMSR"),
    _basic("edx", 6, "pae", "Physical-address extension"),
    _basic("edx", 8, "cx8", "CMPXCHG8B"),
    _basic("edx", 9, "apic", "A local APIC on the CPU"),
    _basic("edx", 11, "sep", "SYSENTER and SYSEXIT"),
    _basic("edx", 13, "pge", "Global pages"),
    _basic("edx", 15, "cmov", "CMOVcc"),
    _basic("edx", 19, "clflush", "CLFLUSH"),
    _basic("edx", 23, "mmx", "MMX"),
    _basic("edx", 24, "fxsr", "FXSAVE and FXRSTOR"),
    _basic("edx", 25, "sse", "SSE"),
    _basic("edx", 26, "sse2", "SSE2"),
    _basic("ecx", 0, "sse3", "SSE3"),
    _basic("ecx", 1, "pclmulqdq", "PCLMULQDQ"),
    _basic("ecx", 9, "ssse3", "SSSE3"),
    _basic("ecx", 19, "sse4_1", "SSE4.1"),
    _basic("ecx", 20, "sse4_2", "SSE4.2"),
    _basic("ecx", 22, "movbe", "MOVBE"),
    _basic("ecx", 23, "popcnt", "POPCNT"),
    _basic("ecx", 25, "aes", "AES instructions"),
    CpuidFeature("hypervisor", 1, "ecx", 31, "A VMM says that it is there; no CPU sets it", _AMD),
    _structured(3, "bmi1", "Bit manipulation, first group"),
    _structured(8, "bmi2", "Bit manipulation, second group"),
    _structured(19, "adx", "ADCX and ADOX"),
    _structured(23, "clflushopt", "CLFLUSHOPT"),
    _basic("ecx", 13, "cx16", "CMPXCHG16B"),
    _extended("ecx", 0, "lahf_lm", "LAHF and SAHF in 64-bit mode", _INTEL),
    _extended("edx", 11, "syscall", "SYSCALL and SYSRET; on an Intel CPU in 64-bit mode only", _INTEL),
    _extended("edx", 26, "pdpe1gb", "1 GiB pages", _INTEL),
    _extended("edx", 29, "lm", "Long mode", _INTEL),
    _extended("edx", 20, "nx", "No-execute pages", _INTEL),
    _extended("edx", 22, "mmxext", "AMD's extensions of MMX"),
    _extended("ecx", 5, "abm", "LZCNT", _INTEL),
    _extended("ecx", 6, "sse4a", "AMD's SSE4A"),
)
