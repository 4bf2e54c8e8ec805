"""A host filled with real copies carries as many as the arithmetic says, and fewer where switching costs more."""

from fractions import Fraction
from pathlib import Path

import pytest

from ringviz.engine.consolidation import consolidate
from ringviz.engine.consolidation_measured import measure
from ringviz.errors import InputError
from tests.vmm.migration.guests import writer


def test_measured_and_reckoned_copies_agree_where_they_overlap(tmp_path: Path) -> None:
    scenario = writer(tmp_path / "guest", 8, 3, 1_000)
    techniques = ["vt-x", "trap-emulate", "emulation"]
    for load in (Fraction(18), Fraction(33), Fraction(90)):
        reckoned = consolidate(scenario, load, techniques, ["haswell"])
        measured = measure(scenario, reckoned, 8)
        assert [(each.row.technique, each.row.mmu) for each in measured] == [
            (row.technique, row.mmu) for row in reckoned.rows
        ]
        for each in measured:
            assert each.undisturbed.is_broken
            assert each.undisturbed.copies == each.row.by_cpu
            assert each.undisturbed.switching_cycles == 0
            used = each.undisturbed.copies * each.row.total_cycles
            assert each.undisturbed.done_at == pytest.approx(used, rel=0.001)
            assert each.sliced.copies <= each.undisturbed.copies
            assert each.sliced.switching_cycles >= 0


def test_a_host_that_is_not_filled_is_said_not_to_be(tmp_path: Path) -> None:
    scenario = writer(tmp_path / "guest", 8, 3, 1_000)
    (row,) = measure(scenario, consolidate(scenario, Fraction(1), ["emulation"], ["haswell"]), 2)
    assert (row.undisturbed.copies, row.undisturbed.is_broken) == (2, False)
    with pytest.raises(InputError, match="--measure: found 17, expected 1 to 16 copies"):
        measure(scenario, consolidate(scenario, Fraction(1), ["emulation"], ["haswell"]), 17)
