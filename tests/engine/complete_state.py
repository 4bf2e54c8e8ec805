"""Everything there is to compare about a recording: what the guest sees, what is so, all RAM, all devices."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from ringviz.engine.recording import Recording
from ringviz.guest import Scenario
from ringviz.machine.state import fields_of
from ringviz.vmm.registry import choose


def recording(scenario: Scenario, technique: str) -> Recording:
    """Power on."""
    return Recording(scenario, technique, choose(technique))


def everything(tape: Recording) -> dict[str, Any]:
    """The complete state, part by part, so that a failed comparison says which part."""
    technique = tape.technique
    return {
        "position": tape.position,
        "emulated": technique.emulated,
        "guest": fields_of(technique.guest_state()),
        "real": fields_of(technique.real_state()),
        "fpu": technique.machine.cpu.fpu_image(),
        "ram": hashlib.sha256(technique.machine.ram.read(0, technique.machine.ram.size)).hexdigest(),
        "bus": technique.machine.bus.save(),
        "vmm": repr(technique.save_vmm()),
        "at end": tape.is_at_end,
    }


@lru_cache(maxsize=256)
def fresh(scenario: Scenario, technique: str, position: int) -> dict[str, Any]:
    """The complete state of a run that went straight from power-on to a position."""
    tape = recording(scenario, technique)
    tape.play(position)
    if tape.end is not None:
        tape.settle_end()
    return everything(tape)
