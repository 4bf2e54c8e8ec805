"""What one operation costs: a loop with it and the same loop without it, between markers, priced and subtracted.

A guest of this kind has a label at the beginning and at the end of each of its loops. Between two of them the run is
gone through instruction by instruction: events and their causes are taken from its record, and an instruction that the
CPU ran by itself is charged the weight of its class. One that a translator replaced is charged what stands in its
place, and one that the VMM carried out is in the price of the trap, exit or callout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ringviz.engine.recording import Recording
from ringviz.errors import InputError
from ringviz.facts.costs import CpuProfile, cost_of
from ringviz.facts.instruction_weights import HUNDREDTHS, weight_of
from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.guest.instruction_weight import class_of
from ringviz.guest.scenario import Scenario
from ringviz.guest.symbols import SourceMap, load_source_map
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.setup import Setup

NATIVE = "native"
_REPLACED = ("translated-cli", "translated-indirect")
"""Tallies of guest instructions for which translated code does something else."""
_NOTHING_RETIRES = (Kind.FAULT, Kind.INTERRUPT)
"""Events of bare metal that lead to a handler without an instruction having completed."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A stretch of a run between two labels, which the guest passes once each."""

    begin: str
    end: str


@dataclass(slots=True)
class Charges:
    """What a stretch of a run consists of; it can be priced for any CPU."""

    causes: Counter[str] = field(default_factory=Counter)
    """How often each cause of cost came."""
    classes: Counter[str] = field(default_factory=Counter)
    """How many instructions of each class the CPU ran by itself."""
    rounds: int = 0
    """How often the loop went round."""

    def less(self, other: Charges) -> Charges:
        """Give what this one has more than another; both went round equally often."""
        causes, classes = Counter(self.causes), Counter(self.classes)
        causes.subtract(other.causes)
        classes.subtract(other.classes)
        return Charges(_without_zeros(causes), _without_zeros(classes), self.rounds)

    def cycles(self, cpu: CpuProfile) -> Fraction:
        """Price it, exactly."""
        events = sum(times * cost_of(cpu, cause).charged_cycles for cause, times in self.causes.items())
        work = sum(times * weight_of(name, cpu.weights) for name, times in self.classes.items())
        return events + Fraction(work, HUNDREDTHS)


class Bench:
    """One guest with loops between labels. Bare metal tells once which instruction is which."""

    def __init__(self, scenario: Scenario, loops: Sequence[Loop], round_label: str, native: Setup) -> None:
        """Run the guest on bare metal.

        Args:
            scenario: the guest.
            loops: the stretches to price.
            round_label: label of the first instruction of the loop without an operation; it retires once a round.
            native: bare metal, with the CPU of the runs to come.

        Raises:
            RingvizError: a label is missing, is passed more than once, or is never reached.
        """
        self._scenario = scenario
        source = load_source_map(scenario)
        self._walk = _NativeWalk(scenario, native, source, loops)
        self.rounds = self._walk.times(_address(scenario, source, round_label), loops[0])

    def span(self, loop: Loop) -> tuple[int, int]:
        """Give the retired instructions at the beginning and at the end of a loop."""
        return self._walk.spans[loop]

    def bills(self, technique: str, setup: Setup) -> Mapping[Loop, Charges]:
        """Run the guest under a technique and give what each loop consists of.

        Raises:
            RingvizError: the technique cannot run the guest.
        """
        recording = Recording(self._scenario, technique, setup)
        return {loop: self._bill(recording, loop) for loop in self._walk.spans}

    def _bill(self, recording: Recording, loop: Loop) -> Charges:
        begin, end = self._walk.spans[loop]
        bill = Charges(rounds=self.rounds)
        recording.play(begin)
        technique = recording.technique
        tallies, by_vmm = dict(technique.tallies()), technique.completed_by_vmm()
        first = Counter(tallies)
        for position in range(begin, end):
            recording.play(position + 1)
            tallies_now, by_vmm_now = dict(technique.tallies()), technique.completed_by_vmm()
            is_replaced = any(tallies_now.get(cause, 0) != tallies.get(cause, 0) for cause in _REPLACED)
            if by_vmm_now == by_vmm and not is_replaced:
                bill.classes[self._walk.classes[position]] += 1
            tallies, by_vmm = tallies_now, by_vmm_now
        log = recording.log
        for event in log.raw[log.before(begin) : log.before(end)]:
            bill.causes.update((*event.charges, *event.native_charges))
        tallied = Counter(tallies)
        tallied.subtract(first)
        bill.causes.update(_without_zeros(tallied))
        return bill


class _NativeWalk:
    """The instructions that retire within the loops, by position: the same under every technique with this code."""

    def __init__(self, scenario: Scenario, setup: Setup, source: SourceMap, loops: Sequence[Loop]) -> None:
        self.classes: dict[int, str] = {}
        self.spans: dict[Loop, tuple[int, int]] = {}
        self._addresses: dict[int, int] = {}
        recording = Recording(scenario, NATIVE, setup)
        for loop in loops:
            places = [_address(scenario, source, label) for label in (loop.begin, loop.end)]
            begin = _reach(recording, scenario, places[0], loop.begin)
            while recording.technique.machine.state.linear_eip != places[1]:
                if recording.is_at_end:
                    raise InputError(f"{scenario.id}: {loop.end} is never reached after {loop.begin}")
                self._step(recording)
            self.spans[loop] = begin, recording.position

    def times(self, address: int, loop: Loop) -> int:
        """How often the instruction at an address has retired within a loop."""
        begin, end = self.spans[loop]
        return sum(self._addresses[position] == address for position in range(begin, end))

    def _step(self, recording: Recording) -> None:
        position = recording.position
        known = len(recording.log)
        instruction, address = _instruction(recording)
        recording.play(position + 1)
        for event in recording.log.raw[known:]:
            if event.kind in _NOTHING_RETIRES:
                instruction, address = _handler(recording, event)
        self.classes[position] = class_of(instruction)
        self._addresses[position] = address


def _instruction(recording: Recording) -> tuple[Instruction, int]:
    technique = recording.technique
    instruction = technique.instruction_here()
    assert instruction is not None, "the guest is about to run it"
    return instruction, technique.guest_state().linear_eip


def _handler(recording: Recording, event: Event) -> tuple[Instruction, int]:
    """The first instruction of the handler that an event led to: it is what has retired since."""
    state = recording.technique.guest_state()
    code = recording.technique.guest_memory().peek(event.resume, 15)
    instruction = None if code is None else decode(code, event.resume, state.code_bits)
    assert instruction is not None, "it has just run"
    return instruction, event.resume


def _reach(recording: Recording, scenario: Scenario, address: int, label: str) -> int:
    """Go on to a label.

    Raises:
        InputError: the run ends before.
    """
    limit = scenario.limits.instructions + 1
    if not recording.play(limit, breakpoints=frozenset({address})):
        raise InputError(f"{scenario.id}: {label} is never reached")
    recording.technique.stop_before(frozenset())
    return recording.position


def _address(scenario: Scenario, source: SourceMap, label: str) -> int:
    """Find a label, local ones by their own part of the name.

    Raises:
        InputError: the guest has no such label.
    """
    for symbol in source.symbols:
        if symbol.name.rpartition(".")[2] == label:
            return symbol.address
    raise InputError(f"{scenario.id}: no label {label} in {scenario.guest.source}")


def _without_zeros(counts: Counter[str]) -> Counter[str]:
    return Counter({name: times for name, times in counts.items() if times})
