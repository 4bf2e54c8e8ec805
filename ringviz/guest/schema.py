"""What `scenario.toml` may say: one row per key, and the check that reads the rows.

Every complaint is one line: file, key, what was found and what was expected, with the nearest known
name where one was probably mistyped.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ringviz.errors import ScenarioError

SCHEMA_VERSION = 1
LEVELS = ("beginner", "intermediate", "advanced")
FORMATS = ("multiboot", "bootsector", "flat")
START_MODES = ("real", "protected", "long")
MARKER_PREFIX = "marker_"
"""Labels of the guest's source that begin so, local ones too, are places where its builds can be compared."""
MAX_MEMORY_MIB = 256
_MAX_NAME_CHARS = 100
"""Every file system has a limit, and an error of its own for longer names."""

Problem = str | None
"""What was expected instead, or None if the value is good."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of `scenario.toml`."""

    table: str
    """The table it stands in; "" is the top of the file."""
    name: str
    kind: type
    expected: Callable[[object], Problem]
    """Called with a value of the right type only."""
    default: object = None
    formats: tuple[str, ...] = FORMATS
    """The image formats that have this key; it must not be given for others."""
    is_optional: bool = False

    @property
    def dotted(self) -> str:
        """The key as error messages name it, such as `guest.format`."""
        return f"{self.table}.{self.name}" if self.table else self.name


def _one_of(choices: Iterable[str]) -> Callable[[object], Problem]:
    known = tuple(choices)

    def expected(value: object) -> Problem:
        if value in known:
            return None
        return f"one of {', '.join(known)}{did_you_mean(str(value), known)}"

    return expected


def _between(low: int, high: int) -> Callable[[object], Problem]:
    def expected(value: object) -> Problem:
        return None if isinstance(value, int) and low <= value <= high else f"a number from {low:,} to {high:,}"

    return expected


def _one_number(wanted: int) -> Callable[[object], Problem]:
    return lambda value: None if value == wanted else str(wanted)


def _text(value: object) -> Problem:
    """Titles reach the terminal, so a control character in one could do anything there."""
    is_one_line = isinstance(value, str) and value.strip() != "" and value.isprintable()
    return None if is_one_line else "one line of printable text"


def _file_name(value: object) -> Problem:
    name = str(value)
    is_plain = (
        len(name) <= _MAX_NAME_CHARS
        and name.isprintable()
        and name not in ("", ".", "..")
        and not set(name) & set('/\\:*?"<>|')
    )
    return None if is_plain else "the name of a file in the same folder"


def read_orders(text: str) -> tuple[tuple[int, int], ...]:
    """Understand orders to a balloon driver: "TICKS: PAGES, ...", the times rising; nothing is no order.

    Raises:
        ValueError: the text is no such list.
    """
    orders = tuple((int(time), int(pages)) for time, pages in (part.split(":") for part in text.split(",") if text))
    times = [time for time, _ in orders]
    if times != sorted(set(times)) or any(time < 0 or pages < 0 for time, pages in orders):
        raise ValueError(text)
    return orders


def _orders(value: object) -> Problem:
    try:
        read_orders(str(value))
    except ValueError:
        return 'device time and pages of each order to the balloon driver, as "20000: 64, 90000: 0", or ""'
    return None


def _anything(value: object) -> Problem:
    return None


KEYS = (
    Key("", "schema", int, _one_number(SCHEMA_VERSION)),
    Key("", "title", str, _text),
    Key("", "summary", str, _text),
    Key("", "level", str, _one_of(LEVELS)),
    Key("guest", "source", str, _file_name),
    Key("guest", "image", str, _file_name),
    Key("guest", "format", str, _one_of(FORMATS)),
    Key("guest", "memory_mib", int, _between(1, MAX_MEMORY_MIB)),
    Key("guest", "load", int, _between(0, 2**32 - 1), formats=("flat",)),
    Key("guest", "entry", int, _between(0, 2**32 - 1), formats=("flat",)),
    Key("guest", "start", str, _one_of(START_MODES), formats=("flat",)),
    Key("guest", "paging", bool, _anything, default=False, is_optional=True),
    Key("guest", "long", bool, _anything, default=False, is_optional=True),
    Key("guest", "svm", bool, _anything, default=False, is_optional=True),
    Key("guest", "paravirt", bool, _anything, default=False, is_optional=True),
    Key("guest", "disk", str, _file_name, is_optional=True),
    Key("guest", "disk2", str, _file_name, is_optional=True),
    Key("guest", "input", str, _file_name, is_optional=True),
    Key("guest", "keys", str, _anything, default="", is_optional=True),
    Key("guest", "balloon", str, _orders, is_optional=True),
    Key("limits", "instructions", int, _between(1, 10**12)),
)

LEFTOVERS = "leftovers"
"""The one table whose keys are names of the guest's own: its markers."""
COMPARED = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "flags")
"""What is compared at a marker, and may be declared a leftover there; `flags` are the arithmetic flags."""

_TYPE_NAMES = {int: "a whole number", str: "a text in quotes", bool: "true or false", dict: "a table"}
_MAX_SHOWN_CHARS = 60


def check(document: Mapping[str, object], where: str) -> dict[str, object]:
    """Check a parsed `scenario.toml` and return its values by dotted key, defaults filled in.

    Args:
        document: what the TOML parser returned.
        where: the file, as error messages are to name it.

    Raises:
        ScenarioError: one line about the first thing that is wrong.
    """
    given = _flatten({name: value for name, value in document.items() if name != LEFTOVERS}, where)
    values: dict[str, object] = {}
    for key in KEYS:
        if key.dotted in given:
            values[key.dotted] = _checked(key, given[key.dotted], where)
        elif key.is_optional:
            values[key.dotted] = key.default
    for key in KEYS:
        _check_presence(key, values, where)
    checked: dict[str, object] = {key.dotted: values.get(key.dotted) for key in KEYS}
    checked[LEFTOVERS] = _checked_leftovers(document.get(LEFTOVERS, {}), where)
    return checked


def problem_with(dotted: str, value: object) -> Problem:
    """Say what was expected in place of a value of a key, or None if it is good."""
    key = next(key for key in KEYS if key.dotted == dotted)
    return key.expected(value)


def _checked_leftovers(table: object, where: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Check the table of markers and the registers that mean nothing there."""
    if not isinstance(table, dict):
        raise ScenarioError(f"{where}: {LEFTOVERS}: found {_shown(table)}, expected a table: [{LEFTOVERS}]")
    rows = []
    for marker, registers in table.items():
        key = f"{LEFTOVERS}.{clipped(marker)}"
        if not marker.startswith(MARKER_PREFIX):
            raise ScenarioError(f"{where}: {key}: unknown key, expected a label that starts with {MARKER_PREFIX}")
        names = registers if isinstance(registers, list) else [registers]
        for name in names:
            if name not in COMPARED or not isinstance(registers, list):
                raise ScenarioError(f"{where}: {key}: found {_shown(name)}, expected a list of {', '.join(COMPARED)}")
        rows.append((marker, frozenset(names)))
    return tuple(rows)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion to put behind an error message, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _flatten(document: Mapping[str, object], where: str) -> dict[str, object]:
    """Return the values by dotted key; refuse tables and keys that no row of KEYS has."""
    tables = sorted({key.table for key in KEYS if key.table})
    flat: dict[str, object] = {}
    for name, value in document.items():
        if name not in tables:
            _known(name, "", where)
            flat[name] = value
        elif isinstance(value, dict):
            for inner, inner_value in value.items():
                _known(inner, name, where)
                flat[f"{name}.{inner}"] = inner_value
        else:
            raise ScenarioError(f"{where}: {name}: found {_shown(value)}, expected a table: [{name}]")
    return flat


def _known(name: str, table: str, where: str) -> None:
    names = [key.name for key in KEYS if key.table == table]
    if not table:
        names += sorted({key.table for key in KEYS if key.table} | {LEFTOVERS})
    if name in names:
        return
    home = next((key.dotted for key in KEYS if key.name == name), None)
    hint = f"; it belongs in {home}" if home else did_you_mean(name, names)
    dotted = f"{table}.{name}" if table else name
    raise ScenarioError(f"{where}: {clipped(dotted)}: unknown key, expected {', '.join(names)}{hint}")


def _checked(key: Key, value: object, where: str) -> object:
    # In Python a bool is an int, in TOML `true` is not a number: compare types exactly.
    if type(value) is not key.kind:
        raise ScenarioError(f"{where}: {key.dotted}: found {_shown(value)}, expected {_TYPE_NAMES[key.kind]}")
    expected = key.expected(value)
    if expected is not None:
        raise ScenarioError(f"{where}: {key.dotted}: found {_shown(value)}, expected {expected}")
    return value


def _check_presence(key: Key, values: Mapping[str, object], where: str) -> None:
    image_format = values.get("guest.format")
    if key.dotted in values:
        if image_format is not None and image_format not in key.formats:
            raise ScenarioError(
                f'{where}: {key.dotted}: given for format "{image_format}", expected only with {", ".join(key.formats)}'
            )
    elif image_format is None or image_format in key.formats:
        example = key.expected("") if key.kind is str else None
        raise ScenarioError(f"{where}: {key.dotted}: missing, expected {example or _TYPE_NAMES[key.kind]}")


def _shown(value: object) -> str:
    """Return a TOML value on one short line, whatever is in it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return clipped(ascii(value) if not isinstance(value, str) else f'"{value}"')


def clipped(text: str, max_chars: int = _MAX_SHOWN_CHARS) -> str:
    """Return a text of unknown origin fit for an error message: one short printable line."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable if len(printable) <= max_chars else printable[: max_chars - 1] + "…"
