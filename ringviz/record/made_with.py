"""What a recording was made with, as hashes: so that a stale one can say what has changed since."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from ringviz.facts.costs import CpuProfile
from ringviz.guest.scenario import Scenario, Variant

_ENGINE_LAYERS = ("facts", "guest", "machine", "vmm", "engine")
"""The packages that decide what a guest does and what is said about it."""
_ENGINE_FILES = (".py", ".asm", ".bin")
_SHOWN_DIGITS = 16
"""Of a SHA-256: enough to tell any two versions apart, and few enough to stand in a line."""
_WORDS: Mapping[str, str] = {"image": "the guest's image", "engine": "ringviz", "profile": "the CPU's profile"}


@dataclass(frozen=True, slots=True)
class MadeWith:
    """Hashes of the three things that decide what a run shows."""

    image: str
    """The guest: the build that runs, its disks, and what is typed into it."""
    engine: str
    """The sources of ringviz below its screens."""
    profile: str
    """The cost profile."""

    def values(self) -> dict[str, str]:
        """Give the hashes by name."""
        return asdict(self)

    def changed(self, now: "MadeWith") -> tuple[str, ...]:
        """Name what is not as it was, in words."""
        old, new = self.values(), now.values()
        return tuple(_WORDS[name] for name in old if old[name] != new[name])


def made_with(scenario: Scenario, variant: Variant, cpu: CpuProfile) -> MadeWith:
    """Hash what a run of a scenario is made with."""
    return MadeWith(image_digest(scenario, variant), engine_digest(), profile_digest(cpu))


def told_changes(changes: tuple[str, ...]) -> str:
    """Say what `MadeWith.changed` has found, as the beginning of a sentence."""
    names = " and ".join((", ".join(changes[:-1]), changes[-1])) if len(changes) > 1 else changes[0]
    return f"Since it was recorded, {names} changed"


def image_digest(scenario: Scenario, variant: Variant) -> str:
    """Hash the guest: its image and disks, its size, and what is sent and typed."""
    digest = hashlib.sha256(scenario.files(variant).image.read_bytes())
    for disk in scenario.disks:
        digest.update(b"no disk" if disk is None else _digest_of(disk.path))
    rest = (scenario.guest.memory_mib, scenario.console_input, scenario.keys)
    digest.update(repr(rest).encode())
    return digest.hexdigest()[:_SHOWN_DIGITS]


def profile_digest(cpu: CpuProfile) -> str:
    """Hash what a CPU can do and what it charges."""
    prices = sorted((cause, row.cycles) for cause, row in cpu.costs.items())
    return hashlib.sha256(repr((cpu.id, sorted(cpu.features), prices)).encode()).hexdigest()[:_SHOWN_DIGITS]


@lru_cache(maxsize=1)
def engine_digest() -> str:
    """Hash the sources of the layers that run the guest; line ends are those of Unix, on every machine."""
    package = Path(str(resources.files("ringviz")))
    digest = hashlib.sha256()
    for layer in _ENGINE_LAYERS:
        for path in sorted((package / layer).rglob("*"), key=lambda path: path.relative_to(package).as_posix()):
            if path.suffix in _ENGINE_FILES:
                content = path.read_bytes()
                digest.update(path.relative_to(package).as_posix().encode())
                digest.update(content if path.suffix == ".bin" else content.replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:_SHOWN_DIGITS]


def _digest_of(path: Path) -> bytes:
    """Hash a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
