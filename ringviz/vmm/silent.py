"""What a silent instruction told the guest, beside what a CPU of its own would have told it."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.instructions import INSTRUCTIONS
from ringviz.facts.registers import Eflags, iopl
from ringviz.guest.instruction import Instruction
from ringviz.machine.linear import LinearMemory
from ringviz.machine.microcode import GuestFault
from ringviz.machine.microcode.operands import linear_address
from ringviz.machine.state import ESP, SS, CpuState, fields_of
from ringviz.vmm.describe import vector_name
from ringviz.vmm.guest_space import GuestSpace, Overlay

_ALWAYS_TOLD = frozenset(
    {"sgdt", "sidt", "sldt", "smsw", "str", "pushf", "popf", "lar", "lsl", "verr", "verw", "mov-from-sreg", "push-sreg"}
)
"""Recorded even where the answer happens to be the same; the others only where something differs."""
_NEVER_COMPARED = ("eip",)
_NEVER_TOLD = ("eip", "esp")


@dataclass(frozen=True, slots=True)
class Told:
    """The difference in words."""

    text: str
    rule: str
    got: str
    native_would: str


def compare_silent(
    instruction: Instruction,
    before: CpuState,
    after: CpuState,
    expected: CpuState | GuestFault,
    writes: Overlay,
    memory: GuestSpace,
) -> Told | None:
    """Compare what the guest has now with what it would have on bare metal.

    Args:
        instruction: the one that ran.
        before: the virtual CPU before it.
        after: the virtual CPU after it ran for real.
        expected: the virtual CPU after it by the manual's rules for the ring the guest believes in, or its fault.
        writes: what it would have written.
        memory: guest memory, as it is now.

    Returns:
        None where nobody could tell a difference and the form is not one of those always recorded.
    """
    assert instruction.form is not None
    rule = INSTRUCTIONS[instruction.form].leaks
    if isinstance(expected, GuestFault):
        fault = f"{vector_name(expected.vector)}"
        return Told(f"ran; a CPU of its own raises {fault}", rule, "no fault", fault)
    got, native = _differences(before, after, expected, writes, memory)
    if got == native:
        if instruction.form not in _ALWAYS_TOLD:
            return None
        return Told(f"same answer this time: {got or 'no flag changed'}", rule, got, native)
    return Told(f"got {got}; a CPU of its own gives {native}", rule, got, native)


def _differences(
    before: CpuState, after: CpuState, expected: CpuState, writes: Overlay, memory: GuestSpace
) -> tuple[str, str]:
    """List what the instruction changed, in reality and by the manual, in the same order."""
    old, real, ideal = fields_of(before), fields_of(after), fields_of(expected)
    stored = [(memory.read_physical(start, len(data)), data) for start, data in _runs(writes.written)]
    differ = [name for name in old if real[name] != ideal[name] and name not in _NEVER_COMPARED]
    parted = bool(differ) or any(now != data for now, data in stored)
    # Where something differs, only that is told; where nothing does, all that changed.
    names = differ if parted else [name for name in old if real[name] != old[name] and name not in _NEVER_TOLD]
    got: list[str] = []
    native: list[str] = []
    for name in names:
        if name == "eflags":
            which = real[name] ^ (ideal[name] if parted else old[name])
            got.append(_flags(real[name], which))
            native.append(_flags(ideal[name], which))
        else:
            got.append(f"{name.upper()} {real[name]:X}")
            native.append(f"{name.upper()} {ideal[name]:X}")
    for now, data in stored:
        if now != data or not parted:
            got.append(_stored(now))
            native.append(_stored(data))
    return ", ".join(got), ", ".join(native)


def _flags(eflags: int, which: int) -> str:
    """Name the flags among `which` with their values."""
    words = [f"{flag.name} {int(bool(eflags & flag))}" for flag in Eflags if which & flag and flag is not Eflags.IOPL]
    if which & Eflags.IOPL:
        words.append(f"IOPL {iopl(eflags)}")
    return " ".join(words)


def _stored(data: bytes) -> str:
    """Six bytes are a table register, eight are the return address of a far call, the rest is a number."""
    if len(data) == 6:
        return f"base {int.from_bytes(data[2:], 'little'):08X} limit {int.from_bytes(data[:2], 'little'):04X}"
    if len(data) == 8:
        return f"return to {int.from_bytes(data[4:6], 'little'):04X}:{int.from_bytes(data[:4], 'little'):08X}"
    return f"{int.from_bytes(data, 'little'):0{2 * len(data)}X}"


def _runs(written: dict[int, int]) -> list[tuple[int, bytes]]:
    """Join written bytes into runs."""
    runs: list[tuple[int, bytearray]] = []
    for address in sorted(written):
        if runs and runs[-1][0] + len(runs[-1][1]) == address:
            runs[-1][1].append(written[address])
        else:
            runs.append((address, bytearray([written[address]])))
    return [(start, bytes(data)) for start, data in runs]


Seen = tuple[CpuState, CpuState, LinearMemory]
"""A CPU before and after an instruction, and its memory after."""


def compare_answers(here: Seen, there: Seen, instruction: Instruction | None) -> tuple[str, str] | None:
    """Compare what one instruction told two guests, whatever else differs between them.

    Args:
        here: one run around the instruction.
        there: the other run.
        instruction: the same in both.

    Returns:
        Both answers in words, or None where they are the same.
    """
    runs = tuple((fields_of(before), fields_of(after)) for before, after, _ in (here, there))
    real, ideal = runs[0][1], runs[1][1]
    ours: list[str] = []
    theirs: list[str] = []
    for name in real:
        touched = 0
        for old, new in runs:
            touched |= old[name] ^ new[name]
        which = (real[name] ^ ideal[name]) & touched
        if not which or name in _NEVER_COMPARED:
            continue
        if name == "eflags":
            ours.append(_flags(real[name], which))
            theirs.append(_flags(ideal[name], which))
        else:
            width = 0xFFFF if touched <= 0xFFFF else 0xFFFF_FFFF  # what it did not write differs for older reasons
            ours.append(f"{name.upper()} {real[name] & width:X}")
            theirs.append(f"{name.upper()} {ideal[name] & width:X}")
    stored = [_stored_by(instruction, run) for run in (here, there)]
    if stored[0] != stored[1]:
        ours.append(stored[0])
        theirs.append(stored[1])
    return (", ".join(ours), ", ".join(theirs)) if ours else None


def _stored_by(instruction: Instruction | None, run: Seen) -> str:
    """What the instruction left in memory: at its memory operand, or on top of the stack."""
    if instruction is None:
        return ""
    before, after, memory = run
    if instruction.form in ("pushf", "push-sreg", "call-far"):
        pushes = 2 if instruction.form == "call-far" else 1
        data = memory.peek(after.segments[SS].base + after.gpr[ESP], pushes * instruction.operand_size_bits // 8)
    else:
        target = next((op for op in instruction.ops[:1] if op.kind == "mem" and op.is_written), None)
        if target is None:
            return ""
        size = 6 if instruction.form in ("sgdt", "sidt") else 2
        data = memory.peek(linear_address(before, target, instruction.address_size_bits), size)
    return "nothing" if data is None else _stored(data)
