"""A guest that moves away from a host which has other machines too: it has its share of the CPU, and no more."""

from __future__ import annotations

from dataclasses import replace

from ringviz.errors import MigrationError
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.vmm.host.host import Host
from ringviz.vmm.host.shares import FULL_PERCENT, Share
from ringviz.vmm.migration.machine_state import MOST_STEPS, is_movable
from ringviz.vmm.migration.running import price_of_a_trap


class HostedGuest:
    """A machine of a host, as a migration sees it; see `Guest`."""

    def __init__(self, host: Host, name: str) -> None:
        self.machine = host.machine(name)
        self.is_at_rest = False
        """It runs no more, but for others its host goes on."""
        technique = self.machine.technique
        self._host, self._name = host, name
        self._first_page = technique.guest_base >> PAGE_SHIFT
        self._pages = technique.guest_bytes >> PAGE_SHIFT
        self._share = host.share_of(name)
        self._throttle_percent = 0

    @property
    def clock(self) -> int:
        """Cycles of the host."""
        return self._host.clock

    @property
    def logged(self) -> int:
        """First writes to a page, over all rounds."""
        return self.machine.write_traps

    @property
    def throttle_percent(self) -> int:
        """CPU time that is kept from it: of what its share gives it, by a cap."""
        return self._throttle_percent

    @throttle_percent.setter
    def throttle_percent(self, percent: int) -> None:
        if percent != self._throttle_percent:
            self._throttle_percent = percent
            self._give_share()

    @property
    def has_ended(self) -> bool:
        """Its run is over."""
        return self.machine.end is not None

    @property
    def memory_pages(self) -> int:
        """How many pages its memory has."""
        return self._pages

    def set_share(self, share: Share) -> None:
        """Let it have another share; what is kept from it is kept of that."""
        self._share = share
        self._give_share()

    def page(self, number: int) -> bytes:
        """Give a page of the guest's memory."""
        return self.machine.technique.machine.ram.page(self._first_page + number)

    def begin_log(self) -> None:
        """Forget what was written, and note it from now on."""
        self.machine.take_written_pages()
        self.machine.write_trap_cycles = price_of_a_trap(self.machine.technique)

    def end_log(self) -> None:
        """Let it write again without a price, and run again if it was at rest."""
        self.machine.write_trap_cycles = None
        if self.is_at_rest:
            self.is_at_rest = False
            (self._host.switch_off if self.has_ended else self._host.resume)(self._name)

    def take_dirty(self) -> list[int]:
        """Give the guest's pages written to since the last call, in order; they are write-protected again."""
        written = self.machine.take_written_pages()
        return sorted(page - self._first_page for page in written if 0 <= page - self._first_page < self._pages)

    def is_dirty(self, page: int) -> bool:
        """Tell whether a page has been written to since `take_dirty`."""
        return page + self._first_page in self.machine.technique.machine.ram.dirty

    def pass_time(self, cycles: int) -> None:
        """Let the host's clock go on, and the guest with it if it is not at rest."""
        self._host.run(cycles)

    def come_to_rest(self) -> None:
        """Go on to where its state can be told, a few instructions at most, and run no more.

        Raises:
            MigrationError: it does not come by such a place.
        """
        self._host.pause(self._name)
        self.is_at_rest = True
        for _ in range(MOST_STEPS):
            if self.has_ended or is_movable(self.machine.technique):
                return
            self._host.run_paused(self._name, 1)
        raise MigrationError(f"the guest does not come to rest within {MOST_STEPS:,} instructions")

    def _give_share(self) -> None:
        share = self._share
        if self._throttle_percent:
            most = share.cap_percent or FULL_PERCENT
            share = replace(share, cap_percent=max(1, most * (FULL_PERCENT - self._throttle_percent) // FULL_PERCENT))
        self._host.set_share(self._name, share)
