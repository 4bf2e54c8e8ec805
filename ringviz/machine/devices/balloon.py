"""The balloon at ports 5F0h to 607h: through it a VMM asks a guest for memory, and the guest's driver gives it.

Ours; VMware and others have such a channel of their own. Six registers of 32 bits each:

| port | read                                        | write                                       |
|------|---------------------------------------------|---------------------------------------------|
| 5F0h | 4E4C4142h, "BALN": a balloon is here        | -                                           |
| 5F4h | target: how many pages are to be in it      | -                                           |
| 5F8h | how many pages are in it                    | the number of a page: it goes in            |
| 5FCh | how the last write ended: 0 done, 1 refused | the number of a page: it comes out          |
| 600h | 0                                           | the address of a list: its pages go in      |
| 604h | 0                                           | the address of a list: its pages come out   |

A list lies in the guest's memory: 32 bits with the number of pages, at most 1,023, and as many for each page's number.
A port access is dear, an exit under every VMM, and a list needs only one. Where a page is refused, those behind it in
the list stay as they are.

The driver looks at the target now and then, takes pages from its own allocator, and hands their numbers over. What
they held is lost: a page in the balloon holds zeros, and so it does when it comes out. A guest that uses a page
in the balloon all the same finds zeros there too, and what it writes stays. Where the page was not the guest's, or is
in already (not in, to come out), or a VMM cannot spare it, the write is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from ringviz.machine.bus import State

SIGNATURE = int.from_bytes(b"BALN", "little")
FIRST_PORT = 0x5F0
DONE, REFUSED = 0, 1
Order = tuple[int, int]
"""Device time, and how many pages are to be in the balloon from then on."""
_PAGE_SHIFT = 12
_MASK = 0xFFFF_FFFF
_TARGET, _COUNT, _RESULT, _LIST_IN, _LIST_OUT = 4, 8, 12, 16, 20
_REGISTERS = 24
_LONGEST_LIST = 1023


class Balloon:
    """The VMM's end of the channel."""

    name = "balloon"
    ports = (range(FIRST_PORT, FIRST_PORT + _REGISTERS),)
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
        self.has_driver = False
        """Somebody in the guest has looked at the target."""
        self._result = DONE
        self._give_up: Callable[[int], bool] = lambda _page: True
        self._give_back: Callable[[int], None] = lambda _page: None
        self._read_memory: Callable[[int, int], bytes] = lambda _address, size: bytes(size)

    def connect(
        self,
        give_up: Callable[[int], bool],
        give_back: Callable[[int], None],
        read_memory: Callable[[int, int], bytes],
    ) -> None:
        """Take what the balloon is attached to.

        Args:
            give_up: what to do with a page that goes in; tells whether that can be.
            give_back: what to do with one that comes out.
            read_memory: bytes of the guest's memory at an address.
        """
        self._give_up, self._give_back, self._read_memory = give_up, give_back, read_memory

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
        self.has_driver = self.has_driver or offset & ~3 == _TARGET
        values = {0: SIGNATURE, _TARGET: self.target(now), _COUNT: len(self.pages), _RESULT: self._result}
        return values.get(offset & ~3, 0) >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Put pages in or take some out; only a whole register is understood."""
        if size != 4 or offset not in (_COUNT, _RESULT, _LIST_IN, _LIST_OUT):
            return
        value &= _MASK
        pages = (value,) if offset in (_COUNT, _RESULT) else self._list_at(value)
        goes_in = offset in (_COUNT, _LIST_IN)
        is_done = pages is not None and all(self._put_in(page) if goes_in else self._take_out(page) for page in pages)
        self._result = DONE if is_done else REFUSED

    def _list_at(self, address: int) -> tuple[int, ...] | None:
        """Read a list of page numbers; None if it does not lie in memory, or is too long."""
        memory_bytes = self._memory_pages << _PAGE_SHIFT
        if address + 4 > memory_bytes:
            return None
        count = int.from_bytes(self._read_memory(address, 4), "little")
        if count > _LONGEST_LIST or address + 4 + 4 * count > memory_bytes:
            return None
        return struct.unpack(f"<{count}I", self._read_memory(address + 4, 4 * count))

    def _put_in(self, page: int) -> bool:
        if page >= self._memory_pages or page in self.pages or not self._give_up(page):
            return False
        self.pages |= {page}
        return True

    def _take_out(self, page: int) -> bool:
        if page not in self.pages:
            return False
        self.pages -= {page}
        self._give_back(page)
        return True

    def save(self) -> State:
        """Give what was asked, the pages, how the last write ended, and whether there is a driver."""
        return (self._asked, tuple(sorted(self.pages)), self._result, self.has_driver)

    def restore(self, state: State) -> None:
        """Go back to that; the memory is restored by whoever has it."""
        self._asked, pages, self._result, self.has_driver = state
        self.pages = frozenset(pages)
