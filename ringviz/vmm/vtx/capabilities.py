"""What the VMX of a CPU can do, as its capability MSRs say it.

For each word of controls a CPU has allowed 0-settings (a bit that is 1 there must be 1) and allowed 1-settings (a bit
that is 0 there must be 0). The first generation wants the whole default1 class set, CR3-load and CR3-store exiting
among them, and has no secondary controls; from the generation with EPT on, those two may be 0.

Which controls beyond that a CPU offers depends on its features, and on what ringviz's machine has: controls about an
APIC, a performance counter or an instruction that this machine lacks are not offered by any CPU here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ringviz.errors import UnsupportedError
from ringviz.facts.costs import CpuProfile
from ringviz.facts.registers import CR4_RESERVED, Cr0, Cr4
from ringviz.facts.vmx import CONTROL_MSRS, DEFAULT1, VMX_CONTROLS, Word

_FIRST_GENERATION = (
    "external-interrupt-exiting", "nmi-exiting",
    "interrupt-window-exiting", "use-tsc-offsetting", "hlt-exiting", "invlpg-exiting", "rdpmc-exiting", "rdtsc-exiting",
    "cr3-load-exiting", "cr3-store-exiting", "mov-dr-exiting", "unconditional-io-exiting", "use-io-bitmaps",
    "save-debug-controls-on-exit", "acknowledge-interrupt-on-exit", "load-debug-controls-on-entry",
)  # fmt: skip
_BY_FEATURE: Mapping[str, tuple[str, ...]] = {
    "msr-bitmaps": ("use-msr-bitmaps",),
    "ept": (
        "activate-secondary-controls", "enable-ept", "wbinvd-exiting",
        "save-ia32_efer-on-exit", "load-ia32_efer-on-exit", "load-ia32_efer-on-entry",
    ),
    "vpid": ("enable-vpid",),
    "descriptor-table-exiting": ("descriptor-table-exiting",),
    "unrestricted-guest": ("unrestricted-guest",),
}  # fmt: skip
"""Which controls come with which feature of a profile."""
_LONG_MODE = (
    "host-address-space-size-on-exit", "ia-32e-mode-guest-on-entry", "cr8-load-exiting", "cr8-store-exiting",
)  # fmt: skip
"""What a CPU with Intel 64 offers besides, from the first edition on."""
# Settings that no feature of a profile tells are those of the first edition of VT-x: our own choice.

REVISION = 1
"""The VMCS revision identifier; a real CPU has its own."""
CR3_TARGETS = 4
PHYSICAL_BITS = 36
LONG_PHYSICAL_BITS = 40
"""As CPUID leaf 8000_0008h says on a machine with long mode."""
_DEFAULT1_THAT_MAY_BE_0 = ("cr3-load-exiting", "cr3-store-exiting")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capability MSRs of one CPU, in the form that is needed here."""

    cpu_title: str
    features: frozenset[str]
    must_be_1: Mapping[Word, int]
    """Allowed 0-settings."""
    may_be_1: Mapping[Word, int]
    """Allowed 1-settings."""
    cr0_fixed_1: int
    """CR0 bits that must be 1 in VMX operation (IA32_VMX_CR0_FIXED0)."""
    cr4_fixed_1: int
    cr4_may_be_1: int
    has_long_mode: bool
    """The machine's CPU has Intel 64, and this VMM is a 64-bit one."""

    @property
    def physical_bits(self) -> int:
        """Width of the addresses that CR3 may hold."""
        return LONG_PHYSICAL_BITS if self.has_long_mode else PHYSICAL_BITS

    def allows(self, control: str, *, value: bool) -> bool:
        """Tell whether a control may have a setting."""
        row = VMX_CONTROLS[control]
        return bool(self.may_be_1[row.word] & row.mask) if value else not self.must_be_1[row.word] & row.mask

    def refusal(self, control: str, *, value: bool) -> str:
        """Say why a control may not have a setting; empty if it may."""
        if self.allows(control, value=value):
            return ""
        row = VMX_CONTROLS[control]
        if row.word == "secondary" and not self.allows("activate-secondary-controls", value=True):
            return f"the {self.cpu_title} has no secondary controls"
        where = f"bit {row.bit} of the {row.word} controls, capability MSR {CONTROL_MSRS[row.word]:X}h"
        if value:
            return f"“{row.name}” has no allowed 1-setting on the {self.cpu_title}, as far as is known ({where})"
        return f"“{row.name}” has no allowed 0-setting on the {self.cpu_title}: it must be 1 ({where})"

    def adjusted(self, word: Word, controls: frozenset[str]) -> int:
        """Give a word of controls with these set, and what must be 1 besides."""
        value = self.must_be_1[word]
        for control in controls:
            row = VMX_CONTROLS[control]
            if row.word == word:
                value |= row.mask
        return value


@cache
def _capabilities(title: str, features: frozenset[str], has_long_mode: bool) -> Capabilities:
    offered = {*_FIRST_GENERATION, *(_LONG_MODE if has_long_mode else ())}
    for feature, controls in _BY_FEATURE.items():
        if feature in features:
            offered.update(controls)
    must: dict[Word, int] = dict(DEFAULT1)
    if "cr3-exits-optional" in features:
        for control in _DEFAULT1_THAT_MAY_BE_0:
            must["primary"] &= ~VMX_CONTROLS[control].mask
    may = dict(must)
    for control in offered:
        row = VMX_CONTROLS[control]
        may[row.word] |= row.mask
    fixed_cr0, fixed_cr4, may_cr4 = Cr0.PE | Cr0.NE | Cr0.PG, int(Cr4.VMXE), ~CR4_RESERVED & 0xFFFF_FFFF
    return Capabilities(title, features, must, may, fixed_cr0, fixed_cr4, may_cr4, has_long_mode)


def capabilities_of(cpu: CpuProfile, *, has_long_mode: bool = False) -> Capabilities:
    """Give what a CPU's VMX can do.

    Args:
        cpu: its profile.
        has_long_mode: it is the CPU of a machine with long mode.

    Raises:
        UnsupportedError: the CPU has no VT-x.
    """
    if "vt-x" not in cpu.features:
        raise UnsupportedError(f"{cpu.title} has no VT-x")
    return _capabilities(cpu.title, cpu.features, has_long_mode)
