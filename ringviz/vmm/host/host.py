"""A host: one CPU and one memory, several virtual machines, and a scheduler between them.

Time is the host's own clock, in cycles. It goes on by what a turn has cost, and by nothing else; while no machine wants
the CPU it jumps to the next moment at which one does. What the scheduler itself works is not charged: no source names
a figure for it. Decisions depend on the clock and on what machines have done, so the same machines give the same
events, and it does not matter in how many calls the host is run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ringviz.errors import InputError, RingvizError, UnsupportedError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.scheduling import PERIOD_CYCLES, TIME_SLICE_CYCLES
from ringviz.guest.scenario import Scenario
from ringviz.guest.schema import did_you_mean
from ringviz.vmm.events import Event
from ringviz.vmm.host.allotment import Allotment, MemoryRules
from ringviz.vmm.host.memory import HostMemory
from ringviz.vmm.host.records import WANTS_CPU, HostEvent, HostTurn, Period, State, Times
from ringviz.vmm.host.shares import FULL_PERCENT, Share, ideal_rates
from ringviz.vmm.host.virtual_machine import Make, VirtualMachine, Why
from ringviz.vmm.registry import choose, power_on
from ringviz.vmm.scheduler.policy import DEFAULT_SCHEDULER, make_policy

MiB = 1 << 20


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What a virtual machine is to be."""

    name: str
    scenario: Scenario
    technique: str
    mmu: str | None = None
    controls: tuple[str, ...] = ()
    share: Share = field(default_factory=Share)
    allotment: Allotment = field(default_factory=Allotment)
    """What it may have of the host's memory."""


@dataclass(slots=True)
class _Seat:
    """A machine's place on the host."""

    machine: VirtualMachine
    share: Share
    state: State
    since: int
    """Clock at which that state began."""
    times: Times = field(default_factory=Times)
    budget: int = 0
    """Cycles that its cap leaves it in this period; below 0, what it owes the next."""
    wake_at: int = 0
    """While it sleeps: when it will want the CPU. While it is paused: for how long it was still to sleep, or 0."""
    is_blocked: bool = False
    """It is parked until there is memory again."""
    was_present: bool = True
    """It has wanted the CPU in this period."""


class Host:
    """The machine below, at some moment of its own time."""

    def __init__(
        self,
        cpu: str,
        memory_mib: int,
        scheduler: str = DEFAULT_SCHEDULER,
        time_slice: int = TIME_SLICE_CYCLES,
        period: int = PERIOD_CYCLES,
        memory_rules: MemoryRules | None = None,
    ) -> None:
        """Switch on, with no machines yet.

        Raises:
            InputError: no such CPU or scheduler.
        """
        if cpu not in CPU_PROFILES:
            raise InputError(f'CPU "{cpu}" is unknown; choose one of {", ".join(CPU_PROFILES)}')
        self.cpu = CPU_PROFILES[cpu]
        self.memory = HostMemory(memory_mib * MiB, memory_rules)
        self.memory.on_news = self._note
        self.scheduler = scheduler
        self.time_slice = time_slice
        self.period = period
        self.clock = 0
        self.events: list[HostEvent] = []
        self.turns: list[HostTurn] = []
        self.periods: list[Period] = []
        """Those that are over."""
        self.on_events: Callable[[str, list[Event]], None] | None = None
        """Told of what happened in a machine's turn, as its technique tells it."""
        self._policy = make_policy(scheduler)
        self._seats: dict[str, _Seat] = {}
        self._used: dict[str, int] = {}
        self._period_start = 0
        self._rates: dict[str, float] | None = None

    # ---- who is there ------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The machines, in the order in which they came."""
        return tuple(self._seats)

    def add(self, spec: MachineSpec, *, paused: bool = False, make: Make = power_on) -> VirtualMachine:
        """Admit a machine and power it on; it wants the CPU from now on, unless it is paused.

        Args:
            spec: what it is to be.
            paused: it does not want the CPU yet.
            make: gives the technique with its guest on it; one that comes from elsewhere is not powered on.

        Raises:
            UnsupportedError: it does not fit the CPU or the memory, or could not share the CPU; one line.
            RingvizError: its guest cannot be loaded.
        """
        if spec.name in self._seats:
            raise InputError(f'a machine "{spec.name}" is on this host already')
        spec.share.check(spec.name)
        spec.allotment.check(spec.name, spec.scenario.guest.memory_mib)
        try:
            setup = choose(spec.technique, spec.mmu, self.cpu.id, spec.controls)
            machine = VirtualMachine(
                spec.name, spec.scenario, spec.technique, setup, self.memory, make, allotment=spec.allotment
            )
            why = machine.technique.no_preemption()
            if why:
                raise UnsupportedError(f"{spec.technique} cannot share a host: {why}")
        except RingvizError as error:
            self.memory.take_back(spec.name)
            if isinstance(error, UnsupportedError):
                raise UnsupportedError(f"{spec.name}: {error}") from None
            raise
        state = State.PAUSED if paused else State.READY
        self._seats[spec.name] = seat = _Seat(machine, spec.share, state, self.clock)
        seat.was_present = not paused
        seat.budget = self._allowance(seat)
        self._used[spec.name] = 0
        self._rates = None
        if not paused:
            self._policy.wake(spec.name, self._in(State.READY, State.RUNNING))
        self._note(spec.name, "start", f"{spec.scenario.id} under {spec.technique}, {setup.mmu}")
        return machine

    def remove(self, name: str) -> None:
        """Take a machine off the host; its memory is wiped and free."""
        self._seat(name)
        del self._seats[name], self._used[name]
        self._policy.leave(name)
        self._rates = None
        self.memory.take_back(name)
        self._note(name, "remove", "")

    def pause(self, name: str) -> None:
        """Let a machine not run until it is resumed; its own clock stands still."""
        seat = self._seat(name)
        if seat.state in (State.PAUSED, State.ENDED):
            return
        seat.wake_at = max(1, seat.wake_at - self.clock) if seat.state is State.SLEEPING else 0
        self._enter(seat, State.PAUSED)
        self._note(name, "pause", "")

    def switch_off(self, name: str) -> None:
        """Let a machine never run again; it keeps its seat and its memory, so that it can be looked at."""
        seat = self._seat(name)
        if seat.state is State.ENDED:
            return
        self._enter(seat, State.ENDED)
        self._policy.leave(name)
        self._note(name, "off", "")

    def resume(self, name: str, sleep_cycles: int | None = None) -> None:
        """Let a paused machine run again; one that slept sleeps on for what was left, or as long as is said."""
        seat = self._seat(name)
        if seat.state is not State.PAUSED:
            return
        if sleep_cycles is not None:
            seat.wake_at = sleep_cycles
        if seat.wake_at:
            seat.wake_at += self.clock
            self._enter(seat, State.SLEEPING)
        else:
            self._enter(seat, State.READY)
            self._policy.wake(name, self._in(State.READY, State.RUNNING))
        self._note(name, "resume", "")

    def run_paused(self, name: str, cycles: int) -> None:
        """Let a paused machine have a short turn all the same, because its VMM needs it to go on a little."""
        seat = self._seat(name)
        turn = seat.machine.run(cycles)
        self._enter(seat, State.RUNNING)
        self._policy.charge(name, turn.used_cycles, seat.share.weight)
        seat.budget -= turn.used_cycles if seat.share.cap_percent else 0
        self._pass_time(self.clock + turn.used_cycles)
        self._enter(seat, State.PAUSED)
        seat.wake_at = turn.sleep_cycles

    def set_share(self, name: str, share: Share) -> None:
        """Change what a machine may have; its next turn is already given by that, its cap from the next period on.

        Raises:
            InputError: no such machine, weight or cap.
        """
        seat = self._seat(name)
        share.check(name)
        was = self._allowance(seat)
        seat.share = share
        seat.budget += self._allowance(seat) - was
        if seat.state is State.PARKED and seat.budget > 0 and not seat.is_blocked:
            self._release(seat)
        self._rates = None
        cap = f"{share.cap_percent} %" if share.cap_percent else "none"
        self._note(name, "share", f"weight {share.weight}, cap {cap}")

    def set_allotment(self, name: str, allotment: Allotment) -> None:
        """Change what a machine may have of the memory; its balloon driver is asked in its next turn.

        Raises:
            InputError: no such machine, or no such allotment.
            UnsupportedError: its minimum is not left.
        """
        machine = self._seat(name).machine
        allotment.check(name, machine.technique.guest_bytes // MiB)
        self.memory.set_allotment(name, allotment)
        most = "all of it" if allotment.max_mib is None else f"{allotment.max_mib} MiB"
        self._note(name, "allot", f"at most {most}")

    def machine(self, name: str) -> VirtualMachine:
        """Give a machine.

        Raises:
            InputError: there is none of that name.
        """
        return self._seat(name).machine

    def sleep_left(self, name: str) -> int:
        """Say how many cycles a machine will sleep on, once it may; 0 if it does not sleep."""
        seat = self._seat(name)
        if seat.state is State.PAUSED:
            return seat.wake_at
        return max(0, seat.wake_at - self.clock) if seat.state is State.SLEEPING else 0

    def state_of(self, name: str) -> State:
        """Say what a machine is at."""
        return self._seat(name).state

    def share_of(self, name: str) -> Share:
        """Say what a machine may have."""
        return self._seat(name).share

    def times_of(self, name: str) -> Times:
        """Say where a machine's time went, up to now."""
        seat = self._seat(name)
        spent = dict(seat.times.spent)
        spent[seat.state] += self.clock - seat.since
        return Times(spent, seat.times.ideal)

    # ---- time --------------------------------------------------------------------------------------------------------

    def run(self, cycles: int) -> None:
        """Go on for so many cycles, or a little longer: a turn that has begun is finished."""
        self.run_until(self.clock + cycles)

    def run_until(self, clock: int) -> None:
        """Go on until the clock has come so far."""
        if not self.clock and self._seats:
            self._policy.account(self._in(State.READY), self._weights(), self.period)
        while self.clock < clock:
            ready = self._in(State.READY)
            if ready:
                name = self._policy.pick(ready, self._weights())
                if len(ready) > 1 and self.memory.must_wait(name):
                    self._seats[name].is_blocked = True
                    self._enter(self._seats[name], State.PARKED)
                    self._note(name, "block", "memory is almost gone, and it has more than it is to have")
                    continue
                self._take_turn(name)
                self.memory.after_turn()
                self._unblock()
                continue
            self._pass_time(min(clock, self._next_wake(clock), self._period_start + self.period))

    @property
    def is_over(self) -> bool:
        """No machine will ever want the CPU again by itself."""
        return all(seat.state in (State.ENDED, State.PAUSED) for seat in self._seats.values())

    def _take_turn(self, name: str) -> None:
        seat = self._seats[name]
        self._enter(seat, State.RUNNING)
        start = self.clock
        turn = seat.machine.run(self._slice(seat))
        used = turn.used_cycles
        if turn.why is Why.SPENT:
            used += seat.machine.preempt()
        self._policy.charge(name, used, seat.share.weight)
        seat.budget -= used if seat.share.cap_percent else 0
        self._pass_time(self.clock + used)
        if seat.machine.events:
            if self.on_events is not None:
                self.on_events(name, seat.machine.events.copy())
            seat.machine.events.clear()
        ended_by = {Why.SPENT: "timer", Why.SLEEPS: "sleep", Why.ENDED: "end"}[turn.why]
        self.turns.append(HostTurn(name, start, self.clock, ended_by))
        self._note(name, "turn", f"{used:,} cycles, until {ended_by}")
        self._after_turn(seat, turn.why, turn.sleep_cycles)

    def _after_turn(self, seat: _Seat, why: Why, sleep_cycles: int) -> None:
        name = seat.machine.name
        if why is Why.ENDED:
            self._enter(seat, State.ENDED)
            end = seat.machine.end
            self._note(name, "end", "" if end is None else end.text)
            self._policy.leave(name)
        elif why is Why.SLEEPS:
            seat.wake_at = self.clock + sleep_cycles
            self._enter(seat, State.SLEEPING)
            self._note(name, "sleep", f"for {sleep_cycles:,} cycles")
        elif seat.share.cap_percent and seat.budget <= 0:
            self._enter(seat, State.PARKED)
            self._note(name, "park", f"it has had its {seat.share.cap_percent} % of this period")
        else:
            self._enter(seat, State.READY)

    def _slice(self, seat: _Seat) -> int:
        """Say how long a turn may last: a time slice, what the cap leaves, and until one wakes that goes before."""
        cycles = self._policy.longest_turn(seat.machine.name, self.time_slice)
        if seat.share.cap_percent:
            cycles = min(cycles, seat.budget)
        for name, other in self._seats.items():
            if other.state is State.SLEEPING and self._policy.preempts(name):
                cycles = min(cycles, other.wake_at - self.clock)
        return max(1, cycles)

    def _pass_time(self, until: int) -> None:
        """Let the clock go on, stopping where a machine wakes or an accounting period is over."""
        while self.clock < until:
            boundary = self._period_start + self.period
            moment = min(until, boundary, self._next_wake(until))
            passed = moment - self.clock
            for name, rate in self._ideal().items():
                self._seats[name].times.ideal += rate * passed
            for name in self._in(State.RUNNING):
                self._used[name] += passed
            self.clock = moment
            if moment == boundary:
                self._account()
            self._wake_due()

    def _next_wake(self, otherwise: int) -> int:
        return min((seat.wake_at for seat in self._seats.values() if seat.state is State.SLEEPING), default=otherwise)

    def _wake_due(self) -> None:
        for name, seat in self._seats.items():
            if seat.state is State.SLEEPING and seat.wake_at <= self.clock:
                self._enter(seat, State.READY)
                self._policy.wake(name, self._in(State.READY, State.RUNNING))
                self._note(name, "wake", "")
                if seat.share.cap_percent and seat.budget <= 0:
                    self._enter(seat, State.PARKED)

    def _account(self) -> None:
        """Close an accounting period: report it, settle the scheduler's accounts, fill up what caps allow."""
        present = [name for name, seat in self._seats.items() if seat.was_present]
        if present:
            self._policy.account(present, self._weights(), self.period)
        self.periods.append(Period(self._period_start, self.period, dict(self._used)))
        self._used = dict.fromkeys(self._used, 0)
        self._period_start = self.clock
        self.memory.after_period()
        self._unblock()
        for name, seat in self._seats.items():
            seat.was_present = seat.state in WANTS_CPU
            seat.budget = self._allowance(seat) + min(0, seat.budget)
            if seat.state is State.PARKED and seat.budget > 0 and not seat.is_blocked:
                self._release(seat)
                self._note(name, "release", "a new period begins")

    def _unblock(self) -> None:
        """Let machines run again that had to wait for memory."""
        for name, seat in self._seats.items():
            if seat.is_blocked and not self.memory.must_wait(name):
                seat.is_blocked = False
                if seat.state is State.PARKED and (not seat.share.cap_percent or seat.budget > 0):
                    self._release(seat)
                    self._note(name, "release", "there is memory again")

    # ---- books -------------------------------------------------------------------------------------------------------

    def _release(self, seat: _Seat) -> None:
        self._enter(seat, State.READY)

    def _enter(self, seat: _Seat, state: State) -> None:
        seat.times.spent[seat.state] += self.clock - seat.since
        if (state in WANTS_CPU) != (seat.state in WANTS_CPU):
            self._rates = None
        seat.state, seat.since = state, self.clock
        seat.was_present = seat.was_present or state in WANTS_CPU

    def _ideal(self) -> dict[str, float]:
        if self._rates is None:
            shares = {name: seat.share for name, seat in self._seats.items()}
            wanting = [name for name, seat in self._seats.items() if seat.state in WANTS_CPU]
            self._rates = {name: float(rate) for name, rate in ideal_rates(shares, wanting).items()}
        return self._rates

    def _allowance(self, seat: _Seat) -> int:
        return self.period * seat.share.cap_percent // FULL_PERCENT

    def _weights(self) -> dict[str, int]:
        return {name: seat.share.weight for name, seat in self._seats.items()}

    def _in(self, *states: State) -> list[str]:
        return [name for name, seat in self._seats.items() if seat.state in states]

    def _seat(self, name: str) -> _Seat:
        if name not in self._seats:
            known = ", ".join(self._seats) or "none"
            raise InputError(
                f'machine "{name}" is not on this host; there are {known}{did_you_mean(name, self._seats)}'
            )
        return self._seats[name]

    def _note(self, machine: str, what: str, text: str) -> None:
        self.events.append(HostEvent(self.clock, machine, what, text))
