"""Reads lessons and quizzes from their files.

A lesson is Markdown that reads well as it is. It begins with a table of TOML between lines of `+++`. Every `## heading`
begins a section, which may hold two fenced blocks of TOML: one marked `go` says where the guest is to stand, one marked
`ask` asks a question, and what stands behind that is read after the answer. Four headings have their own meaning:
Misconception, Your turn, Read next, For the teacher.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ringviz.errors import LessonError, RingvizError
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import SCENARIO_FILE, Scenario, find_scenario, load_scenario, shown_path
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.lessons.asked import Asked, read_question
from ringviz.lessons.lesson import Lesson, Move, Quiz, Section
from ringviz.record.replay import PANELS as REPLAY_PANELS

SCHEMA_VERSION = 1
LESSON_FILE, QUIZ_FILE = "lesson.md", "quiz.toml"
HOST_PANEL = "host"
PANELS = (*REPLAY_PANELS, "memory", "walk", HOST_PANEL)
"""What `look` may name: the panels of a replay, the two that take the place of the events, and a host's machines."""
MISCONCEPTION, YOUR_TURN, READ_NEXT, TEACHER = "Misconception", "Your turn", "Read next", "For the teacher"
_SPECIAL = (MISCONCEPTION, YOUR_TURN, READ_NEXT, TEACHER)
_MAX_BYTES = 1 << 20
_HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)
_FENCE = re.compile(r"^```(go|ask)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
_HEAD_KEYS = {
    "schema": int, "title": str, "summary": str, "order": int, "core": bool, "minutes": int, "goals": list,
    "scenario": str, "technique": str,
}  # fmt: skip
_TYPES = {int: "a whole number", str: "a text in quotes", bool: "true or false", list: "a list of texts"}
_GO_KEYS = ("technique", "mmu", "cpu", "controls", "to", "look", "host", "after")


def read_lesson(path: Path) -> Lesson:
    """Read and check a lesson, without running anything.

    Args:
        path: `lesson.md`, or the folder it is in.

    Raises:
        LessonError: one line about the first thing that is wrong.
        ScenarioError: its scenario is broken.
    """
    file = path / LESSON_FILE if path.is_dir() else path
    where = shown_path(file.resolve())
    text = _read(file, where)
    if not text.startswith("+++\n") or "\n+++\n" not in text[3:]:
        raise LessonError(f"{where}: expected a table of TOML between two lines of +++ at the top")
    head_text, body = text[4:].split("\n+++\n", 1)
    head = _head(_toml(head_text, f"{where}: the table at the top"), where)
    scenario = _scenario(file, str(head.get("scenario", "")), where)
    chunks = _HEADING.split(body)
    if chunks[0].strip():
        raise LessonError(f"{where}: expected a heading, ## and a title, before the first text")
    sections: list[Section] = []
    special: dict[str, Section] = {}
    head_lines = head_text.count("\n") + 3
    lines = [head_lines + 1 + body[: found.start()].count("\n") for found in _HEADING.finditer(body)]
    for line, title, content in zip(lines, chunks[1::2], chunks[2::2], strict=True):
        name = title.split(":", 1)[0].strip()
        shown = title.removeprefix(f"{name}:").strip() if name in _SPECIAL else title
        section = _section(shown, content, f"{where}:{line}", name, line)
        if name in _SPECIAL:
            if name in special:
                raise LessonError(f"{where}: two sections are called {name}")
            special[name] = section
        else:
            sections.append(section)
    _complete(sections, special, where)
    technique = str(head["technique"])
    return Lesson(
        id=file.resolve().parent.name,
        path=file,
        title=str(head["title"]),
        summary=str(head["summary"]),
        order=int(str(head["order"])),
        is_core=bool(head["core"]),
        minutes=int(str(head["minutes"])),
        goals=tuple(str(goal) for goal in head["goals"]) if isinstance(head["goals"], list) else (),
        scenario=scenario,
        technique=technique,
        sections=tuple(sections),
        misconception=special[MISCONCEPTION],
        your_turn=special[YOUR_TURN],
        read_next=special[READ_NEXT].text,
        teacher=special[TEACHER].text,
    )


def read_quiz(path: Path) -> Quiz:
    """Read and check a quiz, without running anything.

    Raises:
        LessonError: one line about the first thing that is wrong.
    """
    where = shown_path(path.resolve())
    document = _toml(_read(path, where), where)
    for key, value in document.items():
        if key not in ("schema", "title", "pass_percent", "question"):
            raise LessonError(
                f"{where}: {clipped(key)}: unknown key, expected schema, title, pass_percent, [[question]]"
            )
        if key == "schema" and value != SCHEMA_VERSION:
            raise LessonError(f"{where}: schema: expected {SCHEMA_VERSION}")
    percent = document.get("pass_percent")
    if type(percent) is not int or not 1 <= percent <= 100:
        raise LessonError(f"{where}: pass_percent: expected a number from 1 to 100")
    if not isinstance(document.get("title"), str) or "schema" not in document:
        raise LessonError(f"{where}: {'title' if 'schema' in document else 'schema'}: missing")
    tables = document.get("question")
    if not isinstance(tables, list) or not tables:
        raise LessonError(f"{where}: question: expected at least one [[question]]")
    questions = tuple(read_question(table, where, i + 1) for i, table in enumerate(tables))
    _all_different(questions, where)
    return Quiz(path, str(document["title"]), percent, questions)


def _read(path: Path, where: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LessonError(f"{where}: {error.strerror or 'cannot be read'}") from None
    if len(data) > _MAX_BYTES:
        raise LessonError(f"{where}: expected at most {_MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise LessonError(f"{where}: expected a text in UTF-8") from None


def _toml(text: str, where: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LessonError(f"{where}: {clipped(str(error), 100)}") from None


def _head(head: dict[str, object], where: str) -> dict[str, object]:
    known = list(_HEAD_KEYS)
    for key, value in head.items():
        if key not in _HEAD_KEYS:
            raise LessonError(
                f"{where}: {clipped(key)}: unknown key, expected {', '.join(known)}{did_you_mean(key, known)}"
            )
        if type(value) is not _HEAD_KEYS[key]:
            raise LessonError(f"{where}: {key}: expected {_TYPES[_HEAD_KEYS[key]]}")
    missing = next((key for key in known if key not in head and key != "scenario"), None)
    if missing is not None:
        raise LessonError(f"{where}: {missing}: missing, expected {_TYPES[_HEAD_KEYS[missing]]}")
    if head["schema"] != SCHEMA_VERSION:
        raise LessonError(f"{where}: schema: expected {SCHEMA_VERSION}")
    _known_technique(head["technique"], where)
    return head


def _scenario(file: Path, name: str, where: str) -> Scenario:
    """Give the lesson's guest: the one named, by id or as a path from the lesson, or that of its own folder."""
    folder = file.resolve().parent
    if name:
        try:
            beside = folder / name
            return load_scenario(beside) if (beside / SCENARIO_FILE).is_file() else find_scenario(name)
        except RingvizError as error:
            raise LessonError(f"{where}: scenario: {error}") from None
    if not (folder / SCENARIO_FILE).is_file():
        raise LessonError(f"{where}: scenario: missing, expected the id of a scenario")
    return load_scenario(folder)


def _section(title: str, content: str, where: str, name: str, line: int) -> Section:
    place = f"{where}: section “{clipped(title)}”"
    move: Move | None = None
    question: Asked | None = None
    text: list[str] = []
    reveal: list[str] = []
    end = 0
    for found in _FENCE.finditer(content):
        (text if question is None else reveal).append(content[end : found.start()])
        end = found.end()
        table = _toml(found[2], f"{place}: {found[1]}")
        if found[1] == "go":
            if move is not None or question is not None:
                raise LessonError(f"{place}: go: expected one, before the question")
            move = _move(table, place)
        else:
            if question is not None:
                raise LessonError(f"{place}: ask: expected one")
            question = read_question({"id": _slug(name), **table}, place, 1)
    (text if question is None else reveal).append(content[end:])
    return Section(title, move, "".join(text).strip(), question, "".join(reveal).strip(), line)


def _slug(title: str) -> str:
    """Give a question without an id its section's title as one."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower())) or "question"


def _move(table: dict[str, object], place: str) -> Move:
    for key, value in table.items():
        if key not in _GO_KEYS:
            known = ", ".join(_GO_KEYS)
            raise LessonError(
                f"{place}: go: {clipped(key)}: unknown key, expected {known}{did_you_mean(key, _GO_KEYS)}"
            )
        if not isinstance(value, str) or not value:
            raise LessonError(f"{place}: go: {key}: expected a text in quotes")
    if "technique" in table:
        _known_technique(table["technique"], f"{place}: go")
    if "look" in table and table["look"] not in PANELS:
        raise LessonError(f"{place}: go: look: expected one of {', '.join(PANELS)}")
    technique, mmu, cpu, controls, to, look, host, after = (
        str(table[key]) if key in table else None for key in _GO_KEYS
    )
    if len({host is None, after is None, (look or HOST_PANEL) != HOST_PANEL}) > 1 and (host or after):
        raise LessonError(f"{place}: go: expected host, after, and no other look than host")
    if look == HOST_PANEL and host is None:
        raise LessonError(f"{place}: go: look: host: expected the keys host and after, too")
    if host is not None:
        look = HOST_PANEL
    return Move(technique, mmu, cpu, tuple(controls.split()) if controls else (), to, look, host, after or "")


def _known_technique(name: object, where: str) -> None:
    if name not in TECHNIQUES:
        raise LessonError(
            f"{where}: technique: expected one of {', '.join(TECHNIQUES)}{did_you_mean(str(name), TECHNIQUES)}"
        )


def _complete(sections: list[Section], special: dict[str, Section], where: str) -> None:
    if not sections:
        raise LessonError(f"{where}: expected at least one section")
    for name in _SPECIAL:
        if name not in special:
            raise LessonError(f"{where}: expected a section ## {name}")
    if special[YOUR_TURN].question is None:
        raise LessonError(f"{where}: section “{YOUR_TURN}”: expected a question, in a block marked ask")
    asked = (*sections, special[MISCONCEPTION], special[YOUR_TURN])
    _all_different(tuple(section.question for section in asked if section.question is not None), where)


def _all_different(questions: tuple[Asked, ...], where: str) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise LessonError(f"{where}: question {question.id}: expected an id of its own, another question has it")
        seen.add(question.id)
