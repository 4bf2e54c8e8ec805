"""What a lecture tells its speaker's second terminal: one small file, written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ringviz.errors import InputError
from ringviz.record.replay import Beat, Script, Spoken
from ringviz.record.state_folder import state_folder

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LectureNotes:
    """Where a lecture stands, in the speaker's words."""

    title: str
    """Of the lecture."""
    number: int
    """Of the beat, from 1; 0 before the first."""
    of: int
    beat: str
    """Its title."""
    say: str
    ask: str
    choices: tuple[str, ...]
    answer: str
    explain: str
    """What to say with the answer."""
    is_answered: bool
    next_beat: str
    """Title of the beat that comes; empty at the last."""
    next_say: str
    status: str
    """What goes on: `step 12 under trap-emulate`, `black`, `by itself`."""
    problems: tuple[str, ...]
    """What is not as the author of the replay expected."""
    began: float
    """When the lecture was opened, in seconds of the epoch."""
    is_over: bool = False
    """The lecture was left."""

    @classmethod
    def of_beat(
        cls,
        replay: Script,
        number: int,
        began: float,
        status: str,
        *,
        is_answered: bool,
        problems: tuple[str, ...] = (),
        is_over: bool = False,
    ) -> LectureNotes:
        """Give the notes on a beat of a replay."""
        beats = replay.beats
        beat: Spoken = beats[number - 1] if number else Beat(replay.title, say=replay.summary)
        after = beats[number] if number < len(beats) else None
        ask = beat.ask
        return cls(
            replay.title,
            number,
            len(beats),
            beat.title,
            beat.say.strip(),
            "" if ask is None else ask.text,
            () if ask is None else ask.choices,
            "" if ask is None else ask.answer,
            "" if ask is None else ask.explain,
            is_answered,
            "" if after is None else after.title,
            "" if after is None else after.say.strip(),
            status,
            problems,
            began,
            is_over,
        )


def notes_path() -> Path:
    """Give the file; it exists while, and after, a lecture is held."""
    return state_folder() / "lecture.json"


def write_notes(notes: LectureNotes, path: Path | None = None) -> None:
    """Write the notes so that a reader sees the old ones or the new ones, and never half of them.

    Raises:
        InputError: they cannot be written.
    """
    file = path or notes_path()
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"schema": _SCHEMA, **asdict(notes)}), encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise InputError(f"the speaker's notes cannot be written: {error.strerror}") from None


def read_notes(path: Path | None = None) -> LectureNotes | None:
    """Read the notes; None if no lecture has written any.

    Raises:
        InputError: the file makes no sense.
    """
    file = path or notes_path()
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise InputError(f"{file.name}: no notes of a lecture can be read there") from None
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise InputError(f"{file.name}: expected schema {_SCHEMA}")
    try:
        return LectureNotes(**{field.name: _value(document[field.name], field.type) for field in fields(LectureNotes)})
    except (KeyError, TypeError):
        raise InputError(f"{file.name}: the notes are not whole") from None


def _value(found: object, kind: object) -> Any:
    """Give a value of the file as the kind that a field has.

    Raises:
        TypeError: it is of another kind.
    """
    if kind == "tuple[str, ...]":
        if not isinstance(found, list):
            raise TypeError
        return tuple(str(item) for item in found)
    if str(kind) == "float" and isinstance(found, (int, float)):
        return float(found)
    if type(found).__name__ != kind:
        raise TypeError
    return found
