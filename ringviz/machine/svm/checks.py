"""What VMRUN finds wrong in a VMCB: each rule by itself, and in the manual's order.

Source: AMD APM Vol. 2, "Canonicalization and Consistency Checks"; "Event Injection".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import CR4_RESERVED, Cr0, Efer
from ringviz.facts.source import Source, by
from ringviz.facts.sources import APM2
from ringviz.facts.svm import EVENTINJ_FIELDS, VMCB_SAVE, EventType
from ringviz.machine.svm.control_area import field, intercepts_in

_CHECKS = APM2.at("Canonicalization and Consistency Checks")
_EVENTS = APM2.at("Event Injection")
_NO_NESTED_PAGING = Source.ringviz(
    "this CPU's CPUID does not offer nested paging; a VMCB that asks for it is refused, as KVM refuses its guests"
)
PHYSICAL_BITS = 36
"""Of the 32-bit CPU, as CPUID leaf 8000_0008h has it."""
IO_MAP_BYTES, MSR_MAP_BYTES = 0x3000, 0x2000
_EFER_BITS = Efer.NXE | Efer.SVME
_LAST_EXCEPTION = 31
_UPPER_HALF = 0xFFFF_FFFF << 32


@dataclass(frozen=True, slots=True)
class Check:
    """One combination that is illegal."""

    id: str
    title: str
    fails: Callable[[bytes], bool]
    """Takes the VMCB."""
    source: Source = _CHECKS


def _saved(name: str) -> Callable[[bytes], int]:
    row = VMCB_SAVE[name]
    return lambda vmcb: int.from_bytes(vmcb[row.offset : row.end], "little")


_cr0, _cr3, _cr4 = _saved("CR0"), _saved("CR3"), _saved("CR4")
_efer, _dr6, _dr7 = _saved("EFER"), _saved("DR6"), _saved("DR7")


def _reaches_beyond(name: str, size_bytes: int) -> Callable[[bytes], bool]:
    return lambda vmcb: (field(vmcb, name) & ~0xFFF) + size_bytes > 1 << PHYSICAL_BITS


def _injects_what_cannot_be(vmcb: bytes) -> bool:
    """A type that is reserved, or an exception whose vector is none."""
    word = field(vmcb, "EVENTINJ")
    if not EVENTINJ_FIELDS["V"].get(word):
        return False
    kind, vector = EVENTINJ_FIELDS["TYPE"].get(word), EVENTINJ_FIELDS["VECTOR"].get(word)
    if kind not in tuple(EventType):
        return True
    return kind == EventType.EXCEPTION and (vector == Vector.NMI or vector > _LAST_EXCEPTION)


CHECKS = by(
    "id",
    Check("svme", "EFER.SVME is 0", lambda vmcb: not _efer(vmcb) & Efer.SVME),
    Check("cr0-nw", "CR0.CD is 0 and CR0.NW is 1", lambda vmcb: _cr0(vmcb) & (Cr0.CD | Cr0.NW) == Cr0.NW),
    Check("cr0-high", "bits 63:32 of CR0 are not all 0", lambda vmcb: bool(_cr0(vmcb) & _UPPER_HALF)),
    Check("cr3", "a reserved bit of CR3 is 1", lambda vmcb: bool(_cr3(vmcb) & _UPPER_HALF)),
    Check("cr4", "a reserved bit of CR4 is 1", lambda vmcb: bool(_cr4(vmcb) & (CR4_RESERVED | _UPPER_HALF))),
    Check("dr6", "bits 63:32 of DR6 are not all 0", lambda vmcb: bool(_dr6(vmcb) & _UPPER_HALF)),
    Check("dr7", "bits 63:32 of DR7 are not all 0", lambda vmcb: bool(_dr7(vmcb) & _UPPER_HALF)),
    Check(
        "efer",
        "a reserved bit of EFER is 1, or LME or LMA on a CPU without long mode",
        lambda vmcb: bool(_efer(vmcb) & ~_EFER_BITS),
    ),
    Check("vmrun", "VMRUN itself is not intercepted", lambda vmcb: "VMRUN" not in intercepts_in(vmcb)),
    Check(
        "io-map", "the I/O permission map reaches beyond physical memory", _reaches_beyond("IOPM_BASE_PA", IO_MAP_BYTES)
    ),
    Check(
        "msr-map", "the MSR permission map reaches beyond physical memory",
        _reaches_beyond("MSRPM_BASE_PA", MSR_MAP_BYTES),
    ),
    Check("event", "EVENTINJ asks for an event that there is not", _injects_what_cannot_be, _EVENTS),
    Check("asid", "the ASID is 0, the host's", lambda vmcb: not field(vmcb, "GUEST_ASID")),
    Check("np", "nested paging is on", lambda vmcb: bool(field(vmcb, "NP_CONTROL") & 1), _NO_NESTED_PAGING),
)  # fmt: skip


def refusal(vmcb: bytes) -> Check | None:
    """Give the first rule that a VMCB breaks; None if VMRUN takes it.

    Args:
        vmcb: the control area and the state save area.
    """
    return next((row for row in CHECKS.values() if row.fails(vmcb)), None)
