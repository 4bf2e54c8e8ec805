"""What a cause of cost is called where there is little room, and which kind of event it belongs to: one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.costs import CAUSES
from ringviz.facts.source import by
from ringviz.vmm.events import Kind


@dataclass(frozen=True, slots=True)
class CauseLook:
    """How a ledger shows one cause."""

    cause: str
    label: str
    """Short enough for a panel; the full title is in the facts."""
    kind: Kind
    """Whose glyph and colour it has."""


_LOOKS: Mapping[str, CauseLook] = by(
    "cause",
    CauseLook("guest-instruction", "guest instructions", Kind.GUEST),
    CauseLook("interpreted-instruction", "interpreting", Kind.GUEST),
    CauseLook("trap-emulate", "traps, emulated", Kind.TRAP),
    CauseLook("trap-reflect", "traps, passed on", Kind.REFLECT),
    CauseLook("hidden-fault", "hidden page faults", Kind.TRAP),
    CauseLook("trace", "traced table writes", Kind.TRAP),
    CauseLook("silent", "silent", Kind.SILENT),
    CauseLook("exit", "exits and entries", Kind.EXIT),
    CauseLook("vmm-work", "VMM at exits", Kind.EXIT),
    CauseLook("vmread", "VMREADs at exits", Kind.EXIT),
    CauseLook("vmwrite", "VMWRITEs at exits", Kind.EXIT),
    CauseLook("vm-entry", "VM entries", Kind.EXIT),
    CauseLook("vm-exit", "VM exits", Kind.EXIT),
    CauseLook("nested-walk", "nested page walks", Kind.EXIT),
    CauseLook("walk-reference", "page walks", Kind.GUEST),
    CauseLook("hypercall", "hypercalls", Kind.HYPERCALL),
    CauseLook("hypercall-entry", "calls in multicalls", Kind.HYPERCALL),
    CauseLook("mmu-request", "page-table requests", Kind.HYPERCALL),
    CauseLook("translate-instruction", "translating", Kind.TRANSLATE),
    CauseLook("translated-in-cache", "replaced in cache", Kind.TRANSLATE),
    CauseLook("translated-indirect", "jumps looked up", Kind.TRANSLATE),
    CauseLook("translated-cli", "CLI/STI in cache", Kind.TRANSLATE),
    CauseLook("translated-callout", "callouts to VMM", Kind.CALLOUT),
    CauseLook("translated-simulate", "callouts, known", Kind.CALLOUT),
    CauseLook("native-gate", "guest's gates", Kind.GATE),
    CauseLook("native-syscall", "system calls", Kind.GATE),
    CauseLook("native-interrupt", "interrupts", Kind.INTERRUPT),
    CauseLook("native-exception", "guest's faults", Kind.FAULT),
    CauseLook("native-page-fault", "guest's #PF", Kind.FAULT),
    CauseLook("native-port-io", "port access", Kind.IO),
    CauseLook("native-cpuid", "CPUID", Kind.GUEST),
    CauseLook("native-msr", "model-specific regs", Kind.GUEST),
)


def look_of(cause: str) -> CauseLook:
    """Give the look of a cause; one without a row of its own goes by its full title."""
    look = _LOOKS.get(cause)
    return CauseLook(cause, CAUSES[cause].title, Kind.GUEST) if look is None else look
