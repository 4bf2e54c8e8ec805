"""What a machine is besides its memory, as plain values, told as the guest would tell it.

It is the guest's CPU that moves, not the CPU's real state under some VMM: shadow tables, control blocks and translated
code stay behind, and the VMM at the other end makes its own. That is why the two need not be built alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringviz.errors import MigrationError
from ringviz.facts.segments import SegmentCache
from ringviz.guest.scenario import Scenario
from ringviz.machine.devices import Ide
from ringviz.machine.memory import PAGE
from ringviz.machine.state import CpuState, LongRegisters, TableRegister
from ringviz.vmm.registry import built
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import Technique

_IDE = "ide"
MOST_STEPS = 1_000
"""Instructions within which every guest comes by a moment that can be told."""


def cannot_move(technique: Technique) -> str:
    """Say why machines of this kind stay where they are; empty if they can move."""
    if technique.lends_svm:
        return "it is lent AMD-V, and the stream has no place for what a CPU knows of the guests of a guest"
    why = technique.no_preemption()
    if why:
        return why
    if technique.facts.alignment == "marker":
        return "its kernel is recompiled and shares tables with its hypervisor: it would have to help"
    return ""


def is_movable(technique: Technique) -> bool:
    """Tell whether the guest stands where its state is all in registers: nothing is owed to the next instruction."""
    machine = technique.machine
    is_calm = not (machine.step_trap_due or machine.cpu.has_resume_flag or machine.cpu.interrupt_shadow)
    return is_calm and machine.inhibited_at != machine.retired and not technique.is_entangled


def state_of(technique: Technique) -> tuple[Any, ...]:
    """Tell everything about a machine but its memory."""
    machine = technique.machine
    cpu = technique.guest_state()
    segments = tuple(_segment(cache) for cache in (*cpu.segments, cpu.ldtr, cpu.tr))
    return (
        (tuple(cpu.gpr), cpu.eip, cpu.eflags, segments, tuple(cpu.gdtr), tuple(cpu.idtr),
         (cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.cpl, cpu.efer), tuple(cpu.dr), tuple(cpu.sysenter),
         None if cpu.long is None else tuple(cpu.long)),
        machine.cpu.fpu_registers(),
        (machine.retired, machine.idle, machine.is_halted, machine.bus.settled_at),
        tuple((name, saved) for name, saved in machine.bus.save() if name != _IDE),
        _ide(technique).told(),
    )  # fmt: skip


def arrived(scenario: Scenario, technique: str, setup: Setup, memory: bytes, state: Sequence[Any]) -> Technique:
    """Make a machine that stands where another one stood.

    Args:
        scenario: its guest.
        technique: id, which need not be the other one's.
        setup: what `registry.choose` gave.
        memory: all of the guest's.
        state: what `state_of` gave.

    Raises:
        MigrationError: such a state cannot be taken up here; one line.
    """
    made = built(scenario, technique, setup)
    machine = made.machine
    try:
        registers, fpu, (retired, idle, is_halted, settled_at), devices, disks = state
        cpu = _cpu_state(*registers)
        for at in range(0, len(memory), PAGE):
            page = memory[at : at + PAGE]
            if page.count(0) != PAGE:
                machine.ram.write(made.guest_base + at, page)
        machine.cpu.retired, machine.idle, machine.is_halted = retired, idle, is_halted
        mine = machine.bus.save()
        theirs = dict(devices)
        machine.bus.restore(tuple((name, saved if name == _IDE else theirs[name]) for name, saved in mine))
        _ide(made).restore_told(disks)
        machine.bus.settled_at = settled_at
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise MigrationError(f"the machine's state cannot be understood: {error}") from None
    made.power_on(cpu)
    try:
        machine.cpu.load_fpu_registers(fpu)
    except (TypeError, ValueError) as error:
        raise MigrationError(f"the machine's state cannot be understood: {error}") from None
    return made


def _ide(technique: Technique) -> Ide:
    """Give the channel of the disks: what it saves is for the same process only."""
    ide = technique.machine.bus.device(_IDE)
    assert isinstance(ide, Ide)
    return ide


def _segment(cache: SegmentCache) -> tuple[int, int, int, int]:
    return cache.selector, cache.base, cache.limit, cache.access


def _cpu_state(
    gpr: Sequence[int],
    eip: int,
    eflags: int,
    segments: Sequence[Sequence[int]],
    gdtr: Sequence[int],
    idtr: Sequence[int],
    control: Sequence[int],
    dr: Sequence[int],
    sysenter: Sequence[int],
    long: Sequence[int] | None,
) -> CpuState:
    *six, ldtr, tr = (SegmentCache(*cache) for cache in segments)
    cr0, cr2, cr3, cr4, cpl, efer = control
    return CpuState(
        list(gpr), eip, eflags, six, ldtr, tr, TableRegister(*gdtr), TableRegister(*idtr), cr0, cr2, cr3, cr4, cpl,
        list(dr), efer, list(sysenter), None if long is None else LongRegisters(*long),
    )  # fmt: skip
