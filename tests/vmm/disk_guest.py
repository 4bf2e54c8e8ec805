"""Guests that talk to their disks: one polls and prints what it found, one is interrupted and sleeps meanwhile."""

from __future__ import annotations

from pathlib import Path

from ringviz.guest import Scenario
from ringviz.guest.build import write_build
from ringviz.guest.scenario import load_scenario

SECTORS = 64
SECOND_SECTORS = 16

_TOML = """\
schema = 1
title = "A reader of disks"
summary = "Written by a test."
level = "advanced"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "flat"
load = 0x100000
entry = 0x100000
start = "protected"
memory_mib = 4
disk = "first.img"
disk2 = "second.img"
[limits]
instructions = 100_000
"""

SOURCE = """
bits 32
org 0x100000
%define BUFFER 0x200000

%macro command 4                ; drive and address mode, block, sectors, code
        mov dx, 0x1F2
        mov al, %3
        out dx, al
        inc dx
        mov eax, %2
        out dx, al
        inc dx
        shr eax, 8
        out dx, al
        inc dx
        shr eax, 8
        out dx, al
        inc dx
        mov al, %1
        out dx, al
        inc dx
        mov al, %4
        out dx, al
%endmacro

start:  mov esp, 0x180000
        cld
        mov al, 2               ; no interrupts: this guest polls
        mov dx, 0x3F6
        out dx, al

        command 0xE0, 0, 1, 0xEC
        call take               ; who are you?
        movzx ebx, word [BUFFER + 120]
        call print              ; sectors
        mov ebx, [BUFFER + 54]
        call print              ; name

        command 0xF0, 3, 2, 0x20
        call take               ; the second disk, two sectors
        call take
        mov ebx, [BUFFER]
        call print

        command 0xE0, 5, 3, 0x30
        call give               ; three sectors that count upwards
        call give
        call give
        command 0xE0, 0, 0, 0xE7
        call ready

        command 0xE0, 4, 0, 0xC6
        call ready               ; no blocks
        command 0xE0, 4, 4, 0xC6
        call ready               ; blocks of four sectors
        command 0xE0, 4, 5, 0xC4
        call ready
        mov edi, BUFFER
        mov ecx, 512
        mov dx, 0x1F0
        rep insd
        call sum
        call ready
        mov edi, BUFFER
        mov ecx, 256
        mov dx, 0x1F0
        rep insw
        mov ebx, [BUFFER]
        call print

        command 0xE0, 63, 2, 0x20
        call take               ; the last sector, and one that is not there
        call ready
        movzx ebx, al
        mov dx, 0x1F1
        in al, dx
        mov bh, al
        call print

        mov al, 6               ; software reset
        mov dx, 0x3F6
        out dx, al
        mov al, 2
        out dx, al
        call ready
        movzx ebx, al
        call print
        command 0xE0, 6, 1, 0x21
        call take
        call sum
        mov al, 0
        out 0xF4, al
        jmp $

ready:  mov dx, 0x1F7
.more:  in al, dx
        test al, 0x80
        jnz .more
        ret

take:   call ready
        mov edi, BUFFER
        mov ecx, 256
        mov dx, 0x1F0
        rep insw
        ret

give:   call ready
        mov esi, pattern
        mov ecx, 128
        mov dx, 0x1F0
        rep outsd
        inc byte [pattern]
        ret

sum:    mov esi, BUFFER
        mov ecx, 512
        xor ebx, ebx
.more:  lodsd
        add ebx, eax
        rol ebx, 1
        loop .more
print:  mov ecx, 8
.digit: rol ebx, 4
        mov al, bl
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe .put
        add al, 7
.put:   out 0xE9, al
        loop .digit
        mov al, 10
        out 0xE9, al
        ret

pattern:
%assign number 0
%rep 128
        dd number * 0x01234567
%assign number number + 1
%endrep
"""


INTERRUPTED = """
bits 32
org 0x100000
%define BUFFER  0x200000
%define TAKEN   0x1F0000        ; how many interrupts have come
%define LOG     0x1F1000        ; the address at which each came

%macro command 4                ; drive and address mode, block, sectors, code
        mov dx, 0x1F2
        mov al, %3
        out dx, al
        inc dx
        mov eax, %2
        out dx, al
        inc dx
        shr eax, 8
        out dx, al
        inc dx
        shr eax, 8
        out dx, al
        inc dx
        mov al, %1
        out dx, al
        inc dx
        mov al, %4
        out dx, al
%endmacro

%macro pic 2
        mov al, %2
        out %1, al
%endmacro

start:  lgdt [gdtr]
        lidt [idtr]
        jmp 8:.on
.on:    mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x180000
        cld
        mov eax, disk
        mov [idt + 0x2E*8], ax
        shr eax, 16
        mov [idt + 0x2E*8 + 6], ax
        mov word [idt + 0x2E*8 + 2], 8
        mov word [idt + 0x2E*8 + 4], 0x8E00
        pic 0x20, 0x11
        pic 0xA0, 0x11
        pic 0x21, 0x20
        pic 0xA1, 0x28
        pic 0x21, 0x04
        pic 0xA1, 0x02
        pic 0x21, 0x01
        pic 0xA1, 0x01
        pic 0x21, 0xFB          ; the slave
        pic 0xA1, 0xBF          ; its request 14

        mov ecx, 6              ; asleep until each sector is there
        mov edi, BUFFER
.reads: push ecx
        cli
        command 0xE0, ecx, 1, 0x20
        call sleep
        mov ecx, 256
        mov dx, 0x1F0
        rep insw
        pop ecx
        loop .reads

        sti                     ; three sectors with one command, counting meanwhile
        command 0xE0, 20, 3, 0x20
        mov ebp, 3
.more:  mov ebx, [TAKEN]
.busy:  inc esi
        cmp ebx, [TAKEN]
        je .busy
        mov ecx, 128
        mov dx, 0x1F0
        rep insd
        dec ebp
        jnz .more

        cli                     ; written, flushed and read from the second disk
        command 0xF0, 2, 2, 0x30
        mov esi, BUFFER
        mov ecx, 128
        mov dx, 0x1F0
        rep outsd
        call sleep
        mov ecx, 128
        mov dx, 0x1F0
        rep outsd
        call sleep
        command 0xF0, 0, 0, 0xE7
        call sleep
        command 0xF0, 3, 1, 0x20
        call sleep
        mov ecx, 128
        mov dx, 0x1F0
        rep insd

        command 0xF0, 99, 1, 0x20       ; an error interrupts too
        call sleep
        mov dx, 0x1F1
        in al, dx
        stosb

        pic 0xA1, 0xFF          ; masked: nothing comes, and it waits in the controller
        command 0xF0, 0, 1, 0xEC
        sti
        mov ecx, 100
.wait:  loop .wait
        mov esi, [TAKEN]
        pic 0xA1, 0xBF
        nop
        sub esi, [TAKEN]        ; -1: now it has come
        mov ecx, 128
        mov dx, 0x1F0
        rep insd
        cli
        hlt

sleep:  sti
        hlt
        cli
        ret

disk:   push eax
        push edx
        mov edx, [TAKEN]
        mov eax, [esp + 8]
        mov [LOG + edx*4], eax
        inc dword [TAKEN]
        mov dx, 0x1F7
        in al, dx
        pic 0xA0, 0x20
        pic 0x20, 0x20
        pop edx
        pop eax
        iretd

align 8
gdt:    dq 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
gdtr:   dw gdtr - gdt - 1
        dd gdt
idtr:   dw 0x30 * 8 - 1
        dd idt
align 8
idt:    times 0x30 dq 0
"""


def disk_image(sectors: int, letter: bytes) -> bytes:
    """Sectors that all differ, and say their number."""
    return b"".join((letter + b"%07d" % number) * 64 for number in range(sectors))


def disk_scenario(folder: Path, source: str = SOURCE) -> Scenario:
    """Write and build a guest and its two disks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scenario.toml").write_text(_TOML, encoding="utf-8")
    (folder / "guest.asm").write_text(source, encoding="utf-8")
    (folder / "first.img").write_bytes(disk_image(SECTORS, b"a"))
    (folder / "second.img").write_bytes(disk_image(SECOND_SECTORS, b"b"))
    write_build(load_scenario(folder, is_built=False))
    return load_scenario(folder)
