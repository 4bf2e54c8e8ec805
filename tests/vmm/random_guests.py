"""Random guests: a small kernel, and a body of random valid code in rings 0 to 3 that goes between them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hypothesis import assume
from hypothesis import strategies as st

from ringviz.guest import Scenario
from ringviz.guest.decode import decode
from tests.vmm import random_kernel as kernel
from tests.vmm.guests import make_scenario
from tests.vmm.random_code import Choices, Slot, random_slot

MOST_SLOTS = 24
_END = bytes([0xCD, kernel.INT_END]) + b"\x90" * 14
_KILLS_THE_EMULATOR = re.compile(
    rb"\xf0[\x26\x2e\x36\x3e\x64-\x67\xf0\xf2\xf3]*\x0f([\xa3\xab\xb3\xbb][\xc0-\xff]|\xba[\xe0-\xff])"
)
"""LOCK before a bit test of a register: no instruction, and the emulator aborts the process when it translates it."""
_FLAGS = (0x2, 0x202, 0x3202, 0x1002, 0x3002, 0x8D7)


@dataclass(frozen=True)
class RandomGuest:
    """A guest, before it is put together."""

    slots: tuple[Slot, ...]
    ring: int
    eflags: int
    registers: tuple[int, int, int, int]
    """EAX, ECX, EDX, EBP."""
    gdt: int
    content: int
    """What the scratch area is filled with: 16 bytes, over and over."""

    @property
    def body_bytes(self) -> int:
        """Length of the body, its end included."""
        return sum(len(slot.code) for slot in self.slots) + len(_END)

    @property
    def is_bearable(self) -> bool:
        """The emulator can translate it all."""
        return _KILLS_THE_EMULATOR.search(self.image()) is None

    def image(self) -> bytes:
        """The bytes from `LOAD` on."""
        memory = bytearray(kernel.SCRATCH_END - kernel.LOAD)

        def write(address: int, data: bytes) -> None:
            start = address - kernel.LOAD
            memory[start : start + len(data)] = data

        kernel.lay_kernel(write, self.gdt, self.body_bytes)
        eax, ecx, edx, ebp = self.registers
        middle = kernel.SCRATCH_MIDDLE
        write(kernel.START, kernel.prologue(self.ring, self.eflags, (eax, ecx, edx, middle, ebp, middle, middle)))
        address = kernel.BODY
        for slot in self.slots:
            write(address, slot.at(address, self.gdt))
            address += len(slot.code)
        write(address, _END)
        size = kernel.SCRATCH_END - kernel.SCRATCH
        write(kernel.SCRATCH, self.content.to_bytes(16, "little") * (size // 16))
        return bytes(memory)

    def scenario(self, folder: Path, *, limit: int) -> Scenario:
        """Write it as a scenario folder and load it."""
        return make_scenario(
            folder, self.image(), kernel.LOAD, entry=kernel.START, limit=limit, memory_mib=kernel.MEMORY_MIB
        )

    def listing(self) -> str:
        """The body as assembly, one instruction a line, with its bytes."""
        lines = [
            f"ring {self.ring}, EFLAGS {self.eflags:X}, EAX ECX EDX EBP "
            + " ".join(f"{value:08X}" for value in self.registers)
            + f", GDT {self.gdt:X}, scratch filled with {self.content.to_bytes(16, 'little').hex()}"
        ]
        address = kernel.BODY
        for slot in self.slots:
            lines.append(f"  ; {slot.kind}")
            lines.extend(_disassembly(slot.at(address, self.gdt), address))
            address += len(slot.code)
        return "\n".join(lines)


def _disassembly(code: bytes, address: int) -> Iterator[str]:
    offset = 0
    while offset < len(code):
        instruction = decode(code[offset : offset + 15], address + offset, 32)
        size = 1 if instruction is None else min(instruction.size, len(code) - offset)
        text = "(nothing)" if instruction is None else instruction.text
        yield f"  {address + offset:08X}  {code[offset : offset + size].hex():<30}  {text}"
        offset += size


def _guest(choices: Choices, slots: tuple[Slot, ...]) -> RandomGuest:
    return RandomGuest(
        slots,
        ring=choices.pick((0, 3, 0, 3, 0, 3, 1, 2)),
        eflags=choices.pick(_FLAGS),
        registers=(choices.word(), choices.word(), choices.word(), choices.word()),
        gdt=choices.pick(kernel.GDT_PLACES),
        content=choices.number(0, (1 << 128) - 1),
    )


@lru_cache(maxsize=4096)
def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


@st.composite
def _slots(draw: st.DrawFn) -> Slot:
    return random_slot(Choices(lambda low, high: draw(_integers(low, high))))


@st.composite
def random_guests(draw: st.DrawFn) -> RandomGuest:
    """Guests for Hypothesis, which makes those that fail small."""
    slots = draw(st.lists(_slots(), min_size=1, max_size=MOST_SLOTS))
    guest = _guest(Choices(lambda low, high: draw(_integers(low, high))), tuple(slots))
    assume(guest.is_bearable)
    return guest


def guest_of_seed(seed: int, *, slots: int = MOST_SLOTS) -> RandomGuest:
    """The guest of a number: the same on every machine."""
    source = random.Random(seed)
    choices = Choices(source.randint)
    while True:
        guest = _guest(choices, tuple(random_slot(choices) for _ in range(source.randint(slots // 2, slots))))
        if guest.is_bearable:
            return guest
