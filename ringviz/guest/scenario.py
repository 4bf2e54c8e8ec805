"""Scenario folders: a guest, its story, and where to find them by id.

A scenario is a folder with a `scenario.toml`; `schema.py` has the list of its keys.
"""

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import cast

from ringviz.errors import DiskError, ImageError, InputError, ScenarioError
from ringviz.guest.disk import DiskFile, find_disk
from ringviz.guest.recognize import recognize
from ringviz.guest.schema import LEVELS, check, clipped, did_you_mean, problem_with, read_orders

SCENARIO_FILE = "scenario.toml"
FOLDERS_VARIABLE = "RINGVIZ_SCENARIOS"
"""Environment variable: more folders to look for scenarios in, separated as in PATH."""
PARAVIRT_DEFINE = "PARAVIRT"
"""What the source of a kernel asks for with `%ifdef`."""
MAX_INPUT_BYTES = 1 << 20
OWN_MEMORY_MIB = 32
OWN_INSTRUCTIONS = 100_000_000
"""What an image that somebody brings gets unless asked for otherwise: ours."""
_MAX_TOML_BYTES = 1 << 20
_MAX_SHOWN_PATH = 200


class Level(StrEnum):
    """Whom a scenario is for."""

    BEGINNER = "beginner"
    INTERMEDIATE = "intermediate"
    ADVANCED = "advanced"


class ImageFormat(StrEnum):
    """How the bytes of an image say where they belong."""

    MULTIBOOT = "multiboot"
    BOOTSECTOR = "bootsector"
    FLAT = "flat"


class Variant(StrEnum):
    """Which of a scenario's builds: the kernel as it was written, or the one recompiled for a VMM."""

    ORIGINAL = "original"
    PARAVIRT = "paravirt"


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """What one build is made from, and what it becomes."""

    source: Path
    defines: tuple[str, ...]
    """Names that the assembler defines: those that `%ifdef` asks for."""
    image: Path
    symbols: Path
    """Symbols and source lines of the image, written by the same build: `guest.sym` for `guest.bin`."""


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """The `[guest]` table: what is to be loaded, and into what."""

    source: str
    """NASM source, a file name in the scenario's folder."""
    image: str
    """The assembled bytes, a file name in the scenario's folder."""
    format: ImageFormat
    memory_mib: int
    """Guest memory, from address 0."""
    load: int | None
    """Format flat only: physical address of the first byte."""
    entry: int | None
    """Format flat only: physical address of the first instruction."""
    start: str | None
    """Format flat only: the mode of the CPU at the entry: real, protected or long."""
    paging: bool
    """The guest sets CR0.PG. A technique that cannot shadow its page tables refuses the scenario."""
    long: bool = False
    """The guest enters long mode: its CPU is a 64-bit one. A technique that cannot run such a guest refuses it."""
    svm: bool = False
    """The guest is a hypervisor itself: it finds AMD-V on its CPU where that has it and the VMM lends it on."""
    paravirt: bool = False
    """There is a second build of the kernel, recompiled for a VMM: `guest.paravirt.bin` beside `guest.bin`."""
    disk: str | None = None
    """Image of the first disk, a file name in the scenario's folder."""
    disk2: str | None = None
    """Image of the second disk."""
    input: str | None = None
    """What a terminal at the UART sends, a file name in the scenario's folder."""
    keys: str = ""
    """What is typed at the keyboard."""
    balloon: str | None = None
    """What is asked of the guest's balloon driver, and when; None for a machine without a balloon."""

    @property
    def balloon_orders(self) -> tuple[tuple[int, int], ...] | None:
        """Device time and pages of each order to the balloon driver."""
        return None if self.balloon is None else read_orders(self.balloon)

    @property
    def memory_bytes(self) -> int:
        """Guest memory in bytes."""
        return self.memory_mib << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The `[limits]` table."""

    instructions: int
    """A run stops after so many retired guest instructions, with outcome "budget"."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario folder, checked."""

    id: str
    """The name of the folder."""
    path: Path
    """The folder."""
    title: str
    summary: str
    level: Level
    guest: GuestSpec
    limits: Limits
    leftovers: tuple[tuple[str, frozenset[str]], ...] = field(default=(), kw_only=True)
    """By marker: registers that hold nothing there that the kernel counts on, such as scratch of a printing loop."""
    disks: tuple[DiskFile | None, DiskFile | None] = field(default=(None, None), kw_only=True)
    """The first and the second disk: those of the `[guest]` table, unless others were put in."""
    console_input: bytes = field(default=b"", kw_only=True)
    """What somebody sends from a terminal at the UART."""
    keys: str = field(default="", kw_only=True)
    """What somebody types at the keyboard."""

    @property
    def requires(self) -> frozenset[str]:
        """What a technique must offer to run this guest: "paging", "long", "svm", or nothing."""
        return frozenset(name for name in ("paging", "long", "svm") if getattr(self.guest, name))

    @property
    def source_path(self) -> Path:
        """The NASM source."""
        return self.path / self.guest.source

    @property
    def image_path(self) -> Path:
        """The image."""
        return self.path / self.guest.image

    @property
    def symbols_path(self) -> Path:
        """Symbols and source lines of the image, written by the same build: `guest.sym` for `guest.bin`."""
        return self.image_path.with_suffix(".sym")

    def files(self, variant: Variant) -> GuestFiles:
        """The files of one build.

        The recompiled kernel comes from the same source with `PARAVIRT` defined, unless the folder has a source of its
        own for it: `guest.paravirt.asm`.
        """
        if variant is Variant.ORIGINAL:
            return GuestFiles(self.source_path, (), self.image_path, self.symbols_path)
        own = _for_paravirt(self.source_path)
        image = _for_paravirt(self.image_path)
        symbols = image.with_suffix(".sym")
        if own.is_file():
            return GuestFiles(own, (), image, symbols)
        return GuestFiles(self.source_path, (PARAVIRT_DEFINE,), image, symbols)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The builds there are."""
        return (Variant.ORIGINAL, Variant.PARAVIRT) if self.guest.paravirt else (Variant.ORIGINAL,)


def load_scenario(path: Path, *, is_built: bool = True) -> Scenario:
    """Read and check one scenario folder.

    Args:
        path: the folder.
        is_built: its image must be there; false for whoever is about to build it.

    Raises:
        ScenarioError: the folder does not say what it must; one line with file, key and what was expected.
    """
    folder = path.resolve()
    where = shown_path(folder / SCENARIO_FILE)
    values = check(_read_toml(folder / SCENARIO_FILE, where), where)
    guest = GuestSpec(
        source=cast(str, values["guest.source"]),
        image=cast(str, values["guest.image"]),
        format=ImageFormat(cast(str, values["guest.format"])),
        memory_mib=cast(int, values["guest.memory_mib"]),
        load=cast(int | None, values["guest.load"]),
        entry=cast(int | None, values["guest.entry"]),
        start=cast(str | None, values["guest.start"]),
        paging=cast(bool, values["guest.paging"]),
        long=cast(bool, values["guest.long"]) or values["guest.start"] == "long",
        svm=cast(bool, values["guest.svm"]),
        paravirt=cast(bool, values["guest.paravirt"]),
        disk=cast(str | None, values["guest.disk"]),
        disk2=cast(str | None, values["guest.disk2"]),
        input=cast(str | None, values["guest.input"]),
        keys=cast(str, values["guest.keys"]),
        balloon=cast(str | None, values["guest.balloon"]),
    )
    scenario = Scenario(
        id=folder.name,
        path=folder,
        title=cast(str, values["title"]),
        summary=cast(str, values["summary"]),
        level=Level(cast(str, values["level"])),
        guest=guest,
        limits=Limits(cast(int, values["limits.instructions"])),
        leftovers=cast(tuple[tuple[str, frozenset[str]], ...], values["leftovers"]),
    )
    if guest.svm and guest.long:
        raise ScenarioError(
            f"{where}: guest.svm: found true, expected false where guest.long is true: no 64-bit hypervisors"
        )
    _check_names(scenario, where)
    _check_file(scenario, where, "guest.source", scenario.source_path)
    if is_built:
        _check_file(scenario, where, "guest.image", scenario.image_path)
        if guest.paravirt:
            _check_file(scenario, where, "guest.paravirt", scenario.files(Variant.PARAVIRT).image)
        first = _disk(scenario, where, "disk", guest.disk)
        if first is None and guest.format is ImageFormat.BOOTSECTOR:
            first = _boot_disk(scenario, where)
        sent = b"" if guest.input is None else read_input(scenario.path / guest.input, f"{where}: guest.input")
        disks = (first, _disk(scenario, where, "disk2", guest.disk2))
        scenario = replace(scenario, disks=disks, console_input=sent, keys=guest.keys)
    return scenario


def with_disks(scenario: Scenario, first: str | None, second: str | None) -> Scenario:
    """Give a scenario with other disks in the machine; None leaves one as it is.

    Args:
        scenario: whose machine it is.
        first: path of a disk image, from the option `--disk`.
        second: the same, from `--disk2`.

    Raises:
        DiskError: one is missing or no disk image.
    """
    own = scenario.disks
    return replace(
        scenario,
        disks=(
            own[0] if first is None else find_disk(Path(first), "--disk", first),
            own[1] if second is None else find_disk(Path(second), "--disk2", second),
        ),
    )


def find_scenario(id_or_path: str) -> Scenario:
    """Load the scenario with this id or in this folder, or make one up around an image file.

    Raises:
        InputError: none of the three.
        ScenarioError: found, but it does not say what it must.
        ImageError: a file, but no image that could be booted.
    """
    known = _folders_by_id()
    if id_or_path in known:
        return load_scenario(known[id_or_path])
    folder = Path(id_or_path)
    # Unlike pathlib's, these also say no to a text that could be no path at all.
    if os.path.isfile(folder / SCENARIO_FILE):
        return load_scenario(folder)
    if os.path.isdir(folder):
        raise InputError(f"{clipped(str(folder), _MAX_SHOWN_PATH)}: no {SCENARIO_FILE} in this folder")
    if os.path.isfile(folder):
        return scenario_around(folder)
    ids = f"choose one of the {len(known)} in `ringviz list`" if known else "none found"
    raise InputError(f'scenario "{clipped(id_or_path)}" unknown; {ids}{did_you_mean(id_or_path, known)}')


def scenario_around(path: Path) -> Scenario:
    """Make a scenario up on the spot around an image that somebody brings.

    A boot sector comes with its disk, and a disk image with its boot sector: the file is the first disk in both cases.

    Raises:
        ImageError: it is no image that could be booted; one line.
        DiskError: a disk image of a size that no disk has.
    """
    where = shown_path(path.resolve())
    try:
        found = recognize(path)
    except OSError as error:
        raise ImageError(f"{where}: cannot be read: {error.strerror}") from None
    except ImageError as error:
        raise ImageError(f"{where}: {error}") from None
    image_format = ImageFormat(found.format)
    guest = GuestSpec(
        source=path.name + ".asm",
        image=path.name,
        format=image_format,
        memory_mib=OWN_MEMORY_MIB,
        load=None,
        entry=None,
        start=None,
        paging=True,
    )
    disk = find_disk(path, where, path.name) if image_format is ImageFormat.BOOTSECTOR else None
    name = clipped(path.name)
    return Scenario(
        id=name,
        path=path.resolve().parent,
        title=f"{name}: {found.title}",
        summary="An image of your own, as it was found.",
        level=Level.ADVANCED,
        guest=guest,
        limits=Limits(OWN_INSTRUCTIONS),
        disks=(disk, None),
    )


def read_input(path: Path, where: str) -> bytes:
    """Read what a terminal is to send.

    Raises:
        InputError: it cannot be read, or nobody would type so much.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise InputError(f"{where}: {clipped(path.name)} cannot be read: {error.strerror}") from None
    if len(content) > MAX_INPUT_BYTES:
        raise InputError(f"{where}: {clipped(path.name)}: expected no more than {MAX_INPUT_BYTES:,} bytes")
    return content


def with_typist(scenario: Scenario, console_input: str | None, keys: str | None) -> Scenario:
    """Give a scenario with somebody else at terminal and keyboard; None leaves one as it is.

    Args:
        scenario: whose machine it is.
        console_input: path of a file, from the option `--input`.
        keys: from the option `--keys`; backslash n is Enter.

    Raises:
        InputError: the file cannot be read.
    """
    if console_input is not None:
        scenario = replace(scenario, console_input=read_input(Path(console_input), "--input"))
    return scenario if keys is None else replace(scenario, keys=keys.replace("\\n", "\n"))


def with_limits(scenario: Scenario, memory_mib: int | None, instructions: int | None) -> Scenario:
    """Give a scenario with another size of memory, or another limit; None leaves one as it is.

    Raises:
        InputError: a size or a limit that no scenario could have.
    """
    for option, key, value in (
        ("--memory", "guest.memory_mib", memory_mib),
        ("--limit", "limits.instructions", instructions),
    ):
        problem = None if value is None else problem_with(key, value)
        if problem is not None:
            raise InputError(f"{option}: found {value}, expected {problem}")
    guest = scenario.guest if memory_mib is None else replace(scenario.guest, memory_mib=memory_mib)
    limits = scenario.limits if instructions is None else Limits(instructions)
    return replace(scenario, guest=guest, limits=limits)


def list_scenarios(on_error: Callable[[ScenarioError], None] | None = None) -> tuple[Scenario, ...]:
    """All scenarios that can be found, the easiest first, then by id.

    Args:
        on_error: called for each folder that is broken, which is then left out. Without it the first one raises.
    """
    scenarios = []
    for folder in _folders_by_id().values():
        try:
            scenarios.append(load_scenario(folder))
        except ScenarioError as error:
            if on_error is None:
                raise
            on_error(error)
    return tuple(sorted(scenarios, key=lambda scenario: (LEVELS.index(scenario.level), scenario.id)))


def scenario_folders() -> tuple[Path, ...]:
    """Return the folders that scenarios are looked for in: the user's own first, then ringviz's."""
    extra = os.environ.get(FOLDERS_VARIABLE, "")
    folders = [Path(name) for name in extra.split(os.pathsep) if name]
    for folder in folders:
        if not os.path.isdir(folder):
            raise ScenarioError(
                f'{FOLDERS_VARIABLE}: found "{clipped(str(folder), _MAX_SHOWN_PATH)}", expected a folder that exists'
            )
    return (*folders, _shipped_folder())


def shown_path(path: Path) -> str:
    """Return a path as messages show it: from the current folder if it is below that."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):  # elsewhere, or the current folder is gone
        return str(path)


def _shipped_folder() -> Path:
    """Inside an installed wheel the scenarios are package data; in a checkout they stand beside the package."""
    package = Path(str(resources.files("ringviz")))
    installed = package / "_scenarios"
    return installed if installed.is_dir() else package.parent / "scenarios"


def _folders_by_id() -> dict[str, Path]:
    """Scenario folders by id, in a fixed order. Of two with one id the first folder's wins: the user's own."""
    found: dict[str, Path] = {}
    for parent in scenario_folders():
        if not parent.is_dir():
            continue
        try:
            folders = sorted(parent.iterdir())
        except OSError as error:
            raise ScenarioError(f"{shown_path(parent)}: cannot be read: {error.strerror}") from None
        for folder in folders:
            if os.path.isfile(folder / SCENARIO_FILE):
                found.setdefault(folder.name, folder)
    return dict(sorted(found.items()))


def _read_toml(path: Path, where: str) -> dict[str, object]:
    if not path.is_file():
        raise ScenarioError(f"{where}: no such file")
    try:
        if path.stat().st_size > _MAX_TOML_BYTES:
            raise ScenarioError(f"{where}: larger than {_MAX_TOML_BYTES:,} bytes, expected a few lines of TOML")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{where}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{where}: byte {error.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{where}: not TOML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ScenarioError(f"{where}: not TOML that ringviz can read: nested too deeply") from None


def _check_names(scenario: Scenario, where: str) -> None:
    """Refuse names by which a build, which writes image and symbols, would overwrite the source or one another."""
    if _has_twins(scenario.source_path, scenario.image_path, scenario.symbols_path):
        raise ScenarioError(
            f'{where}: guest.image: found "{scenario.guest.image}", expected three different names for the source,'
            " the image and its symbols (.sym)"
        )

    if scenario.guest.paravirt:
        second = scenario.files(Variant.PARAVIRT)
        if _has_twins(scenario.source_path, scenario.image_path, scenario.symbols_path, second.image, second.symbols):
            raise ScenarioError(
                f'{where}: guest.paravirt: found the names "{second.image.name}" and "{second.symbols.name}" taken,'
                " expected them free for the second build"
            )


def _has_twins(*paths: Path) -> bool:
    """Tell whether two of these files are one, on a file system that does not tell capitals apart."""
    return len({path.name.lower() for path in paths}) < len(paths)


def _for_paravirt(path: Path) -> Path:
    """Give the name of the second build's file: `guest.paravirt.bin` for `guest.bin`."""
    return path.with_name(f"{path.stem}.paravirt{path.suffix}")


def _boot_disk(scenario: Scenario, where: str) -> DiskFile | None:
    """The disk that a boot sector was read from is its own image; one that is no disk is told when it is booted."""
    try:
        return find_disk(scenario.image_path, f"{where}: guest.image", scenario.guest.image)
    except DiskError:
        return None


def _disk(scenario: Scenario, where: str, key: str, name: str | None) -> DiskFile | None:
    """Look at the disk image that a key of the `[guest]` table names."""
    if name is None:
        return None
    dotted = f"guest.{key}"
    _check_file(scenario, where, dotted, scenario.path / name)
    return find_disk(scenario.path / name, f"{where}: {dotted}", name)


def _check_file(scenario: Scenario, where: str, key: str, path: Path) -> None:
    if not path.is_file():
        near = did_you_mean(path.name, (entry.name for entry in scenario.path.iterdir() if entry.is_file()))
        raise ScenarioError(f'{where}: {key}: found "{path.name}", expected a file in the same folder{near}')
