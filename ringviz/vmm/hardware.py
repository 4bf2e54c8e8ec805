"""What the CPU does by itself, told as events: the same on bare metal and in a guest that has not exited."""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.svm import EXIT_INVALID
from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Delivered, Shutdown
from ringviz.machine.machine import Completion
from ringviz.machine.microcode import Effect
from ringviz.machine.state import CpuState
from ringviz.machine.stops import (
    BudgetSpent,
    Fault,
    InterruptWindow,
    PortIo,
    ProtectedAccess,
    SensitiveInsn,
    SoftInterrupt,
    Stop,
    Watched,
    has_completed,
)
from ringviz.machine.svm.control_area import EXIT_CODES
from ringviz.machine.svm.exits import Entered, Exited
from ringviz.machine.svm.report import SvmReport
from ringviz.machine.svm.world_switch import INVALID
from ringviz.vmm import describe
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.outcome import Ended, Outcome
from ringviz.vmm.technique import Technique, changes_between, text_of

GUEST_HYPERVISOR = "guest hypervisor (L1)"
"""Who answers a #VMEXIT that leads to a hypervisor which is itself a guest, or which has the machine to itself."""
WORLD_SWITCH = "exit"
"""Its price is that of any exit: the same hardware does it, whoever the hypervisor is."""

TRIPLE_FAULT = Ended("triple-fault", "triple fault: an exception could not be delivered, nor could the double fault")
HALTED = Ended("halted", "the guest executed HLT, and no interrupt can wake it")


RETURNS = frozenset({"iret", "ret-far", "sysexit"})
"""Forms watched where the CPU returns to an outer ring by itself: nothing traps, but the crossing is worth telling."""


_SAVED_STACK = "with the stack that was saved"
_STACK_OF = {"sysret": "on the stack that the kernel has put back"}


def watched_return(technique: Technique, stop: Watched) -> Stop | None:
    """Let a return run, and record it if it led to another ring.

    Returns:
        A stop that came up instead, or right behind it, still to be answered.
    """
    if stop.form != "sysexit":
        return SensitiveInsn(stop.form, stop.instruction)  # the machine's own to execute, and told by `hardware_event`
    before, at = technique.machine.state.copy(), technique.machine.retired
    inner = technique.machine.step_over()
    if has_completed(inner):
        technique.events += _crossing(stop.instruction, before, technique.machine.state, at)
    return None if isinstance(inner, BudgetSpent) else inner


def _crossing(instruction: Instruction, before: CpuState, after: CpuState, at: int) -> list[Event]:
    """The record of a return that led to another ring; none of one that did not."""
    if after.cpl == before.cpl:
        return []
    stack = _STACK_OF.get(instruction.form or "", _SAVED_STACK)
    return [
        Event(
            at=at,
            address=before.eip,
            instruction=instruction.text,
            form=instruction.form,
            kind=Kind.GATE,
            cause=instruction.mnemonic.upper(),
            rule="a return may lead outward",
            handler="the CPU",
            action=f"back to ring {after.cpl} at {after.eip:08X}, {stack}",
            changes=changes_between(before, after, is_real=True),
            from_ring=before.cpl,
            to_ring=after.cpl,
            resume=after.eip,
        )
    ]


def outcome_of(technique: Technique, completion: Completion) -> Outcome:
    """Tell whether what the hardware did ends the run."""
    if isinstance(completion, Shutdown) or (
        isinstance(completion, Entered) and isinstance(completion.outcome, Shutdown)
    ):
        return TRIPLE_FAULT
    if completion is Effect.HALTED and not technique.machine.halt():
        return HALTED
    return technique.conclude()


def hardware_event(
    technique: Technique, stop: Stop, before: CpuState, after: CpuState, at: int, completion: Completion
) -> Event | None:
    """Describe what the hardware did about a stop on its own; None if no learner would call it an event."""
    if completion is Effect.UNFINISHED:
        return None
    if isinstance(completion, Exited):
        return exit_event(stop, before, after, at, completion)
    if isinstance(completion, Entered):
        return entry_event(stop, before, after, at, completion)
    match stop:
        case Fault():
            kind, cause, rule = Kind.FAULT, describe.fault_name(stop), describe.fault_rule(stop, before)
            charge = "native-page-fault" if stop.vector == Vector.PF else "native-exception"
        case SoftInterrupt():
            kind, cause, rule = Kind.GATE, describe.interrupt_name(stop), "the gate's DPL admits this ring"
            charge = "native-gate"
            if isinstance(completion, Delivered) and completion.vector != stop.vector:
                kind, rule, charge = Kind.FAULT, "the gate refused", "native-exception"
        case PortIo():
            kind, cause, rule, charge = (
                Kind.IO,
                describe.port_name(stop),
                "this ring may use the port",
                "native-port-io",
            )
        case InterruptWindow():
            kind, cause, charge = Kind.INTERRUPT, "interrupt", "native-interrupt"
            rule = "a device requests it, IF is 1: taken before the next instruction"
            if stop.is_virtual:
                cause, rule = "virtual interrupt", "V_IRQ is 1 in the guest's VMCB, and so is its IF"
            elif isinstance(completion, Delivered):
                cause = describe.interrupt_request(completion.chain[0], technique.machine.bus)
        case ProtectedAccess():
            kind, cause, rule, charge = Kind.FAULT, "#GP(0)", "beyond the segment's limit", "native-exception"
        case SensitiveInsn() if isinstance(completion, (Delivered, Shutdown)):
            kind, cause, rule, charge = Kind.FAULT, "fault", "the instruction's own checks failed", "native-exception"
            if isinstance(completion, Delivered):
                cause = describe.vector_name(completion.vector)
        case SensitiveInsn() if stop.form == "syscall":
            kind, cause, rule, charge = Kind.GATE, "SYSCALL", "EFER.SCE is 1: no table is looked at", "native-syscall"
        case SensitiveInsn() if stop.form in RETURNS or stop.form == "sysret":
            return next(iter(_crossing(stop.instruction, before, after, at)), None)
        case SensitiveInsn():
            if completion is not Effect.HALTED:
                return None
            sleeps = technique.machine.can_wake()
            kind, cause, rule, charge = Kind.IO if sleeps else Kind.END, "HLT", "ring 0 may halt the CPU", ""
        case _:
            return None
    handler = "guest kernel"
    if isinstance(completion, Effect):
        handler = "device" if kind is Kind.IO else "the CPU"
        action = "the CPU waits for an interrupt"
        if isinstance(stop, PortIo):
            action = describe.port_action(technique.machine.bus, stop, after)
        elif kind is Kind.GATE:
            action = (
                f"to the guest's kernel at {after.eip:08X}, ring {before.cpl} → {after.cpl}, on the stack it was on"
            )
    else:
        action = describe.delivered_text(completion, after)
    instruction = getattr(stop, "instruction", None)
    return Event(
        at=at,
        address=before.eip,
        instruction=text_of(instruction),
        form=instruction.form if instruction is not None else None,
        kind=kind,
        cause=cause,
        rule=rule,
        handler=handler,
        action=action,
        native_charges=(charge,) if charge else (),
        changes=changes_between(before, after, is_real=True),
        from_ring=before.cpl,
        to_ring=after.cpl,
        resume=after.eip,
        is_between=isinstance(stop, InterruptWindow),
    )


def exit_event(stop: Stop, before: CpuState, after: CpuState, at: int, exited: Exited) -> Event:
    """Describe a #VMEXIT from the guest of a hypervisor to that hypervisor."""
    report = exited.report
    instruction = getattr(stop, "instruction", None)
    return Event(
        at=at,
        address=before.eip,
        instruction=text_of(instruction),
        form=instruction.form if instruction is not None else None,
        kind=Kind.GATE,
        cause=report.exit_name,
        rule=f"the hypervisor's VMCB intercepts it: {report.intercept}",
        handler=GUEST_HYPERVISOR,
        action=f"#VMEXIT: from L2 to L1, which goes on behind its VMRUN at {after.eip:08X}",
        native_charges=(WORLD_SWITCH,),
        changes=changes_between(before, after, is_real=True),
        from_ring=before.cpl,
        to_ring=after.cpl,
        resume=after.eip,
        detail=tuple(report_detail(report)),
        is_between=isinstance(stop, InterruptWindow),
    )


def report_detail(report: SvmReport) -> list[tuple[str, str]]:
    """List what a #VMEXIT has written into the control area."""
    code = EXIT_INVALID if report.exit_name == INVALID.exit_name else EXIT_CODES[report.exit_name]
    detail = [
        ("EXITCODE", f"{code:03X}h"),
        ("EXITINFO1", f"{report.info1:X}h"),
        ("EXITINFO2", f"{report.info2:X}h"),
    ]
    return [*detail, ("EXITINTINFO", f"{report.exit_int_info:X}h")] if report.exit_int_info else detail


def entry_event(stop: Stop, before: CpuState, after: CpuState, at: int, entered: Entered) -> Event:
    """Describe VMRUN: a hypervisor has entered its guest, or its VMCB was refused."""
    instruction = getattr(stop, "instruction", None)
    return Event(
        at=at,
        address=before.eip,
        instruction=text_of(instruction),
        form=instruction.form if instruction is not None else None,
        kind=Kind.GATE,
        cause=INVALID.exit_name if entered.refusal else "VMRUN",
        rule=entered.refusal or "EFER.SVME is 1, in ring 0, and the VMCB passes every check",
        handler=GUEST_HYPERVISOR,
        action=entry_action(after, entered),
        changes=changes_between(before, after, is_real=True),
        from_ring=before.cpl,
        to_ring=after.cpl,
        resume=after.eip,
    )


def entry_action(after: CpuState, entered: Entered) -> str:
    """Say where VMRUN has led to."""
    if entered.refusal:
        return f"refused: the hypervisor goes on at {after.eip:08X} with EXITCODE −1"
    if entered.injection is None:
        return f"from L1 to L2, ring {after.cpl} at {after.eip:08X}"
    name = describe.vector_name(entered.injection.vector)
    match entered.outcome:
        case Exited(report):
            return f"from L1 to L2; {name} injected, and {report.exit_name} on the way to its handler"
        case Shutdown():
            return f"from L1 to L2; {name} injected, which could not be delivered"
        case _:
            return f"from L1 to L2; {name} injected: to its handler at {after.eip:08X}, ring {after.cpl}"
