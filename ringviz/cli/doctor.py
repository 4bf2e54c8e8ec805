"""`ringviz doctor`: what is installed, what is missing, and how to get it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from ringviz import __version__
from ringviz.cli.exits import Exit
from ringviz.cli.output import print_lines, width_cells
from ringviz.cli.table import Column, table

SMALLEST_TERMINAL = (80, 24)
"""Columns and lines that the app is made to work in."""

PYTHONS = ((3, 11), (3, 13))
"""Oldest and newest Python that ringviz is tested with."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    is_good: bool
    is_needed: bool
    """ringviz does not work without it; else it is optional."""
    detail: str
    """What was found, or what to do about it."""


def doctor() -> int:
    """Say what is installed, and how to get the rest."""
    findings = [*_python(), *_packages(), *_machine(), *_programs(), *_terminal()]
    columns = (Column("What"), Column("State"), Column("Detail", wraps=True))
    rows = [(finding.name, _state(finding), finding.detail) for finding in findings]
    print_lines([f"ringviz {__version__} on {platform.system()} {platform.machine()}", ""])
    print_lines(table(columns, rows, width_cells()))
    is_ready = all(finding.is_good for finding in findings if finding.is_needed)
    print_lines(["", "ringviz is ready." if is_ready else "ringviz cannot work until what is missing is there."])
    return Exit.DONE if is_ready else Exit.FAILED


def _state(finding: Finding) -> str:
    if finding.is_good:
        return "good"
    return "MISSING" if finding.is_needed else "optional"


def _python() -> Iterator[Finding]:
    oldest, newest = PYTHONS
    wanted = f"ringviz is made for {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
    is_good = oldest <= sys.version_info[:2] <= newest
    version = platform.python_version()
    yield Finding("Python", is_good, True, version if is_good else f"{version}; {wanted}")


def _packages() -> Iterator[Finding]:
    for name in ("textual", "typer", "capstone", "unicorn"):
        try:
            yield Finding(name, True, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, False, True, f"python -m pip install {name}")


def _machine() -> Iterator[Finding]:
    """Ask the machine whether the emulated CPU does what ringviz builds on."""
    try:
        from ringviz.machine import selfcheck
    except ImportError as error:
        yield Finding("machine", False, True, f"cannot be loaded: {error}; python -m pip install unicorn capstone")
        return
    for name, is_good, detail in selfcheck():
        yield Finding(name, is_good, True, detail)


def _programs() -> Iterator[Finding]:
    yield _program("nasm", "needed only by `ringviz build`; Debian: apt install nasm")
    yield _program(
        "qemu-system-i386", "needed only by the tests, as a second opinion; Debian: apt install qemu-system-x86"
    )


def _program(name: str, how: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, False, False, f"not found; {how}")
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, False, False, f"found, but does not run: {error}")
    return Finding(name, True, False, answer.partition("\n")[0])


def _terminal() -> Iterator[Finding]:
    if not sys.stdout.isatty():
        yield Finding("terminal", False, False, "the output goes elsewhere; the app needs one")
        return
    size = shutil.get_terminal_size()
    is_good = size.columns >= SMALLEST_TERMINAL[0] and size.lines >= SMALLEST_TERMINAL[1]
    found = f"{size.columns} x {size.lines}"
    yield Finding("terminal", is_good, False, found if is_good else f"{found}; the app wants 80 x 24 or more")
    yield Finding("colours", True, False, _colours())


def _colours() -> str:
    """Say what colours the terminal announces; without any, the app still tells everything by word and sign."""
    if os.environ.get("NO_COLOR"):
        return "none, as NO_COLOR asks"
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "16 million"
    term = os.environ.get("TERM", "")
    return "256" if "256" in term else f"16 or fewer (TERM={term})"
