"""What happened during a run, as records: everything above this layer is told by them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What sort of thing an event is; each kind has one glyph and one colour everywhere."""

    GUEST = "guest"
    """Work of the guest itself; no event is of this kind, but ledgers have it."""
    TRAP = "trap"
    """A privileged instruction that trapped to the VMM and was emulated."""
    REFLECT = "reflect"
    """A guest exception or software interrupt that the VMM handed back to the guest's own handler."""
    SILENT = "silent"
    """A sensitive instruction that did not trap and told or did the wrong thing."""
    EXIT = "exit"
    """A #VMEXIT (hardware assistance) and the re-entry."""
    TRANSLATE = "translate"
    """A fragment of guest code was translated into the code cache."""
    CALLOUT = "callout"
    """Translated code called the VMM."""
    HYPERCALL = "hypercall"
    """The guest's kernel, which knows where it is, asked the VMM for something."""
    GATE = "gate"
    """The guest's own crossing between its rings, through its own gate, without a VMM."""
    FAULT = "fault"
    """A guest exception delivered by the CPU to the guest's own handler, without a VMM."""
    INTERRUPT = "interrupt"
    """A device's interrupt, delivered by the CPU to the guest's own handler, without a VMM."""
    IO = "io"
    """Port I/O that reached a device without a VMM, or a HLT in which the CPU waits for one."""
    VIOLATION = "violation"
    """An attempt of the guest on what is not its own; contained."""
    END = "end"
    """The run's end: halt, exit port, triple fault."""


@dataclass(frozen=True, slots=True)
class Change:
    """One register or flag that an event changed."""

    name: str
    is_real: bool
    """A change of the real CPU; else of the virtual one."""
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened between two guest instructions, or in place of one."""

    at: int
    """Guest instructions retired before it."""
    address: int
    """EIP of the instruction concerned."""
    instruction: str
    form: str | None
    kind: Kind
    cause: str
    """What stopped the CPU, in the manuals' words: `#GP(0)`, `INT 80h`, `VMEXIT_IOIO`; `no trap` for silent ones."""
    rule: str
    """Why it stopped, or did not: `CPL 1 > IOPL 0`."""
    handler: str
    """Who answered: `VMM in ring 0`, `guest kernel`, `device`, `nobody`."""
    action: str
    """What was done, in a few words."""
    charges: tuple[str, ...] = ()
    """Cost causes, ids of `ringviz.facts.costs`, charged to the VMM's account."""
    native_charges: tuple[str, ...] = ()
    """Cost causes that bare metal pays for the same thing."""
    changes: tuple[Change, ...] = ()
    from_ring: int = 0
    """Real ring before."""
    to_ring: int = 0
    """Real ring after."""
    via_ring: int | None = None
    """The VMM's ring, if it took part."""
    resume: int = 0
    """EIP afterwards."""
    got: str = ""
    """Silent events: what the guest got."""
    native_would: str = ""
    """Silent events: what a CPU of the guest's own would have given, from the state the guest is in by now."""
    detail: tuple[tuple[str, str], ...] = ()
    """Fields of the hardware's report: EXITCODE, EXITINFO1, error code bits."""
    is_attempt: bool = False
    """The guest reached for something that is not its own."""
    is_between: bool = False
    """An interrupt between two instructions: `instruction` is the one that would have been next, and did nothing."""
    escaped: bool = False
    """An attempt that nobody stopped: the guest got at the machine itself."""

    @property
    def is_divergence(self) -> bool:
        """A silent event after which the guest knows something other than on bare metal."""
        return self.kind is Kind.SILENT and self.got != self.native_would
