"""Assembling guests with NASM: source in, image and symbol file out, the same bytes on every machine."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ringviz.errors import AssemblyError, Complaint, ScenarioError, ToolError
from ringviz.guest.image import read_image_file
from ringviz.guest.listing import read_listing
from ringviz.guest.markers import check_markers
from ringviz.guest.scenario import Scenario, Variant, shown_path
from ringviz.guest.source_text import normalized, place_of, whole_source
from ringviz.guest.symbols import SourceMap, format_symbols

_HOW_TO_GET_NASM = "apt-get install nasm, brew install nasm, or https://www.nasm.us"
_TIMEOUT_S = 60
_MAX_IMAGE_BYTES = 256 << 20
_SOURCE_NAME = "guest.asm"


@dataclass(frozen=True, slots=True)
class Build:
    """What one guest source becomes."""

    image: bytes
    symbols: str
    """The text of the symbol file."""
    source_map: SourceMap = field(default_factory=SourceMap)


def find_nasm() -> str:
    """Return the path of NASM.

    Raises:
        ToolError: not installed; says how to get it.
    """
    nasm = shutil.which("nasm")
    if nasm is None:
        raise ToolError(f"nasm not found; get it with: {_HOW_TO_GET_NASM}")
    return nasm


def build(scenario: Scenario, variant: Variant = Variant.ORIGINAL) -> Build:
    """Assemble the scenario's guest in memory; nothing is written to its folder.

    Raises:
        ToolError: NASM is missing, or is a version whose listing cannot be read.
        AssemblyError: NASM refuses the source; its first complaint, with the line.
    """
    files = scenario.files(variant)
    return assemble(files.source, files.defines)


def _build_all(scenario: Scenario) -> dict[Variant, Build]:
    """Assemble every build of a scenario, and make sure that they can be compared.

    Raises:
        ToolError, ScenarioError: as for `build`; or the builds have different markers.
    """
    builds = {variant: build(scenario, variant) for variant in scenario.variants}
    check_markers(scenario, {variant: result.source_map for variant, result in builds.items()})
    return builds


def write_build(scenario: Scenario) -> tuple[Path, ...]:
    """Assemble the guest and write images and symbol files into the folder; return the files that changed."""
    wanted: dict[Path, bytes] = {}
    for variant, result in _build_all(scenario).items():
        files = scenario.files(variant)
        wanted |= {files.image: result.image, files.symbols: result.symbols.encode()}
    changed = []
    for path, content in wanted.items():
        try:
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)
                changed.append(path)
        except OSError as error:
            raise ScenarioError(f"{shown_path(path)}: cannot be written: {error.strerror}") from None
    return tuple(changed)


def verify(scenario: Scenario) -> tuple[str, ...]:
    """Compare the folder's images and symbol files with a fresh build.

    Returns:
        One line for each file that differs; empty if all is well.

    Raises:
        ImageError: the folder's image cannot be read at all.
        ToolError, ScenarioError: as for `build`.
    """
    problems = []
    for variant, result in _build_all(scenario).items():
        files = scenario.files(variant)
        image = read_image_file(scenario, variant)
        if image != result.image:
            problems.append(f"{shown_path(files.image)}: {_first_difference(image, result.image)}")
        if not files.symbols.is_file():
            problems.append(f"{shown_path(files.symbols)}: missing")
        # As with the source, a checkout on Windows may have given this text file other line ends.
        elif normalized(files.symbols.read_bytes()) != result.symbols.encode():
            problems.append(f"{shown_path(files.symbols)}: differs from a fresh build of {files.source.name}")
    return tuple(problems)


def assemble(source_path: Path, defines: Iterable[str] = ()) -> Build:
    """Assemble one NASM source with `nasm -f bin`, with names defined for its `%ifdef`."""
    nasm = find_nasm()
    where = shown_path(source_path)
    try:
        source = whole_source(source_path)
    except OSError as error:
        raise ScenarioError(f"{where}: cannot be read: {error.strerror}") from None
    with tempfile.TemporaryDirectory(prefix="ringviz-build-") as folder:
        work = Path(folder)
        # NASM works on a copy: its messages then name no path, and the map file needs no quoting.
        (work / _SOURCE_NAME).write_bytes(source)
        _run_nasm(nasm, work, source_path, where, tuple(defines))
        image = _read_output(work / "guest.bin")
        listing = _read_output(work / "guest.lst").decode("utf-8", "replace")
        map_text = _read_output(work / "guest.map").decode("utf-8", "replace")
    if not image:
        raise ScenarioError(f"{where}: assembles to nothing, expected a guest")
    source_map = read_listing(listing, map_text, source.decode("utf-8", "replace"), image)
    return Build(image, format_symbols(source_map, source, image), source_map)


def _run_nasm(nasm: str, work: Path, source_path: Path, where: str, defines: tuple[str, ...]) -> None:
    include_folder = f"{source_path.resolve().parent}{os.sep}"
    command = [nasm, "-f", "bin", "-I", include_folder, "--before", "[map symbols segments guest.map]"]
    command += [f"-D{name}" for name in defines]
    command += ["-l", "guest.lst", "-o", "guest.bin", _SOURCE_NAME]
    # NASMENV holds options of the user's: they would make the bytes depend on the machine.
    environment = {name: value for name, value in os.environ.items() if name != "NASMENV"}
    try:
        result = subprocess.run(
            command,
            cwd=work,
            env=environment,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{where}: nasm has not finished after {_TIMEOUT_S} s") from None
    except OSError as error:
        raise ToolError(f"nasm cannot be run: {error.strerror}") from None
    if result.returncode != 0:
        complaints = tuple(_complaints(result.stderr, source_path))
        first = next((one for one in complaints if one.is_error), None)
        words = "no reason given" if first is None else _placed(first, source_path.name)
        raise AssemblyError(f"{where}: nasm: {words}", complaints)


def _complaints(said: str, source_path: Path) -> Iterator[Complaint]:
    """Read what NASM says, a line for each thing: `guest.asm:12: error: …`; line numbers become those of the file."""
    for line in said.splitlines():
        text = line.strip().removeprefix(f"{_SOURCE_NAME}:")
        if not text:
            continue
        is_error = "error" in text or "fatal" in text
        number, colon, rest = text.partition(":")
        if colon and number.isdecimal():
            place = place_of(source_path, int(number))
            yield Complaint(place.file, place.number, rest.strip(), is_error)
        else:
            yield Complaint(source_path.name, 0, text, is_error)


def _placed(complaint: Complaint, own_name: str) -> str:
    """Give a complaint with the line, and the file if it is not the source itself."""
    file = "" if complaint.file == own_name else f"{complaint.file}:"
    return f"{file}{complaint.number}: {complaint.text}" if complaint.number else f"{file}{complaint.text}"


def _read_output(path: Path) -> bytes:
    if not path.is_file():
        raise ToolError(f"nasm has written no {path.suffix} file; is this an unknown NASM version?")
    if path.stat().st_size > _MAX_IMAGE_BYTES:
        raise ScenarioError(f"{path.name}: larger than {_MAX_IMAGE_BYTES >> 20} MiB, the most memory a guest can have")
    return path.read_bytes()


def _first_difference(committed: bytes, fresh: bytes) -> str:
    if len(committed) != len(fresh):
        return f"{len(committed):,} bytes, a fresh build has {len(fresh):,}"
    offset = next(index for index, (old, new) in enumerate(zip(committed, fresh, strict=True)) if old != new)
    return f"byte 0x{offset:X} is {committed[offset]:02X}, a fresh build has {fresh[offset]:02X}"
