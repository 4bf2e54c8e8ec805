"""A question as a learner meets it: the words, the options and the one right answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class QuestionKind(StrEnum):
    """What sort of answer is asked for."""

    CHOICE = "choice"
    """One of several statements."""
    ORDER = "order"
    """All options, in order."""
    NUMBER = "number"
    CLASSIFY = "classify"
    """For each instruction its class."""
    WHICH_INSTRUCTION = "which-instruction"
    """One line of a stretch of code."""
    WHAT_HAPPENS_NEXT = "what-happens-next"
    MARK_THE_DIVERGENCE = "mark-the-divergence"
    """The line of a stretch of code at which the guest first sees something else than on bare metal."""


GUESSES = frozenset({QuestionKind.WHAT_HAPPENS_NEXT, QuestionKind.WHICH_INSTRUCTION, QuestionKind.MARK_THE_DIVERGENCE})
"""Kinds whose answer stands beside the guest's code, where that says what will become of each instruction."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Question:
    """One question, made for one seed."""

    id: str
    kind: QuestionKind
    text: str
    options: tuple[str, ...]
    """What the letters a, b, c … stand for; empty where a number is asked for."""
    answer: str
    """A letter, letters in order, or a number."""
    explain: str
    """Why, after the answer is given."""
    items: tuple[str, ...] = ()
    """What is to be classified, one letter for each."""
    percent: int = 0
    """By how much a number may be off."""

    @property
    def how(self) -> str:
        """Say what an answer looks like."""
        last = LETTERS[len(self.options) - 1] if self.options else ""
        match self.kind:
            case QuestionKind.NUMBER:
                off = f" (within {self.percent} %)" if self.percent else ""
                return f"a number{off}"
            case QuestionKind.ORDER:
                return f"all letters from a to {last}, in order"
            case QuestionKind.CLASSIFY:
                return f"{len(self.items)} letters from a to {last}, one for each in turn"
        return f"one letter from a to {last}"

    @property
    def is_guess(self) -> bool:
        """What becomes of an instruction is asked; so nobody must tell it beforehand."""
        return self.kind in GUESSES

    def normalized(self, given: str) -> str | None:
        """Give an answer in the form of `answer`; None if it is no possible answer."""
        if self.kind is QuestionKind.NUMBER:
            digits = re.sub(r"[\s,_.']", "", given) if re.fullmatch(r"\s*\d[\d\s,_.']*", given) else ""
            return str(int(digits)) if digits else None
        letters = re.sub(r"[\s,;.>-]", "", given.lower())
        if not letters or any(letter not in LETTERS[: len(self.options)] for letter in letters):
            return None
        wanted = {QuestionKind.ORDER: len(self.options), QuestionKind.CLASSIFY: len(self.items)}.get(self.kind, 1)
        is_possible = len(letters) == wanted and (self.kind is not QuestionKind.ORDER or len(set(letters)) == wanted)
        return letters if is_possible else None

    def is_right(self, given: str) -> bool:
        """Tell whether an answer is the right one, or near enough to it."""
        answer = self.normalized(given)
        if answer is None:
            return False
        if self.kind is QuestionKind.NUMBER:
            return 100 * abs(int(answer) - int(self.answer)) <= self.percent * int(self.answer)
        return answer == self.answer

    @property
    def solution(self) -> str:
        """The right answer in words."""
        if self.kind is QuestionKind.NUMBER:
            return f"{int(self.answer):,}"
        chosen = [self.options[LETTERS.index(letter)] for letter in self.answer]
        if self.kind is QuestionKind.CLASSIFY:
            return "; ".join(f"{item}: {option}" for item, option in zip(self.items, chosen, strict=True))
        return " → ".join(f"{letter}) {option}" for letter, option in zip(self.answer, chosen, strict=True))
