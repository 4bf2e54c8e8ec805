"""VMRUN, VMLOAD, VMSAVE, STGI, CLGI, INVLPGA, VMMCALL and SKINIT: the instructions of a hypervisor on AMD-V.

Source: AMD APM Vol. 3, the instructions' pages.
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Efer, Eflags
from ringviz.guest.instruction import Instruction
from ringviz.machine.memory import PAGE
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import advance, require_ring_0
from ringviz.machine.state import EAX, CpuState
from ringviz.machine.svm.checks import PHYSICAL_BITS
from ringviz.machine.svm.world_switch import enter, load_more, save_more


def _require_svm(state: CpuState) -> None:
    """#UD without AMD-V, with EFER.SVME at 0, and outside protected mode; then #GP outside ring 0."""
    if state.svm is None or not state.efer & Efer.SVME or not state.is_protected or state.eflags & Eflags.VM:
        raise GuestFault(Vector.UD)
    require_ring_0(state)


def _vmcb(state: CpuState) -> int:
    """Give the physical address in RAX; a page's, within physical memory, or it is #GP."""
    address = state.gpr[EAX]
    if address % PAGE or address >> PHYSICAL_BITS:
        raise GuestFault(Vector.GP, 0)
    return address


def vmrun(env: Environment, instruction: Instruction) -> Effect:
    """Go over to the guest that the VMCB at RAX describes."""
    state = env.state
    _require_svm(state)
    address = _vmcb(state)
    advance(state, instruction)
    enter(state, env.physical, address)
    env.flush_tlb()
    return Effect.DONE


def vmload(env: Environment, instruction: Instruction) -> Effect:
    """Load what VMRUN does not."""
    _require_svm(env.state)
    load_more(env.state, env.physical, _vmcb(env.state))
    advance(env.state, instruction)
    return Effect.DONE


def vmsave(env: Environment, instruction: Instruction) -> Effect:
    """Save what VMRUN does not."""
    _require_svm(env.state)
    save_more(env.state, env.physical, _vmcb(env.state))
    advance(env.state, instruction)
    return Effect.DONE


def stgi(env: Environment, instruction: Instruction) -> Effect:
    """Set the global interrupt flag: what waits may come."""
    return _set_gif(env, instruction, is_set=True)


def clgi(env: Environment, instruction: Instruction) -> Effect:
    """Clear the global interrupt flag: nothing interrupts the hypervisor, whatever IF says."""
    return _set_gif(env, instruction, is_set=False)


def _set_gif(env: Environment, instruction: Instruction, *, is_set: bool) -> Effect:
    state = env.state
    _require_svm(state)
    assert state.svm is not None
    state.svm = state.svm._replace(gif=is_set)
    advance(state, instruction)
    return Effect.DONE


def invlpga(env: Environment, instruction: Instruction) -> Effect:
    """Forget the translation of one page of one guest; this machine forgets all, which no program can tell."""
    _require_svm(env.state)
    env.flush_tlb()
    advance(env.state, instruction)
    return Effect.DONE
