"""Orders that are left for a host at work: whoever runs it has the folder to itself, and looks here now and then.

An order is a file of its own, which takes its name when it is whole. The host at work takes it when its accounting
period is over; if there is none by then, whoever opens the folder next does. Taking is giving it another name, so an
order can be withdrawn until then, and never is both taken and withdrawn. The answer is a file too, and it comes when
what was done is kept: a crash after that does not undo it, and a crash before leaves an order that is not answered yet.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ringviz.engine.automation.rules import Deed
from ringviz.errors import InputError
from ringviz.guest.disks.creating import sync_folder
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.record.machines.definition import Definition
from ringviz.record.machines.kept import definition_of
from ringviz.record.machines.store import read_content

LEFT, TAKEN, ANSWER, SUFFIX = "order-", "taken-", "answer-", ".json"
SETTINGS = ("weight", "cap", "balloon")
LIFE = ("start", "pause", "resume", "reset", "shutdown", "stop", "snapshot", "revert", "clone", "destroy")
TAKEN_FROM_OUTSIDE = (*SETTINGS, *LIFE)
"""What can be ordered so."""
MOST_ANSWERS = 64
"""Ours: answers kept for askers that have not come back; older ones are removed."""
_ID = re.compile(r"\d{20}-\d+")


@dataclass(frozen=True, slots=True)
class LeftOrder:
    """One order."""

    id: str
    """The earlier it was left, the lower."""
    deeds: tuple[Deed, ...]
    """In this order; none if the file is no order."""
    wants_answer: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an order."""

    results: tuple[str, ...]
    """Of each deed."""
    state: str
    """Of the machine afterwards, in a word; empty if it is not there."""
    clock: int
    """Of the host, when it was carried out."""


def leave_order(folder: Path, deeds: Sequence[Deed], now_ns: int, *, wants_answer: bool = False) -> str:
    """Leave an order, and give its id.

    Args:
        folder: where the machines are kept.
        deeds: what is to be done, in this order.
        now_ns: nanoseconds since 1970; of several orders the earlier one is carried out first.
        wants_answer: somebody waits to hear what came of it.

    Raises:
        InputError: the folder cannot be written.
    """
    order = f"{now_ns:020}-{os.getpid()}"
    content = {
        "deeds": [[deed.action, deed.target, deed.value, deed.named] for deed in deeds],
        "answer": wants_answer,
    }
    try:
        _write(folder / f"{LEFT}{order}{SUFFIX}", content)
    except OSError as error:
        raise InputError(f"{folder.name}: cannot be written: {error.strerror}") from None
    return order


def withdraw_order(folder: Path, order: str) -> bool:
    """Take an order back; tell whether it had not been taken yet."""
    try:
        (folder / f"{LEFT}{order}{SUFFIX}").unlink()
    except OSError:
        return False
    return True


def check_order(folder: Path, name: str, deeds: Sequence[Deed]) -> None:
    """Refuse to set values of a machine that the last operation has not left there, or that no machine can have.

    Raises:
        InputError: one line.
    """
    machines = read_content(folder).get("machines", {})
    if name not in machines:
        known = ", ".join(machines) or "none yet"
        raise InputError(f'no machine "{clipped(name)}"; there are {known}{did_you_mean(name, machines)}')
    definition = definition_of(machines[name])
    for deed in deeds:
        definition = with_deed(definition, deed)
    definition.check(name)


def waiting_orders(folder: Path) -> Iterator[LeftOrder]:
    """Give the orders that are left or taken and not answered, the earliest first."""
    paths = [*folder.glob(f"{LEFT}*{SUFFIX}"), *folder.glob(f"{TAKEN}*{SUFFIX}")]
    for path in sorted(paths, key=_id_of):
        yield _read(path)


def take_orders(folder: Path) -> list[LeftOrder]:
    """Take all orders that wait, the earliest first; nobody can withdraw them any more."""
    taken = []
    for path in sorted(folder.glob(f"{LEFT}*{SUFFIX}")):
        target = folder / f"{TAKEN}{_id_of(path)}{SUFFIX}"
        with suppress(OSError):  # withdrawn
            os.rename(path, target)
            taken.append(_read(target))
    return taken


def unanswered_orders(folder: Path) -> list[LeftOrder]:
    """Take all orders, also those that somebody has taken who is gone now; the earliest first."""
    take_orders(folder)
    return list(waiting_orders(folder))


def give_answer(folder: Path, order: str, answer: Answer) -> bool:
    """Say what came of an order that was taken, now that it is kept, and remove it; tell whether that is done."""
    path = folder / f"{TAKEN}{order}{SUFFIX}"
    if not path.exists():  # answered already
        return True
    try:
        if _read(path).wants_answer:
            content = {"results": answer.results, "state": answer.state, "clock": answer.clock}
            _write(folder / f"{ANSWER}{order}{SUFFIX}", content)
        path.unlink()
    except OSError:
        return False
    for old in sorted(folder.glob(f"{ANSWER}*{SUFFIX}"))[:-MOST_ANSWERS]:
        with suppress(OSError):
            old.unlink()
    return True


def find_answer(folder: Path, order: str) -> Answer | None:
    """Give the answer to an order, and remove it; None as long as there is none."""
    path = folder / f"{ANSWER}{order}{SUFFIX}"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name}: cannot be read: {type(error).__name__}") from None
    return Answer(tuple(map(str, found["results"])), str(found["state"]), int(found["clock"]))


def with_deed(definition: Definition, deed: Deed) -> Definition:
    """Give the definition of a machine after its weight, its cap or the size of its memory was set."""
    value = deed.value or 0
    match deed.action:
        case "weight":
            return replace(definition, weight=value)
        case "cap":
            return replace(definition, cap_percent=value)
        case _:
            return replace(definition, memory_max_mib=value or None)


def _write(path: Path, content: object) -> None:
    """Have a file with this content, or none, whatever happens."""
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(path.parent)


def _id_of(path: Path) -> str:
    return path.stem.partition("-")[2]


def _read(path: Path) -> LeftOrder:
    order = _id_of(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        deeds = tuple(
            Deed(str(action), str(target), None if value is None else int(value), str(named))
            for action, target, value, named in found["deeds"]
        )
        wants_answer = bool(found["answer"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return LeftOrder(order, ())
    is_known = all(deed.action in TAKEN_FROM_OUTSIDE for deed in deeds)
    return LeftOrder(order, deeds if is_known and _ID.fullmatch(order) else (), wants_answer)
