"""Reading what a hypervisor has written into a VMCB, and writing what #VMEXIT leaves there.

Source: AMD APM Vol. 2, "Layout of VMCB".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache

from ringviz.facts.svm import EXIT_INVALID, INTERCEPTS, SVM_EXITS, VINTR_FIELDS, VMCB_CONTROL
from ringviz.machine.linear import PhysicalSpace
from ringviz.machine.memory import PAGE
from ringviz.machine.svm.registers import GuestMode
from ringviz.machine.svm.report import SvmReport

_WORDS = struct.Struct("<5I")
_PAGE_MASK = ~(PAGE - 1) & (1 << 64) - 1
EXIT_CODES = {row.name: code for code, row in SVM_EXITS.items()}


def field(area: bytes, name: str) -> int:
    """Read a field of the control area."""
    row = VMCB_CONTROL[name]
    return int.from_bytes(area[row.offset : row.end], "little")


@lru_cache(maxsize=256)
def _named(words: tuple[int, ...]) -> frozenset[str]:
    """Name the intercepts that are set in the five words."""
    return frozenset(name for name, row in INTERCEPTS.items() if words[row.offset // 4] >> row.bit & 1)


def intercepts_in(area: bytes) -> frozenset[str]:
    """Name the intercepts that a control area asks for."""
    return _named(_WORDS.unpack_from(area))


def intercept_words(intercepts: Iterable[str]) -> bytes:
    """Give the five words that ask for these intercepts."""
    words = [0] * 5
    for name in intercepts:
        row = INTERCEPTS[name]
        words[row.offset // 4] |= 1 << row.bit
    return _WORDS.pack(*words)


def guest_mode(vmcb: int, area: bytes, *, host_if: bool) -> GuestMode:
    """Give what VMRUN takes from a control area into the CPU.

    Args:
        vmcb: where it lies.
        area: its bytes.
        host_if: IF of the host.
    """
    word = field(area, "VINTR_CONTROL")

    def virtual(name: str) -> int:
        return VINTR_FIELDS[name].get(word)

    return GuestMode(
        vmcb,
        intercepts_in(area),
        field(area, "IOPM_BASE_PA") & _PAGE_MASK,
        field(area, "MSRPM_BASE_PA") & _PAGE_MASK,
        field(area, "TSC_OFFSET"),
        field(area, "GUEST_ASID"),
        host_if,
        bool(virtual("V_INTR_MASKING")),
        bool(virtual("V_IRQ")),
        field(area, "V_INTR_VECTOR"),
        virtual("V_INTR_PRIO"),
        virtual("V_TPR"),
        bool(virtual("V_IGN_TPR")),
    )


def write_exit(space: PhysicalSpace, guest: GuestMode, report: SvmReport, *, interrupt_shadow: bool) -> None:
    """Leave in the control area why the guest has exited, and forget the event that was injected.

    Of V_IRQ and V_TPR the guest may have used up or changed what the hypervisor had put there.
    """

    def put(name: str, value: int) -> None:
        row = VMCB_CONTROL[name]
        space.write_physical(guest.vmcb + row.offset, value.to_bytes(row.size_bytes, "little"))

    row = VMCB_CONTROL["VINTR_CONTROL"]
    word = int.from_bytes(space.read_physical(guest.vmcb + row.offset, row.size_bytes), "little")
    word = VINTR_FIELDS["V_IRQ"].put(word, int(guest.v_irq))
    put("VINTR_CONTROL", VINTR_FIELDS["V_TPR"].put(word, guest.v_tpr))
    put("INTERRUPT_SHADOW", int(interrupt_shadow))
    put("EXITCODE", EXIT_INVALID if report.exit_name == "VMEXIT_INVALID" else EXIT_CODES[report.exit_name])
    put("EXITINFO1", report.info1)
    put("EXITINFO2", report.info2)
    put("EXITINTINFO", report.exit_int_info)
    put("EVENTINJ", 0)
