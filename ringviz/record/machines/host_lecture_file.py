"""Reading a host's lecture: like a guest's replay, but for what is told to the host and how far it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import cast

from ringviz.engine.automation.reading import read_deed
from ringviz.engine.automation.rules import Automation, Deed
from ringviz.errors import InputError, ReplayError
from ringviz.guest.scenario import shown_path
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.record.machines.host_file import MAX_CYCLES, HostDefinition, find_host
from ringviz.record.machines.host_lecture import (
    HOST_PANELS,
    HostBeat,
    HostGo,
    HostLecture,
    ToClock,
    ToHostEnd,
    Until,
)
from ringviz.record.machines.host_looks import host_look_of, host_looked_up
from ringviz.record.made_with import MadeWith
from ringviz.record.replay import REPLAY_SUFFIX, Wanted
from ringviz.record.replay_file import read_question, read_toml, tables_of_beats
from ringviz.record.replay_schema import KEYS, Lookup, ReplayKey, check_expect, check_table, shown_found

_FOLDER = "lectures"
_OF_HOST = Lookup(host_look_of, host_looked_up)
_AS_OF_A_GUEST = {
    "": ("schema", "title", "summary"),
    "made_with": ("image", "engine", "profile"),
    "beat": ("title", "go", "zoom", "say", "ask", "choices", "answer", "explain", "wait", "expect"),
}
_ENDS = ("end",)


def _one_of(known: tuple[str, ...]) -> str:
    return f"one of {', '.join(known)}"


_HOST_KEYS = (
    *(key for key in KEYS if key.name in _AS_OF_A_GUEST.get(key.table, ())),
    ReplayKey("", "host", (str,), lambda value: None if str(value).isprintable() else "a host's id or file", True),
    ReplayKey("", "own_orders", (bool,), lambda _: None),
    ReplayKey("beat", "tell", (dict, list), lambda _: None),
    ReplayKey(
        "beat", "focus", (str,),
        lambda value: None if value in HOST_PANELS else
        _one_of(tuple(HOST_PANELS)) + did_you_mean(str(value), tuple(HOST_PANELS)),
    ),
    ReplayKey("beat", "machine", (str,), lambda value: None if str(value).isprintable() else "a machine's name"),
    ReplayKey(
        "go", "cycles", (int,),
        lambda value: None if 0 <= cast(int, value) <= MAX_CYCLES else f"a number from 0 to {MAX_CYCLES:,}",
    ),
    ReplayKey(
        "go", "by", (int,),
        lambda value: None if 1 <= cast(int, value) <= MAX_CYCLES else f"a number from 1 to {MAX_CYCLES:,}",
    ),
    ReplayKey("go", "until", (dict,), lambda value: None if value else "a table of what is to be so"),
    ReplayKey("go", "to", (str,), lambda value: None if value in _ENDS else _one_of(_ENDS)),
)  # fmt: skip
_WAYS = ("cycles", "by", "until", "to")


def host_lecture_of(host: str) -> Path | None:
    """Give the lecture that comes with a host; None if it has none."""
    path = Path(str(resources.files("ringviz.record.machines"))) / _FOLDER / f"{host}{REPLAY_SUFFIX}"
    return path if path.is_file() else None


def is_host_lecture(path: Path) -> bool:
    """Tell whether a replay is about a host; one that cannot be read is about none.

    Raises:
        ReplayError: it cannot be read.
    """
    return "host" in read_toml(path.resolve(), shown_path(path.resolve()))


def load_host_lecture(path: Path) -> HostLecture:
    """Read and check a host's lecture.

    Raises:
        ReplayError: it does not say what it must; one line with file, beat, key and what was expected.
    """
    path = path.resolve()
    where = shown_path(path)
    document = read_toml(path, where)
    values = check_table("", document, where, _HOST_KEYS)
    host = _host(path, str(values["host"]), where, has_orders=bool(values.get("own_orders", True)))
    made = document.get("made_with")
    if made is not None and not isinstance(made, dict):
        raise ReplayError(f"{where}: made_with: found {shown_found(made)}, expected a table: [made_with]")
    return HostLecture(
        path=path,
        where=where,
        title=str(values["title"]),
        host=host,
        beats=tuple(_beats(document.get("beat"), host, where)),
        summary=str(values.get("summary", "")).strip(),
        made_with=None if made is None else MadeWith(**cast("dict[str, str]", check_table("made_with", made, where))),
    )


def _host(path: Path, name: str, where: str, *, has_orders: bool) -> HostDefinition:
    beside = path.parent / name
    try:
        host = find_host(str(beside) if beside.suffix == ".toml" and beside.is_file() else name)
    except InputError as error:
        raise ReplayError(f"{where}: host: {error}") from None
    return host if has_orders else replace(host, automation=Automation(host.automation.rules))


def _beats(given: object, host: HostDefinition, where: str) -> Iterator[HostBeat]:
    for number, table in enumerate(tables_of_beats(given, where), 1):
        yield _beat(table, host, f"{where}: beat {number}")


def _beat(given: Mapping[str, object], host: HostDefinition, where: str) -> HostBeat:
    values = check_table("beat", given, where, _HOST_KEYS)
    if values.get("zoom") and "focus" not in values:
        raise ReplayError(f"{where}: zoom: given without focus, expected the panel to zoom")
    beat = HostBeat(
        title=str(values["title"]),
        deeds=tuple(_deeds(values.get("tell", []), where)),
        go=None if "go" not in values else _go(cast("dict[str, object]", values["go"]), where),
        focus=str(values.get("focus", "")),
        is_zoomed=bool(values.get("zoom", False)),
        machine=str(values.get("machine", "")),
        say=str(values.get("say", "")).strip(),
        ask=read_question(values, where),
        expect=check_expect(cast("dict[str, object]", values.get("expect", {})), where, _OF_HOST),
        wait_seconds=float(cast(float, values.get("wait", 0))),
    )
    _check_names(beat, host, where)
    return beat


def _deeds(given: object, where: str) -> Iterator[Deed]:
    for table in given if isinstance(given, list) else [given]:
        if not isinstance(table, dict):
            raise ReplayError(f'{where}: tell: found {shown_found(table)}, expected {{ machine = "…", do = "…" }}')
        try:
            yield read_deed(table, f"{where}: tell")
        except InputError as error:
            raise ReplayError(str(error)) from None


def _go(given: Mapping[str, object], where: str) -> HostGo:
    values = check_table("go", given, where, _HOST_KEYS)
    ways = [name for name in _WAYS if name in values]
    if len(ways) != 1:
        found = " and ".join(ways) or "none"
        raise ReplayError(f"{where}: go: found {found}, expected one of {', '.join(_WAYS)}")
    match ways[0]:
        case "cycles" | "by" as way:
            return ToClock(cast(int, values[way]), way == "by")
        case "until":
            return Until(check_expect(cast("dict[str, object]", values["until"]), where, _OF_HOST, "go.until"))
        case _:
            return ToHostEnd()


def _check_names(beat: HostBeat, host: HostDefinition, where: str) -> None:
    """Refuse machines and rules that the host has not; those that the host itself makes are named after one."""
    wanted: tuple[Wanted, ...] = (*beat.expect, *(beat.go.wanted if isinstance(beat.go, Until) else ()))
    named = [("machine", beat.machine)] if beat.machine else []
    named += [("tell.machine", deed.target) for deed in beat.deeds]
    rules = [rule.name for rule in host.automation.rules]
    for each in wanted:
        row = host_look_of(each.key)
        member = each.key.partition(".")[2]
        if row is not None and row.member == "machine":
            named.append((f"expect.{each.key}", member))
        if row is not None and row.member == "rule" and member not in rules:
            raise ReplayError(
                f'{where}: expect.{each.key}: no rule "{clipped(member)}", expected one of '
                f"{', '.join(rules) or 'none'}{did_you_mean(member, rules)}"
            )
    for key, name in named:
        if name not in host.machines and not any(name.startswith(f"{known}-") for known in host.machines):
            known = tuple(host.machines)
            raise ReplayError(
                f'{where}: {key}: no machine "{clipped(name)}", expected one of {", ".join(known)}'
                f"{did_you_mean(name, known)}"
            )
