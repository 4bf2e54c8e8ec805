"""One run of a room's host: the machines that are on, and what is done with them meanwhile.

Machines are looked after when an accounting period is over, and at the moments that were set: a time to shut down, or
an order. What the machines are afterwards is kept by the room, all at once, when the run is over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ringviz.engine.automation.measuring import NOTHING, Sample, Totals, between
from ringviz.engine.automation.rules import Automation, Deed
from ringviz.engine.automation.watching import HOST, Reading, Watcher
from ringviz.engine.automation.words import EXIT_CODE
from ringviz.engine.events import VMM_KINDS
from ringviz.errors import InputError, MigrationError, RingvizError, UnsupportedError
from ringviz.machine.memory import PAGE
from ringviz.record.machines.audit import DONE, Audited
from ringviz.record.machines.definition import check_name
from ringviz.record.machines.inbox import Answer, take_orders, with_deed
from ringviz.record.machines.kept import Kept, Snapshot, check_new_snapshot, power_on, snapshot_named
from ringviz.record.machines.leaving import Leaving, Peer
from ringviz.record.machines.life_cycle import Life, check_allowed
from ringviz.vmm.events import Event
from ringviz.vmm.host.host import Host
from ringviz.vmm.host.records import State
from ringviz.vmm.migration.tcp import PATIENCE_S
from ringviz.vmm.outcome import Ended
from ringviz.vmm.stall import NO_PROGRESS

if TYPE_CHECKING:
    from ringviz.record.machines.receiving import Receiving
    from ringviz.record.machines.room import Room

RESET = "reset"
ORDER, OUTSIDE, BY_HAND, MIGRATION = "(order)", "(from outside)", "(by hand)", "(migration)"
"""Who says so, in the list, where it is no rule."""
REFUSED = "refused: "
"""What the result of something that cannot be done begins with."""
DRY, NO_CHANGE, STAYS = "not done: dry run", "nothing to change", "not done: it stays here"
PAGES_PER_MIB = (1 << 20) // PAGE
_EXIT_CODE = re.compile(r"exit code (\d+)$")
_ON = (Life.RUNNING, Life.SHUTTING_DOWN)


class HostRun:
    """A host at work."""

    def __init__(
        self,
        room: Room,
        host: Host,
        automation: Automation | None,
        *,
        is_dry: bool = False,
        peer: Peer | None = None,
        receiving: Receiving | None = None,
    ) -> None:
        """Be ready to run.

        Args:
            room: whose machines they are; it is not changed.
            host: a fresh one.
            automation: rules and orders; None for none.
            is_dry: only tell what rules and orders would have done.
            peer: the host to which machines can move; None if this one knows of no other.
            receiving: a port at which machines may come; None if none does.
        """
        self.host = host
        self.machines: dict[str, Kept] = dict(room.machines)
        self.audit: list[Audited] = []
        self.samples: list[Sample] = []
        """At every look, and whenever something was done."""
        self.answers: dict[str, Answer] = {}
        """To orders from outside, by id; told when what was done is kept."""
        self.start = room.clock
        """The host's clock where this run begins."""
        self._room = room
        self._automation = automation or Automation()
        self._goes_on_alone = automation is not None
        self._is_dry = is_dry
        self._watcher = Watcher(self._automation.rules, self.start)
        self._orders = [order for order in self._automation.orders if order.at >= self.start]
        self._running: list[str] = []
        """Those that the host runs."""
        self._carried: dict[str, Totals] = {}
        """Of machines that were taken off the host."""
        self._exits: dict[str, int] = {}
        self._last_look = Sample(0, {})
        self._latest: Mapping[str, Reading] = {}
        self.before: Mapping[str, Reading] = {}
        """What was measured at the look before the last."""
        self._periods = 0
        self._peer = peer
        self._receiving = receiving
        self._leaving: dict[str, Leaving] = {}
        self.migrations: list[Leaving] = []
        """All that have begun in this run, the latest last."""
        self._ends: dict[str, frozenset[str]] = {}
        host.on_events = self._count_exits

    @property
    def clock(self) -> int:
        """The host's, over all its runs."""
        return self.start + self.host.clock

    def go(self, cycles: int) -> None:
        """Run for so many cycles, or as long as a machine is on and nobody could switch one on.

        Where none is on and none has come yet that may, the host waits for it, and its clock stands still.

        Raises:
            RingvizError: a machine cannot be switched on or found again.
        """
        self.begin()
        while self.host.clock < cycles:
            if self._running or self._goes_on_alone:
                self.advance(cycles)
            elif self._receiving is not None and not self._receiving.has_come and self._receiving.wait(PATIENCE_S):
                self._let_come()
            else:
                break
        self.finish()

    def begin(self) -> None:
        """Have all machines that are on take their seats."""
        for name, kept in self.machines.items():
            if kept.state in _ON:
                self._room.seat(self.host, name, kept)
                self._running.append(name)
        self.host.memory.take_stock()
        self._sample()
        self._carry_out_orders()

    def advance(self, cycles: int) -> None:
        """Run on to the next moment at which there is something to do, no further than to so many cycles in all."""
        self.host.run_until(min(cycles, *self._moments()))
        for name, leaving in list(self._leaving.items()):
            while leaving.outcome is None and (leaving.has_ended or leaving.due_at <= self.host.clock):
                leaving.go_on()
            self._settle(name, leaving)
        for name in self._running.copy():
            if name not in self._leaving:
                self._look_after(name)
        self._carry_out_orders()
        if len(self.host.periods) > self._periods:
            self._periods = len(self.host.periods)
            self._look()
            self._take_from_outside()
            self._let_come()

    def finish(self) -> None:
        """Say where all machines stand; the run is over. Those that were moving stay where they were."""
        if self._receiving is not None:
            name = self._receiving.end()
            if name:
                self._has_come(name)
        for name in list(self._leaving):
            self._stay(name, "the host's run was over")
        self._sample()
        self.machines = self.standing()

    def standing(self) -> dict[str, Kept]:
        """Give all machines as they are to be kept if nothing more comes of this run."""
        return {
            name: self._room.standing(self.host, name, kept)
            if name in self.host.names and kept.state is not Life.STOPPED
            else kept
            for name, kept in self.machines.items()
        }

    def order(self, deed: Deed) -> Audited:
        """Do something at once, because somebody who looks on says so; what came of it is kept, and given back."""
        entry = self._do(deed, BY_HAND, "", is_dry=False)
        if entry.is_done:
            self._room.keep_so_far(self)
        return entry

    @property
    def has_peer(self) -> bool:
        """There is another host to which machines can move."""
        return self._peer is not None

    @property
    def is_over(self) -> bool:
        """No machine is on, no order is still to come, and no machine either."""
        return not self._running and not self._orders and self._receiving is None

    @property
    def to_come(self) -> tuple[str, ...]:
        """Orders that are still to be carried out, and the rules in force, in words."""
        return (*(order.text for order in self._orders), *(rule.text for rule in self._automation.rules))

    @property
    def latest(self) -> Mapping[str, Reading]:
        """What was measured of every machine at the last look."""
        return self._latest

    def _moments(self) -> Iterator[int]:
        """Give the moments, on this run's clock, at which there is something to do."""
        now = self.host.clock
        yield (now // self.host.period + 1) * self.host.period
        for order in self._orders[:1]:
            yield max(now + 1, order.at - self.start)
        for leaving in self._leaving.values():
            yield max(now + 1, leaving.due_at)
        for name in self._running:
            run = self.machines[name].run
            if run is not None and run.deadline is not None:
                yield max(now + 1, run.deadline - self.start)

    def _look_after(self, name: str) -> None:
        """Switch a machine off that has ended, or whose time is up; switch it on again if its guest has reset it."""
        kept = self.machines[name]
        assert kept.run is not None
        end = self.host.machine(name).end
        is_late = kept.run.deadline is not None and self.clock >= kept.run.deadline
        if end is None and not is_late:
            return
        self._switch_off(name, "switched off: it has not shut down in time" if end is None else end.text)
        if end is not None:
            self._ends[name] = _words(end)
            if end.how == RESET:
                self._switch_on(name)

    # ---- automation --------------------------------------------------------------------------------------------------

    def _carry_out_orders(self) -> None:
        while self._orders and self._orders[0].at <= self.clock:
            order = self._orders.pop(0)
            self._do(order.deed, ORDER, f"set for {order.at:,}")

    def _look(self) -> None:
        """Measure all machines, and do what the rules say."""
        sample = self._sample()
        readings = {name: self._reading(name, sample) for name in self.machines}
        self._last_look = sample
        self.before, self._latest = self._latest, readings
        readings = {**readings, HOST: self._host_reading()}
        # A turn that has begun is finished, so a look comes a little late; rules count whole periods.
        period_end = self.start + self._periods * self.host.period
        for firing in self._watcher.look(period_end, readings):
            if firing.overruled_by is not None:
                self._note(firing.rule, firing.why, firing.deed, f"not done: {firing.overruled_by} says otherwise")
            else:
                self._do(firing.deed, firing.rule, firing.why)

    def _take_from_outside(self) -> None:
        """Carry out what somebody else has ordered; it is answered when it is kept, so that no crash takes it back."""
        orders = take_orders(self._room.folder)
        for order in orders:
            results = tuple(self._do(deed, OUTSIDE, "", is_dry=False).result for deed in order.deeds)
            kept = self.machines.get(order.deeds[-1].target) if order.deeds else None
            self.answers[order.id] = Answer(results, "" if kept is None else kept.state.value, self.clock)
        if orders:
            self._room.keep_so_far(self)

    def _do(self, deed: Deed, who: str, why: str, *, is_dry: bool | None = None) -> Audited:
        """Do something with a machine, or say why it cannot be done; the run goes on in either case."""
        if self._is_dry if is_dry is None else is_dry:
            return self._note(who, why, deed, DRY)
        self._sample()
        try:
            if deed.target not in self.machines:
                raise InputError(f'no machine "{deed.target}"')
            result = self._doers(who)[deed.action](deed)
        except RingvizError as error:
            result = f"{REFUSED}{error}"
        return self._note(who, why, deed, result)

    def _doers(self, who: str) -> Mapping[str, Callable[[Deed], str]]:
        return {
            "weight": self._set_share,
            "cap": self._set_share,
            "balloon": self._set_share,
            "start": lambda deed: self._start(deed.target),
            "pause": lambda deed: self._pause(deed.target),
            "resume": lambda deed: self._resume(deed.target),
            "restart": lambda deed: self._restart(deed.target),
            "stop": lambda deed: self._stop(deed.target),
            "reset": lambda deed: self._reset(deed.target),
            "shutdown": lambda deed: self._ask_to_shut_down(deed.target),
            "migrate": lambda deed: self._migrate(deed.target),
            "auto-converge": lambda deed: self._slow_down(deed.target),
            "stay": lambda deed: self._stay(deed.target, "called off"),
            "revert": lambda deed: self._revert(deed.target, deed.named),
            "clone": lambda deed: self._clone(deed.target, deed.named),
            "destroy": lambda deed: self._destroy(deed.target),
            "snapshot": lambda deed: self._snapshot(
                deed.target, deed.named, "order" if who in (ORDER, OUTSIDE, BY_HAND) else who
            ),
        }

    def _note(self, who: str, why: str, deed: Deed, result: str) -> Audited:
        entry = Audited(self.clock, who, why, deed.text, result)
        self.audit.append(entry)
        return entry

    # ---- deeds -------------------------------------------------------------------------------------------------------

    def _set_share(self, deed: Deed) -> str:
        name = deed.target
        kept = self.machines[name]
        old = kept.definition
        new = with_deed(old, deed)
        if new == old:
            return NO_CHANGE
        new.check(name)
        if name in self._leaving:
            if new.allotment != old.allotment:
                raise InputError(f"{name} is on its way to another host: its memory stays as it is until it is there")
            self._leaving[name].set_share(new.share)
        elif name in self.host.names:
            if new.share != old.share:
                self.host.set_share(name, new.share)
            if new.allotment != old.allotment:
                has_balloon = self.host.machine(name).technique.balloon is not None
                if not has_balloon and not self.host.memory.rules.overcommits:
                    raise InputError(
                        f"{name} has no balloon, and this host has memory enough for all: nothing would change"
                    )
                self.host.set_allotment(name, new.allotment)
        self.machines[name] = replace(kept, definition=new)
        return DONE

    def _start(self, name: str) -> str:
        self._allowed("start", name)
        self._switch_on(name)
        return DONE

    def _pause(self, name: str) -> str:
        kept = self._allowed("pause", name)
        self.host.pause(name)
        self._running.remove(name)
        self.machines[name] = replace(kept, state=Life.PAUSED)
        return DONE

    def _resume(self, name: str) -> str:
        kept = self._allowed("resume", name)
        if name in self.host.names:
            self.host.resume(name)
        else:
            self._room.seat(self.host, name, kept)
        self._running.append(name)
        self.machines[name] = replace(kept, state=Life.RUNNING)
        return DONE

    def _restart(self, name: str) -> str:
        if self.machines[name].state is not Life.STOPPED:
            self._stop(name)
        return self._start(name)

    def _stop(self, name: str) -> str:
        self._allowed("stop", name)
        self._switch_off(name, "switched off")
        return DONE

    def _reset(self, name: str) -> str:
        self._allowed("reset", name)
        self._switch_off(name, "reset")
        self._switch_on(name)
        return DONE

    def _ask_to_shut_down(self, name: str) -> str:
        kept = self._allowed("shutdown", name)
        assert kept.run is not None
        self.host.machine(name).ask_to_shut_down()
        run = replace(kept.run, deadline=self.clock + kept.definition.patience_cycles)
        self.machines[name] = replace(kept, state=Life.SHUTTING_DOWN, run=run)
        return DONE

    def _migrate(self, name: str) -> str:
        kept = self._allowed("migrate", name)
        if self._peer is None:
            raise InputError("this host knows of no other")
        leaving = Leaving(self._room, self.host, name, kept, self._peer)
        if leaving.outcome is not None:  # the other host will not have it
            self._room.settle_move(name)
            raise MigrationError(leaving.outcome.why)
        self._leaving[name] = leaving
        self.migrations.append(leaving)
        self.machines[name] = replace(kept, state=Life.MIGRATING)
        return DONE

    def _settle(self, name: str, leaving: Leaving) -> None:
        """If a migration is over: take the machine off this host, or let it be as any other."""
        outcome = leaving.outcome
        if outcome is None:
            return
        del self._leaving[name]
        self._sample()
        if outcome.moved:
            downtime = f"{outcome.downtime_cycles / 1000:,.1f} modelled ms"
            still = f"stood still for {downtime}, after {len(outcome.rounds) - 1} rounds"
            self._take_off(name)
            self._running.remove(name)
            del self.machines[name]
            self._room.settle_move(name)
            self._tell_migration(name, still, DONE)
        else:
            self._is_here(name)
            self._tell_migration(name, outcome.why, STAYS)

    def _let_come(self) -> None:
        """Take in what has arrived of a machine that comes from another host, and let it run if all of it has."""
        name = "" if self._receiving is None else self._receiving.look()
        if name and self._has_come(name):
            self._sample()
            kept = self.machines[name]
            try:
                self._take_a_seat(name, kept)
            except RingvizError as error:
                self.machines[name] = replace(kept, state=Life.PAUSED)
                self._tell_arrival(name, f"it is here, and paused: {error}")
            else:
                self._running.append(name)
            self._room.keep_so_far(self)

    def _has_come(self, name: str) -> bool:
        """Say what became of a machine that was on its way here, and tell whether it is here and is to run."""
        assert self._receiving is not None
        if self._receiving.refusal:
            self._tell_arrival(name, f"{REFUSED}{self._receiving.refusal}")
            return False
        self.machines[name] = kept = self._room.machines[name]
        if kept.move is not None:
            self._tell_arrival(name, "not known yet: the record of where it is cannot be read")
            return False
        self._tell_arrival(name, DONE)
        return True

    def _tell_arrival(self, name: str, result: str) -> None:
        self.audit.append(Audited(self.clock, MIGRATION, "", f"let {name} come", result))

    def _slow_down(self, name: str) -> str:
        if name not in self._leaving:
            raise InputError(f"{name} is not on its way to another host")
        return DONE if self._leaving[name].help() else NO_CHANGE

    def _stay(self, name: str, why: str) -> str:
        self._allowed("stay", name)
        self._sample()
        self._leaving.pop(name).call_off()
        self._is_here(name)
        self._tell_migration(name, why, STAYS)
        return DONE

    def _tell_migration(self, name: str, why: str, result: str) -> None:
        self.audit.append(Audited(self.clock, MIGRATION, why, f"move {name}", result))

    def _is_here(self, name: str) -> None:
        """A machine that was to move is one of this host again."""
        self.machines[name] = replace(self.machines[name], state=Life.RUNNING)
        self._room.settle_move(name)

    def _snapshot(self, name: str, named: str, by: str) -> str:
        """Keep what a machine is, under the name that is given or under whose order it was and a number."""
        kept = self._allowed("snapshot", name)
        if not named:
            number = 1
            while f"{by}-{number}" in kept.snapshots:
                number += 1
            named = f"{by}-{number}"
        check_new_snapshot(name, kept, named)
        run = kept.run
        if name in self.host.names and kept.state is not Life.STOPPED:
            run = self._room.standing(self.host, name, kept).run
        taken = Snapshot(kept.state, kept.disks, run, self.clock)
        self.machines[name] = replace(kept, snapshots={**kept.snapshots, named: taken})
        return DONE

    def _revert(self, name: str, named: str) -> str:
        """Go back to a snapshot; if none is named, to the one that was taken last."""
        kept = self._allowed("revert", name)
        if not named and not kept.snapshots:
            raise InputError(f"{name}: there is no snapshot")
        taken = snapshot_named(name, kept, named or list(kept.snapshots)[-1])
        self._take_off(name)
        if name in self._running:
            self._running.remove(name)
        kept = replace(kept, state=taken.state, disks=taken.disks, run=taken.run, ended="")
        if taken.state in _ON:
            self._room.seat(self.host, name, kept)
            self._running.append(name)
        self.machines[name] = kept
        return DONE

    def _clone(self, name: str, named: str) -> str:
        """Make another machine that stands where this one does, as it is named or under its name and a number."""
        kept = self._allowed("clone", name)
        if name in self.host.names and kept.state is not Life.STOPPED:
            kept = self._room.standing(self.host, name, kept)
        number = 2
        while not named and f"{name}-{number}" in self.machines:
            number += 1
        other = check_name(named or f"{name}-{number}")
        if other in self.machines:
            raise InputError(f'a machine "{other}" is defined already')
        self.machines[other] = replace(kept, snapshots={}, spent={})
        return DONE

    def _destroy(self, name: str) -> str:
        self._allowed("destroy", name)
        self._take_off(name)
        del self.machines[name]
        return DONE

    def _allowed(self, operation: str, name: str) -> Kept:
        kept = self.machines[name]
        check_allowed(operation, name, kept.state)
        return kept

    def _switch_on(self, name: str) -> None:
        kept = self.machines[name]
        self._take_off(name)
        self._room.check_memory(self.machines, name)
        kept = replace(kept, state=Life.RUNNING, run=power_on(kept.disks), ended="", console="")
        self._take_a_seat(name, kept)
        self.machines[name] = kept
        self._running.append(name)

    def _take_a_seat(self, name: str, kept: Kept) -> None:
        """Have a machine on the host, if need be in the place of machines that are off."""
        try:
            self._room.seat(self.host, name, kept)
        except UnsupportedError:
            # Machines that are off are still there to be looked at; now their memory is needed.
            for other, each in self.machines.items():
                if each.state is Life.STOPPED:
                    self._take_off(other)
            self._room.seat(self.host, name, kept)

    def _switch_off(self, name: str, how: str) -> None:
        kept = self.machines[name]
        if name in self.host.names:
            self.host.switch_off(name)
            off = self._room.switched_off(self.host, name, kept)
        else:
            off = self._room.off(name, kept)
        self.machines[name] = replace(off, ended=how)
        if name in self._running:
            self._running.remove(name)

    def _take_off(self, name: str) -> None:
        if name in self.host.names:
            self._carried[name] = replace(self._totals(name), exits=0)
            self.host.remove(name)

    # ---- measuring ---------------------------------------------------------------------------------------------------

    def _count_exits(self, name: str, events: list[Event]) -> None:
        self._exits[name] = self._exits.get(name, 0) + sum(event.kind in VMM_KINDS for event in events)

    def _sample(self) -> Sample:
        names = dict.fromkeys([*self.machines, *self._carried])  # also those that have moved away
        sample = Sample(self.host.clock, {name: self._totals(name) for name in names})
        self.samples.append(sample)
        return sample

    def _totals(self, name: str) -> Totals:
        totals = replace(self._carried.get(name, NOTHING), exits=self._exits.get(name, 0))
        if name not in self.host.names:
            return totals
        times = self.host.times_of(name)
        return totals.plus(Totals(times.spent[State.RUNNING], times.stolen))

    def _reading(self, name: str, sample: Sample) -> Reading:
        kept = self.machines[name]
        states = {kept.state.value}
        if kept.state is Life.STOPPED:
            states |= self._ends.get(name, frozenset())
        is_here = name in self.host.names
        console = self.host.machine(name).technique.machine.bus.console if is_here else kept.console
        reading = replace(between(self._last_look, sample, name), states=frozenset(states), console=console)
        if not (is_here and self._automation.rules):
            return reading
        pages = self.host.machine(name).pages
        return replace(
            reading,
            ballooned=len(pages.balloon) / PAGES_PER_MIB,
            swapped=len(pages.slots) / PAGES_PER_MIB,
            shared=pages.shared_pages / PAGES_PER_MIB,
        )

    def _host_reading(self) -> Reading:
        memory = self.host.memory
        return Reading(free_memory=100 * memory.frames.free / memory.frames.total, states=frozenset({memory.state.id}))


def _words(end: Ended) -> frozenset[str]:
    """Give the words for how a run is over."""
    words = {"ended"}
    code = _EXIT_CODE.search(end.text)
    if end.how == "exit" and code is not None:
        words.add(f"{EXIT_CODE}{code[1]}")
    if end.how == "triple-fault" or end.text == NO_PROGRESS:
        words.add("crashed")
    return frozenset(words)
