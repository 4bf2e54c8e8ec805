"""`What just happened`: the last step in plain words, as a chain of arrows, a reason and a price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ringviz.engine.rings import VIRTUAL_8086
from ringviz.engine.view import Card, CardPart
from ringviz.facts.costs import CpuProfile, cost_of
from ringviz.facts.instruction_weights import HUNDREDTHS, weight_source
from ringviz.facts.instructions import INSTRUCTIONS, PgClass
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.techniques import TechniqueFacts
from ringviz.guest.instruction_weight import class_of
from ringviz.machine.svm.world_switch import INVALID
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.hardware import GUEST_HYPERVISOR
from ringviz.vmm.mmu.telling import HIDDEN_FAULT

if TYPE_CHECKING:
    from ringviz.engine.session import Session
    from ringviz.engine.snapshots import Moment

_RETURNS = ("iret", "ret-far", "sysexit")
_START = Card(
    (CardPart("power on", "plain"), CardPart("the guest is in memory", "plain"), CardPart("ready", "resume")),
    "Nothing has run yet. The next step executes the guest's first instruction.",
    None,
    "",
    Kind.GUEST,
)


def build_card(
    session: Session, before: Moment | None, now: Moment, events: Sequence[Event], cycles: int | None
) -> Card:
    """Tell the last step.

    Args:
        session: for technique and prices.
        before: the moment before the step; None at power-on.
        now: the moment after it.
        events: what happened in it; the last one is told.
        cycles: price of the last one.
    """
    if before is None:
        return _START
    if events:
        return _event_card(session.technique, session.cpu, events[-1], cycles)
    return _quiet_card(session.technique, session.cpu, before, now)


def _event_card(technique: TechniqueFacts, cpu: CpuProfile, event: Event, cycles: int | None) -> Card:
    name = event.instruction.upper() if len(event.instruction) < 6 else event.instruction
    parts = [CardPart(f"before {name}" if event.is_between else name, "instruction")]
    resume = CardPart(f"resume at {event.resume:08X}", "resume")
    match event.kind:
        case Kind.TRAP | Kind.REFLECT:
            parts += [
                CardPart(event.rule, "rule"),
                CardPart(event.cause, "fault"),
                CardPart(event.handler, "vmm"),
                CardPart(event.action, "guest" if event.kind is Kind.REFLECT else "vmm"),
                resume,
            ]
        case Kind.VIOLATION if event.escaped:
            parts += [
                CardPart(event.rule, "rule"),
                CardPart(event.cause, "plain"),
                CardPart(f"ESCAPED to the {event.handler}", "silent"),
                CardPart(event.action, "device"),
            ]
        case Kind.EXIT | Kind.VIOLATION | Kind.CALLOUT | Kind.HYPERCALL:
            parts += [
                CardPart(event.rule, "rule"),
                CardPart(event.cause, "fault"),
                CardPart(event.handler, "vmm"),
                CardPart(event.action, "vmm"),
                resume,
            ]
        case Kind.TRANSLATE:
            parts += [CardPart(event.cause, "rule"), CardPart(event.handler, "vmm"), CardPart(event.action, "vmm")]
        case Kind.SILENT:
            parts += [
                CardPart(f"ring {event.from_ring}: no trap", "rule"),
                CardPart(event.action, "silent"),
            ]
        case Kind.INTERRUPT:
            parts += [CardPart(event.cause, "fault"), CardPart(event.action, "guest"), resume]
        case Kind.GATE | Kind.FAULT:
            if event.form not in _RETURNS:  # a return has no cause but itself
                parts.append(CardPart(event.cause, "fault"))
            if RESIDENTS[technique.id].guest_is_data:
                parts.append(CardPart(event.handler, "vmm"))
            parts += [CardPart(event.action, "guest"), resume]
        case Kind.IO if event.form == "hlt":
            parts.append(CardPart(event.action, "device"))
        case _:
            parts += [CardPart(event.cause, "plain"), CardPart(event.action, "device")]
    return Card(tuple(parts), _why(technique, event), cycles, _price_note(cpu, event), event.kind)


def _why(technique: TechniqueFacts, event: Event) -> str:
    """One line of reason."""
    picture = RESIDENTS[technique.id]
    match event.kind:
        case _ if event.handler == GUEST_HYPERVISOR and event.cause == "VMRUN":
            return "The hypervisor goes into the page that VM_HSAVE_PA names; its guest comes out of the VMCB."
        case _ if event.handler == GUEST_HYPERVISOR and event.cause == INVALID.exit_name:
            return "VMRUN checks the VMCB before anything runs: the hypervisor has to look at EXITCODE in any case."
        case _ if event.handler == GUEST_HYPERVISOR:
            return "The hypervisor asked for it in its VMCB: its guest goes back into that, and it goes on itself."
        case Kind.TRAP | Kind.EXIT if event.cause == HIDDEN_FAULT:
            return "The guest has a page here, the VMM's own page tables had not yet: the guest never learns of it."
        case Kind.TRAP if event.is_between:
            return _WHY_TAKES_INTERRUPTS
        case Kind.TRAP if VIRTUAL_8086 in event.rule:
            return "Real-mode code runs in virtual-8086 mode, in ring 3: what only ring 0 may do faults into the VMM."
        case Kind.TRAP:
            return _WHY_TRAPS.get(technique.id, _WHY_TRAPS["trap-emulate"])
        case Kind.REFLECT if event.is_between:
            return "Devices are the VMM's; this one's interrupt is meant for the guest, whose own handler runs now."
        case Kind.REFLECT if technique.vmm_ring == -1:
            return f"The exception led out of {picture.guest_mode}; the VMM injects it, and the guest's handler runs."
        case Kind.REFLECT:
            return "The CPU enters the VMM's handler first; the VMM plays the CPU and enters the guest's own."
        case Kind.TRANSLATE:
            return "Guest kernel code never runs as it is: the VMM translates it once and runs the translation."
        case Kind.CALLOUT:
            return "A call of the VMM stands in the code cache in its place: no trap is needed to get there."
        case Kind.HYPERCALL:
            return "This kernel was built for this VMM: it does not try what would trap, it asks."
        case Kind.EXIT if event.is_between and event.native_charges:
            return "An interrupt for the guest, which lets it in: the VMM injects it, and the guest's handler runs."
        case Kind.EXIT if event.is_between:
            return _WHY_TAKES_INTERRUPTS
        case Kind.EXIT:
            return f"For this the CPU leaves {picture.guest_mode}; all that needs no exit runs at the CPU's own speed."
        case Kind.SILENT if event.is_divergence:
            return event.rule
        case Kind.SILENT:
            return f"{event.rule} This time nobody could tell."
        case Kind.VIOLATION if event.escaped:
            return "The VMM did not ask the CPU to leave the guest for this: the guest has reached the machine itself."
        case Kind.VIOLATION if technique.alignment == "marker":
            return "The guest reached beyond what is its own. The VMM's tables refuse; its kernel gets the exception."
        case Kind.VIOLATION:
            return (
                "The guest reached beyond its own machine. The VMM notices, and gives it what empty wires would give."
            )
        case Kind.GATE | Kind.FAULT | Kind.INTERRUPT if picture.guest_is_data:
            return f"{_capital(event.rule)}: the real CPU stays in ring {picture.always_in}."
        case Kind.GATE if technique.alignment == "marker":
            if event.form in _RETURNS:
                return "A kernel that knows its ring returns from it by itself: the way outward needs no permission."
            return "The VMM has put the guest's own gate into the CPU's table: the program enters ring 1 directly."
        case Kind.GATE if event.form in _RETURNS and technique.vmm_ring is None:
            return "The CPU takes back what the gate saved: the way outward needs no permission."
        case Kind.GATE | Kind.FAULT | Kind.INTERRUPT if technique.vmm_ring == -1:
            return f"The guest's kernel is in ring 0 of {picture.guest_mode}: the CPU serves it without asking the VMM."
        case Kind.INTERRUPT if technique.vmm_ring is None:
            return "A device wants the CPU. The CPU looks into the guest's table and enters its kernel."
        case Kind.GATE | Kind.FAULT if technique.vmm_ring is None:
            return "On bare metal the CPU looks into the guest's table and enters its kernel."
        case Kind.GATE | Kind.FAULT:
            return f"{_capital(event.rule)}: no VMM took part."
        case Kind.IO if event.form == "hlt":
            whose = "the guest's CPU" if picture.guest_is_data else "the CPU"
            return f"Until a device interrupts, {whose} executes nothing: time goes on for the devices alone."
        case _:
            return f"{_capital(event.rule)}." if event.rule and not event.rule.endswith(".") else _capital(event.rule)


_WHY_TAKES_INTERRUPTS = (
    "Devices are the VMM's, so their interrupts are too: it takes this one, and decides when the guest hears of it."
)
_WHY_TRAPS = {
    "trap-emulate": "Ring compression runs the guest's kernel in ring 1, so what only ring 0 may do faults into the "
    "VMM.",
    "classic": "On this CPU every sensitive instruction faults outside ring 0: the VMM misses nothing.",
    "binary-translation": "A program's code runs as it is, not translated: here a trap is still what calls the VMM.",
    "paravirt": "Even a ported kernel may try what only ring 0 may do: then it faults into the VMM like any other.",
}
"""Why an instruction trapped, by technique."""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _price_note(cpu: CpuProfile, event: Event) -> str:
    """Where the price comes from."""
    causes = (*event.charges, *event.native_charges)
    sources = [str(cost_of(cpu, cause).source) for cause in causes if cost_of(cpu, cause).cycles is not None]
    return f"modelled: {sources[0]}" if sources else ""


def _quiet_card(technique: TechniqueFacts, cpu: CpuProfile, before: Moment, now: Moment) -> Card:
    """Tell a step in which nothing but one instruction happened."""
    instruction = before.instruction
    word, reason = before.verdict
    parts = [CardPart(instruction.text if instruction is not None else "(no instruction)", "instruction")]
    form = instruction.form if instruction is not None else None
    picture = RESIDENTS[technique.id]
    if picture.guest_is_data:
        parts += [CardPart("read as data", "plain"), CardPart("the emulator changes the guest's CPU in memory", "vmm")]
        why = "No instruction of the guest runs on a CPU: the emulator reads each one and does what the manual says."
    elif word == _REPLACED:
        parts += [CardPart("replaced in the code cache", "plain"), CardPart("no trap, no call", "guest")]
        why = f"{_capital(reason)}."
    elif now.real.eip != now.guest.eip and before.real.eip != before.guest.eip:
        parts += [CardPart("its translation, in the code cache", "plain"), CardPart("run by the CPU itself", "guest")]
        why = f"{_capital(reason)}." if reason else "Innocuous: its translation is the same instruction."
    elif form is None:
        why = "Innocuous: it means the same in every ring, so the CPU runs it directly."
        parts.append(CardPart("run by the CPU itself", "guest"))
    else:
        row = INSTRUCTIONS[form]
        ring = f"ring {before.real.cpl}"
        ring += f" of {picture.guest_mode}" if picture.guest_mode and now.real.cpl == 0 else ""
        parts.append(CardPart(f"{ring}: allowed", "rule"))
        parts.append(CardPart("run by the CPU itself", "guest"))
        if row.pg_class is PgClass.PRIVILEGED and technique.vmm_ring == -1:
            why = f"{row.title}: the guest's kernel owns ring 0 of {picture.guest_mode}, and nothing asks for an exit."
        else:
            why = f"{row.title}: {row.pg_class.value}."
    return Card(tuple(parts), why, *_quiet_price(cpu, before, now), Kind.GUEST)


def _quiet_price(cpu: CpuProfile, before: Moment, now: Moment) -> tuple[int | float | None, str]:
    """Give what the ledger has been charged for the one instruction, and where that comes from."""
    if before.instruction is None:
        return None, ""
    tallied = Counter(now.tallies) - Counter(before.tallies)
    if tallied:
        sources = {str(cost_of(cpu, cause).source) for cause in tallied}
    else:
        class_id = class_of(before.instruction)
        sources = {f"as all of the class {class_id}: {weight_source(class_id, cpu)}"}
    cycles = sum(times * cost_of(cpu, cause).charged_cycles for cause, times in tallied.items())
    whole, part = divmod(now.weight - before.weight, HUNDREDTHS)
    exact = cycles + whole + part / HUNDREDTHS if part else cycles + whole
    return exact, f"modelled: {'; '.join(sorted(sources))}"


_REPLACED = "translated"
"""A technique's word for an instruction in whose place others run."""
