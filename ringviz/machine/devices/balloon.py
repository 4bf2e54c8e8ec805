"""The balloon at ports 5F0h to 5FFh: through it a VMM asks a guest for memory, and the guest's driver gives it.

Ours; VMware and others have such a channel of their own. Four registers of 32 bits each:

| port | read                                        | write                                       |
|------|---------------------------------------------|---------------------------------------------|
| 5F0h | 4E4C4142h, "BALN": a balloon is here        | -                                           |
| 5F4h | target: how many pages are to be in it      | -                                           |
| 5F8h | how many pages are in it                    | the number of a page: it goes in            |
| 5FCh | how the last write ended: 0 done, 1 refused | the number of a page: it comes out          |

The driver looks at the target now and then, takes pages from its own allocator, and hands their numbers over. What
they held is lost: a page in the balloon holds zeros, and so it does when it comes out. A guest that uses a page
in the balloon all the same finds zeros there too, and what it writes stays. Where the page was not the guest's, or is
in already (not in, to come out), or a VMM cannot spare it, the write is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ringviz.machine.bus import State

SIGNATURE = int.from_bytes(b"BALN", "little")
FIRST_PORT = 0x5F0
DONE, REFUSED = 0, 1
Order = tuple[int, int]
"""Device time, and how many pages are to be in the balloon from then on."""
_PAGE_SHIFT = 12
_MASK = 0xFFFF_FFFF
_TARGET, _COUNT, _RESULT = 4, 8, 12


class Balloon:
    """The VMM's end of the channel."""

    name = "balloon"
    ports = (range(FIRST_PORT, FIRST_PORT + 16),)
    access_bytes = 4

    def __init__(self, memory_bytes: int, orders: Sequence[Order] = ()) -> None:
        """Make an empty balloon.

        Args:
            memory_bytes: size of the guest's memory.
            orders: what is asked of the driver, and when, unless somebody asks otherwise.
        """
        self._memory_pages = memory_bytes >> _PAGE_SHIFT
        self._orders = tuple(orders)
        self._asked: int | None = None
        self.pages: frozenset[int] = frozenset()
        """Numbers of the guest's pages that are in it."""
        self._result = DONE
        self._give_up: Callable[[int], bool] = lambda _page: True
        self._give_back: Callable[[int], None] = lambda _page: None

    def connect(self, give_up: Callable[[int], bool], give_back: Callable[[int], None]) -> None:
        """Take what to do with a page that goes in, which may be refused, and with one that comes out."""
        self._give_up, self._give_back = give_up, give_back

    @property
    def asked(self) -> int | None:
        """What a host has asked for; None while it has not."""
        return self._asked

    def ask(self, pages: int) -> None:
        """Ask the driver to have so many pages in the balloon; from now on this counts, and no order of before."""
        self._asked = pages

    def target(self, now: int) -> int:
        """Say how many pages are to be in it."""
        if self._asked is not None:
            return self._asked
        return next((pages for at, pages in reversed(self._orders) if at <= now), 0)

    def read(self, offset: int, size: int, now: int) -> int:
        """Read a register, or a part of one."""
        values = {0: SIGNATURE, _TARGET: self.target(now), _COUNT: len(self.pages), _RESULT: self._result}
        return values[offset & ~3] >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Put a page in or take one out; only a whole register is understood."""
        if size != 4 or offset not in (_COUNT, _RESULT):
            return
        page, goes_in = value & _MASK, offset == _COUNT
        self._result = REFUSED
        if page >= self._memory_pages or goes_in == (page in self.pages):
            return
        if goes_in:
            if self._give_up(page):
                self.pages |= {page}
                self._result = DONE
            return
        self.pages -= {page}
        self._give_back(page)
        self._result = DONE

    def save(self) -> State:
        """Give what was asked, the pages, and how the last write ended."""
        return (self._asked, tuple(sorted(self.pages)), self._result)

    def restore(self, state: State) -> None:
        """Go back to that; the memory is restored by whoever has it."""
        self._asked, pages, self._result = state
        self.pages = frozenset(pages)
