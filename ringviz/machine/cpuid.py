"""CPUID as the machine answers it: the emulated CPU's own words, less what this machine does not offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn import x86_const as x86

Cpuid = Callable[[int, int], tuple[int, int, int, int]]
"""(leaf, subleaf) -> EAX, EBX, ECX, EDX."""

_CODE_AT = 0x1000


def _bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


_NOT_OFFERED: Mapping[int, tuple[int, int, int, int]] = {
    # EAX, EBX, ECX, EDX: what software must not find, because using it would fault or differ from run to run.
    1: (
        0,
        0,
        _bits(
            3, 5, 12, 21, 24, 26, 27, 28, 29, 30
        ),  # MONITOR VMX FMA x2APIC TSC-deadline XSAVE OSXSAVE AVX F16C RDRAND
        _bits(7, 9, 12, 14, 16, 17),  # MCE APIC MTRR MCA PAT PSE-36
    ),
    7: (0, _bits(0, 5, 7, 10, 14, 18, 20), 0xFFFF_FFFF, 0xFFFF_FFFF),  # FSGSBASE AVX2 SMEP INVPCID MPX RDSEED SMAP
    0xD: (0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF),
    0x8000_0001: (
        0,
        0,
        _bits(2, 3),  # SVM and the extended APIC space
        _bits(7, 9, 11, 12, 14, 16, 17, 26, 27, 29),  # as in leaf 1; SYSCALL, 1 GiB pages, RDTSCP, long mode
    ),
    0x8000_000A: (0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF),
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
