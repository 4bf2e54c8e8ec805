"""What the hypervisor knows of its guest: all that hypercalls have registered, as one value that can be saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ringviz.facts.hypercalls import FLAT_RING1_DS
from ringviz.vmm.paravirt.frames import FrameUse


class Handler(NamedTuple):
    """One entry of the trap table: where an exception or interrupt goes."""

    selector: int
    offset: int
    dpl: int
    """The outermost ring that may raise it by instruction."""
    masks_events: bool
    """Entering sets the event mask, as an interrupt gate clears IF."""


class Callback(NamedTuple):
    """Where the guest wants to be called."""

    selector: int
    offset: int


_NOWHERE = Callback(0, 0)


class Channel(NamedTuple):
    """One event channel that is in use."""

    kind: str
    """`unbound`, `interdomain`, `virq` or `ipi`."""
    peer: int = 0
    """The channel at the other end, or the number of the virtual interrupt."""


@dataclass(slots=True)
class Domain:
    """The guest, as the hypervisor keeps it in mind. Values are replaced, never changed."""

    traps: dict[int, Handler] = field(default_factory=dict)
    event: Callback = _NOWHERE
    failsafe: Callback = _NOWHERE
    kernel_ss: int = FLAT_RING1_DS
    kernel_esp: int = 0
    gdt_pages: tuple[int, ...] = ()
    """The guest's pages that are its GDT, in order."""
    gdt_entries: int = 0
    ldt_base: int = 0
    """Linear address of the LDT."""
    ldt_entries: int = 0
    ldt_pages: tuple[int | None, ...] = ()
    """The guest's pages that are its LDT, in order; None where nothing fit for one is mapped now."""
    is_ldt_stale: bool = False
    """The LDT's pages are to be looked up anew."""
    use: FrameUse = field(default_factory=FrameUse)
    """What its frames are in use as."""
    base_page: int | None = None
    """The page that is the page directory the CPU uses."""
    channels: dict[int, Channel] = field(default_factory=dict)
    """By port; port 0 is never used."""
    has_clock: bool = False
    """The hypervisor's clock ticks: the guest has asked for the time."""
    wake_at_ns: int | None = None
    """System time at which the guest wants a timer event."""
    is_blocked: bool = False
    """The guest waits for an event, and does not run until one comes."""
    assists: frozenset[int] = frozenset()
    """Types of help switched on."""
    calls: dict[int, int] = field(default_factory=dict)
    """How often a hypercall was made at each address."""
    tables_version: int = 0
    """Counts changes of descriptors; the CPU reloads its segments after each."""
    loaded_version: int = 0

    def copy(self) -> Domain:
        """Give an independent copy."""
        return Domain(
            self.traps.copy(), self.event, self.failsafe, self.kernel_ss, self.kernel_esp, self.gdt_pages,
            self.gdt_entries, self.ldt_base, self.ldt_entries, self.ldt_pages, self.is_ldt_stale, self.use.copy(),
            self.base_page, self.channels.copy(), self.has_clock, self.wake_at_ns, self.is_blocked,
            self.assists, self.calls.copy(), self.tables_version, self.loaded_version,
        )  # fmt: skip


class DomainCrash(Exception):  # noqa: N818 - the end of a guest, not an error of ours
    """The guest has left itself no way on: Xen ends it."""
