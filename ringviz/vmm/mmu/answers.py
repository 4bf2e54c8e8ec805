"""What a VMM with shadow page tables makes of an access that the real CPU refused: a closed union."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Why(Enum):
    """Why the shadow was out of date; the value tells what was done, for a learner."""

    NEW = "no entry for this page yet: the VMM copied the guest's"
    FIRST_WRITE = "first write to this page: guest's dirty bit set, shadow entry made writable"
    OTHER_RIGHTS = "the guest's entry allows more than the shadow's: the VMM copied it anew"
    FROM_HOST = "the host had withdrawn the page, or shared its frame: it has one again, and the entry leads there"
    FOR_KERNEL = "CR0.WP is 0: the read-only page is the kernel's to write, and closed to ring 3 meanwhile"
    FOR_PROGRAM = "the page is ring 3's to read again, and closed to the kernel's writes meanwhile"


@dataclass(frozen=True, slots=True)
class Filled:
    """A hidden fault: the guest's tables allow the access, and the shadow does so now. Try again."""

    gpa: int
    why: Why


@dataclass(frozen=True, slots=True)
class Refused:
    """A true fault: the guest's own tables refuse. It is the guest's #PF."""

    error_code: int


@dataclass(frozen=True, slots=True)
class Traced:
    """The guest may write there, but the VMM wants to hear of it: carry the write out, then say what was written."""

    gpa: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The guest's tables allow the access, but no shadow entry can stay there: lend a page for one instruction."""

    gpa: int
    is_own: bool
    """It is the guest's memory, at a linear address that the VMM has taken for itself; else nothing answers there."""


Answer = Filled | Refused | Traced | Elsewhere
