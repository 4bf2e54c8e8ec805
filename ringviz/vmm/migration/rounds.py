"""Pre-copy as numbers: what each round sent, and the rules by which the next one is the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ringviz.errors import InputError
from ringviz.facts.migration import STOP_RULES, number
from ringviz.machine.memory import PAGE

BYTES_PER_MBIT = 125_000
CYCLES_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """One round of pre-copy, or the last, for which the guest stands still."""

    number: int
    """From 1 on."""
    due_pages: int
    """Pages to be sent when it began."""
    sent_pages: int
    """Of these, with their content."""
    zero_pages: int
    """Of these, by their number alone: nothing is in them."""
    skipped_pages: int
    """Of these, left for later, because the guest had written to them again already."""
    sent_bytes: int
    """All that went over the link, frames and seals included."""
    cycles: int
    """How long it took, in cycles of the host."""
    dirtied_pages: int
    """Pages that the guest wrote to meanwhile: due in the next round."""
    logged: int
    """First writes to a page, each of which cost the guest a trap to the VMM."""
    mbit: int
    """Rate at which it was sent."""
    throttle_percent: int
    """CPU time that was kept from the guest."""
    is_last: bool = False
    """The guest stood still."""


@dataclass(frozen=True, slots=True)
class Link:
    """How fast bytes go over."""

    mbit: int

    def cycles_for(self, size_bytes: int, mbit: int | None = None) -> int:
        """Give the host cycles that so many bytes take, at a lower rate if one is given."""
        per_second = (mbit or self.mbit) * BYTES_PER_MBIT
        return -(-size_bytes * CYCLES_PER_SECOND // per_second)


class Rules(Protocol):
    """When pre-copy is over, and how fast each round goes."""

    @property
    def skips_hot_pages(self) -> bool:
        """A page that is found written to again before its turn has come is left for a later round."""

    def rate(self, rounds: Sequence[Round]) -> int:
        """Give the rate of the next round, in Mbit/s."""

    def why_stop(self, rounds: Sequence[Round], left_pages: int, memory_pages: int) -> str:
        """Say why the next round is to be the last; empty if it is not."""


class QemuRules:
    """QEMU's."""

    skips_hot_pages = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def rate(self, rounds: Sequence[Round]) -> int:
        """All that the link has."""
        del rounds
        return self._link.mbit

    def why_stop(self, rounds: Sequence[Round], left_pages: int, memory_pages: int) -> str:
        """Compare what is left with the downtime limit."""
        del rounds, memory_pages
        needs, limit = self._link.cycles_for(left_pages * PAGE), number("downtime-limit")
        if needs > limit:
            return ""
        return f"what is left takes {needs / 1000:,.1f} ms, no more than the downtime limit of {limit // 1000} ms"


class XenRules:
    """Those of Xen's tools, on a link that is always at its highest rate."""

    skips_hot_pages = True

    def __init__(self, link: Link) -> None:
        self._link = link

    def rate(self, rounds: Sequence[Round]) -> int:
        """All that the link has."""
        del rounds
        return self._link.mbit

    def why_stop(self, rounds: Sequence[Round], left_pages: int, memory_pages: int) -> str:
        """Ask the four questions."""
        del left_pages
        if not rounds:
            return ""
        last, most, few = rounds[-1], number("xen-factor") * memory_pages, number("xen-few-pages")
        sent = sum(_passed(each) for each in rounds)
        if len(rounds) >= number("xen-rounds"):
            return f"{len(rounds)} rounds are done"
        if sent > most:
            return f"{sent:,} pages are sent, more than {number('xen-factor')} times the memory"
        if _passed(last) + last.skipped_pages < few:
            return f"the round had fewer than {few} pages"
        if len(rounds) > 1 and _passed(last) > _passed(rounds[-2]):
            return f"the round has sent {_passed(last):,} pages, more than the one before with {_passed(rounds[-2]):,}"
        return ""


class ClarkRules:
    """Those of Clark et al.: the link's rate is the administrator's maximum, the others are in their proportion."""

    skips_hot_pages = True

    def __init__(self, link: Link) -> None:
        self._link = link
        self._least = max(1, link.mbit * number("clark-least") // number("clark-most"))
        self._step = max(1, link.mbit * number("clark-step") // number("clark-most"))

    def rate(self, rounds: Sequence[Round]) -> int:
        """Somewhat more than the rate at which pages were dirtied in the last round; the least for the first."""
        return min(self._link.mbit, self._wanted(rounds))

    def _wanted(self, rounds: Sequence[Round]) -> int:
        if not rounds:
            return self._least
        last = rounds[-1]
        dirtied = last.dirtied_pages * PAGE * CYCLES_PER_SECOND // max(1, last.cycles)
        return max(self._least, -(-dirtied // BYTES_PER_MBIT) + self._step)

    def why_stop(self, rounds: Sequence[Round], left_pages: int, memory_pages: int) -> str:
        """Compare that rate with the link's, and what is left with what is little."""
        del memory_pages
        if not rounds:
            return ""
        wanted, little = self._wanted(rounds), number("clark-little")
        if wanted > self._link.mbit:
            return f"the next round would need {wanted:,} Mbit/s, more than the {self._link.mbit:,} that it may have"
        if left_pages * PAGE < little:
            return f"{left_pages * PAGE:,} bytes are left, fewer than {little:,}"
        return ""


_RULES: Mapping[str, Callable[[Link], Rules]] = {"qemu": QemuRules, "xen": XenRules, "clark": ClarkRules}
DEFAULT_RULES = "qemu"


def make_rules(name: str, link: Link) -> Rules:
    """Give the rules of that name.

    Raises:
        InputError: there are none.
    """
    if name not in _RULES:
        raise InputError(f'rules "{name}" are unknown; choose one of {", ".join(STOP_RULES)}')
    return _RULES[name](link)


class AutoConverge:
    """QEMU's help for a guest that writes faster than the link carries: it is given less of the CPU."""

    def __init__(self) -> None:
        self.percent = 0
        """CPU time kept from the guest."""
        self._too_dirty = 0

    def look(self, last: Round) -> None:
        """Take a round into account."""
        if last.dirtied_pages * PAGE * 100 <= last.sent_bytes * number("throttle-trigger"):
            return
        self._too_dirty += 1
        if self._too_dirty < number("throttle-patience"):
            return
        self._too_dirty = 0
        more = number("throttle-increment") if self.percent else number("throttle-initial")
        self.percent = min(number("throttle-most"), self.percent + more)


def _passed(each: Round) -> int:
    return each.sent_pages + each.zero_pages
