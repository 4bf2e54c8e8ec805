"""A guest that single-steps itself is trapped after every instruction, whoever executed that one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.facts.techniques import TECHNIQUES
from ringviz.vmm.registry import available
from tests.vmm.guests import kernel_scenario, slots
from tests.vmm.lockstep import assert_lockstep

FAITHFUL = [name for name in available() if name not in ("native", "paravirt") and TECHNIQUES[name].promises_fidelity]
TF = 0x102

CODES = {
    "plain": "40 01d0 8903",
    "flags": "fa fb 9c 58",
    "popf": "9c 9d",
    "popf clears it": "6a02 9d 40",
    "tables": "0f0113 0f0103 0f010b",
    "questions": "0f02c0 0f00e0",
    "control": "0f20c0 0f22c0 0f06 0f01e0",
    "debug": "0f21f0 0f23c0",
    "machine": "0fa2 0f31 0f30",
    "ports": "e480 e680 6e",
    "rep outs": "6a03 59 bae9000000 f36e",
    "segments": "8cd8 8ed8 06 07 16 17 40",
    "far": "0e 68 20900000 cb",
    "int": "cd30 40",
    "beyond memory": "8b0d00000001 8b0d0000c0ff",
}


@pytest.mark.parametrize("technique", FAITHFUL)
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("code", CODES)
def test_lockstep_under_tf(tmp_path: Path, code: str, ring: int, technique: str) -> None:
    body = slots(*(bytes.fromhex(CODES[code]),) * 2, bytes.fromhex("40"))
    run = assert_lockstep(kernel_scenario(tmp_path / "guest", body, ring=ring, eflags=TF, limit=200), technique)
    assert run.ended is not None
