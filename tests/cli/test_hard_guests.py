"""Guests that go wrong: each ends with a shown outcome, and none with a traceback, a hang or a lost screen."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.guests import LIMIT, assembled, from_bytes, needs_nasm
from tests.cli.program import ringviz, valid_json

TECHNIQUES = ("native", "trap-emulate", "amd-v")
ENOUGH_S = 60.0
"""Far more than any of these takes, and far less than for ever."""

WITH_HANDLER = """
bits 32
org 0x100000
start:
    lgdt [gdt_pointer]
    mov ax, 16
    mov ds, ax
    mov ss, ax
    mov esp, 0x180000
    lidt [idt_pointer]
    jmp 8:kernel
kernel:
    ud2
handler:
    {handler}
align 8
gdt:
    dq 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
gdt_pointer:
    dw 23
    dd gdt
idt_pointer:
    dw 55
    dd idt
align 8
idt:
    times 6 dq 0
    dw handler - 0x100000, 8, 0x8E00, 0x10
"""


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("F4", "halted"),  # HLT with IF = 0
        ("EB FE", "budget"),  # JMP to itself
        ("0F 0B", "triple-fault"),  # UD2 without an IDT
        ("B0 21 E6 F4 F4", "exit"),  # MOV AL, 21h; OUT F4h, AL
        ("B0 FE E6 64 F4", "reset"),  # MOV AL, FEh; OUT 64h, AL: the keyboard controller pulls the reset line
        ("B0 03 E6 92 F4", "reset"),  # MOV AL, 3; OUT 92h, AL: the fast reset
    ],
)
def test_every_end_has_its_outcome(tmp_path: Path, technique: str, code: str, outcome: str) -> None:
    result = ringviz("stat", from_bytes(tmp_path, code), "-t", technique, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    stat = valid_json(result.stdout, "stat")
    assert stat["outcome"] == outcome
    assert stat["exit_code"] == ((0x21 << 1) | 1 if outcome == "exit" else None)
    if outcome == "budget":
        assert stat["retired"] == LIMIT


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(
    "code",
    [
        "E9 FB FF EF F0",  # JMP far beyond memory
        "C6 05 07 00 10 00 F4 90",  # writes HLT over the NOP that comes next
        "BC 00 00 00 00 50",  # PUSH with ESP = 0
        "0F 20 C0 0D 00 00 00 80 0F 22 C0",  # sets CR0.PG without page tables
        "90",  # runs out of its own image
        "0F 01 DF",  # an instruction of the hypervisor
        "FF",  # half an instruction
    ],
)
def test_no_guest_brings_the_program_down(tmp_path: Path, technique: str, code: str) -> None:
    result = ringviz("stat", from_bytes(tmp_path, code), "-t", technique, "--json")
    if result.returncode == 2:  # refused, for a reason
        assert result.stderr.count("\n") == 1
    else:
        assert (result.returncode, result.stderr) == (0, "")
        valid_json(result.stdout, "stat")


@needs_nasm
@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        ("ud2", "budget"),  # faults in its own handler, for ever: no instruction completes
        ("iretd", "budget"),  # returns to the instruction that faults
        ("jmp handler", "budget"),  # never returns
        ("jmp 0xF0000000", "budget"),  # leaves for where nothing is, and faults there
        ("lidt [gdt]\nud2", "triple-fault"),  # loses its table: the next fault finds no handler, nor does the one after
        ("mov byte [$ + 8], 0xF4\nnop\nnop", "halted"),  # writes HLT over what comes next
        ("cli\nhlt", "halted"),
    ],
)
def test_a_fault_handler_that_goes_wrong_has_an_outcome_in_bounded_time(
    tmp_path: Path, technique: str, handler: str, outcome: str
) -> None:
    folder = assembled(tmp_path, WITH_HANDLER.format(handler=handler), limit=2_000)
    began = time.monotonic()
    result = ringviz("stat", folder, "-t", technique, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert valid_json(result.stdout, "stat")["outcome"] == outcome
    assert time.monotonic() - began < ENOUGH_S


@needs_nasm
@pytest.mark.parametrize("handler", ["ud2", "iretd", "lidt [gdt]\nud2"])
def test_a_guest_that_goes_wrong_does_so_in_the_same_way_under_every_technique(tmp_path: Path, handler: str) -> None:
    folder = assembled(tmp_path, WITH_HANDLER.format(handler=handler), limit=1000)
    result = ringviz("compare", folder, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    runs = valid_json(result.stdout, "compare")["runs"]
    assert {run["technique"] for run in runs} >= set(TECHNIQUES)
    assert all(run["fidelity"]["identical"] for run in runs)
    assert len({run["outcome"] for run in runs}) == 1


needs_sigint = pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent like this on Windows")


@needs_sigint
@pytest.mark.parametrize(
    "command",
    [
        *(["stat", "-t", technique] for technique in TECHNIQUES),
        ["stat", "-t", "amd-v", "--fidelity"],
        ["compare", "-t", "native"],
        ["trace"],
    ],
)
def test_an_interrupted_run_ends_at_once_with_130(tmp_path: Path, command: list[str], interruptible: None) -> None:
    endless = from_bytes(tmp_path, "EB FE", limit=10**12)
    asked: list[float] = []

    def interrupt() -> None:
        asked.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, interrupt)
    timer.start()
    result = ringviz(*command, endless)
    ended = time.monotonic()
    timer.cancel()
    assert asked, "it ended by itself"
    assert (result.returncode, result.stderr) == (130, "")
    assert "Traceback" not in result.stdout
    assert ended - asked[0] < 5


@needs_sigint
def test_an_interrupted_process_ends_at_once_with_130(tmp_path: Path, interruptible: None) -> None:
    # Two stores to the debug console, so that we know when the guest runs, and then a loop.
    endless = from_bytes(tmp_path, "B0 21 E6 E9 E6 E9 EB FE", limit=10**12)
    process = subprocess.Popen(
        [sys.executable, "-m", "ringviz", "trace", "-t", "trap-emulate", endless],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        while line := process.stdout.readline():
            if line.startswith("2. "):
                break
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        _, complaint = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, complaint) == (130, "")
    assert time.monotonic() - asked < 5


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt this process and those it starts, even if it was started in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
