"""A guest that writes to its disk again and again, and ends its run when it is asked to."""

from pathlib import Path

from ringviz.guest.build import write_build
from ringviz.guest.scenario import load_scenario

SOURCE = """
bits 32
org 0x100000
        mov ebx, 1
again:  mov dx, 0x1F6
        mov al, 0xE0
        out dx, al
        mov dx, 0x1F2
        mov al, 1
        out dx, al
        inc dx
        mov al, bl
        and al, 7
        out dx, al
        inc dx
        mov al, 0
        out dx, al
        inc dx
        out dx, al
        mov dx, 0x1F7
        mov al, 0x30
        out dx, al
ready:  in al, dx
        test al, 8
        jz ready
        mov dx, 0x1F0
        mov ecx, 128
        mov [buffer], ebx
        mov esi, buffer
        rep outsd
        mov dx, 0x1F7
busy:   in al, dx
        test al, 0x80
        jnz busy
        inc ebx
        mov ecx, 5000
spin:   dec ecx
        jnz spin
        in al, 0xF4
        test al, 1
        jz again
        mov al, '!'
        out 0xE9, al
        mov al, 3
        out 0xF4, al
        hlt
buffer: times 128 dd 0
"""
_TOML = """
schema = 1
title = "Writes to its disk"
summary = "Written by a test."
level = "advanced"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "flat"
load = 0x100000
entry = 0x100000
start = "protected"
memory_mib = 2
disk = "disk.img"
[limits]
instructions = 1_000_000_000
"""


def writer(folder: Path) -> Path:
    """Write its scenario, and give the folder."""
    folder.mkdir(parents=True)
    (folder / "scenario.toml").write_text(_TOML)
    (folder / "guest.asm").write_text(SOURCE)
    (folder / "disk.img").write_bytes(b"\xee" * 512 * 200)
    write_build(load_scenario(folder, is_built=False))
    return folder
