"""`ringviz new`: a scenario, a lesson, a replay or a CPU of one's own, as a skeleton that works as it is."""

import os
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.names import known
from ringviz.cli.options import cpu_ids, scenario_ids
from ringviz.cli.output import print_lines
from ringviz.errors import InputError
from ringviz.facts.costs import BUILT_IN_CPUS
from ringviz.guest.scenario import SCENARIO_FILE, find_scenario, list_scenarios, shown_path
from ringviz.guest.schema import clipped
from ringviz.lessons.course import list_lessons
from ringviz.record.replay import REPLAY_SUFFIX

new = typer.Typer(
    rich_markup_mode=None,
    help="Make a scenario, a lesson, a replay or a CPU profile of your own, to be edited; `ringviz help authoring`.",
)

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MOST_NAME_CHARS = 40
_FIRST_ORDER = 100
"""Place in the course of the first lesson of somebody's own: behind those that ringviz ships."""
_USUAL_SCENARIO = "hello-serial"
_USUAL_CPU = "p4-672"

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Small letters, digits and hyphens; it becomes the name of the folder.")
]
At = Annotated[Path, typer.Option("--at", metavar="FOLDER", help="Where to make it; the current folder if left out.")]
Guest = Annotated[
    str | None,
    typer.Option(
        "--scenario",
        metavar="SCENARIO",
        help=f"The guest that it speaks of, by id or folder; {_USUAL_SCENARIO} if left out.",
        autocompletion=scenario_ids,
    ),
]


@new.command()
def scenario(name: Name, at: At = Path()) -> int:
    """Make a scenario folder: a small kernel that prints a line, assembled, and a lecture about it."""
    _check_name(name)
    if name in {row.id for row in list_scenarios(on_error=lambda error: None)}:
        raise InputError(f'"{name}" is a scenario already, see `ringviz list`; expected another name')
    folder = _folder(at) / name
    written = _write(folder, "scenario", {"TITLE": _title(name)})
    path = _shell(folder)
    _tell(
        _written(folder, written),
        (f"run {path}", "opens it"),
        (f"build {path}", "assembles guest.asm after a change (needs NASM)"),
        (f"check {path}", "says whether all of it is good"),
        (f"lecture {path}", "holds its lecture"),
        (f"new lesson {name}" + ("" if at == Path() else f" --at {_shell(folder.parent)}"), "adds a lesson"),
    )
    return Exit.DONE


@new.command()
def lesson(name: Name, at: At = Path(), scenario: Guest = None) -> int:
    """Make a lesson folder: pages, a quiz and a lecture; in a scenario's folder it is a lesson about that scenario."""
    _check_name(name)
    if name in {row.id for row in list_lessons(on_error=lambda error: None)}:
        raise InputError(f'"{name}" is a lesson already, see `ringviz learn`; expected another name')
    folder = _folder(at) / name
    words = {"TITLE": _title(name), "ORDER": str(_next_order()), "SCENARIO": _scenario_line(folder, scenario)}
    written = _write(folder, "lesson", words, keeps_lecture=True)
    path = _shell(folder)
    _tell(
        _written(folder, written),
        (f"learn {path}", "follows it"),
        (f"quiz {path}", "asks its quiz"),
        (f"lecture {path}", "holds its lecture"),
        (f"check {path}", "goes through all of it with its guest"),
    )
    return Exit.DONE


@new.command()
def replay(name: Name, at: At = Path(), scenario: Guest = None) -> int:
    """Make a scripted replay: beats that show a guest, say something about it and check it."""
    _check_name(name)
    folder = _folder(at)
    words = {"TITLE": _title(name), "SCENARIO": _scenario_line(folder, scenario)}
    written = _write(folder, "replay", words, name)
    path = _shell(folder / written[0])
    _tell(
        f"{shown_path((folder / written[0]).resolve())}: written",
        (f"replay {path}", "plays it"),
        (f"replay --headless {path}", "checks what it expects"),
        (f"lecture {path}", "holds it in front of an audience"),
    )
    return Exit.DONE


@new.command()
def profile(
    name: Name,
    at: At = Path(),
    base: Annotated[
        str,
        typer.Option(
            "--base", metavar="CPU", help="The CPU to begin with; see `ringviz cpus`.", autocompletion=cpu_ids
        ),
    ] = _USUAL_CPU,
) -> int:
    """Make a CPU profile: what a CPU has and what things cost on it, as a file to edit."""
    from ringviz.machine.profile_text import profile_toml

    _check_name(name)
    folder = _folder(at)
    file = f"{name}.toml"
    cpu = BUILT_IN_CPUS[known("CPU", base, BUILT_IN_CPUS)]
    _check_free(folder, [file])
    _write_new(folder / file, "\n".join(profile_toml(cpu, file)).encode() + b"\n")
    path = _shell(folder / file)
    _tell(
        f"{shown_path((folder / file).resolve())}: written",
        (f"cpus {path}", "shows it"),
        (f"check {path}", "says whether it is good"),
        (f"stat nano-ptemod -t vt-x --cpu {path}", "charges its prices"),
    )
    return Exit.DONE


# ---- inside ----------------------------------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    """Refuse what could not be an id.

    Raises:
        InputError: it could not.
    """
    if not _NAME.fullmatch(name) or len(name) > _MOST_NAME_CHARS:
        raise InputError(
            f'"{clipped(name)}" is no name: expected small letters, digits and single hyphens between them, '
            f"{_MOST_NAME_CHARS} characters at most, such as my-first"
        )


def _folder(at: Path) -> Path:
    """Give the folder to make things in.

    Raises:
        InputError: there is none.
    """
    if not os.path.isdir(at):
        raise InputError(f"--at {clipped(str(at), 200)}: no such folder, expected one that exists")
    return at


def _scenario_line(folder: Path, asked: str | None) -> str:
    """Give the line that names the guest; none in a scenario's own folder, which goes without saying.

    Raises:
        RingvizError: there is no such guest.
    """
    if asked is None and (folder / SCENARIO_FILE).is_file():
        return ""
    found = find_scenario(asked or _USUAL_SCENARIO)
    is_id = found.id in {row.id for row in list_scenarios(on_error=lambda error: None)}
    place = found.id if is_id else os.path.relpath(found.path, folder)
    return f'scenario = "{place}"\n'


def _next_order() -> int:
    orders = [row.order for row in list_lessons(on_error=lambda error: None)]
    return max([_FIRST_ORDER, *(order + 1 for order in orders)])


def _title(name: str) -> str:
    words = name.replace("-", " ")
    return words[:1].upper() + words[1:]


def _write(
    folder: Path, kind: str, words: Mapping[str, str], name: str = "NAME", *, keeps_lecture: bool = False
) -> list[str]:
    """Write the files of a skeleton, and give their names.

    Args:
        folder: where; it is made if need be.
        kind: which skeleton.
        words: what is put in where a skeleton has a name between at signs.
        name: what is put in for NAME in the name of a file.
        keeps_lecture: a lecture that is there already is good enough.

    Raises:
        InputError: a file of that name is there already, or it cannot be written; then none is.
    """
    files = {path.name.replace("NAME", name): content for path, content in _skeleton(kind)}
    if keeps_lecture and any(folder.glob(f"*{REPLAY_SUFFIX}")):
        files = {file: content for file, content in files.items() if not file.endswith(REPLAY_SUFFIX)}
    _check_free(folder, files)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{shown_path(folder.resolve())}: cannot be made: {error.strerror}") from None
    for file, content in files.items():
        _write_new(folder / file, content if file.endswith(".bin") else _filled(content, words))
    return list(files)


def _skeleton(kind: str) -> Iterator[tuple[Path, bytes]]:
    folder = Path(str(resources.files("ringviz.cli"))) / "skeletons" / kind
    for path in sorted(folder.iterdir()):
        yield path, path.read_bytes()


def _filled(content: bytes, words: Mapping[str, str]) -> bytes:
    for word, text in words.items():
        content = content.replace(f"@{word}@".encode(), text.encode())
    return content


def _check_free(folder: Path, names: Mapping[str, bytes] | list[str]) -> None:
    """Refuse to overwrite anything.

    Raises:
        InputError: one of the names is taken.
    """
    taken = next((name for name in names if os.path.lexists(folder / name)), None)
    if taken is not None:
        raise InputError(f"{shown_path((folder / taken).absolute())}: is there already; nothing was written")


def _write_new(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise InputError(f"{shown_path(path.absolute())}: cannot be written: {error.strerror}") from None


def _written(folder: Path, names: list[str]) -> str:
    return f"{shown_path(folder.resolve())}: {', '.join(names)} written"


def _tell(head: str, *commands: tuple[str, str]) -> None:
    """Say what was made, and what can be done with it: commands, and what they are for."""
    width = max(len(command) for command, _what in commands)
    print_lines([head, "", *(f"ringviz {command:<{width}}   {what}" for command, what in commands)])


def _shell(path: Path) -> str:
    """Give a path as it has to be typed; one without a slash gets one, so that it is not taken for an id."""
    text = os.path.relpath(path) if not path.is_absolute() else str(path)
    text = text if "/" in text or text.endswith(".toml") or text == "." else f"./{text}"
    return f"'{text}'" if " " in text else text
