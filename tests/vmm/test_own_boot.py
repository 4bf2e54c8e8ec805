"""A small system on a disk of one's own: real mode, paging, ring 3, the disk by interrupt; the same everywhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ringviz.guest import Scenario
from ringviz.guest.scenario import find_scenario
from tests.machine.guests import NASM, assemble
from tests.vmm.lockstep import Run, default_cpu, difference

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")

SOURCE = Path(__file__).with_name("own_boot.asm")
QEMU = shutil.which("qemu-system-i386")
PRINTED = "paging on\nblock 20\nblock 21\nring 3\nworked\n12\n"
"""The last line: page faults of the program that reaches for the kernel, and its system calls."""
WAYS: tuple[tuple[str, str | None, str | None], ...] = (
    ("emulation", None, None),
    ("classic", None, None),
    ("trap-emulate", None, None),
    ("binary-translation", None, None),
    ("vt-x", "p4-672", "shadow"),
    ("vt-x", "nehalem", "nested"),
    ("vt-x", "westmere", "nested"),
    ("amd-v", None, "shadow"),
    ("amd-v", None, "nested"),
)
"""Technique, CPU, MMU."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    source = f"%define COUNT 50000\n{SOURCE.read_text('ascii')}"
    path = tmp_path / "own.img"
    path.write_bytes(assemble(source, tmp_path))
    return path


def finished(scenario: Scenario, technique: str, cpu: str | None = None, mmu: str | None = None) -> Run:
    run = Run(scenario, technique, cpu, mmu=mmu)
    run.finish()
    assert run.ended is not None
    return run


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_it_boots_and_ends_as_on_bare_metal(image: Path, way: tuple[str, str | None, str | None]) -> None:
    technique, cpu, mmu = way
    scenario, content = find_scenario(str(image)), image.read_bytes()
    run = finished(scenario, technique, cpu, mmu)
    assert run.technique.machine.bus.printed("uart") == PRINTED
    assert run.technique.machine.bus.exit_code == 1
    assert difference(finished(scenario, "native", cpu or default_cpu(technique)), run) is None
    assert image.read_bytes() == content


@pytest.mark.skipif(QEMU is None, reason="QEMU is not installed (apt-get install qemu-system-x86)")
def test_it_boots_in_qemu(image: Path) -> None:
    assert QEMU is not None
    command = [QEMU, "-drive", f"file={image},format=raw,snapshot=on", "-m", "32", "-display", "none"]
    command += ["-monitor", "none", "-serial", "stdio", "-icount", "shift=10"]
    command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    result = subprocess.run(command, timeout=60, check=False, capture_output=True)
    assert (result.returncode, result.stdout.decode()) == (1, PRINTED)
