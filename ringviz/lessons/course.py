"""The lessons there are: those that ringviz ships, and those in scenario folders of one's own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from ringviz.errors import InputError, RingvizError
from ringviz.guest.scenario import scenario_folders
from ringviz.guest.schema import did_you_mean
from ringviz.lessons.lesson import Lesson
from ringviz.lessons.read import LESSON_FILE, read_lesson


def course_folder() -> Path:
    """Give the folder with the lessons that ringviz ships."""
    return Path(str(resources.files("ringviz.lessons"))) / "course"


def list_lessons(on_error: Callable[[RingvizError], None] | None = None) -> tuple[Lesson, ...]:
    """Give all lessons in order; a broken one is passed to `on_error`, or else raised.

    Raises:
        LessonError: a lesson is broken, and nobody takes the complaint.
    """
    lessons = []
    for folder in _folders():
        try:
            lessons.append(read_lesson(folder))
        except RingvizError as error:
            if on_error is None:
                raise
            on_error(error)
    return tuple(sorted(lessons, key=lambda lesson: (lesson.order, lesson.id)))


def find_lesson(id_or_path: str) -> Lesson:
    """Give a lesson by its id, its place in the course, or the path of its folder or file.

    Raises:
        InputError: there is no such lesson.
        LessonError: there is, and it is broken.
    """
    path = Path(id_or_path)
    if "/" in id_or_path or path.suffix == ".md":
        if not path.exists():
            raise InputError(f"{id_or_path}: no such lesson")
        return read_lesson(path)
    folders = lesson_folders()
    if id_or_path in folders:
        return read_lesson(folders[id_or_path])
    if id_or_path.isdecimal():
        numbered = next((lesson for lesson in list_lessons(_ignore) if lesson.order == int(id_or_path)), None)
        if numbered is not None:
            return numbered
    if (path / LESSON_FILE).is_file():
        return read_lesson(path)
    raise InputError(
        f'lesson "{id_or_path}" unknown; choose one of {", ".join(folders)}{did_you_mean(id_or_path, folders)}'
    )


def lesson_folders() -> dict[str, Path]:
    """Give the folders of the lessons by id, without looking into them."""
    return {folder.name: folder for folder in _folders()}


def _folders() -> list[Path]:
    shipped = [path.parent for path in sorted(course_folder().glob(f"*/{LESSON_FILE}"))]
    own = [folder for folder in scenario_folders() if (folder / LESSON_FILE).is_file()]
    return shipped + own


def _ignore(_error: RingvizError) -> None:
    """A broken lesson has no number."""
