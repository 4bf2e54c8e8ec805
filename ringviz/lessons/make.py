"""Makes questions: the answer is computed from a run or a table of facts, the options are shuffled by a seed.

The same file and the same seed give the same question on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ringviz.engine.events import Event, sentence
from ringviz.engine.session import Session
from ringviz.errors import LessonError, RingvizError
from ringviz.facts.instructions import INSTRUCTIONS, Instruction, PgClass
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import Scenario
from ringviz.lessons.asked import Asked
from ringviz.lessons.figures import Figures, shown
from ringviz.lessons.place import NthEvent, explore, find_event, go
from ringviz.lessons.question import LETTERS, Question, QuestionKind
from ringviz.vmm.events import Event as RawEvent
from ringviz.vmm.events import Kind

_CLASSES = {
    PgClass.INNOCUOUS: "innocuous: the same in every ring",
    PgClass.PRIVILEGED: "privileged: traps outside ring 0",
    PgClass.SENSITIVE_SILENT: "sensitive, yet it does not trap",
}
"""What instructions are sorted into; gates and the like are not asked about."""
_INNOCUOUS = ("MOV EAX, EBX", "ADD EAX, [EBX]", "JMP near", "CALL near", "PUSH EAX", "LEA EDI, [ESI+4]", "CMP AL, 0")
"""Instructions that the table of facts leaves out, being innocuous."""
_CLASSIFIED = 5
_STRETCH = range(3, 7)
"""How many instructions a learner is shown to choose from."""
_MOST_EVENTS = 400
"""How far into a run a seed may reach for an event."""

_NEXT = {
    Kind.TRAP: "it traps, and the VMM carries it out for the guest",
    Kind.REFLECT: "it traps to the VMM, which passes it on to the guest's own handler",
    Kind.SILENT: "it does not trap, and the guest gets something else than on bare metal",
    Kind.EXIT: "the CPU leaves the guest: a VM exit",
    Kind.CALLOUT: "its translation calls the VMM",
    Kind.HYPERCALL: "the guest asks the VMM: a hypercall",
    Kind.GATE: "the guest's own gate or handler is entered, without a VMM",
    Kind.FAULT: "the CPU raises an exception, straight into the guest's own handler",
    Kind.IO: "it reaches the device, without a VMM",
}
_DIRECT = "the CPU runs it, and nobody is told"
_POSSIBLE = {
    "native": (Kind.GATE, Kind.FAULT, Kind.IO),
    "emulation": (Kind.GATE, Kind.FAULT, Kind.IO),
    "trap-emulate": (Kind.TRAP, Kind.REFLECT, Kind.SILENT),
    "classic": (Kind.TRAP, Kind.REFLECT, Kind.SILENT),
    "binary-translation": (Kind.TRAP, Kind.REFLECT, Kind.CALLOUT),
    "paravirt": (Kind.HYPERCALL, Kind.REFLECT, Kind.TRAP),
    "vt-x": (Kind.EXIT, Kind.GATE, Kind.FAULT),
    "amd-v": (Kind.EXIT, Kind.GATE, Kind.FAULT),
}
"""What a learner may think of under a technique, besides that the CPU just runs it."""


@dataclass(slots=True)
class Maker:
    """Makes the questions of one lesson or quiz."""

    scenario: Scenario
    seed: int
    figures: Figures
    where: str
    """The file, for complaints."""

    def make(self, asked: Asked) -> Question:
        """Make one question.

        Raises:
            LessonError: it has no answer, or the one it claims is wrong; one line with file, question and reason.
        """
        rng = random.Random(f"{self.scenario.id} {asked.id} {self.seed}")
        try:
            return _MAKERS[asked.kind](self, asked, rng)
        except LessonError:
            raise
        except RingvizError as error:
            raise LessonError(f"{self.where}: question {asked.id}: {error}") from None

    def fault(self, asked: Asked, text: str) -> LessonError:
        """Give the complaint about a question."""
        return LessonError(f"{self.where}: question {asked.id}: {text}")

    def session(self, asked: Asked) -> Session:
        """Open the run that a question is about."""
        return Session(self.scenario, asked.text("technique"), asked.text("mmu") or None)

    def filled(self, text: str) -> str:
        """Put figures where a text asks for them."""
        return self.figures.fill(text)


def _choice(maker: Maker, asked: Asked, rng: random.Random) -> Question:
    for figure, expected in asked.pairs("check"):
        found = maker.figures.value(figure)
        if str(found) != expected and shown(found) != expected:
            raise maker.fault(asked, f"check: {figure} is {shown(found)}, and not {expected}")
    options = [maker.filled(text) for text in (asked.text("right"), *asked.texts("wrong"))]
    return _shuffled(maker, asked, options, (0,), rng)


def _order(maker: Maker, asked: Asked, rng: random.Random) -> Question:
    pairs = asked.pairs("items")
    values = [maker.figures.value(figure) for _label, figure in pairs]
    if any(isinstance(value, str) for value in values) or len(set(values)) < len(values):
        raise maker.fault(asked, "items: expected numbers, no two of them equal")
    numbers = [float(value) for value in values]
    ranked = sorted(range(len(pairs)), key=lambda i: numbers[i], reverse=asked.text("first") == "most")
    told = "; ".join(f"{pairs[i][0]}: {shown(values[i])}" for i in ranked)
    return _shuffled(maker, asked, [label for label, _figure in pairs], tuple(ranked), rng, told=f"{told}.")


def _number(maker: Maker, asked: Asked, _rng: random.Random) -> Question:
    value = maker.figures.value(asked.text("figure"))
    if not isinstance(value, int):
        raise maker.fault(asked, f"figure: {asked.text('figure')} is no whole number")
    explain = _joined(f"It is {value:,}.", maker.filled(asked.text("explain")))
    text = maker.filled(asked.text("text"))
    return Question(asked.id, asked.kind, text, (), str(value), explain, percent=asked.number("percent"))


def _classify(maker: Maker, asked: Asked, rng: random.Random) -> Question:
    given = [INSTRUCTIONS[id_] for id_ in asked.texts("instructions")]
    rows = given or _picked(rng, asked.number("count") or _CLASSIFIED)
    wrong = next((row for row in rows if isinstance(row, Instruction) and row.pg_class not in _CLASSES), None)
    if wrong is not None:
        raise maker.fault(asked, f"instructions: {wrong.id} is none of the classes asked for")
    classes = list(_CLASSES)
    names, answers, why = [], [], []
    for row in rows:
        name, class_ = (row, PgClass.INNOCUOUS) if isinstance(row, str) else (_named(row), row.pg_class)
        names.append(name)
        answers.append(LETTERS[classes.index(class_)])
        why.append(
            f"{name}: {_CLASSES[class_]}" if isinstance(row, str) else f"{name}: {_CLASSES[class_]} ({row.source})"
        )
    text = maker.filled(asked.text("text")) or "Sort these instructions by Popek and Goldberg's classes, on 32-bit x86."
    explain = _joined("; ".join(why) + ".", maker.filled(asked.text("explain")))
    return Question(
        asked.id, asked.kind, text, tuple(_CLASSES.values()), "".join(answers), explain, tuple(names)
    )  # fmt: skip


def _named(row: Instruction) -> str:
    """Give an instruction's mnemonic, and what is meant where several instructions share it."""
    mnemonic = row.mnemonics[0]
    others = (other for other in INSTRUCTIONS.values() if other is not row)
    shares = any(mnemonic in other.mnemonics for other in others) or mnemonic in ("MOV", "PUSH", "POP")
    return f"{mnemonic} ({row.title[:1].lower()}{row.title[1:]})" if shares else mnemonic


def _picked(rng: random.Random, count: int) -> list[Instruction | str]:
    """Take instructions of all three classes, in no order."""
    privileged, silent = (
        [row for row in INSTRUCTIONS.values() if row.pg_class is class_]
        for class_ in (PgClass.PRIVILEGED, PgClass.SENSITIVE_SILENT)
    )
    pools: list[Sequence[Instruction | str]] = [privileged, silent, _INNOCUOUS]
    rows: list[Instruction | str] = []
    while len(rows) < count:
        row = rng.choice(pools[len(rows) % len(pools)])
        if row not in rows:
            rows.append(row)
    rng.shuffle(rows)
    return rows


def _which_instruction(maker: Maker, asked: Asked, rng: random.Random) -> Question:
    session = maker.session(asked)
    kind = Kind(asked.text("event"))
    events = _events(session, asked, rng, lambda event: event.kind is kind and not event.is_between)
    words = {**_NEXT, Kind.INTERRUPT: "an interrupt comes before it"}[kind]
    text = f"The guest runs these instructions one after the other, {_under(session)}. At which one first: {words}?"
    return _pointed(maker, asked, session, events, text, rng)


def _divergence(maker: Maker, asked: Asked, rng: random.Random) -> Question:
    session = maker.session(asked)
    first = find_event(session, NthEvent(Kind.SILENT, asked.number("nth") or 1, True, is_divergence=True))
    if first is None:
        raise maker.fault(asked, f"{maker.scenario.id} under {session.technique.id} does not diverge")
    text = (
        f"The guest runs these instructions one after the other, {_under(session)}. Mark the one at which it gets "
        "something else than on bare metal."
    )
    return _pointed(maker, asked, session, [first], text, rng)


def _what_next(maker: Maker, asked: Asked, rng: random.Random) -> Question:
    session = maker.session(asked)
    if asked.text("at"):
        go(session, asked.text("at"))
    else:
        events = _events(session, asked, rng, lambda event: event.kind in _NEXT and not event.is_between)
        session.seek(events[0].at)
    at = session.position
    instruction = session.next_instruction
    if instruction is None:
        raise maker.fault(asked, f"at: no instruction comes after step {at}")
    code = instruction.text
    session.step()
    happened = [event for event in session.events.raw if event.at == at and not event.is_between]
    event = happened[0] if happened else None
    told = event is not None and event.kind in _NEXT and (event.kind is not Kind.SILENT or event.is_divergence)
    right = _NEXT[event.kind] if event is not None and told else _DIRECT
    likely = [_DIRECT, *(_NEXT[kind] for kind in _POSSIBLE[session.technique.id])]
    wrong = [option for option in likely if option != right]
    rng.shuffle(wrong)
    own = maker.filled(asked.text("text"))
    text = own or f"The guest is about to run `{code}`, {_under(session)}. What happens next?"
    why = f"`{code}` ran on the CPU, and no event was recorded." if event is None else _told(session, event)
    return _shuffled(maker, asked, [right, *wrong[:3]], (0,), rng, text=text, told=why)


def _events(
    session: Session, asked: Asked, rng: random.Random, is_wanted: Callable[[RawEvent], bool]
) -> list[RawEvent]:
    """Give the events a question may be about: the one named, or all within reach, in an order of the seed's."""
    while session.end is None and len(session.events) < _MOST_EVENTS:
        explore(session)
    events = [event for event in session.events.raw if is_wanted(event)][:_MOST_EVENTS]
    nth = asked.number("nth")
    if nth:
        events = events[nth - 1 : nth]
    else:
        rng.shuffle(events)
    if not events:
        where = f"{session.scenario.id} under {session.technique.id}"
        raise LessonError(f"question {asked.id}: {where} has no such event")
    return events


def _pointed(
    maker: Maker, asked: Asked, session: Session, events: Iterable[RawEvent], text: str, rng: random.Random
) -> Question:
    """Ask for one line of a stretch of code that the guest really ran, the line at which an event happened."""
    wanted = rng.choice(_STRETCH)
    for event in events:
        lines = _stretch(session, event, wanted)
        if len(lines) >= _STRETCH.start:
            break
    else:
        raise maker.fault(asked, "no stretch of code is long enough to choose from")
    options = tuple(f"{address:08X}h  {code}" for address, code in lines)
    letter = LETTERS[[address for address, _code in lines].index(event.address)]
    explain = _joined(_told(session, event), maker.filled(asked.text("explain")))
    return Question(asked.id, asked.kind, maker.filled(asked.text("text")) or text, options, letter, explain)


def _stretch(session: Session, event: RawEvent, wanted: int) -> list[tuple[int, str]]:
    """Give instructions up to and just behind an event, from where no event of its kind comes before it."""
    others = [other.at for other in session.events.raw if other.kind is event.kind and other.at < event.at]
    lowest = others[-1] + 1 if others else 0
    lines: list[tuple[int, str]] = []
    for position in range(max(lowest, event.at - wanted + 1), event.at + 2):
        session.seek(position)
        instruction = session.next_instruction
        if instruction is None:
            continue
        if instruction.address in (known for known, _code in lines):
            if position > event.at:
                break
            lines.clear()  # a loop: begin again, so that every line stands there once
        lines.append((instruction.address, instruction.text))
    return lines


def _told(session: Session, event: RawEvent) -> str:
    number = next(i for i, raw in enumerate(session.events.raw) if raw is event)
    recorded: Event = session.events[number]
    return sentence(recorded)


def _under(session: Session) -> str:
    return "on bare metal" if session.technique.id == "native" else f"under {TECHNIQUES[session.technique.id].title}"


def _shuffled(
    maker: Maker,
    asked: Asked,
    options: Sequence[str],
    right: Sequence[int],
    rng: random.Random,
    *,
    text: str = "",
    told: str = "",
) -> Question:
    """Put options in an order of the seed's; `right` are those that make the answer, in order."""
    if len(set(options)) < len(options):
        raise maker.fault(asked, "two options say the same")
    places = list(range(len(options)))
    rng.shuffle(places)
    answer = "".join(LETTERS[places.index(i)] for i in right)
    explain = _joined(told, maker.filled(asked.text("explain")))
    words = text or maker.filled(asked.text("text"))
    return Question(asked.id, asked.kind, words, tuple(options[i] for i in places), answer, explain)


def _joined(*texts: str) -> str:
    return " ".join(text.strip() for text in texts if text.strip())


_MAKERS: dict[QuestionKind, Callable[[Maker, Asked, random.Random], Question]] = {
    QuestionKind.CHOICE: _choice,
    QuestionKind.ORDER: _order,
    QuestionKind.NUMBER: _number,
    QuestionKind.CLASSIFY: _classify,
    QuestionKind.WHICH_INSTRUCTION: _which_instruction,
    QuestionKind.WHAT_HAPPENS_NEXT: _what_next,
    QuestionKind.MARK_THE_DIVERGENCE: _divergence,
}
