"""A world without an emulator: sessions whose every snapshot is a pure function of (technique, position)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast, overload

from ringviz.engine.contest import Contest
from ringviz.engine.derivation import Derivation, Step, Taker
from ringviz.engine.generations import Generations
from ringviz.engine.group import GroupView, build_group
from ringviz.engine.hit_count import FragmentHits, Hits
from ringviz.engine.looks import NOTHING, Looks
from ringviz.engine.micro_steps import MicroStep
from ringviz.engine.scorecard import Score, Scorecard, Verdict
from ringviz.engine.vendors import VendorsView, build_vendors
from ringviz.engine.view import (
    Card,
    CardPart,
    CodeRow,
    Crossing,
    EventRow,
    Kind,
    LedgerRow,
    LedgerView,
    Mark,
    RegisterRow,
    RingsView,
    Seat,
    Side,
    Snapshot,
    TimelineView,
)
from ringviz.engine.view import Verdict as CodeVerdict
from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.properties import PROPERTIES
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.techniques import TECHNIQUES as FACTS
from ringviz.record.replay import Replay
from ringviz.ui.laboratory import (
    Cancelled,
    ComparedRun,
    ComparedRuns,
    Group,
    LessonChoice,
    MachineChoice,
    Pair,
    Progress,
    Reading,
    ScenarioChoice,
    Sitting,
    TechniqueChoice,
)
from tests.ui.fake_contest import fake_contest
from tests.ui.fake_lesson import LESSONS, FakeReading
from tests.ui.fake_machine import fake_machine
from tests.ui.fake_memory import fake_memory
from tests.ui.fake_sides import code_cache, hypercalls, vmcb, vmcs
from tests.ui.fake_years import fake_years

TECHNIQUES = tuple(TechniqueChoice(row.id, row.title, row.vmm_seat) for row in FACTS.values())
SCENARIOS = (
    ScenarioChoice("popf-hole", "POPF: the instruction that says nothing", "beginner", "Reads [eax] and [/b] back."),
    ScenarioChoice("rings-tour", "A tour of the rings", "beginner", "A ring-3 program tries what it may not."),
    *(
        ScenarioChoice(f"scenario-{n}", f"A longer title for scenario {n}", "intermediate", f"Summary {n}.")
        for n in range(3, 13)
    ),
)
KINDS = {
    "native": Kind.GATE,
    "emulation": Kind.GATE,
    "classic": Kind.TRAP,
    "trap-emulate": Kind.TRAP,
    "binary-translation": Kind.CALLOUT,
    "paravirt": Kind.HYPERCALL,
    "vt-x": Kind.EXIT,
    "amd-v": Kind.EXIT,
}
"""What most events are under each technique."""
CPUS = {
    "vt-x": ("nehalem", "Intel Core i7 (Nehalem)", 2008),
    "amd-v": ("barcelona", "AMD Opteron (Barcelona)", 2007),
}
EVERY = 4
"""Every fourth instruction is an event."""
NESTED_SEATS = (Seat(-1, "VMM"), Seat(0, "guest OS"), Seat(1, ""), Seat(2, ""), Seat(3, "applications"))
COMPRESSED_SEATS = (Seat(0, "VMM"), Seat(1, "guest OS"), Seat(2, ""), Seat(3, "applications"))
NATIVE_SEATS = (Seat(0, "OS"), Seat(1, ""), Seat(2, ""), Seat(3, "applications"))

# address, mnemonic, operands, verdict under trap-emulate, source, note
PROGRAM = (
    (0x100040, "push", "eax", CodeVerdict.RUNS, "    push eax                ; keep the caller's value", ""),
    (
        0x100041,
        "mov",
        "eax, cr0",
        CodeVerdict.TRAPS,
        "    mov eax, cr0            ; is protection on?",
        "MOV from CR0 is privileged: it faults outside ring 0.",
    ),
    (
        0x100044,
        "pushfd",
        "",
        CodeVerdict.SILENT,
        "    pushfd",
        "PUSHF tells the real flags, not the guest's, and does not trap.",
    ),
    (0x100045, "pop", "edx", CodeVerdict.RUNS, "    pop edx", ""),
    (
        0x100046,
        "cli",
        "",
        CodeVerdict.TRAPS,
        "    cli                     ; no interrupts from here",
        "CLI faults when CPL is above IOPL.",
    ),
    (0x100047, "mov", "eax, [ebx]", CodeVerdict.RUNS, "    mov eax, [ebx]          ; an operand in brackets", ""),
    (
        0x10004D,
        "popfd",
        "",
        CodeVerdict.SILENT,
        "    popfd                   ; interrupts back on?",
        "POPF outside ring 0 drops the change of IF without a word.",
    ),
    (0x10004E, "sidt", "[esp - 6]", CodeVerdict.SILENT, "    sidt [esp - 6]", "SIDT tells the VMM's table."),
    (0x100053, "mov", "bx, cs", CodeVerdict.SILENT, "    mov bx, cs", "The low bits of CS are the real CPL."),
    (0x100056, "int", "0x80", CodeVerdict.GATE, "    int 0x80", "Goes through the guest's gate."),
    (0x100058, "jmp", "0x100041", CodeVerdict.RUNS, "    jmp again", ""),
)
PARTS = (
    MicroStep("fault", "CPU", 1, "cli at 00100046, in ring 1: CPL 1 > IOPL 0 → #GP(0)"),
    MicroStep("delivery", "CPU", 0, "entry 0Dh of the real IDT [FFC04000]"),
    MicroStep("return", "VMM", 1, "the guest goes on in ring 1 at 00100047"),
)
MARKUP_INSTRUCTION = "mov eax, [ebx]"


class LazyEvents(Sequence[EventRow]):
    """Rows made when asked for; counts how many were."""

    def __init__(self, count: int, kind: Kind) -> None:
        self.total = count
        self.kind = kind
        self.made = 0

    def __len__(self) -> int:
        return self.total

    @overload
    def __getitem__(self, index: int) -> EventRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[EventRow]: ...
    def __getitem__(self, index: int | slice) -> EventRow | Sequence[EventRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.total))]
        index = index + self.total if index < 0 else index
        if not 0 <= index < self.total:
            raise IndexError(index)
        self.made += 1
        kind = (self.kind, Kind.SILENT, Kind.REFLECT)[index % 3]
        return EventRow(
            number=index + 1,
            at=(index + 1) * EVERY - 1,
            address=0x100047,
            instruction=MARKUP_INSTRUCTION,
            cause="#GP(0)",
            action="virtual IF [1] → 0",
            cycles=None if kind is Kind.SILENT else 2030,
            kind=kind,
        )


@dataclass
class FakeSession:
    """Counts calls; every fourth instruction is an event; ends at `end`."""

    technique: str = "trap-emulate"
    end: int = 100
    position: int = 0
    explored: int = 0
    end_known: bool = False
    calls: list[str] = field(default_factory=list)
    endless: bool = False
    """`run` only comes back when it is cancelled."""
    build: str = ""

    @property
    def is_over(self) -> bool:
        return not self.endless and self.position >= self.end

    def step(self) -> None:
        self.calls.append("step")
        self._to(self.position + 1)

    def back(self) -> None:
        self.calls.append("back")
        self._to(self.position - 1)

    def run(self, cancelled: Cancelled = lambda: False) -> None:
        self.calls.append("run")
        while not self.is_over and not cancelled():
            self._to(self.position + 1)

    def next_event(self, cancelled: Cancelled = lambda: False) -> bool:
        self.calls.append("next_event")
        target = (self.position // EVERY + 1) * EVERY
        self._to(target)
        return self.position == target

    def previous_event(self, cancelled: Cancelled = lambda: False) -> bool:
        self.calls.append("previous_event")
        if self.position <= EVERY:
            return False
        self._to((self.position - 1) // EVERY * EVERY)
        return True

    def seek(self, position: int, cancelled: Cancelled = lambda: False) -> None:
        self.calls.append(f"seek {position}")
        self._to(position)

    def snapshot(self, cancelled: Cancelled = bool, looks: Looks = NOTHING) -> Snapshot:
        end = self.end if self.end_known else None
        shown = make_snapshot(self.technique, self.position, max(self.explored, 1), end)
        shown = replace(shown, build=self.build)
        if self.position and not self.position % EVERY:
            shown = replace(shown, micro=PARTS, has_crossed=True)
        return shown if looks.memory is None else replace(shown, memory=fake_memory(looks.memory))

    def why(self) -> Derivation | None:
        steps = (
            Step("What is CLI?", "Keep [interrupts] out", "SDM"),
            Step("What is the rule?", "CPL 1 > IOPL 0 → #GP(0)", "SDM 1"),
        )
        return Derivation("cli", "cli", self.technique, steps, frozenset({Taker.VMM}), False)

    def _to(self, position: int) -> None:
        self.position = max(0, position if self.endless else min(position, self.end))
        self.explored = max(self.explored, self.position)
        self.end_known = self.end_known or self.is_over


class FakePair:
    """Two fake sessions that move as one."""

    def __init__(self, session: FakeSession, position: int) -> None:
        self._session = session
        self._session.seek(position)
        self._session.calls.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def view(self) -> VendorsView:
        intel, amd = (
            make_snapshot(technique, self._session.position, end=self._session.end) for technique in ("vt-x", "amd-v")
        )
        return build_vendors(intel, amd)


class FakeGroup:
    """Fake sessions that move as one; at step 50 something goes wrong under trap-and-emulate."""

    NO_DIVERGENCE = "From here to the end, none of these tells the guest anything else than bare metal would."

    def __init__(self, session: FakeSession, techniques: Sequence[str], *, is_edit: bool = False) -> None:
        self._is_edit = is_edit
        self._session = FakeSession("native", session.end, session.position)
        self._techniques = techniques

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def next_divergence(self, progress: Progress, cancelled: Cancelled = bool) -> bool:
        progress("comparing trap-emulate with bare metal", 10, None)
        if self._session.position >= 50:
            return False
        self._session.seek(50)
        return True

    def view(self, cancelled: Cancelled = bool) -> GroupView:
        at = self._session.position
        shots = [
            (make_snapshot(t, at // 2 if t == "paravirt" else at, end=100), t == "paravirt") for t in self._techniques
        ]
        words = "popfd gave [IF 0], bare metal gives IF 1" if at == 50 else ""
        return replace(build_group(shots, at, self._session.end, words), is_edit=self._is_edit)


class FakeLaboratory:
    """Opens fake sessions and remembers the last one."""

    def __init__(self, session: FakeSession | None = None) -> None:
        self.session = session or FakeSession()
        self.refuses_pairs = False
        self.opened: list[tuple[str, str, str | None, str | None]] = []

    def scenarios(self) -> Sequence[ScenarioChoice]:
        return SCENARIOS

    def techniques(self) -> Sequence[TechniqueChoice]:
        return TECHNIQUES

    def open(self, scenario: str, technique: str, mmu: str | None, cpu: str | None) -> Sitting:
        self.opened.append((scenario, technique, mmu, cpu))
        if scenario not in [s.id for s in SCENARIOS]:
            raise InputError(f'no scenario "{scenario}"; choose one of popf-hole, rings-tour')
        if scenario == "rings-tour" and technique == "amd-v":
            raise UnsupportedError("rings-tour does not go with amd-v: [a reason]")
        self.session.technique = technique
        return self.session

    def swapped(
        self,
        sitting: Sitting,
        technique: str,
        mmu: str | None,
        cpu: str | None,
        controls: Sequence[str] | None,
        cancelled: Cancelled,
    ) -> Sitting:
        words = [
            f"swap {technique}",
            *([f"on {cpu}"] if cpu else []),
            *([f"with {mmu}"] if mmu else []),
            *(controls or ()),
        ]
        self.session.calls.append(" ".join(words))
        self.session.technique = technique
        return self.session

    def machine(self, technique: str, mmu: str | None, cpu: str | None, controls: Sequence[str]) -> MachineChoice:
        row = FACTS[technique]
        own = CPUS.get(technique, ("p4-672",))[0]
        return fake_machine(technique, mmu or row.mmus[0], cpu or own, controls)

    def check_place(self, sitting: Sitting, text: str) -> str:
        if text == "nowhere":
            raise InputError('"nowhere" is no step')
        return ""

    def run_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        """Every text is a step here."""
        ahead = sorted(at for at in map(_step, texts) if at > self.session.position)
        self.session.seek(ahead[0] if ahead else self.session.end)
        return str(ahead[0]) if ahead else None

    def run_back_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        behind = sorted(at for at in map(_step, texts) if at < self.session.position)
        if behind:
            self.session.seek(behind[-1])
        return str(behind[-1]) if behind else None

    def hits(self, sitting: Sitting, cancelled: Cancelled) -> Hits | None:
        rows = code_cache(self.session.position).rows
        return Hits(self.session.position, (FragmentHits(int(rows[0].place, 16), 0x100040, 57),))

    def look(self, sitting: Sitting, text: str) -> tuple[str, int]:
        if text in ("esp", "access"):
            return text, 0
        try:
            return "", int(text, 16)
        except ValueError:
            raise InputError(f"{text} is no address") from None

    def pair(self, sitting: Sitting, cancelled: Cancelled) -> Pair:
        if self.refuses_pairs:
            raise UnsupportedError("this guest does not go with vt-x: [a reason]")
        self.session.calls.append("pair")
        return cast(Pair, FakePair(FakeSession("vt-x", self.session.end), self.session.position))

    def group(self, sitting: Sitting, techniques: Sequence[str], cancelled: Cancelled) -> Group:
        self.session.calls.append(f"group {' '.join(techniques)}")
        return cast(Group, FakeGroup(self.session, techniques))

    def lecture(self, subject: str) -> Replay:
        raise InputError(f"{subject} has no replay to hold a lecture with")

    def visit(self, name: str, scenario: object, controls: Sequence[str]) -> None:
        self.session.calls.append(f"visit {name}")

    def leave(self) -> None:
        self.session.calls.append("leave")

    def lessons(self) -> Sequence[LessonChoice]:
        return LESSONS

    def read(self, lesson: str, seed: int, cpu: str | None) -> Reading:
        if lesson not in [row.id for row in LESSONS]:
            raise InputError(f'lesson "{lesson}" unknown; choose one of holes, [others]')
        self.session.calls.append(f"read {lesson}")
        return FakeReading(lesson, self.session)

    def run_to_place(self, sitting: Sitting, text: str, cancelled: Cancelled) -> bool:
        self.session.calls.append(f"to {text}")
        if text == "nowhere":
            raise InputError('no symbol "nowhere" in this guest')
        self.session.seek(40)
        return text != "never"

    def contest(self, scenario: str, cpu: str, progress: Progress) -> Contest:
        self.session.calls.append(f"contest {scenario} on {cpu}")
        progress("running binary-translation", 10, None)
        return fake_contest(scenario, "nehalem")

    def generations(self, scenario: str, progress: Progress) -> Generations:
        self.session.calls.append(f"years of {scenario}")
        progress("running native", 1_000, 5_000)
        return fake_years(scenario)

    def compare(self, scenario: str, cpu: str | None, progress: Progress) -> ComparedRuns:
        self.session.calls.append(f"compare {scenario}" + (f" on {cpu}" if cpu else ""))
        progress("native", 10, None)
        return ComparedRuns(
            scenario,
            cpu or "p4-672",
            (
                _compared("native", 1.0, (True, True, None), 1.0),
                _compared("emulation", 267.3, (True, False, True), 0.0),
                _compared("classic", 9.2, (True, True, True), 0.87),
                ComparedRun(
                    "trap-emulate",
                    "halted",
                    100,
                    9000,
                    9.0,
                    _card_of("trap-emulate", (False, True, True), 0.88, "first differs at step 8: pushfd"),
                    "trap-emulate 10× = 20 300 cycles",
                    "p4-672",
                    tuple(f"step {8 * n}: pushfd gave [{n}]; bare metal gives 2" for n in range(1, 16)),
                ),
                _compared("binary-translation", 4.5, (True, True, True), 0.97),
                _compared("paravirt", 2.1, (True, True, True), 0.98),
                _compared("vt-x", 1.3, (True, True, True), 0.99),
            ),
            (("amd-v", "the P4 has no SVM"),),
        )


def _compared(technique: str, slowdown: float, holds: tuple[bool | None, ...], share: float) -> ComparedRun:
    card = _card_of(technique, holds, share, "some figure")
    return ComparedRun(technique, "halted", 100, int(1000 * slowdown), slowdown, card, "no events", "p4-672")


def _card_of(technique: str, holds: tuple[bool | None, ...], share: float, words: str) -> Scorecard:
    verdicts = {True: Verdict.HOLDS, False: Verdict.FAILS, None: Verdict.UNTRIED}
    scores = tuple(
        Score(row, verdicts[answer], "figure", f"{words}.")
        for row, answer in zip(PROPERTIES.values(), holds, strict=True)
    )
    return Scorecard(technique, scores, share, 120.0)


def make_snapshot(technique: str, position: int, explored: int = 0, end: int | None = 3310) -> Snapshot:
    """A moment that exercises every part of every panel."""
    is_compressed = technique == "trap-emulate"
    facts = FACTS[technique]
    kind = KINDS[technique]
    cpu, cpu_title, year = CPUS.get(technique, ("p4-672", "Pentium 4 672", 2005))
    at = (position + 4) % len(PROGRAM)
    return Snapshot(
        scenario_id="popf-hole",
        scenario_title=SCENARIOS[0].title,
        technique_id=technique,
        technique_title=facts.title,
        mmu=facts.mmus[0],
        cpu_id=cpu,
        cpu_title=cpu_title,
        cpu_year=year,
        position=position,
        outcome="halted" if end is not None and position >= end else "",
        console="" if position == 0 else f"flags before [cli]\nstep {position} says [/b] hello\n",
        rings=_rings(technique, position),
        code=tuple(
            CodeRow(
                address,
                b"\x90",
                mnemonic,
                operands,
                "again" if address == 0x100041 else "",
                84 + index,
                source,
                _verdict(technique, verdict),
                index == at,
                note if is_compressed else "Read as data." if technique == "emulation" else "",
            )
            for index, (address, mnemonic, operands, verdict, source, note) in enumerate(PROGRAM)
        ),
        source_name="sched.asm",
        registers=_registers(is_compressed, position),
        card=_card(is_compressed, kind),
        events=LazyEvents(position // EVERY, kind),
        ledger=_ledger(is_compressed, kind, position),
        timeline=TimelineView(
            position,
            max(explored, position),
            end,
            tuple(
                Mark(at * EVERY, (kind, Kind.SILENT, Kind.REFLECT)[at % 3])
                for at in range(1, min(position // EVERY, 60))
            ),
        ),
        side=_side(technique, PROGRAM[at][0]),
    )


def _side(technique: str, current: int) -> Side | None:
    match technique:
        case "binary-translation":
            return code_cache(current)
        case "paravirt":
            return hypercalls()
        case "vt-x":
            return vmcs()
        case "amd-v":
            return vmcb()
        case _:
            return None


def _verdict(technique: str, compressed: CodeVerdict) -> CodeVerdict:
    """Give the program's verdicts under another technique than trap-and-emulate, for which they were written."""
    match technique:
        case "trap-emulate":
            return compressed
        case "classic":
            return CodeVerdict.TRAPS if compressed is CodeVerdict.SILENT else compressed
        case "emulation":
            return CodeVerdict.EMULATED
        case "binary-translation":
            translated = {CodeVerdict.TRAPS: CodeVerdict.TRANSLATED, CodeVerdict.SILENT: CodeVerdict.CALLOUT}
            return translated.get(compressed, compressed)
        case "paravirt":
            return CodeVerdict.CALLS if compressed is CodeVerdict.TRAPS else CodeVerdict.RUNS
        case _:
            return CodeVerdict.RUNS


def _rings(technique: str, position: int) -> RingsView:
    picture, kernel = RESIDENTS[technique], FACTS[technique].guest_kernel_ring
    seats = tuple(Seat(ring, picture.rings.get(ring, "")) for ring in sorted({0, 1, 2, 3, *picture.rings}))
    real = 3 if kernel is None else kernel
    vmm = FACTS[technique].vmm_ring
    crossing = Crossing(0, 0, -1, "#VMEXIT") if vmm == -1 else Crossing(3, kernel or 0, vmm, "INT 80h")
    return RingsView(
        seats,
        real,
        1 if technique == "paravirt" else 0,
        picture.guest_mode,
        crossing if position and not picture.guest_is_data else None,
        picture.vmm_mode,
        picture.guest_is_data,
        picture.lesson,
    )


def _registers(is_compressed: bool, position: int) -> tuple[RegisterRow, ...]:
    if not is_compressed:
        names = ("ring", "IF", "CS", "CR0", "CR3", "IDTR", "EFLAGS", "EAX", "EDX")
        return tuple(RegisterRow(n, "0000_0000", None, "0000_0000", None, False, "") for n in names)
    return (
        RegisterRow("ring", "0", None, "1", None, True, "the guest kernel was moved out of ring 0"),
        RegisterRow("IF", "0", "1", "1", None, True, "the real flag stays on: interrupts go to the VMM"),
        RegisterRow("CS", "0008", None, "0061", None, True, "the VMM's own segment"),
        RegisterRow("CR0", "8000_0011", None, "8001_0013", None, True, "the VMM keeps write protection on"),
        RegisterRow("CR3", "0020_0000", None, "0f40_0000", None, True, "the shadow tables"),
        RegisterRow("IDTR", "0010_0200", None, "0ff0_0000", None, True, "the VMM's table"),
        RegisterRow("EFLAGS", "0000_0002", "0000_0202", "0000_0202", None, True, ""),
        RegisterRow("EAX", "8000_0011", "0000_0000", "8000_0011", "0000_0000", False, ""),
        RegisterRow("EBX", f"{position:04x}_0000", None, f"{position:04x}_0000", None, False, ""),
        RegisterRow("EDX", "0000_0202", None, "0000_0202", None, False, ""),
        RegisterRow("ESP", "0009_fff0", None, "0009_fff0", None, False, ""),
        RegisterRow("EBP", "0000_0000", None, "0000_0000", None, False, ""),
    )


def _card(is_compressed: bool, kind: Kind) -> Card:
    if not is_compressed:
        parts = (CardPart("CLI", "instruction"), CardPart("CPL 0, IOPL 0", "rule"), CardPart("IF 1 → 0", "resume"))
        return Card(parts, "in ring 0 the guest owns its own interrupt flag.", None, "", Kind.GUEST)
    chain = (
        CardPart("CLI", "instruction"),
        CardPart("CPL 1 > IOPL 0", "rule"),
        CardPart("#GP(0)", "fault"),
        CardPart("VMM, ring 0", "vmm"),
        CardPart("decode [cli]", "vmm"),
        CardPart("virtual IF 1→0", "vmm"),
        CardPart("resume at 00100047", "resume"),
    )
    why = "with ring compression the guest kernel runs in ring 1, so a privileged instruction faults."
    return Card(chain, why, 2030, "modelled: Adams & Agesen 2006, §3.3", kind)


def _ledger(is_compressed: bool, kind: Kind, position: int) -> LedgerView:
    if not is_compressed:
        rows: tuple[LedgerRow, ...] = (LedgerRow("guest", "guest", position, position, Kind.GUEST),)
        return LedgerView(rows, position, 0, position, (0,) * 8)
    rows = (
        LedgerRow("gp", "trap and emulate", 9, 18270, kind),
        LedgerRow("reflect", "exceptions reflected", 3, 9120, Kind.REFLECT),
        LedgerRow("shadow", "shadow page faults", 2, 7854, kind),
        LedgerRow("guest", "guest", position, position, Kind.GUEST),
    )
    curve = tuple(i * i * 9 for i in range(64))
    return LedgerView(rows, position, 35244, max(1, position), curve)


def _step(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f'"{text}" is no step') from None
