"""What the last step read and wrote of the guest's memory, by the linear addresses that the guest knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.microcode.operands import linear_address, segment_base, stack_mask
from ringviz.machine.paging import Access
from ringviz.machine.state import DS, EDI, ES, ESI, ESP, SS, CpuState
from ringviz.machine.step_trace import StepTrace, Touch
from ringviz.vmm.technique import Technique

_MOST = 64
"""Accesses told one by one: a repeated string instruction may make thousands."""


@dataclass(frozen=True, slots=True)
class MemoryTouch:
    """One access of the last step."""

    linear: int | None
    """None where no linear address of the step's instruction leads there: an entry of a page table, mostly."""
    gpa: int
    """Guest-physical address."""
    size_bytes: int
    is_write: bool
    is_by_code: bool
    """By the guest's instruction; else on its behalf, by the CPU on the way into a handler or by the VMM."""
    old: int | None
    """Writes of up to 8 bytes: what stood there before the step."""
    new: int | None
    """And what stands there now; for reads, what is there."""


class Places:
    """Where the guest's linear addresses lie in the machine's RAM."""

    def __init__(self, technique: Technique, guest: CpuState) -> None:
        self._technique = technique
        self.guest = guest
        self.memory = technique.guest_memory()
        self.ram = technique.machine.ram
        self._known: dict[int, int | None] = {}
        """By linear page."""

    def ram_of(self, linear: int) -> int | None:
        """Give the RAM address of a linear one; None where the CPU's tables lead nowhere, or not yet."""
        page = linear >> PAGE_SHIFT
        if page not in self._known:
            self._known[page] = self._look_up(page << PAGE_SHIFT)
        base = self._known[page]
        return None if base is None else base + (linear & (PAGE - 1))

    def _look_up(self, linear: int) -> int | None:
        done = self._technique.cpu_walk(linear, Access())
        if done is not None and done.hpa is not None:
            return done.hpa
        # No CPU translates it, or the VMM has not filled its shadow: then the guest's own tables say where it would be.
        for walked in self._technique.walks(linear, Access()).walks:
            if walked.gpa is not None and walked.hpa is not None:
                return walked.hpa
            if walked.done.physical is not None:
                return self._technique.guest_base + walked.done.physical
        return None

    def instruction_at(self, state: CpuState) -> Instruction | None:
        """Decode the instruction that a state is about to execute."""
        code = self.memory.peek(state.linear_eip, 15)
        return None if code is None else decode(code, state.eip, state.code_bits)

    def touches_guest(self, touch: Touch) -> bool:
        """Tell whether an access went to the guest's memory, and not to what the VMM keeps for itself."""
        return 0 <= touch.address - self._technique.guest_base < self._technique.guest_bytes

    def gpa_of(self, ram_address: int) -> int:
        """Give the guest-physical address of a byte of the guest's memory."""
        return ram_address - self._technique.guest_base

    def marks(self, trace: StepTrace | None, linear: int, size: int) -> tuple[bool, bool, int | None]:
        """Tell whether a word was read, whether it was written, and what it was before."""
        ram = self.ram_of(linear)
        if trace is None or ram is None:
            return False, False, None
        marks = [trace.mark_at(ram + offset) for offset in range(size)]
        is_written = any(written for _, written in marks)
        return any(read for read, _ in marks), is_written, self.old_value(trace, ram, size) if is_written else None

    def old_value(self, trace: StepTrace, ram: int, size: int) -> int:
        """Give a word of RAM as it was before the step."""
        now = self.ram.read(ram, size)
        return int.from_bytes(bytes(trace.old.get(ram + i, now[i]) for i in range(size)), "little")


def find_touches(
    places: Places, trace: StepTrace | None, guest: CpuState, before: CpuState | None
) -> tuple[MemoryTouch, ...]:
    """Give the accesses of a step to the guest's own memory; those to memory of the VMM's are its own affair."""
    if trace is None:
        return ()
    linear_of: dict[int, int] = {}
    for state in (guest, *([] if before is None else [before])):
        for page in _likely_pages(places, state):
            ram = places.ram_of(page << PAGE_SHIFT)
            if ram is not None:
                linear_of.setdefault(ram >> PAGE_SHIFT, page << PAGE_SHIFT)
    found = []
    for touch in trace.touches[:_MOST]:
        if places.touches_guest(touch):
            start = linear_of.get(touch.address >> PAGE_SHIFT)
            linear = None if start is None else start + (touch.address & (PAGE - 1))
            found.append(_touch(places, trace, touch, linear, places.gpa_of(touch.address)))
    return tuple(found)


def _touch(places: Places, trace: StepTrace, touch: Touch, linear: int | None, gpa: int) -> MemoryTouch:
    is_word = touch.size_bytes <= 8
    return MemoryTouch(
        linear,
        gpa,
        touch.size_bytes,
        touch.is_write,
        touch.is_by_code,
        places.old_value(trace, touch.address, touch.size_bytes) if touch.is_write and is_word else None,
        places.ram.read_int(touch.address, touch.size_bytes) if is_word else None,
    )


def _likely_pages(places: Places, state: CpuState) -> Iterator[int]:
    """Give the linear pages that a step may have used: of the stack, the tables and the operands around it."""
    mask = state.address_mask
    top = (segment_base(state, SS) + (state.gpr[ESP] & stack_mask(state))) & mask
    near = [top, top - 64, top + 64, state.gdtr.base, state.idtr.base, state.tr.base, state.ldtr.base]
    near += [segment_base(state, ES) + state.gpr[EDI], segment_base(state, DS) + state.gpr[ESI]]
    instruction = places.instruction_at(state)
    if instruction is not None:
        for operand in instruction.ops:
            if operand.kind == "mem":
                at = linear_address(state, operand, instruction.address_size_bits)
                near += [at, at + max(operand.size_bytes - 1, 0)]
    for address in near:
        yield (address & mask) >> PAGE_SHIFT
