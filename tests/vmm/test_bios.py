"""The firmware's services: what they answer, in QEMU under SeaBIOS and here, and under every technique."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.guest import Scenario, firmware
from ringviz.guest.scenario import find_scenario
from tests.machine.guests import NASM, assemble
from tests.vmm.lockstep import Run, assert_lockstep, default_cpu, difference

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")

SOURCE = Path(firmware.__file__).with_name("bios") / "bios.asm"
CALLS = Path(__file__).with_name("bios_calls.asm")
SECTORS = 5 * 16 * 63
QEMU = shutil.which("qemu-system-i386")
WAYS: tuple[tuple[str, str | None, str | None], ...] = (
    ("classic", None, None),
    ("trap-emulate", None, None),
    ("binary-translation", None, None),
    ("vt-x", "p4-672", "shadow"),
    ("vt-x", "westmere", "nested"),
    ("amd-v", None, "nested"),
)
"""Technique, CPU, MMU."""
PRINT = """
print:  lodsb
        test al, al
        jz .end
        mov ah, 0x0E
        mov bx, 7
        int 0x10
        jmp print
.end:   ret
"""


def boot_sector(folder: Path, body: str, *, sectors: int = 1) -> Scenario:
    """Assemble a boot sector as an image of one's own."""
    folder.mkdir(parents=True, exist_ok=True)
    source = f"bits 16\norg 0x7C00\n{body}\ntimes 510 - ($ - $$) db 0\ndw 0xAA55\n"
    (folder / "own.img").write_bytes(assemble(source, folder).ljust(512 * sectors, b"\0"))
    return find_scenario(str(folder / "own.img"))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk of noise that begins with the program of calls."""
    program = assemble(CALLS.read_text("ascii"), tmp_path)
    noise = random.Random(1).randbytes(512 * SECTORS - len(program))
    path = tmp_path / "disk.img"
    path.write_bytes(program + noise)
    return path


def finished(scenario: Scenario, technique: str, cpu: str | None = None, mmu: str | None = None) -> Run:
    run = Run(scenario, technique, cpu, mmu=mmu)
    run.finish()
    assert run.ended is not None
    assert run.ended.how == "exit", run.ended
    return run


def test_the_committed_rom_is_what_its_source_says(tmp_path: Path) -> None:
    assert assemble(SOURCE.read_text("ascii"), tmp_path) == firmware.rom()
    assert all(firmware.ROM_OFFSET <= offset < firmware.ROM_OFFSET + 0x1FC0 for offset in firmware.entries().values())


@pytest.mark.skipif(QEMU is None, reason="QEMU is not installed (apt-get install qemu-system-x86)")
def test_disk_screen_and_keyboard_services_answer_as_seabios_does(disk: Path, tmp_path: Path) -> None:
    assert QEMU is not None
    command = [QEMU, "-drive", f"file={disk},format=raw,snapshot=on", "-m", "32", "-display", "none"]
    command += ["-monitor", "none", "-serial", f"file:{tmp_path / 'answers'}"]
    command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    assert subprocess.run(command, timeout=60, check=False, capture_output=True).returncode == 1
    theirs = (tmp_path / "answers").read_text("ascii").splitlines()
    ours = finished(find_scenario(str(disk)), "native").technique.machine.bus.printed("uart").splitlines()
    assert len(ours) > 25
    assert ours == theirs


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_technique_gets_the_same_answers(disk: Path, way: tuple[str, str | None, str | None]) -> None:
    technique, cpu, mmu = way
    scenario = find_scenario(str(disk))
    native = finished(scenario, "native", cpu or default_cpu(technique))
    assert difference(native, finished(scenario, technique, cpu, mmu)) is None


def test_what_is_written_by_teletype_is_on_the_screen_and_on_the_debug_console(tmp_path: Path) -> None:
    scenario = boot_sector(
        tmp_path, f"mov si, text\ncall print\nmov al, 0\nout 0xF4, al\ntext: db 'Two', 13, 10, 'rows', 0\n{PRINT}"
    )
    run = finished(scenario, "native")
    assert run.technique.machine.bus.console == "Two\nrows"
    cells = run.technique.guest_ram()[0xB8000 : 0xB8000 + 2 * 160]
    assert cells[0:6] + cells[160:168] == b"T\x07w\x07o\x07r\x07o\x07w\x07s\x07"


def test_the_boot_sector_begins_as_firmware_leaves_the_machine(tmp_path: Path) -> None:
    run = Run(boot_sector(tmp_path, "hlt", sectors=7), "native")
    state = run.technique.guest_state()
    assert (state.segments[1].selector, state.eip) == (0, 0x7C00)
    assert (state.gpr[2] & 0xFF, state.gpr[4], state.eflags & 0x200) == (0x80, firmware.STACK_TOP, 0x200)
    ram = run.technique.guest_ram()
    for vector, name in ((0x10, "video"), (0x13, "disk"), (0x08, "timer"), (0x3C, "nothing")):
        assert struct.unpack_from("<2H", ram, 4 * vector) == (firmware.entries()[name], 0xF000)
    assert struct.unpack_from("<H", ram, 0x413)[0] == 639
    assert ram[0x475] == 1
    assert ram[firmware.ROM_ADDRESS : firmware.ROM_ADDRESS + firmware.ROM_BYTES] == firmware.rom()


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "vt-x"])
def test_the_timer_ticks_eighteen_times_a_second_and_calls_int_1ch(tmp_path: Path, technique: str) -> None:
    scenario = boot_sector(
        tmp_path,
        """
        cli
        mov word [0x1C * 4], hook
        mov word [0x1C * 4 + 2], 0
        sti
next:   hlt
        cmp word [0x600], 18
        jb next
        mov al, [0x46C]
        out 0xE9, al
        mov al, 0
        out 0xF4, al
hook:   inc word [cs:0x600]
        iret
        """,
    )
    run = finished(scenario, technique)
    assert run.technique.machine.bus.console == chr(18)
    assert 950_000 < run.technique.machine.now < 1_050_000  # microseconds


def test_memory_is_told_in_three_ways_that_agree(tmp_path: Path) -> None:
    for mib in (8, 32):
        body = """
        mov di, 0x600
        xor ebx, ebx
next:   mov eax, 0xE820
        mov edx, 'PAMS'
        mov ecx, 20
        int 0x15
        add di, 20
        test ebx, ebx
        jnz next
        mov [0x700], di
        mov ax, 0xE801
        int 0x15
        mov [0x702], cx
        mov [0x704], dx
        mov ah, 0x88
        int 0x15
        mov [0x706], ax
        mov al, 0
        out 0xF4, al
        """
        scenario = boot_sector(tmp_path, body)
        scenario = replace(scenario, guest=replace(scenario.guest, memory_mib=mib))
        ram = finished(scenario, "native").technique.guest_ram()
        end, below_16, above_16, extended = struct.unpack_from("<4H", ram, 0x700)
        entries = [struct.unpack_from("<2QI", ram, at) for at in range(0x600, end, 20)]
        assert [kind for *_, kind in entries] == [1, 2, 2, 1]
        assert entries[-1][:2] == (1 << 20, (mib - 1) << 20)
        assert below_16 + 64 * above_16 == extended == (mib - 1) << 10


def test_a_wait_takes_as_long_as_was_asked(tmp_path: Path) -> None:
    body = "mov ah, 0x86\nmov cx, 1\nmov dx, 0x2345\nint 0x15\nmov al, 0\nout 0xF4, al\n"
    run = finished(boot_sector(tmp_path, body), "native")
    assert 0x1_2345 <= run.technique.machine.now < 0x1_2345 + 500


@pytest.mark.parametrize("technique", ["native", "classic", "binary-translation", "vt-x", "amd-v"])
def test_keys_arrive_through_the_keyboards_interrupt(tmp_path: Path, technique: str) -> None:
    body = f"""
next:   mov ah, 0
        int 0x16
        mov ah, 0x0E
        mov bx, 7
        int 0x10
        cmp al, 13
        jne next
        mov al, 0
        out 0xF4, al
        {PRINT}
    """
    scenario = replace(boot_sector(tmp_path, body), keys="Hello, 2 of You?\n")
    assert finished(scenario, technique).technique.machine.bus.console == "Hello, 2 of You?"


@pytest.mark.parametrize("technique", ["classic", "binary-translation", "vt-x"])
def test_the_services_are_the_same_at_every_instruction(tmp_path: Path, technique: str) -> None:
    body = f"""
        mov si, text
        call print
        mov ax, 0x0201
        mov cx, 2
        mov dx, 0x80
        mov bx, 0x8000
        int 0x13
        mov ax, 0x0702
        mov bh, 0x17
        mov cx, 0x0000
        mov dx, 0x1020
        int 0x10
        mov ah, 4
        int 0x1A
        mov ah, 1
        int 0x16
        mov al, 0
        out 0xF4, al
text:   db 'Hi', 13, 10, 0
        {PRINT}
    """
    run = assert_lockstep(boot_sector(tmp_path, body, sectors=4), technique, times=3)
    assert run.ended is not None
    assert run.ended.how == "exit"


def test_int_19h_boots_again_and_int_18h_says_that_there_is_nothing_to_boot(tmp_path: Path) -> None:
    body = """
        inc byte [0x600]
        cmp byte [0x600], 2
        jae .end
        int 0x19
.end:   mov al, 0
        out 0xF4, al
    """
    again = finished(boot_sector(tmp_path, body), "native")
    assert again.technique.guest_ram()[0x600] == 2
    none = Run(boot_sector(tmp_path, "int 0x18"), "native")
    none.finish()
    assert none.ended is not None
    assert none.technique.machine.bus.console == "No bootable disk.\n"
