"""Everything there is to compare about a recording: what the guest sees, what is so, all RAM, all devices."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from ringviz.engine.recording import Recording
from ringviz.guest import Scenario
from ringviz.machine.memory import Ram
from ringviz.machine.state import fields_of
from ringviz.vmm.registry import choose
from tests.vmm.lockstep import memcmp


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
        "ram": ram_digest(technique.machine.ram),
        "bus": technique.machine.bus.save(),
        "vmm": repr(technique.save_vmm()),
        "at end": tape.is_at_end,
    }


_STRETCH = 1 << 16
_ZEROS = bytes(_STRETCH)


def ram_digest(ram: Ram) -> str:
    """A hash of every stretch of RAM that is not all zeros, with its place: it says what a hash of all RAM would say.

    Each byte is looked at; most are zeros, and those are told from others much faster than they are hashed.
    """
    assert ram.keeper is None, "some of its bytes may be elsewhere"
    digest = hashlib.sha256()
    for start in range(0, ram.size, _STRETCH):
        size = min(_STRETCH, ram.size - start)
        if memcmp(ram.address + start, _ZEROS, size):
            digest.update(start.to_bytes(8, "little") + ram.read(start, size))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def fresh(scenario: Scenario, technique: str, position: int) -> dict[str, Any]:
    """The complete state of a run that went straight from power-on to a position."""
    tape = recording(scenario, technique)
    tape.play(position)
    if tape.end is not None:
        tape.settle_end()
    return everything(tape)
