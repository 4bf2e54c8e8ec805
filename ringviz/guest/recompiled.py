"""What it takes to port a kernel: the source lines that its two builds do not share, side by side.

Most scenarios have one source, in which `%ifdef PARAVIRT` chooses; a folder may also bring a source of its own for the
second build. Either way the answer is a list of changes: these lines became those. Comments and blank lines are no code
and are not counted.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ringviz.guest.scenario import PARAVIRT_DEFINE, Scenario, Variant
from ringviz.guest.source_text import whole_source
from ringviz.guest.symbols import SourceLine

_CONDITION = re.compile(r"\s*%(if\w*|elif\w*|else|endif)\b\s*(\w*)")


@dataclass(frozen=True, slots=True)
class Change:
    """One place of the source: what the kernel says on bare metal, and what it says to a hypervisor."""

    original: tuple[SourceLine, ...]
    recompiled: tuple[SourceLine, ...]


@dataclass(frozen=True, slots=True)
class Recompiled:
    """The whole port."""

    changes: tuple[Change, ...]
    lines: int
    """Lines of code that the recompiled build is made from."""

    @property
    def written(self) -> int:
        """Lines of code that are in the recompiled build only."""
        return sum(len(change.recompiled) for change in self.changes)

    @property
    def dropped(self) -> int:
        """Lines of code that are in the original build only."""
        return sum(len(change.original) for change in self.changes)

    @property
    def percent(self) -> float:
        """Share of the recompiled build's lines that were written for it."""
        return 100 * self.written / self.lines if self.lines else 0.0


def recompiled(scenario: Scenario) -> Recompiled | None:
    """Compare the sources of a scenario's builds; None if there is one build only."""
    if not scenario.guest.paravirt:
        return None
    files = scenario.files(Variant.PARAVIRT)
    source = _lines(scenario.source_path)
    if files.source != scenario.source_path:
        return compare_sources(source, _lines(files.source))
    return read_conditions(source)


def _lines(path: Path) -> list[str]:
    return whole_source(path).decode("utf-8", "replace").split("\n")


def read_conditions(source: list[str]) -> Recompiled:
    """Take a source apart at its `%ifdef PARAVIRT`."""
    changes: dict[int, tuple[list[SourceLine], list[SourceLine]]] = {}
    shared = 0
    for line, side, place in _sides(source):
        if side is None:
            shared += 1
            continue
        original, written = changes.setdefault(place, ([], []))
        (written if side is Variant.PARAVIRT else original).append(line)
    made = tuple(Change(tuple(original), tuple(written)) for original, written in changes.values())
    return Recompiled(made, shared + sum(len(change.recompiled) for change in made))


def _sides(source: list[str]) -> Iterator[tuple[SourceLine, Variant | None, int]]:
    """Yield each line of code with the build it is for, None for both, and the line at which its condition begins."""
    conditions: list[tuple[Variant | None, int]] = []
    for number, text in enumerate(source, start=1):
        match = _CONDITION.match(text)
        if match is not None:
            word, name = match[1], match[2]
            if word == "endif":
                conditions = conditions[:-1]
            elif word == "else" and conditions:
                side, place = conditions[-1]
                conditions[-1] = (_other(side), place)
            elif word.startswith("if"):
                is_ours = name == PARAVIRT_DEFINE and word in ("ifdef", "ifndef")
                chosen = Variant.PARAVIRT if word == "ifdef" else Variant.ORIGINAL
                conditions.append((chosen if is_ours else None, number))
            continue
        if text.split(";")[0].strip():
            side, place = next((one for one in reversed(conditions) if one[0] is not None), (None, 0))
            yield SourceLine(number, text), side, place


def _other(side: Variant | None) -> Variant | None:
    if side is None:
        return None
    return Variant.ORIGINAL if side is Variant.PARAVIRT else Variant.PARAVIRT


def compare_sources(original: list[str], written: list[str]) -> Recompiled:
    """Compare two sources line by line."""
    ours, theirs = _code(original), _code(written)
    texts = [[line.text.split(";")[0].strip() for line in lines] for lines in (ours, theirs)]
    matcher = difflib.SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    changes = tuple(
        Change(tuple(ours[a:b]), tuple(theirs[c:d])) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"
    )
    return Recompiled(changes, len(theirs))


def _code(source: list[str]) -> list[SourceLine]:
    return [SourceLine(number, text) for number, text in enumerate(source, start=1) if text.split(";")[0].strip()]
