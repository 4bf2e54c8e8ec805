"""Why does this instruction trap, and why does it not? Derived from the table of instructions and the state of the CPU.

A derivation goes from what the instruction is, by who executes it and what the CPU's rule says of it in this ring, to
who takes over. It is about the instruction itself: a page that is not there, a division by zero or a descriptor of the
wrong kind can still stop one that no rule of privilege stops, and code that is not translated yet is translated first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ringviz.facts.instructions import INSTRUCTIONS, SILENT_IDS, Behaviour, PgClass
from ringviz.facts.instructions import Instruction as Row
from ringviz.facts.registers import Cr4, Efer, Eflags, iopl
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.source import Source
from ringviz.facts.sources import POPEK_GOLDBERG, SDM1, SDM3A
from ringviz.facts.techniques import TECHNIQUES
from ringviz.facts.virtual_8086 import IN_VIRTUAL_8086, InVirtual8086
from ringviz.guest.instruction import Instruction
from ringviz.machine.linear import LinearMemory, NotCanonical, PageFault
from ringviz.machine.microcode.ports import PORT_FORMS, may_use_port, port_of
from ringviz.machine.state import CpuState
from ringviz.vmm.technique import Technique

RETURNS = frozenset({"iret", "ret-far", "sysexit", "sysret"})
"""Ways outward: nobody is asked, even if the ring changes."""
ALSO_CHECKED = frozenset(
    {"mov-to-cr", "mov-from-cr", "mov-to-dr", "mov-from-dr", "lmsw", "rdmsr", "wrmsr", "rdpmc", "lldt", "ltr", "mwait",
     "mov-to-sreg", "pop-sreg", "load-far-pointer", "jmp-far", "call-far", "int", "xsetbv", *RETURNS}
)  # fmt: skip
"""Instructions that may also refuse their operand, in every ring and under every technique."""


class Taker(Enum):
    """Who takes over when an instruction is executed; the value is how to say it."""

    NOBODY = "nobody: it is executed, and the guest goes on"
    SILENT = "nobody, though somebody should: it is executed, and tells or does the wrong thing"
    GUEST = "the guest's own kernel, through its own table"
    DEVICE = "a device, or the CPU that waits for one, with nobody in between"
    VMM = "the VMM"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a derivation."""

    question: str
    """What is asked, in two or three words."""
    answer: str
    """What is so here."""
    source: str
    """Where the rule comes from, as shown."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """The whole of it."""

    instruction: str
    form: str | None
    """Id of its row in the table of instructions; None for the innocuous rest."""
    technique_id: str
    steps: tuple[Step, ...]
    takers: frozenset[Taker]
    """Who takes over; several where a descriptor decides that the instruction names."""
    is_also_checked: bool
    """It may refuse its operand besides."""

    @property
    def conclusion(self) -> str:
        """Who takes over, in words."""
        words = [taker.value for taker in Taker if taker in self.takers]
        return " or, as the descriptor it names decides, ".join(words)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the CPU's own rule says in one state."""

    faults: bool
    words: str
    source: Source | None = None


_RINGS = SDM3A.at("Privilege Levels")
_IOPL = SDM1.at("I/O Privilege Level")
_INNOCUOUS = POPEK_GOLDBERG.at("classification of instructions")
_OWN = Source.ringviz("what this technique does, as it is built here")


def derive(technique: Technique) -> Derivation | None:
    """Derive what becomes of the instruction that comes next; None where there is none."""
    instruction = technique.instruction_here()
    if instruction is None:
        return None
    guest = technique.guest_state()
    # What decides is the CPU that executes it: under emulation that is one made of data.
    is_data = RESIDENTS[technique.id].guest_is_data
    executing = guest if is_data else technique.real_state()
    row = None if instruction.form is None else INSTRUCTIONS[instruction.form]
    steps = [_what_it_is(instruction, row), _who_executes(technique, guest, executing)]
    word, why = technique.verdict(instruction, guest.cpl)
    rule = _by_the_ring(instruction, row, executing, technique.guest_memory())
    if row is not None:
        steps.append(Step("What is the rule?", _capital(rule.words), str(rule.source or row.source)))
    takers, words, source = _who_takes_over(technique, instruction, row, rule, word, why, guest)
    if words:
        steps.append(Step("What follows?", _capital(words), str(source)))
    return Derivation(
        instruction.text, instruction.form, technique.id, tuple(steps), takers, instruction.form in ALSO_CHECKED
    )


def _what_it_is(instruction: Instruction, row: Row | None) -> Step:
    name = instruction.mnemonic.upper()
    if row is None:
        return Step(f"What is {name}?", _capital(PgClass.INNOCUOUS.value), str(_INNOCUOUS))
    return Step(f"What is {name}?", f"{row.title}. {_capital(row.pg_class.value)}", str(row.source))


def _who_executes(technique: Technique, guest: CpuState, executing: CpuState) -> Step:
    picture = RESIDENTS[technique.id]
    if picture.guest_is_data:
        words = (
            f"an emulator, a program in ring {picture.always_in}: the guest's CPU is data, and its CPL is {guest.cpl}"
        )
    elif picture.guest_mode:
        words = f"The CPU, at CPL {executing.cpl} of {picture.guest_mode}"
    elif guest.cpl == executing.cpl:
        words = f"The CPU, at CPL {executing.cpl}"
    else:
        words = f"The CPU, at CPL {executing.cpl}, though the guest believes that it is at CPL {guest.cpl}"
    return Step("Who executes it?", words, str(picture.source))


# ---- what the CPU says -----------------------------------------------------------------------------------------------


def _by_the_ring(instruction: Instruction, row: Row | None, state: CpuState, memory: LinearMemory) -> _Rule:
    """Apply the instruction's rule to the state of the CPU that executes it."""
    if row is None:
        return _Rule(False, "")
    if state.is_protected and state.eflags & Eflags.VM:
        return _in_virtual_8086(row, state)
    cpl, level = state.cpl, iopl(state.eflags)
    match row.behaviour[cpl]:
        case Behaviour.RUNS:
            return _Rule(False, f"CPL {cpl}: allowed")
        case Behaviour.FAULTS_GP:
            return _Rule(True, f"CPL {cpl}, and only CPL 0 may → #GP(0)")
        case Behaviour.FAULTS_GP_IF_IOPL:
            faults = cpl > level
            return _Rule(faults, f"CPL {cpl} {'>' if faults else '≤'} IOPL {level} → {_gp(faults)}", _IOPL)
        case Behaviour.FAULTS_GP_IF_PORT:
            return _port(instruction, state, memory)
        case Behaviour.FAULTS_GP_IF_TSD:
            faults = bool(state.cr4 & Cr4.TSD)
            return _Rule(faults, f"CPL {cpl}, CR4.TSD {int(faults)} → {_gp(faults)}")
        case Behaviour.FAULTS_GP_IF_NO_PCE:
            faults = not state.cr4 & Cr4.PCE
            return _Rule(faults, f"CPL {cpl}, CR4.PCE {int(not faults)} → {_gp(faults)}")
        case Behaviour.FAULTS_UD:
            return _Rule(True, "no ring may → #UD")
        case Behaviour.FAULTS_UD_IF_OFF:
            faults = not _is_on(row.id, state)
            return _Rule(faults, "its extension is off → #UD" if faults else f"its extension is on, CPL {cpl}: allowed")
        case Behaviour.FAULTS_GP_OR_UD:
            return _Rule(True, f"CPL {cpl}, and only CPL 0 may, if at all → #GP(0) or #UD")
        case Behaviour.REVEALS:
            return _Rule(False, f"no rule asks for the CPL: at CPL {cpl} it shows what the real machine holds")
        case Behaviour.SILENT_DIFFERENT:
            return _Rule(False, f"at CPL {cpl} it runs without a fault, and does or says something else than at CPL 0")
        case Behaviour.CHECKED:
            return _Rule(False, f"CPL {cpl} is compared with the RPL and DPL of what it names")
        case Behaviour.ENTERS_HANDLER | Behaviour.ENTERS_FROM_ANY_RING if row.id == "into" and not _overflows(state):
            return _Rule(False, "OF is 0: it does nothing")
        case Behaviour.ENTERS_HANDLER:
            return _Rule(False, f"it goes through a gate of the IDT; the gate's DPL must be at least CPL {cpl}")
        case Behaviour.ENTERS_FROM_ANY_RING:
            return _Rule(False, f"it enters the place that ring 0 has set, from CPL {cpl} as from any other")


def _gp(faults: bool) -> str:
    return "#GP(0)" if faults else "allowed"


def _overflows(state: CpuState) -> bool:
    return bool(state.eflags & Eflags.OF)


def _is_on(form: str, state: CpuState) -> bool:
    """Tell whether the extension that an instruction belongs to is there and switched on, as far as the state says."""
    match form:
        case "syscall" | "sysret":
            return bool(state.efer & Efer.SCE)
        case "swapgs":
            return bool(state.efer & Efer.LMA)
        case "xsetbv":
            return bool(state.cr4 & Cr4.OSXSAVE)
        case _:
            return False  # VT-x, AMD-V and SMAP are off wherever no VMM that uses them has the CPU for itself


def _port(instruction: Instruction, state: CpuState, memory: LinearMemory) -> _Rule:
    port, size, _ = port_of(state, instruction)
    cpl, level = state.cpl, iopl(state.eflags)
    if not state.is_protected or cpl <= level:
        return _Rule(False, f"CPL {cpl} ≤ IOPL {level}: every port is allowed", _IOPL)
    try:
        faults = not may_use_port(state, memory, port, size)
    except (PageFault, NotCanonical):
        faults = True
    bitmap = "the TSS's I/O bitmap does not allow" if faults else "but the TSS's I/O bitmap allows"
    return _Rule(faults, f"CPL {cpl} > IOPL {level}, {bitmap} port {port:X}h → {_gp(faults)}", _IOPL)


def _in_virtual_8086(row: Row, state: CpuState) -> _Rule:
    known = IN_VIRTUAL_8086.get(row.id)
    level = iopl(state.eflags)
    if known is None:
        faults = row.pg_class is PgClass.PRIVILEGED
        what = InVirtual8086.TRAPS_BY_PRIVILEGE if faults else InVirtual8086.SAME
        return _Rule(faults, what.value, None)
    if known.what is InVirtual8086.TRAPS_BY_IOPL:
        faults = level < 3
        return _Rule(
            faults, f"virtual-8086 mode, IOPL {level} {'<' if faults else '='} 3 → {_gp(faults)}", known.source
        )
    faults = known.what not in (InVirtual8086.REVEALS, InVirtual8086.SAME, InVirtual8086.ENTERS_VMM)
    return _Rule(faults, known.what.value, known.source)


# ---- what the technique makes of it ----------------------------------------------------------------------------------

_VMM_WORDS = frozenset({"traps", "exits", "callout", "calls"})
_HALTS = frozenset({"hlt", "mwait"})


def _who_takes_over(
    technique: Technique, instruction: Instruction, row: Row | None, rule: _Rule, word: str, why: str, guest: CpuState
) -> tuple[frozenset[Taker], str, Source]:
    """Say who takes over, and why, under a technique."""
    facts = TECHNIQUES[technique.id]
    picture = RESIDENTS[technique.id]
    if facts.vmm_ring is None or picture.guest_is_data:
        return _without_vmm(row, rule)
    if facts.vmm_ring == -1:
        return _with_hardware(row, rule, word, why, technique.id)
    if technique.id == "binary-translation" and guest.cpl == 0:
        return _translated(row, rule, word, why)
    return _compressed(technique, row, rule, word, why)


_Answer = tuple[frozenset[Taker], str, Source]


def _one(taker: Taker, words: str, source: Source = _OWN) -> _Answer:
    return frozenset({taker}), words, source


def _without_vmm(row: Row | None, rule: _Rule) -> _Answer:
    """Nobody sits between the guest and its CPU."""
    if row is None:
        return _one(Taker.NOBODY, "")
    if rule.faults:
        return _one(Taker.GUEST, "the exception goes to the guest's own handler: there is no VMM", _RINGS)
    if row.id in PORT_FORMS or row.id in _HALTS:
        return _one(Taker.DEVICE, "the port or the halted CPU is the guest's own")
    if _enters(row, rule):
        return _one(Taker.GUEST, "the gate is the guest's own: its kernel takes over", _RINGS)
    return _one(Taker.NOBODY, "the machine it tells of and changes is the guest's own")


def _enters(row: Row, rule: _Rule) -> bool:
    """Tell whether it goes through a gate: into another part of the system, at a place that the system has set."""
    return row.pg_class is PgClass.GATE and not rule.faults and not rule.words.startswith("OF is 0")


def _with_hardware(row: Row | None, rule: _Rule, word: str, why: str, technique: str) -> _Answer:
    """The guest has all rings of a mode of its own; what leaves it, the VMM has asked for."""
    mode = RESIDENTS[technique].guest_mode
    exit_, none = ("#VMEXIT", "no intercept") if technique == "amd-v" else ("VM exit", "no control")
    if word in _VMM_WORDS:
        return _one(Taker.VMM, f"{why} → {exit_}")
    if word == "emulated":
        return _one(Taker.VMM, why)
    if word == "silent":
        return _one(Taker.SILENT, why)
    if row is None:
        return _one(Taker.NOBODY, f"{none} asks for an exit: it runs in {mode}")
    if rule.faults:
        return _one(Taker.GUEST, f"the exception stays in {mode}: the guest's own handler gets it")
    if row.id in PORT_FORMS or row.id in _HALTS:
        return _one(Taker.DEVICE, f"{none} asks for an exit: the guest reaches the machine itself")
    if _enters(row, rule):
        return _one(Taker.GUEST, f"{none} asks for an exit: the gate leads to the guest's kernel, within {mode}")
    return _one(Taker.NOBODY, f"{none} asks for an exit: it runs in {mode} at the CPU's own speed")


def _translated(row: Row | None, rule: _Rule, word: str, why: str) -> _Answer:
    """The guest's kernel never runs as it is."""
    if word in ("callout", "traps") or (row is not None and _enters(row, rule)):
        return _one(Taker.VMM, f"the translator puts a call of the VMM in its place: {why}")
    if word == "translated":
        return _one(Taker.NOBODY, f"other code stands in the code cache in its place: {why}")
    if rule.faults:
        return _one(Taker.VMM, "its translation is itself, and the fault goes to the VMM in ring 0")
    return _one(Taker.NOBODY, "its translation is itself")


def _compressed(technique: Technique, row: Row | None, rule: _Rule, word: str, why: str) -> _Answer:
    """The guest's kernel was pushed out of ring 0, and the VMM has the tables."""
    if row is None:
        return _one(Taker.NOBODY, "")
    if word == "emulated":
        return _one(Taker.VMM, why)
    if word == "gate" and technique.id == "paravirt":
        if row.id in RETURNS:
            return _one(Taker.NOBODY, why)
        return _one(Taker.GUEST, why)
    if rule.faults:
        return _one(Taker.VMM, "the real IDT is the VMM's: the fault takes the CPU to ring 0, and the VMM there")
    if row.id == "into" and not _enters(row, rule):
        return _one(Taker.NOBODY, "")
    is_checked = row.behaviour[technique.real_state().cpl] is Behaviour.CHECKED
    if technique.id == "trap-emulate" and (row.id == "ret-far" or (is_checked and word == "silent")):
        return frozenset({Taker.SILENT, Taker.NOBODY, Taker.VMM}), row.leaks, row.source
    if word in _VMM_WORDS or _enters(row, rule):
        return _one(Taker.VMM, why or "the real IDT is the VMM's")
    if word == "silent":
        return _one(Taker.SILENT, row.leaks, row.source)
    if technique.id == "binary-translation" and row.id in SILENT_IDS:
        return _one(Taker.VMM, why)
    return _one(Taker.NOBODY, why or "no rule stops it, and none has to")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
