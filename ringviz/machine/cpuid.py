"""CPUID as the emulated CPU answers it: asked once per leaf, on a CPU of its own."""

from __future__ import annotations

from functools import lru_cache

from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn import x86_const as x86

_CODE_AT = 0x1000


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
    eax, ebx, ecx, edx = (int(uc.reg_read(register)) for register in registers)
    return eax, ebx, ecx, edx
