"""Which stops of the CPU leave guest mode: the question put to the intercepts of one VMCB.

Source: AMD APM Vol. 2, "Intercept Operation"; "Interrupt and Exception Intercepts".
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.exceptions import Vector
from ringviz.facts.svm import EVENTINJ_FIELDS, EventType
from ringviz.machine.delivery import Delivered, Interruption, Shutdown
from ringviz.machine.microcode.ports import PORT_FORMS, port_of
from ringviz.machine.state import CpuState
from ringviz.machine.stops import Fault, InterruptWindow, PortIo, SensitiveInsn, SoftInterrupt, Stop, Watched
from ringviz.machine.svm.intercepts import SVM_FORMS, ReadByte, exception_exit, instruction_exit
from ringviz.machine.svm.registers import GuestMode
from ringviz.machine.svm.report import SvmReport

SHUTDOWN_EXIT = SvmReport("VMEXIT_SHUTDOWN", "SHUTDOWN")


@dataclass(frozen=True, slots=True)
class Exited:
    """The CPU has gone from a guest back to the hypervisor that runs in this machine."""

    report: SvmReport


@dataclass(frozen=True, slots=True)
class Entered:
    """VMRUN is through."""

    refusal: str = ""
    """Why the VMCB was refused: the hypervisor goes on with VMEXIT_INVALID."""
    injection: Interruption | None = None
    """The event that the hypervisor has injected."""
    outcome: Delivered | Shutdown | Exited | None = None
    """What became of that."""


def exit_for(stop: Stop, state: CpuState, guest: GuestMode, read: ReadByte) -> SvmReport | None:
    """Tell whether a stop leaves guest mode, and with what report; None if it is the guest's own affair.

    Args:
        stop: of the CPU, before any effect.
        state: the CPU in guest mode.
        guest: what VMRUN has read.
        read: the physical memory in which the permission maps lie.
    """
    match stop:
        case InterruptWindow():
            name = "VINTR" if stop.is_virtual else "INTR"
            return SvmReport(f"VMEXIT_{name}", name) if name in guest.intercepts else None
        case SoftInterrupt() if stop.instruction.form not in ("int", "int1"):
            return exception_exit(guest.intercepts, Interruption(stop.vector, is_software=True))
        case Fault() if not is_svm_instruction(stop):
            return exception_exit(guest.intercepts, Interruption(stop.vector, stop.error_code, stop.linear))
        case Fault() | SoftInterrupt() | PortIo() | SensitiveInsn() | Watched():
            assert stop.instruction is not None
            port = stop if isinstance(stop, PortIo) else None
            if port is None and stop.instruction.form in PORT_FORMS:
                number, size, is_input = port_of(state, stop.instruction)
                port = PortIo(is_input, number, size, stop.instruction)
            maps = (guest.io_map, guest.msr_map)
            report = instruction_exit(guest.intercepts, stop.instruction, state, port, maps, read)
            if report is None and isinstance(stop, Fault):
                return exception_exit(guest.intercepts, Interruption(stop.vector, stop.error_code, stop.linear))
            return report
        case _:
            return None


def is_svm_instruction(stop: Fault) -> bool:
    """The CPU raised #UD for an instruction of AMD-V itself: on a CPU that has it, the intercept comes first."""
    instruction = stop.instruction
    return stop.vector == Vector.UD and instruction is not None and instruction.form in SVM_FORMS


def injection_of(word: int) -> Interruption | None:
    """Give the event that EVENTINJ asks for; None if it asks for none."""
    if not EVENTINJ_FIELDS["V"].get(word):
        return None
    kind, vector = EVENTINJ_FIELDS["TYPE"].get(word), EVENTINJ_FIELDS["VECTOR"].get(word)
    code = EVENTINJ_FIELDS["ERRORCODE"].get(word) if EVENTINJ_FIELDS["EV"].get(word) else None
    match kind:
        case EventType.EXCEPTION:
            return Interruption(vector, code)
        case EventType.SWINT:
            return Interruption(vector, is_software=True)
        case EventType.NMI:
            return Interruption(Vector.NMI, is_external=True)
        case _:
            return Interruption(vector, is_external=True)
