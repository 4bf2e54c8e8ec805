"""Traces on disk: what stands in such a file, and how each line is written and checked.

A trace file is lines of JSON that are only ever appended. The first says what is traced, the last how it ended, each
line between is one event (`event_record.FIELDS`). Each line ends with a checksum of what stands before it, so that a
line that was changed is not taken for what it was. A process that is killed leaves a file that is good up to its last
whole line.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ringviz.engine.events import Event
from ringviz.record.event_record import event_record
from ringviz.record.made_with import MadeWith

TRACE_VERSION = 1
"""Goes up when a reader of this version could no longer understand the lines."""
TRACE_SUFFIX = ".rvtrace"
_HEAD_KEY = "ringviz_trace"
_CRC_MARK = ', "crc": "'
_CRC_CHARS = len(f'{_CRC_MARK}00000000"}}')


@dataclass(frozen=True, slots=True)
class TraceHeading:
    """What a trace file is a trace of: its first line."""

    scenario: str
    title: str
    technique: str
    mmu: str
    cpu: str
    controls: tuple[str, ...]
    made_with: MadeWith
    version: int = TRACE_VERSION

    @property
    def words(self) -> str:
        """The run in a few words."""
        controls = f", {' '.join(self.controls)}" if self.controls else ""
        return f"{self.scenario} under {self.technique}, memory {self.mmu}, CPU {self.cpu}{controls}"


@dataclass(frozen=True, slots=True)
class TraceEnding:
    """How the run ended: the last line."""

    retired: int
    events: int
    outcome: str


TraceLine = TraceHeading | TraceEnding | Mapping[str, Any]
"""One line understood; an event is the record of `event_record`."""


def heading_line(heading: TraceHeading) -> str:
    """Give the first line."""
    return _line(
        {
            _HEAD_KEY: heading.version,
            "scenario": heading.scenario,
            "title": heading.title,
            "technique": heading.technique,
            "mmu": heading.mmu,
            "cpu": heading.cpu,
            "controls": list(heading.controls),
            "made_with": heading.made_with.values(),
        }
    )


def event_line(event: Event) -> str:
    """Give one event's line."""
    return _line(event_record(event))


def ending_line(ending: TraceEnding) -> str:
    """Give the last line."""
    return _line({"end": {"retired": ending.retired, "events": ending.events, "outcome": ending.outcome}})


def parse_line(line: bytes, *, is_checked: bool = False) -> TraceLine:
    """Understand one whole line, without its line end.

    Args:
        line: the bytes.
        is_checked: the file has checksums, so that a line without one is damaged.

    Raises:
        ValueError: it is not what was written; the text says in a few words what is wrong with it.
    """
    text, has_checksum = _checked(line)
    if is_checked and not has_checksum:
        raise ValueError("has no checksum")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("is no object")
    try:
        if _HEAD_KEY in found and has_checksum:
            return _heading(found)
        if isinstance(found.get("end"), dict):
            end = found["end"]
            return TraceEnding(int(end["retired"]), int(end["events"]), str(end["outcome"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError("lacks what it must say") from None
    return found


def is_trace_file(path: Path) -> bool:
    """Tell whether a file begins as a trace file does, or bears its name."""
    if not path.is_file():
        return False
    if path.suffix == TRACE_SUFFIX:
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(_HEAD_KEY) + 3).startswith(f'{{"{_HEAD_KEY}"'.encode())
    except OSError:
        return False


def _line(values: Mapping[str, object]) -> str:
    body = json.dumps(values, ensure_ascii=True)[:-1]
    return f'{body}{_CRC_MARK}{zlib.crc32(body.encode()):08x}"}}\n'


def _checked(line: bytes) -> tuple[str, bool]:
    """Give the text of a line, and whether it has a checksum, which is right: plain JSON lines have none."""
    body, end = line[:-_CRC_CHARS], line[-_CRC_CHARS:]
    if end.startswith(_CRC_MARK.encode()) and end.endswith(b'"}'):
        if end[len(_CRC_MARK) : -2] != f"{zlib.crc32(body):08x}".encode():
            raise ValueError("has another checksum than it says")
        return (body + b"}").decode("ascii", "replace"), True
    return line.decode("utf-8", "replace"), False


def _heading(found: Mapping[str, Any]) -> TraceHeading:
    made = found["made_with"]
    return TraceHeading(
        scenario=str(found["scenario"]),
        title=str(found["title"]),
        technique=str(found["technique"]),
        mmu=str(found["mmu"]),
        cpu=str(found["cpu"]),
        controls=tuple(str(word) for word in found["controls"]),
        made_with=MadeWith(str(made["image"]), str(made["engine"]), str(made["profile"])),
        version=int(found[_HEAD_KEY]),
    )
