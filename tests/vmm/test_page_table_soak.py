"""Very many guests with page tables made at random: bare metal, shadow paging and nested paging never differ.

Some three hundred run in the tests of each technique. Twenty thousand, each under every way of memory virtualization,
are behind the marker `soak`; `RINGVIZ_SOAK_SEED` and `RINGVIZ_SOAK_GUESTS` say which and how many of them:

    RINGVIZ_SOAK_SEED=3 RINGVIZ_SOAK_GUESTS=500 pytest -m soak tests/vmm/test_page_table_soak.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.vmm.lockstep import assert_lockstep
from tests.vmm.paged_guests import Body
from tests.vmm.test_shadow_random import build, guests

WAYS = (
    ("classic", "shadow", None),
    ("trap-emulate", "shadow", None),
    ("binary-translation", "shadow", None),
    ("vt-x", "shadow", "p4-672"),
    ("vt-x", "nested", "nehalem"),
    ("amd-v", "shadow", "barcelona"),
    ("amd-v", "nested", "barcelona"),
)
"""Technique, way of memory virtualization, CPU."""


@pytest.mark.soak
def test_very_many_page_tables_mean_the_same_under_every_way_of_memory_virtualization(tmp_path: Path) -> None:
    looked_at = 0

    @seed(int(os.environ.get("RINGVIZ_SOAK_SEED", "0")))
    @settings(
        max_examples=int(os.environ.get("RINGVIZ_SOAK_GUESTS", "20000")),
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(guests())
    def check(guest: tuple[Body, dict[str, object]]) -> None:
        nonlocal looked_at
        looked_at += 1
        scenario = build(tmp_path / "guest", *guest)
        for technique, mmu, cpu in WAYS:
            assert_lockstep(scenario, technique, mmu=mmu, cpu=cpu)

    check()
    assert looked_at
