"""A scripted replay: a guest, and the beats in which it is shown. `replay_schema.py` has the keys of the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ringviz.record.made_with import MadeWith

REPLAY_SUFFIX = ".replay.toml"
PANELS: Mapping[str, str] = {
    "rings": "who sits in which ring, and where the CPU is",
    "code": "the guest's code, with what becomes of each instruction",
    "vmm": "what the VMM keeps beside the guest's code",
    "cpu": "the CPU, twice: what the guest believes and what is so",
    "card": "what just happened",
    "events": "traps and exits",
    "console": "what the guest has printed",
    "overhead": "the bill so far",
    "timeline": "the run from its start to its end",
}
"""What a beat may put into the light, by name."""


@dataclass(frozen=True, slots=True)
class ToStep:
    """To a number of retired instructions; `is_relative`: so many from here, negative ones back."""

    count: int
    is_relative: bool = False


@dataclass(frozen=True, slots=True)
class ToEvent:
    """To the next event of a kind, or of any; `times` of them."""

    kind: str
    """A value of `Kind`, `any`, or `ring`: the next that changes the ring."""
    times: int = 1
    instruction: str = ""
    """Only events of instructions whose text begins so."""


@dataclass(frozen=True, slots=True)
class ToPlace:
    """On to where the guest is about to execute the instruction at an address or symbol; `times` of them."""

    name: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class ToStart:
    """Back to the first instruction."""


@dataclass(frozen=True, slots=True)
class ToEnd:
    """To the end of the run."""


Go = ToStep | ToEvent | ToPlace | ToStart | ToEnd


@dataclass(frozen=True, slots=True)
class Machine:
    """What a beat changes about the machine below the guest; None is: as it is."""

    technique: str | None = None
    mmu: str | None = None
    cpu: str | None = None
    controls: tuple[str, ...] | None = None

    @property
    def is_changed(self) -> bool:
        """Something is."""
        return (self.technique, self.mmu, self.cpu, self.controls) != (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Question:
    """What a beat asks before it goes on."""

    text: str
    choices: tuple[str, ...] = ()
    answer: str = ""
    """What to say when somebody has tried; one of the choices, where there are some."""
    explain: str = ""
    """What is said with the answer, and not before."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing that must be so at a beat."""

    key: str
    """What is looked at: a key of `ringviz.record.observation`."""
    relation: str
    """`==`, `!=`, `<`, `<=`, `>`, `>=` or `has`."""
    value: int | float | str | bool

    @property
    def words(self) -> str:
        """What was wanted, for people."""
        shown = f'"{self.value}"' if isinstance(self.value, str) else shown_value(self.key, self.value)
        return shown if self.relation == "==" else f"{self.relation} {shown}"


@dataclass(frozen=True, slots=True)
class Beat:
    """One moment of a replay. Its parts happen in the order in which they stand here."""

    title: str
    machine: Machine = Machine()
    go: Go | None = None
    focus: str = ""
    """Panel to point at, one of `PANELS`; empty: none."""
    is_zoomed: bool = False
    """Show that panel alone."""
    say: str = ""
    ask: Question | None = None
    compare: tuple[str, ...] = ()
    """Techniques to put side by side."""
    expect: tuple[Wanted, ...] = ()
    wait_seconds: float = 0.0
    """How long to rest here before going on by itself, beyond the time that the words take to read."""


class Spoken(Protocol):
    """What a speaker needs of a beat, whatever it is about."""

    @property
    def title(self) -> str:
        """Its title."""

    @property
    def say(self) -> str:
        """The words."""

    @property
    def ask(self) -> Question | None:
        """A question, before it goes on."""

    @property
    def wait_seconds(self) -> float:
        """How long to rest, beyond the time that the words take."""


class Script(Protocol):
    """A row of beats that somebody shows and speaks about."""

    @property
    def title(self) -> str:
        """Its title."""

    @property
    def summary(self) -> str:
        """What it is about."""

    @property
    def beats(self) -> Sequence[Spoken]:
        """In order."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay file, checked."""

    path: Path
    where: str
    """The file as messages name it."""
    title: str
    scenario: str
    """Id or path of the guest's folder."""
    machine: Machine
    """What it begins with."""
    beats: tuple[Beat, ...]
    made_with: MadeWith | None = None
    """Hashes of what it was recorded with; None if it does not say."""
    summary: str = ""

    def place_of(self, number: int) -> str:
        """Name a beat in a message."""
        return f'{self.where}: beat {number} "{self.beats[number - 1].title}"'


def shown_value(key: str, value: object) -> str:
    """Give a value as people read it: what is a register, an address or a byte is hexadecimal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:X}h" if is_hexadecimal(key) and value > _SMALLEST_HEXADECIMAL else f"{value:,}"
    return f'"{value}"' if isinstance(value, str) else str(value)


_SMALLEST_HEXADECIMAL = 9


def is_hexadecimal(key: str) -> bool:
    """Tell whether a key's numbers are those of registers and addresses."""
    return key.split(".")[0] in ("guest", "real") or key.endswith((".address", ".resume"))
