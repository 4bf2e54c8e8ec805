"""Interrupts: a device calls, the guest's IF decides when it hears of it, and the CPU delivers it at a VM entry.

The interrupt controller that the guest programs is the VMM's, in software. When a device calls while the guest runs,
the CPU leaves the guest at once, whatever its IF says. If the guest lets interrupts in, the VMM injects one at the VM
entry; if not, it asks by "Interrupt-window exiting" for an exit as soon as the guest does.

Source: Intel SDM Vol. 3C, "Other Causes of VM Exits", "Interrupt-Window Exiting and Virtual-Interrupt Delivery".
"""

from __future__ import annotations

from dataclasses import replace

from ringviz.facts.vmx import Reason
from ringviz.machine.delivery import Delivered, Interruption, Shutdown
from ringviz.machine.machine import Completion
from ringviz.machine.stops import ExternalInterrupt, InterruptWindow
from ringviz.vmm import describe
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.technique import TURN_ENDS, changes_between, text_of
from ringviz.vmm.vtx.exits import VmExit
from ringviz.vmm.vtx.instructions import InstructionExits

_PIN = "“External-interrupt exiting” is 1"
_PRIMARY = "“Interrupt-window exiting” is 1, and so is the guest's IF"
_WAITS = "it waits: an exit is asked for as soon as the guest lets it in"


class InterruptExits(InstructionExits):
    """Two controls decide: one for the device that calls, one for the guest that becomes ready to hear."""

    def _device_calls(self, stop: ExternalInterrupt) -> Outcome:
        """A device interrupts the CPU while the guest runs."""
        before = self.machine.state.copy()
        event = self._left_between(VmExit(Reason.EXTERNAL_INTERRUPT, _PIN), stop)
        guest = self.guest_state()
        if self.machine.can_interrupt():
            return self._inject_interrupt(event)
        self._resume(guest)
        self._tell(event, _WAITS, before, guest)
        return RESUME

    def preempt(self) -> None:
        """Leave the guest because the host's timer interrupts, and enter it again for its next turn."""
        before, instruction = self.machine.state.copy(), self.instruction_here()
        event = replace(self._leave(VmExit(Reason.EXTERNAL_INTERRUPT, _PIN), instruction), is_between=True)
        guest = self.guest_state()
        self._resume(guest)
        self._tell(event, TURN_ENDS, before, guest)

    def no_preemption(self) -> str:
        """The host's timer must exit: it would be the guest's own otherwise."""
        return "" if self._controls.has("external-interrupt-exiting") else f"{_PIN} is not so"

    def _can_be_interrupted(self, stop: InterruptWindow) -> Outcome:
        """An interrupt waits, and the guest lets it in now."""
        if not self._controls.has("external-interrupt-exiting"):
            return self._taken_in_guest(stop)
        if self.machine.is_halted:
            return self._wake(stop)
        if self._controls.has("interrupt-window-exiting"):
            leaves = VmExit(Reason.INTERRUPT_WINDOW, _PRIMARY)
        else:  # the guest has a port of the interrupt controller for itself: the request is news to the VMM
            leaves = VmExit(Reason.EXTERNAL_INTERRUPT, _PIN)
        return self._inject_interrupt(self._left_between(leaves, stop))

    def _left_between(self, leaves: VmExit, stop: ExternalInterrupt | InterruptWindow) -> Event:
        """Leave the guest between two of its instructions: none of them is to blame."""
        return replace(self._leave(leaves, stop.instruction), is_between=True)

    def _inject_interrupt(self, event: Event) -> Outcome:
        """Resume the guest with the interrupt that its controller requests."""
        before = self.machine.state.copy()
        what = Interruption(self.machine.acknowledge(), is_external=True)
        return self._inject(replace(event, native_charges=("native-interrupt",)), what, before, self.guest_state())

    def _wake(self, stop: InterruptWindow) -> Outcome:
        """The guest sleeps since its HLT, outside VMX non-root operation: the VMM enters it with the interrupt."""
        before, guest = self.machine.state.copy(), self.guest_state()
        what = Interruption(self.machine.acknowledge(), is_external=True)
        self.vmx.reads = self.vmx.writes = 0
        self._put_event(what, before)
        self._resume(guest)
        at = self.machine.retired
        result = self._deliver(what, None)
        after = self.machine.state
        self.events.append(
            Event(
                at=at,
                address=before.eip,
                instruction=text_of(stop.instruction),
                form=stop.instruction.form if stop.instruction is not None else None,
                kind=Kind.REFLECT,
                cause=describe.interrupt_request(what.vector, self.machine.bus),
                rule="the guest sleeps in HLT, and its virtual interrupt controller requests an interrupt",
                handler=self.handler,
                action="injected at the VM entry, " + describe.delivered_text(result, after),
                native_charges=("native-interrupt",),
                changes=changes_between(before, after, is_real=True),
                from_ring=before.cpl,
                to_ring=after.cpl,
                via_ring=-1,
                resume=after.eip,
                is_between=True,
                detail=(("VMREADs", str(self.vmx.reads)), ("VMWRITEs", str(self.vmx.writes))),
            )
        )
        return self._triple_fault(None) if isinstance(result, Shutdown) else RESUME

    def _taken_in_guest(self, stop: InterruptWindow) -> Outcome:
        """Nothing makes external interrupts exit: the CPU delivers the machine's own interrupt to the guest."""
        before, at = self.machine.state.copy(), self.machine.retired
        what = Interruption(self.machine.acknowledge(), is_external=True)
        completion: Completion = self._deliver(what, stop.instruction)
        assert isinstance(completion, (Delivered, Shutdown))
        return self._told_in_guest(stop, before, at, completion)
