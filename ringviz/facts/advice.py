"""What would make each cause of cost cheaper: the technique or the CPU feature that takes it away, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.figures import FIGURES
from ringviz.facts.source import Source, by
from ringviz.facts.sources import AA06, AG12, BHARGAVA, XEN03


@dataclass(frozen=True, slots=True)
class Advice:
    """One line for one cause."""

    cause: str
    text: str
    removed_by: tuple[str, ...]
    """Techniques and CPU features, by their ids, under which the cause does not come; empty if none takes it away."""
    source: Source


def _number(figure: str) -> str:
    return f"{FIGURES[figure].value:,}"


_TRAPS = AA06.at("section 3.3")
_WHY = Source.ringviz("it follows from how the techniques work, and names no figure")
_HARDWARE = ("vt-x", "amd-v")
_SECOND_LEVEL = ("ept", "npt")

ADVICE: Mapping[str, Advice] = by(
    "cause",
    Advice(
        "guest-instruction", "The guest's own work: no technique makes it cheaper, only a faster CPU does.", (), _WHY
    ),
    Advice(
        "native-port-io",
        "The device's own time, which bare metal pays as well: fewer and larger transfers help under every technique.",
        (),
        _WHY,
    ),
    Advice(
        "native-exception",
        "The guest's own exception, which bare metal takes too: only the guest can avoid it.",
        (),
        _WHY,
    ),
    Advice(
        "native-page-fault",
        "The guest's own page fault: its kernel can map more pages at once, and take fewer of them.",
        (),
        _WHY,
    ),
    Advice(
        "native-gate",
        f"SYSCALL in place of INT n: no gate to look up ({_number('syscall')} cycles there and back, in place of "
        f"{_number('interrupt-gate')}).",
        (),
        FIGURES["syscall"].source,
    ),
    Advice("native-syscall", "Already the shortest way into the kernel: fewer, larger calls.", (), _WHY),
    Advice(
        "native-interrupt",
        "The device's own interrupt: a slower timer tick, or a device that gathers its work, interrupts less often.",
        (),
        _WHY,
    ),
    Advice("native-cpuid", "The guest can ask once and remember the answer.", (), _WHY),
    Advice(
        "native-msr", "The guest can remember what it has written last, and leave out writes of the same.", (), _WHY
    ),
    Advice(
        "walk-reference",
        "Larger pages, or fewer flushes: a TLB that tags its entries with the guest (VPID) keeps them over an exit.",
        (),
        _WHY,
    ),
    Advice(
        "interpreted-instruction",
        "Let the CPU run the code: binary translation does so from a cache, hardware assistance with the code as it "
        "is. In real mode, a CPU with “unrestricted guest” does.",
        ("binary-translation", "unrestricted-guest"),
        _WHY,
    ),
    Advice(
        "trap-emulate",
        f"Binary translation emulates without a trap (RDTSC: {_number('p4-in-cache-rdtsc')} cycles in place of "
        f"{_number('p4-trap-rdtsc')}); under hardware assistance most such instructions are the CPU's own affair.",
        ("binary-translation", *_HARDWARE),
        _TRAPS,
    ),
    Advice(
        "trap-reflect",
        "Under hardware assistance the CPU delivers system calls and exceptions to the guest's kernel itself; a "
        "recompiled kernel can register a handler that is entered without the VMM.",
        _HARDWARE,
        XEN03.at(""),
    ),
    Advice(
        "hidden-fault",
        "Nested paging: there are no shadow tables that a fault would have to fill. Each TLB miss then walks further.",
        _SECOND_LEVEL,
        BHARGAVA.at("section 1"),
    ),
    Advice(
        "trace",
        "Nested paging leaves the guest's page tables to the guest; a recompiled kernel hands them over in lists.",
        (*_SECOND_LEVEL, "paravirt"),
        XEN03.at(""),
    ),
    Advice(
        "silent",
        "It costs nothing, and that is the trouble: binary translation or hardware assistance give the right answer.",
        ("binary-translation", *_HARDWARE),
        _WHY,
    ),
    Advice(
        "translate-instruction",
        "Paid once for each instruction of the kernel: the longer the guest runs, the smaller its share.",
        _HARDWARE,
        AA06.at("section 3"),
    ),
    Advice(
        "translated-callout",
        f"Emulate within the translation, without the call (RDTSC: {_number('p4-in-cache-rdtsc')} cycles in place of "
        f"{_number('p4-callout-rdtsc')}); or hardware assistance, where the instruction need not exit.",
        _HARDWARE,
        _TRAPS,
    ),
    Advice(
        "translated-simulate",
        "Already without a trap and without the emulator; nested paging leaves the guest's page tables to the guest.",
        _SECOND_LEVEL,
        _WHY,
    ),
    Advice(
        "translated-in-cache",
        "Already without a call to the VMM; hardware assistance runs the instruction itself where it need not exit.",
        _HARDWARE,
        _TRAPS,
    ),
    Advice(
        "translated-cli",
        f"Already cheaper than on bare metal, where CLI takes {_number('p4-cli')} cycles on the Pentium 4.",
        _HARDWARE,
        AA06.at("section 3.2"),
    ),
    Advice(
        "translated-indirect",
        f"Hardware assistance runs CALL and RET as they are ({_number('p4-callret')} cycles on the Pentium 4, "
        f"{_number('p4-callret-translated')} translated).",
        _HARDWARE,
        FIGURES["p4-callret-translated"].source,
    ),
    Advice(
        "hypercall",
        "Ask for more at once: lists of page-table updates, and multicalls; with nested paging most have no purpose.",
        _SECOND_LEVEL,
        XEN03.at(""),
    ),
    Advice(
        "hypercall-entry", "Each call in a bundle still has to be carried out: leave out what need not be.", (), _WHY
    ),
    Advice(
        "mmu-request",
        "Each entry has to be checked, or a guest could map what is not its own; with nested paging none has to be.",
        _SECOND_LEVEL,
        XEN03.at(""),
    ),
    Advice(
        "exit",
        "Fewer exits: nested paging takes away those for page tables, bitmaps those for harmless MSRs and ports. Or a "
        f"later CPU: {_number('prescott-round-trip')} cycles on the Pentium 4, {_number('sandy-bridge-round-trip')} on "
        "Sandy Bridge.",
        (),
        AG12.at("Table 1"),
    ),
    Advice("vm-entry", "It is half of an exit: what makes exits fewer makes entries fewer.", (), _WHY),
    Advice("vm-exit", "What makes exits fewer: nested paging, and bitmaps for harmless MSRs and ports.", (), _WHY),
    Advice(
        "vmm-work",
        "Fewer exits: at each of them the VMM has to find out what happened, and to do it.",
        (),
        _WHY,
    ),
    Advice(
        "vmread",
        f"A VMM that keeps copies reads fewer fields; a later CPU reads them faster ({_number('p4-vmread')} cycles on "
        f"the Pentium 4, {_number('core2-vmread')} on Core 2).",
        ("amd-v",),
        AA06.at("Table 1"),
    ),
    Advice(
        "vmwrite",
        f"A VMM that writes only what has changed writes fewer fields; a later CPU writes them faster "
        f"({_number('p4-vmwrite')} cycles on the Pentium 4, {_number('core2-vmwrite')} on Core 2).",
        ("amd-v",),
        AA06.at("Table 1"),
    ),
    Advice(
        "nested-walk",
        "Large pages: fewer entries in each walk, and fewer TLB misses. Shadow paging walks one table only, and pays "
        "with traced writes and hidden faults.",
        (),
        BHARGAVA.at("abstract"),
    ),
)
