"""What is wrong with a host's lecture: found by reading it, and by playing it to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ringviz.errors import RingvizError
from ringviz.record.machines.host_lecture import HostLecture
from ringviz.record.machines.host_lecture_file import load_host_lecture
from ringviz.record.machines.host_player import playing


def host_lecture_problems(path: Path, *, is_quick: bool = False) -> Iterator[str]:
    """Tell what is not so.

    Args:
        path: the file.
        is_quick: run nothing.

    Yields:
        One line each: file, beat, where the host stands, what was expected and what was found.
    """
    try:
        lecture = load_host_lecture(path)
        if not is_quick:
            yield from _played(lecture)
    except RingvizError as error:
        yield str(error)


def _played(lecture: HostLecture) -> Iterator[str]:
    with playing(lecture) as player:
        while (played := player.next()) is not None:
            place = lecture.place_of(played.number)
            yield from (f"{place}, {failure}" for failure in played.failures)
            if played.problems:
                return  # what follows would begin somewhere else
            if played.beat.focus == "migration" and not player.run.migrations:
                yield f'{place}: focus: found "migration", but no machine has begun to move'
