"""What stands behind each page of a machine's RAM: its map from the memory it believes in to the host's frames.

A page gets its frame when it is first used. Later the frame may be shared with pages that hold the same bytes, be
swapped out, or be given up by the guest's balloon driver; the emulated CPU then asks here before it goes on, and the
guest cannot tell. Waldspurger calls this map `pmap`, and its two sides physical and machine pages.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from ringviz.facts.host_memory import number
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.vmm.host.allotment import Allotment
from ringviz.vmm.host.frames import Frame
from ringviz.vmm.host.working_set import WorkingSet

if TYPE_CHECKING:
    from ringviz.vmm.host.memory import HostMemory

_COPY, _SWAP, _ZERO = number("copy-cycles"), number("swap-cycles"), number("zero-cycles")


@dataclass(slots=True)
class PageCounts:
    """What has happened to a machine's pages so far."""

    shared: int = 0
    """Pages whose frame was replaced by that of another page with the same bytes."""
    copied: int = 0
    """Pages that were written while their frame was shared."""
    swapped_out: int = 0
    swapped_in: int = 0
    inflated: int = 0
    """Pages taken from the balloon driver."""
    deflated: int = 0
    """Pages given back to it."""
    touched_in_balloon: int = 0
    """Pages that the guest used while they were in the balloon."""
    scanned: int = 0
    """Pages hashed in looking for others with the same bytes."""
    cycles: int = 0
    """What all of it has cost."""


class PhysicalMap:
    """One machine's map; the keeper of its RAM."""

    def __init__(self, memory: HostMemory, name: str, size_bytes: int, vmm_bytes: int, allotment: Allotment) -> None:
        """Make a map in which no page has a frame.

        Args:
            memory: of the host.
            name: the machine's.
            size_bytes: of its RAM, with its VMM.
            vmm_bytes: the part of it, from 0 on, that is its VMM's and stays where it is.
            allotment: what the machine may have.
        """
        self._memory = memory
        self._frames = memory.frames
        self.name = name
        self.pages = size_bytes >> PAGE_SHIFT
        self.first_guest_page = vmm_bytes >> PAGE_SHIFT
        self.allotment = allotment
        self.window = memory.frames.window(size_bytes)
        self.frames: dict[int, Frame] = {}
        """By page."""
        self.slots: dict[int, int] = {}
        """Slot in the swap file, by page."""
        self.away: Set[int] = self.slots.keys()
        self.balloon: set[int] = set()
        self.counts = PageCounts()
        self.working_set = WorkingSet()
        self.has_driver = False
        """The guest has a balloon driver that looks at its target."""
        self.resident = 0
        """Pages of the guest with a frame."""
        self._withdraw: Callable[[], Callable[[Set[int], bool], None] | None] = lambda: None

    # ---- what the machine's memory asks ------------------------------------------------------------------------------

    def attach(self, withdraw: Callable[[Set[int], bool], None]) -> None:
        """Take the machine's way to make its CPU ask again; it is forgotten with the machine."""
        self._withdraw = weakref.WeakMethod(withdraw)

    def touch(self, page: int, *, is_write: bool) -> bool:
        """Have a frame behind a page; tell whether it may be written without asking again."""
        self.working_set.touched(page)
        frame = self.frames.get(page)
        if frame is None:
            frame = self._bring(page)
        if not frame.is_shared:
            return True
        if not is_write:
            return False
        self._make_private(page, frame)
        return True

    def content_of(self, page: int) -> bytes:
        """Give the bytes of a page, wherever they are."""
        if page in self.slots:
            return self._memory.swap.load(self.slots[page])
        frame = self.frames.get(page)
        return bytes(1 << PAGE_SHIFT) if frame is None else self._frames.content(frame)

    def discard(self, page: int) -> None:
        """Take what stands behind a page of which nobody wants the bytes."""
        self.withdraw({page})
        if page in self.frames:
            self._release(page)
        elif page in self.slots:
            self._memory.swap.free(self.slots.pop(page))

    # ---- the balloon -------------------------------------------------------------------------------------------------

    def inflate(self, page: int) -> None:
        """Take a page from the guest's balloon driver."""
        self.balloon.add(page)
        self.counts.inflated += 1
        self.discard(page)

    def deflate(self, page: int) -> None:
        """Give a page back to the guest's balloon driver; it gets a frame of zeros when it is used."""
        self.balloon.discard(page)
        self.counts.deflated += 1

    # ---- what the host does ------------------------------------------------------------------------------------------

    def withdraw(self, pages: Set[int], *, may_read: bool = False) -> None:
        """Make the CPU ask before it next uses these pages, or writes to them."""
        withdraw = self._withdraw()
        if withdraw is not None:
            withdraw(pages, may_read)

    def share(self, page: int, frame: Frame) -> None:
        """Let a page have the frame of another with the same bytes, and free its own."""
        self.withdraw({page})
        self._release(page)
        frame.uses[self, page] = None
        self.frames[page] = frame
        self.resident += page >= self.first_guest_page
        self.window.show(page, frame.number)
        self.counts.shared += 1

    def protect(self, page: int) -> None:
        """Let a page be only read: its frame is to be shared."""
        self.withdraw({page}, may_read=True)

    def swap_out(self, page: int) -> None:
        """Write a page to the swap file and free its frame; it is nobody else's."""
        self.withdraw({page})
        slot = self._memory.swap.store(self._frames.content(self.frames[page]))
        self._release(page)
        self.slots[page] = slot
        self.counts.swapped_out += 1
        self.charge(_SWAP)

    def give_up(self) -> None:
        """Free everything: the machine is gone."""
        for page in list(self.frames):
            self._release(page)
        for slot in self.slots.values():
            self._memory.swap.free(slot)
        self.slots.clear()
        self.balloon.clear()

    def charge(self, cycles: int) -> None:
        """Let the machine pay for something that was done with its pages."""
        self.counts.cycles += cycles

    def random_page(self, chance: random.Random) -> int | None:
        """Give a page of the guest's that has a frame of its own, each as likely as another; None if there is none."""
        for _ in range(32):
            page = chance.randrange(self.first_guest_page, self.pages)
            frame = self.frames.get(page)
            if frame is not None and len(frame.uses) == 1:
                return page
        own = [
            page
            for page, frame in sorted(self.frames.items())
            if page >= self.first_guest_page and len(frame.uses) == 1
        ]
        return chance.choice(own) if own else None

    # ---- numbers -----------------------------------------------------------------------------------------------------

    @property
    def guest_pages(self) -> int:
        """How many pages the guest believes to have."""
        return self.pages - self.first_guest_page

    @property
    def vmm_frames(self) -> int:
        """Frames that its VMM has."""
        return len(self.frames) - self.resident

    @property
    def shared_pages(self) -> int:
        """Pages of the guest whose frame stands behind several."""
        return sum(len(frame.uses) > 1 for frame in self.frames.values())

    @property
    def consumed(self) -> Fraction:
        """Frames of the host that the guest takes up; of one behind several pages each counts for its part."""
        return sum(
            (Fraction(1, len(frame.uses)) for page, frame in self.frames.items() if page >= self.first_guest_page),
            Fraction(0),
        )

    @property
    def wanted(self) -> int:
        """Pages that the guest would have, if nothing had been reclaimed by force."""
        return self.resident + len(self.slots)

    # ---- frames come and go ------------------------------------------------------------------------------------------

    def _bring(self, page: int) -> Frame:
        """Give a page a frame with its bytes in it."""
        is_guest = page >= self.first_guest_page
        frame = self._memory.take(self, page)
        slot = self.slots.pop(page, None)
        if slot is not None:
            self._frames.block.write(frame.number, self._memory.swap.load(slot))
            self._memory.swap.free(slot)
            self.counts.swapped_in += 1
            self.charge(_SWAP)
        elif page in self.balloon:
            self.counts.touched_in_balloon += 1
            self.charge(_ZERO)
        self.frames[page] = frame
        self.resident += is_guest
        self.window.show(page, frame.number)
        return frame

    def _make_private(self, page: int, frame: Frame) -> None:
        """Let a page have a frame of its own with the bytes of the shared one."""
        if len(frame.uses) == 1:
            self._memory.unshare(frame)
            self.window.show(page, frame.number)
            return
        data = self._frames.content(frame)
        copy = self._memory.take(self, page)
        self.window.clear(page)
        self._frames.drop_use(frame, (self, page))
        self._frames.block.write(copy.number, data)
        self.frames[page] = copy
        self.window.show(page, copy.number)
        self.counts.copied += 1
        self.charge(_COPY)

    def _release(self, page: int) -> None:
        frame = self.frames.pop(page)
        self.resident -= page >= self.first_guest_page
        self.window.clear(page)
        if len(frame.uses) == 1 and frame.is_shared:
            self._memory.unshare(frame)
        self._frames.drop_use(frame, (self, page))
