"""What a replay file may say: one row per key, and the check that reads the rows.

Every complaint is one line: file, beat, key, what was found and what was expected, as for `scenario.toml`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ringviz.engine.events import Kind
from ringviz.errors import ReplayError
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.record.observation import look_of, looked_up
from ringviz.record.replay import PANELS, Wanted
from ringviz.vmm.registry import available

REPLAY_VERSION = 1
EVENT_WORDS = ("any", "ring", *(kind.value for kind in Kind if kind is not Kind.GUEST))
MAX_BEATS = 500
MAX_WAIT_SECONDS = 600
_MAX_TIMES = 1_000_000
_RELATIONS = ("<=", ">=", "!=", "<", ">")

Problem = str | None
"""What was expected instead, or None if the value is good."""


@dataclass(frozen=True, slots=True)
class ReplayKey:
    """One key of a replay file."""

    table: str
    """The table it stands in: "" is the top, `beat` a beat, `go` the way to its moment, `made_with` the hashes."""
    name: str
    kinds: tuple[type, ...]
    expected: Callable[[object], Problem]
    """Called with a value of the right type only."""
    is_required: bool = False


def _text(value: object) -> Problem:
    """What is shown reaches the terminal, so control characters in it could do anything there."""
    is_good = isinstance(value, str) and value.strip() != "" and all(c.isprintable() or c == "\n" for c in value)
    return None if is_good else "printable text"


def _line(value: object) -> Problem:
    is_good = isinstance(value, str) and value.strip() != "" and value.isprintable()
    return None if is_good else "one line of printable text"


def _one_of(choices: Callable[[], tuple[str, ...]]) -> Callable[[object], Problem]:
    def expected(value: object) -> Problem:
        known = choices()
        if value in known:
            return None
        return f"one of {', '.join(known)}{did_you_mean(str(value), known)}"

    return expected


def _list_of(expected: Callable[[object], Problem], least: int = 0) -> Callable[[object], Problem]:
    def check(value: object) -> Problem:
        assert isinstance(value, list)
        if len(value) < least:
            return f"a list of {least} or more"
        for item in value:
            problem = "a text in quotes" if not isinstance(item, str) else expected(item)
            if problem is not None:
                return f"a list, each {problem}"
        return None

    return check


def _between(low: float, high: float) -> Callable[[object], Problem]:
    def expected(value: object) -> Problem:
        assert isinstance(value, (int, float))
        return None if low <= value <= high else f"a number from {low:,} to {high:,}"

    return expected


def _control(value: object) -> Problem:
    return None if str(value)[:1] in "+-" and len(str(value)) > 1 else "+name or -name"


def _hash(value: object) -> Problem:
    text = str(value)
    return None if text and set(text) <= set("0123456789abcdef") else "a hash, as `ringviz replay --stamp` writes it"


def _anything(_value: object) -> Problem:
    return None


_MACHINE = tuple(
    ReplayKey(table, name, kinds, expected)
    for table in ("", "beat")
    for name, kinds, expected in (
        ("technique", (str,), _one_of(available)),
        ("mmu", (str,), _line),
        ("cpu", (str,), _line),
        ("controls", (list,), _list_of(_control)),
    )
)
KEYS = (
    ReplayKey("", "schema", (int,), lambda value: None if value == REPLAY_VERSION else str(REPLAY_VERSION), True),
    ReplayKey("", "title", (str,), _line, True),
    ReplayKey("", "summary", (str,), _text),
    ReplayKey("", "scenario", (str,), _line),
    *_MACHINE,
    ReplayKey("made_with", "image", (str,), _hash, True),
    ReplayKey("made_with", "engine", (str,), _hash, True),
    ReplayKey("made_with", "profile", (str,), _hash, True),
    ReplayKey("beat", "title", (str,), _line, True),
    ReplayKey("beat", "go", (dict,), _anything),
    ReplayKey("beat", "focus", (str,), _one_of(lambda: tuple(PANELS))),
    ReplayKey("beat", "zoom", (bool,), _anything),
    ReplayKey("beat", "say", (str,), _text),
    ReplayKey("beat", "ask", (str,), _text),
    ReplayKey("beat", "choices", (list,), _list_of(_line, 2)),
    ReplayKey("beat", "answer", (str,), _text),
    ReplayKey("beat", "explain", (str,), _text),
    ReplayKey("beat", "compare", (list,), _list_of(_one_of(available), 2)),
    ReplayKey("beat", "wait", (int, float), _between(0, MAX_WAIT_SECONDS)),
    ReplayKey("beat", "expect", (dict,), _anything),
    ReplayKey("go", "step", (int,), _between(0, 10**12)),
    ReplayKey("go", "by", (int,), _between(-(10**9), 10**9)),
    ReplayKey("go", "event", (str,), _one_of(lambda: EVENT_WORDS)),
    ReplayKey("go", "instruction", (str,), _line),
    ReplayKey("go", "at", (str,), _line),
    ReplayKey("go", "times", (int,), _between(1, _MAX_TIMES)),
    ReplayKey("go", "to", (str,), _one_of(lambda: ("start", "end"))),
)
_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
_TYPE_NAMES |= {dict: "a table", list: "a list"}
GO_WAYS = ("step", "by", "event", "at", "to")
"""Of these a `go` has exactly one."""


def check_table(
    table: str, given: Mapping[str, object], where: str, keys: Sequence[ReplayKey] = KEYS
) -> dict[str, object]:
    """Check the keys of one table, and give their values by name; those not given are not in it.

    Args:
        table: which one, as in `ReplayKey.table`.
        given: what the TOML parser returned.
        where: file and beat, as error messages are to name them.
        keys: all that there are; those of a guest's replay if not said.

    Raises:
        ReplayError: one line about the first thing that is wrong.
    """
    rows = {key.name: key for key in keys if key.table == table}
    prefix = "" if table in ("", "beat") else f"{table}."
    tables = ("beat", "made_with") if not table else ()
    values: dict[str, object] = {}
    for name, value in given.items():
        if name in tables:
            continue
        if name not in rows:
            names = (*rows, *tables)
            raise ReplayError(
                f"{where}: {prefix}{clipped(name)}: unknown key, expected {', '.join(names)}"
                f"{_home_of(name, table, keys) or did_you_mean(name, names)}"
            )
        values[name] = _checked(rows[name], value, f"{where}: {prefix}{name}")
    for key in rows.values():
        if key.is_required and key.name not in values:
            expected = _TYPE_NAMES[key.kinds[0]]
            raise ReplayError(f"{where}: {prefix}{key.name}: missing, expected {expected}")
    return values


class Looked(Protocol):
    """A row of a table of things that can be looked at."""

    @property
    def kind(self) -> type:
        """`int`, `float`, `str` or `bool`."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an expectation can be about."""

    row: Callable[[str], Looked | None]
    """Given a key."""
    known: Callable[[str], str]
    """Says what could have been meant by a key that is none."""


OF_GUEST = Lookup(look_of, looked_up)


def check_expect(
    given: Mapping[str, object], where: str, lookup: Lookup = OF_GUEST, table: str = "expect"
) -> tuple[Wanted, ...]:
    """Check the `expect` table of a beat; inner tables are keys with dots.

    Raises:
        ReplayError: one line about the first thing that is wrong.
    """
    return tuple(_wanted(key, value, f"{where}: {table}.{clipped(key)}", lookup) for key, value in _flat(given))


def _flat(given: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in given.items():
        key = f"{prefix}{name}"
        rows += _flat(value, f"{key}.") if isinstance(value, dict) else [(key, value)]
    return rows


def _wanted(key: str, value: object, where: str, lookup: Lookup) -> Wanted:
    name, has = (key[: -len(_HAS)], True) if key.endswith(_HAS) else (key, False)
    look = lookup.row(name)
    if look is None:
        raise ReplayError(f"{where}: unknown, expected {lookup.known(name)}")
    if has and look.kind is not str:
        raise ReplayError(f"{where}: is no text that could have a part, expected {_TYPE_NAMES[look.kind]} for {name}")
    if look.kind in (int, float):
        return _wanted_number(name, value, where, is_whole=look.kind is int)
    if type(value) is not look.kind:
        raise ReplayError(f"{where}: found {shown_found(value)}, expected {_TYPE_NAMES[look.kind]}")
    assert isinstance(value, (str, bool))
    return Wanted(name, "has" if has else "==", value)


_HAS = "_has"
"""At the end of a key whose value is a text: the text is only to have this part."""


def _wanted_number(key: str, value: object, where: str, *, is_whole: bool) -> Wanted:
    """Understand a number, or a text that begins with a relation: `"> 5"`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and (not is_whole or isinstance(value, int)):
        return Wanted(key, "==", value)
    if isinstance(value, str):
        text = value.strip()
        relation = next((sign for sign in _RELATIONS if text.startswith(sign)), "")
        number = text[len(relation) :].strip().replace("_", "")
        try:
            if relation:
                return Wanted(key, relation, int(number, 0) if is_whole else float(number))
        except ValueError:
            pass
    kind = "a whole number" if is_whole else "a number"
    raise ReplayError(f'{where}: found {shown_found(value)}, expected {kind}, or a text such as "> 5"')


def _checked(key: ReplayKey, value: object, where: str) -> object:
    # In Python a bool is an int, in TOML `true` is not a number: compare types exactly.
    if type(value) not in key.kinds:
        raise ReplayError(f"{where}: found {shown_found(value)}, expected {_TYPE_NAMES[key.kinds[-1]]}")
    problem = key.expected(value)
    if problem is not None:
        raise ReplayError(f"{where}: found {shown_found(value)}, expected {problem}")
    return value


def _home_of(name: str, table: str, keys: Sequence[ReplayKey]) -> str:
    """Say where a key belongs that stands in the wrong table."""
    home = next((key.table for key in keys if key.name == name and key.table != table), None)
    return "" if home is None else f"; it belongs in {home or 'the top of the file'}"


def shown_found(value: object) -> str:
    """Give a TOML value on one short line, whatever is in it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return clipped(f'"{value}"' if isinstance(value, str) else ascii(value))
