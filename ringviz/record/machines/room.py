"""A room of kept machines: every operation of their lives, each done wholly or not at all.

What is kept of a machine that is switched on is where it stands, not what is in it: its disks as they were when it was
switched on, how many instructions it has completed since, and what it was asked. Running it again to that place gives
the same machine, bit for bit, and a hash of all that the guest can see says whether it has. What it has written to its
disks becomes a new differencing disk when it is switched off. Its balloon is as full as it was; which of its pages are
shared or swapped out is the host's own affair, which no guest can tell, and begins anew with each run of the host.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from ringviz.engine.automation.rules import Automation
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import DiskError, InputError, RingvizError, UnsupportedError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.guest.disks import file_chain, open_disk
from ringviz.guest.disks.creating import convert_disk, snapshot_disk, sync_folder
from ringviz.guest.scenario import Scenario, with_disks
from ringviz.record.machines.arrival import resolved
from ringviz.record.machines.arrived import maker
from ringviz.record.machines.audit import DONE, Audited
from ringviz.record.machines.contents import machine_named, understood_contents
from ringviz.record.machines.definition import Definition, check_name
from ringviz.record.machines.host_run import REFUSED, HostRun
from ringviz.record.machines.inbox import Answer, LeftOrder, give_answer, unanswered_orders
from ringviz.record.machines.kept import (
    Disks,
    Kept,
    Move,
    Snapshot,
    check_new_snapshot,
    power_on,
    snapshot_named,
    written,
)
from ringviz.record.machines.leaving import Peer
from ringviz.record.machines.life_cycle import Life, check_allowed
from ringviz.record.machines.operating import carry_out, state_after
from ringviz.record.machines.receiving import Receiving
from ringviz.record.machines.store import Store
from ringviz.vmm.host.allotment import MemoryRules
from ringviz.vmm.host.host import Host
from ringviz.vmm.host.memory import HostMemory
from ringviz.vmm.host.shares import Share
from ringviz.vmm.registry import memory_bytes
from ringviz.vmm.registry import power_on as power_on_guest
from ringviz.vmm.scheduler.policy import make_policy

MAX_MEMORY_MIB = 16_384
LONGEST_CHAIN = 8
"""Disks of one machine upon each other, before they are made one."""
LONGEST_AUDIT = 1_000
"""Ours: lines kept of what the host has done by itself."""

Now = Callable[[], int]
"""Seconds since 1970; for the time stamps in disk images."""


class Room:
    """An open store, and a host that is only there while it runs."""

    def __init__(self, folder: Path, now: Now) -> None:
        """Open the machines in a folder.

        Raises:
            InputError: they are in use, or cannot be read; one line.
        """
        self._store = Store(folder)
        self._now = now
        try:
            found = understood_contents(self._store.content)
        except InputError:
            self._store.close()
            raise
        self.cpu, self.memory_mib, self.scheduler = found.cpu, found.memory_mib, found.scheduler
        self.memory_rules = found.memory_rules
        self.clock = found.clock
        """Of the host, over all its runs."""
        self.audit = found.audit
        """What the host has done by itself, the latest last."""
        self.machines = found.machines
        self._disk_number = found.disk_number
        self._answers = found.answers
        """To orders that are carried out, and perhaps not answered yet."""
        self._at_work: HostRun | None = None
        """A run whose machines are not kept yet."""
        self._audit_before: list[Audited] = []
        """The list as it was when that run began."""
        self._files_to_come: set[str] = set()
        self._settle_moves()
        self._remove_others()
        self.last_host: Host | None = None
        """The host of the last run, for whoever wants to look at it."""
        self.last_run: HostRun | None = None
        self._take_orders()

    @property
    def folder(self) -> Path:
        """Where the machines are kept."""
        return self._store.folder

    def close(self) -> None:
        """Let others open the folder."""
        self._store.close()

    # ---- the host ----------------------------------------------------------------------------------------------------

    def set_host(
        self, cpu: str | None, memory_mib: int | None, scheduler: str | None, memory_rules: MemoryRules | None = None
    ) -> None:
        """Change the host, while no machine is switched on.

        Raises:
            InputError: a machine is on, or there is no such CPU, size or scheduler.
        """
        on = [name for name, kept in self.machines.items() if kept.state is not Life.STOPPED]
        if on:
            raise InputError(f"the host cannot change while machines are on: {', '.join(on)}")
        if cpu is not None and cpu not in CPU_PROFILES:
            raise InputError(f'CPU "{cpu}" is unknown; choose one of {", ".join(CPU_PROFILES)}')
        if memory_mib is not None and not 1 <= memory_mib <= MAX_MEMORY_MIB:
            raise InputError(f"memory: found {memory_mib}, expected 1 to {MAX_MEMORY_MIB:,} MiB")
        if scheduler is not None:
            make_policy(scheduler)
        self.cpu, self.memory_mib = cpu or self.cpu, memory_mib or self.memory_mib
        self.scheduler = scheduler or self.scheduler
        if memory_rules is not None:
            memory_rules.check("memory")
            self.memory_rules = memory_rules
        self._commit()

    def run(
        self,
        cycles: int,
        automation: Automation | None = None,
        *,
        is_dry: bool = False,
        peer: Peer | None = None,
        receiving: Receiving | None = None,
    ) -> Host:
        """Let the host run with all machines that are to, and keep where they stand then.

        Args:
            cycles: for how long.
            automation: rules and orders for this run; it is as long as was said then, also if no machine is on.
            is_dry: only tell what these would have done.
            peer: the host to which machines can move.
            receiving: a port at which machines may come.

        Returns:
            The host as it is at the end.

        Raises:
            RingvizError: a machine cannot be switched on or found again; then nothing has changed.
        """
        run = self.prepare(automation, is_dry=is_dry, peer=peer, receiving=receiving)
        run.go(cycles)
        self.keep(run)
        return run.host

    def prepare(
        self,
        automation: Automation | None = None,
        *,
        is_dry: bool = False,
        peer: Peer | None = None,
        receiving: Receiving | None = None,
    ) -> HostRun:
        """Give a run of the host for whoever wants to go through it step by step, and then have it kept; see `run`."""
        self._at_work = HostRun(self, self._host(), automation, is_dry=is_dry, peer=peer, receiving=receiving)
        self._audit_before = list(self.audit)
        return self._at_work

    def keep(self, run: HostRun) -> None:
        """Keep where the machines stand at the end of a run."""
        # One that was to come, and of which nobody could find out whether it has, is not the run's.
        open_moves = {
            name: kept
            for name, kept in self.machines.items()
            if kept.move is not None and not kept.move.is_leaving and name not in run.machines
        }
        self.machines, self._at_work = run.machines | open_moves, None
        self._keep_books(run)
        self.last_run, self.last_host = run, run.host

    def keep_so_far(self, run: HostRun) -> None:
        """Keep where the machines of a run stand that goes on: a crash leads back to here, and no further."""
        moving = {name: kept for name, kept in self.machines.items() if kept.move is not None}
        self.machines = run.standing()
        for name, kept in moving.items():
            # Whether it is here at all stands in a record; the run knows where it stands, and not of that.
            here = self.machines.get(name, kept)
            self.machines[name] = replace(here, state=Life.MIGRATING, move=kept.move)
        self._keep_books(run)

    def _keep_books(self, run: HostRun) -> None:
        self.clock = run.clock
        self.audit = [*self._audit_before, *run.audit][-LONGEST_AUDIT:]
        self._answers |= run.answers
        run.answers.clear()
        self._commit()
        self._give_answers()

    # ---- the life of a machine ---------------------------------------------------------------------------------------

    def define(self, name: str, definition: Definition) -> None:
        """Take a new machine in; its disks are copied.

        Raises:
            RingvizError: the name is taken, or the host could not run such a machine; one line.
        """
        check_name(name)
        if name in self.machines:
            raise InputError(f'a machine "{name}" is defined already')
        scenario = with_disks(definition.load(), definition.disk, definition.disk2)
        host = self._host()
        host.add(definition.spec(name, scenario), paused=True)
        copies = [None if disk is None else self._new_disk(disk.path) for disk in scenario.disks]
        self.machines[name] = Kept(definition, Life.STOPPED, (copies[0], copies[1]))
        self._commit()

    def start(self, name: str) -> None:
        """Switch a machine on.

        Raises:
            InputError: it is on.
            UnsupportedError: with those that are on already it does not fit the host's memory.
        """
        kept = self._allowed("start", name)
        self.check_memory(self.machines, name)
        self._host().add(kept.definition.spec(name, self.scenario(kept)), paused=True)
        self._put(name, replace(kept, state=Life.RUNNING, run=power_on(kept.disks), ended="", console=""))

    def pause(self, name: str) -> None:
        """Let a machine stand still."""
        self._put(name, replace(self._allowed("pause", name), state=Life.PAUSED))

    def resume(self, name: str) -> None:
        """Let a paused machine go on."""
        self._put(name, replace(self._allowed("resume", name), state=Life.RUNNING))

    def reset(self, name: str) -> None:
        """Switch a machine off and on again."""
        kept = self.off(name, self._allowed("reset", name))
        self._put(name, replace(kept, state=Life.RUNNING, run=power_on(kept.disks), ended="", console=""))

    def ask_to_shut_down(self, name: str) -> None:
        """Ask a guest to end its run, and set it a time for that.

        The guest finds it at the exit port as soon as the host runs again.
        """
        kept = self._allowed("shutdown", name)
        assert kept.run is not None
        asked = kept.run.place.asked_at or (kept.run.place.retired, kept.run.place.answered)
        run = replace(
            kept.run,
            place=replace(kept.run.place, asked_at=asked),
            deadline=self.clock + kept.definition.patience_cycles,
            # The port is a part of what the guest can see: what was compared so far does not hold any more.
            guest_state_sha256="",
        )
        self._put(name, replace(kept, state=Life.SHUTTING_DOWN, run=run))

    def stop(self, name: str) -> None:
        """Switch a machine off; what it has written to its disks is kept."""
        kept = self.off(name, self._allowed("stop", name))
        self._put(name, replace(kept, ended="switched off"))

    def snapshot(self, name: str, snapshot: str) -> None:
        """Keep what a machine is now under a name."""
        kept = self._allowed("snapshot", name)
        check_new_snapshot(name, kept, snapshot)
        taken = Snapshot(kept.state, kept.disks, kept.run, self.clock)
        self._put(name, replace(kept, snapshots={**kept.snapshots, snapshot: taken}))

    def revert(self, name: str, snapshot: str) -> None:
        """Let a machine be again what it was; what it has become since is lost."""
        kept = self._allowed("revert", name)
        taken = snapshot_named(name, kept, snapshot)
        self._put(name, replace(kept, state=taken.state, disks=taken.disks, run=taken.run, ended=""))

    def clone(self, name: str, other: str) -> None:
        """Make another machine that stands where this one does; from there each goes its way."""
        kept = self._allowed("clone", name)
        check_name(other)
        if other in self.machines:
            raise InputError(f'a machine "{other}" is defined already')
        self._put(other, replace(kept, snapshots={}, spent={}))

    def destroy(self, name: str) -> None:
        """Forget a machine, its disks and its snapshots."""
        self._allowed("destroy", name)
        del self.machines[name]
        self._commit()

    def set_share(self, name: str, share: Share) -> None:
        """Change what a machine may have of the host's CPU."""
        definition = replace(self.kept(name).definition, weight=share.weight, cap_percent=share.cap_percent)
        self.set_definition(name, definition)

    def set_definition(self, name: str, definition: Definition) -> None:
        """Change what a machine may have of the host's CPU and memory."""
        definition.check(name)
        self._put(name, replace(self.kept(name), definition=definition))

    def check_memory(self, machines: Mapping[str, Kept], name: str) -> None:
        """Refuse a machine for which those that are on leave no memory.

        Raises:
            UnsupportedError: one line.
        """
        memory = HostMemory(self.memory_mib << 20, self.memory_rules)
        on = [other for other, kept in machines.items() if kept.state is not Life.STOPPED and other != name]
        try:
            for each in (*on, name):
                definition = machines[each].definition
                scenario = definition.load()
                size = memory_bytes(scenario, definition.technique)
                memory.reserve(each, size, size - scenario.guest.memory_bytes, definition.allotment)
        except UnsupportedError as error:
            raise UnsupportedError(f"{name}: {error}") from None

    # ---- machines that are on ----------------------------------------------------------------------------------------

    def _host(self) -> Host:
        return Host(self.cpu, self.memory_mib, self.scheduler, memory_rules=self.memory_rules)

    def seat(self, host: Host, name: str, kept: Kept) -> None:
        """Let a host have a machine as it stands."""
        run = kept.run
        assert run is not None
        make = power_on_guest if run.arrived is None else maker(self.folder / run.arrived)
        machine = host.add(kept.definition.spec(name, self.scenario(kept, run.disks)), paused=True, make=make)
        try:
            machine.go_to(run.place)
        except UnsupportedError as error:
            raise UnsupportedError(f"{name}: {error}") from None
        if run.guest_state_sha256 and guest_state_sha256(machine.technique) != run.guest_state_sha256:
            raise UnsupportedError(
                f"{name}: is not what it was: its scenario has changed, or ringviz has; revert, reset or stop it"
            )
        host.resume(name, run.sleep_cycles)

    def standing(self, host: Host, name: str, kept: Kept) -> Kept:
        """Say where a machine stands at the end of a run of the host."""
        machine = host.machine(name)
        assert kept.run is not None
        run = replace(
            kept.run,
            place=machine.place,
            sleep_cycles=host.sleep_left(name),
            guest_state_sha256=guest_state_sha256(machine.technique),
        )
        return replace(_timed(host, name, kept), run=run, console=_printed(host, name))

    def switched_off(self, host: Host, name: str, kept: Kept) -> Kept:
        """Say what a machine is that a host has switched off: its disks hold what was written to them."""
        assert kept.run is not None
        machine = host.machine(name)
        written = [machine.written_to_disk(number) for number in range(2)]
        disks = [
            None if disk is None else self._with(disk, contents)
            for disk, contents in zip(kept.run.disks, written, strict=True)
        ]
        timed = _timed(host, name, kept)
        return replace(timed, state=Life.STOPPED, disks=(disks[0], disks[1]), run=None, console=_printed(host, name))

    def off(self, name: str, kept: Kept) -> Kept:
        """Switch a machine off that is not on a host; one that cannot be found again loses what it has written."""
        host = self._host()
        try:
            self.seat(host, name, kept)
        except UnsupportedError:
            return replace(kept, state=Life.STOPPED, run=None)
        host.pause(name)
        return self.switched_off(host, name, kept)

    def spent(self, host: Host, name: str, kept: Kept) -> dict[str, int]:
        """Say where a machine's time went, by state, over all runs."""
        return _timed(host, name, kept).spent

    def scenario(self, kept: Kept, disks: Disks | None = None) -> Scenario:
        """Give a machine's scenario, with its disks in the machine."""
        paths = [None if disk is None else str(self._store.folder / disk) for disk in disks or kept.disks]
        return with_disks(kept.definition.load(), paths[0], paths[1])

    # ---- machines that move ------------------------------------------------------------------------------------------

    def let_leave(self, name: str, move: Move) -> None:
        """Note that from now on a record says whether a machine is still here."""
        self._put(name, replace(self.kept(name), state=Life.MIGRATING, move=replace(move, state=self.kept(name).state)))

    def let_come(self, name: str, kept: Kept) -> None:
        """Take in a machine of which a record says whether it is here."""
        self._put(name, kept)

    @property
    def present(self) -> Mapping[str, Kept]:
        """All machines as they are now, also those of a run that is not kept yet."""
        return self.machines if self._at_work is None else {**self.machines, **self._at_work.machines}

    def settle_move(self, name: str) -> None:
        """Look up what became of a machine between two hosts; where it cannot be looked up, it stays open.

        Whoever looks decides that a machine stays of which nothing is decided yet: so nobody does while it moves.
        """
        kept = self.machines.get(name)
        if kept is None or kept.move is None:
            return
        with suppress(RingvizError):
            settled = resolved(kept)
            if settled is None:
                del self.machines[name]
            else:
                self.machines[name] = settled
            self._commit()

    def _settle_moves(self) -> None:
        for name in list(self.machines):
            self.settle_move(name)

    # ---- disks -------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """Give the time stamp for a new disk image."""
        return self._now()

    def new_file(self, suffix: str) -> Path:
        """Give the path of a file that was never there."""
        self._disk_number += 1
        return self._store.folder / f"disk-{self._disk_number}{suffix}"

    def file_to_come(self, suffix: str) -> Path:
        """Give the path of a file that is needed though no machine names it yet, as one is on its way here."""
        path = self.new_file(suffix)
        self._files_to_come.add(path.name)
        return path

    def forget_files_to_come(self) -> None:
        """Need only what machines name."""
        self._files_to_come.clear()

    def _next_disk(self) -> Path:
        return self.new_file(".vhd")

    def _new_disk(self, source: Path) -> str:
        target = self._next_disk()
        convert_disk(source, target, "dynamic", uuid.uuid4().bytes, self._now())
        return target.name

    def _with(self, disk: str, contents: dict[int, bytes]) -> str:
        """Give a disk with some sectors changed: the old one stays as it is, a new one on top of it has the changes."""
        if not contents:
            return disk
        below, target = self._store.folder / disk, self._next_disk()
        snapshot_disk(below, target, uuid.uuid4().bytes, self._now())
        image = open_disk(target, is_writable=True)
        image.write(contents)
        image.flush()
        image.close()
        return self._new_disk(target) if len(file_chain(target)) > LONGEST_CHAIN else target.name

    def _remove_others(self) -> None:
        """Remove disks that nothing needs any more; none at all while it cannot be told what a damaged one needs."""
        with suppress(DiskError):
            self._store.remove_others(self.needed_disks())

    def needed_disks(self) -> set[str]:
        """Give every file that some machine or snapshot names, and all that these are based on.

        Raises:
            DiskError: one of them cannot be opened.
        """
        named: set[str] = set()
        others: set[str] = set()
        at_work = () if self._at_work is None else self._at_work.machines.values()
        for kept in (*self.machines.values(), *at_work):
            holders: tuple[Kept | Snapshot, ...] = (kept, *kept.snapshots.values())
            for holder in holders:
                named |= {disk for disk in holder.disks if disk is not None}
                if holder.run is not None:
                    named |= {disk for disk in holder.run.disks if disk is not None}
                    others |= set(holder.run.files)
        return (
            others
            | self._files_to_come
            | {path.name for disk in named for path in file_chain(self._store.folder / disk)}
        )

    # ---- orders from outside -----------------------------------------------------------------------------------------

    def _take_orders(self) -> None:
        """Carry out what was ordered of a host that was at work, and is not any more; none of it twice."""
        for order in unanswered_orders(self.folder):
            if order.id not in self._answers:
                self._answers[order.id] = self._carried_out(order)
                self._commit()
        self._give_answers()

    def _carried_out(self, order: LeftOrder) -> Answer:
        results: list[str] = []
        for number, deed in enumerate(order.deeds, 1):
            if number == len(order.deeds):
                # What is done is kept at once; that it is done has to be kept with it.
                self._answers[order.id] = Answer((*results, DONE), state_after(self, deed), self.clock)
            try:
                carry_out(self, [deed])
                results.append(DONE)
            except RingvizError as error:  # the machine may be gone by now
                results.append(f"{REFUSED}{error}")
        last = order.deeds[-1].target if order.deeds else ""
        state = self.machines[last].state.value if last in self.machines else ""
        return Answer(tuple(results), state, self.clock)

    def _give_answers(self) -> None:
        """Tell whoever waits; what was done is kept, so it may be known."""
        self._answers = {
            order: answer for order, answer in self._answers.items() if not give_answer(self.folder, order, answer)
        }

    # ---- keeping -----------------------------------------------------------------------------------------------------

    def _allowed(self, operation: str, name: str) -> Kept:
        kept = self.kept(name)
        check_allowed(operation, name, kept.state)
        return kept

    def kept(self, name: str) -> Kept:
        """Give a machine as it is kept.

        Raises:
            InputError: there is none of that name.
        """
        return machine_named(name, self.machines)

    def _put(self, name: str, kept: Kept) -> None:
        self.machines[name] = kept
        self._commit()

    def _commit(self) -> None:
        sync_folder(self._store.folder)  # the names of new disks come before the file that speaks of them
        content = {
            "cpu": self.cpu,
            "memory_mib": self.memory_mib,
            "scheduler": self.scheduler,
            "memory_rules": asdict(self.memory_rules),
            "clock": self.clock,
            "disk_number": self._disk_number,
            "audit": [asdict(entry) for entry in self.audit],
            "answers": {order: asdict(answer) for order, answer in self._answers.items()},
            "machines": {name: written(kept) for name, kept in self.machines.items()},
        }
        self._store.commit(content)
        self._remove_others()


def _printed(host: Host, name: str) -> str:
    return host.machine(name).technique.machine.bus.console


def _timed(host: Host, name: str, kept: Kept) -> Kept:
    """Add where a machine's time went on this host."""
    spent = dict(kept.spent)
    for state, cycles in host.times_of(name).spent.items():
        spent[state.value] = spent.get(state.value, 0) + cycles
    return replace(kept, spent={state: cycles for state, cycles in spent.items() if cycles})
