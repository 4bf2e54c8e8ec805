"""Kernels of a few bytes for a Xen-like hypervisor, as scenario folders, and a way to drive them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from ringviz.guest import Scenario
from ringviz.guest.scenario import load_scenario
from ringviz.machine.state import EAX
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.technique import Paravirt
from tests.vmm.lockstep import Run

CODE, HANDLERS, DATA, TABLE, STACK_TOP, USER, USER_STACK_TOP = (
    0x1_0000, 0x1_1000, 0x2_0000, 0x3_0000, 0x4_0000, 0x5_0000, 0x6_0000,
)  # fmt: skip
"""Where a test's kernel has its code, its handlers, its data, its GDT, its stack, and a program with a stack."""
MEMORY_MIB = 4
PAGES = MEMORY_MIB << 8
GUEST_BYTES = MEMORY_MIB << 20
FIRST_FRAME = layout.GUEST_BASE >> 12
RING1_CODE, RING1_DATA = 0x00CFBB000000FFFF, 0x00CFB3000000FFFF
RING3_CODE, RING3_DATA = 0x00CFFB000000FFFF, 0x00CFF3000000FFFF
RING0_CODE = 0x00CF9B000000FFFF
IRETD = b"\xcf"
STOP = b"\xeb\xfe"
"""A jump to itself: the run stops at its limit of instructions."""

_TOML = f"""\
schema = 1
title = "A test's kernel"
summary = "Assembled by hand."
level = "advanced"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "flat"
memory_mib = {MEMORY_MIB}
load = {CODE}
entry = {CODE}
start = "protected"
paravirt = true
[limits]
instructions = {{limit}}
"""


def le(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")


def hypercall(number: int, *arguments: int) -> bytes:
    """MOV of number and arguments into their registers, and INT 82h."""
    opcodes = (0xBB, 0xB9, 0xBA, 0xBE, 0xBF)  # mov ebx, ecx, edx, esi, edi
    code = b"".join(bytes([op]) + le(value) for op, value in zip(opcodes, arguments, strict=False))
    return code + b"\xb8" + le(number) + b"\xcd\x82"


def trap(vector: int, flags: int, selector: int, address: int) -> bytes:
    """One entry of a trap table."""
    return struct.pack("<BBHI", vector, flags, selector, address)


def words(*values: int) -> bytes:
    return b"".join(le(value) for value in values)


def make_kernel(folder: Path, code: bytes, parts: Mapping[int, bytes] | None = None, limit: int = 2_000) -> Scenario:
    """Write a scenario whose recompiled kernel is `code`, with more bytes at other addresses, and load it."""
    image = bytearray(code)
    for address, data in (parts or {}).items():
        offset = address - CODE
        if len(image) < offset + len(data):
            image.extend(bytes(offset + len(data) - len(image)))
        image[offset : offset + len(data)] = data
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scenario.toml").write_text(_TOML.format(limit=limit), encoding="utf-8")
    (folder / "guest.asm").write_text("; made by hand\n", encoding="utf-8")
    (folder / "guest.bin").write_bytes(b"\xfa\xf4")  # cli; hlt
    (folder / "guest.paravirt.bin").write_bytes(bytes(image))
    return load_scenario(folder)


def start(folder: Path, code: bytes, parts: Mapping[int, bytes] | None = None, limit: int = 2_000) -> Run:
    """Power such a kernel on."""
    return Run(make_kernel(folder, code, parts, limit), "paravirt")


def finished(folder: Path, code: bytes, parts: Mapping[int, bytes] | None = None, limit: int = 2_000) -> Run:
    """Run such a kernel to its end or its limit."""
    run = start(folder, code, parts, limit)
    run.finish()
    return run


def technique_of(run: Run) -> Paravirt:
    technique = run.technique
    assert isinstance(technique, Paravirt)
    return technique


def eax(run: Run) -> int:
    """EAX, signed."""
    value = run.technique.machine.state.gpr[EAX]
    return value - (1 << 32) if value & 0x8000_0000 else value


def guest_word(run: Run, address: int) -> int:
    return run.technique.machine.ram.read_int(layout.GUEST_BASE + address, 4)
