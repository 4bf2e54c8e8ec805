"""What a quiz file may ask: one row for each key of each kind of question, and the check that reads the rows.

A question says where its answer comes from, a figure, a run or a table of facts, and not what it is. Only `choice` has
its right option written down; its `check` lists what must be so for that option to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ringviz.errors import LessonError
from ringviz.facts.instructions import INSTRUCTIONS
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.lessons.question import QuestionKind
from ringviz.vmm.events import Kind

EVENTS = ("trap", "reflect", "silent", "exit", "callout", "hypercall", "gate", "fault", "interrupt", "io")
"""Kinds of event that a learner can be asked to find."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as the file has it, checked."""

    id: str
    kind: QuestionKind
    values: Mapping[str, object]

    def text(self, key: str) -> str:
        """Give a text; "" if the file has none."""
        return str(self.values.get(key, ""))

    def number(self, key: str) -> int:
        """Give a number; 0 if the file has none."""
        value = self.values.get(key, 0)
        return value if isinstance(value, int) else 0

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a list of texts."""
        value = self.values.get(key, ())
        return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """Give a list of pairs of texts."""
        value = self.values.get(key, ())
        return tuple((str(one), str(other)) for one, other in value) if isinstance(value, (list, tuple)) else ()


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    expected: str
    is_needed: bool = True


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_texts(value: object, least: int = 1) -> bool:
    return isinstance(value, list) and len(value) >= least and all(_is_text(item) for item in value)


def _is_pairs(value: object, least: int = 1) -> bool:
    return (
        isinstance(value, list) and len(value) >= least and all(_is_texts(pair, 2) and len(pair) == 2 for pair in value)
    )


def _are_instructions(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(item in INSTRUCTIONS for item in value)


_ORDERS = ("least", "most")
_FITS: Mapping[str, Callable[[object], bool]] = {
    "one text": _is_text,
    "a list of texts": _is_texts,
    "a list of at least two pairs of texts": lambda value: _is_pairs(value, 2),
    "a list of pairs of texts": _is_pairs,
    "a number from 0 to 50": lambda value: isinstance(value, int) and 0 <= value <= 50,
    "a number from 1 to 9": lambda value: isinstance(value, int) and 1 <= value <= 9,
    "a number from 1 on": lambda value: isinstance(value, int) and value >= 1,
    "the id of a technique": lambda value: value in TECHNIQUES,
    f"one of {', '.join(EVENTS)}": lambda value: value in EVENTS,
    f"one of {', '.join(_ORDERS)}": lambda value: value in _ORDERS,
    "a list of ids of instructions": _are_instructions,
}
_TECHNIQUE = _Key("technique", "the id of a technique")
_TEXT, _OWN_TEXT = _Key("text", "one text"), _Key("text", "one text", False)
_EXPLAIN = _Key("explain", "one text", False)
_MMU = _Key("mmu", "one text", False)
_NTH = _Key("nth", "a number from 1 on", False)
KEYS: Mapping[QuestionKind, Sequence[_Key]] = {
    QuestionKind.CHOICE: (
        _TEXT,
        _Key("right", "one text"),
        _Key("wrong", "a list of texts"),
        _Key("check", "a list of pairs of texts", False),
        _Key("explain", "one text"),
    ),
    QuestionKind.ORDER: (
        _TEXT,
        _Key("items", "a list of at least two pairs of texts"),
        _Key("first", f"one of {', '.join(_ORDERS)}"),
        _EXPLAIN,
    ),
    QuestionKind.NUMBER: (_TEXT, _Key("figure", "one text"), _Key("percent", "a number from 0 to 50", False), _EXPLAIN),
    QuestionKind.CLASSIFY: (
        _OWN_TEXT,
        _Key("instructions", "a list of ids of instructions", False),
        _Key("count", "a number from 1 to 9", False),
        _EXPLAIN,
    ),
    QuestionKind.WHICH_INSTRUCTION: (
        _OWN_TEXT, _TECHNIQUE, _MMU, _Key("event", f"one of {', '.join(EVENTS)}"), _NTH, _EXPLAIN,
    ),
    QuestionKind.WHAT_HAPPENS_NEXT: (_OWN_TEXT, _TECHNIQUE, _MMU, _Key("at", "one text", False), _EXPLAIN),
    QuestionKind.MARK_THE_DIVERGENCE: (_OWN_TEXT, _TECHNIQUE, _MMU, _NTH, _EXPLAIN),
}  # fmt: skip
"""The keys of each kind besides `id` and `kind`."""


def read_question(table: object, where: str, position: int) -> Asked:
    """Check one question.

    Args:
        table: what the TOML parser returned.
        where: file, as error messages are to name it.
        position: which question of the file it is, from 1.

    Raises:
        LessonError: one line about the first thing that is wrong.
    """
    name = f"{where}: question {position}"
    if not isinstance(table, dict):
        raise LessonError(f"{name}: expected a table: [[question]]")
    identity = table.get("id")
    if not _is_text(identity) or not str(identity).replace("-", "").isalnum():
        raise LessonError(f"{name}: id: expected a name of letters, digits and hyphens")
    name = f"{where}: question {identity}"
    kinds = [kind.value for kind in QuestionKind]
    if table.get("kind") not in kinds:
        given = str(table.get("kind", ""))
        raise LessonError(f"{name}: kind: expected one of {', '.join(kinds)}{did_you_mean(given, kinds)}")
    kind = QuestionKind(table["kind"])
    keys = {key.name: key for key in KEYS[kind]}
    for key, value in table.items():
        if key in ("id", "kind"):
            continue
        if key not in keys:
            known = ", ".join(keys)
            raise LessonError(f"{name}: {clipped(key)}: unknown key, expected {known}{did_you_mean(key, keys)}")
        if not _FITS[keys[key].expected](value):
            raise LessonError(f"{name}: {key}: expected {keys[key].expected}")
    missing = next((key for key in KEYS[kind] if key.is_needed and key.name not in table), None)
    if missing is not None:
        raise LessonError(f"{name}: {missing.name}: missing, expected {missing.expected}")
    return Asked(str(identity), kind, dict(table))


assert all(Kind(name) for name in EVENTS)
