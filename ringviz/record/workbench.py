"""What somebody has changed in a scenario's source: kept on disk as it is typed, and built beside the scenario.

The scenario's own folder is never written to. For each scenario that was edited there is a folder under `edits` in the
state folder: `edit.json` has the texts (`edit-2.json` what another window made of them at the same time), and `built`
the last few guests that were made of them, each a whole scenario.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

from ringviz.errors import AssemblyError, InputError, RingvizError, ScenarioError
from ringviz.guest.build import write_build
from ringviz.guest.own_copy import closure, data_files, file_names, source_texts, write_copy
from ringviz.guest.scenario import SCENARIO_FILE, Scenario, find_scenario, load_scenario, scenario_folders, shown_path
from ringviz.guest.schema import clipped
from ringviz.record.kept_texts import KeptTexts

_SCHEMA = 1
_ORIGIN = "origin.json"
_BUILT = "built"
_MOST_BUILDS = 4
"""Built guests that stay on disk: enough to go on from the last place, few enough to be forgotten."""
EDITED = "edited"
"""What is put behind a scenario's id and title."""


class Workbench:
    """The texts of one scenario, as they are now.

    Args:
        scenario: whose.
        edits: the folder of all edits; None keeps nothing on disk but built guests, which go to a temporary folder.

    Raises:
        RingvizError: the scenario has no source, or it cannot be read.
    """

    def __init__(self, scenario: Scenario, edits: Path | None) -> None:
        self.scenario = scenario
        self.originals: Mapping[str, str] = source_texts(scenario)
        """The scenario's own texts, by the names that its source gives them; the source itself first."""
        self.texts: dict[str, str] = dict(self.originals)
        """The texts as they are now."""
        self.is_from_before = False
        """Texts were found on disk."""
        self.changed_below: tuple[str, ...] = ()
        """Files that the user had changed, and whose originals are others now than they were then."""
        self.place: tuple[str, int] | None = None
        """File and row, from 0, in which the user was the last time."""
        self.trouble = ""
        """One line for the user if something on disk could not be used, or written."""
        self.remark = ""
        """One line for the user about what somebody else has changed meanwhile; whoever says it takes it away."""
        self._begun_with: dict[str, str] = {}
        """Digests of the originals that changed texts are based on."""
        self._in_use: set[Path] = set()
        self._on_disk: dict[str, str] = {}
        """The changed texts as they were read or written last."""
        self._folder = None if edits is None else edits / _key(scenario)
        self._kept = None if self._folder is None else KeptTexts(self._folder)
        self._load()

    @property
    def changed(self) -> tuple[str, ...]:
        """Files whose texts are not the originals'."""
        return tuple(name for name, text in self.texts.items() if text != self.originals.get(name))

    def changed_lines(self) -> int:
        """How many lines are not as in the original: new, changed, or gone."""
        count = 0
        for name in self.changed:
            old, new = self.originals.get(name, "").split("\n"), self.texts[name].split("\n")
            for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
                count += 0 if tag == "equal" else max(b - a, d - c)
        return count

    def change(self, name: str, text: str) -> None:
        """Take over a text as it is now; `keep` writes it down."""
        if text == self.originals.get(name):
            self._begun_with.pop(name, None)
        else:
            self._begun_with.setdefault(name, _digest(self.originals.get(name, "")))
        self.texts[name] = text

    def take_originals(self) -> None:
        """Have the scenario's own texts again."""
        self.texts = dict(self.originals)
        self._begun_with.clear()
        self.changed_below = ()

    def keep(self, place: tuple[str, int] | None = None) -> bool:
        """Write the texts to disk, whole or not at all; True if they are there."""
        self.place = place or self.place
        if self._kept is None:
            return True
        changed = self.changed
        content = {
            "schema": _SCHEMA,
            "scenario": self.scenario.id,
            "texts": {name: self.texts[name] for name in changed},
            "originals": {name: self._begun_with[name] for name in changed},
            "place": None if self.place is None else list(self.place),
        }
        texts = {name: self.texts[name] for name in changed}
        whole = json.dumps(content, ensure_ascii=False, indent=1).encode() if changed else None
        try:
            is_alone = self._kept.write(whole, is_new=texts != self._on_disk)
        except OSError as error:
            self.trouble = f"your text cannot be kept on disk: {error.strerror}"
            return False
        self._on_disk = texts
        self.trouble = ""
        if not is_alone:
            self.remark = f"Another window has changed this text, too: both are kept, yours as version {self.version}."
        return True

    @property
    def version(self) -> int:
        """Which of the versions on disk this is, from 1; 0 for none."""
        return 0 if self._kept is None else self._kept.number

    @property
    def versions(self) -> int:
        """How many versions are on disk: more than one where two windows have changed the text at once."""
        return 0 if self._kept is None else len(self._kept.versions())

    def turn(self) -> bool:
        """Keep the texts, and take up those of the next version; False if there is no other."""
        if self._kept is None or not self.keep() or not self._kept.turn():
            return False
        self.take_originals()
        self.place = None
        self._load()
        return True

    def follow_originals(self) -> tuple[str, ...]:
        """Look at the scenario's own files again, which another program may have changed.

        A text that the user has not changed here is taken over as it is there now; one that they have changed stays.

        Returns:
            The files that are others now.
        """
        try:
            now = source_texts(self.scenario)
        except RingvizError:
            return ()  # gone, or half written: there is nothing to follow
        others = tuple(name for name, text in now.items() if text != self.originals.get(name))
        if not others and set(now) == set(self.originals):
            return ()
        mine = set(self.changed)
        for name in set(self.originals) - set(now) - mine:
            self.texts.pop(name, None)  # nothing includes it any more
        self.originals = now
        for name in others:
            if name not in mine:
                self.texts[name] = now[name]
        stay = [name for name in others if name in mine]
        self.changed_below = tuple(dict.fromkeys((*self.changed_below, *stay)))
        taken = [name for name in others if name not in mine]
        said = [f"{', '.join(taken)} was changed by another program, and is read again."] if taken else []
        if stay:
            said.append(f"{', '.join(stay)} was changed by another program; your text of it stays.")
        self.remark = " ".join(said)
        return others

    def build(self, texts: Mapping[str, str] | None = None) -> Scenario:
        """Assemble the texts, as they are now or as they are given, and give the guest as a scenario of its own.

        Raises:
            ToolError: NASM is missing; says how to get it.
            AssemblyError: NASM refuses the texts; its complaints name the files as the source does.
            ScenarioError: the guest cannot be built for another reason.
        """
        texts = dict(self.texts if texts is None else texts)
        home = self._home() / _BUILT
        folder = home / self._fingerprint(texts) / f"{self.scenario.id}-{EDITED}"
        if not _is_whole(folder):
            try:
                home.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(prefix=".part-", dir=home, ignore_cleanup_errors=True) as part:
                    made = Path(part) / folder.parent.name
                    made.mkdir()
                    self._build_in(made / folder.name, texts)
                    origin = json.dumps({"scenario": _name_of(self.scenario)})
                    (made / _ORIGIN).write_text(origin, encoding="utf-8")
                    shutil.rmtree(folder.parent, ignore_errors=True)
                    os.rename(made, folder.parent)  # whole or not at all
            except OSError as error:
                raise ScenarioError(f"the edited guest cannot be written: {error.strerror}") from None
        self._in_use.add(folder.parent)
        os.utime(folder.parent)
        self._forget_old_builds(home)
        return self._with_the_same_machine(load_scenario(folder))

    def save_as(self, target: Path) -> Path:
        """Build the texts as a scenario of the user's own, in a folder that does not exist yet.

        Raises:
            InputError: there is something already, or it cannot be made.
            RingvizError: as for `build`.
        """
        folder = Path(os.path.abspath(target.expanduser()))
        where = shown_path(folder)
        if folder.exists() or folder.is_symlink():
            raise InputError(f"{clipped(where)}: exists already, and nothing is overwritten; expected a new folder")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as part:
                made = Path(part) / folder.name
                self._build_in(made, self.texts)
                os.rename(made, folder)  # whole or not at all
        except OSError as error:
            raise InputError(f"{clipped(where)}: cannot be made: {error.strerror}") from None
        return folder

    def _build_in(self, folder: Path, texts: Mapping[str, str]) -> None:
        """Make a scenario folder with image and symbols."""
        folder.mkdir()
        names = write_copy(self.scenario, texts, folder, f"{self.scenario.title} ({EDITED})")
        try:
            write_build(load_scenario(folder, is_built=False))
        except AssemblyError as error:
            found = tuple(one._replace(file=names.get(one.file, one.file)) for one in error.complaints)
            first = next((one for one in found if one.is_error), None)
            words = str(error) if first is None else f"{first.file}, line {first.number}: {first.text}"
            raise AssemblyError(_without(words, folder), found) from None
        except RingvizError as error:
            raise type(error)(_without(str(error), folder)) from None

    def names_in_builds(self) -> dict[str, str]:
        """Give the names that files have in built guests, each with the name that the original's source gives it."""
        return file_names(closure(self.scenario, self.texts))

    def _with_the_same_machine(self, built: Scenario) -> Scenario:
        """Give the built guest disks, memory, limit and typist that the command line gave the original."""
        original = self.scenario
        disks = tuple(
            ours if theirs is not None and theirs.path == original.image_path else theirs
            for ours, theirs in zip(built.disks, original.disks, strict=True)
        )
        return replace(
            built,
            disks=(disks[0], disks[1]),
            guest=replace(built.guest, memory_mib=original.guest.memory_mib),
            limits=original.limits,
            console_input=original.console_input,
            keys=original.keys,
        )

    def _fingerprint(self, texts: Mapping[str, str]) -> str:
        """Give a name for what is built: other texts, or other files that come along, give another one."""
        digest = hashlib.sha256()
        whole = closure(self.scenario, texts)
        for name, text in whole.items():
            digest.update(f"{name}\0{text}\0".encode())
        for name in (SCENARIO_FILE, *data_files(self.scenario, whole)):
            content = (self.scenario.path / name).read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:16]

    def _home(self) -> Path:
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="ringviz-edit-", ignore_cleanup_errors=True)
            self._folder = Path(self._temporary.name)
        return self._folder

    def _forget_old_builds(self, home: Path) -> None:
        builds = [path for path in home.iterdir() if path.is_dir() and not path.name.startswith(".")]
        for path in sorted(builds, key=lambda path: path.stat().st_mtime, reverse=True)[_MOST_BUILDS:]:
            if path not in self._in_use:
                shutil.rmtree(path, ignore_errors=True)

    def _load(self) -> None:
        if self._kept is None:
            return
        try:
            kept = self._kept.read()
            if kept is None:
                return
            content = json.loads(kept)
            if content["schema"] != _SCHEMA:
                raise ValueError("unknown schema")
            texts, originals, place = content["texts"], content["originals"], content["place"]
            if not _are_texts(texts) or not _are_texts(originals) or set(texts) != set(originals):
                raise ValueError("a value of another kind")
            if place is not None:
                self.place = (str(place[0]), int(place[1]))
        except OSError as error:
            self.trouble = f"your text cannot be read: {error.strerror}"
            return
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            self._set_aside(self._kept.path)
            return
        self._on_disk = dict(texts)
        for name, text in texts.items():
            self.texts[name] = text
            self._begun_with[name] = originals[name]
        self.changed_below = tuple(
            name for name, digest in originals.items() if _digest(self.originals.get(name, "")) != digest
        )
        self.is_from_before = bool(self.changed)

    def _set_aside(self, path: Path) -> None:
        number = 1
        while (aside := path.with_suffix(f".damaged-{number}.json")).exists():
            number += 1
        self.trouble = f"the file with your text was damaged; it is kept as {aside}"
        try:
            os.replace(path, aside)
            if self._kept is not None:
                self._kept.forget()
        except OSError as error:
            self.trouble = f"the file with your text is damaged, and cannot be set aside: {error.strerror}"


def origin_of(scenario: Scenario) -> str | None:
    """Give the id or path of the scenario that a built guest was made from; None if it is no such guest."""
    try:
        return str(json.loads((scenario.path.parent / _ORIGIN).read_bytes())["scenario"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def original_of(scenario: Scenario) -> Scenario:
    """Give the scenario that a built guest was made from, or the scenario itself.

    Raises:
        RingvizError: it is gone.
    """
    origin = origin_of(scenario)
    return scenario if origin is None else find_scenario(origin)


def _is_shipped(scenario: Scenario) -> bool:
    """Tell whether a scenario is found by its id."""
    return scenario.path.parent in [folder.resolve() for folder in scenario_folders()]


def _name_of(scenario: Scenario) -> str:
    return scenario.id if _is_shipped(scenario) else str(scenario.path)


def _key(scenario: Scenario) -> str:
    """Give the name of a scenario's folder of edits: its id, and for one elsewhere a mark that tells folders apart."""
    return scenario.id if _is_shipped(scenario) else f"{scenario.id}.{_digest(str(scenario.path))[:8]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _are_texts(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(value, str) for value in values.values())


def _is_whole(folder: Path) -> bool:
    try:
        load_scenario(folder)
    except ScenarioError:
        return False
    return True


def _without(text: str, folder: Path) -> str:
    """Give a message without the folder, which tells a user nothing."""
    return text.replace(f"{shown_path(folder)}/", "").replace(f"{folder}{os.sep}", "")
