"""A pending FPU error of a guest with CR0.NE = 0: no #MF anywhere, for it expects an interrupt that nobody raises."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.vmm.registry import available, choose
from tests.machine.guests import GDT, GDT_ENTRIES
from tests.vmm.guests import kernel_scenario
from tests.vmm.lockstep import assert_lockstep

_PENDING = "66687b03 d92c24 d9ee d9e8 def1"
"""push word 37Bh; fldcw [esp]; fldz; fld1; fdivrp: a division by zero, which is not masked."""
_BODY = bytes.fromhex(_PENDING + "9b d913 d9e8 d91d") + (GDT + 8 * (GDT_ENTRIES - 1)).to_bytes(4, "little") + b"\x9b"
"""wait; fst [ebx]; fld1; fstp [an entry of the GDT]; wait"""

CASES = [
    (technique, mmu)
    for technique in available()
    if technique not in ("native", "paravirt")
    for mmu in (("nested", "shadow") if technique in ("vt-x", "amd-v") else (None,))
]


@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize(("technique", "mmu"), CASES)
def test_an_fpu_error_is_held_back_where_the_guest_has_ne_0(
    tmp_path: Path, technique: str, mmu: str | None, ring: int
) -> None:
    scenario = kernel_scenario(tmp_path / "guest", _BODY, ring=ring)
    cpu = choose(technique, mmu).cpu.id
    run = assert_lockstep(scenario, technique, cpu=cpu, mmu=mmu)
    assert run.ended is not None
    assert run.ended.how == "halted"
    told = [event for event in run.events if "FERR" in event.action]
    keeps_ne = technique in ("trap-emulate", "classic", "binary-translation", "vt-x")
    assert bool(told) == keeps_ne
