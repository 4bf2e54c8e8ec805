"""What guest code costs that the CPU runs by itself: a weight for each class of instruction, the same on every CPU.

A stated model and no simulation of a pipeline: an instruction costs its weight whenever it runs. Caches hit, branches
are predicted, and nothing waits for anything: instruction-cache effects, cache misses, mispredictions and the length of
dependency chains are not modelled. TLB misses are counted elsewhere (`engine.walk_count`).

Native operation costs that the 2006 paper measured on the Pentium 4 672 are inputs of this table: CALL and RET, CLI, a
store to a page-table entry, MOV to CR8. An instruction that an event prices whole (a port access, a way through a gate
and back) weighs nothing here, so that nothing is paid twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ringviz.facts.cpu_profile import CpuProfile
from ringviz.facts.figures import FIGURES
from ringviz.facts.source import Source, Status, by

HUNDREDTHS = 100
"""Weights are whole hundredths of a cycle, so that sums of them are exact."""
GUEST_WORK = (
    "Instructions that the CPU runs by itself cost the weight of their class, the same on every CPU of `ringviz cpus`; "
    "`ringviz cpus ID` has the weights and their sources."
)
"""What is to be said wherever cycles of a run are shown."""


def in_cycles(hundredths: int) -> str:
    """Give a weight in cycles, as people write it: `1`, `5.5`."""
    whole, part = divmod(hundredths, HUNDREDTHS)
    return f"{whole:,}" + (f".{part:02}".rstrip("0") if part else "")


@dataclass(frozen=True, slots=True)
class InstructionClass:
    """Instructions that are charged alike."""

    id: str
    title: str
    """What belongs to it."""
    weight: int
    """Hundredths of a cycle for one retired instruction."""
    source: Source

    @property
    def cycles(self) -> str:
        """The weight in cycles, as people write it."""
        return in_cycles(self.weight)


def _published(id_: str, title: str, figure: str, note: str = "", *, parts: int = 1) -> InstructionClass:
    """Give a class that a figure prices; `parts` instructions share it evenly."""
    row = FIGURES[figure]
    source = row.source
    if parts > 1:
        source = replace(source, status=Status.COMPUTED, note=f"{row.source.note}: {row.title}, {row.value}; {note}")
    elif note:
        source = replace(source, note=f"{row.source.note}; {note}" if row.source.note else note)
    return InstructionClass(id_, title, row.value * HUNDREDTHS // parts, source)


def _borrowed(id_: str, title: str, figure: str, note: str, *, parts: int = 1) -> InstructionClass:
    """Give a class for which the figure of something alike stands in."""
    row = FIGURES[figure]
    source = replace(row.source, status=Status.BORROWED, note=f"{row.source.note}; {note}")
    return InstructionClass(id_, title, row.value * HUNDREDTHS // parts, source)


def _chosen(id_: str, title: str, weight: int, why: str) -> InstructionClass:
    return InstructionClass(id_, title, weight, Source.ringviz(why))


_NO_FIGURE = "no figure found"
_MICROCODED = f"{_NO_FIGURE}; microcoded like CLI, whose figure stands in"
_WAITS = f"{_NO_FIGURE}; the CPU finishes everything before it, as before a write of CR8, whose figure stands in"

CLASSES: Mapping[str, InstructionClass] = by(
    "id",
    _chosen(
        "simple",
        "Arithmetic, logic and moves between registers; everything without a class of its own",
        1 * HUNDREDTHS,
        "one cycle an instruction: these CPUs often do more than one in a cycle and often wait; it gives overheads a "
        "scale",
    ),
    _chosen(
        "load",
        "One read of memory: MOV from memory, POP, arithmetic on a memory operand",
        1 * HUNDREDTHS,
        "one cycle: the cache hits, and other work goes on while it answers",
    ),
    _published("store", "One write of memory: MOV to memory, PUSH, PUSHF", "p4-store", "to a page-table entry"),
    _chosen(
        "load-and-store",
        "A read and a write of memory: INC [mem], MOVS, PUSH [mem]",
        2 * HUNDREDTHS,
        "the sum of a load and a store",
    ),
    _chosen(
        "many-stores",
        "PUSHA, POPA, ENTER",
        8 * HUNDREDTHS,
        "eight registers, at the price of a store each",
    ),
    _chosen(
        "repeated-string",
        "A string instruction under REP",
        100 * HUNDREDTHS,
        "a hundred cycles whatever the count is: rounds are not counted, and this stands for about a hundred of them, "
        "so the copy of a whole page is priced too low, alike under every technique",
    ),
    _chosen(
        "branch",
        "Near jumps, conditional ones too, LOOP",
        1 * HUNDREDTHS,
        "one cycle: the branch is predicted; mispredictions are not modelled",
    ),
    _published("call", "Near CALL", "p4-callret", "half of the pair", parts=2),
    _published("return", "Near RET", "p4-callret", "half of the pair", parts=2),
    _published("multiply", "MUL and IMUL", "nocona-multiply"),
    _published("divide", "DIV and IDIV", "nocona-divide"),
    _published("floating-point", "x87, MMX and SSE", "nocona-fadd", "that of FADD; a division takes longer"),
    _borrowed("locked", "LOCK, and XCHG with memory", "p4-cli", f"{_NO_FIGURE}; CLI's stands in"),
    _published("interrupt-flag", "CLI, STI and POPF", "p4-cli", "measured for CLI; STI and POPF are charged the same"),
    _chosen(
        "segment-load",
        "A load of a segment register: MOV, POP, LDS and the like",
        10 * HUNDREDTHS,
        f"{_NO_FIGURE}; reads a descriptor of eight bytes and checks it: ten cycles, a round number",
    ),
    _borrowed("far-transfer", "Far CALL, JMP and RET", "p4-cli", _MICROCODED),
    _borrowed(
        "system-read",
        "MOV from CRn and DRn, SGDT, SIDT, SLDT, STR, SMSW, LAR, LSL, VERR, VERW, RDTSC",
        "p4-cli",
        _MICROCODED,
    ),
    _published(
        "control-register", "MOV to CRn and DRn", "p4-cr8wr", "measured for CR8; the others are charged the same"
    ),
    _borrowed(
        "serializing",
        "CPUID, RDMSR, WRMSR, INVLPG, CLTS, LMSW, LGDT, LIDT, LLDT, LTR, WBINVD and all else for a system only",
        "p4-cr8wr",
        _WAITS,
    ),
    _borrowed(
        "fast-call",
        "SYSENTER and SYSEXIT",
        "p4-syscall",
        f"{_NO_FIGURE}; each is half of SYSCALL and SYSRET, which do the same",
        parts=2,
    ),
    _chosen(
        "by-event",
        "IN, OUT, INS, OUTS, INT n, IRET, SYSCALL, SYSRET, HLT, VMRUN, VMMCALL",
        0,
        "an event prices it whole: native-port-io, or the way through a gate and back (native-gate, native-exception, "
        "native-page-fault, native-interrupt, native-syscall), in which the return is included, or an exit with the "
        "entry back",
    ),
)


def weight_of(class_id: str, changed: Mapping[str, int] | None = None) -> int:
    """Give the weight of a class in hundredths of a cycle.

    Args:
        class_id: key of `CLASSES`.
        changed: weights of a profile that has its own for some classes.

    Raises:
        KeyError: there is no such class.
    """
    own = CLASSES[class_id].weight
    return own if changed is None else changed.get(class_id, own)


def weight_source(class_id: str, cpu: CpuProfile) -> Source:
    """Say where a CPU's weight of a class comes from."""
    return Source.yours(cpu.id) if class_id in cpu.weights else CLASSES[class_id].source
