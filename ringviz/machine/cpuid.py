"""CPUID as the machine answers it: what its CPU says it is, less what the emulated one cannot do.

A guest is shown a CPU of the profile's vendor and generation. A feature bit is set only if that generation had it and
the emulated CPU executes it, so software that asks first never meets an instruction that is not there. The other way
round is not held: the emulated CPU is newer than most profiles, and an instruction that is not advertised may still
execute (SSSE3 on the Pentium 4) where a real one would raise #UD. Nothing here depends on the host.

VMX is never advertised, not even on bare metal: no virtual CPU of this laboratory lends it on, and a guest must find
the same CPU under every technique for its runs to be comparable. SVM is advertised to guests that are hypervisors
themselves (`svm` in their scenario), on CPUs that have it, by the techniques that lend it on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import groupby

from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn import x86_const as x86

from ringviz.facts.cpu_identity import CPU_IDENTITIES, CpuIdentity, Registers
from ringviz.facts.cpu_profile import CpuProfile
from ringviz.facts.cpuid_features import CPUID_FEATURES

Cpuid = Callable[[int, int], tuple[int, int, int, int]]
"""(leaf, subleaf) -> EAX, EBX, ECX, EDX."""

RINGVIZ_NAME = "RingvizVMM  "
"""What a VMM of ringviz's own calls itself in leaf 4000_0000h; not the name of any product."""
XEN_NAME = "XenVMMXenVMM"
"""Source: Xen public headers, arch-x86/cpuid.h."""

_CODE_AT = 0x1000
_EXTENDED, _HYPERVISOR = 0x8000_0000, 0x4000_0000
_NOTHING = (0, 0, 0, 0)
_SVM_LEAF = 0x8000_000A
SVM_BIT = 1 << 2
"""In ECX of leaf 8000_0001h: AMD-V."""
_SVM_REVISION, _SVM_LOCK = 1, 1 << 2
SVM_ASIDS = 64
"""Address space identifiers there are, 0 included; ringviz chose the number, for none is scarce here."""


def _bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


_NOT_OFFERED: Mapping[int, tuple[int, int, int, int]] = {
    # EAX, EBX, ECX, EDX: what software must not find, because using it would fault or differ from run to run.
    1: (
        0,
        0,
        # MONITOR VMX FMA CMPXCHG16B x2APIC TSC-deadline XSAVE OSXSAVE AVX F16C RDRAND hypervisor
        _bits(3, 5, 12, 13, 21, 24, 26, 27, 28, 29, 30, 31),
        _bits(7, 12, 14, 16, 17),  # MCE MTRR MCA PAT PSE-36
    ),
    7: (0, _bits(0, 5, 7, 10, 14, 18, 20), 0xFFFF_FFFF, 0xFFFF_FFFF),  # FSGSBASE AVX2 SMEP INVPCID MPX RDSEED SMAP
    0xD: (0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF),
    0x8000_0001: (
        0,
        0,
        _bits(0, 2, 3, 4),  # LAHF in long mode, SVM, the extended APIC space, CR8 by LOCK MOV CR0
        _bits(7, 11, 12, 14, 16, 17, 26, 27, 29),  # as in leaf 1; SYSCALL, 1 GiB pages, RDTSCP, long mode
    ),
    0x8000_000A: (0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF),
}

_SUBLEAVED = frozenset({4, 7})
"""Leaves that look at ECX."""
_CLFLUSH_LINE = 8 << 8
"""Leaf 1, EBX: a line of 64 bytes in units of 8; one logical CPU, APIC id 0."""
_SHARED_BY = 0xFFFF_C000
"""Leaf 4, EAX bits 31:14: how many CPUs share a cache and a package. This machine has one, which reads as 0."""
_ADDRESS_BITS = 36 | 32 << 8
"""Leaf 8000_0008h, EAX: physical addresses under PAE, and linear ones, as the MMU here has them."""
_LONG_ADDRESS_BITS = 40 | 48 << 8
"""The same of a CPU with long mode, in whose page tables bits 51 to 40 are reserved."""
_LONG_FEATURES = (CPUID_FEATURES[name] for name in ("cx16", "lahf_lm", "syscall", "pdpe1gb", "lm"))
_LONG_BITS: Mapping[tuple[int, str], int] = {
    place: sum(1 << row.bit for row in rows)
    for place, rows in groupby(_LONG_FEATURES, key=lambda row: (row.leaf, row.register))
}


@lru_cache(maxsize=1024)
def host_cpuid(leaf: int, subleaf: int) -> tuple[int, int, int, int]:
    """Execute CPUID on a fresh CPU of the model the machine uses; EAX, EBX, ECX, EDX."""
    uc = Uc(UC_ARCH_X86, UC_MODE_32)
    uc.ctl_set_cpu_model(x86.UC_CPU_X86_EPYC)
    uc.mem_map(_CODE_AT, 0x1000)
    uc.mem_write(_CODE_AT, b"\x0f\xa2")
    uc.reg_write(x86.UC_X86_REG_EAX, leaf)
    uc.reg_write(x86.UC_X86_REG_ECX, subleaf)
    uc.emu_start(_CODE_AT, _CODE_AT + 2)
    registers = (x86.UC_X86_REG_EAX, x86.UC_X86_REG_EBX, x86.UC_X86_REG_ECX, x86.UC_X86_REG_EDX)
    hidden = _NOT_OFFERED.get(leaf, (0, 0, 0, 0))
    eax, ebx, ecx, edx = (int(uc.reg_read(register)) & ~mask for register, mask in zip(registers, hidden, strict=True))
    return eax, ebx, ecx, edx


def svm_cpuid(inner: Cpuid) -> Cpuid:
    """Give the CPUID of a CPU that offers AMD-V: revision 1, and none of what came later.

    There is no nested paging, no saved address of the next instruction, no LBR virtualization; VM_CR can be locked, and
    no key opens it.

    Args:
        inner: the CPU without it.
    """

    def cpuid(leaf: int, subleaf: int) -> Registers:
        if leaf == _SVM_LEAF:
            return _SVM_REVISION, SVM_ASIDS, 0, _SVM_LOCK
        a, b, c, d = inner(leaf, subleaf)
        return (a, b, c | SVM_BIT, d) if leaf == _EXTENDED + 1 else (a, b, c, d)

    return cpuid


def profile_cpuid(profile: CpuProfile, *, has_long_mode: bool = False) -> Cpuid:
    """Give the CPUID of a profile's CPU as a guest of this machine finds it.

    Args:
        profile: which CPU.
        has_long_mode: the machine runs 64-bit code, and shows what the CPU has for it.

    Leaves about what this machine has not are zero: MONITOR, power, performance counters, topology, XSAVE, SVM.

    Raises:
        KeyError: no CPU is known for the profile.
    """
    identity = CPU_IDENTITIES[profile.identity]
    leaves = _leaves(identity) | (_long_leaves(identity) if has_long_mode else {})

    def cpuid(leaf: int, subleaf: int) -> Registers:
        # Beyond its last leaf an Intel CPU repeats the last basic one, and an AMD CPU gives zeros. The last basic leaf
        # of every Intel CPU here is about something this machine has not, so the two agree.
        return leaves.get((leaf, subleaf if leaf in _SUBLEAVED else 0), _NOTHING)

    return cpuid


def hypervisor_cpuid(inner: Cpuid, name: str = RINGVIZ_NAME, version: int = 0) -> Cpuid:
    """Give the CPUID of a virtual CPU whose VMM says that it is there.

    The hypervisor bit (leaf 1, ECX bit 31) and the leaves from 4000_0000h are a convention of VMMs that CPU makers left
    room for: no real CPU sets or answers them. Leaf 4000_0000h: last leaf and name; leaf 4000_0001h: version.

    Args:
        inner: the virtual CPU without its VMM.
        name: 12 ASCII letters, for EBX, ECX, EDX in this order.
        version: EAX of leaf 4000_0001h; Xen has its major version in bits 31:16 and its minor in 15:0.

    Raises:
        ValueError: the name is not 12 letters of ASCII.
    """
    if len(name) != 12 or not name.isascii():
        raise ValueError(f"a VMM's name in CPUID is 12 letters of ASCII, not {name!r}")
    ebx, ecx, edx = _words(name, 12)
    bit = 1 << CPUID_FEATURES["hypervisor"].bit

    def cpuid(leaf: int, subleaf: int) -> Registers:
        if leaf == _HYPERVISOR:
            return _HYPERVISOR + 1, ebx, ecx, edx
        if leaf == _HYPERVISOR + 1:
            return version, 0, 0, 0
        a, b, c, d = inner(leaf, subleaf)
        return (a, b, c | bit, d) if leaf == 1 else (a, b, c, d)

    return cpuid


def _leaves(identity: CpuIdentity) -> dict[tuple[int, int], Registers]:
    """Give every leaf and sub-leaf that is not all zeros."""
    is_amd = identity.amd_first_level is not None
    ebx, edx, ecx = _words(identity.vendor, 12)
    can_basic, can_structured, can_extended = host_cpuid(1, 0), host_cpuid(7, 0), host_cpuid(_EXTENDED + 1, 0)
    basic = [has & can for has, can in zip(identity.basic_features, can_basic[2:], strict=True)]
    extended = [has & can for has, can in zip(identity.extended_features, can_extended[2:], strict=True)]
    leaves: dict[tuple[int, int], Registers] = {
        (0, 0): (identity.max_basic_leaf, ebx, ecx, edx),
        (1, 0): (identity.signature, _CLFLUSH_LINE, basic[0], basic[1]),
        (7, 0): (0, identity.structured_features & can_structured[1], 0, 0),
        (_EXTENDED, 0): (identity.max_extended_leaf, *((ebx, ecx, edx) if is_amd else (0, 0, 0))),
        (_EXTENDED + 1, 0): (identity.signature if is_amd else 0, 0, extended[0], extended[1]),
        (_EXTENDED + 6, 0): identity.second_level,
        (_EXTENDED + 8, 0): (_ADDRESS_BITS, 0, 0, 0),
    }
    for number, (eax, sets, ways, rest) in enumerate(identity.intel_caches):
        leaves[4, number] = eax & ~_SHARED_BY, sets, ways, rest
    if identity.intel_descriptors is not None:
        leaves[2, 0] = identity.intel_descriptors
    if identity.amd_first_level is not None:
        leaves[_EXTENDED + 5, 0] = identity.amd_first_level
    brand = _words(identity.brand, 48)
    for third in range(3):
        a, b, c, d = brand[third * 4 : third * 4 + 4]
        leaves[_EXTENDED + 2 + third, 0] = a, b, c, d
    return leaves


def _long_leaves(identity: CpuIdentity) -> dict[tuple[int, int], Registers]:
    """Give the leaves that differ where the machine has long mode."""
    leaves = _leaves(identity)
    eax, ebx, ecx, edx = leaves[1, 0]
    ecx |= identity.basic_features[0] & _LONG_BITS[1, "ecx"]
    extended = leaves[_EXTENDED + 1, 0]
    more_ecx = identity.extended_features[0] & _LONG_BITS[_EXTENDED + 1, "ecx"]
    more_edx = identity.extended_features[1] & _LONG_BITS[_EXTENDED + 1, "edx"]
    return {
        (1, 0): (eax, ebx, ecx, edx),
        (_EXTENDED + 1, 0): (*extended[:2], extended[2] | more_ecx, extended[3] | more_edx),
        (_EXTENDED + 8, 0): (_LONG_ADDRESS_BITS, 0, 0, 0),
    }


def _words(text: str, size: int) -> list[int]:
    """Give a text as registers hold it: four letters each, the first in the lowest byte, zeros at the end."""
    letters = text.encode("ascii").ljust(size, b"\0")
    return [int.from_bytes(letters[at : at + 4], "little") for at in range(0, size, 4)]
