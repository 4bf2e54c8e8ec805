"""A scenario's source as texts that somebody edits, and a scenario folder of one's own made from them.

A folder has everything that its guest is built from and needs, and nothing outside it: a file that the source includes
from elsewhere comes along under a name of its own, and `%include` and `incbin` are changed to say so.
"""

import json
import re
import shutil
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ringviz.errors import InputError, ScenarioError
from ringviz.guest.scenario import SCENARIO_FILE, Scenario, shown_path
from ringviz.guest.source_text import included_in, normalized, with_includes_renamed

_INCBIN = re.compile(rb'^(?P<before>[^;"]*\bincbin\s+")(?P<name>[^"]+)(?P<behind>".*)$', re.IGNORECASE | re.MULTILINE)
_TITLE = re.compile(r"^title\s*=.*$", re.MULTILINE)
_MOST_FILES = 64
"""Files that include one another without end are left to the assembler, which complains."""


def source_texts(scenario: Scenario) -> dict[str, str]:
    """Give the texts that a guest is assembled from, its own source first, by the names that the source gives them.

    Raises:
        InputError: the guest has no source, as an image that somebody brings.
        ScenarioError: a file cannot be read, or is no text.
    """
    if not scenario.source_path.is_file():
        raise InputError(f"{scenario.id} has no source to edit: there is only its image")
    return closure(scenario, {})


def closure(scenario: Scenario, texts: Mapping[str, str]) -> dict[str, str]:
    """Give all texts that a guest is assembled from; those that are given take the place of the scenario's files.

    Raises:
        ScenarioError: a file cannot be read, or is no text.
    """
    wanted = list(dict.fromkeys(scenario.files(variant).source.name for variant in scenario.variants))
    found: dict[str, str] = {}
    while wanted and len(found) < _MOST_FILES:
        name = wanted.pop(0)
        if name in found:
            continue
        text = texts[name] if name in texts else _read(scenario.path / name)
        found[name] = text
        wanted += [inner for inner in included_in(text.encode()) if inner in texts or (scenario.path / inner).is_file()]
    return found


def write_copy(scenario: Scenario, texts: Mapping[str, str], folder: Path, title: str) -> dict[str, str]:
    """Write a scenario folder with other texts; image and symbols are not in it, they are yet to be built.

    Args:
        scenario: whose guest was edited.
        texts: what takes the place of its files.
        folder: exists, and is empty.
        title: of the new scenario.

    Returns:
        Names of the texts in the folder, each with the name that the scenario's source gives it.

    Raises:
        ScenarioError: something cannot be read or written.
    """
    whole = closure(scenario, texts)
    names = file_names(whole)
    locals_ = {name: local for local, name in names.items()}
    inside = set(locals_.values()) | {SCENARIO_FILE, scenario.guest.image}
    blobs = dict(_local_names(data_files(scenario, whole), taken=inside))
    try:
        for name, local in locals_.items():
            content = with_includes_renamed(whole[name].encode(), locals_)
            (folder / local).write_bytes(_INCBIN.sub(lambda match: _renamed(match, blobs), content))
        for name, local in blobs.items():
            shutil.copyfile(scenario.path / name, folder / local)
        told = (scenario.path / SCENARIO_FILE).read_text(encoding="utf-8")
        (folder / SCENARIO_FILE).write_text(_retitled(told, title), encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{shown_path(folder)}: cannot be written: {error.strerror}") from None
    return names


def file_names(texts: Mapping[str, str]) -> dict[str, str]:
    """Give the names that texts have in a folder of their own, each with the name that the source gives it."""
    return {local: name for name, local in _local_names(texts, taken=set())}


def data_files(scenario: Scenario, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Give the files of a folder that are no texts: disks, what is sent to the terminal, what `incbin` takes over."""
    spec = scenario.guest
    named = [name for name in (spec.disk, spec.disk2, spec.input) if name is not None]
    taken = [name for text in texts.values() for name in _blobs_in(text) if (scenario.path / name).is_file()]
    return tuple(dict.fromkeys((*named, *taken)))


def _read(path: Path) -> str:
    try:
        return normalized(path.read_bytes()).decode("utf-8")
    except OSError as error:
        raise ScenarioError(f"{shown_path(path)}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{shown_path(path)}: byte {error.start} is not UTF-8") from None


def _local_names(names: Collection[str], taken: set[str]) -> Iterator[tuple[str, str]]:
    """Give a name within the folder for each: its own where it has one, else made of its path."""
    given = {name for name in names if "/" not in name and "\\" not in name} | taken
    for name in names:
        if "/" not in name and "\\" not in name:
            yield name, name
            continue
        local = flat = "-".join(part for part in re.split(r"[/\\]", name) if part not in ("", ".", ".."))
        number = 2
        while local in given:
            local, number = f"{number}-{flat}", number + 1
        given.add(local)
        yield name, local


def _blobs_in(text: str) -> tuple[str, ...]:
    """Give the files whose bytes a text takes over as they are."""
    return tuple(match["name"].decode("utf-8", "replace") for match in _INCBIN.finditer(text.encode()))


def _renamed(match: re.Match[bytes], names: Mapping[str, str]) -> bytes:
    new = names.get(match["name"].decode("utf-8", "replace"))
    return match[0] if new is None else match["before"] + new.encode() + match["behind"]


def _retitled(told: str, title: str) -> str:
    """Give the text of a scenario file with another title; one that is written in an unusual way keeps its own."""
    new = _TITLE.sub(lambda _: f"title = {json.dumps(title, ensure_ascii=False)}", told, count=1)
    try:
        before, after = tomllib.loads(told), tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        return told
    return new if after == {**before, "title": title} else told
