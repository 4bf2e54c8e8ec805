"""What just happened, and the same as a sentence: true for the technique at hand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from ringviz.engine.card import build_card
from ringviz.engine.events import record, sentence
from ringviz.engine.session import Session
from ringviz.engine.snapshots import Moment
from ringviz.engine.view import Card
from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.decode import decode
from ringviz.guest.image import load_image
from ringviz.guest.scenario import find_scenario
from ringviz.machine.state import CpuState
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.mmu.telling import HIDDEN_FAULT
from ringviz.vmm.technique import initial_state

CPU = CPU_PROFILES["p4-672"]
VMM = "VMM in ring 0"
EVENTS = {
    Kind.TRAP: Event(1, 0x100000, "cli", "cli", Kind.TRAP, "#GP(0)", "CPL 1 > IOPL 0", VMM, "virtual IF 1 → 0"),
    Kind.REFLECT: Event(1, 0x100000, "int 0x80", "int", Kind.REFLECT, "INT 80h", "a gate", VMM, "passed on"),
    Kind.EXIT: Event(1, 0x100000, "cpuid", "cpuid", Kind.EXIT, "CPUID", "always exits", "VMM", "told the guest"),
    Kind.TRANSLATE: Event(
        1, 0x100000, "cli", "cli", Kind.TRANSLATE, "no translation yet", "translated first", VMM, "3 instructions"
    ),
    Kind.CALLOUT: Event(1, 0x100000, "popfd", "popf", Kind.CALLOUT, "callout", "sensitive", VMM, "virtual IF 0 → 1"),
    Kind.HYPERCALL: Event(
        1, 0x100000, "int 0x82", "int", Kind.HYPERCALL, "stack_switch", "asked for", VMM, "ring 1's stack set"
    ),
    Kind.GATE: Event(1, 0x100000, "int 0x80", "int", Kind.GATE, "INT 80h", "the gate admits", "guest kernel", "in"),
}


@pytest.fixture
def state() -> CpuState:
    return initial_state(load_image(find_scenario("rings-tour")))


def card(technique: str, before: Moment, now: Moment, *events: Event) -> Card:
    session = cast(Session, SimpleNamespace(technique=TECHNIQUES[technique], cpu=CPU))
    return build_card(session, before, now, events, None)


def told(technique: str, kind: Kind, state: CpuState) -> Card:
    moment = Moment(state, state, None)
    return card(technique, moment, moment, EVENTS[kind])


@pytest.mark.parametrize(
    ("technique", "kind", "part"),
    [
        ("trap-emulate", Kind.TRAP, "kernel in ring 1"),
        ("classic", Kind.TRAP, "every sensitive instruction faults"),
        ("binary-translation", Kind.TRAP, "runs as it is"),
        ("binary-translation", Kind.TRANSLATE, "translates it once"),
        ("binary-translation", Kind.CALLOUT, "no trap is needed"),
        ("paravirt", Kind.HYPERCALL, "it asks"),
        ("paravirt", Kind.TRAP, "ported kernel"),
        ("vt-x", Kind.EXIT, "leaves VMX non-root"),
        ("amd-v", Kind.EXIT, "leaves guest mode"),
        ("vt-x", Kind.REFLECT, "out of VMX non-root; the VMM injects"),
        ("native", Kind.GATE, "On bare metal"),
        ("vt-x", Kind.GATE, "ring 0 of VMX non-root"),
        ("amd-v", Kind.GATE, "ring 0 of guest mode"),
        ("emulation", Kind.GATE, "the real CPU stays in ring 3"),
    ],
)
def test_the_reason_is_the_techniques_own(technique: str, kind: Kind, part: str, state: CpuState) -> None:
    made = told(technique, kind, state)
    assert part in made.why
    assert made.why[0].isupper()
    assert made.why.endswith(".")
    assert made.kind is kind


def test_a_hidden_fault_is_the_vmms_secret_whatever_kind_it_is(state: CpuState) -> None:
    for technique, kind in (("trap-emulate", Kind.TRAP), ("vt-x", Kind.EXIT)):
        moment = Moment(state, state, None)
        made = card(technique, moment, moment, replace(EVENTS[kind], cause=HIDDEN_FAULT))
        assert "the guest never learns of it" in made.why


def test_only_bare_metal_speaks_of_bare_metal(state: CpuState) -> None:
    for technique in TECHNIQUES:
        for kind in EVENTS:
            assert ("bare metal" in told(technique, kind, state).why) == (technique == "native" and kind is Kind.GATE)


def test_a_quiet_step_of_an_emulated_guest_was_nobodys_but_the_emulators(state: CpuState) -> None:
    instruction = decode(bytes.fromhex("89c3"), 0x100000, 32)
    before = Moment(state, replace(state, cpl=3), instruction, ("emulated", "as data"))
    made = card("emulation", before, replace(before, tallies={"interpreted-instruction": 1}))
    text = " ".join(part.text for part in made.parts)
    assert "the emulator changes the guest's CPU in memory" in text
    assert "run by the CPU itself" not in text
    assert made.cycles == CPU.costs["interpreted-instruction"].charged_cycles


def test_a_replaced_instruction_is_told_with_the_translators_reason_and_the_price_of_the_sequence(
    state: CpuState,
) -> None:
    instruction = decode(b"\xfa", 0x100000, 32)
    real = replace(state, cpl=1, eip=0xFFD0_0010)
    before = Moment(state, real, instruction, ("translated", "a store"), tallies={"translated-cli": 7})
    made = card("binary-translation", before, Moment(state, real, None, tallies={"translated-cli": 8}))
    assert "replaced in the code cache" in [part.text for part in made.parts]
    assert made.why == "A store."
    assert made.cycles == CPU.costs["translated-cli"].charged_cycles
    assert str(CPU.costs["translated-cli"].source) in made.price_note


def test_an_instruction_that_the_cpu_ran_costs_the_weight_of_its_class(state: CpuState) -> None:
    call = decode(bytes.fromhex("e800000000"), 0x100000, 32)
    before = Moment(state, state, call, weight=1234)
    made = card("native", before, Moment(state, state, None, weight=1784))
    assert made.cycles == 5.5
    assert made.price_note.startswith("modelled: as all of the class call: Adams & Agesen 2006")


def test_an_innocuous_instruction_runs_as_its_own_translation(state: CpuState) -> None:
    instruction = decode(bytes.fromhex("89c3"), 0x100000, 32)
    real = replace(state, cpl=1, eip=0xFFD0_0010)
    moment = Moment(state, real, instruction)
    made = card("binary-translation", moment, moment)
    assert "its translation, in the code cache" in [part.text for part in made.parts]
    direct = Moment(state, state, instruction)
    assert "its translation" not in " ".join(p.text for p in card("binary-translation", direct, direct).parts)


@pytest.mark.parametrize("kind", list(EVENTS))
def test_every_kind_has_a_sentence_that_stands_alone(kind: Kind) -> None:
    text = sentence(record(1, EVENTS[kind], 100))
    assert text.startswith(f"{EVENTS[kind].instruction} at 00100000h")
    assert text.endswith("Modelled price: 100 cycles.")
    assert EVENTS[kind].action.removeprefix("passed") in text


def test_what_an_emulator_does_is_not_said_to_be_done_without_anybody() -> None:
    emulated = replace(EVENTS[Kind.GATE], handler="the emulator")
    assert "by the emulator" in sentence(record(1, emulated, None))
    assert "without a VMM" in sentence(record(1, EVENTS[Kind.GATE], None))


TICK = Event(
    1, 0x100000, "dec ecx", "dec", Kind.EXIT, "VM exit 1, External interrupt", "the control is 1", "VMM", "it waits",
    is_between=True,
)  # fmt: skip


@pytest.mark.parametrize("kind", [Kind.EXIT, Kind.TRAP, Kind.REFLECT, Kind.INTERRUPT])
def test_an_interrupt_is_not_blamed_on_the_instruction_after_it(kind: Kind, state: CpuState) -> None:
    moment = Moment(state, state, None)
    event = replace(TICK, kind=kind)
    told_card = card("vt-x" if kind is Kind.EXIT else "trap-emulate", moment, moment, event)
    assert told_card.parts[0].text == "before dec ecx"
    text = sentence(record(1, event, None))
    assert text.startswith("Before dec ecx at 00100000h: VM exit 1, External interrupt")
    assert "ring 1" not in told_card.why


def test_hlt_that_waits_for_a_device_says_so_once(state: CpuState) -> None:
    moment = Moment(state, state, None)
    event = Event(1, 0x100000, "hlt", "hlt", Kind.IO, "HLT", "ring 0 may halt the CPU", "device", "the CPU waits")
    told_card = card("native", moment, moment, event)
    assert [part.text for part in told_card.parts] == ["HLT", "the CPU waits"]
    assert "Until a device interrupts" in told_card.why
