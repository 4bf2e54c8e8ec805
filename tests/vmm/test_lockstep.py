"""The techniques that promise fidelity keep it after every single instruction of every scenario."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import find_scenario
from ringviz.machine.state import ESP, fields_of
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.registry import available
from tests.short_scenarios import SHORT
from tests.vmm.lockstep import (
    Run,
    assert_all_in_lockstep,
    assert_lockstep,
    default_cpu,
    difference,
    heal,
    silent_events,
)

HONEST_UNDER_TRAP_EMULATE = (
    "hello-serial",
    "rings-tour",
    "syscall-roundtrip",
    "cpuid-loop",
    "hypercall-ping",
    "self-modifying",
    "paging-tour",
    "nano-syscall",
    "nano-pgfault",
    "nano-divzero",
    "nano-ptemod",
)
DECEIVED_BY_TRAP_EMULATE = ("popf-hole", "sensitive-17", "msr-and-cr", "divzero-and-friends", "escape-attempts")
FAITHFUL = tuple(
    technique
    for technique in available()
    if technique != "native"
    and TECHNIQUES[technique].promises_fidelity
    and getattr(TECHNIQUES[technique], "alignment", "instruction") == "instruction"
)
"""Those that run the guest's own code and must not change a bit of what it sees."""
BY_CPU = {
    cpu: tuple(technique for technique in FAITHFUL if default_cpu(technique) == cpu)
    for cpu in dict.fromkeys(map(default_cpu, FAITHFUL))
}
"""By the CPU that they run on: one run on bare metal does for all of them."""
TIMES = 5
"""So often each instruction is compared by itself; the guests print in loops, and a soak test compares every time."""
LIES = {
    "popf-hole": {"pushf": 2, "popf": 3}
    | dict.fromkeys(("sidt", "sgdt", "str", "smsw", "mov-from-sreg", "push-sreg", "lar", "lsl", "verr", "verw"), 1),
    "sensitive-17": {"mov-from-sreg": 3, "call-far": 1, "pushf": 2, "popf": 1, "push-sreg": 1}
    | dict.fromkeys(("sgdt", "sidt", "sldt", "smsw", "lar", "lsl", "verr", "verw", "str"), 1),
    "msr-and-cr": {"smsw": 1},
    "divzero-and-friends": {"pushf": 1},
    "escape-attempts": {"sidt": 1, "sgdt": 1},
}
"""How often each silent form gives ring compression away. Far JMP and RET themselves do not: it shows in the CS that
is stored afterwards."""


@pytest.mark.parametrize("cpu", BY_CPU)
@pytest.mark.parametrize("scenario_id", [scenario.id for scenario in SHORT])
def test_the_faithful_techniques_are_bare_metal_at_every_instruction(scenario_id: str, cpu: str) -> None:
    runs = assert_all_in_lockstep(find_scenario(scenario_id), BY_CPU[cpu], cpu, times=TIMES)
    assert all(run.ended is not None for run in runs)


@pytest.mark.soak
@pytest.mark.parametrize("technique", FAITHFUL)
@pytest.mark.parametrize("scenario_id", [scenario.id for scenario in SHORT])
def test_a_faithful_technique_is_bare_metal_every_time_an_instruction_runs(scenario_id: str, technique: str) -> None:
    assert assert_lockstep(find_scenario(scenario_id), technique).ended is not None


@pytest.mark.parametrize("scenario_id", HONEST_UNDER_TRAP_EMULATE)
def test_trap_emulate_is_bare_metal_at_every_instruction_of_a_guest_without_silent_ones(scenario_id: str) -> None:
    run = assert_lockstep(find_scenario(scenario_id), "trap-emulate", times=TIMES)
    assert run.ended is not None
    assert [event for event in run.events if event.is_divergence] == []


def holds(run: Run, event: Event, told: str) -> bool:
    """Check a silent event's words against the registers and the memory of a run right after it."""
    state = run.technique.guest_state()
    memory = run.technique.guest_memory()
    if match := re.fullmatch(r"base (\w{8}) limit (\w{4})", told):
        address = re.search(r"\[0x(\w+)\]", event.instruction)
        assert address is not None
        expected = int(match[2], 16).to_bytes(2, "little") + int(match[1], 16).to_bytes(4, "little")
        return memory.peek(int(address[1], 16), 6) == expected
    if match := re.fullmatch(r"return to (\w{4}):(\w{8})", told):
        expected = int(match[2], 16).to_bytes(4, "little") + int(match[1], 16).to_bytes(4, "little")
        return memory.peek(state.gpr[ESP], 8) == expected
    if re.fullmatch(r"\w{8}", told):
        return memory.read_int(state.gpr[ESP], 4) == int(told, 16)
    name, value = told.split()
    if name in ("IF", "ZF"):
        return bool(state.eflags & {"IF": 0x200, "ZF": 0x40}[name]) == bool(int(value))
    return fields_of(state)[name.lower()] == int(value, 16)


def test_popf_hole_has_after_every_silent_instruction_what_the_event_says_it_got() -> None:
    run = Run(find_scenario("popf-hole"), "trap-emulate")
    run.finish()
    again = Run(run.technique.scenario, "trap-emulate")
    told = silent_events(run)
    assert len(told) == 20
    for event in told:
        again.reach(event.at + 1)
        assert holds(again, event, event.got), event


@pytest.mark.parametrize("scenario_id", LIES)
def test_trap_emulate_diverges_at_silent_instructions_and_nowhere_else(scenario_id: str) -> None:
    scenario = find_scenario(scenario_id)
    native, run = Run(scenario, "native"), Run(scenario, "trap-emulate")
    diverged: dict[int, str] = {}
    while run.ended is None:
        at = run.position
        native.reach(at + 1)
        run.reach(at + 1)
        found = difference(native, run)
        if found is None:
            continue
        event = run.events[-1]
        assert (event.at, event.kind) == (at, Kind.SILENT), f"no silent instruction at {at}, but {found}"
        assert event.is_divergence
        assert holds(run, event, event.got)
        assert holds(native, event, event.native_would)
        diverged[at] = event.form or ""
        heal(native, run)
        assert difference(native, run) is None
    assert native.ended is not None
    assert run.technique.machine.bus.console == native.technique.machine.bus.console
    assert Counter(diverged.values()) == LIES[scenario_id]
    assert diverged.keys() == {event.at for event in run.events if event.is_divergence}


@pytest.mark.parametrize("technique", ["native", "trap-emulate"])
def test_no_port_access_is_missed_where_written_pages_are_collected_between_any_two_instructions(
    technique: str,
) -> None:
    scenario = find_scenario("hello-serial")
    straight, run = Run(scenario, technique), Run(scenario, technique)
    straight.finish()
    while run.ended is None:
        position = run.position + 1
        run.reach(position)
        assert run.position == position
        run.technique.machine.collect_dirty()
    assert run.events == straight.events
