"""What can be explained: everything in a panel, and everything that has a name here, each as one paragraph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widget import Widget

from ringviz.engine.view import CodeRow, EventRow, RegisterRow, SideRow, Snapshot, Verdict
from ringviz.facts.exceptions import EXCEPTIONS
from ringviz.facts.explanations import EXPLANATIONS, LESSONS_OF_TERMS
from ringviz.facts.glossary import GLOSSARY
from ringviz.facts.instructions import INSTRUCTIONS, Instruction
from ringviz.ui.bill_subjects import bill_subject, bill_subjects
from ringviz.ui.bookmarks import Bookmark
from ringviz.ui.glyphs import KIND_LOOKS, MARK_LOOKS, VERDICT_LOOKS, grouped
from ringviz.ui.memory_subjects import memory_subject, walk_subject
from ringviz.ui.ring_subjects import ring_subject, ring_subjects
from ringviz.ui.subject import Subject, known
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.memory import MemoryPanel
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.panel import Panel, printable
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.side import SidePanel
from ringviz.ui.widgets.tail import TailView
from ringviz.ui.widgets.timeline import TimelinePanel
from ringviz.ui.widgets.twice import TwicePanel
from ringviz.ui.widgets.walk import WalkPanel

if TYPE_CHECKING:
    from ringviz.engine.derivation import Derivation


def subjects_of(focused: Widget | None, snapshot: Snapshot | None) -> tuple[Subject, ...]:
    """Give the focused panel itself, and what it shows at this moment."""
    if not isinstance(focused, (Panel, TailView)):
        return ()
    subjects = [Subject(focused.TITLE, "", focused.EXPLANATION)]
    if snapshot is None:
        return tuple(subjects)
    pointed = _pointed(focused, snapshot)
    if pointed is not None:
        subjects.insert(0, pointed)
    titles = {subject.title for subject in subjects}
    return (*subjects, *(subject for subject in _in_panel(focused, snapshot) if subject.title not in titles))


def _pointed(panel: Widget, snapshot: Snapshot) -> Subject | None:
    """Give what the user points at in a panel, the highlighted line of a list, or where the timeline stands."""
    match panel:
        case EventsPanel() if panel.pointed_at(snapshot) is not None:
            return _event(snapshot.events[panel.cursor])
        case TimelinePanel():
            return _place(snapshot, panel.bookmarks)
        case SidePanel() if snapshot.side is not None and panel.looked_at is not None:
            rows = [row for row in snapshot.side.rows if (row.place, row.name) == panel.looked_at]
            return _side(rows[0]) if rows else None
        case CodePanel():
            return next((_instruction_at(row) for row in snapshot.code if row.address == panel.pointed), None)
        case TwicePanel():
            return next((_register(row) for row in snapshot.registers if row.name == panel.pointed), None)
        case MemoryPanel() if snapshot.memory is not None:
            return memory_subject(snapshot.memory, panel.pointed)
        case WalkPanel() if snapshot.walk is not None:
            return walk_subject(snapshot.walk, panel.pointed)
        case RingsPanel():
            return ring_subject(snapshot, panel.pointed)
        case OverheadPanel():
            return bill_subject(snapshot.ledger, panel.pointed)
        case _:
            return None


def _in_panel(panel: Widget, snapshot: Snapshot) -> Iterator[Subject]:
    match panel:
        case TwicePanel():
            yield from _registers(snapshot)
        case RingsPanel():
            yield from ring_subjects(snapshot.rings)
        case OverheadPanel():
            yield from bill_subjects(snapshot.ledger)
        case SidePanel() if snapshot.side is not None:
            yield from (_side(row) for row in snapshot.side.rows if row.note)
        case EventsPanel() | TimelinePanel() | MemoryPanel() | WalkPanel():
            return
        case _:
            yield from _code(snapshot)


def _registers(snapshot: Snapshot) -> Iterator[Subject]:
    yield from map(_register, snapshot.registers)


def _register(row: RegisterRow) -> Subject:
    about = EXPLANATIONS.get(f"register {row.name}") or EXPLANATIONS.get(f"register E{row.name[1:]}")
    old = "" if row.guest_old is None else f" (before: {row.guest_old})"
    now = f"The guest thinks {row.guest}{old}; really it is {row.real}."
    if row.differs and row.note:
        now += f" {row.note[:1].upper()}{row.note[1:]}."
    return Subject(row.name, now, "") if about is None else known(about.id, now)


def _side(row: SideRow) -> Subject:
    look = MARK_LOOKS[row.mark]
    where = f"{row.place} = {row.value}" if row.value else row.place
    was = f" (was {row.old})" if row.old else ""
    mark = f" {look.meaning}" if look.word else ""
    return Subject(row.name, f"{where}{was}.{mark}", row.note)


def _place(snapshot: Snapshot, bookmarks: Iterable[Bookmark]) -> Subject:
    """What there is to say of the step at which the timeline stands."""
    at = snapshot.position
    end = "where the run ends is not known yet" if snapshot.timeline.end is None else (
        f"the run ends at {grouped(snapshot.timeline.end)}"
    )  # fmt: skip
    now = f"{grouped(len(snapshot.events))} events up to here; {end}."
    mark = next((mark for mark in bookmarks if mark.position == at), None)
    if mark is not None:
        now += f" Your bookmark: {mark.note or '(no note)'}."
    last = snapshot.events[-1] if snapshot.events else None
    if last is None:
        return Subject(f"Step {grouped(at)}", now, "No event has happened up to here.")
    told = _event(last)
    return Subject(f"Step {grouped(at)}", now, f"The last event: {told.title}. {told.now}\n{told.text}")


def _instruction_at(row: CodeRow) -> Subject:
    """One instruction in its place: its row in the table if it has one, else what becomes of it."""
    form = form_of(row)
    look = VERDICT_LOOKS[row.verdict]
    here = "Next" if row.is_current else f"At {row.address:X}h"
    line = "" if row.source_line is None else f" Source: {' '.join(row.source_text.split())}"
    now = f"{here}: {row.mnemonic} {row.operands}".rstrip() + f" ({row.raw.hex(' ')}). {look.meaning} {row.note}{line}"
    if form is not None:
        return _instruction(INSTRUCTIONS[form], now)
    title = f"{row.mnemonic} {row.operands}".rstrip()
    if row.verdict not in (Verdict.RUNS, Verdict.EMULATED, Verdict.TRANSLATED):
        return Subject(title, now, "")
    about = GLOSSARY["innocuous"]
    return Subject(title, now, about.text, str(about.source), LESSONS_OF_TERMS.get(about.id, ""), (about.term,))


def _event(row: EventRow) -> Subject:
    look = KIND_LOOKS[row.kind]
    cycles = "" if row.cycles is None else f" It is charged {grouped(row.cycles)} cycles (modelled)."
    now = f"Step {grouped(row.at)}, {row.instruction}: {row.cause} → {row.action}.{cycles}"
    return Subject(f"{look.glyph} {look.word} {row.number}", now, look.meaning)


def _code(snapshot: Snapshot) -> Iterator[Subject]:
    """The instructions in view that have a row in the table: the next one first."""
    rows = sorted(snapshot.code, key=lambda row: not row.is_current)
    seen: set[str] = set()
    for row in rows:
        form = form_of(row)
        if form is not None and form not in seen:
            seen.add(form)
            look = VERDICT_LOOKS[row.verdict]
            word = "runs" if row.verdict is Verdict.RUNS else look.word
            here = "Next" if row.is_current else f"At {row.address:X}h"
            now = f"{here}: {row.mnemonic} {row.operands} → {word}. {row.note}"
            yield _instruction(INSTRUCTIONS[form], now)


def form_of(row: CodeRow) -> str | None:
    """Give the id of an instruction's row in the table; None if it has none."""
    from ringviz.guest.decode import decode  # and with it Capstone, which the home screen does without

    for bits in (32, 16, 64):
        found = decode(row.raw, row.address, bits)
        if found is not None and found.mnemonic == row.mnemonic and found.operands == row.operands:
            return found.form
    return None


def _instruction(row: Instruction, now: str = "") -> Subject:
    names = " / ".join(dict.fromkeys(row.mnemonics))
    kind = row.pg_class.value
    outside = row.behaviour[1].value
    text = f"{row.title}. {kind[:1].upper()}{kind[1:]}. In ring 1: {outside} {row.leaks}"
    see = ("Silent instruction",) if row.on_trap_emulate == "silent" else ("Privileged instruction",)
    return Subject(f"{names} ({row.id})" if len(row.id) > 6 else names, now, text, str(row.source), "x86-hole", see)


def all_subjects() -> tuple[Subject, ...]:
    """Give everything that has a name here: words, registers, rings, instructions, exceptions, kinds of events."""
    terms = (
        Subject(
            row.term, "", row.text, str(row.source), LESSONS_OF_TERMS.get(row.id, ""),
            tuple(GLOSSARY[other].term for other in row.see),
        )
        for row in sorted(GLOSSARY.values(), key=lambda row: row.term.lower())
    )  # fmt: skip
    exceptions = (
        Subject(f"{row.mnemonic} {row.title}", "", f"Vector {vector}: {row.kind.value}.", str(row.source))
        for vector, row in EXCEPTIONS.items()
    )
    kinds = (Subject(f"{look.glyph} {look.word}", "", look.meaning) for look in KIND_LOOKS.values())
    explained = (known(id_) for id_ in EXPLANATIONS)
    instructions = (_instruction(row) for row in INSTRUCTIONS.values())
    return (*terms, *explained, *instructions, *exceptions, *kinds)


def why_subject(derivation: Derivation | None) -> Subject:
    """Give a derivation as a subject: a step a line."""
    if derivation is None:
        return Subject("Why does it trap?", "", "No instruction comes next here.")
    lines = [f"{number}. {step.question} {step.answer}" for number, step in enumerate(derivation.steps, 1)]
    lines.append(f"→ Who takes over? {derivation.conclusion[:1].upper()}{derivation.conclusion[1:]}.")
    if derivation.is_also_checked:
        lines.append("Besides, it may refuse its operand, in every ring: that is no matter of privilege.")
    sources = "; ".join(dict.fromkeys(step.source for step in derivation.steps))
    return Subject(f"Why? {derivation.instruction}", "", "\n".join(lines), sources)


def paragraph(subject: Subject) -> Content:
    """Give a subject as text: what it is now, what it is, where that is from, where there is more."""
    parts: list[tuple[str, str]] = [(f"{printable(subject.title)}\n\n", "bold $primary")]
    if subject.now:
        parts.append((f"{printable(subject.now)}\n\n", "bold $changed"))
    for line in subject.text.split("\n"):
        is_end = line.startswith("→")
        parts.append((f"{printable(line)}\n", "bold $kind-trap" if is_end else "$foreground"))
    if subject.source:
        parts.append((f"\n[{printable(subject.source)}]\n", "italic $dim"))
    if subject.see:
        parts.append((f"\nSee also: {', '.join(subject.see)}\n", "$secondary"))
    if subject.lesson:
        parts.append((f"\nLesson: {subject.lesson} (ringviz learn {subject.lesson})\n", "$secondary"))
    return Content.assemble(*parts)


def found(subjects: Iterable[Subject], words: str) -> list[Subject]:
    """Give the subjects that match what was typed: first those whose title begins so, then those whose title has it."""
    typed = " ".join(words.lower().split())

    def rank(subject: Subject) -> int:
        title = subject.title.lower()
        if title.startswith(typed):
            return 0
        return 1 if typed in title else 2 if all(word in title for word in typed.split()) else 3

    return sorted((subject for subject in subjects if subject.matches(words)), key=rank)
