"""A CPU from a file: an edited profile, or a CPU of somebody's own, as TOML.

    schema = 1
    base = "p4-672"          # the profile that is changed; without it: vendor, year, title and features are needed
    [costs]
    vm-exit = 500            # cycles; or a table with cycles, low, high, source, note; or "unknown"
    [weights]
    call = 2.5               # cycles of one instruction of a class
    [tlb]
    entries = 128            # of the modelled TLB
    ways = 4

What the file does not say is the base's. A cell that says the same as the base's is the base's, with its source; all
others are the user's, with the file's name as source. Cells that are computed from others follow them unless they are
given: `exit` from `vm-entry` and `vm-exit`, `nested-walk` from `walk-reference`.

Every complaint is one line: file, key, what was found, what was expected.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NoReturn

from ringviz.errors import InputError, ProfileError
from ringviz.facts.amd_cpus import K8_LENDS, NO_VMCS
from ringviz.facts.cost_rows import complete, nested_walk
from ringviz.facts.costs import BUILT_IN_CPUS, CPU_PROFILES, GUEST_INSTRUCTION, PRICED, Cost, CpuProfile, make_known
from ringviz.facts.cpu_features import CPU_FEATURES, SECOND_LEVEL, vendor_of
from ringviz.facts.cpu_identity import CPU_IDENTITIES
from ringviz.facts.instruction_weights import CLASSES, HUNDREDTHS
from ringviz.facts.intel_cpus import P4_LENDS
from ringviz.facts.source import Source
from ringviz.facts.tlb import TlbShape
from ringviz.guest.schema import clipped, did_you_mean

SCHEMA_VERSION = 1
SUFFIX = ".toml"
UNKNOWN = "unknown"
"""What a cell says whose price nobody knows."""
FOLLOWS = "follows "
"""How the source of a computed cell of the user's begins."""
PARTS = ("vm-entry", "vm-exit")
"""The causes that `exit` is the sum of, where both are known."""
MOST_CYCLES = 10**9
MOST_TLB_ENTRIES = 1 << 16
_MAX_TOML_BYTES = 1 << 20
_MAX_PATH_CHARS = 200
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ +-]{0,60}\.toml")
_TOP = ("schema", "base", "vendor", "year", "title", "note", "clock_hz", "features", "cpuid", "costs", "weights", "tlb")
_WITHOUT_BASE = ("vendor", "year", "title", "features")
"""What a CPU of somebody's own must say."""
_CELL = ("cycles", "low", "high", "source", "note")
_CYCLES = f"a whole number of cycles from 0 to {MOST_CYCLES:,}"
_TEXT = "one line of printable text"

Table = Mapping[str, object]


def cpu_asked_for(text: str) -> str:
    """Give the id of the CPU that a command line asks for; a file is read, and its CPU is known from then on.

    Args:
        text: an id, which is given back as it is, or the path of a profile file.

    Raises:
        ProfileError: the file does not say what it must; one line.
        InputError: two files of one name are asked for.
    """
    if not is_file_name(text):
        return text
    profile = load_profile(text)
    try:
        make_known(profile)
    except ValueError:
        raise InputError(f"{clipped(text)}: a profile of this name is in use already; give it another name") from None
    return profile.id


def is_file_name(text: str) -> bool:
    """Tell the path of a profile file from the id of a profile."""
    return text not in CPU_PROFILES and (text.endswith(SUFFIX) or os.sep in text or "/" in text)


def edited_title(base: CpuProfile) -> str:
    """Call a CPU whose file has no title for it: nobody is to take it for the CPU that was measured."""
    return f"{base.title}, edited"


def load_profile(path: str) -> CpuProfile:
    """Read a CPU from a file.

    Raises:
        ProfileError: it cannot be read, or does not say what it must; one line.
    """
    where = clipped(path, _MAX_PATH_CHARS)
    name = Path(path).name
    if not _FILE_NAME.fullmatch(name):
        raise ProfileError(
            f'{where}: expected a file whose name is of letters, digits, ".", "_", "-" and ends in .toml'
        )
    if not os.path.isfile(path):
        raise ProfileError(f"{where}: no such file, expected an id of `ringviz cpus` or the path of a profile")
    try:
        with open(path, "rb") as file:
            raw = file.read(_MAX_TOML_BYTES + 1)
        if len(raw) > _MAX_TOML_BYTES:
            raise ProfileError(f"{where}: larger than {_MAX_TOML_BYTES:,} bytes, expected a few lines of TOML")
        return parse_profile(raw.decode("utf-8"), where, name)
    except OSError as error:
        raise ProfileError(f"{where}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"{where}: byte {error.start} is not UTF-8") from None


def parse_profile(text: str, where: str, name: str) -> CpuProfile:
    """Make a CPU of the text of a profile file.

    Args:
        text: TOML.
        where: the file, as error messages are to name it.
        name: the file's name: the id of the CPU, and the source of its cells.

    Raises:
        ProfileError: one line about the first thing that is wrong.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{where}: not TOML: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError):
        raise ProfileError(f"{where}: not TOML that ringviz can read") from None
    return _Reader(document, where, name).profile()


@dataclass(frozen=True, slots=True)
class _Reader:
    """One file on its way to a profile."""

    document: Table
    where: str
    file: str

    def profile(self) -> CpuProfile:
        """Check everything, in the order in which the keys are listed."""
        self._only(self.document, "", _TOP)
        if self._need("schema", int, str(SCHEMA_VERSION)) != SCHEMA_VERSION:
            self._refuse("schema", self.document["schema"], str(SCHEMA_VERSION))
        base = self._base()
        features = self._features(base)
        profile = self._foundation(base, features)
        return replace(
            profile,
            costs=self._costs(profile.costs),
            weights=MappingProxyType(self._weights()),
            tlb=self._tlb(profile.tlb),
        )

    # ---- what the CPU is ---------------------------------------------------------------------------------------------

    def _base(self) -> CpuProfile | None:
        if "base" not in self.document:
            return None
        for key in ("vendor", "cpuid"):
            if key in self.document:
                self._fail(key, f"given together with base, expected only without: the base's {key} stays")
        return BUILT_IN_CPUS[self._one_of("base", self.document["base"], BUILT_IN_CPUS)]

    def _foundation(self, base: CpuProfile | None, features: frozenset[str]) -> CpuProfile:
        """Give the CPU with the costs that are changed, or borrowed, by what follows."""
        source = Source.yours(self.file)
        if base is not None:
            clock = self._optional_number("clock_hz", 1, 10**12)
            return replace(
                base,
                costs=_with_nested_walks(base.costs, features),
                id=self.file,
                title=self._optional_text("title") or edited_title(base),
                year=self._optional_number("year", 1978, 9999) or base.year,
                features=features,
                clock_hz=clock or base.clock_hz,
                clock_source=base.clock_source if clock in (None, base.clock_hz) else source,
                source=source,
                note=self._optional_text("note") or f"Edited from {base.id}",
                base=base.id,
                cpuid_of=base.identity,
            )
        vendor = self._vendor()
        clock = self._optional_number("clock_hz", 1, 10**12)
        return CpuProfile(
            id=self.file,
            title=self._text("title", self._need("title", str, _TEXT)),
            vendor=vendor,
            year=self._number("year", self._need("year", int, "a year"), 1978, 9999),
            features=features,
            clock_hz=clock,
            clock_source=None if clock is None else source,
            costs=_with_nested_walks(_borrowed_costs(vendor), features),
            source=source,
            note=self._optional_text("note") or "A CPU of your own; what the file does not say is borrowed",
            cpuid_of=self._cpuid(vendor),
        )

    def _vendor(self) -> Literal["intel", "amd"]:
        found = self._one_of("vendor", self._need("vendor", str, "intel or amd"), ("intel", "amd"))
        return "intel" if found == "intel" else "amd"

    def _features(self, base: CpuProfile | None) -> frozenset[str]:
        if base is not None and "features" not in self.document:
            return base.features
        given = self._need("features", list, "a list of features")
        names = [self._one_of("features", name, CPU_FEATURES) for name in given] if isinstance(given, list) else []
        vendor = base.vendor if base is not None else self._vendor()
        for name in names:
            if vendor_of(name) != vendor:
                self._fail("features", f'found "{name}" on a CPU of {vendor}, expected only what its maker has')
            needs = CPU_FEATURES[name].needs
            if needs is not None and needs not in names:
                self._fail("features", f'found "{name}" alone, expected "{needs}" with it')
        return frozenset(names)

    def _cpuid(self, vendor: str) -> str:
        default = "p4-672" if vendor == "intel" else "k8-revf"
        fitting = [row.profile for row in CPU_IDENTITIES.values() if BUILT_IN_CPUS[row.profile].vendor == vendor]
        return self._one_of("cpuid", self.document.get("cpuid", default), fitting)

    # ---- what things cost on it --------------------------------------------------------------------------------------

    def _costs(self, known: Mapping[str, Cost]) -> Mapping[str, Cost]:
        """Lay the file's cells over those of the base."""
        table = self._table("costs")
        for cause in table:
            if cause == GUEST_INSTRUCTION:
                self._fail(
                    f"costs.{cause}", "one price for all instructions, expected weights by class under [weights]"
                )
            if cause not in PRICED:
                hint = did_you_mean(cause, PRICED)
                self._fail(f"costs.{clipped(cause)}", f"unknown cause, expected one of {', '.join(PRICED)}{hint}")
        rows = dict(known)
        changed = set()
        for cause in (cause for cause in PRICED if cause in table):
            cell = self._cell(cause, table[cause])
            if not _says_the_same(cell, known[cause]):
                rows[cause] = cell
                changed.add(cause)
        self._settle_exit(rows, changed, table)
        if "walk-reference" in changed and "nested-walk" not in table and rows["nested-walk"].cycles is not None:
            reference = rows["walk-reference"]
            cycles = nested_walk(reference).cycles if reference.cycles is not None else None
            if cycles is not None:
                rows["nested-walk"] = self._follower("nested-walk", cycles, "walk-reference")
        return MappingProxyType(rows)

    def _settle_exit(self, rows: dict[str, Cost], changed: set[str], table: Table) -> None:
        """Keep the round trip and its two halves in one tale: the halves make the whole, or there are none."""
        halves = [rows[part].cycles for part in PARTS]
        if any(part in changed and rows[part].cycles is not None for part in PARTS):
            total = 0
            for part, cycles in zip(PARTS, halves, strict=True):
                if cycles is None:
                    self._fail(
                        f"costs.{part}", "unknown, expected a price beside that of the other half, or exit alone"
                    )
                total += cycles
            if "exit" in table and rows["exit"].cycles != total:
                self._refuse("costs.exit", rows["exit"].cycles, f"{total:,}, which is vm-entry + vm-exit, or no exit")
            rows["exit"] = self._follower("exit", total, "vm-entry + vm-exit")
        elif "exit" in changed:
            for part in PARTS:
                if part in table and rows[part].cycles is not None:
                    self._fail("costs.exit", f"given beside {part}, expected only one of the two")
                rows[part] = Cost(part, None, None, None, Source.yours(self.file, "exit is given whole"))

    def _follower(self, cause: str, cycles: int, of_what: str) -> Cost:
        return Cost(cause, cycles, cycles, cycles, Source.yours(self.file, f"{FOLLOWS}{of_what}"))

    def _cell(self, cause: str, value: object) -> Cost:
        """Read one price."""
        key = f"costs.{cause}"
        if value == UNKNOWN:
            return Cost(cause, None, None, None, Source.yours(self.file))
        if not isinstance(value, dict):
            if type(value) is not int:
                self._refuse(key, value, f'{_CYCLES}, "{UNKNOWN}", or a table of {", ".join(_CELL)}')
            cycles = self._number(key, value, 0, MOST_CYCLES, _CYCLES)
            return Cost(cause, cycles, cycles, cycles, Source.yours(self.file))
        self._only(value, key, _CELL)
        if "cycles" not in value:
            self._fail(f"{key}.cycles", f"missing, expected {_CYCLES}")
        cycles, low, high = (
            self._number(f"{key}.{bound}", value.get(bound, value["cycles"]), 0, MOST_CYCLES, _CYCLES)
            for bound in ("cycles", "low", "high")
        )
        if not low <= cycles <= high:
            self._fail(key, f"found {low:,}, {cycles:,}, {high:,}, expected low <= cycles <= high")
        texts = [self._text(f"{key}.{name}", value[name]) if name in value else "" for name in ("source", "note")]
        return Cost(cause, cycles, low, high, Source.yours(self.file, texts[0]), texts[1])

    def _weights(self) -> dict[str, int]:
        """Read weights in cycles; give those that differ from the common ones, in hundredths."""
        weights: dict[str, int] = {}
        expected = f"cycles from 0 to {MOST_CYCLES // HUNDREDTHS:,}, with two decimals at most"
        for name, value in self._table("weights").items():
            key = f"weights.{clipped(name)}"
            if name not in CLASSES:
                self._fail(key, f"unknown class, expected one of {', '.join(CLASSES)}{did_you_mean(name, CLASSES)}")
            if type(value) not in (int, Decimal):
                self._refuse(key, value, expected)
            cycles = Decimal(str(value))
            if not cycles.is_finite() or not 0 <= cycles <= MOST_CYCLES // HUNDREDTHS:
                self._refuse(key, value, expected)
            hundredths = cycles * HUNDREDTHS
            if hundredths != int(hundredths):
                self._refuse(key, value, expected)
            if int(hundredths) != CLASSES[name].weight:
                weights[name] = int(hundredths)
        return weights

    def _tlb(self, known: TlbShape) -> TlbShape:
        table = self._table("tlb")
        self._only(table, "tlb", ("entries", "ways"))
        entries, ways = (
            self._number(f"tlb.{name}", table.get(name, default), 1, MOST_TLB_ENTRIES)
            for name, default in (("entries", known.entries), ("ways", known.ways))
        )
        if entries % ways:
            self._refuse("tlb.ways", ways, f"a divisor of {entries:,}, the number of entries")
        same = (entries, ways) == (known.entries, known.ways)
        return known if same else TlbShape(entries, ways, Source.yours(self.file))

    # ---- values and complaints ---------------------------------------------------------------------------------------

    def _fail(self, key: str, problem: str) -> NoReturn:
        raise ProfileError(f"{self.where}: {key}: {problem}")

    def _refuse(self, key: str, found: object, expected: str) -> NoReturn:
        self._fail(key, f"found {_shown(found)}, expected {expected}")

    def _only(self, table: Table, prefix: str, known: Iterable[str]) -> None:
        names = list(known)
        for name in table:
            if name not in names:
                key = f"{prefix}.{clipped(name)}" if prefix else clipped(name)
                self._fail(key, f"unknown key, expected {', '.join(names)}{did_you_mean(name, names)}")

    def _table(self, name: str) -> Table:
        found = self.document.get(name, {})
        if not isinstance(found, dict):
            self._refuse(name, found, f"a table: [{name}]")
        return found

    def _need(self, key: str, kind: type, expected: str) -> object:
        if key not in self.document:
            more = "" if key not in _WITHOUT_BASE else "; without a base it must be given"
            self._fail(key, f"missing, expected {expected}{more}")
        found = self.document[key]
        if type(found) is not kind:  # in Python a bool is an int, in TOML `true` is not a number
            self._refuse(key, found, expected)
        return found

    def _one_of(self, key: str, found: object, known: Iterable[str]) -> str:
        names = list(known)
        if not isinstance(found, str) or found not in names:
            hint = did_you_mean(found, names) if isinstance(found, str) else ""
            self._refuse(key, found, f"one of {', '.join(names)}{hint}")
        return found

    def _number(self, key: str, found: object, low: int, high: int, expected: str = "") -> int:
        if type(found) is not int or not low <= found <= high:
            self._refuse(key, found, expected or f"a whole number from {low:,} to {high:,}")
        return found

    def _text(self, key: str, found: object) -> str:
        """Texts reach the terminal, so a control character in one could do anything there."""
        if not isinstance(found, str) or not found.strip() or not found.isprintable():
            self._refuse(key, found, _TEXT)
        return found

    def _optional_text(self, key: str) -> str:
        return self._text(key, self.document[key]) if key in self.document else ""

    def _optional_number(self, key: str, low: int, high: int) -> int | None:
        return self._number(key, self.document[key], low, high) if key in self.document else None


def _borrowed_costs(vendor: str) -> Mapping[str, Cost]:
    """Give a row for every cause to a CPU of which nothing is known: its maker's first one lends, and the P4 672."""
    return complete(NO_VMCS, K8_LENDS, P4_LENDS) if vendor == "amd" else complete((), P4_LENDS)


def _with_nested_walks(costs: Mapping[str, Cost], features: frozenset[str]) -> Mapping[str, Cost]:
    """Price the second dimension of page walks on a CPU that has it by its file, so that it is not free."""
    if costs["nested-walk"].cycles is not None or not features & SECOND_LEVEL:
        return costs
    row = nested_walk(costs["walk-reference"])
    return MappingProxyType({**costs, row.cause: row})


def _says_the_same(cell: Cost, known: Cost) -> bool:
    """The user has left this price as it was: the same number, and nothing said about it."""
    is_bare = not cell.note and not cell.source.note and cell.low == cell.high
    return is_bare and cell.cycles == known.cycles


def _shown(value: object) -> str:
    """Return a TOML value on one short line, whatever is in it."""
    shown: Callable[[object], str] = str
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return UNKNOWN
    return clipped(f'"{value}"' if isinstance(value, str) else shown(value))
