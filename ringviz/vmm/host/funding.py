"""Min-funding revocation: whose memory goes first, and what everybody may keep.

Whoever pays least for a page loses one. A machine pays with its shares for all its pages, and idle ones cost it more
than those it uses: that is the tax.

Source: Waldspurger 2002, "Share-Based Allocation" and "Reclaiming Idle Memory"; the formula in "Idle Memory Tax".
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Client:
    """A machine that wants memory."""

    shares: int
    pages: int
    """What it would have if there were enough."""
    min_pages: int
    active: Fraction
    """Part of its pages that it uses, 0 to 1."""


def shares_per_page(client: Client, pages: int, tax_percent: int) -> Fraction:
    """Give the price that a machine pays for each of so many pages: S / (P * (f + k * (1 - f))), k = 1 / (1 - tax).

    Args:
        client: the machine. The pages it uses are those of its estimate, however many are left to it.
        pages: how many it would have.
        tax_percent: idle-memory tax, below 100.
    """
    idle_price = Fraction(100, 100 - tax_percent)
    used = min(Fraction(pages), client.active * client.pages)
    return Fraction(client.shares) / (used + idle_price * (pages - used))


def entitlements(clients: Mapping[str, Client], pages: int, tax_percent: int) -> dict[str, int]:
    """Divide so many pages among machines: each keeps what it wants, until those that pay least have given enough.

    Nobody is left with less than its minimum, also if there is not enough for that.
    """
    granted = {name: max(client.pages, min(client.min_pages, client.pages)) for name, client in clients.items()}
    short = sum(granted.values()) - pages
    order = {name: at for at, name in enumerate(clients)}
    poorest = [
        (shares_per_page(client, granted[name], tax_percent), order[name], name)
        for name, client in clients.items()
        if granted[name] > client.min_pages
    ]
    heapq.heapify(poorest)
    while short > 0 and poorest:
        _, at, name = heapq.heappop(poorest)
        client = clients[name]
        step = min(short, granted[name] - client.min_pages, _step(granted[name]))
        granted[name] -= step
        short -= step
        if granted[name] > client.min_pages:
            heapq.heappush(poorest, (shares_per_page(client, granted[name], tax_percent), at, name))
    return granted


def _step(pages: int) -> int:
    """Pages taken at once: few enough that nobody falls far below the others' price."""
    return max(1, pages >> 7)
