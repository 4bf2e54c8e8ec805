"""The host that a machine leaves: rounds of pre-copy, the last one with the guest at rest, and the hand-over.

Until the destination says that it has everything, nothing has happened to the machine here: whatever goes wrong before,
it runs on. Then the record of where it is gets written, and after that it never runs here again, whether the
destination still hears of it over the link or has to look at the record.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ringviz.errors import MigrationError
from ringviz.facts.migration import DEFAULT_MBIT, DEFAULT_ROUNDS, number
from ringviz.vmm.migration import plain
from ringviz.vmm.migration.decision import Decision, DecisionRecord
from ringviz.vmm.migration.destination import encode_pages
from ringviz.vmm.migration.identity import Identity
from ringviz.vmm.migration.machine_state import cannot_move, state_of
from ringviz.vmm.migration.rounds import DEFAULT_RULES, AutoConverge, Link, Round, make_rules
from ringviz.vmm.migration.running import Guest
from ringviz.vmm.migration.stream import (
    GREETING_BYTES,
    TO_DESTINATION,
    TO_SOURCE,
    Frame,
    Kind,
    Opener,
    Sealer,
    greeting,
    nonce_of,
    session_key,
)


class LinkLostError(Exception):
    """The link is cut: nothing more comes or goes."""


class Wire(Protocol):
    """The link, as the source sees it."""

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            LinkLostError: not all of them may have arrived.
        """

    def receive(self, size_bytes: int) -> bytes:
        """Wait for that many bytes.

        Raises:
            LinkLostError: they will not come.
        """


@dataclass(frozen=True, slots=True)
class Plan:
    """How a machine is to move."""

    mbit: int = DEFAULT_MBIT
    """Of the link."""
    rules: str = DEFAULT_RULES
    auto_converge: bool = False
    most_rounds: int = DEFAULT_ROUNDS


class Result(Enum):
    """What came of it."""

    MOVED = "moved"
    LINK_LOST = "the link was lost"
    REFUSED = "the destination refused it"
    GAVE_UP = "it does not converge"
    ENDED = "its run was over first"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A migration, told afterwards by the source."""

    result: Result
    why: str
    """Of the last round, or of what went wrong."""
    rounds: tuple[Round, ...]
    downtime_cycles: int
    """For how long the guest ran nowhere; 0 if it never stopped."""
    total_cycles: int
    sent_bytes: int
    guest_cycles: int
    """What the guest's own work has cost since the migration began, traps for noting writes not included."""

    @property
    def moved(self) -> bool:
        """The machine is at the destination."""
        return self.result is Result.MOVED


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the round that goes on now has come, in pages."""

    done_pages: int
    due_pages: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What a destination hears before it is told what machine it is, in words of whoever keeps machines."""

    content: bytes
    disks: tuple[bytes, ...] = ()
    """What is on them, in pieces for a frame each."""


class Source:
    """One migration of one machine."""

    def __init__(
        self,
        guest: Guest,
        plan: Plan,
        secret: bytes,
        nonce: bytes,
        record: DecisionRecord,
        wire: Wire,
        offer: Offer | None = None,
    ) -> None:
        """Prepare.

        Args:
            guest: the machine, which runs here.
            plan: how it is to move.
            secret: what both hosts know.
            nonce: 16 bytes that have never been used.
            record: of where the machine is.
            wire: to the destination.
            offer: what a destination has to hear that does not know which machine comes.

        Raises:
            MigrationError: such a machine cannot move.
            InputError: there are no such rules.
        """
        technique = guest.machine.technique
        why = cannot_move(technique)
        if why:
            raise MigrationError(f"{technique.scenario.id} under {technique.id} cannot move: {why}")
        self.guest = guest
        self.on_round: Callable[[Round], None] | None = None
        """Told of every round when it is over."""
        self.has_machine = True
        """The machine is this host's."""
        self.has_help = plan.auto_converge
        """A guest that writes faster than the link carries is slowed down."""
        self.progress = Progress(0, 0)
        self.dirtied: Counter[int] = Counter()
        """In how many rounds each page was written to."""
        self._plan = plan
        self._offer = offer
        self._link = Link(plan.mbit)
        self._rules = make_rules(plan.rules, self._link)
        self._help = AutoConverge()
        self._secret, self._nonce, self._record, self._wire = secret, nonce, record, wire
        self._rounds: list[Round] = []
        self._sent = 0
        self._sealer: Sealer
        self._opener: Opener
        self._received = bytearray()

    @property
    def rounds(self) -> tuple[Round, ...]:
        """Those that are over."""
        return tuple(self._rounds)

    @property
    def sent_bytes(self) -> int:
        """What has gone over the link so far."""
        return self._sent

    def migrate(self) -> Outcome:
        """Move the machine, or find out that it stays: then it can run on here as if nothing had been."""
        steps = self.steps()
        try:
            while True:
                self.guest.pass_time(next(steps))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def steps(self) -> Generator[int, None, Outcome]:
        """Move the machine in steps: each gives the cycles of the host that are to pass before the next.

        Whoever does not want to go on closes the steps: the machine stays then.
        """
        try:
            return (yield from self._steps())
        except GeneratorExit:
            self._give_up(Result.LINK_LOST)
            self._let_it_run()
            raise

    def _steps(self) -> Generator[int, None, Outcome]:
        start, spent = self.guest.clock, self.guest.machine.spent_cycles
        downtime = 0
        try:
            yield from self._introduce()
            self.guest.begin_log()
            why = yield from self._copy_while_it_runs()
            self.guest.come_to_rest()
            if self.guest.has_ended:
                raise _EndedError
            stopped = self.guest.clock
            yield from self._copy_the_rest()
            downtime = self.guest.clock - stopped
            result = self._hand_over()
            why = why if result is Result.MOVED else _LOST
        except LinkLostError:
            result, why = self._give_up(Result.LINK_LOST), _LOST
        except MigrationError as error:
            result, why = self._give_up(Result.REFUSED), str(error)
        except _GaveUpError as error:
            result, why = self._give_up(Result.GAVE_UP), str(error)
        except _EndedError:
            result, why = self._give_up(Result.ENDED), "the guest's run was over before the migration was"
        if result is not Result.MOVED:
            self._let_it_run()
        guest_cycles = self.guest.machine.spent_cycles - spent
        total = self.guest.clock - start
        return Outcome(result, why, tuple(self._rounds), downtime, total, self._sent, guest_cycles)

    # ---- the steps ---------------------------------------------------------------------------------------------------

    def _introduce(self) -> Iterator[int]:
        """Greet each other, and say what machine it is; its files go over the link while the guest runs on.

        They are those that it was switched on with, and do not change; what it has written since moves with its state.
        """
        theirs = nonce_of(self._wire.receive(GREETING_BYTES))
        key = session_key(self._secret, theirs, self._nonce)
        self._sealer, self._opener = Sealer(key, TO_DESTINATION), Opener(key, TO_SOURCE)
        self._send(greeting(self._nonce))
        if self._offer is not None:
            self._send(self._sealer.seal(Kind.OFFER, self._offer.content))
            self._answer(Kind.WELCOME)  # before anything long goes over
            for part in self._offer.disks:
                sent_before = self._sent
                self._send(self._sealer.seal(Kind.DISK, part))
                yield self._link.cycles_for(self._sent - sent_before)
        technique = self.guest.machine.technique
        self._send(
            self._sealer.seal(Kind.HELLO, Identity.of(technique.scenario, technique.id, technique.setup).encode())
        )
        self._answer(Kind.WELCOME)

    def _copy_while_it_runs(self) -> Generator[int, None, str]:
        """Send all memory, and then, round by round, what has been written to meanwhile; say why that is over."""
        due = list(range(self.guest.memory_pages))
        while True:
            why = self._rules.why_stop(self._rounds, len(due), self.guest.memory_pages)
            if why and self._rounds:
                self._due = due
                return why
            if len(self._rounds) >= self._plan.most_rounds:
                raise _GaveUpError(f"after {len(self._rounds)} rounds {len(due):,} pages are left, and no fewer come")
            due = yield from self._round(due)
            if self.guest.has_ended:
                raise _EndedError
            if self.has_help:
                self._help.look(self._rounds[-1])
                self.guest.throttle_percent = self._help.percent

    def _round(self, due: list[int]) -> Generator[int, None, list[int]]:
        """Send pages while the guest runs, and give those that it has written to."""
        start, sent_before, logged_before = self.guest.clock, self._sent, self.guest.logged
        rate = self._rules.rate(self._rounds)
        zero = skipped = 0
        for first in range(0, len(due), number("batch")):
            batch = due[first : first + number("batch")]
            self.progress = Progress(first, len(due))
            fresh = [page for page in batch if not (self._rules.skips_hot_pages and self.guest.is_dirty(page))]
            skipped += len(batch) - len(fresh)
            pages = [(page, self.guest.page(page)) for page in fresh]
            zero += sum(1 for _, content in pages if not any(content))
            if pages:
                before = self._sent
                self._send(self._sealer.seal(Kind.PAGES, encode_pages(pages)))
                yield self._link.cycles_for(self._sent - before, rate)
            if self.guest.has_ended:
                break
        dirtied = self.guest.take_dirty()
        self.dirtied.update(dirtied)
        logged, throttle = self.guest.logged - logged_before, self.guest.throttle_percent
        self._note(Round(
            len(self._rounds) + 1, len(due), len(due) - skipped - zero, zero, skipped, self._sent - sent_before,
            self.guest.clock - start, len(dirtied), logged, rate, throttle,
        ))  # fmt: skip
        return dirtied

    def _copy_the_rest(self) -> Iterator[int]:
        """Send what is left, and everything that is not memory; the guest stands still."""
        start, sent_before = self.guest.clock, self._sent
        due = sorted({*self._due, *self.guest.take_dirty()})
        pages = [(page, self.guest.page(page)) for page in due]
        for first in range(0, len(pages), number("batch")):
            self._send(self._sealer.seal(Kind.PAGES, encode_pages(pages[first : first + number("batch")])))
        technique = self.guest.machine.technique
        self._send(self._sealer.seal(Kind.STATE, plain.encode(state_of(technique))))
        everything = hashlib.sha256(technique.guest_ram()).digest() + self._sealer.digest.digest()
        self._send(self._sealer.seal(Kind.END, everything))
        yield self._link.cycles_for(self._sent - sent_before)
        zero = sum(1 for _, content in pages if not any(content))
        self._note(Round(
            len(self._rounds) + 1, len(due), len(due) - zero, zero, 0, self._sent - sent_before,
            self.guest.clock - start, 0, 0, self._link.mbit, 100, is_last=True,
        ))  # fmt: skip

    def _hand_over(self) -> Result:
        """Let go of the machine, once the destination has everything."""
        self._answer(Kind.READY)
        if self._record.decide(Decision.MOVED) is not Decision.MOVED:
            return Result.LINK_LOST  # the destination has given up waiting
        self.has_machine = False
        with suppress(LinkLostError):  # then the destination finds it in the record
            self._send(self._sealer.seal(Kind.COMMIT))
        return Result.MOVED

    def _give_up(self, result: Result) -> Result:
        """Make sure that the machine stays here, and nowhere else."""
        if self._record.decide(Decision.STAYS) is Decision.MOVED:
            raise AssertionError("nobody but the source says that a machine has moved")
        return result

    def _let_it_run(self) -> None:
        self.guest.end_log()
        self.guest.throttle_percent = 0

    # ---- the wire ----------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        self._wire.send(data)
        self._sent += len(data)

    def _answer(self, expected: Kind) -> None:
        """Wait for an answer.

        Raises:
            LinkLostError: none comes.
            MigrationError: it is another one, or not the destination's.
        """
        while True:
            frame = self._opener.take(self._received)
            if frame is not None:
                self._check(frame, expected)
                return
            self._received += self._wire.receive(1)

    def _check(self, frame: Frame, expected: Kind) -> None:
        if frame.kind is Kind.REFUSED:
            raise MigrationError(frame.content.decode("utf-8", "replace"))
        if frame.kind is not expected:
            raise MigrationError(f"the destination answered {frame.kind.name}, expected {expected.name}")

    def _note(self, done: Round) -> None:
        self._rounds.append(done)
        if self.on_round is not None:
            self.on_round(done)

    _due: list[int]


_LOST = "the link was lost; the machine goes on where it was"


class _GaveUpError(Exception):
    pass


class _EndedError(Exception):
    pass
