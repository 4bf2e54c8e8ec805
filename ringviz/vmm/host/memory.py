"""The host's memory: frames, which machines' pages get when they are first used, and may lose again.

A machine's emulated CPU reaches the frames behind its own pages and nothing else: no address that a guest can form
leads out of there. What a machine leaves behind is wiped before somebody else gets it.

As long as all machines together have no more memory than the host, nothing else happens. Where a host overcommits,
only a minimum is set aside for each; then the host looks at its free frames after every turn, and at every machine
when an accounting period is over: pages of the same bytes are kept once, balloons are inflated, and at last pages are
swapped out. Chance decides which, from a fixed seed: the same host does the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from fractions import Fraction

from ringviz.errors import UnsupportedError
from ringviz.facts.host_memory import ReclaimState, number
from ringviz.machine.memory import PAGE, Loan
from ringviz.vmm.host.allotment import Allotment, MemoryRules
from ringviz.vmm.host.frames import Frame, Frames
from ringviz.vmm.host.funding import Client, entitlements
from ringviz.vmm.host.page_sharing import PageSharing
from ringviz.vmm.host.physical_map import PhysicalMap
from ringviz.vmm.host.reclaiming import HIGH, next_state, wanted_free
from ringviz.vmm.host.swap_file import SwapFile

_SEED = "ringviz: pages of a host"
_VMM_PAGES = number("vmm-pages")
_SCAN, _SAMPLE, _SAMPLE_PERIODS = number("scan-pages"), number("sample-pages"), number("sample-periods")


class HostMemory:
    """All of it, and who owns what."""

    def __init__(self, size_bytes: int, rules: MemoryRules | None = None) -> None:
        """Make a host's memory, whole pages, all zero."""
        self.size_bytes = size_bytes
        self.rules = MemoryRules() if rules is None else rules
        self.frames = Frames(size_bytes)
        self.swap = SwapFile()
        self.sharing = PageSharing(self.frames)
        self.state: ReclaimState = HIGH
        self.maps: dict[str, PhysicalMap] = {}
        """By machine."""
        self.targets: dict[str, int] = {}
        """Frames that each guest is to have, when memory is short."""
        self.on_news: Callable[[str, str, str], None] = lambda _name, _what, _text: None
        """Told of what was decided: machine, or empty for the host; a word; a text."""
        self._set_aside: dict[str, int] = {}
        self._chance = random.Random(_SEED)
        self._periods = 0

    # ---- machines come and go ----------------------------------------------------------------------------------------

    @property
    def free_bytes(self) -> int:
        """What is set aside for nobody."""
        return self.size_bytes - sum(self._set_aside.values())

    def reserve(self, owner: str, size_bytes: int, vmm_bytes: int = 0, allotment: Allotment | None = None) -> Allotment:
        """Set memory aside for a machine: all it believes to have, or on a host that overcommits its minimum.

        Args:
            owner: the machine.
            size_bytes: of its RAM, with its VMM.
            vmm_bytes: the part of it that is its VMM's: much of it is never used.
            allotment: what it may have.

        Raises:
            UnsupportedError: so much is not left; one line with what is needed and what there is.
        """
        allotment = Allotment() if allotment is None else allotment
        guest_pages = (size_bytes - vmm_bytes) // PAGE
        needed = size_bytes
        if self.rules.overcommits:
            needed = min(vmm_bytes, PAGE * _VMM_PAGES) + PAGE * allotment.min_pages(guest_pages, overcommits=True)
        if needed > self.free_bytes:
            least = " at the least" if self.rules.overcommits else ""
            raise UnsupportedError(
                f"needs {_mib(needed)} with its VMM{least}; of the host's {_mib(self.size_bytes)}, "
                f"{_mib(self.free_bytes)} are free"
            )
        self._set_aside[owner] = needed
        return allotment

    def lend(self, owner: str, size_bytes: int, vmm_bytes: int = 0, allotment: Allotment | None = None) -> Loan:
        """Give a machine its RAM: see `reserve`.

        Raises:
            UnsupportedError: so much is not left; one line.
        """
        allotment = self.reserve(owner, size_bytes, vmm_bytes, allotment)
        self.maps[owner] = made = PhysicalMap(self, owner, size_bytes, vmm_bytes, allotment)
        return Loan(made.window.buffer, made)

    def take_back(self, owner: str) -> None:
        """Wipe what a machine had, and have it free."""
        self._set_aside.pop(owner, None)
        self.targets.pop(owner, None)
        gone = self.maps.pop(owner, None)
        if gone is not None:
            self.sharing.forget(gone)
            gone.give_up()

    def owners_of(self, frame: int) -> tuple[str, ...]:
        """Say whose a frame is, by its number; nobody's if it is free."""
        used = self.frames.in_use.get(frame)
        return () if used is None else tuple(dict.fromkeys(owner.name for owner, _ in used.uses))

    def content_of(self, owner: str) -> bytes:
        """Give the bytes of all that a machine has."""
        pages = self.maps[owner]
        return b"".join(pages.content_of(page) for page in range(pages.pages))

    # ---- frames for pages --------------------------------------------------------------------------------------------

    def take(self, owner: PhysicalMap, page: int) -> Frame:
        """Give a frame of zeros to a page; if none is free, somebody else's page is swapped out.

        Raises:
            UnsupportedError: all that is left must stay where it is.
        """
        if not self.frames.free:
            self._reclaim(1, self._clients())
            if not self.frames.free:
                raise UnsupportedError(
                    f"{owner.name}: the host's {_mib(self.size_bytes)} are full, and nothing can be swapped out"
                )
        return self.frames.take(owner, page)

    def unshare(self, frame: Frame) -> None:
        """Let a shared frame that is left to one page be that page's own."""
        self.sharing.unshare(frame)

    # ---- looking after it --------------------------------------------------------------------------------------------

    @property
    def is_tended(self) -> bool:
        """Anything can happen to pages at all."""
        return (
            self.rules.overcommits
            or self.rules.shares_pages
            or any(pages.allotment.max_mib is not None or pages.balloon for pages in self.maps.values())
        )

    def take_stock(self) -> None:
        """Look at what is free when machines have come back to where they stood, before the first of them runs on.

        What is kept of a machine is where it stands, what it may have, and how much was in its balloon: a guest knows
        of these. Which frame is behind a page, whether others have the same, and what lies in the swap file no guest
        can tell; that begins anew, and so do the estimates of what machines use.
        """
        if self.rules.overcommits:
            self._find_state()
            self._rebalance()

    def after_turn(self) -> None:
        """Look at what is free, and reclaim if that has become too little."""
        if not self.rules.overcommits:
            return
        before = self.state
        self._find_state()
        if self.state is not before or self.state.swaps:
            self._rebalance()

    def after_period(self) -> None:
        """Look at every machine: how much of its memory it uses, what can be shared, and what it is to have."""
        if not self.is_tended:
            return
        self._periods += 1
        if self.rules.overcommits and not self._periods % _SAMPLE_PERIODS:
            for pages in self.maps.values():
                self._sample(pages)
        if self.rules.shares_pages:
            for name, pages in self.maps.items():
                count = self.sharing.scan(pages, _SCAN, self._chance)
                if count:
                    self.on_news(name, "merge", f"{count} pages have the frames of others with the same bytes")
        self._find_state()
        self._rebalance()

    def set_allotment(self, owner: str, allotment: Allotment) -> None:
        """Change what a machine may have; its balloon hears of it at once.

        Raises:
            UnsupportedError: its new minimum is not left.
        """
        pages = self.maps[owner]
        was = self._set_aside.pop(owner)
        try:
            self.reserve(owner, pages.pages * PAGE, pages.first_guest_page * PAGE, allotment)
        except UnsupportedError:
            self._set_aside[owner] = was
            raise
        pages.allotment = allotment
        self._rebalance()

    def must_wait(self, owner: str) -> bool:
        """Tell whether a machine may not run, because memory is almost gone and it has more than it is to have."""
        return self.state.blocks and self.maps[owner].resident > self.targets.get(owner, self.maps[owner].pages)

    def balloon_target(self, owner: str) -> int:
        """Say how many pages are to be in a guest's balloon."""
        pages = self.maps[owner]
        beyond = pages.guest_pages - pages.allotment.max_pages(pages.guest_pages)
        if not self.rules.overcommits or owner not in self.targets:
            return beyond
        # What is over the target goes into the balloon, also if that takes unused pages first: the next look sees.
        over = pages.resident - self.targets[owner]
        change = max(over, 0) if self.state.balloons else min(over, 0)
        keeps = pages.allotment.min_pages(pages.guest_pages, overcommits=True)
        return max(beyond, min(len(pages.balloon) + change, pages.guest_pages - keeps), 0)

    # ---- policy ------------------------------------------------------------------------------------------------------

    def _find_state(self) -> None:
        found = next_state(self.state, self.frames.free, self.frames.total)
        if found is not self.state:
            self.state = found
            self.on_news("", "memory", f"{found.id}: {self.frames.free:,} of {self.frames.total:,} frames are free")

    def _clients(self) -> dict[str, Client]:
        clients = {}
        for name, pages in self.maps.items():
            allotment, size = pages.allotment, pages.guest_pages
            most = allotment.max_pages(size)
            least = min(most, allotment.min_pages(size, overcommits=self.rules.overcommits))
            wanted = min(most, pages.wanted + len(pages.balloon))
            clients[name] = Client(allotment.share_count(size), wanted, least, pages.working_set.active)
        return clients

    def _rebalance(self) -> None:
        """Compute what every guest is to have, tell the balloons, and swap out if it comes to that."""
        clients = self._clients()
        if self.rules.overcommits:
            overhead = sum(pages.vmm_frames for pages in self.maps.values())
            room = self.frames.total - overhead - wanted_free(self.frames.total) + self.sharing.saved_frames
            self.targets = entitlements(clients, max(0, room), self.rules.tax_percent)
        short = wanted_free(self.frames.total) - self.frames.free
        if short <= 0 or not self.state.balloons:
            return
        if self.state.swaps:
            self._reclaim(short, clients)
            self._find_state()
        else:
            self._reclaim(short, {name: each for name, each in clients.items() if not self.maps[name].has_driver})

    def _reclaim(self, count: int, clients: Mapping[str, Client]) -> None:
        """Swap out pages until so many frames more are free, or nobody is left that can lose any.

        Those above their target come first, the furthest first; then whoever is above its minimum.
        """
        goal = self.frames.free + count
        before = {name: pages.counts.swapped_out for name, pages in self.maps.items()}
        spent: set[str] = set()
        while self.frames.free < goal:
            victims = [
                (pages.resident - self.targets.get(name, 0), -at, pages)
                for at, (name, pages) in enumerate(self.maps.items())
                if name in clients and name not in spent and pages.resident > clients[name].min_pages
            ]
            if not victims:
                break
            over, _, pages = max(victims, key=lambda victim: victim[:2])
            # In the soft state only what is above a target goes; the rest waits for the balloons of others.
            if over <= 0 and self.frames.free and not self.state.swaps:
                break
            for _ in range(max(1, min(goal - self.frames.free, over, pages.resident - clients[pages.name].min_pages))):
                page = pages.random_page(self._chance)
                if page is None:
                    spent.add(pages.name)
                    break
                if not (self.rules.shares_pages and self.sharing.scan_page(pages, page)):
                    pages.swap_out(page)
        for name, pages in self.maps.items():
            if pages.counts.swapped_out > before.get(name, 0):
                self.on_news(name, "swap", f"{pages.counts.swapped_out - before[name]} pages to the swap file")

    def _sample(self, pages: PhysicalMap) -> None:
        pages.working_set.end()
        known = sorted(page for page in pages.frames if page >= pages.first_guest_page)
        known += sorted(pages.slots)
        chosen = pages.working_set.begin(self._chance.sample(known, min(_SAMPLE, len(known))))
        pages.withdraw(chosen)

    @property
    def consumed(self) -> Fraction:
        """Frames that guests take up."""
        return sum((pages.consumed for pages in self.maps.values()), Fraction(0))


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.4g} MiB"
