"""The same port accesses, made by a guest in QEMU and on our bus: an oracle that does not share our reading.

Left out is where QEMU differs for a reason: MSR has no delta bits in loopback there. Its interval timer keeps bit 0 of
the master's IRR busy, knows no null count and no mode 7, leaves the output of modes 2 and 4 low between pulses, moves
no output at a control word, and does not stop for a low gate. Its keyboard controller does not say whether data or a
command was written last, and its keyboard acknowledges any command. Its VGA has no mask for the palette, and hides the
index of its attribute controller while it waits for data.

Where a script runs, QEMU's clock counts instructions too, at 8 ns each, so that the high byte of a count stands still.
"""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from ringviz.machine.bus import Bus
from ringviz.machine.devices import pc_devices
from ringviz.machine.devices.scancodes import in_set_2, strokes

MEMORY_MIB = 64
PUTS = {1: "al", 2: "ax", 4: "eax"}

Access = tuple[str, int, int, int]
"""("in" or "out", port, size, value written or bits not compared)"""

_NULL_COUNT = 0x40
_OUT_AND_NULL_COUNT = 0xC0
_REFRESH = 0x10
_INTERRUPTS = 0x30
_LAST_WRITE = 0x08
_BIOS_CURSOR = ((0x3D4, 0x0E), (0x3D4, 0x0F))
"""Where the BIOS's own messages left the cursor."""

GUEST = """
bits 32
org 0x100000
header: dd 0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000), header, header, image_end, image_end, start
start:  cli
{accesses}
        xor eax, eax
        out 0xF4, al
        jmp $
image_end:
"""


def _out(port: int, *values: int, size: int = 1) -> list[Access]:
    return [("out", port, size, value) for value in values]


def _in(port: int, times: int = 1, size: int = 1, without: int = 0) -> list[Access]:
    return [("in", port, size, without)] * times


def _cmos(index: int) -> list[Access]:
    return _out(0x70, index) + _in(0x71)


def _put_cmos(index: int, value: int) -> list[Access]:
    return _out(0x70, index) + _out(0x71, value)


def _uart_setup() -> list[Access]:
    return [
        *_out(0x3FB, 0x80),
        *_out(0x3F8, 0x0C),
        *_out(0x3F9, 0x00),
        *_out(0x3FB, 0x03),
        *_out(0x3FA, 0x07, 0x00),
        *_out(0x3F9, 0x00),
        *_out(0x3FC, 0x00),
        *_in(0x3FE, 2),
    ]


SCRIPTS: dict[str, list[Access]] = {
    "uart registers": [
        *_uart_setup(),
        *(access for port in (0x3F9, 0x3FB, 0x3FC, 0x3FF) for access in _out(port, 0x05) + _in(port)),
        *_out(0x3FB, 0x83),
        *_out(0x3F8, 0x3412, size=2),
        *_in(0x3F8, size=2),
        *_out(0x3FB, 0x03),
        *_in(0x3FD),
        *_in(0x3FB, size=2),
    ],
    "uart loopback": [
        *_uart_setup(),
        *_out(0x3FC, 0x10),
        *_out(0x3F8, 0xAE),
        *_in(0x3FD),
        *_in(0x3F8),
        *_in(0x3FD),
        *_out(0x3F8, 0x41, 0x42),
        *_in(0x3FD, 2),
        *_in(0x3F8),
        *(access for mcr in range(0x10, 0x20) for access in _out(0x3FC, mcr) + _in(0x3FC)),
    ],
    "uart fifos": [
        *_uart_setup(),
        *_out(0x3FC, 0x10),
        *_out(0x3FA, 0x81),
        *_in(0x3FA),
        *_out(0x3F8, *range(0x30, 0x41)),
        *_in(0x3FD, 2),
        *_out(0x3F9, 0x01),
        *_in(0x3FA),
        *_in(0x3F8, 16),
        *_in(0x3FD),
        *_out(0x3FA, 0x00),
        *_in(0x3FA),
    ],
    "uart interrupt identification": [
        *_uart_setup(),
        *_out(0x3F9, 0x02),
        *_in(0x3FA, 2),
        *_out(0x3FC, 0x10),
        *_out(0x3F8, 0x41, 0x42),
        *_out(0x3F9, 0x07),
        *_in(0x3FA),
        *_in(0x3FD),
        *_in(0x3FA),
        *_in(0x3F8),
        *_in(0x3FA, 2),
    ],
    "pit status": [
        access
        for number in range(3)
        for control in (0x10, 0x20, 0x30, 0x31, 0x16, 0x26, 0x36, 0x37, 0x3E, 0x34, 0x38, 0x32, 0x3A)
        for access in [
            *_out(0x43, number << 6 | control),
            *_out(0x40 + number, 0x80, 0x80),
            *_out(0x43, 0xE0 | 2 << number),
            *_in(
                0x40 + number,
                without=_OUT_AND_NULL_COUNT if control >= 0x38 or control & 0x0E in (2, 4) else _NULL_COUNT,
            ),
        ]
    ],
    "pit counts": [
        access
        for mode in (0, 2, 3, 4)
        for access in [
            *_out(0x43, 0xB0 | mode << 1),
            *_out(0x61, 0x01),
            *_out(0x42, 0x80, 0x56),
            *_in(0x42, 4, without=0xFF),
            *_in(0x42, without=0xFF),
            *_in(0x42),
            *_out(0x43, 0xA0 | mode << 1),
            *_out(0x42, 0x34),
            *_in(0x42, without=0x01),
            *_out(0x43, 0xB0 | mode << 1),
            *_out(0x42, 0x80, 0x56),
            *_out(0x43, 0x80),
            *_in(0x42, without=0xFF),
            *_in(0x42),
            *_out(0x43, 0xC8),
            *_in(0x42, without=_OUT_AND_NULL_COUNT),
            *_in(0x42, without=0xFF),
            *_in(0x42),
        ]
    ],
    "speaker port": [
        *_out(0x43, 0xB0),
        *_out(0x61, 0x00),
        *_out(0x42, 0x00, 0x80),
        *_in(0x61, without=_REFRESH),
        *_out(0x61, 0x03),
        *_in(0x61, without=_REFRESH),
        *_out(0x43, 0xB6),
        *_in(0x61, without=_REFRESH),
        *_out(0x61, 0x00),
        *_in(0x61, without=_REFRESH),
    ],
    "keyboard controller": [
        *_in(0x64, without=_LAST_WRITE),
        *_out(0x64, 0x20),
        *_in(0x64, without=_LAST_WRITE),
        *_in(0x60, 2),
        *_in(0x64, without=_LAST_WRITE),
        *(access for command in (0xAA, 0xAB, 0xC0, 0xD0) for access in _out(0x64, command) + _in(0x60)),
        *_out(0x64, 0x60),
        *_out(0x60, 0x64),
        *_in(0x64, without=_LAST_WRITE),
        *_out(0x64, 0xAD, 0x20),
        *_in(0x60),
        *_out(0x64, 0xAE, 0xA7, 0x20),
        *_in(0x60),
        *_out(0x64, 0xA8, 0x20),
        *_in(0x60),
        *_out(0x64, 0xD2),
        *_out(0x60, 0x5A),
        *_in(0x64, without=_LAST_WRITE),
        *_in(0x60, 2),
        *_in(0x92),
    ],
    "a20 gates": [
        *(
            access
            for switch in ([*_out(0x64, 0xDF)], [*_out(0x64, 0xD1), *_out(0x60, 0xDF)])
            for access in [*switch, *_out(0x64, 0xD0), *_in(0x60, without=_INTERRUPTS)]
        ),
        *_out(0x92, 0x02),
        *_in(0x92),
    ],
    "keyboard commands": [
        access
        for translate in (0x40, 0x00)
        for access in [
            *_out(0x64, 0x60),
            *_out(0x60, translate),
            *_out(0x60, 0xFF),
            *_in(0x60, 2),
            *_in(0x64, without=_LAST_WRITE),
            *_out(0x60, 0xF2),
            *_in(0x60, 3),
            *_out(0x60, 0xEE),
            *_in(0x60),
            *_out(0x60, 0xED),
            *_in(0x60),
            *_out(0x60, 0x07),
            *_in(0x60),
            *_out(0x60, 0xF3),
            *_in(0x60),
            *_out(0x60, 0x20),
            *_in(0x60),
            *_out(0x60, 0xF0),
            *_in(0x60),
            *_out(0x60, 0x02),
            *_in(0x60),
            *_out(0x60, 0xF5),
            *_in(0x60),
            *_out(0x60, 0xF4),
            *_in(0x60),
            *_in(0x64, without=_LAST_WRITE),
        ]
    ],
    "vga as its bios leaves it": [
        *(
            access
            for port, registers in ((0x3C4, range(5)), (0x3CE, range(9)), (0x3D4, range(0x19)))
            for index in registers
            if (port, index) not in _BIOS_CURSOR
            for access in [*_out(port, index), *_in(port), *_in(port + 1)]
        ),
        *(
            access
            for index in range(0x15)
            for access in [*_in(0x3DA, without=0xFF), *_out(0x3C0, index | 0x20), *_in(0x3C1)]
        ),
        *_in(0x3CC),
        *_out(0x3C7, 0),
        *_in(0x3C9, 3 * 64),
    ],
    "vga registers written": [
        *(
            access
            for index in range(0x19)
            if index != 0x11
            for access in [*_out(0x3D4, index), *_out(0x3D5, 0x55), *_in(0x3D5)]
        ),
        *_out(0x3D4, 0x11),
        *_out(0x3D5, 0x0E),
        *(access for index in range(8) for access in [*_out(0x3D4, index), *_out(0x3D5, 0x3C), *_in(0x3D5)]),
        *_out(0x3D4, 0x340F, size=2),
        *_in(0x3D4, size=2),
        *_in(0x3DA, without=0xFF),
        *_out(0x3C0, 0x21, 0x2A),
        *_in(0x3C0),
        *_out(0x3C0, 0x22),
        *_in(0x3C1),
        *_in(0x3DA, without=0xFF),
        *_out(0x3C0, 0x21),
        *_in(0x3C1),
        *_out(0x3C8, 0x10),
        *_out(0x3C9, 0x11, 0x22, 0x33, 0x04),
        *_in(0x3C8),
        *_out(0x3C7, 0x10),
        *_in(0x3C9, 3),
        *_in(0x3C7),
        *_out(0x3C2, 0x66),
        *_in(0x3CC),
        *_in(0x3D5),
        *_in(0x3DA),
        *_out(0x3C2, 0x67),
        *_in(0x3D4),
    ],
    "pic registers": [
        *_out(0x21, 0xFF),
        *_out(0xA1, 0xFF),
        *_in(0x21),
        *_in(0xA1),
        *(
            access
            for port, base, icw3 in ((0x20, 0x20, 4), (0xA0, 0x28, 2))
            for access in [
                *_out(port, 0x11),
                *_in(port + 1),
                *_out(port + 1, base),
                *_in(port + 1),
                *_out(port + 1, icw3, 0x01, 0xFB),
                *_in(port + 1),
                *_out(port, 0x0B),
                *_in(port),
                *_out(port, 0x20),
                *_in(port),
                *_out(port + 1, 0xFF),
                *_out(port, 0x0C),
                *_in(port, 2),
            ]
        ),
    ],
    "cmos memory size": [
        access for index in (0x15, 0x16, 0x17, 0x18, 0x30, 0x31, 0x34, 0x35) for access in _cmos(index)
    ],
    "cmos date at power-on": [access for index in (6, 7, 8, 9, 0x32, 4, 0x0B, 0x0D) for access in _cmos(index)],
    "cmos time that is set": [
        *_put_cmos(0x0B, 0x86),
        *(
            access
            for index, value in ((0, 58), (2, 59), (4, 23), (6, 7), (7, 28), (8, 2), (9, 8))
            for access in _put_cmos(index, value)
        ),
        *(access for index in (0, 2, 4, 6, 7, 8, 9, 0x0B) for access in _cmos(index)),
        *_put_cmos(0x40, 0xA5),
        *_cmos(0xC0),
        *_in(0x70),
    ],
    "exit, debug console and nobody": [*_in(0xF4), *_in(0xF4, size=4), *_in(0xE9), *_in(0x2F0), *_in(0x2F0, size=4)],
}


QEMU = ["qemu-system-i386", "-kernel", "guest.bin", "-m", str(MEMORY_MIB), "-display", "none", "-serial", "null"]
QEMU += ["-debugcon", "file:answers", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
QEMU += ["-rtc", "base=2006-01-01T00:00:00,clock=vm"]
LISTENER = """
bits 32
org 0x100000
header: dd 0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000), header, header, image_end, image_end, start
start:  cli
        mov al, 0x60
        out 0x64, al
        mov al, {command_byte}
        out 0x60, al
        mov al, '!'
        out 0xE9, al
        mov ecx, {count}
.next:  in al, 0x64
        test al, 1
        jz .next
        in al, 0x60
        out 0xE9, al
        loop .next
        xor eax, eax
        out 0xF4, al
        jmp $
image_end:
"""
KEY_NAMES = {
    " ": "spc", "!": "shift-1", '"': "shift-apostrophe", "#": "shift-3", "$": "shift-4", "%": "shift-5",
    "&": "shift-7", "'": "apostrophe", "(": "shift-9", ")": "shift-0", "*": "shift-8", "+": "shift-equal",
    ",": "comma", "-": "minus", ".": "dot", "/": "slash", ":": "shift-semicolon", ";": "semicolon",
    "<": "shift-comma", "=": "equal", ">": "shift-dot", "?": "shift-slash", "@": "shift-2", "[": "bracket_left",
    "\\": "backslash", "]": "bracket_right", "^": "shift-6", "_": "shift-minus", "`": "grave_accent",
    "{": "shift-bracket_left", "|": "shift-backslash", "}": "shift-bracket_right", "~": "shift-grave_accent",
    "\n": "ret", "\t": "tab", "\b": "backspace", "\x1b": "esc", "\x03": "ctrl-c",
    **{char: char for char in "0123456789abcdefghijklmnopqrstuvwxyz"},
    **{char: f"shift-{char.lower()}" for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
}  # fmt: skip
"""QEMU's names of the keys that give each character."""


def _assembly(script: list[Access]) -> str:
    lines = []
    for direction, port, size, value in script:
        register = PUTS[size]
        if direction == "out":
            lines += [f"mov eax, {value}", f"mov edx, {port}", f"out dx, {register}"]
        else:
            lines += [f"mov edx, {port}", f"in {register}, dx", f"and eax, ~{value}"]
            lines += ["out 0xE9, al", "shr eax, 8"] * size
    return GUEST.format(accesses="\n".join(lines))


def _assemble(source: str, folder: Path) -> None:
    (folder / "guest.asm").write_text(source)
    subprocess.run(["nasm", "-f", "bin", "-o", "guest.bin", "guest.asm"], cwd=folder, check=True)


def _answers_in_qemu(script: list[Access], folder: Path) -> bytes:
    _assemble(_assembly(script), folder)
    command = [*QEMU, "-monitor", "none", "-icount", "shift=3"]
    finished = subprocess.run(command, cwd=folder, timeout=60, check=False, capture_output=True)
    assert finished.returncode == 1, finished.stderr
    return (folder / "answers").read_bytes()


def _answers_on_our_bus(script: list[Access]) -> bytes:
    bus = Bus(pc_devices(MEMORY_MIB << 20))
    answers = bytearray()
    for now, (direction, port, size, value) in enumerate(script):
        if direction == "out":
            bus.write(port, size, value, now)
        else:
            answers += (bus.read(port, size, now) & ~value).to_bytes(size, "little")
    return bytes(answers)


@pytest.mark.qemu
@pytest.mark.skipif(not (shutil.which("qemu-system-i386") and shutil.which("nasm")), reason="needs QEMU and NASM")
@pytest.mark.parametrize("name", SCRIPTS)
def test_qemu_gives_the_same_answers(name: str, tmp_path: Path) -> None:
    script = SCRIPTS[name]
    ours = _answers_on_our_bus(script)
    # SeaBIOS writes to the debug console before the guest runs: the guest's answers are the end of the file.
    assert _answers_in_qemu(script, tmp_path)[-len(ours) :].hex(" ") == ours.hex(" ")


def _typed_in_qemu(text: str, command_byte: int, count: int, folder: Path) -> bytes:
    """Type a text at QEMU's monitor and give what a guest reads from port 0x60."""
    _assemble(LISTENER.format(command_byte=command_byte, count=count), folder)
    answers = folder / "answers"
    with subprocess.Popen(
        [*QEMU, "-monitor", "stdio"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as qemu:
        assert qemu.stdin is not None
        deadline = time.monotonic() + 30
        while not (answers.exists() and answers.read_bytes().endswith(b"!")) and time.monotonic() < deadline:
            time.sleep(0.05)
        qemu.stdin.write("".join(f"sendkey {KEY_NAMES[char]} 1\n" for char in text).encode())
        qemu.stdin.flush()
        try:
            qemu.wait(30)
        finally:
            qemu.kill()
    return answers.read_bytes()[-count:]


@pytest.mark.qemu
@pytest.mark.skipif(not (shutil.which("qemu-system-i386") and shutil.which("nasm")), reason="needs QEMU and NASM")
@pytest.mark.parametrize("is_translated", [True, False])
def test_qemus_keyboard_sends_the_same_codes_for_every_character(is_translated: bool, tmp_path: Path) -> None:
    text = "".join(KEY_NAMES)
    ours = strokes(text) if is_translated else b"".join(in_set_2(code) for code in strokes(text))
    command_byte = 0x60 if is_translated else 0x20
    assert _typed_in_qemu(text, command_byte, len(ours), tmp_path).hex(" ") == ours.hex(" ")
