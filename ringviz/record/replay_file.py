"""Reading replay files and writing them."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from ringviz.errors import ReplayError
from ringviz.guest.scenario import SCENARIO_FILE, shown_path
from ringviz.record.made_with import MadeWith
from ringviz.record.replay import (
    REPLAY_SUFFIX,
    Beat,
    Go,
    Machine,
    Question,
    Replay,
    ToEnd,
    ToEvent,
    ToPlace,
    ToStart,
    ToStep,
)
from ringviz.record.replay_schema import GO_WAYS, MAX_BEATS, check_expect, check_table, shown_found

_MAX_TOML_BYTES = 1 << 20


def load_replay(path: Path) -> Replay:
    """Read and check one replay file; without `scenario` it is about the folder that it lies in.

    Raises:
        ReplayError: it does not say what it must; one line with file, beat, key and what was expected.
    """
    path = path.resolve()
    where = shown_path(path)
    document = read_toml(path, where)
    values = check_table("", document, where)
    made = document.get("made_with")
    if made is not None and not isinstance(made, dict):
        raise ReplayError(f"{where}: made_with: found {shown_found(made)}, expected a table: [made_with]")
    return Replay(
        path=path,
        where=where,
        title=cast(str, values["title"]),
        summary=cast(str, values.get("summary", "")),
        scenario=_scenario(path, where, cast("str | None", values.get("scenario"))),
        machine=_machine(values),
        beats=tuple(_beats(document.get("beat"), where)),
        made_with=None if made is None else MadeWith(**cast("dict[str, str]", check_table("made_with", made, where))),
    )


def replays_in(folder: Path) -> tuple[Path, ...]:
    """The replay files of a scenario's folder, by name."""
    return tuple(sorted(path for path in folder.glob(f"*{REPLAY_SUFFIX}") if path.is_file()))


def format_replay(replay: Replay) -> str:
    """Give the text of a replay file; `load_replay` reads the same replay from it."""
    rows = ["schema = 1", f"title = {_text(replay.title)}"]
    if replay.summary:
        rows.append(f"summary = {_text(replay.summary)}")
    if Path(replay.scenario) != replay.path.parent:
        rows.append(f"scenario = {_text(replay.scenario)}")
    rows += _machine_rows(replay.machine)
    if replay.made_with is not None:
        rows += made_with_rows(replay.made_with)
    for beat in replay.beats:
        rows += ["", "[[beat]]", *_beat_rows(beat)]
    return "\n".join(rows) + "\n"


def made_with_rows(made: MadeWith) -> list[str]:
    """Give the table of hashes."""
    return ["", "[made_with]", *(f'{name} = "{value}"' for name, value in made.values().items())]


def stamped(text: str, made: MadeWith) -> str:
    """Give a replay file's text with other hashes, and everything else as its author wrote it."""
    lines = text.splitlines()
    if "[made_with]" in lines:
        start = lines.index("[made_with]")
        end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("[")), len(lines))
        del lines[start:end]
    else:
        start = next((n for n, line in enumerate(lines) if line.startswith("[")), len(lines))
    return "\n".join([*lines[:start], *made_with_rows(made)[1:], "", *lines[start:]]).rstrip("\n") + "\n"


def _scenario(path: Path, where: str, given: str | None) -> str:
    if given is not None:
        beside = path.parent / given
        return str(beside) if (beside / SCENARIO_FILE).is_file() else given
    if not (path.parent / SCENARIO_FILE).is_file():
        raise ReplayError(
            f"{where}: scenario: missing, expected an id from `ringviz list`, or a {SCENARIO_FILE} beside"
        )
    return str(path.parent)


def read_toml(path: Path, where: str) -> dict[str, object]:
    """Give what a replay file says, unchecked.

    Raises:
        ReplayError: it cannot be read, or is no TOML.
    """
    try:
        if path.stat().st_size > _MAX_TOML_BYTES:
            raise ReplayError(f"{where}: larger than {_MAX_TOML_BYTES:,} bytes, expected a script in TOML")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReplayError(f"{where}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ReplayError(f"{where}: byte {error.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ReplayError(f"{where}: not TOML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ReplayError(f"{where}: not TOML that ringviz can read: nested too deeply") from None


def tables_of_beats(given: object, where: str) -> Sequence[Mapping[str, object]]:
    """Give the tables of the beats.

    Raises:
        ReplayError: there are none, or too many, or they are no tables.
    """
    if not isinstance(given, list) or not given or not all(isinstance(beat, dict) for beat in given):
        raise ReplayError(f"{where}: beat: {'missing' if given is None else 'none'}, expected one or more: [[beat]]")
    if len(given) > MAX_BEATS:
        raise ReplayError(f"{where}: beat: found {len(given):,}, expected no more than {MAX_BEATS:,}")
    return given


def _beats(given: object, where: str) -> Iterator[Beat]:
    for number, table in enumerate(tables_of_beats(given, where), 1):
        yield _beat(table, f"{where}: beat {number}")


def _beat(given: Mapping[str, object], where: str) -> Beat:
    values = check_table("beat", given, where)
    if values.get("zoom") and "focus" not in values:
        raise ReplayError(f"{where}: zoom: given without focus, expected the panel to zoom")
    return Beat(
        title=cast(str, values["title"]),
        machine=_machine(values),
        go=None if "go" not in values else _go(cast("dict[str, object]", values["go"]), where),
        focus=cast(str, values.get("focus", "")),
        is_zoomed=cast(bool, values.get("zoom", False)),
        say=cast(str, values.get("say", "")).strip(),
        ask=read_question(values, where),
        compare=tuple(cast("list[str]", values.get("compare", []))),
        expect=check_expect(cast("dict[str, object]", values.get("expect", {})), where),
        wait_seconds=float(cast(float, values.get("wait", 0))),
    )


def _machine(values: Mapping[str, object]) -> Machine:
    controls = cast("list[str] | None", values.get("controls"))
    return Machine(
        technique=cast("str | None", values.get("technique")),
        mmu=cast("str | None", values.get("mmu")),
        cpu=cast("str | None", values.get("cpu")),
        controls=None if controls is None else tuple(controls),
    )


def read_question(values: Mapping[str, object], where: str) -> Question | None:
    """Give the question of a beat; None if it has none.

    Raises:
        ReplayError: an answer without a question, or one that is not among the choices.
    """
    choices, answer = tuple(cast("list[str]", values.get("choices", []))), cast(str, values.get("answer", ""))
    if "ask" not in values:
        for name in ("choices", "answer", "explain"):
            if name in values:
                raise ReplayError(f"{where}: {name}: given without ask, expected a question")
        return None
    if choices and answer not in choices:
        raise ReplayError(f"{where}: answer: found {shown_found(answer)}, expected one of the choices")
    explain = cast(str, values.get("explain", ""))
    return Question(cast(str, values["ask"]).strip(), choices, answer.strip(), explain.strip())


def _go(given: Mapping[str, object], where: str) -> Go:
    values = check_table("go", given, where)
    ways = [name for name in GO_WAYS if name in values]
    if len(ways) != 1:
        found = " and ".join(ways) or "none"
        raise ReplayError(f"{where}: go: found {found}, expected one of {', '.join(GO_WAYS)}")
    way = ways[0]
    for name, fitting in (("times", ("event", "at")), ("instruction", ("event",))):
        if name in values and way not in fitting:
            raise ReplayError(f"{where}: go.{name}: given with {way}, expected only with {' or '.join(fitting)}")
    times = cast(int, values.get("times", 1))
    match way:
        case "step" | "by":
            return ToStep(cast(int, values[way]), way == "by")
        case "event":
            return ToEvent(cast(str, values["event"]), times, cast(str, values.get("instruction", "")))
        case "at":
            return ToPlace(cast(str, values["at"]), times)
        case _:
            return ToStart() if values["to"] == "start" else ToEnd()


# ---- writing ---------------------------------------------------------------------------------------------------------


def _text(value: str) -> str:
    """Quote a text: a basic string of TOML is one of JSON, but for the character 7Fh."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _machine_rows(machine: Machine) -> list[str]:
    rows = [
        f"{name} = {_text(value)}"
        for name, value in (("technique", machine.technique), ("mmu", machine.mmu), ("cpu", machine.cpu))
        if value is not None
    ]
    if machine.controls is not None:
        rows.append(f"controls = [{', '.join(_text(word) for word in machine.controls)}]")
    return rows


def _beat_rows(beat: Beat) -> Iterator[str]:
    yield f"title = {_text(beat.title)}"
    yield from _machine_rows(beat.machine)
    if beat.go is not None:
        yield f"go = {{ {_go_text(beat.go)} }}"
    if beat.focus:
        yield f"focus = {_text(beat.focus)}"
    if beat.is_zoomed:
        yield "zoom = true"
    if beat.say:
        yield f"say = {_text(beat.say)}"
    if beat.ask is not None:
        yield f"ask = {_text(beat.ask.text)}"
        if beat.ask.choices:
            yield f"choices = [{', '.join(_text(choice) for choice in beat.ask.choices)}]"
        if beat.ask.answer:
            yield f"answer = {_text(beat.ask.answer)}"
        if beat.ask.explain:
            yield f"explain = {_text(beat.ask.explain)}"
    if beat.compare:
        yield f"compare = [{', '.join(_text(technique) for technique in beat.compare)}]"
    if beat.wait_seconds:
        yield f"wait = {beat.wait_seconds:g}"
    if beat.expect:
        yield "[beat.expect]"
    for wanted in beat.expect:
        key = wanted.key + ("_has" if wanted.relation == "has" else "")
        value = json.dumps(wanted.value) if not isinstance(wanted.value, str) else _text(wanted.value)
        if wanted.relation not in ("==", "has"):
            value = f'"{wanted.relation} {wanted.value}"'
        yield f"{_key(key)} = {value}"


def _key(key: str) -> str:
    """Write a dotted key; a part that TOML would not take bare is quoted."""
    return ".".join(part if _BARE.fullmatch(part) else _text(part) for part in key.split("."))


_BARE = re.compile("[A-Za-z0-9_-]+")


def _go_text(go: Go) -> str:
    match go:
        case ToStep(count, is_relative):
            return f"{'by' if is_relative else 'step'} = {count}"
        case ToEvent(kind, times, instruction):
            more = f", instruction = {_text(instruction)}" if instruction else ""
            return f"event = {_text(kind)}{more}{f', times = {times}' if times > 1 else ''}"
        case ToPlace(name, times):
            return f"at = {_text(name)}{f', times = {times}' if times > 1 else ''}"
        case ToStart():
            return 'to = "start"'
        case ToEnd():
            return 'to = "end"'
