"""What costs cycles: the names that events are charged under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ringviz.facts.source import Source, by


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that costs cycles, and whether a bare machine pays it as well."""

    id: str
    title: str
    level: Literal["machine", "vmm"]
    """`machine`: paid without a VMM too. `vmm`: overhead of virtualization."""
    source: Source


_MODEL = Source.ringviz("the causes are ringviz's own division of the run")


def _machine(id_: str, title: str) -> Cause:
    return Cause(id_, title, "machine", _MODEL)


def _vmm(id_: str, title: str) -> Cause:
    return Cause(id_, title, "vmm", _MODEL)


CAUSES: Mapping[str, Cause] = by(
    "id",
    _machine("guest-instruction", "A guest instruction run by the CPU itself"),
    _machine("native-port-io", "The port access itself"),
    _machine("native-exception", "An exception to its handler and back"),
    _machine("native-page-fault", "A page fault to its handler and back"),
    _machine("native-gate", "INT n through a gate and back"),
    _machine("native-syscall", "SYSCALL to ring 0 and SYSRET back"),
    _machine("native-interrupt", "A device's interrupt to its handler and back"),
    _machine("native-cpuid", "CPUID"),
    _machine("native-msr", "RDMSR or WRMSR"),
    _vmm("interpreted-instruction", "A guest instruction interpreted by a program"),
    _vmm("trap-emulate", "A trap to the VMM, emulation and back"),
    _vmm("trap-reflect", "A trap to the VMM, passed on to the guest's handler"),
    _vmm("hidden-fault", "A page fault of the shadow tables, filled in by the VMM"),
    _vmm("trace", "A guest write to its page tables, carried out by the VMM"),
    _vmm("silent", "A silent instruction: no trap, no cost, no fidelity"),
    _vmm("translate-instruction", "Translating one guest instruction"),
    _vmm("translated-callout", "A call from translated code to the VMM's emulator, and back"),
    _vmm("translated-in-cache", "A sensitive instruction emulated in the translation cache"),
    _vmm("translated-cli", "A short sequence in translated code: CLI is a store to the virtual IF"),
    _vmm("translated-indirect", "An indirect jump or return in translated code: the hash lookup"),
    _vmm("hypercall", "A hypercall to the VMM and back"),
    _vmm("hypercall-entry", "One of the calls that a multicall bundles"),
    _vmm("mmu-request", "One page-table request of a list, validated by the hypervisor"),
    _vmm("exit", "A hardware exit to the VMM and the entry back"),
    _vmm("vmm-work", "The VMM's own work during an exit"),
    _vmm("vmread", "VMREAD: one field of the VMCS read"),
    _vmm("vmwrite", "VMWRITE: one field of the VMCS written"),
    _vmm("nested-walk", "The longer page walk of nested paging"),
)
