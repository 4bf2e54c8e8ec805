"""Why the CPU stopped running the guest: the closed union that every technique answers.

A stop comes before its effect: nothing has been delivered, read or written yet, and EIP is still at the instruction
(for the trap-class #DB: after it). What bare hardware would do next is `Machine.complete`; a VMM may do otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.guest.instruction import Instruction


@dataclass(frozen=True, slots=True)
class Fault:
    """The CPU raised an exception that is not a software interrupt."""

    vector: int
    error_code: int | None
    linear: int | None
    """Faulting linear address of a #PF; else None."""
    instruction: Instruction | None
    """None where the instruction itself cannot be fetched or decoded."""
    is_trap: bool = False
    """The instruction has completed (single-step #DB); EIP points behind it."""


@dataclass(frozen=True, slots=True)
class SoftInterrupt:
    """INT n, INT3, INTO (with OF set) or INT1 is about to go through the interrupt descriptor table."""

    vector: int
    instruction: Instruction

    @property
    def is_privileged_gate_exempt(self) -> bool:
        """INT1 ignores the gate's DPL; the others must satisfy it."""
        return self.instruction.form == "int1"


@dataclass(frozen=True, slots=True)
class PortIo:
    """IN, OUT, INS or OUTS that the current ring may execute."""

    is_input: bool
    port: int
    size: int
    """Bytes per transfer: 1, 2 or 4."""
    instruction: Instruction


@dataclass(frozen=True, slots=True)
class SensitiveInsn:
    """An instruction the machine executes by microcode of ours, because the emulator does not have it right.

    `form` is its id in `ringviz.facts.instructions`: cpuid, hlt, rdtsc, rdmsr, wrmsr, rdpmc, sysenter, ...
    """

    form: str
    instruction: Instruction


@dataclass(frozen=True, slots=True)
class NestedFault:
    """Second-level paging refused a guest-physical access (#VMEXIT(NPF))."""

    gpa: int
    is_write: bool
    is_fetch: bool
    is_table_walk: bool
    """The access was the CPU's own, to a guest page-table entry."""
    is_present: bool
    """Some translation exists; its permissions refused."""
    instruction: Instruction | None


@dataclass(frozen=True, slots=True)
class Watched:
    """The CPU is about to execute an instruction of a form the VMM asked to see. Nothing has trapped."""

    form: str
    instruction: Instruction


@dataclass(frozen=True, slots=True)
class ProtectedAccess:
    """An access reached pages that a truncated segment limit keeps out of reach: hardware raises #GP(0)."""

    linear: int
    is_write: bool
    instruction: Instruction | None
    """None where it was the instruction itself that could not be fetched."""


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """The asked number of retired instructions is reached exactly."""


@dataclass(frozen=True, slots=True)
class Paused:
    """A long-running string instruction gave way, so that a caller may look at its cancel flag; nothing happened."""


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """The CPU is about to execute the instruction at one of `Machine.breakpoints`."""

    address: int


@dataclass(frozen=True, slots=True)
class ExternalInterrupt:
    """A device has raised its request line by itself: a VMM that owns the hardware hears of it at once."""

    instruction: Instruction | None
    """The one it came before; None where none can be fetched there, or where it is not known."""


@dataclass(frozen=True, slots=True)
class InterruptWindow:
    """INTR is asserted and the guest lets interrupts in: the CPU, or a VMM for it, is to take one before it goes on."""

    instruction: Instruction | None
    """The one it came before."""
    is_virtual: bool = False
    """It is one that a hypervisor in this machine has put into its guest's VMCB: no device knows of it."""


@dataclass(frozen=True, slots=True)
class Halted:
    """The CPU sleeps in HLT, and nothing can wake it any more."""


Stop = (
    Fault
    | SoftInterrupt
    | PortIo
    | SensitiveInsn
    | NestedFault
    | Watched
    | ProtectedAccess
    | BudgetSpent
    | Paused
    | Breakpoint
    | ExternalInterrupt
    | InterruptWindow
    | Halted
)


def has_completed(stop: Stop) -> bool:
    """Tell whether `Machine.step_over` has carried its instruction through: that is all, or a #DB trap follows it."""
    return isinstance(stop, BudgetSpent) or (isinstance(stop, Fault) and stop.is_trap)
