"""How a host shares its memory among machines: the states of reclamation, and the numbers they go by.

After Waldspurger 2002, and what ringviz chose itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.source import Source, by
from ringviz.facts.sources import WALDSPURGER02


@dataclass(frozen=True, slots=True)
class ReclaimState:
    """What a host does about its free memory."""

    id: str
    percent: int
    """Of the host's memory: with less of it free the host is in this state, but for the first, which it is in else."""
    text: str
    """What is done, in a sentence."""
    balloons: bool
    swaps: bool
    blocks: bool
    source: Source


_STATES = WALDSPURGER02.at("Dynamic Reallocation")

RECLAIM_STATES: Mapping[str, ReclaimState] = by(
    "id",
    ReclaimState("high", 6, "Enough is free: nothing is reclaimed.", False, False, False, _STATES),
    ReclaimState(
        "soft", 4, "Balloons are inflated; pages are swapped out only where a guest has no driver.",
        True, False, False, _STATES,
    ),
    ReclaimState("hard", 2, "Pages are swapped out, whatever the guests do.", True, True, False, _STATES),
    ReclaimState(
        "low", 1, "Pages are swapped out, and machines above their target do not run until it is over.",
        True, True, True, _STATES,
    ),
)  # fmt: skip
"""From much to little free memory."""


@dataclass(frozen=True, slots=True)
class PageState:
    """What has become of a page or a frame, as a page map shows it."""

    id: str
    glyph: str
    """One character, told apart without colour."""
    title: str
    source: Source


_SIGN = Source.ringviz("a sign for a cell of a page map, told apart without colour")

PAGE_STATES: Mapping[str, PageState] = by(
    "id",
    PageState("vmm", "V", "a VMM's own: tables, translated code", _SIGN),
    PageState("private", "#", "one machine's alone", _SIGN),
    PageState("shared", "=", "the same bytes for several pages, copied when one of them is written", _SIGN),
    PageState("ballooned", "o", "given up by its guest's balloon driver: no frame", _SIGN),
    PageState("swapped", "s", "its bytes are in the host's swap file: no frame", _SIGN),
    PageState("untouched", " ", "never used yet: no frame", _SIGN),
    PageState("free", ".", "nobody's", _SIGN),
)


@dataclass(frozen=True, slots=True)
class HostMemoryNumber:
    """One number that a host goes by in dividing its memory."""

    id: str
    value: int
    unit: str
    title: str
    source: Source


_SAMPLING = WALDSPURGER02.at("Measuring Idle Memory")
_SHARING = WALDSPURGER02.at("Content-Based Page Sharing")
_PAGE_WORK = "4,096 bytes at four a cycle, a word of a 32-bit CPU; no source has a figure for it"
_LIFE = "guests here live for some million cycles: thirty seconds would be a whole life, a period is one second"

HOST_MEMORY_NUMBERS: Mapping[str, HostMemoryNumber] = by(
    "id",
    HostMemoryNumber("idle-tax", 75, "%", "Part of its idle memory that a machine may lose to others",
                     WALDSPURGER02.at("Idle Memory Tax")),
    HostMemoryNumber("sample-pages", 100, "pages", "Pages of a machine that are watched in a sampling period",
                     _SAMPLING),
    HostMemoryNumber("sample-seconds", 30, "s", "Sampling period of the paper, in a machine's own time", _SAMPLING),
    HostMemoryNumber("sample-periods", 1, "periods", "Sampling period here, in accounting periods",
                     Source.ringviz(_LIFE)),
    HostMemoryNumber("slow-average", 25, "%", "Weight of the latest sample in the slow moving average",
                     Source.ringviz("the paper has a slow and a fast average and gives no weights")),
    HostMemoryNumber("fast-average", 75, "%", "Weight of the latest sample in the fast moving average",
                     Source.ringviz("the paper has a slow and a fast average and gives no weights")),
    HostMemoryNumber("hysteresis", 1, "%", "Free memory above a threshold that ends the state below it",
                     Source.ringviz("the paper: significantly above the threshold, and no figure")),
    HostMemoryNumber("hash-bits", 64, "bits", "Size of the hash by which pages of the same bytes are found",
                     _SHARING),
    HostMemoryNumber("bytes-per-frame", 16, "bytes", "Book-keeping of page sharing for each frame", _SHARING),
    HostMemoryNumber("scan-pages", 32, "pages", "Pages of a machine scanned for sharing in an accounting period",
                     Source.ringviz("hashing them takes some 3 % of the period; a small guest is through in seconds")),
    HostMemoryNumber("least-pages", 64, "pages", "Least memory that a machine may be left with",
                     Source.ringviz("an instruction may need some ten pages at once; fewer would make no progress")),
    HostMemoryNumber("vmm-pages", 64, "pages", "Set aside for a machine's VMM on a host that overcommits",
                     Source.ringviz("twice what the VMMs of the scenarios that come with ringviz were seen to use")),
    HostMemoryNumber("guest-mib", 256, "MiB", "Most memory that a guest can believe to have",
                     Source.ringviz("the limit of scenarios")),
    HostMemoryNumber("shares-per-page", 1, "shares", "Shares of a machine that says nothing, for each of its pages",
                     Source.ringviz("machines then count by their size")),
    HostMemoryNumber("hash-cycles", 1_024, "cycles", "Hashing a page", Source.ringviz(_PAGE_WORK)),
    HostMemoryNumber("compare-cycles", 1_024, "cycles", "Comparing two pages", Source.ringviz(_PAGE_WORK)),
    HostMemoryNumber("copy-cycles", 1_024, "cycles", "Copying a page that was shared and is written",
                     Source.ringviz(_PAGE_WORK)),
    HostMemoryNumber("zero-cycles", 1_024, "cycles", "Filling a frame with zeros for a page that was in the balloon",
                     Source.ringviz(_PAGE_WORK)),
    HostMemoryNumber("swap-cycles", 8_000, "cycles", "Writing a page to the swap file, or reading it back",
                     Source.ringviz("a seek and half a turn of a disk of the time, some 8 ms, at a million cycles "
                                    "a second")),
)  # fmt: skip


def number(name: str) -> int:
    """Give the value of a row."""
    return HOST_MEMORY_NUMBERS[name].value


DEFAULT_TAX_PERCENT = number("idle-tax")
MOST_GUEST_MIB = number("guest-mib")
LEAST_PAGES = number("least-pages")
