"""Pages of the same bytes, found by a hash and kept once.

A page that is scanned is looked up by the hash of its bytes. Where a shared frame has the same hash, the two are
compared byte for byte, and only then the page gets that frame. Where another page once had it, that page was only
remembered as a hint and may have changed since: it is hashed again, and compared too. Where there is neither, the page
becomes a hint itself: it stays writable, and nothing is paid for pages that have no like.

Source: Waldspurger 2002, "Content-Based Page Sharing" and "Implementation".
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from ringviz.facts.host_memory import number
from ringviz.vmm.host.frames import Frame, Frames
from ringviz.vmm.host.physical_map import PhysicalMap

_HASH, _COMPARE = number("hash-cycles"), number("compare-cycles")
_HASH_BYTES = number("hash-bits") // 8


@dataclass(frozen=True, slots=True)
class Hint:
    """A page that had this hash when it was scanned."""

    owner: PhysicalMap
    page: int


class PageSharing:
    """The table of hashes."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._shared: dict[int, Frame] = {}
        self._hints: dict[int, Hint] = {}
        self._hint_of: dict[tuple[PhysicalMap, int], int] = {}
        self.rejected = 0
        """Pages that had the hash of another and other bytes."""

    @property
    def saved_frames(self) -> int:
        """Frames that would be in use as well, if nothing were shared."""
        return sum(len(frame.uses) - 1 for frame in self._shared.values())

    @property
    def hints(self) -> int:
        """Pages remembered by their hash."""
        return len(self._hints)

    def scan(self, owner: PhysicalMap, count: int, chance: random.Random) -> int:
        """Scan some pages of a machine, chosen at random, and give how many were shared."""
        pages = [page for page, frame in owner.frames.items() if page >= owner.first_guest_page and not frame.is_shared]
        pages.sort()
        return sum(self.scan_page(owner, page) for page in chance.sample(pages, min(count, len(pages))))

    def scan_page(self, owner: PhysicalMap, page: int) -> bool:
        """Look for a frame with the bytes of a page, and share it; tell whether there was one."""
        frame = owner.frames.get(page)
        if frame is None or frame.is_shared:
            return False
        data = self._frames.content(frame)
        digest = digest_of(data)
        owner.counts.scanned += 1
        owner.charge(_HASH)
        shared = self._shared.get(digest)
        if shared is not None:
            owner.charge(_COMPARE)
            if self._frames.content(shared) != data:
                self.rejected += 1
                return False
            self._forget_hint(owner, page)
            owner.share(page, shared)
            return True
        return self._follow_hint(owner, page, data, digest)

    def unshare(self, frame: Frame) -> None:
        """Let a frame that one page is left with be that page's own again."""
        if frame.digest is not None:
            self._shared.pop(frame.digest, None)
        frame.is_shared, frame.digest = False, None

    def forget(self, owner: PhysicalMap) -> None:
        """Forget the hints of a machine that is gone."""
        for use in [use for use in self._hint_of if use[0] is owner]:
            self._forget_hint(*use)

    def _follow_hint(self, owner: PhysicalMap, page: int, data: bytes, digest: int) -> bool:
        hint = self._hints.get(digest)
        if hint is not None and (hint.owner, hint.page) != (owner, page):
            other = hint.owner.frames.get(hint.page)
            self._forget_hint(hint.owner, hint.page)
            if other is not None and not other.is_shared:
                content = self._frames.content(other)
                owner.charge(_HASH)
                if digest_of(content) == digest:
                    owner.charge(_COMPARE)
                    if content == data:
                        self._make_shared(hint, other, digest)
                        self._forget_hint(owner, page)
                        owner.share(page, other)
                        return True
                    self.rejected += 1
        self._forget_hint(owner, page)
        self._hints[digest] = Hint(owner, page)
        self._hint_of[owner, page] = digest
        return False

    def _make_shared(self, hint: Hint, frame: Frame, digest: int) -> None:
        frame.is_shared, frame.digest = True, digest
        self._shared[digest] = frame
        hint.owner.protect(hint.page)

    def _forget_hint(self, owner: PhysicalMap, page: int) -> None:
        digest = self._hint_of.pop((owner, page), None)
        if digest is not None:
            self._hints.pop(digest, None)


def digest_of(data: bytes) -> int:
    """Give the hash of a page."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=_HASH_BYTES).digest(), "little")
