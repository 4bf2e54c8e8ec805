"""A whole host in one file: its CPU and memory, its machines, and the rules and orders that they live by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import cast

from ringviz.engine.automation.reading import ORDERS, RULES, SCHEMA, check_machines, make_automation, parsed
from ringviz.engine.automation.rules import Automation
from ringviz.errors import InputError
from ringviz.facts.host_memory import DEFAULT_TAX_PERCENT
from ringviz.facts.migration import STOP_RULES
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.record.machines.contents import DEFAULT_CPU, DEFAULT_MEMORY_MIB
from ringviz.record.machines.definition import Definition, check_name, make_definition
from ringviz.record.machines.room import Now, Room
from ringviz.vmm.host.allotment import MemoryRules
from ringviz.vmm.migration.source import Plan
from ringviz.vmm.scheduler.policy import DEFAULT_SCHEDULER

MAX_FILE_BYTES = 65_536
MAX_MACHINES = 64
MAX_CYCLES = 10**9
MOST_MBIT, MOST_ROUNDS = 100_000, 10_000
OTHER_HOST = "other_host"
_IS_OFF = "is_off"
_SUFFIX = ".toml"
_FOLDER = "hosts"
_KINDS: Mapping[str, tuple[type, str]] = {
    "schema": (int, str(SCHEMA)),
    "title": (str, "a line of text"),
    "summary": (str, "a line of text"),
    "cpu": (str, "a CPU's id"),
    "memory_mib": (int, "a number of MiB"),
    "overcommit": (bool, "true or false"),
    "sharing": (bool, "true or false"),
    "idle_tax_percent": (int, "a number of percent"),
    "scheduler": (str, "credit, stride or round-robin"),
    "cycles": (int, f"cycles to run for, 1 to {MAX_CYCLES:,}"),
    "machines": (dict, "a table for each machine: [machines.NAME]"),
    OTHER_HOST: (dict, f"a table: [{OTHER_HOST}]"),
    ORDERS: (list, f"tables: [[{ORDERS}]]"),
    RULES: (list, f"tables: [[{RULES}]]"),
}
_NEEDED = ("title", "cycles", "machines")
_PLAN: Mapping[str, tuple[type, str]] = {
    "mbit": (int, f"a rate in Mbit/s, 1 to {MOST_MBIT:,}"),
    "rules": (str, f"one of {', '.join(STOP_RULES)}"),
    "rounds": (int, f"a number of rounds, 1 to {MOST_ROUNDS:,}"),
    "auto_converge": (bool, "true or false"),
}


@dataclass(frozen=True, slots=True)
class HostDefinition:
    """The values of one file."""

    id: str
    title: str
    summary: str
    cpu: str
    memory_mib: int
    memory_rules: MemoryRules
    scheduler: str
    cycles: int
    machines: Mapping[str, Definition]
    off: frozenset[str]
    """Machines that are not switched on at the beginning."""
    automation: Automation
    other_host: Plan | None = None
    """There is another host, and this is how machines move there; None: there is none."""


def host_ids() -> tuple[str, ...]:
    """Give the hosts that come with ringviz."""
    return tuple(
        sorted(entry.name.removesuffix(_SUFFIX) for entry in _shipped().iterdir() if entry.name.endswith(_SUFFIX))
    )


def shipped_hosts() -> tuple[HostDefinition, ...]:
    """Give them, read."""
    return tuple(find_host(host) for host in host_ids())


def find_host(id_or_path: str) -> HostDefinition:
    """Read the host of this id, or in this file.

    Raises:
        InputError: there is none such, or it does not say what it must; one line.
    """
    known = host_ids()
    if id_or_path in known:
        text = (_shipped() / f"{id_or_path}{_SUFFIX}").read_text(encoding="utf-8")
        return read_host(text, f"{id_or_path}{_SUFFIX}", Path.cwd())
    path = Path(id_or_path)
    if path.suffix == _SUFFIX:
        return read_host(read_file(path), path.name, path.resolve().parent)
    ids = ", ".join(known)
    raise InputError(
        f'host "{clipped(id_or_path)}" unknown; choose one of {ids}, or a TOML file{did_you_mean(id_or_path, known)}'
    )


def read_file(path: Path) -> str:
    """Give the text of a file that somebody names.

    Raises:
        InputError: it cannot be read, or is too long.
    """
    name = clipped(path.name)
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise InputError(f"{name}: cannot be read: {reason}") from None
    if len(text) > MAX_FILE_BYTES:
        raise InputError(f"{name}: expected no more than {MAX_FILE_BYTES:,} bytes")
    return text.decode("utf-8", "replace")


def read_host(text: str, where: str, folder: Path) -> HostDefinition:
    """Understand a host.

    Args:
        text: TOML.
        where: the file, as error messages are to name it.
        folder: what relative paths are relative to.

    Raises:
        InputError: it does not say what it must; one line with file, key and what was expected.
    """
    values = dict(parsed(text, where))
    for key, value in values.items():
        if key not in _KINDS:
            expected = ", ".join(_KINDS)
            raise InputError(f"{where}: {clipped(key)}: unknown key, expected {expected}{did_you_mean(key, _KINDS)}")
        kind, what = _KINDS[key]
        if type(value) is not kind:
            raise InputError(f"{where}: {key}: found {clipped(repr(value))}, expected {what}")
        if isinstance(value, str) and not value.isprintable():
            raise InputError(f"{where}: {key}: found {clipped(repr(value))}, expected one line of printable text")
    for key in _NEEDED:
        if key not in values:
            raise InputError(f"{where}: {key}: missing, expected {_KINDS[key][1]}")
    cycles = values["cycles"]
    assert isinstance(cycles, int)
    if not 1 <= cycles <= MAX_CYCLES:
        raise InputError(f"{where}: cycles: found {cycles}, expected {_KINDS['cycles'][1]}")
    machines, off = _machines(values["machines"], where, folder)
    automation = make_automation(values, where)
    check_machines(automation, tuple(machines), where)
    memory_mib = values.get("memory_mib", DEFAULT_MEMORY_MIB)
    assert isinstance(memory_mib, int)
    rules = MemoryRules(
        bool(values.get("overcommit", False)),
        bool(values.get("sharing", False)),
        cast(int, values.get("idle_tax_percent", DEFAULT_TAX_PERCENT)),
    )
    rules.check(where)
    return HostDefinition(
        where.removesuffix(_SUFFIX),
        str(values["title"]),
        str(values.get("summary", "")),
        str(values.get("cpu", DEFAULT_CPU)),
        memory_mib,
        rules,
        str(values.get("scheduler", DEFAULT_SCHEDULER)),
        cycles,
        machines,
        off,
        automation,
        _plan(values[OTHER_HOST], where) if OTHER_HOST in values else None,
    )


def open_host(definition: HostDefinition, folder: Path, now: Now) -> Room:
    """Give a room in an empty folder with the machines of a host, switched on as it says.

    Raises:
        RingvizError: the host could not have such machines.
    """
    room = Room(folder, now)
    try:
        room.set_host(definition.cpu, definition.memory_mib, definition.scheduler, definition.memory_rules)
        for name, machine in definition.machines.items():
            room.define(name, machine)
            if name not in definition.off:
                room.start(name)
    except BaseException:
        room.close()
        raise
    return room


def _plan(table: object, where: str) -> Plan:
    assert isinstance(table, dict)
    for key, value in table.items():
        at = f"{where}: {OTHER_HOST}: {clipped(key)}"
        if key not in _PLAN:
            raise InputError(f"{at}: unknown key, expected {', '.join(_PLAN)}{did_you_mean(key, _PLAN)}")
        kind, expected = _PLAN[key]
        most = {"mbit": MOST_MBIT, "rounds": MOST_ROUNDS}.get(key, 1)
        is_in_range = kind is not int or (type(value) is int and 1 <= value <= most)
        if type(value) is not kind or not is_in_range or (key == "rules" and value not in STOP_RULES):
            raise InputError(f"{at}: found {clipped(repr(value))}, expected {expected}")
    plan = Plan()
    return Plan(
        table.get("mbit", plan.mbit),
        table.get("rules", plan.rules),
        table.get("auto_converge", plan.auto_converge),
        table.get("rounds", plan.most_rounds),
    )


def _machines(tables: object, where: str, folder: Path) -> tuple[dict[str, Definition], frozenset[str]]:
    assert isinstance(tables, dict)
    if not 1 <= len(tables) <= MAX_MACHINES:
        raise InputError(f"{where}: machines: found {len(tables)}, expected 1 to {MAX_MACHINES}")
    machines, off = {}, set()
    for name, table in tables.items():
        at = f"{where}: machines.{clipped(name)}"
        if not isinstance(table, dict):
            raise InputError(f"{at}: found {clipped(repr(table))}, expected a table: [machines.NAME]")
        values = dict(table)
        is_off = values.pop(_IS_OFF, False)
        if type(is_off) is not bool:
            raise InputError(f"{at}: {_IS_OFF}: found {clipped(repr(is_off))}, expected true or false")
        machines[check_name(name)] = make_definition({"schema": SCHEMA, **values}, at, folder)
        if is_off:
            off.add(name)
    return machines, frozenset(off)


def _shipped() -> resources.abc.Traversable:
    return resources.files("ringviz.record.machines") / _FOLDER
