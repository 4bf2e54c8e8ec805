"""The same disk boots in QEMU and here, whoever has made its image."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ringviz.engine.stat import stat
from ringviz.guest.disks.creating import convert_disk, snapshot_disk
from ringviz.guest.scenario import find_scenario

SAYS = b"read from sector 6000\n"
SOURCE = """
bits 16
org 0x7C00
        xor ax, ax
        mov ds, ax
        mov si, packet
        mov ah, 0x42
        int 0x13
        mov al, 1
        jc done
        mov si, 0x7E00
next:   lodsb
        test al, al
        jz done
        mov dx, 0x3F8
        out dx, al
        jmp next
done:   out 0xF4, al
        hlt
packet: db 16, 0
        dw 1, 0x7E00, 0
        dq 6000
times 510 - ($ - $$) db 0
        dw 0xAA55
"""
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(
        not all(map(shutil.which, ("qemu-system-i386", "qemu-img", "nasm"))), reason="needs QEMU, qemu-img and NASM"
    ),
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boot")
    (folder / "boot.asm").write_text(SOURCE)
    subprocess.run(["nasm", "-f", "bin", "-o", "boot.bin", "boot.asm"], cwd=folder, check=True)
    boot = (folder / "boot.bin").read_bytes()
    (folder / "disk.img").write_bytes(boot.ljust(6000 * 512, b"\0") + SAYS.ljust(2 << 20, b"\0"))
    return folder / "disk.img"


def _says_in_qemu(image: Path, form: str) -> bytes:
    command = ["qemu-system-i386", "-accel", "tcg", "-display", "none", "-serial", "stdio", "-net", "none"]
    command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4", "-m", "16"]
    command += ["-drive", f"file={image},format={form},if=ide,snapshot=on"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert result.returncode == 1, result.stderr
    return result.stdout


def _says_here(image: Path) -> bytes:
    result = stat(find_scenario(str(image)), "trap-emulate")
    assert (result.outcome, result.exit_code) == ("exit", 1)
    return result.console.encode()


@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_a_disk_of_ours_boots_in_qemu(raw: Path, tmp_path: Path, kind: str) -> None:
    convert_disk(raw, tmp_path / "ours.vhd", kind, bytes(16), 0)
    assert _says_in_qemu(tmp_path / "ours.vhd", "vpc") == SAYS
    assert _says_here(tmp_path / "ours.vhd") == SAYS


@pytest.mark.parametrize("size", ["off", "on"])
@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_a_disk_of_qemus_boots_here_and_so_does_a_snapshot_of_it(
    raw: Path, tmp_path: Path, kind: str, size: str
) -> None:
    theirs = tmp_path / "theirs.vhd"
    options = f"subformat={kind},force_size={size}"
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options, str(raw), str(theirs)]
    subprocess.run(command, check=True)
    assert _says_here(theirs) == SAYS
    snapshot_disk(theirs, tmp_path / "child.vhd", bytes(16), 0)
    assert _says_here(tmp_path / "child.vhd") == SAYS
