"""The bill: modelled cycles by cause, for any prefix of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ringviz.engine.event_log import EventLog
from ringviz.engine.view import LedgerRow, LedgerView
from ringviz.facts.costs import CAUSES, CpuProfile, cost_of
from ringviz.vmm.events import Kind

_KINDS = {
    "trap-emulate": Kind.TRAP,
    "trap-reflect": Kind.REFLECT,
    "silent": Kind.SILENT,
    "exit": Kind.EXIT,
    "vmm-work": Kind.EXIT,
    "vmread": Kind.EXIT,
    "vmwrite": Kind.EXIT,
    "hidden-fault": Kind.TRAP,
    "trace": Kind.TRAP,
    "hypercall": Kind.HYPERCALL,
    "hypercall-entry": Kind.HYPERCALL,
    "mmu-request": Kind.HYPERCALL,
    "translate-instruction": Kind.TRANSLATE,
    "translated-in-cache": Kind.TRANSLATE,
    "translated-indirect": Kind.TRANSLATE,
    "translated-cli": Kind.TRANSLATE,
    "translated-callout": Kind.CALLOUT,
    "interpreted-instruction": Kind.GUEST,
    "native-gate": Kind.GATE,
    "native-syscall": Kind.GATE,
    "native-interrupt": Kind.INTERRUPT,
    "native-exception": Kind.FAULT,
    "native-page-fault": Kind.FAULT,
    "native-port-io": Kind.IO,
}
_LABELS = {
    "trap-emulate": "traps, emulated",
    "trap-reflect": "traps, passed on",
    "silent": "silent",
    "exit": "exits and entries",
    "vmm-work": "VMM at exits",
    "vmread": "VMREADs at exits",
    "vmwrite": "VMWRITEs at exits",
    "hidden-fault": "hidden page faults",
    "trace": "traced table writes",
    "hypercall": "hypercalls",
    "hypercall-entry": "calls in multicalls",
    "mmu-request": "page-table requests",
    "translate-instruction": "translating",
    "translated-in-cache": "replaced in cache",
    "translated-indirect": "jumps looked up",
    "translated-cli": "CLI/STI in cache",
    "translated-callout": "callouts to VMM",
    "interpreted-instruction": "interpreting",
    "native-gate": "guest's gates",
    "native-syscall": "system calls",
    "native-interrupt": "interrupts",
    "native-exception": "guest's faults",
    "native-page-fault": "guest's #PF",
    "native-port-io": "port access",
}
"""Short enough for a panel; the full titles are in the facts."""
_CURVE_POINTS = 64


def ledger(
    log: EventLog,
    cpu: CpuProfile,
    position: int,
    emulated: int,
    tallies: Mapping[str, int],
    count: int,
    native_cycles: int | None,
) -> LedgerView:
    """Add up the first `count` events and the instructions the CPU ran by itself.

    Args:
        log: the events.
        cpu: prices.
        position: retired guest instructions.
        emulated: of these, completed by the VMM: they are in the price of their trap or exit, or among `tallies`.
        tallies: what has come without an event, by cause.
        count: how many events have happened.
        native_cycles: what bare metal pays up to the same position, if known.
    """
    per_instruction = cost_of(cpu, "guest-instruction").charged_cycles
    direct = max(0, position - emulated)
    rows = [LedgerRow("guest-instruction", "guest instructions", direct, direct * per_instruction, Kind.GUEST)]
    for cause, times in (log.causes(count) + Counter(tallies)).items():
        cycles = times * cost_of(cpu, cause).charged_cycles
        label = _LABELS.get(cause, CAUSES[cause].title)
        rows.append(LedgerRow(cause, label, times, cycles, _KINDS.get(cause, Kind.GUEST)))
    rows.sort(key=lambda row: (-row.cycles, row.cause))
    overhead = log.event_cycles(count) + log.tally_cycles(tallies)
    return LedgerView(
        rows=tuple(rows),
        guest_cycles=direct * per_instruction + log.native_cycles(count),
        overhead_cycles=overhead,
        native_cycles=native_cycles,
        curve=tuple(
            log.overhead_cycles(min(count, log.before(position * (i + 1) // _CURVE_POINTS)))
            for i in range(_CURVE_POINTS)
        )
        if position
        else (),
    )
