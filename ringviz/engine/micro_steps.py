"""One event taken apart: fault, delivery, dispatch, decode, emulate, return, each with what the CPU or the VMM did.

Every step tells the values of this very event: from the event's own record, from the table that the CPU looks into, and
from the bytes of the instruction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ringviz.facts.exceptions import EXCEPTIONS
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.segments import decode_gate, decode_long_gate
from ringviz.guest.decode import decode
from ringviz.machine.state import CpuState
from ringviz.vmm.events import Change, Event, Kind
from ringviz.vmm.mmu.telling import HIDDEN_FAULT
from ringviz.vmm.technique import Technique

_OWN_TABLE = "The guest's own table is not asked."
_MOST_CHANGES = 4
_EXCEPTION = re.compile(r"^(#[A-Z]{2})")
_NUMBERED = re.compile(r"^(?:INT|interrupt) ([0-9A-F]{2})h")
_RETURN_FORMS = ("iret", "ret-far", "sysexit")
_COUNTERS = ("VMREADs", "VMWRITEs")
_VENDOR_WORDS = {
    "vt-x": ("the CPU saves the guest's state in the VMCS and loads the VMM's", "VM entry (VMRESUME)"),
    "amd-v": ("the CPU saves the guest's state in the VMCB and loads the host's", "VMRUN"),
}
_WITH_VMM = frozenset(
    {Kind.TRAP, Kind.REFLECT, Kind.EXIT, Kind.VIOLATION, Kind.CALLOUT, Kind.HYPERCALL, Kind.TRANSLATE}
)


@dataclass(frozen=True, slots=True)
class MicroStep:
    """One part of an event."""

    name: str
    """`fault`, `delivery`, `dispatch`, `decode`, `emulate`, `return`, or a word of the technique's for the same."""
    who: str
    """`CPU`, `VMM`, `emulator` or `guest`."""
    ring: int
    """Where the CPU is in this part; -1 is below ring 0."""
    text: str


def build_micro_steps(technique: Technique, event: Event | None) -> tuple[MicroStep, ...]:
    """Take the last event of a step apart; nothing where there was none, or nothing to take apart.

    Args:
        technique: standing right after the step.
        event: the one that the card tells.
    """
    if event is None:
        return ()
    if event.kind in _WITH_VMM and event.via_ring is not None and not event.escaped:
        return tuple(_through_the_vmm(technique, event, event.via_ring))
    if event.kind in (Kind.GATE, Kind.FAULT, Kind.INTERRUPT):
        return tuple(_without_vmm(technique, event))
    if event.kind is Kind.SILENT:
        return tuple(_silent(event))
    return ()


# ---- with a VMM ------------------------------------------------------------------------------------------------------


def _through_the_vmm(technique: Technique, event: Event, vmm: int) -> Iterator[MicroStep]:
    yield _cause(event)
    match event.kind:
        case Kind.TRANSLATE:
            yield MicroStep("dispatch", "VMM", vmm, f"nothing for {event.address:08X} yet: the translator is called")
            yield MicroStep("translate", "VMM", vmm, event.action)
            yield MicroStep("return", "VMM", event.to_ring, f"on in the code cache, in ring {event.to_ring}")
            return
        case Kind.CALLOUT:
            text = "a far call through the VMM's gate leads from the code cache into ring 0; nothing has faulted"
            yield MicroStep("delivery", "CPU", vmm, text)
        case Kind.EXIT | Kind.VIOLATION | Kind.REFLECT if technique.id in _VENDOR_WORDS:
            yield MicroStep("delivery", "CPU", vmm, _exit_text(technique.id, event))
        case _:
            yield MicroStep("delivery", "CPU", vmm, _gate_text(technique, event))
    yield MicroStep("dispatch", "VMM", vmm, _dispatch_text(technique, event))
    if event.kind is not Kind.HYPERCALL and not event.is_between and event.cause != HIDDEN_FAULT:
        decoded = _decoded(technique, event)
        if decoded:
            yield MicroStep("decode", "VMM", vmm, decoded)
    name = {Kind.REFLECT: "reflect", Kind.HYPERCALL: "serve"}.get(event.kind, "emulate")
    yield MicroStep(name, "VMM", vmm, event.action + _changes_text(event, technique))
    words = _VENDOR_WORDS.get(technique.id)
    how = f"{words[1]}: " if words is not None else ""
    where = f"the guest goes on in ring {event.to_ring} at {event.resume:08X}"
    yield MicroStep("return", "VMM", event.to_ring, how + where)


def _cause(event: Event) -> MicroStep:
    """What made the CPU stop going through the guest's code."""
    what = f"{event.instruction} at {event.address:08X}, in ring {event.from_ring}"
    if event.is_between:
        return MicroStep("interrupt", "CPU", event.from_ring, f"before {what}: {event.cause} ({event.rule})")
    name = {Kind.CALLOUT: "call", Kind.HYPERCALL: "call", Kind.TRANSLATE: "miss", Kind.EXIT: "exit"}.get(
        event.kind, "fault" if event.cause.startswith("#") else "interrupt"
    )
    return MicroStep(name, "CPU", event.from_ring, f"{what}: {event.rule} → {event.cause}")


def _exit_text(technique_id: str, event: Event) -> str:
    """What the CPU writes down when it leaves the guest."""
    report = ", ".join(f"{name} = {value}" for name, value in event.detail if name not in _COUNTERS)
    return f"{_VENDOR_WORDS[technique_id][0]}" + (f"; it writes {report}" if report else "")


def _gate_text(technique: Technique, event: Event) -> str:
    """Which gate of the real table the CPU goes through."""
    vector = vector_of(event.cause)
    if vector is None:
        return f"the CPU enters the VMM in ring {event.via_ring}"
    gate = _gate(technique, technique.real_state(), vector)
    where = f", {gate}" if gate else ""
    real, guest = technique.real_state().idtr, technique.guest_state().idtr
    own = f" {_OWN_TABLE}" if real != guest else ""
    return f"entry {vector:02X}h of the real IDT at {real.base:08X}{where}.{own}"


def _gate(technique: Technique, state: CpuState, vector: int) -> str:
    """`gate → 0008:00100078`, as it stands in the table of a CPU; empty where it cannot be read."""
    size = 16 if state.is_long_active else 8 if state.is_protected else 4
    if (vector + 1) * size - 1 > state.idtr.limit:
        return ""
    is_guest = state.idtr == technique.guest_state().idtr
    memory = technique.guest_memory() if is_guest else technique.machine.memory
    data = memory.peek(state.idtr.base + vector * size, size)
    if data is None:
        return ""
    raw = int.from_bytes(data, "little")
    if size == 4:
        return f"{raw >> 16:04X}:{raw & 0xFFFF:04X}"
    gate = decode_long_gate(raw) if size == 16 else decode_gate(raw)
    return f"gate → {gate.selector:04X}:{gate.offset:08X}"


def vector_of(cause: str) -> int | None:
    """Give the vector that a cause names: `#GP(0)` is 13, `INT 80h` is 80h."""
    named = _EXCEPTION.match(cause)
    if named is not None:
        return next((row.vector for row in EXCEPTIONS.values() if row.mnemonic == named[1]), None)
    numbered = _NUMBERED.match(cause)
    return None if numbered is None else int(numbered[1], 16)


def _dispatch_text(technique: Technique, event: Event) -> str:
    mode = RESIDENTS[technique.id].guest_mode
    whence = f"ring {event.from_ring}" + (f" of {mode}" if mode else "")
    reads = dict(event.detail).get("VMREADs")
    looked = f", after {reads} VMREADs" if reads else ""
    match event.kind:
        case Kind.REFLECT:
            decision = "it is the guest's own affair: to be handed back"
        case Kind.HYPERCALL:
            number = dict(event.detail).get("EAX", "")
            return f"the hypercall table, entry {number}" + _arguments(event)
        case _ if event.cause == HIDDEN_FAULT:
            decision = "the guest's page tables are walked first: they allow it"
        case Kind.VIOLATION:
            decision = "it reaches beyond the guest's machine"
        case _ if event.is_between:
            decision = "a device wants the CPU"
        case _:
            decision = f"the routine for {event.form or 'this'} is called"
    return f"{event.cause} from {whence}{looked}: {decision}"


def _arguments(event: Event) -> str:
    rest = [f"{name} {value}" for name, value in event.detail if name not in ("EAX", "result")]
    return f"; {', '.join(rest)}" if rest else ""


def _decoded(technique: Technique, event: Event) -> str:
    """The instruction's bytes and what they say; empty where they are not there any more."""
    guest = technique.guest_state()
    base = guest.segments[1].base
    code = technique.guest_memory().peek((base + event.address) & guest.address_mask, 15)
    instruction = None if code is None else decode(code, event.address, guest.code_bits)
    if instruction is None or instruction.text != event.instruction:
        return ""
    return f"{' '.join(f'{byte:02X}' for byte in instruction.raw)} at {event.address:08X} is {instruction.text}"


def _changes_text(event: Event, technique: Technique) -> str:
    """The registers that changed, with their values."""
    shown = [change for change in event.changes if "." not in change.name] or list(event.changes)
    if not shown:
        return ""
    is_virtual = any(not change.is_real for change in shown)
    name = "emulated" if RESIDENTS[technique.id].guest_is_data else "virtual"
    whose = f"of the {name} CPU: " if is_virtual else ""
    listed = ", ".join(_change_text(change) for change in shown[:_MOST_CHANGES])
    more = f", {len(shown) - _MOST_CHANGES} more" if len(shown) > _MOST_CHANGES else ""
    return f". Changed {whose}{listed}{more}"


def _change_text(change: Change) -> str:
    return f"{change.name.upper()} {change.old:X} → {change.new:X}"


# ---- without ---------------------------------------------------------------------------------------------------------


def _without_vmm(technique: Technique, event: Event) -> Iterator[MicroStep]:
    picture = RESIDENTS[technique.id]
    who = "emulator" if picture.guest_is_data else "CPU"
    inside = event.from_ring if picture.guest_is_data else event.to_ring
    what = f"{event.instruction} at {event.address:08X}"
    what += "" if picture.guest_is_data else f", in ring {event.from_ring}"
    if event.form in _RETURN_FORMS and event.kind is Kind.GATE:
        yield MicroStep("return", who, event.from_ring, f"{what}: {event.rule}")
        yield MicroStep("arrive", who, inside, event.action + _changes_text(event, technique))
        return
    before = "before " if event.is_between else ""
    name = "interrupt" if event.is_between or not event.cause.startswith("#") else "fault"
    yield MicroStep(name, who, event.from_ring, f"{before}{what}: {event.rule} → {event.cause}")
    vector = vector_of(event.cause)
    if vector is not None:
        guest = technique.guest_state()
        used = guest if picture.guest_is_data else technique.real_state()
        whose = "guest's" if used.idtr == guest.idtr else "real"
        gate = _gate(technique, used, vector)
        table = f"entry {vector:02X}h of the {whose} IDT at {used.idtr.base:08X}"
        yield MicroStep("delivery", who, event.from_ring, table + (f", {gate}" if gate else ""))
    yield MicroStep("enter", who, inside, event.action + _changes_text(event, technique))


def _silent(event: Event) -> Iterator[MicroStep]:
    what = f"{event.instruction} at {event.address:08X}, in ring {event.from_ring}"
    yield MicroStep("execute", "CPU", event.from_ring, f"{what}: no rule makes it trap, so nobody hears of it")
    result = f"the guest got {event.got}; a CPU of its own would have given {event.native_would}"
    yield MicroStep("result", "CPU", event.to_ring, result if event.got else event.action)
