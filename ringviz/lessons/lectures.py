"""Which replay is meant by a word: a file, the lecture of a scenario, of a lesson, or of a host with its machines."""

from __future__ import annotations

import os
from pathlib import Path

from ringviz.errors import InputError
from ringviz.guest.scenario import find_scenario, list_scenarios
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.lessons.course import find_lesson, lesson_folders
from ringviz.lessons.read import LESSON_FILE, read_lesson
from ringviz.record.machines.host_file import host_ids
from ringviz.record.machines.host_lecture_file import host_lecture_of
from ringviz.record.replay import REPLAY_SUFFIX
from ringviz.record.replay_file import replays_in


def find_replay(text: str) -> Path:
    """Give the replay file that is meant: a file, a folder, a host, a scenario or a lesson.

    Some hosts have the name of a guest that runs on them; then the host is meant, as it is by `ringviz run`. The
    guest's is found by its folder.

    Raises:
        InputError: there is no such thing, or it has no replay.
    """
    of_host = host_lecture_of(text) if text in host_ids() else None
    return of_host or find_own_replay(text)


def find_own_replay(text: str) -> Path:
    """Give the replay file that is meant where no host can be: a file, a folder, a scenario or a lesson.

    A lesson about a host without a lecture of its own has that of its host.

    Raises:
        InputError: there is no such thing, or it has no replay.
    """
    path = Path(text)
    if os.path.isfile(path):
        return path
    if path.name.endswith(".toml"):
        raise InputError(f"{text}: no such file")
    name, folder = _folder_of(text)
    found = replays_in(folder)
    if not found and (folder / LESSON_FILE).is_file():
        host = read_lesson(folder).host
        of_host = None if host is None else host_lecture_of(host)
        found = () if of_host is None else (of_host,)
    if not found:
        raise InputError(f"{name} has no replay; expected a file *{REPLAY_SUFFIX} in its folder")
    return found[0]


def _folder_of(text: str) -> tuple[str, Path]:
    """Give the id and the folder of a scenario or a lesson.

    Raises:
        InputError: there is none of that name.
    """
    lessons = lesson_folders()
    if text in lessons:
        return text, lessons[text]
    if text.isdecimal() or os.path.isfile(Path(text) / LESSON_FILE):
        lesson = find_lesson(text)
        return lesson.id, lesson.path.parent
    try:
        scenario = find_scenario(text)
    except InputError:
        if os.path.exists(text):
            raise
        ids = [*lessons, *host_ids(), *(row.id for row in list_scenarios(on_error=lambda error: None))]
        raise InputError(
            f'"{clipped(text)}" unknown; expected a replay file, a scenario of `ringviz list` or a lesson of '
            f"`ringviz learn`{did_you_mean(text, ids)}"
        ) from None
    return scenario.id, scenario.path
