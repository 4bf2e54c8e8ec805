"""The architectural state of one x86 CPU, hidden segment parts included.

A CPU without long mode has eight general registers of 32 bits. One with long mode has sixteen of 64, and the registers
in `LongRegisters`; its instruction pointer and flags go by the old names here, whatever their width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ringviz.facts.registers import GPR_NAMES, GPR_NAMES_64, Cr0, Efer
from ringviz.facts.segments import Descriptor, SegmentCache
from ringviz.machine.svm.registers import SvmRegisters

ES, CS, SS, DS, FS, GS = range(6)
"""Segment registers in encoding order; indexes into `CpuState.segments`."""

EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)
"""General-purpose registers in encoding order; indexes into `CpuState.gpr`."""

R11 = 11
"""Where SYSCALL leaves the flags."""

ADDRESS_32, ADDRESS_64 = 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
"""Linear addresses end here; beyond it they begin at 0 again."""

_LMA = int(Efer.LMA)
_L_BIT = 0x200


class TableRegister(NamedTuple):
    """GDTR or IDTR: linear base and limit (offset of the last byte)."""

    base: int
    limit: int


class LongRegisters(NamedTuple):
    """What a CPU with long mode has besides: what SYSCALL and SWAPGS use, and the task priority."""

    star: int = 0
    lstar: int = 0
    cstar: int = 0
    sfmask: int = 0
    kernel_gs_base: int = 0
    cr8: int = 0


@dataclass(slots=True)
class CpuState:
    """Everything a program can see or feel of the CPU, except FPU and SSE registers.

    Mutable on purpose: it is the working copy that delivery and interpreter routines change step by step.
    Snapshots for others are made with `copy`, whose lists nobody else holds.
    """

    gpr: list[int]
    eip: int
    eflags: int
    segments: list[SegmentCache]
    ldtr: SegmentCache
    tr: SegmentCache
    gdtr: TableRegister
    idtr: TableRegister
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cpl: int
    dr: list[int]
    """DR0..DR7; DR4 and DR5 stay 0, they are aliases."""
    efer: int
    sysenter: list[int]
    """SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP."""
    long: LongRegisters | None = None
    """None on a CPU without long mode."""
    svm: SvmRegisters | None = None
    """None on a CPU without AMD-V, or with one that its VMM does not lend on."""

    def copy(self) -> CpuState:
        """Give an independent copy; segment caches are immutable and shared."""
        return CpuState(
            self.gpr.copy(),
            self.eip,
            self.eflags,
            self.segments.copy(),
            self.ldtr,
            self.tr,
            self.gdtr,
            self.idtr,
            self.cr0,
            self.cr2,
            self.cr3,
            self.cr4,
            self.cpl,
            self.dr.copy(),
            self.efer,
            self.sysenter.copy(),
            self.long,
            self.svm,
        )

    @property
    def is_protected(self) -> bool:
        """CR0.PE is set."""
        return bool(self.cr0 & Cr0.PE)

    @property
    def is_paged(self) -> bool:
        """CR0.PG is set."""
        return bool(self.cr0 & Cr0.PG)

    @property
    def is_long_active(self) -> bool:
        """EFER.LMA is set: long mode, that is 64-bit mode or compatibility mode."""
        return bool(self.efer & _LMA)

    @property
    def is_64bit(self) -> bool:
        """64-bit mode: long mode is active, and the code segment has L set."""
        return bool(self.efer & _LMA and self.segments[CS].access & _L_BIT)

    @property
    def address_mask(self) -> int:
        """Linear addresses of the running program, their highest included."""
        return ADDRESS_64 if self.efer & _LMA and self.segments[CS].access & _L_BIT else ADDRESS_32

    @property
    def code_bits(self) -> int:
        """Default address size of the code segment: 16, 32, or 64 in 64-bit mode.

        Also in real mode: there it is 32 between the clearing of CR0.PE in a 32-bit segment and the far jump.
        """
        if self.efer & _LMA and self.segments[CS].access & _L_BIT:
            return 64
        return 32 if self.segments[CS].db else 16

    @property
    def linear_eip(self) -> int:
        """Linear address of the next instruction."""
        return (self.segments[CS].base + self.eip) & self.address_mask

    @property
    def cr8(self) -> int:
        """CR8, the task priority; 0 on a CPU that has none."""
        return 0 if self.long is None else self.long.cr8

    @property
    def is_guest_mode(self) -> bool:
        """The CPU runs the guest of a hypervisor that is itself in this machine: VMRUN has been, #VMEXIT not yet."""
        return self.svm is not None and self.svm.guest is not None

    @property
    def gpr_names(self) -> tuple[str, ...]:
        """Names of the general registers this CPU has, at their full width."""
        return GPR_NAMES if self.long is None else GPR_NAMES_64


def is_canonical(address: int) -> bool:
    """Tell whether bits 63 to 47 of a 64-bit linear address are all alike.

    Source: Intel SDM Vol. 1, "Canonical Addressing".
    """
    return not (address + _HALF) & _NOT_CANONICAL


_HALF = 1 << 47
_NOT_CANONICAL = ADDRESS_64 & ~((1 << 48) - 1)


@lru_cache(maxsize=8192)
def segment(selector: int, base: int, limit: int, access: int) -> SegmentCache:
    """Make a segment cache; the same values give the same object, which makes comparing states cheap."""
    return SegmentCache(selector, base, limit, access)


def same_but_plain(a: CpuState, b: CpuState) -> bool:
    """Tell whether two states differ in nothing but general registers, EIP, EFLAGS and CR2."""
    return (
        a.segments == b.segments
        and a.cpl == b.cpl
        and a.cr0 == b.cr0
        and a.cr3 == b.cr3
        and a.cr4 == b.cr4
        and a.ldtr == b.ldtr
        and a.tr == b.tr
        and a.gdtr == b.gdtr
        and a.idtr == b.idtr
        and a.dr == b.dr
        and a.efer == b.efer
        and a.sysenter == b.sysenter
        and a.long == b.long
        and a.svm == b.svm
    )


def fields_of(state: CpuState) -> dict[str, int]:
    """Flatten a state into named integers, in a fixed order: for comparison, hashing and display."""
    fields: dict[str, int] = dict(zip(state.gpr_names, state.gpr, strict=True))
    fields[instruction_pointer_name(state)] = state.eip
    fields[flags_name(state)] = state.eflags
    names = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
    for name, cache in zip(names, (*state.segments, state.ldtr, state.tr), strict=True):
        fields[name] = cache.selector
        fields[f"{name}.base"] = cache.base
        fields[f"{name}.limit"] = cache.limit
        fields[f"{name}.access"] = cache.access
    fields["gdtr.base"], fields["gdtr.limit"] = state.gdtr
    fields["idtr.base"], fields["idtr.limit"] = state.idtr
    for name in ("cr0", "cr2", "cr3", "cr4", "cpl", "efer"):
        fields[name] = getattr(state, name)
    for number in (0, 1, 2, 3, 6, 7):
        fields[f"dr{number}"] = state.dr[number]
    for name, value in zip(("sysenter_cs", "sysenter_esp", "sysenter_eip"), state.sysenter, strict=True):
        fields[name] = value
    if state.long is not None:
        fields |= state.long._asdict()
    if state.svm is not None:
        fields |= state.svm.fields()
    return fields


def instruction_pointer_name(state: CpuState) -> str:
    """Give the name of the instruction pointer on this CPU."""
    return "eip" if state.long is None else "rip"


def flags_name(state: CpuState) -> str:
    """Give the name of the flags register on this CPU."""
    return "eflags" if state.long is None else "rflags"


def code_cache(state: CpuState, selector: int, descriptor: Descriptor) -> SegmentCache:
    """Give CS as it is after a load. The base of 64-bit code does not count, and reads as 0."""
    base = 0 if state.is_long_active and descriptor.l else descriptor.base
    return segment(selector, base, descriptor.limit, descriptor.access)


def real_mode_cache(value: int, access: int = 0x93) -> SegmentCache:
    """Give a segment register as it is in real or virtual-8086 mode: base is 16 times the value, limit FFFFh.

    Source: Intel SDM Vol. 3B, "Real-Address Mode Operation".
    """
    return SegmentCache(value, value << 4, 0xFFFF, access)


def reloaded_in_real_mode(old: SegmentCache, value: int) -> SegmentCache:
    """Give a segment register after a load in real or virtual-8086 mode: selector and base are new, the rest stays.

    A limit left over from protected mode stays, too ("unreal" mode).
    """
    return segment(value, value << 4, old.limit, old.access)
