"""Orders that are left for a host at work: whoever runs it has the folder to itself, and looks here now and then.

An order is a file of its own, which takes its name when it is whole. Once it has that name it holds: the host at work
takes it when its accounting period is over; if there is none by then, whoever opens the folder next does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ringviz.engine.automation.rules import Deed
from ringviz.errors import InputError
from ringviz.guest.disks.creating import sync_folder
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.record.machines.definition import Definition
from ringviz.record.machines.kept import definition_of
from ringviz.record.machines.store import read_content

PREFIX, SUFFIX = "order-", ".json"
TAKEN_FROM_OUTSIDE = ("weight", "cap", "balloon")
"""What can be ordered so."""


def leave_order(folder: Path, deeds: Sequence[Deed], now_ns: int) -> None:
    """Leave an order.

    Args:
        folder: where the machines are kept.
        deeds: what is to be done, in this order.
        now_ns: nanoseconds since 1970; of several orders the earlier one is carried out first.

    Raises:
        InputError: the folder cannot be written.
    """
    path = folder / f"{PREFIX}{now_ns:020}-{os.getpid()}{SUFFIX}"
    new = path.with_suffix(".new")
    text = json.dumps([[deed.action, deed.target, deed.value] for deed in deeds])
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
        sync_folder(folder)
    except OSError as error:
        raise InputError(f"{folder.name}: cannot be written: {error.strerror}") from None


def check_order(folder: Path, name: str, deeds: Sequence[Deed]) -> None:
    """Refuse an order about a machine that the last operation has not left there, or that no machine can have.

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


def waiting_orders(folder: Path) -> Iterator[tuple[Path, tuple[Deed, ...]]]:
    """Give the orders that were left and not removed, the earliest first; none for a file that is no order."""
    for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}")):
        yield path, _read(path)


def remove_orders(paths: Iterable[Path]) -> None:
    """Remove orders that are carried out, and kept so."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


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


def _read(path: Path) -> tuple[Deed, ...]:
    try:
        deeds = tuple(
            Deed(str(action), str(target), int(value)) for action, target, value in json.loads(path.read_text())
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return ()
    return tuple(deed for deed in deeds if deed.action in TAKEN_FROM_OUTSIDE)
