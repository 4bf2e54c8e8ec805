"""The same conversation with a disk, held by a guest in QEMU and on our bus.

Where QEMU does otherwise for a reason, some bits are not compared: it has no IDNF and aborts instead, forgets DSC with
an error, ends a software reset without being told to, keeps the page of IDENTIFY DEVICE as it was when first asked for,
and finds out only after it has taken the data of a write that there is no such sector. Its disk has DMA, a longer list
of commands and another name. And what is seen of its being busy depends on the host, so every command is followed by a
wait on both sides.
"""

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ringviz.machine.bus import Bus
from ringviz.machine.devices import pc_devices

SECTORS = 16 * 63 * 3 + 100
"""Three usual cylinders, and some sectors that no cylinder holds."""
SMALL = 200

DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS = range(0x1F0, 0x1F8)
CONTROL = 0x3F6
MASTER, SLAVE = 0xE0, 0xF0
CHS = 0xA0
EVERY_BIT = 0xFF
NOT_DSC = 0xEF
PUTS = {1: "al", 2: "ax", 4: "eax"}


FILL_STEP = 0x1357_9BDF


class Step(NamedTuple):
    """Accesses at one port: "out" a value, "fill" with values that go on, "in", or "wait" while BSY is 1.

    For an input, `bits` are those of each byte that are compared.
    """

    verb: str
    port: int = 0
    size: int = 1
    value: int = 0
    times: int = 1
    bits: int = EVERY_BIT


def _out(port: int, *values: int, size: int = 1) -> list[Step]:
    return [Step("out", port, size, value) for value in values]


def _in(port: int, size: int = 1, times: int = 1, bits: int = EVERY_BIT) -> list[Step]:
    return [Step("in", port, size, 0, times, bits)]


def _wait() -> list[Step]:
    return [Step("wait")]


def _ask(command: int, block: int = 0, count: int = 1, device: int = MASTER, features: int = 0) -> list[Step]:
    """Give a command on a block number, and wait until it is done with it."""
    return [
        *_out(DEVICE, device | block >> 24),
        *_out(ERROR, features),
        *_out(COUNT, count & 0xFF),
        *_out(LOW, block & 0xFF),
        *_out(MID, block >> 8 & 0xFF),
        *_out(HIGH, block >> 16 & 0xFF),
        *_out(STATUS, command),
        *_wait(),
    ]


def _ask_48(command: int, block: int, count: int, device: int = MASTER) -> list[Step]:
    steps = _out(DEVICE, device)
    for shift in (24, 0):
        steps += _out(COUNT, count >> (8 if shift else 0) & 0xFF)
        steps += _out(LOW, block >> shift & 0xFF)
        steps += _out(MID, block >> shift + 8 & 0xFF)
        steps += _out(HIGH, block >> shift + 16 & 0xFF)
    return [*steps, *_out(STATUS, command), *_wait()]


def _ask_chs(command: int, cylinder: int, head: int, sector: int, count: int = 1) -> list[Step]:
    return [
        *_out(DEVICE, CHS | head),
        *_out(COUNT, count),
        *_out(LOW, sector),
        *_out(MID, cylinder & 0xFF),
        *_out(HIGH, cylinder >> 8),
        *_out(STATUS, command),
        *_wait(),
    ]


def _registers() -> list[Step]:
    return [step for port in range(COUNT, STATUS) for step in _in(port)]


def _take(sectors: int = 1, size: int = 2) -> list[Step]:
    """Read blocks of a sector, and the status after each."""
    return [*_in(STATUS), *_in(DATA, size, 512 // size), *_wait()] * sectors + _in(STATUS)


def _give(seed: int, sectors: int = 1, size: int = 2, block: int = 1) -> list[Step]:
    steps: list[Step] = []
    for index in range(sectors):
        if index % block == 0:
            steps += [*_wait(), *_in(STATUS)]
        steps += [Step("fill", DATA, size, seed + index * 77, 512 // size)]
    return [*steps, *_wait(), *_in(STATUS)]


def _identify(*words: int) -> list[Step]:
    """Ask for the page and compare some of its words."""
    steps = _ask(0xEC) + _in(STATUS)
    return steps + [Step("in", DATA, 2, bits=EVERY_BIT if word in words else 0) for word in range(256)] + _in(STATUS)


IDENTIFY_WORDS = (0, 1, 3, 6, 47, 48, 51, 54, 55, 56, 57, 58, 59, 60, 61, 67, 68, 84, 87, 100, 101, 102, 103)
FAILED = [*_in(STATUS, bits=NOT_DSC), *_in(CONTROL, bits=NOT_DSC)]
ABORTED = [*FAILED, *_in(ERROR)]
NOT_FOUND = FAILED
"""IDNF in ATA, ABRT in QEMU."""

SCRIPTS: dict[str, list[Step]] = {
    "identify": [*_identify(*IDENTIFY_WORDS), *_ask(0xEC, device=SLAVE), *_take()[:1]],
    "read one sector": [*_ask(0x20, 5), *_take(), *_registers()],
    "read without retries, as double words": [*_ask(0x21, SECTORS - 1), *_take(size=4), *_registers()],
    "read several": [*_ask(0x20, 0xFE, 4), *_registers(), *_take(4), *_registers()],
    "read from the slave": [*_ask(0x20, 7, 2, SLAVE), *_take(2), *_registers(), *_out(DEVICE, MASTER), *_in(STATUS)],
    "write and read back": [
        *_ask(0x30, 9, 3),
        *_give(0x1234, 3),
        *_registers(),
        *_ask(0xE7),
        *_in(STATUS),
        *_ask(0x20, 8, 5),
        *_take(5),
    ],
    "write to the slave as double words": [
        *_ask(0x31, 0, 1, SLAVE),
        *_give(0x5678_9ABC, size=4),
        *_ask(0x20, 0, 2, SLAVE),
        *_take(2),
        *_ask(0x20, 0, 1),
        *_take(),
    ],
    "multiple": [
        *_ask(0xC6, count=4),
        *_in(STATUS),
        *_ask(0xC5, 100, 6),
        *_give(0x4321, 6, block=4),
        *_ask(0xC4, 99, 7),
        *_in(STATUS),
        *_in(DATA, 2, 4 * 256),
        *_wait(),
        *_in(STATUS),
        *_in(DATA, 2, 3 * 256),
        *_in(STATUS),
        *_registers(),
        *_ask(0xC6, count=3),
        *ABORTED,
        *_ask(0xC6, count=0),
        *_in(STATUS),
        *_ask(0xC4, 99, 1),
        *ABORTED,
        *_ask(0xC5, 99, 1),
        *ABORTED,
    ],
    "multiple is on from the start": [*_ask(0xC4, 3, 2), *_in(STATUS), *_in(DATA, 4, 256), *_in(STATUS)],
    "cylinder, head and sector": [
        *_ask_chs(0x20, 0, 0, 1),
        *_take(),
        *_registers(),
        *_ask_chs(0x20, 1, 15, 62, 3),
        *_take(3),
        *_registers(),
        *_ask_chs(0x30, 2, 3, 4),
        *_give(0x99),
        *_ask(0x20, (2 * 16 + 3) * 63 + 3),
        *_take(),
    ],
    "48-bit addresses": [
        *_ask_48(0x24, 0x102, 2),
        *_take(2),
        *_ask_48(0x34, 0x203, 1),
        *_give(0x77),
        *_ask(0x20, 0x203),
        *_take(),
        *_ask_48(0x29, 1, 3),
        *_in(STATUS),
        *_in(DATA, 2, 3 * 256),
        *_in(STATUS),
        *_ask_48(0xEA, 0, 0),
        *_in(STATUS),
    ],
    "high-order bytes": [
        *(step for port in range(COUNT, DEVICE) for step in _out(port, port & 0xFF, 0x55 + port & 0xFF)),
        *_registers()[:4],
        *_out(CONTROL, 0x80),
        *_registers()[:4],
        *_out(COUNT, 0x12),
        *_registers()[:4],
        *_out(CONTROL, 0x00),
    ],
    "behind the end": [
        *_ask(0x20, SECTORS),
        *NOT_FOUND,
        *_ask(0x20, SECTORS - 1, 2),
        *_take()[:-1],
        *NOT_FOUND,
        *_registers(),
        *_ask(0x20, 0xFFF_FFFF),
        *NOT_FOUND,
        *_ask_48(0x24, 1 << 40, 1),
        *NOT_FOUND,
        *_ask(0x20, 1),
        *_take(),
    ],
    "unknown and refused": [
        *(step for code in (0x00, 0x08, 0x50, 0x9A, 0xA0, 0xA1, 0xFF) for step in _ask(code) + ABORTED),
        *_ask(0xEF, features=0x99),
        *ABORTED,
        *_ask(0x20, 1),
        *_take(),
    ],
    "no data": [
        *_ask(0x10),
        *_in(STATUS),
        *_ask(0x70, 77),
        *_in(STATUS),
        *_ask(0x40, 10, 20),
        *_in(STATUS),
        *_ask(0x91, count=63, device=0xAF),
        *_in(STATUS),
        *_ask(0xE5),
        *_in(STATUS),
        *_in(COUNT),
        *_ask(0xEF, features=0x02),
        *_in(STATUS),
        *_ask(0xEF, features=0x82),
        *_in(STATUS),
        *_ask(0xEF, features=0xAA),
        *_in(STATUS),
        *_ask(0xEF, features=0x03, count=0x0C),
        *_in(STATUS),
        *_ask(0xEF, features=0x03, count=0x18),
        *ABORTED,
    ],
    "another translation": [
        *_ask(0x91, count=17, device=0xA3),
        *_in(STATUS),
        *_ask_chs(0x20, 2, 3, 17, 2),
        *_take(2),
        *_registers(),
    ],
    "diagnostic": [*_ask(0x90), *_in(STATUS), *_in(ERROR), *_registers(), *_ask(0x20, 1), *_take()],
    "software reset": [
        *_ask(0x20, 1, 2),
        *_in(DATA, 2, 10),
        *_out(CONTROL, 0x04),
        *_out(CONTROL, 0x00),
        *_wait(),
        *_in(STATUS),
        *_in(ERROR),
        *_registers(),
        *_in(DATA, 2),
        *_ask(0x20, 1),
        *_take(),
    ],
    "registers while data are wanted": [
        *_ask(0x20, 3),
        *_out(COUNT, 0x42),
        *_out(LOW, 0x42),
        *_out(STATUS, 0xEC),
        *_wait(),
        *_registers(),
        *_take(),
    ],
    "data that nobody wants": [*_out(DEVICE, MASTER), *_in(DATA, 2, 3), *_out(DATA, 7, 8, size=2), *_in(STATUS)],
    "wide accesses to narrow registers": [
        *_out(DEVICE, MASTER),
        *_out(COUNT, 0x3412, size=2),
        *_in(COUNT, size=2),
        *_out(MID, 0x7856, size=2),
        *_in(MID, size=2),
        *_in(DATA),
    ],
}


def _has_interrupted() -> list[Step]:
    """Look whether the slave interrupt controller has noticed request 14, and let it forget."""
    return [*_out(0xA0, 0x0A), *_in(0xA0, bits=0x40), *_forget()]


def _forget() -> list[Step]:
    return [*_out(0xA0, 0x11), *_out(0xA1, 0x70, 0x02, 0x01, 0xFF)]


SCRIPTS |= {
    "interrupts of a read": [
        *_forget(),
        *_ask(0x20, 1, 2),
        *_has_interrupted(),
        *_in(STATUS),
        *_in(DATA, 2, 256),
        *_wait(),
        *_has_interrupted(),
        *_in(STATUS),
        *_in(DATA, 2, 256),
        *_has_interrupted(),
    ],
    "interrupts of a write": [
        *_forget(),
        *_ask(0x30, 1, 2),
        *_has_interrupted(),
        *_in(STATUS),
        *[Step("fill", DATA, 2, 0x1111, 256)],
        *_wait(),
        *_has_interrupted(),
        *_in(STATUS),
        *[Step("fill", DATA, 2, 0x2222, 256)],
        *_wait(),
        *_has_interrupted(),
        *_in(STATUS),
        *_has_interrupted(),
    ],
    "interrupts of the rest": [
        *_forget(),
        *(
            step
            for code in (0xEC, 0xE7, 0x10, 0x40, 0x70, 0xC6, 0xE5, 0x90, 0xFF)
            for step in [*_ask(code), *_has_interrupted(), *_in(STATUS, bits=NOT_DSC), *_in(DATA, 2, 256, bits=0)]
        ),
    ],
    "disabled interrupts": [
        *_out(CONTROL, 0x02),
        *_forget(),
        *_ask(0x20, 1),
        *_has_interrupted(),
        *_take(),
        *_out(CONTROL, 0x00),
        *_has_interrupted(),
        *_ask(0x20, 2),
        *_has_interrupted(),
        *_take(),
    ],
}


TRANSFERS = {
    (False, False, False): 0x20,
    (False, False, True): 0x24,
    (False, True, False): 0xC4,
    (False, True, True): 0x29,
    (True, False, False): 0x30,
    (True, False, True): 0x34,
    (True, True, False): 0xC5,
    (True, True, True): 0x39,
}
"""Command codes, by: writes, in blocks of several sectors, with 48-bit addresses."""


def _random_conversation(seed: int, commands: int = 150) -> list[Step]:
    """Reads and writes of every kind on both drives, some of them half heard, some behind the end."""
    dice = random.Random(seed)
    steps = _ask(0xC6, count=4) + _in(STATUS) + _ask(0xC6, count=8, device=SLAVE) + _in(STATUS)
    for _ in range(commands):
        is_slave, size = dice.random() < 0.3, dice.choice([2, 4])
        sectors = SMALL if is_slave else SECTORS
        device, multiple = (SLAVE, 8) if is_slave else (MASTER, 4)
        block, count = dice.randrange(sectors - 20), dice.randint(1, 9)
        is_write, is_multiple, is_48 = dice.random() < 0.4, dice.random() < 0.3, dice.random() < 0.3
        code = TRANSFERS[is_write, is_multiple, is_48]
        if dice.random() < 0.1:
            steps += _ask(code if not is_48 and not is_write else 0x20, sectors + dice.randrange(1000), 1, device)
            steps += FAILED
            continue
        steps += _ask_48(code, block, count, device) if is_48 else _ask(code, block, count, device)
        steps += _registers()
        length = multiple if is_multiple else 1
        while count:
            block_size = min(length, count)
            words = block_size * 512 // size
            steps += _in(STATUS)
            steps += [Step("fill", DATA, size, dice.getrandbits(16), words)] if is_write else _in(DATA, size, words)
            steps += _wait()
            count -= block_size
            if count and not is_write and dice.random() < 0.05:
                steps += [*_out(CONTROL, 0x04), *_out(CONTROL, 0x00), *_wait()]
                steps += [*_ask(0xC6, count=4), *_ask(0xC6, count=8, device=SLAVE)]
                break
        steps += [*_in(STATUS), *_registers()]
    return steps


SCRIPTS |= {f"at random, {seed}": _random_conversation(seed) for seed in (1, 2, 3)}

ALONE: dict[str, list[Step]] = {
    "a missing slave": [
        *_out(DEVICE, SLAVE),
        *_in(STATUS),
        *_in(CONTROL),
        *_out(COUNT, 0x5A),
        *_in(COUNT),
        *_in(DEVICE),
        *_ask(0xEC, device=SLAVE),
        *_in(STATUS),
        *_in(DATA, 2),
        *_out(DEVICE, MASTER),
        *_in(STATUS),
        *_in(COUNT),
    ]
}

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


def _assembly(script: list[Step]) -> Iterator[str]:
    for number, (verb, port, size, value, times, _) in enumerate(script):
        register = PUTS[size]
        if verb == "wait":
            yield f"mov edx, {CONTROL}\nin al, dx\n.w{number}: in al, dx\ntest al, 0x80\njnz .w{number}"
        elif verb == "out":
            yield f"mov eax, {value}\nmov edx, {port}\nout dx, {register}"
        elif verb == "fill":
            yield f"mov ecx, {times}\nmov eax, {value}\nmov edx, {port}\n.f{number}: out dx, {register}"
            yield f"add eax, {FILL_STEP}\ndec ecx\njnz .f{number}"
        else:
            yield f"mov ecx, {times}\nmov edx, {port}\n.i{number}: in {register}, dx"
            yield from ["out 0xE9, al\nshr eax, 8"] * size
            yield f"dec ecx\njnz .i{number}"


def _images(folder: Path, has_slave: bool) -> list[bytes]:
    """Sectors that all differ, for both drives."""
    images = []
    for drive, sectors in enumerate((SECTORS, SMALL)[: 2 if has_slave else 1]):
        numbers = range(sectors)
        content = b"".join((f"drive {drive} sector {number:6}\n".encode() * 24)[:512] for number in numbers)
        (folder / f"disk{drive}.img").write_bytes(content)
        images.append(content)
    return images


def _in_qemu(script: list[Step], folder: Path, images: list[bytes]) -> bytes:
    (folder / "guest.asm").write_text(GUEST.format(accesses="\n".join(_assembly(script))))
    subprocess.run(["nasm", "-f", "bin", "-o", "guest.bin", "guest.asm"], cwd=folder, check=True)
    command = ["qemu-system-i386", "-kernel", "guest.bin", "-m", "64", "-display", "none", "-serial", "null"]
    command += ["-monitor", "none", "-debugcon", "file:answers", "-no-reboot", "-nodefaults"]
    command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    for index in range(len(images)):
        command += ["-drive", f"file=disk{index}.img,format=raw,if=ide,index={index}"]
    finished = subprocess.run(command, cwd=folder, timeout=60, check=False, capture_output=True)
    assert finished.returncode == 1, finished.stderr
    return (folder / "answers").read_bytes()


def _on_our_bus(script: list[Step], images: list[bytes]) -> tuple[bytes, bytes]:
    """Give the answers, and for each of their bytes the bits that count."""
    bus = Bus(pc_devices(64 << 20, images))
    answers, bits, now = bytearray(), bytearray(), 0
    for step in script:
        if step.verb == "wait":
            while bus.read(CONTROL, 1, now) & 0x80:
                now += 1
        elif step.verb in ("out", "fill"):
            for index in range(step.times):
                bus.write(step.port, step.size, (step.value + index * FILL_STEP) % 256**step.size, now)
                now += 1
        else:
            for _ in range(step.times):
                answers += bus.read(step.port, step.size, now).to_bytes(step.size, "little")
                bits += bytes((step.bits,)) * step.size
                now += 1
    return bytes(answers), bytes(bits)


@pytest.mark.qemu
@pytest.mark.skipif(not (shutil.which("qemu-system-i386") and shutil.which("nasm")), reason="needs QEMU and NASM")
@pytest.mark.parametrize("name", SCRIPTS | ALONE)
def test_qemu_gives_the_same_answers(name: str, tmp_path: Path) -> None:
    script = (SCRIPTS | ALONE)[name]
    images = _images(tmp_path, has_slave=name in SCRIPTS)
    ours, bits = _on_our_bus(script, images)
    theirs = _in_qemu(script, tmp_path, images)
    # SeaBIOS writes to the debug console before the guest runs: the guest's answers are the end of the file.
    assert len(theirs) >= len(ours)
    compared = [bytes(a & b for a, b in zip(answers, bits, strict=True)) for answers in (ours, theirs[-len(ours) :])]
    at = next((index for index, (a, b) in enumerate(zip(*compared, strict=True)) if a != b), None)
    if at is not None:
        around = slice(max(at - 4, 0), at + 12)
        pytest.fail(f"answer {at}: ours {compared[0][around].hex(' ')}, QEMU {compared[1][around].hex(' ')}")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_written_sectors_end_up_in_qemu_s_image_and_never_in_ours(name: str, tmp_path: Path) -> None:
    images = _images(tmp_path, has_slave=True)
    before = [bytes(image) for image in images]
    _on_our_bus(SCRIPTS[name], images)
    assert images == before
