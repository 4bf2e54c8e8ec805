"""Intel's CPUs, one of each generation that changed something for a VMM."""

from __future__ import annotations

from collections.abc import Mapping

from ringviz.facts.cost_rows import (
    Lender,
    as_published,
    borrowed,
    chosen,
    complete,
    computed,
    interpreted,
    lookup,
    nested_walk,
    round_trip,
    round_trip_parts,
    simulated,
    unknown,
    vmm_software,
    walk_reference,
)
from ringviz.facts.cpu_profile import Cost, CpuProfile
from ringviz.facts.figures import FIGURES
from ringviz.facts.source import by
from ringviz.facts.sources import AG12, TIMELINE, VMLATENCY


def _p4_exit() -> Cost:
    """Add up VM entry and VM exit; a second paper's round trip is the lower bound."""
    entry, exit_, other = FIGURES["p4-vm-entry"], FIGURES["p4-page-fault-exit"], FIGURES["prescott-round-trip"]
    return computed(
        "exit",
        entry.value + exit_.value,
        entry.source,
        f"entry {entry.value} + page-fault exit {exit_.value}",
        others=(other.value,),
        note=f"{other.source} has {other.value} for the same family of CPUs",
    )


_REFLECT = (
    "no figure for passing a trap on; the VMM's work at a trap that is emulated is shown. The exception's own way is "
    "charged beside it, as on bare metal"
)
_WORK = "dispatch, decoding and emulation, as measured for RDTSC; VMREADs and VMWRITEs are counted and charged apart"
_SHADOW = "no figure for a fault of shadow tables; the round trip of a trap that is emulated is shown"
_GATE = "no figure for INT n on this CPU; #DE takes the same way through an interrupt gate and back"
_HYPERCALL = "no figure for a hypercall by INT n on this CPU; #DE takes the same way through an interrupt gate and back"
_CLI = (
    f"a handful of instructions instead of {FIGURES['p4-cli'].value} cycles, says Adams & Agesen 2006; "
    "five, at one cycle each"
)

_ACKNOWLEDGE = "it goes through the same table; the acknowledge cycle is not in it"
_INTERRUPT = f"no figure for a device's interrupt on this CPU; {_ACKNOWLEDGE}"

_P4 = by(
    "cause",
    as_published("native-port-io", "p4-in", "measured for IN from port 80h; OUT is charged the same"),
    as_published("native-exception", "p4-divzero", "measured for #DE; other exceptions but #PF are charged the same"),
    as_published("native-page-fault", "p4-pgfault"),
    borrowed("native-gate", "p4-divzero", _GATE),
    as_published("native-syscall", "p4-syscall"),
    borrowed("native-interrupt", "p4-divzero", _INTERRUPT),
    unknown("native-cpuid", "no source for this CPU was found"),
    unknown("native-msr", "no source for this CPU was found"),
    walk_reference("p4-6xx-l2"),
    interpreted("bochs-p4", is_other_cpu=True),
    as_published("trap-emulate", "p4-trap-rdtsc", "measured for RDTSC; decoding and emulation are in it"),
    vmm_software("trap-reflect", _REFLECT),
    borrowed("hidden-fault", "p4-trap-rdtsc", _SHADOW),
    borrowed("trace", "p4-trap-rdtsc", _SHADOW),
    chosen("silent", 0, "a silent instruction runs at full speed: what it costs is fidelity"),
    as_published("translate-instruction", "translate"),
    as_published("translated-callout", "p4-callout-rdtsc", "measured for RDTSC"),
    simulated(),
    as_published("translated-in-cache", "p4-in-cache-rdtsc", "measured for RDTSC"),
    chosen("translated-cli", 5, _CLI),
    lookup(),
    borrowed("hypercall", "p4-divzero", _HYPERCALL),
    unknown("hypercall-entry", "the VMM's own work for one call; the way there and back is charged once"),
    unknown("mmu-request", "Xen's lmbench times of 2003 hold two crossings and the guest's own work as well"),
    _p4_exit(),
    *round_trip_parts("p4-vm-entry", "p4-page-fault-exit"),
    vmm_software("vmm-work", _WORK),
    as_published("vmread", "p4-vmread"),
    as_published("vmwrite", "p4-vmwrite"),
    unknown("nested-walk", "this CPU has no nested paging"),
)

P4_LENDS = Lender("P4 672", _P4)

_NOT_APART = (
    unknown("vm-entry", "only the round trip was measured, and nothing says how to split it: it is kept whole"),
    unknown("vm-exit", "only the round trip was measured, and nothing says how to split it: it is kept whole"),
)
_TWO_TEAMS = "VMware's figure is charged; vmlatency's, for CPUID on CPUs that were sold, make the range"
_ONE_TEAM = "the authors' figure for the best CPU is charged; the CPUs of the family make the range"

_CORE2_SUM = FIGURES["core2-vm-entry"].value + FIGURES["core2-page-fault-exit"].value
_CORE2_EXIT = round_trip("merom-round-trip", ("merom-cpuid-exit", "merom-cpuid-exits"), "")
_CORE2 = by(
    "cause",
    interpreted("bochs-core2", others=("bochs-core2-first",)),
    Cost(
        "exit",
        _CORE2_EXIT.cycles,
        _CORE2_EXIT.low,
        _CORE2_SUM,
        _CORE2_EXIT.source,
        f"{_TWO_TEAMS}, up to Adams & Agesen 2006's {_CORE2_SUM} on a CPU before production",
    ),
    *round_trip_parts(
        "core2-vm-entry", "core2-page-fault-exit", "the exit that is charged was measured whole, on CPUs that were sold"
    ),
    walk_reference("kentsfield-l2", is_other_cpu=True),
    as_published("vmread", "core2-vmread"),
    as_published("vmwrite", "core2-vmwrite"),
)
_CORE2_LENDS = Lender("Core 2", _CORE2)

_NEHALEM_WALK = walk_reference("westmere-l2", is_other_cpu=True)
_NEHALEM = (
    round_trip("nehalem-round-trip", ("nehalem-cpuid-exit", "nehalem-cpuid-exits"), _TWO_TEAMS),
    *_NOT_APART,
    _NEHALEM_WALK,
    nested_walk(_NEHALEM_WALK),
)
_WESTMERE_WALK = walk_reference("westmere-l2")
_WESTMERE = (
    round_trip("westmere-round-trip", ("westmere-cpuid-exit", "westmere-cpuid-exits"), _TWO_TEAMS),
    *_NOT_APART,
    _WESTMERE_WALK,
    nested_walk(_WESTMERE_WALK),
)
_LATER_WALK = walk_reference("ivy-bridge-l2", is_other_cpu=True)
_LATER_WALKS = (_LATER_WALK, nested_walk(_LATER_WALK))
_SANDY_BRIDGE = by(
    "cause",
    interpreted("bochs-sandy-bridge"),
    round_trip("sandy-bridge-round-trip", ("sandy-bridge-cpuid-exit", "sandy-bridge-cpuid-exits"), _TWO_TEAMS),
    *_NOT_APART,
    *_LATER_WALKS,
)
_SANDY_BRIDGE_LENDS = Lender("Sandy Bridge", _SANDY_BRIDGE)

_GATE_2019 = "no figure for this very CPU"
_GATES_2019 = (
    borrowed("native-exception", "interrupt-gate", f"{_GATE_2019}, nor for an exception; it takes the same way"),
    borrowed("native-gate", "interrupt-gate", _GATE_2019),
    borrowed("native-syscall", "syscall", _GATE_2019),
    borrowed("native-interrupt", "interrupt-gate", f"{_GATE_2019}, nor for a device's interrupt; {_ACKNOWLEDGE}"),
    borrowed("hypercall", "interrupt-gate", f"{_GATE_2019}, nor for a hypercall; INT n takes the same way"),
)
_HASWELL = (
    *_GATES_2019,
    round_trip("haswell-cpuid-exit", ("haswell-cpuid-exits",), _ONE_TEAM),
    *_NOT_APART,
    *_LATER_WALKS,
)
_SKYLAKE = (
    *_GATES_2019,
    round_trip("skylake-cpuid-exit", ("skylake-cpuid-exits",), _ONE_TEAM),
    *_NOT_APART,
    *_LATER_WALKS,
)

_CORE2_HAS = frozenset({"vt-x", "msr-bitmaps"})
_NEHALEM_HAS = _CORE2_HAS | {
    "ept", "vpid", "cr3-exits-optional", "virtual-nmis", "preemption-timer", "monitor-trap-flag",
    "descriptor-table-exiting",
}  # fmt: skip
_WESTMERE_HAS = _NEHALEM_HAS | {"unrestricted-guest"}
_HASWELL_HAS = _WESTMERE_HAS | {"vmcs-shadowing", "vmfunc"}
_SKYLAKE_HAS = _HASWELL_HAS | {"pml", "virtualization-exceptions"}

INTEL_CPUS: Mapping[str, CpuProfile] = by(
    "id",
    CpuProfile(
        id="p4-672",
        title="Intel Pentium 4 672",
        vendor="intel",
        year=2005,
        features=frozenset({"vt-x"}),
        clock_hz=FIGURES["p4-672-clock"].value,
        clock_source=FIGURES["p4-672-clock"].source,
        costs=_P4,
        source=TIMELINE.at("VT-x, November 2005"),
        note="The first CPU with VT-x, and the one that the 2006 comparison of techniques was measured on",
    ),
    CpuProfile(
        id="core2",
        title="Intel Core 2 (Merom)",
        vendor="intel",
        year=2006,
        features=_CORE2_HAS,
        clock_hz=FIGURES["core2-clock"].value,
        clock_source=FIGURES["core2-clock"].source,
        costs=complete((*_CORE2.values(),), P4_LENDS),
        source=AG12.at("Table 1", note="2Q2006"),
        note="Exits cost less than half of the Pentium 4's; still no nested paging, and every MOV to CR3 must exit",
    ),
    CpuProfile(
        id="nehalem",
        title="Intel Core i7 (Nehalem)",
        vendor="intel",
        year=2008,
        features=_NEHALEM_HAS,
        clock_hz=FIGURES["nehalem-clock"].value,
        clock_source=FIGURES["nehalem-clock"].source,
        costs=complete(_NEHALEM, _CORE2_LENDS, P4_LENDS),
        source=TIMELINE.at("EPT and VPID, November 2008"),
        note="Intel's first CPU with nested paging (EPT): the guest's page tables need not exit any more",
    ),
    CpuProfile(
        id="westmere",
        title="Intel Core i7 (Westmere)",
        vendor="intel",
        year=2010,
        features=_WESTMERE_HAS,
        clock_hz=FIGURES["westmere-clock"].value,
        clock_source=FIGURES["westmere-clock"].source,
        costs=complete(_WESTMERE, _CORE2_LENDS, P4_LENDS),
        source=TIMELINE.at("unrestricted guest, January 2010"),
        note="The first on which a guest may run without paging, so a VMM need not emulate its real mode",
    ),
    CpuProfile(
        id="sandy-bridge",
        title="Intel Core i7 (Sandy Bridge)",
        vendor="intel",
        year=2011,
        features=_WESTMERE_HAS,
        clock_hz=FIGURES["sandy-bridge-clock"].value,
        clock_source=FIGURES["sandy-bridge-clock"].source,
        costs=complete((*_SANDY_BRIDGE.values(),), _CORE2_LENDS, P4_LENDS),
        source=AG12.at("Table 1", note="1Q2011"),
        note="VMware's newest CPU of 2012: an exit costs a fifth of the Pentium 4's",
    ),
    CpuProfile(
        id="haswell",
        title="Intel Core i7 (Haswell)",
        vendor="intel",
        year=2013,
        features=_HASWELL_HAS,
        clock_hz=FIGURES["haswell-clock"].value,
        clock_source=FIGURES["haswell-clock"].source,
        costs=complete(_HASWELL, _SANDY_BRIDGE_LENDS, _CORE2_LENDS, P4_LENDS),
        source=TIMELINE.at("VMCS shadowing and VMFUNC, June 2013"),
        note="VMCS shadowing helps a VMM that runs inside a virtual machine",
    ),
    CpuProfile(
        id="skylake",
        title="Intel Core i7 (Skylake)",
        vendor="intel",
        year=2015,
        features=_SKYLAKE_HAS,
        clock_hz=FIGURES["skylake-clock"].value,
        clock_source=FIGURES["skylake-clock"].source,
        costs=complete(_SKYLAKE, _SANDY_BRIDGE_LENDS, _CORE2_LENDS, P4_LENDS),
        source=VMLATENCY.at("process-data.py", note="Q3'15"),
        note="Its exits cost more than Haswell's in the same measurements",
    ),
)
