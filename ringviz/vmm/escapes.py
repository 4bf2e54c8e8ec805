"""Events of a guest that reached the machine itself, because its VMM did not ask the CPU to stop it."""

from __future__ import annotations

from dataclasses import replace

from ringviz.machine.machine import Completion
from ringviz.machine.microcode import Effect
from ringviz.machine.state import CpuState
from ringviz.machine.stops import PortIo, SensitiveInsn, Stop
from ringviz.vmm.events import Event, Kind


def escape(event: Event, stop: Stop, completion: Completion, why: str) -> Event:
    """Mark an event of non-root or guest mode as an escape, if it is one.

    Resource control, in Popek and Goldberg's words, is lost where a guest uses a port of the machine, or stops the CPU
    for everybody.

    Args:
        event: what the CPU did by itself, in the guest.
        stop: where it was stopped before it did.
        completion: what came of it.
        why: what is missing in the VMM's control structure.
    """
    if isinstance(stop, PortIo) and isinstance(completion, Effect):
        return _escaped(event, f"{why}: this is the machine's own port", event.action.replace("virtual ", ""))
    if isinstance(stop, SensitiveInsn) and completion is Effect.HALTED:
        return _escaped(event, f"{why}: the real CPU stops, for every guest and the VMM", "the real CPU halts")
    return event


def _escaped(event: Event, rule: str, action: str) -> Event:
    return replace(event, kind=Kind.VIOLATION, rule=rule, action=action, is_attempt=True, escaped=True)


def escaped_shutdown(state: CpuState, at: int, instruction: str, why: str) -> Event:
    """Tell a triple fault that nobody caught: it is the real CPU that shuts down."""
    return Event(
        at=at,
        address=state.eip,
        instruction=instruction,
        form=None,
        kind=Kind.VIOLATION,
        cause="shutdown",
        rule=f"{why}: a triple fault shuts the real CPU down, for every guest and the VMM",
        handler="nobody",
        action="the real CPU shuts down",
        from_ring=state.cpl,
        to_ring=state.cpl,
        resume=state.eip,
        is_attempt=True,
        escaped=True,
    )
