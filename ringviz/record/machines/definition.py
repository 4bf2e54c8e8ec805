"""What a machine is to be, in TOML: a scenario, how it is virtualized, and its share of the host."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ringviz.errors import InputError
from ringviz.guest.scenario import Scenario, find_scenario, with_limits
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.vmm.host.allotment import Allotment
from ringviz.vmm.host.host import MachineSpec
from ringviz.vmm.host.shares import Share

SCHEMA = 1
DEFAULT_PATIENCE_CYCLES = 5_000_000
"""Ours: five seconds on the device clock for a guest to shut down."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Definition:
    """The values of one definition."""

    scenario: str
    """Id, or path of a folder or an image."""
    technique: str
    mmu: str | None = None
    controls: tuple[str, ...] = ()
    memory_mib: int | None = None
    disk: str | None = None
    disk2: str | None = None
    weight: int = Share().weight
    cap_percent: int = 0
    memory_min_mib: int | None = None
    """Of the host's memory it keeps so much whatever happens."""
    memory_max_mib: int | None = None
    """It is to have no more, however much it believes to have."""
    memory_shares: int | None = None
    """How it stands against others when memory is short."""
    patience_cycles: int = DEFAULT_PATIENCE_CYCLES
    """How long a guest that is asked to shut down has for it, in cycles of the host."""

    @property
    def share(self) -> Share:
        """Its share of the host's CPU."""
        return Share(self.weight, self.cap_percent)

    @property
    def allotment(self) -> Allotment:
        """What it may have of the host's memory."""
        return Allotment(self.memory_min_mib, self.memory_max_mib, self.memory_shares)

    def check(self, where: str) -> None:
        """Refuse shares and sizes that no machine can have.

        Raises:
            RingvizError: one line that begins with `where`, or its scenario cannot be loaded.
        """
        self.share.check(where)
        if self.allotment != Allotment():
            self.allotment.check(where, self.load().guest.memory_mib)

    def load(self) -> Scenario:
        """Give its scenario, with its size of memory.

        Raises:
            RingvizError: there is none such, or it is broken; one line.
        """
        return with_limits(find_scenario(self.scenario), self.memory_mib, None)

    def spec(self, name: str, scenario: Scenario) -> MachineSpec:
        """Say what a host is to make of it."""
        return MachineSpec(name, scenario, self.technique, self.mmu, self.controls, self.share, self.allotment)


_KINDS: Mapping[str, tuple[type, str]] = {
    "schema": (int, str(SCHEMA)),
    "scenario": (str, "a scenario's id, or the path of a folder or an image"),
    "technique": (str, "a technique's id"),
    "mmu": (str, "shadow or nested"),
    "controls": (list, "a list of +name and -name"),
    "memory_mib": (int, "a number of MiB"),
    "disk": (str, "the path of a disk image"),
    "disk2": (str, "the path of a disk image"),
    "weight": (int, "a number"),
    "cap_percent": (int, "a number of percent"),
    "memory_min_mib": (int, "a number of MiB"),
    "memory_max_mib": (int, "a number of MiB"),
    "memory_shares": (int, "a number"),
    "patience_cycles": (int, "a number of cycles of the host, at least 1"),
}
_NEEDED = ("schema", "scenario", "technique")
_PATHS = ("disk", "disk2")


def read_definition(text: str, where: str, folder: Path) -> Definition:
    """Understand a definition.

    Args:
        text: TOML.
        where: the file, as error messages are to name it.
        folder: what relative paths are relative to.

    Raises:
        InputError: it does not say what it must; one line with file, key and what was expected.
    """
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{where}: no TOML: {clipped(str(error))}") from None
    return make_definition(values, where, folder)


def make_definition(values: Mapping[str, object], where: str, folder: Path) -> Definition:
    """Check the values of a definition; see `read_definition`."""
    for key, value in values.items():
        if key not in _KINDS:
            raise InputError(f"{where}: {clipped(key)}: unknown key, expected {', '.join(_KINDS)}{_near(key)}")
        kind, expected = _KINDS[key]
        if type(value) is not kind or (kind is list and not all(isinstance(item, str) for item in _items(value))):
            raise InputError(f"{where}: {key}: found {clipped(repr(value))}, expected {expected}")
    for key in _NEEDED:
        if key not in values:
            raise InputError(f"{where}: {key}: missing, expected {_KINDS[key][1]}")
    if values["schema"] != SCHEMA:
        raise InputError(f"{where}: schema: found {values['schema']}, expected {SCHEMA}")
    given = {key: value for key, value in values.items() if key != "schema"}
    given["controls"] = tuple(_items(given.get("controls", [])))
    definition = Definition(**given)  # type: ignore[arg-type]
    if definition.patience_cycles < 1:
        raise InputError(f"{where}: patience_cycles: found {definition.patience_cycles}, expected at least 1")
    definition = replace(
        definition,
        scenario=_scenario(definition.scenario, folder),
        **{key: str(folder / str(values[key])) for key in _PATHS if key in values},  # type: ignore[arg-type]
    )
    definition.check(where)
    return definition


def check_name(name: str) -> str:
    """Give a name that a machine or a snapshot can have.

    Raises:
        InputError: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f'name: found "{clipped(name)}", expected up to 32 of a to z, 0 to 9 and -, the first of them no -'
        )
    return name


def _scenario(given: str, folder: Path) -> str:
    """A path is relative to the definition; an id is one wherever it stands."""
    path = folder / given
    return str(path.resolve()) if ("/" in given or "\\" in given or "." in given) and path.exists() else given


def _items(value: object) -> list[str]:
    return value if isinstance(value, list) else []


def _near(key: str) -> str:
    return did_you_mean(key, _KINDS)
