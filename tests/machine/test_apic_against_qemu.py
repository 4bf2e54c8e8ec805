"""The same accesses to both APICs' registers, made by a guest in QEMU and on our bus, and the interrupts that follow.

Left out is where QEMU differs for a reason. It takes requests while disabled by software, does not mask its local
sources then, keeps the ID and reserved bits of vectors and entries, and latches no errors on a store to the error
status register. It is lost when LINT0 is masked while the 8259A's request waits. A periodic round of its timer is one
tick longer. What it reads as a current count is a moment later. Its I/O APIC is told to be a 82093AA; a newer one of
its own is the default. It notes remote IRR whoever was asked.

Where a script lets time pass, it passes so much of it that a one-shot is over in both. Where it lets interrupts in,
each handler says its vector and returns without an end of interrupt.
"""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from ringviz.machine.bus import Bus
from ringviz.machine.devices import pc_devices
from tests.machine.test_devices_against_qemu import MEMORY_MIB, QEMU

APIC, IO = 0xFEE0_0000, 0xFEC0_0000
TPR, PPR, EOI, LDR, DFR, SVR, ICR, ICR_HIGH = 0x80, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0, 0x300, 0x310
ISR, TMR, IRR = 0x100, 0x180, 0x200
TIMER, THERMAL, PERFORMANCE, LINT0, LINT1, ERROR = 0x320, 0x330, 0x340, 0x350, 0x360, 0x370
INITIAL, CURRENT, DIVIDE = 0x380, 0x390, 0x3E0
MASKED, LEVEL, LOGICAL, EXTINT = 1 << 16, 1 << 15, 1 << 11, 0x700
TO_SELF, TO_ALL, TO_OTHERS = 1 << 18, 2 << 18, 3 << 18
_WAIT = 1_000
"""Microseconds of ours."""


class Deed(NamedTuple):
    """One thing a script does."""

    what: str
    """"read" or "write" a register, "out" a byte at a port, let interrupts in ("open"), or "wait"."""
    address: int = 0
    value: int = 0


def _put(*pairs: tuple[int, int]) -> list[Deed]:
    return [Deed("write", APIC + offset, value) for offset, value in pairs]


def _get(*offsets: int) -> list[Deed]:
    return [Deed("read", APIC + offset) for offset in offsets]


def _io_put(number: int, value: int) -> list[Deed]:
    return [Deed("write", IO, number), Deed("write", IO + 0x10, value)]


def _io_get(number: int) -> list[Deed]:
    return [Deed("write", IO, number), Deed("read", IO), Deed("read", IO + 0x10)]


def _out(*pairs: tuple[int, int]) -> list[Deed]:
    return [Deed("out", port, value) for port, value in pairs]


def _all(register: int) -> list[Deed]:
    return _get(*range(register, register + 0x80, 0x10))


_OPEN, _PASS = [Deed("open")], [Deed("wait")]
_TIMER_LINE_UP = _out((0x43, 0x30), (0x40, 0x10), (0x40, 0x00))
"""The interval timer's counter 0 counts to 0 once, and its output stays high."""
_PIC_SETUP = _out((0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, 0x01), (0x21, 0xFE))

SCRIPTS: dict[str, list[Deed]] = {
    "local apic as its bios leaves it": [
        *_get(0x20, 0x30, TPR, 0x90, PPR, LDR, DFR, SVR, 0x280),
        *_get(TIMER, THERMAL, PERFORMANCE, LINT0, LINT1, ERROR, INITIAL, CURRENT),
        *_all(ISR),
        *_all(TMR),
        *_all(IRR),
    ],
    "local apic registers written": [
        *(
            deed
            for register, values in {
                TPR: (0x00, 0x5A, 0xFF, 0xFFFF_FF35),
                LDR: (0xFFFF_FFFF, 0x0100_0000),
                DFR: (0x0000_0000, 0xFFFF_FFFF, 0x0FFF_FFFF),
                SVR: (0x1FF, 0x13F, 0xFFFF_FFEF),
                ICR_HIGH: (0xAB00_0000,),
                TIMER: (MASKED | 0x31, 0x2_0032, 0x33),
                THERMAL: (MASKED | 0x431, 0x32),
                PERFORMANCE: (MASKED | 0x431, 0x32),
                LINT0: (MASKED | 0xA731, 0x2032),
                LINT1: (MASKED | 0xA431, 0x8032),
                ERROR: (MASKED | 0xFE, 0xFD),
                DIVIDE: (*range(4), *range(8, 12)),
            }.items()
            for value in values
            for deed in [*_put((register, value)), *_get(register, PPR)]
        ),
        *_put((0x30, 0), (PPR, 0x55), (ISR, 0xFFFF_FFFF), (IRR + 0x70, 0xFFFF_FFFF)),
        *_get(0x30, PPR, ISR, IRR + 0x70),
    ],
    "io apic registers": [
        *_io_get(0x01),
        *(deed for number in range(0x10, 0x40) for deed in _io_get(number)),
        *_io_put(0x00, 0xFFFF_FFFF),
        *_io_get(0x00),
        *_io_put(0x00, 0x0500_0000),
        *_io_get(0x00),
        *_io_get(0x02),
        *_io_put(0x01, 0xFFFF_FFFF),
        *_io_get(0x01),
        *(
            deed
            for pin in (1, 2, 15, 23)
            for low in (0x1_FFFF, MASKED | 0x31, MASKED | LEVEL | LOGICAL | 0x2132)
            for deed in [
                *_io_put(0x10 + 2 * pin, MASKED | low),
                *_io_get(0x10 + 2 * pin),
                *_io_put(0x11 + 2 * pin, low << 15 & 0xFF00_0000),
            ]
        ),
        *_io_get(0x33),
        *_io_get(0x40),
    ],
    "messages to itself by every way to say so": [
        *(
            deed
            for command, destination, ldr, dfr in (
                (TO_SELF, 7, 0, 0xF),
                (TO_ALL, 7, 0, 0xF),
                (TO_OTHERS, 0, 0, 0xF),
                (0, 0, 0, 0xF),
                (0, 0xFF, 0, 0xF),
                (0, 1, 0, 0xF),
                (LOGICAL, 0x05, 0x04, 0xF),
                (LOGICAL, 0x05, 0x02, 0xF),
                (LOGICAL, 0x23, 0x22, 0x0),
                (LOGICAL, 0x21, 0x22, 0x0),
                (LOGICAL, 0x33, 0x22, 0x0),
                (0x100, 0, 0, 0xF),
            )
            for deed in [
                *_put((LDR, ldr << 24), (DFR, dfr << 28 | 0x0FFF_FFFF), (ICR_HIGH, destination << 24)),
                *_put((ICR, command | 0x61)),
                *_get(IRR + 0x30, PPR, ICR_HIGH),
                *_OPEN,
                *_get(IRR + 0x30, ISR + 0x30, PPR),
                *_put((EOI, 0)),
                *_get(ISR + 0x30, PPR),
            ]
        ),
    ],
    "priorities": [
        *_put(*((ICR, TO_SELF | vector) for vector in (0x31, 0x52, 0x51, 0x5F, 0xE0, 0x10, 0x20))),
        *_all(IRR),
        *_put((TPR, 0x4F)),
        *_OPEN,
        *_all(ISR),
        *_all(IRR),
        *_get(PPR),
        *_put((TPR, 0xEF)),
        *_get(PPR),
        *_put((TPR, 0)),
        *(deed for _ in range(9) for deed in [*_put((EOI, 0)), *_get(PPR), *_OPEN, *_all(ISR), *_all(IRR)]),
        *(
            deed
            for tpr in (0x00, 0x35, 0x45, 0x4F, 0x50)
            for deed in [
                *_put((ICR, TO_SELF | 0x48), (TPR, tpr)),
                *_OPEN,
                *_get(PPR, ISR + 0x20, IRR + 0x20),
                *_put((EOI, 0), (TPR, 0)),
                *_OPEN,
                *_put((EOI, 0)),
            ]
        ),
    ],
    "one-shots": [
        *(
            deed
            for code in range(12)
            if not code & 4
            for deed in [
                *_put((DIVIDE, code), (TIMER, 0x41), (INITIAL, 500)),
                *_PASS,
                *_get(CURRENT, INITIAL, IRR + 0x20, PPR),
                *_OPEN,
                *_PASS,
                *_get(IRR + 0x20, ISR + 0x20),
                *_put((EOI, 0)),
                *_OPEN,
                *_get(ISR + 0x20, CURRENT),
            ]
        ),
        *_put((TIMER, MASKED | 0x42), (INITIAL, 500)),
        *_PASS,
        *_get(CURRENT, IRR + 0x20),
        *_put((TIMER, 0x42)),
        *_PASS,
        *_get(CURRENT, IRR + 0x20),
        *_put((INITIAL, 0)),
        *_get(CURRENT, INITIAL),
    ],
    "an edge of the interval timer through the io apic": [
        *_io_put(0x14, 0x31),
        *_io_put(0x15, 0),
        *_TIMER_LINE_UP,
        *_PASS,
        *_get(IRR + 0x10, TMR + 0x10),
        *_io_get(0x14),
        *_OPEN,
        *_get(IRR + 0x10, ISR + 0x10, PPR),
        *_put((EOI, 0)),
        *_OPEN,
        *_get(IRR + 0x10, ISR + 0x10),
    ],
    "an edge while its entry is masked": [
        *_io_put(0x14, MASKED | 0x31),
        *_TIMER_LINE_UP,
        *_PASS,
        *_get(IRR + 0x10),
        *_io_put(0x14, 0x31),
        *_get(IRR + 0x10),
        *_OPEN,
    ],
    "a level of the interval timer through the io apic": [
        *_io_put(0x14, MASKED | LEVEL | 0x31),
        *_TIMER_LINE_UP,
        *_PASS,
        *_get(IRR + 0x10),
        *_io_put(0x14, LEVEL | 0x31),
        *_get(IRR + 0x10, TMR + 0x10),
        *_io_get(0x14),
        *_OPEN,
        *_get(IRR + 0x10, ISR + 0x10),
        *_put((EOI, 0)),
        *_get(IRR + 0x10, ISR + 0x10),
        *_io_get(0x14),
        *_OPEN,
        *_out((0x43, 0x30), (0x40, 0xFF), (0x40, 0xFF)),
        *_put((EOI, 0)),
        *_get(IRR + 0x10, ISR + 0x10),
        *_io_get(0x14),
        *_OPEN,
    ],
    "the 8259a on lint0": [
        *_PIC_SETUP,
        *_put((LINT0, MASKED | EXTINT)),
        *_TIMER_LINE_UP,
        *_PASS,
        *_OPEN,
        *_put((TPR, 0xFF), (LINT0, EXTINT)),
        *_OPEN,
        *_all(ISR),
        *_out((0x20, 0x20)),
        *_OPEN,
    ],
}

GUEST = """
bits 32
org 0x100000
header: dd 0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000), header, header, image_end, image_end, start
start:  cli
        mov esp, stack
        lgdt [gdtr]
        jmp 8:.on
.on:    mov ax, 0x10
        mov ds, ax
        mov ss, ax
        lidt [idtr]
        mov al, 0xFF
        out 0x21, al
        out 0xA1, al
{deeds}
        xor eax, eax
        out 0xF4, al
        jmp $
align 16
stubs:
%assign vector 0
%rep 256
        push eax
        mov al, vector
        out 0xE9, al
        pop eax
        iretd
        align 16
%assign vector vector + 1
%endrep
gdt:    dq 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
gdtr:   dw gdtr - gdt - 1
        dd gdt
idtr:   dw 256 * 8 - 1
        dd idt
align 8
idt:
%assign vector 0
%rep 256
        dw (0x100000 + stubs - $$ + vector * 16) & 0xFFFF, 8, 0x8E00, (0x100000 + stubs - $$ + vector * 16) >> 16
%assign vector vector + 1
%endrep
        times 1024 db 0
stack:
image_end:
"""


def _assembly(script: list[Deed]) -> str:
    lines = []
    for number, (what, address, value) in enumerate(script):
        lines += {
            "write": [f"mov dword [{address}], {value}"],
            "read": [f"mov eax, [{address}]", *["out 0xE9, al", "shr eax, 8"] * 4],
            "out": [f"mov al, {value}", f"out {address}, al"],
            "open": ["sti", "nop", "nop", "nop", "cli"],
            "wait": ["mov ecx, 20000", f"wait_{number}: loop wait_{number}"],
        }[what]
    return GUEST.format(deeds="\n".join(lines))


def _in_qemu(script: list[Deed], folder: Path) -> bytes:
    (folder / "guest.asm").write_text(_assembly(script))
    subprocess.run(["nasm", "-f", "bin", "-o", "guest.bin", "guest.asm"], cwd=folder, check=True)
    command = [*QEMU, "-monitor", "none", "-icount", "shift=3", "-global", "ioapic.version=0x11"]
    finished = subprocess.run(command, cwd=folder, timeout=60, check=False, capture_output=True)
    assert finished.returncode == 1, finished.stderr
    return (folder / "answers").read_bytes()


def _on_our_bus(script: list[Deed]) -> bytes:
    bus = Bus(pc_devices(MEMORY_MIB << 20))
    answers, now = bytearray(), 0
    for port in (0x21, 0xA1):
        bus.write(port, 1, 0xFF, now)
    for what, address, value in script:
        now += 1
        match what:
            case "write":
                bus.write_memory(address, 4, value & 0xFFFF_FFFF, now)
            case "read":
                answers += bus.read_memory(address, 4, now).to_bytes(4, "little")
            case "out":
                bus.write(address, 1, value, now)
            case "wait":
                now += _WAIT
                bus.advance(now)
            case _:
                while bus.is_requesting:
                    answers.append(bus.acknowledge())
    return bytes(answers)


@pytest.mark.qemu
@pytest.mark.skipif(not (shutil.which("qemu-system-i386") and shutil.which("nasm")), reason="needs QEMU and NASM")
@pytest.mark.parametrize("name", SCRIPTS)
def test_qemus_apics_give_the_same_answers(name: str, tmp_path: Path) -> None:
    script = SCRIPTS[name]
    ours = _on_our_bus(script)
    # SeaBIOS writes to the debug console before the guest runs: the guest's answers are the end of the file.
    assert _in_qemu(script, tmp_path)[-len(ours) :].hex(" ", 4) == ours.hex(" ", 4)
