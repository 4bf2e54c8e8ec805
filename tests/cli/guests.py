"""Scenario folders around guests that one test needs: from machine code, or from a few lines for NASM."""

import shutil
from pathlib import Path

import pytest

from ringviz.guest.build import write_build
from ringviz.guest.scenario import load_scenario

needs_nasm = pytest.mark.skipif(shutil.which("nasm") is None, reason="nasm is not installed")

LIMIT = 10_000

_SCENARIO = """
schema = 1
title = "A guest that goes wrong"
summary = "Written by a test."
level = "beginner"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "flat"
load = {load}
entry = {load}
start = "{start}"
memory_mib = 4
[limits]
instructions = {limit}
"""


def from_bytes(folder: Path, code: str, limit: int = LIMIT, start: str = "protected") -> str:
    """Write a scenario folder around a few bytes of machine code, given in hexadecimal; give its path."""
    (folder / "scenario.toml").write_text(
        _SCENARIO.format(limit=limit, start=start, load=0x7C00 if start == "real" else 0x10_0000)
    )
    (folder / "guest.asm").write_text("; written by hand\n")
    (folder / "guest.bin").write_bytes(bytes.fromhex(code))
    return str(folder)


def assembled(folder: Path, source: str, limit: int = LIMIT) -> str:
    """Write a scenario folder around a source for NASM, and build it; give its path."""
    (folder / "scenario.toml").write_text(_SCENARIO.format(limit=limit, start="protected", load=0x10_0000))
    (folder / "guest.asm").write_text(source)
    write_build(load_scenario(folder, is_built=False))
    return str(folder)
