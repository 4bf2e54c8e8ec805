"""Why a kernel that was not recompiled cannot run here: the first of its instructions that ring 1 may not execute.

It is found by running the kernel on bare metal up to that instruction, not by searching its bytes: what is never
executed is no obstacle, and data are no code.
"""

from __future__ import annotations

from functools import lru_cache

from ringviz.facts.instructions import INSTRUCTIONS, Behaviour, PgClass
from ringviz.guest.disk import read_disks
from ringviz.guest.image import load_image
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine.bus import Bus
from ringviz.machine.devices import pc_devices
from ringviz.machine.machine import Machine
from ringviz.machine.stops import BudgetSpent, PortIo, SensitiveInsn, Watched
from ringviz.vmm.technique import initial_state

_HARMLESS = (
    Behaviour.RUNS,
    Behaviour.CHECKED,
    Behaviour.ENTERS_HANDLER,
    Behaviour.ENTERS_FROM_ANY_RING,
    Behaviour.FAULTS_GP_IF_TSD,
    Behaviour.FAULTS_GP_IF_NO_PCE,
)
_FORBIDDEN = frozenset(
    form
    for form, row in INSTRUCTIONS.items()
    if row.pg_class in (PgClass.PRIVILEGED, PgClass.SENSITIVE_SILENT)
    and row.behaviour[0] is Behaviour.RUNS
    and row.behaviour[1] not in _HARMLESS
)
"""Forms that run in ring 0 and do not, or not truly, in ring 1."""
_FAR_ENOUGH = 1_000_000
"""Instructions after which the search is given up."""


def refusal(scenario: Scenario, technique: str) -> str:
    """Say in one line why the original build of a scenario does not run in ring 1."""
    start = f"{scenario.id}: {technique} needs a kernel that was recompiled for it"
    found = first_forbidden(scenario)
    if found is None:
        return f"{start}; this scenario has no second build (guest.paravirt in scenario.toml)"
    why = "does not execute truly" if _is_silent(found) else "may not"
    return f"{start}; this one executes {found.text} at {found.address:08X}h, which ring 1 {why}"


def _is_silent(instruction: Instruction) -> bool:
    row = INSTRUCTIONS[instruction.form or ""]
    return row.behaviour[1] in (Behaviour.REVEALS, Behaviour.SILENT_DIFFERENT)


@lru_cache(maxsize=64)
def first_forbidden(scenario: Scenario) -> Instruction | None:
    """Run the original build on bare metal up to the first instruction that is not ring 1's to execute."""
    guest_bytes = scenario.guest.memory_bytes
    image = load_image(scenario)
    machine = Machine(Bus(pc_devices(guest_bytes, read_disks(scenario.disks))), guest_bytes)
    for part in image.segments:
        machine.ram.write(part.address, part.data)
    state = initial_state(image)
    machine.cpu.load(state)
    machine.watch(_FORBIDDEN)
    limit = min(scenario.limits.instructions, _FAR_ENOUGH)
    while machine.retired < limit:
        stop = machine.run(limit)
        match stop:
            case Watched(instruction=instruction) | PortIo(instruction=instruction):
                return instruction
            case SensitiveInsn(instruction=instruction) if instruction.form in _FORBIDDEN:
                return instruction
            case BudgetSpent():
                return None
            case SensitiveInsn():
                machine.complete(stop)
            case _:  # an exception or interrupt so early: its table was loaded by an instruction we would have seen
                return None
    return None
