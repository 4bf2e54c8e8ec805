"""The kernel under every random guest: tables with entries of all kinds, and handlers that survive whatever happens.

A guest's body is a row of slots of 16 bytes. After a fault in the body the next slot is next. After a fault anywhere
else (a wild jump, 16-bit code, a lost stack) the kernel starts over in ring 0 on a sound stack, each time two slots
further on, and halts when the body has no more.
"""

from __future__ import annotations

from collections.abc import Callable

from ringviz.facts.segments import Descriptor, encode_descriptor
from ringviz.guest.decode import decode
from tests.machine.guests import (
    CODE_ACCESS,
    DATA_ACCESS,
    ERROR_CODE_VECTORS,
    LDT_SELECTOR,
    TSS_SELECTOR,
    code_selector,
    data_selector,
    gate,
)

Write = Callable[[int, bytes], None]

MEMORY_MIB = 1
RAM_BYTES = MEMORY_MIB << 20
LOAD = 0x1_0000
"""What lies below is free for 16-bit addresses."""
GDT_PLACES = (0x1_0000, 0x1_0FC4, 0x1_0804)
"""At a page's start, across two pages, not aligned."""
LDT, IDT, TSS, VARIABLES, HANDLERS, START, BODY = (
    0x1_1800,
    0x1_2000,
    0x1_3000,
    0x1_4000,
    0x1_5000,
    0x1_5800,
    0x1_6000,
)
POINTERS = VARIABLES + 0x100
"""Far pointers, and what LGDT and LIDT read."""
MOST_BODY = 0x6000
CODE16_BASE = LOAD
STACK_TOPS = (0x2_0000, 0x2_4000, 0x2_6000, 0x2_8000)
"""By ring."""
SCRATCH, SCRATCH_MIDDLE, SCRATCH_END = 0x2_A000, 0x2_A800, 0x2_B000
GDT_ENTRIES, LDT_ENTRIES, IDT_ENTRIES = 56, 8, 0x48

_SPARE = 0x58
(
    CONFORMING, READ_ONLY, EXECUTE_ONLY, ABSENT, ABSENT_CODE, ABSENT_STACK, TSS_FREE, DATA16, EXPAND_DOWN, CODE16,
    BASED_DATA, SHORT_DATA, BASED_CODE, NEW_DATA0, NEW_DATA3, NEW_CODE0, NEW_CODE3, CONFORMING0, GATE0, GATE3, GATE16,
    GATE_ABSENT, GATE_PARAMETERS, GATE_TO_DATA, GATE_TO_LDT, TSS16_FREE, LDT_ABSENT, TASK_GATE, VICTIM, CODE16_3,
    STACK16, STACK16_3, GATE_CONFORMING, NOTHING,
) = range(_SPARE, _SPARE + 8 * 34, 8)  # fmt: skip
"""Selectors of the entries that are not just flat segments of a ring."""
LDT_DATA0, LDT_DATA3, LDT_CODE0, LDT_CODE3, LDT_NEW, LDT_GATE = range(4, 4 + 8 * 6, 8)

INT_RETURN, INT_STAY, INT_OUTWARD, INT_END = 0x30, 0x31, 0x32, 0x40
ODD_VECTORS = tuple(range(0x33, 0x3F))

_HANDLER_CODE = bytes.fromhex(
    "83c404"  # fault_code: add esp, 4
    "812c2400600100"  # fault: sub dword [esp], BODY
    "813c2478563412"  # cmp dword [esp], length of the body
    "730c"  # jae lost
    "81042410600100"  # add dword [esp], BODY + 16
    "832424f0"  # and dword [esp], -16
    "cf"  # iret
    "b910000000"  # lost: mov ecx, 10h
    "8ed98ec18ed1"  # mov ds, ecx; mov es, ecx; mov ss, ecx
    "bc00000200"  # mov esp, the stack of ring 0
    "a100400100"  # mov eax, [VARIABLES]
    "83050040010020"  # add dword [VARIABLES], 32
    "3d00600100"  # cmp eax, BODY
    "7213"  # jb over
    "3df0debc0a"  # cmp eax, end of the body
    "730c"  # jae over
    "bb00a80200"  # mov ebx, SCRATCH_MIDDLE
    "89de89df"  # mov esi, ebx; mov edi, ebx
    "fc"  # cld
    "ffe0"  # jmp eax
    "f4ebfd"  # over: hlt; jmp over
)
_FAULT_CODE, _FAULT = HANDLERS, HANDLERS + 3
_OTHERS = {
    "debug": bytes.fromhex(
        "36ff0d04400100"  # dec dword [ss:VARIABLES + 4]
        "7913"  # jns keep
        "36c7050440010002000000"  # mov dword [ss:VARIABLES + 4], 2
        "81642408fffeffff"  # and dword [esp + 8], ~TF
        "cf"  # keep: iret
    ),
    "return": bytes.fromhex("cf"),  # iret
    "stay": bytes.fromhex("58ffe0"),  # pop eax; jmp eax
    "outward": bytes.fromhex("586a4368008002006846320000 6a3b50cf"),  # to ring 3 with IF and IOPL 3
    "end": bytes.fromhex("f4ebfd"),  # hlt; jmp $ - 1
    "sysenter": bytes.fromhex("ffe2"),  # jmp edx
    "retf": bytes.fromhex("cb"),
    "retf 8": bytes.fromhex("ca0800"),
    "ret": bytes.fromhex("ff0500a90200c3"),  # inc dword [SCRATCH + 900h]; ret
}
ENTRY = {name: HANDLERS + 0x100 + 0x20 * number for number, name in enumerate(_OTHERS)}
"""Where each of the kernel's small routines starts."""


def lay_kernel(write: Write, gdt: int, body_bytes: int) -> None:
    """Write tables, handlers and variables.

    Args:
        write: puts bytes at an address.
        gdt: where the GDT lies.
        body_bytes: length of the body, a multiple of 16.
    """
    code = _HANDLER_CODE.replace(bytes.fromhex("78563412"), _le(body_bytes), 1)
    write(HANDLERS, code.replace(bytes.fromhex("f0debc0a"), _le(BODY + body_bytes), 1))
    for name, routine in _OTHERS.items():
        write(ENTRY[name], routine)
    write(VARIABLES, _le(BODY + 16) + _le(2))
    _lay_descriptors(write, gdt)
    _lay_gates(write)
    for ring in range(3):
        write(TSS + 4 + 8 * ring, _le(STACK_TOPS[ring]) + _le(data_selector(ring)))
    write(TSS + 0x66, (0x68).to_bytes(2, "little"))
    # Ring 3 may use the debug console and half of the serial port.
    bitmap = bytearray(b"\xff" * 0x98)
    bitmap[0xE9 >> 3] &= ~(1 << (0xE9 & 7))
    bitmap[0x3F8 >> 3] = 0xF0
    write(TSS + 0x68, bytes(bitmap))
    write(POINTERS, far_pointer_table(gdt))


def far_pointer_table(gdt: int) -> bytes:
    """Far pointers to all sorts of selectors, 8 bytes each, and behind them pseudo-descriptors, 8 bytes each."""
    far = b"".join(_le(SCRATCH_MIDDLE) + _le(selector) for selector in FAR_POINTER_SELECTORS)
    pseudo = b"".join(
        limit.to_bytes(2, "little") + _le(base) + bytes(2)
        for limit, base in (
            (8 * GDT_ENTRIES - 1, gdt),
            (8 * IDT_ENTRIES - 1, IDT),
            (0xFFFF, gdt),
            (0x57, gdt),
            (0x1FF, IDT),
            (0, gdt),
            (0x7FF, 0xFFF0_0000),
            (8 * GDT_ENTRIES - 1, 0x0F_FF00),
            (8 * GDT_ENTRIES - 1, 0x0100_0000 | gdt),
        )
    )
    return far + pseudo


FAR_POINTER_SELECTORS = (
    data_selector(0), data_selector(3), 0, 3, data_selector(0) | 3, ABSENT, READ_ONLY, BASED_DATA, NEW_DATA3, 0x7F8,
    LDT_DATA3, code_selector(0), EXECUTE_ONLY, TSS_SELECTOR, 0xFFF8, CONFORMING,
)  # fmt: skip
PSEUDO_GOOD_GDT, PSEUDO_GOOD_IDT = 0, 1
PSEUDO_DESCRIPTORS = 9
PSEUDO_AT = POINTERS + 8 * len(FAR_POINTER_SELECTORS)


def _lay_descriptors(write: Write, gdt: int) -> None:
    def put(selector: int, base: int, limit: int, access: int) -> None:
        raw(selector, encode_descriptor(Descriptor(base, limit, access)))

    def raw(selector: int, entry: int) -> None:
        table = LDT if selector & 4 else gdt
        write(table + (selector & ~7), entry.to_bytes(8, "little"))

    everything = 0xFFFF_FFFF
    for ring in range(4):
        put(code_selector(ring), 0, everything, CODE_ACCESS | ring << 5)
        put(data_selector(ring), 0, everything, DATA_ACCESS | ring << 5)
    put(TSS_SELECTOR, TSS, 0xFF, 0x089)
    put(LDT_SELECTOR, LDT, 8 * LDT_ENTRIES - 1, 0x082)
    put(CONFORMING, 0, everything, CODE_ACCESS | 4 | 3 << 5)
    put(CONFORMING0, 0, everything, CODE_ACCESS | 4)
    put(READ_ONLY, 0, everything, DATA_ACCESS & ~2 | 3 << 5)
    put(EXECUTE_ONLY, 0, everything, CODE_ACCESS & ~2 | 3 << 5)
    put(ABSENT, 0, everything, DATA_ACCESS & ~0x80 | 3 << 5)
    put(ABSENT_CODE, 0, everything, CODE_ACCESS & ~0x80)
    put(ABSENT_STACK, 0, everything, DATA_ACCESS & ~0x80)
    put(TSS_FREE, TSS, 0xFF, 0x089)
    put(TSS16_FREE, SCRATCH, 0x2B, 0x081)
    put(DATA16, 0, 0xFFFF, 0x0F3)
    put(STACK16, SCRATCH - 0x1000, 0xFFFF, 0x093)
    put(STACK16_3, SCRATCH - 0x1000, 0xFFFF, 0x0F3)
    put(EXPAND_DOWN, 0, 0xFFFF, 0x4F7)
    put(CODE16, CODE16_BASE, 0xFFFF, 0x09B)
    put(CODE16_3, CODE16_BASE, 0xFFFF, 0x0FB)
    put(BASED_DATA, 0x40, everything, DATA_ACCESS | 3 << 5)
    put(SHORT_DATA, 0, SCRATCH_END - 1, 0x4F3)
    put(BASED_CODE, 0x20, everything, CODE_ACCESS)
    put(NEW_DATA0, 0, everything, DATA_ACCESS & ~1)
    put(NEW_DATA3, 0, everything, DATA_ACCESS & ~1 | 3 << 5)
    put(NEW_CODE0, 0, everything, CODE_ACCESS & ~1)
    put(NEW_CODE3, 0, everything, CODE_ACCESS & ~1 | 3 << 5)
    put(LDT_ABSENT, LDT, 0xF, 0x002)
    put(VICTIM, SCRATCH, 0xFFF, 0x4F2)
    raw(GATE0, gate(code_selector(0), ENTRY["retf"], 0xC, 0))
    raw(GATE3, gate(code_selector(0), ENTRY["retf"], 0xC, 3))
    raw(GATE16, gate(CODE16, ENTRY["retf"] - CODE16_BASE, 0x4, 3))
    raw(GATE_ABSENT, gate(code_selector(0), ENTRY["retf"], 0xC, 3, present=False))
    raw(GATE_PARAMETERS, gate(code_selector(0), ENTRY["retf 8"], 0xC, 3, params=2))
    raw(GATE_TO_DATA, gate(data_selector(0), ENTRY["retf"], 0xC, 3))
    raw(GATE_TO_LDT, gate(LDT_CODE0, ENTRY["retf"], 0xC, 3))
    raw(GATE_CONFORMING, gate(CONFORMING0, ENTRY["retf"], 0xC, 3))
    raw(TASK_GATE, gate(TSS_FREE, 0, 0x5, 3))
    put(LDT_DATA0, 0, everything, DATA_ACCESS)
    put(LDT_DATA3, 0, everything, DATA_ACCESS | 3 << 5)
    put(LDT_CODE0, 0, everything, CODE_ACCESS)
    put(LDT_CODE3, 0, everything, CODE_ACCESS | 3 << 5)
    put(LDT_NEW, 0x10, everything, DATA_ACCESS & ~1 | 3 << 5)
    raw(LDT_GATE, gate(code_selector(0), ENTRY["retf"], 0xC, 3))


def _lay_gates(write: Write) -> None:
    def put(vector: int, entry: int) -> None:
        write(IDT + 8 * vector, entry.to_bytes(8, "little"))

    kernel = code_selector(0)
    for vector in range(IDT_ENTRIES):
        handler = _FAULT_CODE if vector in ERROR_CODE_VECTORS else _FAULT
        if vector == 1:
            put(vector, gate(kernel, ENTRY["debug"], 0xE))
        elif vector in (3, 4) or vector >= 0x20:
            put(vector, gate(kernel, ENTRY["return"], 0xE, 3))
        else:
            put(vector, gate(kernel, handler, 0xE))
    put(INT_STAY, gate(kernel, ENTRY["stay"], 0xE, 3))
    put(INT_OUTWARD, gate(kernel, ENTRY["outward"], 0xE, 3))
    put(INT_END, gate(kernel, ENTRY["end"], 0xE, 3))
    for vector, entry in zip(
        ODD_VECTORS,
        (
            gate(kernel, ENTRY["return"], 0xF, 3),  # a trap gate leaves IF alone
            gate(kernel, ENTRY["return"], 0xE, 0),
            gate(kernel, ENTRY["return"], 0xE, 3, present=False),
            gate(CONFORMING0, ENTRY["return"], 0xE, 3),
            gate(data_selector(0), ENTRY["return"], 0xE, 3),
            gate(code_selector(1), ENTRY["return"], 0xE, 3),
            gate(LDT_CODE0, ENTRY["return"], 0xE, 3),
            gate(CODE16, ENTRY["return"] - CODE16_BASE, 0x6, 3),  # in 16-bit code, IRET and RET are of 16 bits
            gate(NEW_CODE0, ENTRY["return"], 0xE, 3),
            gate(0, ENTRY["return"], 0xE, 3),
            gate(code_selector(3), ENTRY["return"], 0xE, 3),
            gate(kernel, ENTRY["retf"], 0xC, 3),  # a call gate has no place in an IDT
        ),
        strict=True,
    ):
        put(vector, entry)


def prologue(ring: int, eflags: int, registers: tuple[int, ...]) -> bytes:
    """Code that loads tables, segments and registers and goes to the body; it is straight but for one far jump.

    Args:
        ring: the body's first ring.
        eflags: EFLAGS there.
        registers: EAX, ECX, EDX, EBX, EBP, ESI, EDI there.
    """

    def move(register: int, value: int) -> bytes:
        return bytes([0xB8 + register]) + _le(value)

    code = b"\x0f\x01\x15" + _le(PSEUDO_AT) + b"\x0f\x01\x1d" + _le(PSEUDO_AT + 8)  # lgdt [..]; lidt [..]
    code += move(4, STACK_TOPS[0])
    target = START + len(code) + 7
    code += b"\xea" + _le(target) + code_selector(0).to_bytes(2, "little")  # jmp far
    code += move(0, TSS_SELECTOR) + b"\x0f\x00\xd8"  # ltr ax
    code += move(0, LDT_SELECTOR) + b"\x0f\x00\xd0"  # lldt ax
    code += move(0, 0x600) + b"\x0f\x22\xe0"  # mov cr4, eax: OSFXSR, OSXMMEXCPT
    for number, value in ((0x174, code_selector(0)), (0x175, STACK_TOPS[0] - 0x800), (0x176, ENTRY["sysenter"])):
        code += move(1, number) + move(0, value) + b"\x31\xd2\x0f\x30"  # xor edx, edx; wrmsr
    code += move(0, data_selector(ring)) + bytes.fromhex("8ed8 8ec0 8ee0 8ee8")  # mov ds, es, fs, gs
    if ring:
        code += b"\x68" + _le(data_selector(ring)) + b"\x68" + _le(STACK_TOPS[ring])
    else:
        code += bytes.fromhex("8ed0 6690")  # mov ss, eax; a NOP to have as many instructions as for the others
    code += b"\x68" + _le(eflags) + b"\x68" + _le(code_selector(ring)) + b"\x68" + _le(BODY)
    for register, value in zip((0, 1, 2, 3, 5, 6, 7), registers, strict=True):
        code += move(register, value)
    return code + b"\xcf"  # iret


def prologue_instructions() -> int:
    """How many instructions the prologue takes."""
    code, count, offset = prologue(3, 2, (0,) * 7), 0, 0
    while offset < len(code):
        instruction = decode(code[offset : offset + 15], 0, 32)
        assert instruction is not None
        offset += instruction.size
        count += 1
    return count


def _le(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")
