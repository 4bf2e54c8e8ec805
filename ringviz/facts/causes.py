"""What costs cycles: the names that events are charged under, what is counted, what a price holds and leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ringviz.facts.source import Source, by


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that costs cycles, and whether a bare machine pays it as well."""

    id: str
    title: str
    level: Literal["machine", "vmm"]
    """`machine`: paid without a VMM too. `vmm`: overhead of virtualization."""
    counted: str
    """The event of a run that is counted."""
    included: str
    """What one price is for."""
    left_out: str
    """What it does not hold."""
    source: Source
    part_of: str | None = None
    """The cause whose price holds this one: it is known for itself, and not charged for itself."""


_MODEL = Source.ringviz("the causes are ringviz's own division of the run")


def _machine(id_: str, title: str, counted: str, included: str, left_out: str) -> Cause:
    return Cause(id_, title, "machine", counted, included, left_out, _MODEL)


def _vmm(id_: str, title: str, counted: str, included: str, left_out: str, part_of: str | None = None) -> Cause:
    return Cause(id_, title, "vmm", counted, included, left_out, _MODEL, part_of)


_HANDLER = "the instructions of the handler: they are guest instructions"
_WAY_THERE_AND_BACK = "the way through the gate to the handler, and the return"

GUEST_INSTRUCTION = "guest-instruction"
"""The one cause without a price of its own: each instruction costs the weight of its class."""

CAUSES: Mapping[str, Cause] = by(
    "id",
    _machine(
        GUEST_INSTRUCTION,
        "A guest instruction run by the CPU itself",
        "each guest instruction that retired and that no VMM carried out",
        "the weight of its class: `ringviz cpus ID` lists them",
        "cache misses, mispredicted branches, the instruction cache: none is modelled",
    ),
    _machine(
        "native-port-io",
        "The port access itself",
        "each IN, OUT, INS or OUTS that comes to the device",
        "the access, from the CPU to the device and back",
        "what a VMM does before it comes to the device",
    ),
    _machine(
        "native-exception",
        "An exception to its handler and back",
        "each exception, but page faults, that the guest's own handler gets",
        _WAY_THERE_AND_BACK,
        _HANDLER,
    ),
    _machine(
        "native-page-fault",
        "A page fault to its handler and back",
        "each page fault that the guest's own handler gets",
        _WAY_THERE_AND_BACK,
        _HANDLER,
    ),
    _machine(
        "native-gate",
        "INT n through a gate and back",
        "each INT n, INT3 or INTO that the guest's own handler gets",
        _WAY_THERE_AND_BACK,
        _HANDLER,
    ),
    _machine(
        "native-syscall",
        "SYSCALL to ring 0 and SYSRET back",
        "each SYSCALL that the CPU carries out",
        "the way to ring 0 and SYSRET back",
        "the instructions between",
    ),
    _machine(
        "native-interrupt",
        "A device's interrupt to its handler and back",
        "each interrupt that the guest's own handler gets",
        _WAY_THERE_AND_BACK,
        f"the acknowledge cycle; {_HANDLER}",
    ),
    _machine(
        "native-cpuid",
        "CPUID",
        "nothing yet: CPUID is a guest instruction of the class `serializing`",
        "CPUID as the CPU carries it out",
        "what a VMM does for it",
    ),
    _machine(
        "native-msr",
        "RDMSR or WRMSR",
        "nothing yet: both are guest instructions of the class `serializing`",
        "the access as the CPU carries it out",
        "what a VMM does for it",
    ),
    _machine(
        "walk-reference",
        "One page-table entry read by the CPU's page walker",
        "each entry read at a miss of the modelled TLB in the tables that a linear address is looked up in; only where "
        "a run counts walks",
        "one read that finds the entry in the second-level cache",
        "an entry that comes from memory, page-walk caches, and work that goes on meanwhile",
    ),
    _vmm(
        "interpreted-instruction",
        "A guest instruction interpreted by a program",
        "each guest instruction that an interpreter carries out",
        "fetching, decoding and doing it, on the average of an interpreter of x86",
        "what the instruction itself would have cost on the CPU",
    ),
    _vmm(
        "trap-emulate",
        "A trap to the VMM, emulation and back",
        "each instruction of a ring-compressed kernel that traps and is emulated",
        "the trap, finding out what it was, carrying it out, the return",
        "the device behind a port: native-port-io",
    ),
    _vmm(
        "trap-reflect",
        "A trap to the VMM, passed on to the guest's handler",
        "each trap that the VMM hands to the guest's own handler",
        "the VMM's work: making the guest's frame and registers as its gate would",
        "the exception's own way, charged as on bare metal: native-exception and the like",
    ),
    _vmm(
        "hidden-fault",
        "A page fault of the shadow tables, filled in by the VMM",
        "each page fault that the guest must not see, under the software techniques: hardware exits instead",
        "the fault, the walk of the guest's tables by the VMM, the entry made, the return",
        "later misses of the TLB",
    ),
    _vmm(
        "trace",
        "A guest write to its page tables, carried out by the VMM",
        "each write to a page that the VMM has protected because the guest's tables are in it, under the software "
        "techniques: hardware exits instead",
        "the fault, the write carried out, the shadow entry changed, the return",
        "the hidden faults that follow",
    ),
    _vmm(
        "silent",
        "A silent instruction: no trap, no cost, no fidelity",
        "each sensitive instruction that runs in the wrong ring without a trap",
        "nothing: it runs at full speed",
        "what goes wrong afterwards",
    ),
    _vmm(
        "translate-instruction",
        "Translating one guest instruction",
        "each guest instruction that the translator reads, once per translation",
        "decoding it and writing its translation",
        "running the translation",
    ),
    _vmm(
        "translated-callout",
        "A call from translated code to the VMM's emulator, and back",
        "each sensitive instruction whose translation calls the emulator",
        "leaving translated code, the emulation, the return",
        "the device behind a port: native-port-io",
    ),
    _vmm(
        "translated-simulate",
        "A call from translated code for one known instruction, without the emulator",
        "each write to a page table by an instruction that kept trapping and was translated anew",
        "leaving translated code, the write with all that it means for the VMM's tables, the return",
        "the traps before the new translation: trace",
    ),
    _vmm(
        "translated-in-cache",
        "A sensitive instruction emulated in the translation cache",
        "each sensitive instruction whose translation is a whole sequence in the cache",
        "the sequence",
        "its translation: translate-instruction",
    ),
    _vmm(
        "translated-cli",
        "A short sequence in translated code: CLI is a store to the virtual IF",
        "each CLI, STI and the like in translated code",
        "the handful of instructions in its place",
        "its translation: translate-instruction",
    ),
    _vmm(
        "translated-indirect",
        "An indirect jump or return in translated code: the hash lookup",
        "each RET, indirect JMP or CALL in translated code",
        "the sequence that stands in its place",
        "a target that is not translated yet: translate-instruction",
    ),
    _vmm(
        "hypercall",
        "A hypercall to the VMM and back",
        "each hypercall of a recompiled kernel",
        "the way to the hypervisor and back",
        "what the hypervisor does there",
    ),
    _vmm(
        "hypercall-entry",
        "One of the calls that a multicall bundles",
        "each call within a multicall",
        "the hypervisor's work for one call",
        "the way there and back, charged once as hypercall",
    ),
    _vmm(
        "mmu-request",
        "One page-table request of a list, validated by the hypervisor",
        "each request of a page-table update list",
        "validating and writing one entry",
        "the way there and back, charged once as hypercall",
    ),
    _vmm(
        "exit",
        "A hardware exit to the VMM and the entry back",
        "each exit from guest mode (VT-x, AMD-V)",
        "the exit and the entry back, as the hardware does them",
        "the VMM's own work: vmm-work, vmread and vmwrite",
    ),
    _vmm(
        "vm-entry",
        "VM entry alone",
        "nothing by itself: the entry back is in each exit",
        "VMRESUME, until the guest's first instruction",
        "the way out: vm-exit",
        part_of="exit",
    ),
    _vmm(
        "vm-exit",
        "VM exit alone",
        "nothing by itself: it is in each exit",
        "from the guest's last instruction to the VMM's first",
        "the way back: vm-entry",
        part_of="exit",
    ),
    _vmm(
        "vmm-work",
        "The VMM's own work at an exit",
        "each exit from guest mode",
        "dispatch, decoding and emulation, as of an instruction that traps without hardware assistance",
        "VMREADs and VMWRITEs, which are counted apart; what a device model does",
    ),
    _vmm(
        "vmread",
        "VMREAD: one field of the VMCS read",
        "each VMREAD that the VMM really makes at an exit (VT-x)",
        "the instruction",
        "what is done with the value",
    ),
    _vmm(
        "vmwrite",
        "VMWRITE: one field of the VMCS written",
        "each VMWRITE that the VMM really makes before an entry (VT-x)",
        "the instruction",
        "what led to the value",
    ),
    _vmm(
        "nested-walk",
        "One entry read in the second dimension of a nested page walk",
        "each entry read at a miss of the modelled TLB beyond those that the guest's own tables take; only where a run "
        "counts walks",
        "one read, at what it adds to a walk on the average",
        "an entry that comes from memory; large nested pages and nested TLBs",
    ),
)

PRICED: Mapping[str, Cause] = MappingProxyType(
    {id_: cause for id_, cause in CAUSES.items() if id_ != GUEST_INSTRUCTION}
)
"""Those that every CPU has a row for."""
