"""A run as the data of its page: columns of small numbers into one table of texts, so that thousands of steps fit."""

from __future__ import annotations

from typing import Any

from ringviz.engine.events import Kind
from ringviz.engine.film import Frame, film
from ringviz.engine.session import Session
from ringviz.engine.view import Card, RegisterRow
from ringviz.facts.costs import CAUSES, cost_of


class Texts:
    """Every text once; a text is named by its number. Number 0 is the empty text."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {"": 0}

    def number(self, text: str) -> int:
        """Give the number of a text."""
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self) -> list[str]:
        """Give them in order."""
        return list(self._numbers)


class PageData:
    """Takes frames in, one after the other."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._texts = Texts()
        self._columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self._cards: dict[tuple[Any, ...], int] = {}
        self._code: dict[int, tuple[int, ...]] = {}
        self._shown: list[tuple[int, ...]] = []
        self._first_registers: list[tuple[int, ...]] = []
        self._totals = dict.fromkeys(_DIFFERENCES, 0)

    def take(self, most: int) -> None:
        """Play the session and take its frames in."""
        for frame in film(self._session, most):
            self._add(frame)

    def data(self) -> dict[str, Any]:
        """Give all as one object."""
        session = self._session
        count = session.event_count()
        # A number of 64 bits is more than a browser's numbers hold: an address is the place of its row in the code.
        order = sorted(self._code)
        ranks = {address: rank for rank, address in enumerate(order)}
        causes: dict[str, int] = {}
        events = []
        for event in session.events[:count]:
            charged = [causes.setdefault(cause, len(causes)) for cause in event.cost_cause.split("+") if cause]
            instruction = f"before {event.instruction}" if event.is_between else event.instruction
            words = (instruction, event.kind.value, event.cause, event.action)
            events.append([event.at, *(self._texts.number(word) for word in words), event.cycles, charged])
        priced = [
            [self._texts.number(CAUSES[cause].title), cost_of(session.cpu, cause).charged_cycles] for cause in causes
        ]
        snapshot = session.snapshot(lambda: True)
        return {
            "schema": 1,
            "more": not session.is_over,
            "seats": [[seat.ring, seat.resident] for seat in snapshot.rings.seats],
            "silent": self._texts.number(Kind.SILENT.value),
            "registers": self._first_registers,
            "film": self._columns | {"address": [ranks[address] for address in self._columns["address"]]},
            "cards": list(self._cards),
            "code": [[f"{address:08X}", *self._code[address]] for address in order],
            "events": events,
            "causes": priced,
            "console": snapshot.console,
            "texts": self._texts.all(),
        }

    def _add(self, frame: Frame) -> None:
        number, columns = self._texts.number, self._columns
        columns["ring"].append(frame.real_ring)
        columns["believed"].append(frame.believed_ring)
        columns["text"].append(number(frame.next_instruction))
        columns["card"].append(self._card(frame.card))
        columns["end"].append(int(frame.is_end))
        columns["changes"].append(self._changes(frame.registers))
        columns["address"].append(frame.next_address)
        values = (frame.events, frame.console, frame.guest_cycles, frame.overhead_cycles)
        for name, value in zip(_DIFFERENCES, values, strict=True):
            columns[name].append(value - self._totals[name])
            self._totals[name] = value
        words = (frame.next_instruction, frame.verdict, frame.label, frame.source)
        self._code[frame.next_address] = tuple(number(word) for word in words)

    def _changes(self, rows: tuple[RegisterRow, ...]) -> list[list[int]]:
        """Give the rows that are not as they were shown last."""
        number = self._texts.number
        now: list[tuple[int, ...]] = [
            (number(row.name), number(row.guest), number(row.real), int(row.differs), number(row.note)) for row in rows
        ]
        if not self._shown:
            self._first_registers = now
            self._shown = now
            return []
        changed = [[i, *new[1:]] for i, (old, new) in enumerate(zip(self._shown, now, strict=True)) if old != new]
        self._shown = now
        return changed

    def _card(self, card: Card) -> int:
        number = self._texts.number
        parts = tuple((number(part.text), number(part.role)) for part in card.parts)
        key = (parts, number(card.why), card.cycles, number(card.price_note))
        return self._cards.setdefault(key, len(self._cards))


_DIFFERENCES = ("events", "console", "guest", "overhead")
"""Columns that grow slowly: each entry is what has been added since the one before."""
_COLUMNS = ("ring", "believed", "address", "text", "card", "end", "changes", *_DIFFERENCES)
