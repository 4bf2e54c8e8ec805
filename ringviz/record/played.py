"""What came of a beat: where its session stands, and whether what was expected is so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringviz.record.replay import Beat, Wanted, shown_value

if TYPE_CHECKING:
    from ringviz.engine.session import Session

Value = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stands: on which machine, at which instruction."""

    technique: str
    mmu: str
    cpu: str
    controls: tuple[str, ...]
    position: int
    is_at_end: bool

    @classmethod
    def of(cls, session: Session) -> Place:
        """Look where a session stands."""
        setup = session.setup
        return cls(
            session.technique.id, setup.mmu, setup.cpu.id, setup.controls, session.position, is_at_end=session.is_over
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one expectation."""

    wanted: Wanted
    found: Value

    @property
    def holds(self) -> bool:
        """It is as expected."""
        return _holds(self.found, self.wanted)

    @property
    def words(self) -> str:
        """What is so, and what was expected."""
        found = shown_value(self.wanted.key, self.found)
        return f"{self.wanted.key}: expected {self.wanted.words}, found {_clipped(found)}"


@dataclass(frozen=True, slots=True)
class Played:
    """One beat that was played."""

    number: int
    """From 1."""
    beat: Beat
    place: Place
    findings: tuple[Finding, ...]
    problem: str = ""
    """Why the session is not where the beat wants it; empty if it is."""

    @property
    def holds(self) -> bool:
        """The beat is what its author expected."""
        return not self.problem and all(finding.holds for finding in self.findings)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is not as it should be, a line each: step, expected, found."""
        lines = [self.problem] if self.problem else []
        lines += [finding.words for finding in self.findings if not finding.holds]
        return tuple(f"step {self.place.position:,}: {line}" for line in lines)


def _holds(found: Value, wanted: Wanted) -> bool:
    value = wanted.value
    if wanted.relation == "has":
        return str(value) in str(found)
    if wanted.relation == "==":
        return isinstance(found, bool) == isinstance(value, bool) and found == value
    if not isinstance(found, (int, float)) or not isinstance(value, (int, float)):
        return False
    match wanted.relation:
        case "!=":
            return found != value
        case "<":
            return found < value
        case "<=":
            return found <= value
        case ">":
            return found > value
        case _:
            return found >= value


_MOST_SHOWN = 300


def _clipped(text: str) -> str:
    """Give a found text on one line of bearable length."""
    line = "".join(character if character.isprintable() else "·" for character in text)
    return line if len(line) <= _MOST_SHOWN else f"{line[: _MOST_SHOWN - 1]}…"
