"""One guest moved from a host to another and run to its end there, and the same guest left alone, for comparison."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import MigrationError
from ringviz.facts.costs import CpuProfile
from ringviz.guest.scenario import Scenario
from ringviz.vmm.host.memory import HostMemory
from ringviz.vmm.host.virtual_machine import VirtualMachine
from ringviz.vmm.migration.decision import DecisionRecord, MemoryRecord
from ringviz.vmm.migration.destination import Destination
from ringviz.vmm.migration.loopback import Loopback
from ringviz.vmm.migration.rounds import Round
from ringviz.vmm.migration.running import RunningGuest
from ringviz.vmm.migration.source import Outcome, Plan, Source, Wire
from ringviz.vmm.migration.stream import NONCE_BYTES
from ringviz.vmm.registry import choose, memory_bytes
from ringviz.vmm.setup import Setup


@dataclass(frozen=True, slots=True)
class Ending:
    """A run at its end."""

    how: str
    text: str
    console: str
    guest_state_sha256: str
    guest_ticks: int
    """Device time, as the guest has seen it pass."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What became of a guest that was to move."""

    scenario: str
    technique: str
    mmu: str
    cpu: CpuProfile
    memory_bytes: int
    started_at: int
    """Cycles of the host at which the migration began."""
    outcome: Outcome
    runs_at_source: bool
    runs_at_destination: bool
    refusal: str
    """Why the destination has given up, if it has."""
    link_bytes: int
    """What went over the link, in both directions."""
    ending: Ending
    alone: Ending
    """Of a run that nobody moved."""

    @property
    def is_equal(self) -> bool:
        """The guest has ended as if it had not moved, to the last bit that it can see."""
        return self.ending == self.alone


def new_machine(scenario: Scenario, technique: str, setup: Setup) -> VirtualMachine:
    """Power a machine on, on a host that it has for itself."""
    memory = HostMemory(memory_bytes(scenario, technique))
    return VirtualMachine(scenario.id, scenario, technique, setup, memory)


def ending_of(machine: VirtualMachine) -> Ending:
    """Run a machine to its end, and tell it.

    Raises:
        MigrationError: the run goes on beyond the scenario's limit.
    """
    guest = RunningGuest(machine)
    limit = machine.technique.scenario.limits.instructions
    guest.run_to_the_end(limit)
    if machine.end is None:
        raise MigrationError(f"{machine.name} has not ended after {limit:,} instructions")
    technique = machine.technique
    console = technique.machine.bus.console
    return Ending(machine.end.how, machine.end.text, console, guest_state_sha256(technique), technique.machine.now)


@dataclass(frozen=True, slots=True)
class HostReport:
    """What one of two hosts, each a process of its own, knows when a migration is over."""

    scenario: str
    technique: str
    setup: Setup
    memory_bytes: int
    outcome: Outcome | None
    """As the source tells it; None at the destination."""
    has_machine: bool
    """It is here now, and nowhere else."""
    refusal: str
    """Why it is not, at the destination."""
    ending: Ending | None
    """Of the machine, if it is here."""
    alone: Ending | None

    @property
    def is_equal(self) -> bool:
        """The guest has ended here as if it had not moved."""
        return self.ending == self.alone


def send(
    scenario: Scenario, technique: str, setup: Setup, plan: Plan, wire: Wire, secret: bytes, record: DecisionRecord,
    *, after: int, on_round: Callable[[Round], None] | None = None,
) -> HostReport:  # fmt: skip
    """Run a guest and move it over a wire; if it stays, run it to its end.

    Raises:
        MigrationError: such a machine cannot move, or it has ended before.
    """
    machine = new_machine(scenario, technique, setup)
    guest = RunningGuest(machine)
    source = Source(guest, plan, secret, secrets.token_bytes(NONCE_BYTES), record, wire)
    source.on_round = on_round
    guest.pass_time(after)
    if guest.has_ended:
        raise MigrationError(f"{scenario.id} has ended before the migration began, {after:,} cycles after power-on")
    outcome = source.migrate()
    return _host_report(scenario, technique, setup, outcome, machine if source.has_machine else None, "")


def receive(
    scenario: Scenario, technique: str, setup: Setup, secret: bytes, record: DecisionRecord,
    take: Callable[[Destination], None],
) -> HostReport:  # fmt: skip
    """Expect a machine, and run it to its end if it comes.

    Args:
        scenario: its guest.
        technique: id.
        setup: what `registry.choose` gave.
        secret: what both hosts know.
        record: of where the machine is.
        take: feeds the destination from the link until the migration is over.
    """
    destination = Destination(scenario, technique, setup, secret, secrets.token_bytes(NONCE_BYTES), record)
    take(destination)
    machine = destination.machine if destination.is_running else None
    return _host_report(scenario, technique, setup, None, machine, destination.refusal)


def _host_report(
    scenario: Scenario, technique: str, setup: Setup, outcome: Outcome | None, machine: VirtualMachine | None,
    refusal: str,
) -> HostReport:  # fmt: skip
    ending = None if machine is None else ending_of(machine)
    alone = None if machine is None else ending_of(new_machine(scenario, technique, setup))
    return HostReport(
        scenario.id, technique, setup, scenario.guest.memory_bytes, outcome, machine is not None, refusal, ending, alone
    )


def migrate(
    scenario: Scenario,
    technique: str,
    mmu: str | None = None,
    cpu: str | None = None,
    plan: Plan | None = None,
    *,
    after: int = 0,
    cut_after: int | None = None,
    on_round: Callable[[Round], None] | None = None,
    alone: Ending | None = None,
) -> MigrationReport:
    """Run a guest, move it to another host within this process, and run it to its end wherever it is then.

    Args:
        scenario: the guest.
        technique: id.
        mmu: way of memory virtualization.
        cpu: of both hosts.
        plan: how it is to move; None is the usual.
        after: cycles of the host after which the migration begins.
        cut_after: bytes after which the link is lost.
        on_round: told of every round when it is over.
        alone: the end of the run that nobody moved, if it is known already.

    Raises:
        RingvizError: the choices do not go together, or such a machine cannot move.
    """
    setup = choose(technique, mmu, cpu, scenario=scenario)
    machine = new_machine(scenario, technique, setup)
    guest, record, secret = RunningGuest(machine), MemoryRecord(), secrets.token_bytes(NONCE_BYTES)
    destination = Destination(scenario, technique, setup, secret, secrets.token_bytes(NONCE_BYTES), record)
    wire = Loopback(destination, cut_after)
    source = Source(guest, plan or Plan(), secret, secrets.token_bytes(NONCE_BYTES), record, wire)
    source.on_round = on_round
    guest.pass_time(after)
    if guest.has_ended:
        raise MigrationError(f"{scenario.id} has ended before the migration began, {after:,} cycles after power-on")
    started_at = guest.clock
    outcome = source.migrate()
    destination.link_lost()
    at_destination = destination.machine if destination.is_running else None
    assert (at_destination is not None) is not source.has_machine, "a machine runs at one place, and no other"
    ending = ending_of(machine if at_destination is None else at_destination)
    return MigrationReport(
        scenario.id, technique, setup.mmu, setup.cpu, scenario.guest.memory_bytes, started_at, outcome,
        source.has_machine, destination.is_running, destination.refusal, wire.carried, ending,
        alone or ending_of(new_machine(scenario, technique, setup)),
    )  # fmt: skip
