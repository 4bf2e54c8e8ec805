"""RF shields one instruction after a return from a fault, and no program ever sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.machine.state import EAX
from tests.vmm.guests import kernel_scenario, slots
from tests.vmm.lockstep import Run, assert_lockstep

RF = 1 << 16
_UD2 = bytes.fromhex("0f0b")  # its handler returns to the next slot, with RF set in the saved flags
_PUSHF_POP_EAX = bytes.fromhex("9c58")


@pytest.mark.parametrize("nops", [0, 1, 3])
@pytest.mark.parametrize("technique", ["native", "amd-v", "classic", "trap-emulate"])
def test_pushf_after_a_return_from_a_fault_stores_rf_clear(tmp_path: Path, technique: str, nops: int) -> None:
    run = Run(kernel_scenario(tmp_path, slots(_UD2) + b"\x90" * nops + _PUSHF_POP_EAX), technique)
    run.finish()
    assert not run.technique.guest_state().gpr[EAX] & RF


@pytest.mark.parametrize("technique", ["amd-v", "classic"])
def test_flags_after_a_return_from_a_fault_are_bare_metals(tmp_path: Path, technique: str) -> None:
    run = assert_lockstep(kernel_scenario(tmp_path, slots(_UD2) + b"\x90" + _PUSHF_POP_EAX), technique)
    assert run.ended is not None
