"""A guest that lives on the interrupts of five devices takes what is typed alike under every technique, and in QEMU."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.guest import Scenario
from ringviz.machine.devices.scancodes import strokes
from tests.machine.guests import NASM, assemble
from tests.vmm.guests import make_scenario
from tests.vmm.lockstep import Run, assert_lockstep, default_cpu, difference
from tests.vmm.test_interrupts import WAYS

SOURCE = Path(__file__).with_name("typist.asm")
LOAD, ENTRY = 0x10_0000, 0x10_0020
TYPED = b"a line for the terminal\n"
KEYS = "Hi"
SENT = "sent by interrupt, a byte at a time\n"
TAKEN = strokes(KEYS) + TYPED

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")


@pytest.fixture
def guest(tmp_path: Path) -> Scenario:
    """The guest, in a world where somebody types."""
    image = assemble(SOURCE.read_text("ascii"), tmp_path)
    scenario = make_scenario(tmp_path, image, LOAD, entry=ENTRY, limit=1_000_000)
    return replace(scenario, console_input=TYPED, keys=KEYS)


def finish(scenario: Scenario, technique: str, cpu: str | None = None, mmu: str | None = None) -> Run:
    run = Run(scenario, technique, cpu, mmu=mmu)
    run.finish()
    assert run.ended is not None
    assert run.ended.how == "exit", run.ended
    return run


def test_bare_metal_takes_all_that_is_typed_and_sends_its_message(guest: Scenario) -> None:
    bus = finish(guest, "native").technique.machine.bus
    assert bus.printed("debug-console").encode("latin-1") == b"!" + TAKEN
    assert bus.printed("uart") == SENT


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_every_technique_takes_the_same_at_the_same_time(
    technique: str, mmu: str | None, cpu: str | None, guest: Scenario
) -> None:
    cpu = cpu or default_cpu(technique)
    native, run = finish(guest, "native", cpu), finish(guest, technique, cpu, mmu)
    assert difference(native, run) is None
    assert run.technique.machine.now == native.technique.machine.now


@pytest.mark.parametrize("technique", ["classic", "binary-translation", "vt-x", "amd-v"])
def test_each_interrupt_comes_before_the_same_instruction(technique: str, guest: Scenario) -> None:
    assert_lockstep(guest, technique, times=20)


@pytest.mark.qemu
@pytest.mark.skipif(not shutil.which("qemu-system-i386"), reason="needs QEMU")
def test_qemu_takes_the_same(tmp_path: Path) -> None:
    (tmp_path / "guest.bin").write_bytes(assemble(SOURCE.read_text("ascii"), tmp_path))
    answers = tmp_path / "answers"
    command = ["qemu-system-i386", "-kernel", "guest.bin", "-m", "16", "-display", "none", "-no-reboot"]
    command += ["-serial", "stdio", "-monitor", "unix:monitor,server=on,wait=off", "-debugcon", "file:answers"]
    command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stdout=pipe) as qemu:
        try:
            deadline = time.monotonic() + 30
            while not (answers.exists() and answers.read_bytes().endswith(b"!")) and time.monotonic() < deadline:
                time.sleep(0.05)
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.connect(str(tmp_path / "monitor"))
                monitor.sendall(b"sendkey shift-h 1\nsendkey i 1\n")
                sent, _ = qemu.communicate(TYPED, timeout=30)
        finally:
            qemu.kill()
    assert answers.read_bytes().endswith(b"!" + TAKEN)
    assert sent.decode("latin-1").endswith(SENT)
