"""Keys of one's own: a small file that says which key does what, checked line by line."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_config_path
from textual.binding import Binding, InvalidBinding

from ringviz.guest.schema import clipped, did_you_mean
from ringviz.ui import commands
from ringviz.ui.commands import Command

CONFIG_VARIABLE = "RINGVIZ_CONFIG"
"""Environment variable: the folder of `keys.toml`, in place of the platform's own."""
TABLES: Mapping[str, Sequence[Command]] = {
    "explore": commands.EXPLORE,
    "replay": (*commands.REPLAY, *commands.EXPLORE),
    "vendors": commands.VENDORS,
    "side by side": commands.GROUP,
    "edit": commands.EDIT,
    "lecture": commands.LECTURE,
    "lesson": commands.LESSON,
    "lessons": commands.LESSONS,
    "home": commands.HOME,
}
"""The commands of every screen: within one of them no two may share a key."""


def keys_path() -> Path:
    """Give the file; it need not exist."""
    own = os.environ.get(CONFIG_VARIABLE)
    return (Path(own) if own else user_config_path("ringviz")) / "keys.toml"


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """What the file says, as far as it can be followed."""

    keymap: Mapping[str, str] = field(default_factory=dict)
    """Keys by id of the command, in Textual's names, separated by commas."""
    faces: Mapping[str, str] = field(default_factory=dict)
    """How the first of them is written for people."""
    complaints: tuple[str, ...] = ()
    """One line for each entry that cannot be followed."""

    def face(self, command: Command) -> str:
        """Give how a command's key is shown."""
        return self.faces.get(command.id, command.face)


def load_keys(path: Path | None = None) -> OwnKeys:
    """Read the file; what makes no sense is left out and complained of, never fatal."""
    file = path or keys_path()
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return OwnKeys()
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["unreadable"])[0]
        return OwnKeys(complaints=(f"{file.name} is left out: {clipped(reason)}",))
    entries = document.get("keys")
    if not isinstance(entries, dict) or set(document) != {"keys"}:
        return OwnKeys(complaints=(f"{file.name} is left out: expected one table [keys]",))
    return _understood(entries, file.name)


def _understood(entries: Mapping[str, object], name: str) -> OwnKeys:
    known = {command.id for table in TABLES.values() for command in table}
    keymap: dict[str, str] = {}
    faces: dict[str, str] = {}
    complaints = []
    for id_, wanted in entries.items():
        names = _names(wanted)
        if id_ not in known:
            complaints.append(f"{name}: {clipped(id_)} is no command{did_you_mean(id_, sorted(known))}")
        elif not names:
            complaints.append(f"{name}: {id_}: expected keys such as {_EXAMPLE}")
        elif (taken := _taken(id_, names, keymap)) is not None:
            complaints.append(f"{name}: {id_}: {taken} has that key already")
        else:
            keymap[id_] = ",".join(names)
            faces[id_] = str(wanted).split(",")[0].strip()
    return OwnKeys(keymap, faces, tuple(complaints))


_EXAMPLE = '"j" or "ctrl+n,down"'


def _names(wanted: object) -> list[str]:
    """Give keys in Textual's names; none if they are no keys."""
    if not isinstance(wanted, str) or not wanted.strip():
        return []
    try:
        return [binding.key for binding in Binding.make_bindings([Binding(wanted, "nothing")])]
    except InvalidBinding:
        return []


def _taken(id_: str, names: Sequence[str], keymap: Mapping[str, str]) -> str | None:
    """Give the command that has one of these keys on a screen on which this one is; None if nobody has."""
    for table in TABLES.values():
        if all(command.id != id_ for command in table):
            continue
        for command in table:
            if command.id != id_ and set(keymap.get(command.id, command.keys).split(",")) & set(names):
                return command.id
    return None
