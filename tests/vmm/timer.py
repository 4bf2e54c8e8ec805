"""A timer that ticks by device time, and the guest that lives by it: interrupts in every state a guest can be in."""

from __future__ import annotations

from collections.abc import Callable

from ringviz.machine.bus import State


class Ticker:
    """Raises IRQ 0 for a moment every so many units of device time, from the first write of a period on."""

    name = "ticker"
    ports = (range(0x40, 0x44),)
    access_bytes = 4
    irq = 0

    def __init__(self) -> None:
        self._period = self._next = 0
        self._drive: Callable[[bool], None] = lambda _: None

    def connect(self, drive: Callable[[bool], None]) -> None:
        """Take the wire."""
        self._drive = drive

    def next_event(self, now: int) -> int | None:
        """The next tick."""
        return self._next if self._period else None

    def advance(self, now: int) -> None:
        """Tick."""
        while self._period and self._next <= now:
            self._next += self._period
            self._drive(False)
            self._drive(True)

    def read(self, offset: int, size: int, now: int) -> int:
        """Time to the next tick."""
        return self._next - now

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Set the period; 0 stops the ticker."""
        self._period, self._next = value, now + value

    def save(self) -> State:
        """Period and next tick."""
        return self._period, self._next

    def restore(self, state: State) -> None:
        """Take them back."""
        self._period, self._next = state
