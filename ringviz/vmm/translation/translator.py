"""The translator: guest code in, a fragment of machine code out, one translation unit at a time.

Most instructions are translated identically. Not so those that depend on where they stand (jumps, calls, returns) or
on the ring they run in: for these the translator writes something else. The input is all of x86; the output is a small
part of it, and runs in ring 1.

Source: Adams & Agesen 2006, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from ringviz.guest.decode import legacy_prefixes
from ringviz.guest.instruction import Instruction
from ringviz.machine import microcode
from ringviz.machine.code_cache import GUEST_INSTRUCTION, IN_CACHE, LOOKUP
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.machine.microcode.operands import REGISTERS
from ringviz.vmm.translation import emit, layout
from ringviz.vmm.translation.emit import EAX, ECX
from ringviz.vmm.translation.fragment import Callout, Context, Exit, Fragment, Place, Unit, Way

MOST_INSTRUCTIONS = 12
"""A translation unit has no more (Adams & Agesen 2006, section 3)."""

_GS_PREFIX, _OPERAND_SIZE_PREFIX = 0x65, 0x66
_CONTROL_REGISTERS = {
    "cr0": layout.VIRTUAL_CR0,
    "cr2": layout.VIRTUAL_CR2,
    "cr3": layout.VIRTUAL_CR3,
    "cr4": layout.VIRTUAL_CR4,
}
_IF = 0x200
_COUNTED_HERE = GUEST_INSTRUCTION + IN_CACHE
_COUNTED_LOOKUP = GUEST_INSTRUCTION + LOOKUP
_REPLACED = (Way.IN_CACHE, Way.LOOKUP)
"""A sequence takes the instruction's place, and is charged for it."""

Weigh = Callable[[Instruction], int]
Fetch = Callable[[int], tuple[Instruction, tuple[tuple[int, bytes], ...]] | None]
"""EIP -> the guest instruction there and where its bytes lie in guest-physical memory; None if it cannot be had."""


def way_of(instruction: Instruction, context: Context) -> Way:
    """Say how an instruction of the guest's kernel is translated."""
    form, prefixes = instruction.form, legacy_prefixes(instruction.raw)
    if form is not None:
        if _has_sequence(instruction, context):
            return Way.IN_CACHE
        return Way.INTERPRET if form in microcode.FORMS else Way.IN_PLACE
    if _GS_PREFIX in prefixes:  # the guest's own GS is not in the register just now
        return Way.IN_PLACE
    if not instruction.is_branch:
        return Way.IDENT
    if _OPERAND_SIZE_PREFIX in prefixes or instruction.has_lock:
        return Way.IN_PLACE
    opcode = instruction.raw[len(prefixes)]
    if _is_relative(instruction):
        return Way.BRANCH
    if opcode == 0xFF or opcode == 0xC3 or (opcode == 0xC2 and context.has_wide_stack):
        return Way.LOOKUP
    return Way.IN_PLACE


def translate(
    number: int,
    context: Context,
    eip: int,
    address: int,
    fetch: Fetch,
    simulated: Collection[int],
    weigh: Weigh = lambda instruction: GUEST_INSTRUCTION,
) -> Fragment | None:
    """Translate the unit that begins at an address of the guest's.

    Args:
        number: of the fragment.
        context: what may be taken for granted.
        eip: first guest instruction.
        address: where in the code cache the fragment is to begin.
        fetch: gives the guest's instructions.
        simulated: guest addresses at which a callout takes the place of an instruction that kept trapping.
        weigh: gives what an instruction counts for, as in `ringviz.machine.code_cache`.

    Returns:
        The fragment, or None if not even the first instruction can be fetched and decoded.
    """
    draft = _Draft(address)
    units: list[Unit] = []
    source: list[tuple[int, bytes]] = []
    at, ended = eip, False
    while len(units) < MOST_INSTRUCTIONS and not ended and at >> PAGE_SHIFT == eip >> PAGE_SHIFT:
        fetched = fetch(at)
        if fetched is None:
            break
        instruction, runs = fetched
        source += runs
        way = Way.SIMULATE if at in simulated else way_of(instruction, context)
        first = len(draft.places)
        draft.work = 0 if way in _REPLACED else weigh(instruction) - GUEST_INSTRUCTION
        ended = _translate_one(draft, instruction, way, context)
        units.append(Unit(instruction, way, tuple(draft.places[first:])))
        at = instruction.next_address & 0xFFFF_FFFF
    if not units:
        return None
    body = len(draft.places)
    if not ended:
        draft.jump(at)
    draft.write_stubs()
    places = draft.places
    offset = 0
    finished: list[Unit] = []
    for unit in units:  # the jumps among them have found their targets only now
        finished.append(Unit(unit.instruction, unit.way, tuple(places[offset : offset + len(unit.places)])))
        offset += len(unit.places)
    return Fragment(
        number,
        context,
        eip,
        address,
        draft.at - address,
        tuple(finished),
        tuple(places[body:]),
        tuple(draft.exits),
        tuple(_joined(source)),
    )


class _Draft:
    """Translated code in the making."""

    def __init__(self, address: int) -> None:
        self.at = address
        self.places: list[Place] = []
        self.exits: list[Exit] = []
        self.work = 0
        """What the guest's instruction in translation costs the CPU, as part of a weight; 0 if another sequence runs in
        its place, which has a price of its own."""
        self._open: list[tuple[int, Callable[[int, int], bytes], int]] = []
        """Jumps without a target yet: index of the place, how to make it, where it leads in the guest."""

    def put(
        self,
        raw: bytes,
        eip: int,
        weight: int = 0,
        *,
        inside_of: int = 0,
        has_saved: bool = False,
        may_reach: bool = False,
        callout: Callout | None = None,
        is_gate: bool = False,
        is_miss: bool = False,
    ) -> None:
        """Add an instruction; `inside_of` is the weight of the sequence it continues."""
        weight += self.work if weight & GUEST_INSTRUCTION else 0
        inside_of += self.work if inside_of else 0
        self.places.append(
            Place(
                self.at, raw, eip, bool(inside_of), has_saved, weight, inside_of, may_reach, callout, is_gate, is_miss,
            )
        )  # fmt: skip
        self.at += len(raw)

    def jump(self, eip: int, weight: int = 0, *, standing_for: int | None = None) -> None:
        """Add a jump to guest code whose translation is not known yet."""
        self._branch(emit.jump, eip if standing_for is None else standing_for, eip, weight)

    def jump_if(self, condition: int, eip: int, target: int) -> None:
        """Add a conditional jump, which is the guest's own instruction."""
        self._branch(lambda at, to: emit.jump_if(condition, at, to), eip, target, GUEST_INSTRUCTION)

    def _branch(self, make: Callable[[int, int], bytes], eip: int, target: int, weight: int) -> None:
        self._open.append((len(self.places), make, target))
        self.put(make(self.at, self.at), eip, weight)

    def write_stubs(self) -> None:
        """Add a callout for every open jump, and let the jump lead there."""
        for index, make, target in self._open:
            place, stub = self.places[index], self.at
            self.put(emit.callout(target, layout.CALLOUT_SELECTOR), target, callout=Callout(None, None))
            self.places[index] = replace(place, raw=make(place.address, stub))
            self.exits.append(Exit(target, place.address, len(place.raw), stub))


def _translate_one(draft: _Draft, instruction: Instruction, way: Way, context: Context) -> bool:
    """Translate one instruction; True if it ends the unit."""
    eip = instruction.address
    match way:
        case Way.IDENT:
            draft.put(instruction.raw, eip, GUEST_INSTRUCTION)
        case Way.BRANCH:
            _branch(draft, instruction)
        case Way.LOOKUP:
            _lookup(draft, instruction)
        case Way.IN_CACHE:
            _sequence(draft, instruction, context)
        case Way.INTERPRET | Way.IN_PLACE | Way.SIMULATE:
            draft.put(
                emit.callout(eip, layout.CALLOUT_SELECTOR), eip, GUEST_INSTRUCTION, callout=Callout(way, instruction)
            )
    return instruction.is_branch


def _is_relative(instruction: Instruction) -> bool:
    """Tell whether it is one of CALL, JMP, Jcc, LOOP and JECXZ with a relative target."""
    first, second = (instruction.raw[len(legacy_prefixes(instruction.raw)) :] + b"\0")[:2]
    if first == 0x0F:
        return second & 0xF0 == 0x80
    return first in (0xE8, 0xE9, 0xEB) or first & 0xF0 == 0x70 or 0xE0 <= first <= 0xE3


def _branch(draft: _Draft, instruction: Instruction) -> None:
    """Translate a jump or call to an address that stands in the instruction."""
    eip, after = instruction.address, instruction.next_address & 0xFFFF_FFFF
    target = (instruction.ops[0].value or 0) & 0xFFFF_FFFF
    raw = instruction.raw[len(legacy_prefixes(instruction.raw)) :]
    match raw[0]:
        case 0xE9 | 0xEB:
            draft.jump(target, GUEST_INSTRUCTION, standing_for=eip)
        case 0xE8:
            draft.put(emit.push_constant(after), eip, GUEST_INSTRUCTION)
            draft.jump(target)
        case 0xE0 | 0xE1 | 0xE2 | 0xE3:  # LOOP and JECXZ reach 127 bytes only: over one jump, to another
            draft.put(instruction.raw[:-1] + b"\x05", eip, GUEST_INSTRUCTION)
            draft.jump(after)
            draft.jump(target)
        case _:
            condition = raw[1] & 0xF if raw[0] == 0x0F else raw[0] & 0xF
            draft.jump_if(condition, eip, target)
            draft.jump(after)


def _lookup(draft: _Draft, instruction: Instruction) -> None:
    """Translate a return, or a jump or call through a register or memory: fetch the target, then look it up."""
    eip = instruction.address
    prefixes = legacy_prefixes(instruction.raw)
    opcode = instruction.raw[len(prefixes)]
    draft.put(emit.store(layout.SAVED_EAX, EAX), eip, _COUNTED_LOOKUP, may_reach=True)

    def go_on(raw: bytes, *, has_saved: bool = False, may_reach: bool = False) -> None:
        draft.put(raw, eip, inside_of=_COUNTED_LOOKUP, has_saved=has_saved, may_reach=may_reach)

    go_on(emit.store(layout.SAVED_ECX, ECX), may_reach=True)
    if opcode == 0xFF:
        modrm = instruction.raw[len(prefixes) + 1]
        load = bytes((0x8B, modrm & 0xC7)) + instruction.raw[len(prefixes) + 2 :]
        go_on(prefixes + load)
        if modrm >> 3 & 7 == 2:
            go_on(emit.push_constant(instruction.next_address), has_saved=True)
    else:
        go_on(emit.POP_EAX)
        if opcode == 0xC2:
            go_on(emit.release_stack(int.from_bytes(instruction.raw[-2:], "little")), has_saved=True)
    miss = emit.callout(eip, layout.CALLOUT_SELECTOR)
    go_on(emit.ROW_OF_EAX, has_saved=True)
    go_on(emit.load_row(ECX, layout.LOOKUP_TABLE), has_saved=True, may_reach=True)
    go_on(emit.ADD_EAX_TO_ECX, has_saved=True)
    go_on(emit.skip_if_ecx_is_zero(len(miss)), has_saved=True)
    draft.put(miss, eip, inside_of=_COUNTED_LOOKUP, has_saved=True, callout=Callout(None, None), is_miss=True)
    go_on(emit.ROW_OF_EAX, has_saved=True)
    go_on(emit.load_row(ECX, layout.LOOKUP_TABLE + 4), has_saved=True, may_reach=True)
    go_on(emit.store(layout.TARGET, ECX), has_saved=True, may_reach=True)
    go_on(emit.load(ECX, layout.SAVED_ECX), has_saved=True, may_reach=True)
    go_on(emit.load(EAX, layout.SAVED_EAX), has_saved=True, may_reach=True)
    go_on(emit.jump_to_saved(layout.TARGET), may_reach=True)


def _has_sequence(instruction: Instruction, context: Context) -> bool:
    """Tell whether a sensitive instruction can be done in the cache."""
    match instruction.form:
        case "cli" | "sti":
            return True
        case "pushf":
            return instruction.operand_size_bits == 32 and context.has_wide_stack
        case "mov-from-cr":
            return instruction.ops[1].register in _CONTROL_REGISTERS
        case "smsw":
            return instruction.ops[0].kind == "reg"
        case "mov-from-sreg":
            target, register = instruction.ops
            return target.kind == "reg" and target.size_bytes == 4 and register.register == "cs"
        case _:
            return False


def _sequence(draft: _Draft, instruction: Instruction, context: Context) -> None:
    """Carry a sensitive instruction out on the virtual CPU's data."""
    eip = instruction.address
    match instruction.form:
        case "cli":
            draft.put(emit.store_constant(layout.VIRTUAL_IF, 0), eip, _COUNTED_HERE, may_reach=True)
        case "sti":
            draft.put(emit.store_constant(layout.VIRTUAL_IF, _IF), eip, _COUNTED_HERE, may_reach=True, is_gate=True)
        case "mov-from-cr":
            offset = _CONTROL_REGISTERS[instruction.ops[1].register or ""]
            draft.put(emit.load(_gpr(instruction), offset), eip, _COUNTED_HERE, may_reach=True)
        case "smsw":
            draft.put(emit.load_half(_gpr(instruction), layout.VIRTUAL_CR0), eip, _COUNTED_HERE, may_reach=True)
        case "mov-from-sreg":
            draft.put(emit.constant(_gpr(instruction), context.cs_selector), eip, _COUNTED_HERE)
        case _:
            _push_flags(draft, eip)


def _push_flags(draft: _Draft, eip: int) -> None:
    """PUSHFD: push the real flags, whose IF is 1 and whose IOPL is 0, and put the virtual ones in their place."""

    def go_on(raw: bytes, *, has_saved: bool = True, may_reach: bool = False) -> None:
        draft.put(raw, eip, inside_of=_COUNTED_HERE, has_saved=has_saved, may_reach=may_reach)

    draft.put(emit.store(layout.SAVED_EAX, EAX), eip, _COUNTED_HERE, may_reach=True)
    go_on(emit.store(layout.SAVED_ECX, ECX), has_saved=False, may_reach=True)
    go_on(emit.PUSHFD, has_saved=False)
    go_on(emit.LOAD_TOP_OF_STACK)
    go_on(emit.load(ECX, layout.VIRTUAL_IF), may_reach=True)
    go_on(emit.add_without_flags(-_IF))
    go_on(emit.load(ECX, layout.VIRTUAL_IOPL), may_reach=True)
    go_on(emit.add_without_flags())
    go_on(emit.STORE_TOP_OF_STACK)
    go_on(emit.load(ECX, layout.SAVED_ECX), may_reach=True)
    go_on(emit.load(EAX, layout.SAVED_EAX), may_reach=True)


def _gpr(instruction: Instruction) -> int:
    """Number of the general register that is written."""
    return REGISTERS[instruction.ops[0].register or ""][0]


def _joined(runs: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Join runs of bytes that follow one another within a page."""
    joined: list[tuple[int, bytes]] = []
    for address, data in runs:
        if joined and joined[-1][0] + len(joined[-1][1]) == address and address & 0xFFF:
            joined[-1] = (joined[-1][0], joined[-1][1] + data)
        else:
            joined.append((address, data))
    return joined
