"""Exceptions and what happens when one strikes during the delivery of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal

from ringviz.facts.layout import BitField
from ringviz.facts.source import Source, by
from ringviz.facts.sources import SDM3A

_EXCEPTIONS = SDM3A.at("Exception and Interrupt Reference")
_ERROR_CODE = SDM3A.at("Error Code")
_PAGE_FAULT = SDM3A.at("Interrupt 14—Page-Fault Exception (#PF)")
_DOUBLE_FAULT = SDM3A.at("Interrupt 8—Double Fault Exception (#DF)")

Combination = Literal["serial", "double-fault", "shutdown"]


class Vector(IntEnum):
    """The vectors that code needs by name."""

    DE = 0
    DB = 1
    NMI = 2
    BP = 3
    OF = 4
    BR = 5
    UD = 6
    NM = 7
    DF = 8
    TS = 10
    NP = 11
    SS = 12
    GP = 13
    PF = 14
    MF = 16
    AC = 17
    MC = 18
    XM = 19
    VE = 20
    CP = 21


class ExceptionKind(Enum):
    """What the saved instruction pointer means; the value is a sentence for a learner."""

    FAULT = "fault: the saved EIP is the instruction itself, which can be tried again"
    TRAP = "trap: the saved EIP is the next instruction"
    FAULT_OR_TRAP = "fault or trap, depending on the cause"
    ABORT = "abort: there may be no place to go back to"
    INTERRUPT = "interrupt: not caused by an instruction"


class FaultClass(Enum):
    """Classes of the double-fault rule."""

    BENIGN = "benign"
    CONTRIBUTORY = "contributory"
    PAGE_FAULT = "page-fault"


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    """One vector of the architecture."""

    vector: int
    mnemonic: str
    """Intel's, with the sign #; an em dash where the manual has none."""
    name: str
    kind: ExceptionKind
    has_error_code: bool
    fault_class: FaultClass
    title: str
    source: Source = _EXCEPTIONS


_F, _T, _FT, _A, _I = (
    ExceptionKind.FAULT,
    ExceptionKind.TRAP,
    ExceptionKind.FAULT_OR_TRAP,
    ExceptionKind.ABORT,
    ExceptionKind.INTERRUPT,
)
_BENIGN, _CONTRIBUTORY, _PAGE = FaultClass.BENIGN, FaultClass.CONTRIBUTORY, FaultClass.PAGE_FAULT

EXCEPTIONS: Mapping[int, ExceptionRow] = by(
    "vector",
    ExceptionRow(0, "#DE", "Divide Error", _F, False, _CONTRIBUTORY, "Division by 0, or the quotient does not fit"),
    ExceptionRow(1, "#DB", "Debug Exception", _FT, False, _BENIGN, "Single step, or a breakpoint register matched"),
    ExceptionRow(2, "—", "NMI Interrupt", _I, False, _BENIGN, "Non-maskable external interrupt"),
    ExceptionRow(3, "#BP", "Breakpoint", _T, False, _BENIGN, "INT3 was executed"),
    ExceptionRow(4, "#OF", "Overflow", _T, False, _BENIGN, "INTO was executed with OF set"),
    ExceptionRow(5, "#BR", "BOUND Range Exceeded", _F, False, _BENIGN, "BOUND found an index out of range"),
    ExceptionRow(6, "#UD", "Invalid Opcode", _F, False, _BENIGN, "No such instruction here, or UD2"),
    ExceptionRow(7, "#NM", "Device Not Available", _F, False, _BENIGN, "FPU used while CR0.EM or CR0.TS is set"),
    # The manual's table of classes leaves #DF out: it is the outcome of the rule, and `combines` treats it by name.
    ExceptionRow(8, "#DF", "Double Fault", _A, True, _BENIGN, "A fault struck while another was delivered"),
    ExceptionRow(9, "—", "Coprocessor Segment Overrun", _F, False, _BENIGN, "Only the 80386 with its 80387 raised it"),
    ExceptionRow(10, "#TS", "Invalid TSS", _F, True, _CONTRIBUTORY, "The task-state segment is not fit for use"),
    ExceptionRow(11, "#NP", "Segment Not Present", _F, True, _CONTRIBUTORY, "A descriptor or gate has P clear"),
    ExceptionRow(12, "#SS", "Stack-Segment Fault", _F, True, _CONTRIBUTORY, "Stack access out of limits, or SS absent"),
    ExceptionRow(13, "#GP", "General Protection", _F, True, _CONTRIBUTORY, "Privilege or protection was violated"),
    ExceptionRow(14, "#PF", "Page Fault", _F, True, _PAGE, "No page there, or it does not allow this access"),
    ExceptionRow(15, "—", "Intel reserved", _F, False, _BENIGN, "Not used"),
    ExceptionRow(16, "#MF", "x87 FPU Floating-Point Error", _F, False, _BENIGN, "An earlier FPU instruction failed"),
    ExceptionRow(17, "#AC", "Alignment Check", _F, True, _BENIGN, "Unaligned access in ring 3, and AC is on"),
    ExceptionRow(18, "#MC", "Machine Check", _A, False, _BENIGN, "The hardware found itself faulty"),
    ExceptionRow(19, "#XM", "SIMD Floating-Point Exception", _F, False, _BENIGN, "An SSE instruction failed"),
    ExceptionRow(20, "#VE", "Virtualization Exception", _F, False, _PAGE, "An EPT violation turned into an exception"),
    ExceptionRow(21, "#CP", "Control Protection Exception", _F, True, _CONTRIBUTORY, "A return or jump went astray"),
)
"""Vectors 22 to 31 are reserved; 32 to 255 are free for interrupts and INT n."""


def exception_class(vector: int) -> FaultClass:
    """Give the double-fault class of a vector; interrupts from outside and from INT n are benign."""
    row = EXCEPTIONS.get(vector)
    return row.fault_class if row is not None else FaultClass.BENIGN


_COMBINATIONS: Mapping[tuple[FaultClass, FaultClass], Combination] = {
    (_BENIGN, _BENIGN): "serial",
    (_BENIGN, _CONTRIBUTORY): "serial",
    (_BENIGN, _PAGE): "serial",
    (_CONTRIBUTORY, _BENIGN): "serial",
    (_CONTRIBUTORY, _CONTRIBUTORY): "double-fault",
    (_CONTRIBUTORY, _PAGE): "serial",
    (_PAGE, _BENIGN): "serial",
    (_PAGE, _CONTRIBUTORY): "double-fault",
    (_PAGE, _PAGE): "double-fault",
}


def combines(first_vector: int, second_vector: int) -> Combination:
    """Tell what comes of a second event raised while the first is being delivered.

    "serial": the second is delivered on its own. "double-fault": #DF takes the place of both. "shutdown": the first
    was #DF itself, so the CPU gives up (triple fault).

    Source: Intel SDM Vol. 3A, "Interrupt 8—Double Fault Exception (#DF)".
    """
    second = exception_class(second_vector)
    if first_vector == Vector.DF:
        return "serial" if second is FaultClass.BENIGN else "shutdown"
    return _COMBINATIONS[exception_class(first_vector), second]


# ---- error codes -----------------------------------------------------------------------------------------------------


class PageFaultError(IntEnum):
    """Bits of the error code of #PF, by the short names that ringviz uses."""

    P = 1 << 0
    W = 1 << 1
    U = 1 << 2
    R = 1 << 3
    I = 1 << 4  # noqa: E741 - the manual's letter


PAGE_FAULT_ERROR_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("P", 0, 0, "0 no page was there, 1 the page forbade the access", _PAGE_FAULT),
    BitField("W/R", 1, 1, "0 a read, 1 a write", _PAGE_FAULT),
    BitField("U/S", 2, 2, "0 rings 0 to 2, 1 ring 3", _PAGE_FAULT),
    BitField("RSVD", 3, 3, "A reserved bit was set in a page-table entry", _PAGE_FAULT),
    BitField("I/D", 4, 4, "The access was an instruction fetch", _PAGE_FAULT),
)

SELECTOR_ERROR_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("EXT", 0, 0, "The fault struck while an event from outside the program was delivered", _ERROR_CODE),
    BitField("IDT", 1, 1, "The index is of a gate in the IDT", _ERROR_CODE),
    BitField("TI", 2, 2, "Without IDT: 0 the GDT, 1 the LDT", _ERROR_CODE),
    BitField("Segment Selector Index", 3, 15, "Entry number in that table", _ERROR_CODE),
)


def selector_error(selector: int, *, ext: bool = False) -> int:
    """Give the error code that names a segment selector; its RPL does not appear in it."""
    return selector & 0xFFFC | int(ext)


def gate_error(vector: int, *, ext: bool = False) -> int:
    """Give the error code that names an entry of the IDT."""
    return vector << 3 | 2 | int(ext)
