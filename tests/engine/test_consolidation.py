"""Consolidation: how many copies fit, by exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.engine.consolidation import Copies, consolidate
from ringviz.engine.stat import stat
from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.guest.scenario import find_scenario

CYCLES = st.integers(1, 10**9)
LOADS = st.fractions(Fraction(1, 1000), 100, max_denominator=1000)


def copies(load: Fraction, native: int, total: int, by_memory: int | None = None) -> Copies:
    return Copies("vt-x", "shadow", CPU_PROFILES["core2"], load, native, total, (), by_memory)


@given(LOADS, CYCLES, CYCLES)
def test_as_many_copies_fit_as_the_cpu_has_cycles_for_and_not_one_more(load: Fraction, native: int, total: int) -> None:
    row = copies(load, native, total)
    a_second = row.cycles_a_second
    clock = row.cpu.clock_hz
    assert a_second is not None
    assert clock is not None
    assert row.copies * a_second <= clock < (row.copies + 1) * a_second


@given(LOADS, CYCLES, CYCLES, st.integers(0, 500))
def test_memory_is_a_second_bound(load: Fraction, native: int, total: int, by_memory: int) -> None:
    assert copies(load, native, total, by_memory).copies == min(by_memory, copies(load, native, total).by_cpu)


def test_the_arithmetic_starts_from_what_stat_says_of_each_run_on_each_cpu() -> None:
    scenario = find_scenario("hello-serial")
    result = consolidate(scenario, Fraction(5), ["vt-x", "binary-translation"], ["nehalem", "p4-672"])
    assert [(row.cpu.id, row.technique, row.mmu) for row in result.rows] == [
        ("p4-672", "vt-x", "shadow"),
        ("p4-672", "binary-translation", "shadow"),
        ("nehalem", "vt-x", "nested"),
        ("nehalem", "vt-x", "shadow"),
        ("nehalem", "binary-translation", "shadow"),
    ]
    assert [(row.technique, row.mmu, row.cpu_id, row.reason) for row in result.left_out] == [
        ("vt-x", "nested", "p4-672", "the CPU has no nested paging")
    ]
    for row in result.rows:
        run = stat(scenario, row.technique, row.mmu, row.cpu.id)
        native = stat(scenario, "native", cpu=row.cpu.id)
        assert (row.total_cycles, row.native_cycles) == (run.cycles.total, native.cycles.total)


def test_bare_metal_carries_what_its_load_says_even_where_no_clock_is_known() -> None:
    result = consolidate(find_scenario("hello-serial"), Fraction("12.5"), ["native"], ["k8-revf"], 100)
    (row,) = result.rows
    assert (row.by_cpu, row.native_cycles_a_second) == (8, None)
    assert row.by_memory == 100 // result.guest_mib


@pytest.mark.parametrize("load", [0, -1, 101])
def test_a_load_that_no_cpu_can_have_is_refused(load: int) -> None:
    with pytest.raises(InputError, match="above 0 and up to 100"):
        consolidate(find_scenario("hello-serial"), Fraction(load))


def test_names_are_checked_before_anything_runs() -> None:
    scenario = find_scenario("msr-and-cr")
    with pytest.raises(InputError):
        consolidate(scenario, Fraction(5), ["vt-y"])
    with pytest.raises(InputError):
        consolidate(scenario, Fraction(5), None, ["p5"])
    with pytest.raises(UnsupportedError):
        consolidate(scenario, Fraction(5), ["paravirt"])
