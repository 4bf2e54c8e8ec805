"""Guests of a few bytes as scenario folders, on one small kernel: tables, handlers, and a way into any ring.

The body of a guest is a row of slots of 16 bytes. A handler that answers an exception goes on at the next slot, so an
instruction that faults stands at the start of a slot of its own. `INT 40h` ends the run from any ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ringviz.guest import Scenario
from ringviz.guest.scenario import load_scenario
from tests.machine.guests import (
    ERROR_CODE_VECTORS,
    GDT,
    GDT_ENTRIES,
    HANDLERS,
    IDT,
    IDT_ENTRIES,
    STACK_TOP,
    TSS_SELECTOR,
    code_selector,
    data_selector,
    gate,
    lay_tables,
)

LOAD = 0x1000
END_HANDLER, RETURN_HANDLER = 0x7000, 0x7010
"""Handlers of `INT 40h`, which halts, and `INT 30h`, which returns."""
POINTERS = 0x7100
"""What LGDT and LIDT read."""
START, BODY = 0x8000, 0x9000
SCRATCH = 0x20_0000
"""Memory that guests may scribble in; EBX points there."""
MEMORY_MIB = 4
GUEST_BYTES = MEMORY_MIB << 20
END = bytes.fromhex("cd40")  # int 40h
SLOT = 16

_TOML = """\
schema = 1
title = "A test's guest"
summary = "Assembled by hand."
level = "advanced"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "flat"
memory_mib = {memory_mib}
load = {load}
entry = {entry}
start = "protected"
{paging}
[limits]
instructions = {limit}
"""

_SKIP_TO_NEXT_SLOT = bytes.fromhex("83042410 832424f0 cf")  # add dword [esp], 16; and dword [esp], -16; iret
_DROP_ERROR_CODE = bytes.fromhex("83c404")  # add esp, 4
_IRET = b"\xcf"


def slots(*codes: bytes) -> bytes:
    """Put each piece of code at the start of slots of its own, filled up with NOP."""
    return b"".join(code + b"\x90" * (-len(code) % SLOT) for code in codes)


def make_scenario(
    folder: Path,
    content: bytes,
    load: int,
    *,
    entry: int,
    limit: int,
    paging: bool = False,
    memory_mib: int = MEMORY_MIB,
) -> Scenario:
    """Write a flat scenario and load it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _TOML.format(
        load=load, entry=entry, limit=limit, paging="paging = true" if paging else "", memory_mib=memory_mib
    )
    (folder / "scenario.toml").write_text(text, encoding="utf-8")
    (folder / "guest.asm").write_text("; made by hand\n", encoding="utf-8")
    (folder / "guest.bin").write_bytes(content)
    return load_scenario(folder)


def bare_scenario(folder: Path, code: bytes, *, limit: int = 10_000) -> Scenario:
    """A guest that is nothing but code at 1 MiB: no tables, no stack."""
    return make_scenario(folder, code, 0x10_0000, entry=0x10_0000, limit=limit)


def kernel_scenario(
    folder: Path,
    body: bytes,
    *,
    ring: int = 0,
    eflags: int = 2,
    limit: int = 10_000,
    extra: Sequence[tuple[int, bytes]] = (),
    gdt: int = GDT,
) -> Scenario:
    """A guest whose kernel sets its tables up and goes to `body` in a ring, with EBX, ESI and EDI at `SCRATCH`.

    Args:
        folder: where to write the scenario.
        body: code at `BODY`; `END` is put behind it.
        ring: where it runs.
        eflags: EFLAGS there.
        limit: instructions.
        extra: more bytes for the image, by address, written last.
        gdt: another address for a copy of the GDT, which is then the one in use.
    """
    image = bytearray(BODY + len(body) + SLOT)

    def write(address: int, data: bytes) -> None:
        if len(image) < address + len(data):
            image.extend(bytes(address + len(data) - len(image)))
        image[address : address + len(data)] = data

    lay_tables(write, idt_dpl=3, handler=b"")
    for vector in range(33):
        code = _DROP_ERROR_CODE + _SKIP_TO_NEXT_SLOT if vector in ERROR_CODE_VECTORS else _SKIP_TO_NEXT_SLOT
        write(HANDLERS + 16 * vector, _IRET if vector in (1, 3, 4, 32) else code)
    # The default TSS descriptor is marked busy; LTR wants an available one.
    write(GDT + TSS_SELECTOR + 5, b"\x89")
    for vector, handler in ((0x30, RETURN_HANDLER), (0x40, END_HANDLER)):
        write(IDT + 8 * vector, gate(code_selector(0), handler, 0xE, 3).to_bytes(8, "little"))
    write(RETURN_HANDLER, _IRET)
    write(END_HANDLER, b"\xf4")
    write(POINTERS, (8 * GDT_ENTRIES - 1).to_bytes(2, "little") + gdt.to_bytes(4, "little"))
    write(POINTERS + 8, (8 * IDT_ENTRIES - 1).to_bytes(2, "little") + IDT.to_bytes(4, "little"))
    write(START, _prologue(ring, eflags))
    write(BODY, body + END)
    for address, data in extra:
        write(address, data)
    if gdt != GDT:
        write(gdt, bytes(image[GDT : GDT + 8 * GDT_ENTRIES]))
    return make_scenario(folder, bytes(image[LOAD:]), LOAD, entry=START, limit=limit)


def _prologue(ring: int, eflags: int) -> bytes:
    """Load the tables and the segments, set the registers, and IRET to the body."""

    def imm(value: int) -> bytes:
        return value.to_bytes(4, "little")

    code = b"\x0f\x01\x15" + imm(POINTERS) + b"\x0f\x01\x1d" + imm(POINTERS + 8)  # lgdt [..]; lidt [..]
    code += b"\xbc" + imm(STACK_TOP)  # mov esp, STACK_TOP
    target = START + len(code) + 7
    code += b"\xea" + imm(target) + code_selector(0).to_bytes(2, "little")  # jmp far
    code += b"\x66\xb8" + data_selector(0).to_bytes(2, "little")  # mov ax, data
    code += bytes.fromhex("8ed8 8ec0 8ed0 8ee0 8ee8")  # mov ds, es, ss, fs, gs
    code += b"\x66\xb8" + TSS_SELECTOR.to_bytes(2, "little") + bytes.fromhex("0f00d8")  # mov ax, tss; ltr ax
    if ring:
        code += b"\x66\xb8" + data_selector(ring).to_bytes(2, "little") + bytes.fromhex("8ed8 8ec0 8ee0 8ee8")
        code += b"\x68" + imm(data_selector(ring)) + b"\x68" + imm(STACK_TOP - 0x1000)
    code += b"\x68" + imm(eflags) + b"\x68" + imm(code_selector(ring)) + b"\x68" + imm(BODY)
    for opcode in (b"\xbb", b"\xbe", b"\xbf"):
        code += opcode + imm(SCRATCH)
    return code + b"\x31\xc0\x31\xc9\x31\xd2\x31\xed\xcf"  # xor eax, ecx, edx, ebp; iret
