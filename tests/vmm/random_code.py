"""Random valid code for random guests, a slot at a time: what it is made of, and how often each kind comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from tests.machine.guests import LDT_SELECTOR, TSS_SELECTOR, code_selector, data_selector
from tests.vmm import random_kernel as kernel
from tests.vmm.random_kernel import SCRATCH, SCRATCH_END, SCRATCH_MIDDLE

SLOT = 16
T = TypeVar("T")

Symbol = Literal["slot", "gdt", "relative"]


@dataclass(frozen=True)
class Fixup:
    """A 32-bit number in the code that is known only when the guest is put together."""

    offset: int
    symbol: Symbol
    """What to add its place to: this slot's address, or the GDT's; `relative` takes the code's own place away."""
    addend: int


@dataclass(frozen=True)
class Slot:
    """A piece of code, a multiple of 16 bytes long; it starts where the slot before it ends."""

    kind: str
    code: bytes
    fixups: tuple[Fixup, ...] = ()

    def at(self, address: int, gdt: int) -> bytes:
        """The code for its place."""
        code = bytearray(self.code)
        for fixup in self.fixups:
            base = {"slot": address, "gdt": gdt, "relative": -(address + fixup.offset + 4)}[fixup.symbol]
            code[fixup.offset : fixup.offset + 4] = _le(base + fixup.addend)
        return bytes(code)


class Choices:
    """Everything that is left to chance, made of one kind of question: a number from a range, the simplest first."""

    def __init__(self, number: Callable[[int, int], int]) -> None:
        self.number = number

    def pick(self, things: Sequence[T]) -> T:
        """One of several, the simplest first."""
        return things[self.number(0, len(things) - 1)]

    def chance(self, percent: int) -> bool:
        """Yes, in so many cases of a hundred."""
        return self.number(0, 99) >= 100 - percent

    def byte(self) -> int:
        return self.number(0, 255)

    def word(self) -> int:
        """A number of 32 bits, often one at which something flips."""
        return self.number(0, 0xFFFF_FFFF) if self.chance(60) else self.pick(_CORNERS)


_CORNERS = (0, 1, 0xFF, 0x80, 0x7F, 0x8000, 0xFFFF, 0x8000_0000, 0x7FFF_FFFF, 0xFFFF_FFFF, 2, 0x1F, 0x20)


class Assembly:
    """Collects a slot's code."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.code = bytearray()
        self.fixups: list[Fixup] = []

    def emit(self, *parts: bytes | int | str | tuple[Symbol, int]) -> None:
        """Add one instruction: bytes, numbers of 32 bits, hexadecimal text, or numbers known only later."""
        raw = bytearray()
        fixups = []
        for part in parts:
            match part:
                case str():
                    raw += bytes.fromhex(part)
                case bytes():
                    raw += part
                case int():
                    raw += _le(part)
                case (symbol, addend):
                    fixups.append((len(raw), symbol, addend))
                    raw += bytes(4)
        start = len(self.code)
        if start // SLOT != (start + len(raw) - 1) // SLOT and start % SLOT and not self.choices.chance(20):
            self.pad()  # or a fault before it would go on in its middle
        for offset, symbol, addend in fixups:
            self.fixups.append(Fixup(len(self.code) + offset, symbol, addend))
        self.code += raw

    def pad(self) -> None:
        """Fill up to the next slot with instructions that do nothing."""
        while room := -len(self.code) % SLOT:
            self.code += _NOPS[min(room, len(_NOPS)) - 1]

    def slot(self, kind: str) -> Slot:
        self.pad()
        return Slot(kind, bytes(self.code), tuple(self.fixups))

    @property
    def here(self) -> int:
        return len(self.code)

    def after(self, size: int) -> int:
        """Offset of the next slot boundary behind `size` more bytes, which must not be padded in between."""
        return -(-(self.here + size) // SLOT) * SLOT


_NOPS = tuple(
    bytes.fromhex(text)
    for text in ("90", "6690", "0f1f00", "0f1f4000", "0f1f440000", "660f1f440000", "0f1f8000000000", "0f1f840000000000")
)


# ---- operands --------------------------------------------------------------------------------------------------------

EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)
_PLAIN_REGISTERS = (EAX, ECX, EDX, EAX, ECX, EDX, EBP, EBX, ESI, EDI)
WILD = (
    0xF_FFFC, 0xF_FFFE, 0xF_FFFF, 0x10_0000, 0x100_0000, 0x100_0FFE, 0xFFC0_0000, 0xFFC0_3004, 0xFFC0_4070,
    0xFFC1_0008, 0xFFC2_0000, 0xFFFF_FFFC, 0xFFFF_FFFE, 0x7FFF_FFFF, 0, 0xFFBF_FFFE, 0x0000_FFFE,
)  # fmt: skip
_OVERRIDES = (0x3E, 0x26, 0x64, 0x65, 0x36, 0x2E)


@dataclass(frozen=True)
class Operand:
    """ModRM and what belongs to it, without the register field."""

    prefixes: bytes
    mod_rm: int
    tail: bytes
    is_memory: bool

    def encode(self, register: int) -> bytes:
        return bytes([self.mod_rm | register << 3]) + self.tail


def register_operand(choices: Choices) -> Operand:
    return Operand(b"", 0xC0 | choices.pick(_PLAIN_REGISTERS), b"", False)


def memory_operand(a: Assembly, *, wild_percent: int = 4) -> Operand:
    """A memory operand, mostly in the scratch area; what it needs in a register may be put there first."""
    c = a.choices
    kind = c.number(0, 99)
    prefixes = bytes([c.pick(_OVERRIDES)]) if c.chance(10) else b""
    if c.chance(wild_percent):
        pointer = c.pick((EBX, ESI, EDI))
        a.emit(bytes([0xB8 + pointer]), c.pick(WILD))
        return Operand(prefixes, pointer, b"", True)
    if kind >= 92:  # 16-bit addresses: the first 64 KiB are free
        rm = c.number(0, 7)
        mod = c.number(0, 2)
        tail = bytes(c.byte() for _ in range(2 if (mod == 0 and rm == 6) or mod == 2 else mod))
        return Operand(prefixes + b"\x67", mod << 6 | rm, tail, True)
    if kind < 20:
        return Operand(prefixes, 5, _le(c.number(SCRATCH, SCRATCH_END - 8)), True)
    base = c.pick((EBX, ESI, EDI))
    if kind < 60:
        if c.chance(35):
            a.emit(bytes([0xB8 + base]), SCRATCH_MIDDLE + c.number(-64, 64))
        if kind < 30:
            return Operand(prefixes, base, b"", True)
        if kind < 50:
            return Operand(prefixes, 0x40 | base, bytes([c.byte()]), True)
        return Operand(prefixes, 0x80 | base, _le(c.number(-0x700, 0x700)), True)
    if kind < 68:
        a.emit(b"\xbd", SCRATCH_MIDDLE + c.number(-64, 64))
        return Operand(prefixes, 0x45, bytes([c.byte()]), True)
    if kind < 76:  # [esp + n]: the stack
        return Operand(prefixes, 0x44, bytes([0x24, c.number(0, 31)]), True)
    index = c.pick((ECX, EAX, EDX, EBP))
    a.emit(bytes([0xB8 + index]), c.number(-128, 128))
    sib = c.number(0, 2) << 6 | index << 3
    if kind < 84:
        a.emit(bytes([0xB8 + base]), SCRATCH_MIDDLE)
        return Operand(prefixes, 0x44, bytes([sib | base, c.byte()]), True)
    return Operand(prefixes, 4, bytes([sib | 5]) + _le(SCRATCH_MIDDLE), True)


# ---- ordinary instructions -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One opcode with a ModRM byte."""

    opcode: bytes
    digit: int | None = None
    """The register field, where it belongs to the opcode."""
    immediate: str = ""
    """b: a byte; v: as wide as the operand; w: a word."""
    operands: str = "rm"
    """r: a register may stand there; m: memory may."""


def _list(text: str, separator: str = ",") -> tuple[str, ...]:
    return tuple(text.split(separator))


def _row(text: str) -> Row:
    """`80 /4 b rm` and the like."""
    opcode, *rest = text.split()
    digit = next((int(word[1:]) for word in rest if word[0] == "/"), None)
    immediate = next((word for word in rest if word in ("b", "v", "w")), "")
    operands = next((word for word in rest if word in ("r", "m", "rm")), "rm")
    return Row(bytes.fromhex(opcode), digit, immediate, operands)


_ARITHMETIC = tuple(
    [_row(f"{8 * op + form:02x}") for op in range(8) for form in range(4)]
    + [_row(f"{opcode} /{op} {kind}") for op in range(8) for opcode, kind in (("80", "b"), ("81", "v"), ("83", "b"))]
    + [_row(text) for text in ("84", "85", "fe /0", "fe /1", "ff /0", "ff /1", "f6 /2", "f7 /2", "f6 /3", "f7 /3")]
    + [_row("f6 /0 b"), _row("f7 /0 v")]
)
_MOVES = tuple(
    _row(text) for text in _list("88, 89, 8a, 8b, 86, 87, c6 /0 b, c7 /0 v, 0fb6, 0fb7, 0fbe, 0fbf, 8d m, ff /6, 8f /0")
) + tuple(_row(f"0f{opcode:02x}") for opcode in (*range(0x40, 0x50), *range(0x90, 0xA0)))
_SHIFTS = tuple(
    [_row(f"{op} /{digit} b") for op in ("c0", "c1") for digit in (4, 5, 7, 0, 1, 2, 3)]
    + [_row(f"{op} /{digit}") for op in ("d0", "d1", "d2", "d3") for digit in (4, 5, 7, 0, 1, 2, 3)]
    + [_row(text) for text in ("0fa4 b", "0fa5", "0fac b", "0fad")]
)
_MULTIPLIES = tuple(
    _row(text)
    for text in ("f6 /4", "f7 /4", "f6 /5", "f7 /5", "69 v", "6b b", "0faf", "f6 /6", "f7 /6", "f6 /7", "f7 /7")
)
_BITS = tuple(
    _row(text)
    for text in _list(
        "0fba /4 b, 0fba /5 b, 0fba /6 b, 0fba /7 b, 0fbc, 0fbd, 0fa3, 0fab, 0fb3, 0fbb, 0fb0, 0fb1, 0fc0, 0fc1,"
        "0fc7 /1 m, 62 m"
    )
)
_SHORT = _list(
    "90 40 41 42 45 48 49 4a 4d 50 51 52 53 54 55 56 57 58 59 5a 5d 91 92 95 98 99 9e 9f 27 2f 37 3f d6 f5 f8 f9 fc fd "
    "60 0fc8 0fc9 0fca d40a d50a d400 04ff 0c0f 2480 6a80 c8000000 c8080001 6640 6650 6658 6699 9b d7 a8ff f0ff4500 "
    "61 c9",
    " ",
)
_LOCKABLE = ("01", "09", "11", "19", "21", "29", "31", "87", "ff /0", "ff /1", "f7 /2", "0fb1", "0fc1", "0fab")


def plain(a: Assembly, rows: Sequence[Row]) -> None:
    """One instruction of a table."""
    c = a.choices
    row = c.pick(rows)
    wants_memory = row.operands == "m" or (row.operands == "rm" and c.chance(40))
    operand = memory_operand(a) if wants_memory else register_operand(c)
    register = row.digit if row.digit is not None else c.pick(_PLAIN_REGISTERS)
    is_16 = c.chance(15)
    tail = bytes(c.byte() for _ in range({"": 0, "b": 1, "w": 2, "v": 2 if is_16 else 4}[row.immediate]))
    lock = b"\xf0" if c.chance(2) and (rows is not _BITS or wants_memory) else b""
    prefixes = lock + operand.prefixes + (b"\x66" if is_16 else b"")
    a.emit(prefixes + row.opcode + operand.encode(register) + tail)


def locked(a: Assembly) -> None:
    operand = memory_operand(a)
    row = _row(a.choices.pick(_LOCKABLE))
    register = a.choices.pick(_PLAIN_REGISTERS) if row.digit is None else row.digit
    a.emit(b"\xf0" + operand.prefixes + row.opcode + operand.encode(register))


def short(a: Assembly) -> None:
    a.emit(a.choices.pick(_SHORT))


def constant(a: Assembly) -> None:
    a.emit(bytes([0xB8 + a.choices.pick((EAX, ECX, EDX, EBP))]), a.choices.word())


def pointer(a: Assembly) -> None:
    a.emit(bytes([0xB8 + a.choices.pick((EBX, ESI, EDI))]), SCRATCH_MIDDLE + a.choices.number(-64, 64))


def divide(a: Assembly) -> None:
    """A division that mostly works."""
    c = a.choices
    a.emit("31d2")
    a.emit(b"\xb9", c.pick((7, 0, 1, 0xFFFF_FFFF, 0x1_0000)))
    a.emit(c.pick(("f7f1", "f7f9", "f6f1", "66f7f1", "f6f9", "66f7f9")))


def string(a: Assembly) -> None:
    """A string instruction, alone or repeated, in either direction."""
    c = a.choices
    opcode = c.pick(("a4", "a5", "aa", "ab", "ac", "ad", "a6", "a7", "ae", "af"))
    prefix = c.pick(("f3", "", "f2", "f3"))
    if c.chance(40):
        a.emit(c.pick(("fd", "fc")))
    if prefix:
        a.emit(b"\xb9", c.pick((3, 1, 0, 17, 40, 300)))
    if c.chance(60):
        register = c.pick((EDI, ESI))
        target = c.pick(WILD) if c.chance(8) else SCRATCH_MIDDLE + c.number(-200, 200)
        a.emit(bytes([0xB8 + register]), target)
    more = c.pick(("", "66", "67", "64", "6667")) if c.chance(25) else ""
    a.emit(more + prefix + opcode)


_FLOATING = _list(
    "d9e8 d9eb d9ee dec1 d8c1 dec9 d9fa d9c9 d9e0 d9e1 dde1 dae9 dbe3 9bdbe3 d900 dfe0 dbf1 d9fe d9f0 d9f3 "
    "0f58c1 0f59c8 0f57c0 0f28c8 f20f58c1 f30f5ec1 660fefc0 660ffec1 660f6ec0 660f7ec1 0f2fc1 f20f2ac0 f20f2dc1 "
    "0ffdc1 0fefc0 0f6ec1 0f7ec0 0f77 0fae58f8 0fc6c11b 660f70c04e",
    " ",
)
_FLOATING_MEMORY = tuple(
    _row(f"{text} m")
    for text in _list(
        "d9 /0, d9 /2, d9 /3, db /0, db /3, dd /0, dd /3, df /5, df /7, d8 /0, dc /1, de /2, d9 /5, d9 /7, dd /7,"
        "dd /6, dd /4, 0f10, 0f11, 660f6f, 660f7f, f30f10, f30f11, 0f58, 0f6f, 0f7f, 660fd6, 0fae /2, 0fae /3, d9 /6,"
        "d9 /4"
    )
)


def floating(a: Assembly) -> None:
    """x87, MMX and SSE."""
    c = a.choices
    if c.chance(50):
        a.emit(c.pick(_FLOATING))
        return
    row = c.pick(_FLOATING_MEMORY)
    operand = memory_operand(a)
    digit = c.number(0, 7) if row.digit is None else row.digit
    a.emit(operand.prefixes + row.opcode + operand.encode(digit))


# ---- the way through the code ----------------------------------------------------------------------------------------


def jump(a: Assembly) -> None:
    """Jcc, JMP, JECXZ, LOOP forward: over a few bytes, or over slots."""
    c = a.choices
    if c.chance(50):
        opcode = bytes([c.pick((*range(0x70, 0x80), 0xEB, 0xE3, 0xE2, 0xE1, 0xE0))])
        to = a.after(2) + SLOT * c.number(0, 2)
        a.code += opcode + bytes([to - a.here - 2])
        return
    condition = c.number(0, 16)
    raw = b"\xe9" if condition == 16 else bytes([0x0F, 0x80 + condition])
    to = a.after(len(raw) + 4) + SLOT * c.number(0, 3)
    a.code += raw
    a.code += _le(to - a.here - 4)


def loop(a: Assembly) -> None:
    """A loop of a few rounds."""
    c = a.choices
    a.pad()
    a.emit(b"\xb9", c.number(1, 4))
    start = a.here
    for _ in range(c.number(0, 2)):
        a.code += bytes.fromhex(c.pick(("01d0", "29c2", "8903", "0303", "d1e0", "42", "ab", "50", "0fafc2")))
    kind = c.number(0, 3)
    if kind == 3:
        a.code += b"\x49\x75"  # dec ecx; jnz
    else:
        a.code += (b"\xe2", b"\xe1", b"\xe0")[kind]
    a.code += bytes([(start - a.here - 1) & 0xFF])


def call(a: Assembly) -> None:
    """CALL and RET, near: direct, through a register, through memory, through a table."""
    c = a.choices
    match c.number(0, 6):
        case 0:
            a.emit(b"\xe8", ("relative", 0))
            fixup = a.fixups.pop()
            # The target is the kernel's small function: an absolute place from a relative one.
            a.fixups.append(Fixup(fixup.offset, "relative", kernel.ENTRY["ret"]))
        case 1:
            a.emit(b"\xb8", kernel.ENTRY["ret"])
            a.emit("ffd0")
        case 2:
            a.emit(b"\xb8", ("slot", a.after(7) if a.here % SLOT <= 9 else a.after(7) + SLOT))
            a.emit("ffe0")
        case 3:
            a.emit(b"\x68", ("slot", a.after(6) + SLOT))
            a.emit(c.pick(("c3", "c20000", "c3")))
        case 4:
            a.emit(b"\xc7\x05", SCRATCH + 0x40, ("slot", a.after(16) + SLOT * c.number(0, 1)))
            a.emit(b"\xff\x25", SCRATCH + 0x40)
        case 5:  # a jump table with two entries
            a.pad()
            a.emit(b"\xc7\x05", SCRATCH + 0x40, ("slot", a.here + 4 * SLOT))
            a.emit(b"\xc7\x05", SCRATCH + 0x44, ("slot", a.here + 3 * SLOT))
            a.emit("83e001")
            a.emit(b"\xff\x24\x85", SCRATCH + 0x40)
        case _:
            a.emit(b"\xe8", bytes(4))  # call $ + 5
            a.emit(c.pick(("58", "5a", "83c404")))


# ---- privileged instructions -----------------------------------------------------------------------------------------

_CR0_PARTS = (2, 4, 8, 0x20, 0x1_0000, 0x4_0000, 0x4000_0000, 0x6000_0000, 0x2000_0000, 0x100)
_CR4_PARTS = (4, 8, 0x10, 0x80, 0x100, 0x200, 0x400, 0x600, 0x40, 0x800, 0x2000, 0x8000_0000)
_EFER_VALUES = (0, 0x800, 1, 0x100, 0x1000, 0x801)
_MSRS = (0x174, 0x175, 0x176, 0x10, 0x1B, 0xC000_0080, 0x8B, 0xC000_0081, 0x277)
PORTS = (
    0xE9,
    0x3F8,
    0x3F9,
    0x3FA,
    0x3FB,
    0x3FC,
    0x3FD,
    0x3FF,
    0x80,
    0x20,
    0x21,
    0xA1,
    0x70,
    0x71,
    0x1F0,
    0x500,
    0xFFFF,
)
_SINGLE = _list(
    "fa fb 0f06 0f09 0f08 0f31 0f33 0fa2 0f01f9 0f05 0f07 0faa 0f01d9 0f01d8 0f01da 0f01dc 0f01df 0f01c1 0f01c8 0f01c9 "
    "0f01d0 0f01d1 0fc7f0 0fc7f8 0f0b 0fff f4 0f01f8 0f01cb 0f37 f0fa 66fa f3fb",
    " ",
)
"""Instructions without operands, some of which no CPU of these has."""


def single(a: Assembly) -> None:
    c = a.choices
    code = c.pick(_SINGLE)
    if code == "0fa2":
        a.emit(b"\xb8", c.pick((0, 1, 2, 0x8000_0000, 0x8000_0001, 0x4000_0000)))
    a.emit(code)


def control_register(a: Assembly) -> None:
    c = a.choices
    if c.chance(30):
        number = c.pick((0, 2, 3, 4, 1, 5))
        a.emit(bytes([0x0F, 0x20, 0xC0 | number << 3 | c.pick((EAX, ECX, EDX))]))
        return
    number = c.pick((0, 4, 3, 2, 1))
    value = c.word()
    if number == 0:
        value = 0x11
        for part in _CR0_PARTS:
            value |= part if c.chance(12) else 0
        if c.chance(6):
            value = c.pick((0x8000_0000, 0x8000_0010, 0x2000_0011))  # each of them impossible
    elif number == 4:
        value = 0x600 if c.chance(70) else 0
        for part in _CR4_PARTS[:-3]:
            value |= part if c.chance(10) else 0
        if c.chance(10):
            value |= c.pick(_CR4_PARTS[-3:])
    register = c.pick((EAX, ECX, EDX))
    a.emit(bytes([0xB8 + register]), value)
    a.emit(bytes([0x0F, 0x22, 0xC0 | number << 3 | register]))


def debug_register(a: Assembly) -> None:
    c = a.choices
    number = c.number(0, 7)
    if c.chance(40):
        a.emit(bytes([0x0F, 0x21, 0xC0 | number << 3 | EAX]))
        return
    value = c.word()
    if number in (5, 7):
        value = c.pick((0x400, 0, 0x2000, 0xDC00, 0x300, 0xFFFF_0000))  # general detect, but no breakpoint
    a.emit(b"\xb8", value)
    a.emit(bytes([0x0F, 0x23, 0xC0 | number << 3 | EAX]))


def machine_status(a: Assembly) -> None:
    c = a.choices
    match c.number(0, 4):
        case 0:
            a.emit(b"\xb8", c.pick((1, 0, 0xF, 9, 3, 0xFFFF_FFF1)))
            a.emit("0f01f0")  # lmsw ax
        case 1:
            a.emit(c.pick(("0f01e0", "660f01e1", "0f01e2")))  # smsw
        case 2:
            operand = memory_operand(a)
            a.emit(operand.prefixes + b"\x0f\x01" + operand.encode(4))
        case 3:
            operand = memory_operand(a)
            a.emit(operand.prefixes + b"\x0f\x01" + operand.encode(7))  # invlpg
        case _:
            a.emit("0f06")


def load_table(a: Assembly) -> None:
    """LGDT and LIDT, mostly with the good tables; SGDT and SIDT."""
    c = a.choices
    which = c.number(0, 1)
    match c.number(0, 9):
        case 0 | 1 | 2 | 3:
            a.emit(bytes([0x0F, 0x01, 0x05 | (2 + which) << 3]), kernel.PSEUDO_AT + 8 * which)
        case 4 | 5 | 6 | 7:
            operand = memory_operand(a)
            a.emit(operand.prefixes + bytes([0x0F, 0x01]) + operand.encode(which))
        case 8:
            number = c.pick((0, 1, 2, 3, 4, 7, 8, 5, 6))
            prefix = b"\x66" if c.chance(20) else b""
            a.emit(prefix + bytes([0x0F, 0x01, 0x05 | (2 + which) << 3]), kernel.PSEUDO_AT + 8 * number)
        case _:
            a.emit("66" if c.chance(50) else "", bytes([0x0F, 0x01, 0x05 | which << 3]), SCRATCH + 0x80)


_SYSTEM_SELECTORS = (
    LDT_SELECTOR, TSS_SELECTOR, kernel.TSS_FREE, 0, kernel.TSS16_FREE, kernel.LDT_ABSENT, 0x10, kernel.LDT_DATA0,
    0x7F8, kernel.GATE0, LDT_SELECTOR | 3,
)  # fmt: skip


def task_and_local_table(a: Assembly) -> None:
    """LLDT, LTR, SLDT, STR."""
    c = a.choices
    digit = c.number(0, 3)
    if digit >= 2:
        a.emit(b"\xb8", c.pick(_SYSTEM_SELECTORS))
        a.emit(bytes([0x0F, 0x00, 0xC0 | digit << 3]))
    elif c.chance(60):
        prefix = b"\x66" if c.chance(30) else b""
        a.emit(prefix + bytes([0x0F, 0x00, 0xC0 | digit << 3 | c.pick((EAX, EDX))]))
    else:
        operand = memory_operand(a)
        a.emit(operand.prefixes + b"\x0f\x00" + operand.encode(digit))


def model_specific(a: Assembly) -> None:
    c = a.choices
    number = c.pick(_MSRS) if c.chance(90) else c.word()
    a.emit(b"\xb9", number)
    if c.chance(50):
        a.emit("0f32")
        return
    values = {
        0x174: (code_selector(0), 0, 3, code_selector(0) | 3, 0x100, 0xFFFF_0008),
        0x175: (kernel.STACK_TOPS[0] - 0x800,),
        0x176: (kernel.ENTRY["sysenter"],),
        0xC000_0080: _EFER_VALUES,
    }.get(number)
    a.emit(b"\xb8", c.word() if values is None else c.pick(values))
    a.emit("31d2" if c.chance(90) else "31c0")
    a.emit("0f30")


def port(a: Assembly) -> None:
    """IN and OUT, INS and OUTS."""
    c = a.choices
    if c.chance(25):
        number = c.pick((0xE9, 0x80, 0x20, 0x21, 0x71, 0xF4))
        opcode = c.pick((0xE4, 0xE6, 0xE5, 0xE7) if number != 0xF4 else (0xE4, 0xE5))
        a.emit(bytes([opcode, number]))
        return
    a.emit(b"\xba", c.pick(PORTS))
    if c.chance(60):
        a.emit(("66" if c.chance(20) else "") + c.pick(("ec", "ee", "ed", "ef")))
        return
    prefix = c.pick(("", "f3"))
    if prefix:
        a.emit(b"\xb9", c.number(0, 5))
    if c.chance(60):
        a.emit(bytes([0xB8 + c.pick((EDI, ESI))]), c.pick(WILD) if c.chance(10) else SCRATCH_MIDDLE + c.number(0, 99))
    a.emit(("66" if c.chance(20) else "") + prefix + c.pick(("6e", "6c", "6f", "6d")))


# ---- silent instructions ---------------------------------------------------------------------------------------------

SELECTORS = (
    data_selector(0), data_selector(3), code_selector(0), code_selector(3), 0, data_selector(0) | 3,
    data_selector(3) & ~3, data_selector(1), data_selector(2), code_selector(1), 3,
    kernel.CONFORMING, kernel.CONFORMING0, kernel.READ_ONLY, kernel.READ_ONLY | 3, kernel.EXECUTE_ONLY, kernel.ABSENT,
    kernel.ABSENT_CODE, kernel.ABSENT_STACK, TSS_SELECTOR, LDT_SELECTOR, kernel.TSS_FREE, kernel.DATA16, kernel.STACK16,
    kernel.STACK16_3 | 3, kernel.EXPAND_DOWN, kernel.EXPAND_DOWN | 3, kernel.CODE16, kernel.BASED_DATA,
    kernel.BASED_DATA | 3, kernel.SHORT_DATA, kernel.BASED_CODE, kernel.NEW_DATA0, kernel.NEW_DATA3,
    kernel.NEW_DATA3 | 3, kernel.NEW_CODE0, kernel.NEW_CODE3 | 3, kernel.GATE0, kernel.GATE3 | 3, kernel.GATE16,
    kernel.GATE_ABSENT, kernel.GATE_PARAMETERS | 3, kernel.GATE_TO_DATA, kernel.GATE_TO_LDT, kernel.TSS16_FREE,
    kernel.LDT_ABSENT, kernel.TASK_GATE, kernel.VICTIM, kernel.VICTIM | 3, kernel.NOTHING, kernel.LDT_DATA0,
    kernel.LDT_DATA3 | 3, kernel.LDT_CODE0, kernel.LDT_CODE3 | 3, kernel.LDT_NEW | 3, kernel.LDT_GATE, 0x44, 0x1C0,
    0x7F8, 0xFFD0, 0xFFE0, 0xFFF0, 0xFFFB, code_selector(2), code_selector(0) | 3, code_selector(3) & ~3,
)  # fmt: skip
_STACK_SELECTORS = (
    data_selector(0), data_selector(3), data_selector(1), data_selector(2), kernel.NEW_DATA0, kernel.NEW_DATA3 | 3,
)  # fmt: skip
_CODE_SELECTORS = (
    code_selector(0), code_selector(3), code_selector(0), code_selector(3), kernel.NEW_CODE0, kernel.NEW_CODE3 | 3,
    kernel.CONFORMING, kernel.CONFORMING0, kernel.LDT_CODE0, kernel.LDT_CODE3 | 3, kernel.GATE0, kernel.GATE3,
    kernel.GATE3 | 3, kernel.GATE_PARAMETERS, kernel.LDT_GATE, kernel.GATE_TO_LDT, kernel.GATE_CONFORMING,
)  # fmt: skip


def selector(choices: Choices) -> int:
    return choices.pick(SELECTORS) if choices.chance(97) else choices.number(0, 0xFFFF)


def _word(value: int) -> bytes:
    return (value & 0xFFFF).to_bytes(2, "little")


def flags(a: Assembly) -> None:
    """PUSHF and POPF, 16 and 32 bits; some with other flags in between."""
    c = a.choices
    size = "66" if c.chance(25) else ""
    match c.number(0, 3):
        case 0:
            a.emit(size + "9c")
            a.emit("58" if not size else "6658")
        case 1:
            a.emit(size + "9c")
            a.emit(size + "9d")
        case 2:
            value = 2
            for bit in (0x200, 0x3000, 1, 0x40, 0x400, 0x800, 0x1000, 0x20_0000, 0x4_0000, 0x80):
                value |= bit if c.chance(40) else 0
            value |= 0x4000 if c.chance(2) else 0
            value |= 0x1_0000 if c.chance(4) else 0
            value |= c.pick((0x2_0000, 0x8, 0x8000, 0x18_0000)) if c.chance(4) else 0
            a.emit(b"\x68", value)
            a.emit("9d")
        case _:
            value = c.pick((0x202, 0x3202, 0x2, 0x3002, 0x1ED7))
            a.emit(b"\x66\x68", _word(value))
            a.emit("669d")


def single_step(a: Assembly) -> None:
    """Set TF; the handler takes it away after three instructions."""
    a.pad()
    a.emit("9c")
    a.emit("810c24", 0x100)
    a.emit("9d" if a.choices.chance(85) else "669d83c402")


def ask(a: Assembly) -> None:
    """LAR, LSL, VERR, VERW."""
    c = a.choices
    raw, register = c.pick((("0f02", ECX), ("0f03", ECX), ("0f00", 4), ("0f00", 5), ("660f02", EDX), ("660f03", EDX)))
    if c.chance(85):
        a.emit(b"\xb8", selector(c))
        a.emit(bytes.fromhex(raw) + bytes([0xC0 | register << 3]))
    else:
        operand = memory_operand(a)
        a.emit(operand.prefixes + bytes.fromhex(raw) + operand.encode(register))


def load_segment(a: Assembly) -> None:
    """MOV and POP to a segment register, and far pointers."""
    c = a.choices
    register = c.pick((4, 5, 0, 3, 2, 4, 5, 0, 1))
    value = c.pick(_STACK_SELECTORS) if register == 2 and c.chance(60) else selector(c)
    match c.number(0, 3):
        case 0 | 1:
            a.emit(b"\xb8", value)
            a.emit(bytes([0x8E, 0xC0 | register << 3]))
        case 2:
            prefix = b"\x66" if c.chance(15) else b""
            a.emit(prefix + b"\x68" + (_word(value) if prefix else _le(value)))
            pops = {0: b"\x07", 2: b"\x17", 3: b"\x1f", 4: b"\x0f\xa1", 5: b"\x0f\xa9", 1: b"\x1f"}
            a.emit(prefix + pops[register])
        case _:
            number = c.number(0, len(kernel.FAR_POINTER_SELECTORS) - 1)
            opcode = c.pick(("0fb4", "0fb5", "c4", "c5", "0fb2"))
            target = EAX if opcode != "0fb2" else c.pick((ESP, EAX))
            size = "66" if c.chance(10) else ""
            a.emit(size + opcode, bytes([0x05 | target << 3]), kernel.POINTERS + 8 * number)


def reload_segments(a: Assembly) -> None:
    """Give data segments a sound value again, for either ring."""
    register = a.choices.pick((3, 0, 4, 5))
    a.emit(b"\xb9", data_selector(3))
    a.emit(bytes([0x8E, 0xC1 | register << 3]))


def store_segment(a: Assembly) -> None:
    """MOV and PUSH from a segment register."""
    c = a.choices
    register = c.pick((1, 2, 3, 0, 4, 5))
    match c.number(0, 2):
        case 0:
            prefix = b"\x66" if c.chance(30) else b""
            a.emit(prefix + bytes([0x8C, 0xC0 | register << 3 | c.pick((EAX, EDX))]))
        case 1:
            operand = memory_operand(a)
            a.emit(operand.prefixes + b"\x8c" + operand.encode(register))
        case _:
            pushes = {0: "06", 1: "0e", 2: "16", 3: "1e", 4: "0fa0", 5: "0fa8"}
            a.emit(("66" if c.chance(20) else "") + pushes[register])
            if c.chance(60):
                a.emit("5a")


# ---- far transfers and the way between rings -------------------------------------------------------------------------


def far_transfer(a: Assembly) -> None:
    """Far JMP, CALL and RET, to the next slot where the selector allows."""
    c = a.choices
    value = c.pick(_CODE_SELECTORS) if c.chance(70) else selector(c)
    a.pad()
    match c.number(0, 4):
        case 0:
            a.emit(b"\xea", ("slot", a.here + SLOT), _word(value))
        case 1:
            a.emit(b"\x9a", ("slot", a.here + SLOT), _word(value))
        case 2:
            a.emit(b"\x68", value)
            a.emit(b"\x68", ("slot", a.here - 5 + SLOT))
            a.emit(c.pick(("cb", "ca0800", "cb")))
        case 3:
            a.emit(b"\xc7\x05", SCRATCH + 0x60, ("slot", a.here + 3 * SLOT))
            a.emit(b"\x66\xc7\x05", SCRATCH + 0x64, _word(value))
            a.emit(c.pick(("ff2d", "ff1d")), SCRATCH + 0x60)
        case _:  # push what is in CS, as a kernel would, and return
            a.emit("0e")
            a.emit(b"\x68", ("slot", a.here - 1 + SLOT))
            a.emit("cb")


def interrupt_return(a: Assembly) -> None:
    """IRET within a ring, outward, or with a frame that is no good."""
    c = a.choices
    a.pad()
    start = a.here
    value = c.pick(_CODE_SELECTORS) if c.chance(75) else selector(c)
    image = 2
    for bit in (0x200, 0x3000, 0x40, 0x1000, 0x1_0000):
        image |= bit if c.chance(35) else 0
    image |= 0x4000 if c.chance(1) else 0
    match c.number(0, 2):
        case 0:  # outward
            ring = c.pick((3, 3, 1, 2))
            a.emit(b"\x68", data_selector(ring) if c.chance(85) else selector(c))
            a.emit(b"\x68", kernel.STACK_TOPS[ring] - 0x100)
            a.emit(b"\x68", image)
            a.emit(b"\x68", code_selector(ring) if c.chance(90) else value)
            a.emit(b"\x68", ("slot", start + 3 * SLOT))
            a.emit("cf")
        case 1:
            a.emit(b"\x68", image)
            a.emit(b"\x68", value)
            a.emit(b"\x68", ("slot", start + 2 * SLOT))
            a.emit("cf")
        case _:  # with the ring that is running now
            a.emit("9c")
            a.emit("0e")
            a.emit(b"\x68", ("slot", start + SLOT))
            a.emit("cf")


def outward(a: Assembly) -> None:
    """From ring 0 to ring 3 by far RET or SYSEXIT."""
    c = a.choices
    a.pad()
    start = a.here
    if c.chance(50):
        a.emit(b"\x68", data_selector(3))
        a.emit(b"\x68", kernel.STACK_TOPS[3] - 0x200)
        a.emit(b"\x68", code_selector(3))
        a.emit(b"\x68", ("slot", start + 2 * SLOT))
        a.emit("cb")
    else:
        # SYSEXIT gives ring 3 the segments that follow SYSENTER_CS by 16 and 24: rings 1's here, as flat as any.
        a.emit(b"\xba", ("slot", start + SLOT))
        a.emit(b"\xb9", kernel.STACK_TOPS[3] - 0x300)
        a.emit("0f35")


def inward(a: Assembly) -> None:
    """To ring 0, there to stay: by INT, SYSENTER, or a call gate."""
    a.pad()
    match a.choices.number(0, 3):
        case 0 | 1:
            a.emit(bytes([0xCD, kernel.INT_STAY]))
        case 2:
            a.emit(b"\xba", ("slot", a.here + SLOT))
            a.emit("0f34")
        case _:
            a.emit(b"\x9a", 0, _word(kernel.GATE3 | 3))


def interrupt(a: Assembly) -> None:
    """INT n, INT3, INTO, INT1."""
    c = a.choices
    match c.number(0, 7):
        case 0 | 1:
            a.emit(bytes([0xCD, c.pick((kernel.INT_RETURN, 0x20, 0x80, 3, 4, 13, 0, 14, 8, 2, 0x47, 0xFF))]))
        case 2 | 3:
            a.emit(bytes([0xCD, c.pick(kernel.ODD_VECTORS)]))
        case 4:
            a.emit("cc")
        case 5:
            a.emit("b07f")
            a.emit("0401")  # add al, 1: overflow
            a.emit("ce")
        case 6:
            a.emit("f1")
        case _:
            a.emit(bytes([0xCD, kernel.INT_OUTWARD]))


def odd_stack(a: Assembly) -> None:
    """A stack of 16 bits or with a base, a few pushes and pops on it, and back."""
    c = a.choices
    stack = c.pick((kernel.STACK16, kernel.STACK16_3 | 3))
    a.emit("89e5")
    a.emit(b"\xb9", stack)
    a.emit("8ed1")
    a.emit(b"\xbc", c.pick((0x1_1800, 0x1800, 2, 0xFFFF_0000)))
    for _ in range(c.number(1, 3)):
        a.emit(c.pick(("50", "6650", "58", "60", "9c", "cd30", "9d", "c8040000")))
    a.emit(b"\xb9", data_selector(3) if stack & 3 else data_selector(0))
    a.emit("8ed1")
    a.emit("89ec")


def code_of_16_bits(a: Assembly) -> None:
    """A far jump to 16-bit code, a few instructions there, and back."""
    c = a.choices
    a.pad()
    ring = c.pick((0, 3))
    target = kernel.CODE16 if ring == 0 else kernel.CODE16_3 | 3
    a.emit(b"\xea", ("slot", a.here + 7 - kernel.CODE16_BASE), _word(target))
    for _ in range(c.number(0, 2)):
        a.code += bytes.fromhex(
            c.pick(("40", "6640", "89d8", "50", "58", "668903", "9c9d", "f8", "fa", "0f01e0", "8cc9"))
        )
    here = a.here
    a.code += b"\x66\xea"
    back = -(-(here + 8) // SLOT) * SLOT
    a.fixups.append(Fixup(a.here, "slot", back))
    a.code += bytes(4) + _word(code_selector(ring))


# ---- writing where it hurts ------------------------------------------------------------------------------------------


def write_code(a: Assembly) -> None:
    """Stores into the guest's own code, ahead and behind, near and far."""
    c = a.choices
    match c.number(0, 5):
        case 0:  # the very next bytes
            a.pad()
            a.emit(b"\xc6\x05", ("slot", a.here + 8), bytes([c.pick((0x90, 0x40, 0xF8, 0xCC, 0xC3, 0xFA, 0x0E))]))
            a.code += bytes.fromhex("4142434a")
        case 1:  # a slot to come
            place = a.here + SLOT * c.number(1, 4) + c.number(0, 15)
            a.emit(b"\xc6\x05", ("slot", place), bytes([c.byte()]))
        case 2:  # a slot that has been
            place = a.here - SLOT * c.number(1, 4) + c.number(0, 15)
            a.emit(b"\xc6\x05", ("slot", place), bytes([c.byte()]))
        case 3:
            place = (a.here & ~15) + SLOT * c.number(-2, 3) + 4 * c.number(0, 3)
            a.emit(b"\xc7\x05", ("slot", place), c.pick((0x9090_9090, 0x4041_4243, 0x9C_9D_90_90, 0x0100_CD90)))
        case 4:
            place = a.here + SLOT * c.number(1, 3) + c.number(0, 15)
            a.emit(c.pick(("fe05", "fe0d", "f615", "f61d")), ("slot", place))
        case _:
            a.pad()
            # Not over itself: what a repeated store that does that has left to do, nobody defines.
            a.emit(b"\xbf", ("slot", a.here + SLOT * c.number(1, 3) + c.number(0, 15)))
            a.emit(b"\xb9", c.number(1, 9))
            a.emit("b090")
            a.emit("fcf3aa")


_VICTIMS = (
    kernel.VICTIM, kernel.NEW_DATA3, kernel.READ_ONLY, kernel.GATE3, kernel.CONFORMING, kernel.BASED_DATA,
    kernel.NOTHING, kernel.ABSENT, kernel.NEW_CODE0,
)  # fmt: skip


def write_table(a: Assembly) -> None:
    """Stores into GDT, LDT, IDT and TSS; mostly into entries that the kernel can do without."""
    c = a.choices
    match c.number(0, 9):
        case 0 | 1 | 2:
            place = c.pick(_VICTIMS) + 4 * c.number(0, 1)
            a.emit(b"\xc7\x05", ("gdt", place), c.pick((0x00CF_F200, 0x00CF_9300, SCRATCH << 16, 0)) ^ c.number(0, 255))
        case 3 | 4:
            a.emit(b"\x80\x35", ("gdt", c.pick(_VICTIMS) + c.number(4, 6)), bytes([1 << c.number(0, 7)]))
        case 5:
            place = (c.pick((kernel.LDT_NEW, kernel.LDT_DATA3)) & ~7) + 4 * c.number(0, 1)
            a.emit(b"\xc7\x05", kernel.LDT + place, c.pick((0x00CF_F200, 0x00CF_9300, 0x00CF_F300, 0)))
        case 6:
            a.emit(
                b"\x80\x35", kernel.IDT + 8 * c.pick(kernel.ODD_VECTORS) + c.number(2, 5), bytes([1 << c.number(0, 7)])
            )
        case 7:
            a.emit(b"\xc7\x05", kernel.TSS + c.pick((0x66, 0xC, 0x68, 0xE0)), c.pick((0x68, 0xFFFF, 0x21, 0)))
        case 8:
            used = c.pick((code_selector(3), data_selector(3), data_selector(0), code_selector(0), TSS_SELECTOR)) & ~7
            a.emit(b"\x80\x35", ("gdt", used + c.number(0, 7)), bytes([1 << c.number(0, 7)]))
        case _:
            a.emit(b"\xbe", ("gdt", c.pick((kernel.NEW_DATA0, 0x10, code_selector(3) & ~7))))
            a.emit(b"\xbf", ("gdt", kernel.VICTIM))
            a.emit("a5a5")


KINDS: tuple[tuple[int, Callable[[Assembly], None]], ...] = (
    (14, partial(plain, rows=_ARITHMETIC)),
    (9, partial(plain, rows=_MOVES)),
    (6, partial(plain, rows=_SHIFTS)),
    (4, partial(plain, rows=_MULTIPLIES)),
    (5, partial(plain, rows=_BITS)),
    (9, short),
    (5, constant),
    (4, pointer),
    (2, locked),
    (2, divide),
    (6, string),
    (5, floating),
    (6, jump),
    (4, loop),
    (5, call),
    (6, single),
    (5, control_register),
    (3, debug_register),
    (3, machine_status),
    (4, load_table),
    (4, task_and_local_table),
    (3, model_specific),
    (6, port),
    (6, flags),
    (2, single_step),
    (5, ask),
    (7, load_segment),
    (4, reload_segments),
    (4, store_segment),
    (6, far_transfer),
    (5, interrupt_return),
    (4, outward),
    (5, inward),
    (5, interrupt),
    (2, odd_stack),
    (1, code_of_16_bits),
    (4, write_code),
    (4, write_table),
)
_BY_WEIGHT = tuple(make for weight, make in KINDS for _ in range(weight))


def random_slot(choices: Choices) -> Slot:
    """One slot: one to three pieces of the same or different kinds."""
    assembly = Assembly(choices)
    names = []
    for _ in range(choices.pick((1, 1, 2, 3))):
        make = choices.pick(_BY_WEIGHT)
        names.append(getattr(make, "__name__", "plain"))
        make(assembly)
    return assembly.slot(" ".join(names))


def _le(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")
