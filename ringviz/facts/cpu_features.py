"""What CPUs have for a VMM, from the first VT-x on; a profile lists the ids of what it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ringviz.facts.source import Source, by
from ringviz.facts.sources import TIMELINE, VMLATENCY


@dataclass(frozen=True, slots=True)
class CpuFeature:
    """One thing that hardware does for a VMM."""

    id: str
    title: str
    since: str
    """The first profile that has it."""
    needs: str | None
    """The feature that it builds on; no CPU has the one without the other."""
    source: Source


def _launched(id_: str, title: str, since: str, when: str, needs: str | None = None) -> CpuFeature:
    """Give a feature whose first CPU a list of launches names."""
    return CpuFeature(id_, title, since, needs, TIMELINE.at(when))


def _reported(id_: str, title: str, since: str, register: str, needs: str = "vt-x") -> CpuFeature:
    """Give a feature that a CPU's own capability register reports, as the measurements of its family printed it.

    Registers of a Pentium 4 were not among them: what only they could tell is missing there.
    """
    return CpuFeature(id_, title, since, needs, VMLATENCY.at("results", note=register))


CPU_FEATURES: Mapping[str, CpuFeature] = by(
    "id",
    _launched("vt-x", "VMX root and non-root operation", "p4-672", "VT-x, November 2005"),
    _launched("amd-v", "VMRUN and #VMEXIT: host and guest mode", "k8-revf", "AMD-V, May 2006"),
    _reported("msr-bitmaps", "Chooses the MSRs whose accesses exit", "core2", "IA32_VMX_PROCBASED_CTLS, bit 28"),
    _launched(
        "npt", "Nested paging (RVI): a second page walk in hardware", "barcelona", "RVI, September 2007", "amd-v"
    ),
    _launched("ept", "Extended page tables: a second page walk in hardware", "nehalem", "EPT, November 2008", "vt-x"),
    _launched("vpid", "TLB entries tagged with the virtual CPU", "nehalem", "VPID, November 2008", "vt-x"),
    _reported("cr3-exits-optional", "CR3 need not exit", "nehalem", "IA32_VMX_TRUE_PROCBASED_CTLS, bits 15 and 16"),
    _reported("virtual-nmis", "Tracks when the guest may take an NMI", "nehalem", "IA32_VMX_PINBASED_CTLS, bit 5"),
    _reported("preemption-timer", "Exits after a set time", "nehalem", "IA32_VMX_PINBASED_CTLS, bit 6"),
    _reported("monitor-trap-flag", "Exits after one instruction", "nehalem", "IA32_VMX_PROCBASED_CTLS, bit 27"),
    _reported(
        "descriptor-table-exiting",
        "LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT, STR exit",
        "nehalem",
        "IA32_VMX_PROCBASED_CTLS2, bit 2",
    ),
    _launched("unrestricted-guest", "A guest without paging, or in real mode", "westmere", "January 2010", "ept"),
    _launched("vmcs-shadowing", "VMREAD and VMWRITE of a nested VMM need not exit", "haswell", "June 2013", "vt-x"),
    _launched("vmfunc", "VMFUNC: the guest switches EPT tables itself", "haswell", "June 2013", "ept"),
    _reported("pml", "Page-modification logging", "skylake", "IA32_VMX_PROCBASED_CTLS2, bit 17", "ept"),
    _reported(
        "virtualization-exceptions", "#VE instead of an EPT exit", "skylake", "IA32_VMX_PROCBASED_CTLS2, bit 18", "ept"
    ),
)

SECOND_LEVEL = frozenset({"ept", "npt"})
"""Features that give a CPU second-level paging."""


def vendor_of(feature: str) -> Literal["intel", "amd"]:
    """Give the maker whose CPUs have a feature: it is the one whose technology it builds on."""
    needs = CPU_FEATURES[feature].needs
    if needs is not None:
        return vendor_of(needs)
    return "amd" if feature == "amd-v" else "intel"
