"""The host that a machine comes to: it takes the stream in, checks it all, and runs nothing before it is told to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum
from typing import Any

from ringviz.errors import MigrationError, RingvizError
from ringviz.guest.scenario import Scenario
from ringviz.machine.memory import PAGE
from ringviz.vmm.host.memory import HostMemory
from ringviz.vmm.host.virtual_machine import VirtualMachine
from ringviz.vmm.migration import plain
from ringviz.vmm.migration.decision import Decision, DecisionRecord
from ringviz.vmm.migration.identity import Identity, check_identity
from ringviz.vmm.migration.machine_state import arrived
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
from ringviz.vmm.registry import memory_bytes
from ringviz.vmm.setup import Setup


class Stage(Enum):
    """How far a migration has come, as the destination sees it."""

    GREETING = "waits for a greeting"
    OFFER = "waits to be offered a machine"
    DISKS = "takes disks in"
    HELLO = "waits to hear what machine it is"
    COPYING = "takes memory in"
    STATE = "waits for the end of the stream"
    READY = "has everything, and waits to be told"
    RUNNING = "has the machine"
    OVER = "has given up"


_EXPECTED = {
    Stage.OFFER: (Kind.OFFER,),
    Stage.DISKS: (Kind.DISK, Kind.HELLO),
    Stage.HELLO: (Kind.HELLO,),
    Stage.COPYING: (Kind.PAGES, Kind.STATE),
    Stage.STATE: (Kind.END,),
    Stage.READY: (Kind.COMMIT,),
}


class Destination:
    """One machine that is expected. It does no input or output: bytes go in, and the answer's bytes come out."""

    def __init__(
        self, scenario: Scenario, technique: str, setup: Setup, secret: bytes, nonce: bytes, record: DecisionRecord
    ) -> None:
        """Expect a machine.

        Args:
            scenario: its guest.
            technique: how it is virtualized.
            setup: what `registry.choose` gave.
            secret: what both hosts know, and nobody else.
            nonce: 16 bytes that have never been used.
            record: of where the machine is.
        """
        self._begin(secret, nonce)
        self._expect(scenario, technique, setup, record)

    def _begin(self, secret: bytes, nonce: bytes) -> None:
        self.stage = Stage.GREETING
        self.machine: VirtualMachine | None = None
        """There as soon as everything is; it may run when `stage` says so."""
        self.refusal = ""
        """Why it has given up, in one line."""
        self._secret, self._nonce = secret, nonce
        self._state: tuple[Any, ...] = ()
        self._opener: Opener
        self._sealer: Sealer
        self._data = bytearray()

    def _expect(self, scenario: Scenario, technique: str, setup: Setup, record: DecisionRecord) -> None:
        self._scenario, self._technique, self._setup, self._record = scenario, technique, setup, record
        self._identity = Identity.of(scenario, technique, setup)
        self._memory = bytearray(scenario.guest.memory_bytes)

    @property
    def is_running(self) -> bool:
        """The machine is this host's."""
        return self.stage is Stage.RUNNING

    def greeting(self) -> bytes:
        """Give the first bytes to send."""
        return greeting(self._nonce)

    def receive(self, data: bytes) -> bytes:
        """Take bytes in as they come, and give those to send back.

        A stream that is not right is refused: `stage` is `OVER` then, and `refusal` says why.
        """
        if self.stage in (Stage.OVER, Stage.RUNNING):
            return b""
        self._data += data
        answer = b""
        try:
            while True:
                step = self._greeted() if self.stage is Stage.GREETING else self._next_frame()
                if step is None:
                    return answer
                answer += step
        except RingvizError as error:
            return answer + self._refuse(str(error))

    def link_lost(self) -> None:
        """Find out what became of the machine, now that nobody can be asked over the link."""
        if self.stage is Stage.READY:
            moved = self._record.decide(Decision.STAYS) is Decision.MOVED
            self._settle(moved, "the link was lost; the machine stays where it was")
        elif self.stage is not Stage.RUNNING:
            self._settle(False, self.refusal or f"the link was lost while this host {_said(self.stage)}")

    def _greeted(self) -> bytes | None:
        if len(self._data) < GREETING_BYTES:
            return None
        key = session_key(self._secret, self._nonce, nonce_of(bytes(self._data[:GREETING_BYTES])))
        del self._data[:GREETING_BYTES]
        self._opener, self._sealer = Opener(key, TO_DESTINATION), Sealer(key, TO_SOURCE)
        self.stage = self._after_greeting
        return b""

    _after_greeting = Stage.HELLO

    def _next_frame(self) -> bytes | None:
        if self.stage in (Stage.OVER, Stage.RUNNING):
            return None
        before = self._opener.digest.digest()
        frame = self._opener.take(self._data)
        if frame is None:
            return None
        if frame.kind not in _EXPECTED[self.stage]:
            raise MigrationError(f"a frame {frame.kind.name} came while this host {_said(self.stage)}")
        return self._takes()[frame.kind](frame, before)

    def _takes(self) -> dict[Kind, Callable[[Frame, bytes], bytes]]:
        return {
            Kind.HELLO: self._hello, Kind.PAGES: self._pages, Kind.STATE: self._take_state, Kind.END: self._end,
            Kind.COMMIT: self._commit,
        }  # fmt: skip

    def _hello(self, frame: Frame, before: bytes) -> bytes:
        del before
        check_identity(self._identity, frame.content)
        self.stage = Stage.COPYING
        return self._sealer.seal(Kind.WELCOME)

    def _pages(self, frame: Frame, before: bytes) -> bytes:
        del before
        for number, content in _checked_pages(frame.content, len(self._memory) // PAGE):
            self._memory[number * PAGE : (number + 1) * PAGE] = content or bytes(PAGE)
        return b""

    def _take_state(self, frame: Frame, before: bytes) -> bytes:
        del before
        try:
            self._state = plain.decode(frame.content)
        except ValueError as error:
            raise MigrationError(f"the machine's state cannot be understood: {error}") from None
        self.stage = Stage.STATE
        return b""

    def _end(self, frame: Frame, before: bytes) -> bytes:
        if frame.content != hashlib.sha256(self._memory).digest() + before:
            raise MigrationError("what has arrived is not what was sent: memory or the stream has another hash")
        host_memory = HostMemory(memory_bytes(self._scenario, self._technique))
        self.machine = VirtualMachine(
            self._scenario.id, self._scenario, self._technique, self._setup, host_memory,
            lambda scenario, technique, setup: arrived(scenario, technique, setup, bytes(self._memory), self._state),
        )  # fmt: skip
        self._keep(self.machine)
        self.stage = Stage.READY
        return self._sealer.seal(Kind.READY)

    def _keep(self, machine: VirtualMachine) -> None:
        """Have it somewhere where a crash leaves it, before the source hears that it may let go."""

    def _commit(self, frame: Frame, before: bytes) -> bytes:
        """The source has let go. It says so only after it has written the record; nobody else can say it."""
        del frame, before
        self.stage = Stage.RUNNING
        return b""

    def _refuse(self, why: str) -> bytes:
        has_key = self.stage is not Stage.GREETING
        if self.stage is Stage.READY:
            self._settle(self._record.decide(Decision.STAYS) is Decision.MOVED, why)
            return b""
        self._settle(False, why)
        return self._sealer.seal(Kind.REFUSED, why.encode()) if has_key else b""

    def _settle(self, moved: bool, why: str) -> None:
        self.stage = Stage.RUNNING if moved else Stage.OVER
        if not moved:
            self.refusal = self.refusal or why
            self.machine = None


def encode_pages(pages: list[tuple[int, bytes]]) -> bytes:
    """Give the content of a frame of pages; one with nothing in it is told by its number alone."""
    parts = []
    for number, content in pages:
        is_zero = not any(content)
        parts.append(number.to_bytes(4, "little") + (b"\0" if is_zero else b"\1" + content))
    return b"".join(parts)


def _checked_pages(content: bytes, memory_pages: int) -> list[tuple[int, bytes]]:
    pages, at = [], 0
    while at < len(content):
        number, flag = int.from_bytes(content[at : at + 4], "little"), content[at + 4 : at + 5]
        size = PAGE if flag == b"\1" else 0
        if number >= memory_pages or flag not in (b"\0", b"\1") or at + 5 + size > len(content):
            raise MigrationError(f"page {number:,} of {memory_pages:,} cannot be understood")
        pages.append((number, content[at + 5 : at + 5 + size]))
        at += 5 + size
    return pages


def _said(stage: Stage) -> str:
    return stage.value
