"""TLB misses and references of whole runs, against counts made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ringviz.engine.bill import NESTED_WALK, WALK_REFERENCE, walk_charges
from ringviz.engine.stat import stat
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.engine.walk_count import TranslationCounter, WalkCount, count_walks
from ringviz.errors import UnsupportedError
from ringviz.facts.costs import CPU_PROFILES, cost_of
from ringviz.facts.source import Source
from ringviz.facts.tlb import TlbShape
from ringviz.guest.scenario import Scenario, find_scenario
from ringviz.machine.access_trace import AccessTrace
from ringviz.machine.native_hooks import PURE_PYTHON_VARIABLE
from ringviz.machine.trace_hooks import TraceHooks
from ringviz.vmm.registry import choose
from tests.vmm.lockstep import Run
from tests.vmm.paged_guests import (
    FRAMES,
    PAE,
    POINTERS,
    PS,
    PSE,
    RELOAD_CR3,
    WINDOW,
    P,
    U,
    W,
    invlpg,
    paged_scenario,
    read,
    two_level,
    with_pae,
    write,
)

G, PGE = 0x100, 0x80
WAYS = (
    ("native", None, None),
    ("classic", None, None),
    ("trap-emulate", None, None),
    ("binary-translation", None, None),
    ("vt-x", "shadow", None),
    ("vt-x", "nested", None),
    ("vt-x", "nested", "westmere"),
    ("amd-v", "shadow", None),
    ("amd-v", "nested", None),
)


def count(scenario: Scenario, technique: str = "native", mmu: str | None = None, cpu: str | None = None) -> WalkCount:
    return count_walks(scenario, technique, choose(technique, mmu, cpu))


def more(
    folder: Path, before: list[bytes], then: list[bytes], technique: str = "native", mmu: str | None = None,
    cpu: str | None = None, entries: dict[int, int] | None = None, **options: object,
) -> WalkCount:  # fmt: skip
    """What a run counts for the code `then`: the difference to a run without it. Both end in the same way."""
    known = {i: FRAMES + (i << 12) | P | W | U for i in range(256)} if entries is None else entries
    tables = two_level(known, directory=options.pop("directory", {}))  # type: ignore[arg-type]
    runs = []
    for name, body in (("short", before), ("long", before + then)):
        scenario = paged_scenario(folder / name, body, tables, **options)  # type: ignore[arg-type]
        runs.append(count(scenario, technique, mmu, cpu))
    short, long = ({field: getattr(run, field) for field in WalkCount.__slots__} for run in runs)
    difference = {name: long[name] - short[name] for name in long if name not in ("is_nested", "tlb")}
    return WalkCount(**difference, is_nested=long["is_nested"], tlb=long["tlb"])


def misses(counted: WalkCount) -> tuple[int, int, int]:
    return counted.data_misses, counted.failed_walks, counted.references


# ---- counts made by hand ---------------------------------------------------------------------------------------------


def test_a_first_access_misses_and_takes_two_references_a_second_one_none(tmp_path: Path) -> None:
    counted = more(tmp_path, [], [read(WINDOW), write(WINDOW + 4), read(WINDOW + 8), read(WINDOW + 0x1000)])
    assert (misses(counted), counted.accesses) == ((2, 0, 4), 4)
    assert (counted.one_dimension, counted.two_dimensions) == (4, 28)


@pytest.mark.parametrize("mmu", ["nested"])
@pytest.mark.parametrize("technique", ["amd-v", "vt-x"])
def test_the_same_misses_cost_fourteen_each_in_two_dimensions(technique: str, mmu: str, tmp_path: Path) -> None:
    counted = more(tmp_path, [], [read(WINDOW), read(WINDOW + 0x1000)], technique, mmu)
    assert misses(counted) == (2, 0, 28)
    assert (counted.one_dimension, counted.two_dimensions, counted.is_nested) == (4, 28, True)


def test_pages_of_one_set_push_each_other_out(tmp_path: Path) -> None:
    """Pages 16 apart share a set of four ways: four of them stay, of five in turn none does."""

    def pages(number: int) -> list[bytes]:
        return [read(WINDOW + (i * 16 << 12)) for i in range(number)]

    four, five = pages(4), pages(5)
    assert misses(more(tmp_path / "four", four, 2 * four)) == (0, 0, 0)
    assert misses(more(tmp_path / "five", five, 2 * five)) == (10, 0, 20)


def test_the_tlb_is_that_of_the_cpus_profile(tmp_path: Path) -> None:
    """Five pages of one set stay where there are eight ways; of two in turn none stays where there is one entry."""

    def data_misses(entries: int, ways: int, pages: int, rounds: int) -> int:
        code = rounds * [read(WINDOW + (i * 16 << 12)) for i in range(pages)]
        tables = two_level({i: FRAMES + (i << 12) | P | W | U for i in range(256)})
        scenario = paged_scenario(tmp_path / f"{entries}-{ways}-{pages}-{rounds}", code, tables)
        setup = choose("native")
        shape = TlbShape(entries, ways, Source.yours("my.toml"))
        counted = count_walks(scenario, "native", replace(setup, cpu=replace(setup.cpu, tlb=shape)))
        assert counted.tlb == shape
        return counted.data_misses

    assert data_misses(128, 8, 5, 3) == data_misses(128, 8, 5, 1)
    assert data_misses(1, 1, 2, 3) == data_misses(1, 1, 2, 1) + 4


def test_an_access_across_the_end_of_a_page_looks_up_both(tmp_path: Path) -> None:
    counted = more(tmp_path, [], [read(WINDOW + 0xFFE)])
    assert (misses(counted), counted.accesses) == ((2, 0, 4), 1)


def test_a_large_page_is_one_miss_of_one_reference_and_under_a_vmm_one_for_each_small_one(tmp_path: Path) -> None:
    code = [read(0x80_0000 + (i << 12)) for i in range(1, 4)]
    large: dict[str, Any] = {"directory": {2: P | W | U | PS}, "cr4": PSE}
    assert misses(more(tmp_path / "native", [], code, **large)) == (1, 0, 1)
    assert misses(more(tmp_path / "nested", [], code, "amd-v", "nested", **large)) == (3, 0, 3 * 9)
    # A hidden fault for each small page, found at its second level; then the miss that finds it there.
    assert misses(more(tmp_path / "shadow", [], code, "classic", **large))[0] == 3


def test_pae_takes_three_references(tmp_path: Path) -> None:
    runs = [
        count(paged_scenario(tmp_path / str(i), code, with_pae({0: FRAMES | P}), cr3=POINTERS, cr4=PAE))
        for i, code in enumerate(([b"\x90"], [read(WINDOW)]))
    ]
    assert runs[1].references - runs[0].references == 3


def test_loading_cr3_forgets_all_but_global_pages(tmp_path: Path) -> None:
    entries = {0: FRAMES | P | W, 1: FRAMES + 0x1000 | P | W | G}
    both = [read(WINDOW), read(WINDOW + 0x1000)]
    plain = more(tmp_path / "plain", both, [RELOAD_CR3, *both], entries=entries)
    # Both pages; the code is fetched through the TLB for code.
    assert (plain.data_misses, plain.code_misses, plain.flushes) == (2, 1, 1)
    with_pge = more(tmp_path / "global", both, [RELOAD_CR3, *both], entries=entries, cr4=PGE)
    assert (with_pge.data_misses, with_pge.code_misses, with_pge.flushes) == (1, 1, 1)


def test_invlpg_forgets_one_page(tmp_path: Path) -> None:
    both = [read(WINDOW), read(WINDOW + 0x1000)]
    counted = more(tmp_path, both, [invlpg(WINDOW), *both])
    assert (misses(counted), counted.flushes, counted.code_misses) == ((1, 0, 2), 0, 0)


def test_a_page_fault_is_a_walk_in_vain_and_forgets_the_page(tmp_path: Path) -> None:
    """The walk ends at the second level; the kernel's handler then touches pages of its own, told by the difference."""
    entries = {0: FRAMES | P | W, 1: 0}
    warm = [read(WINDOW), read(WINDOW + 0x1000)]
    counted = more(tmp_path, warm, [read(WINDOW + 0x1000)], entries=entries)
    assert misses(counted) == (0, 1, 2)
    no_table = more(tmp_path / "table", [*warm, read(0x80_0000)], [read(0x80_0000)], entries=entries)
    assert misses(no_table) == (0, 1, 1)


@pytest.mark.parametrize(("technique", "mmu"), [("classic", None), ("amd-v", "shadow")])
def test_with_shadows_a_new_page_costs_a_walk_in_vain_before_it_misses_again(
    technique: str, mmu: str | None, tmp_path: Path
) -> None:
    warm = [read(WINDOW)]
    counted = more(tmp_path, warm, [read(WINDOW + 0x1000)], technique, mmu)
    assert (counted.data_misses, counted.failed_walks, counted.references) == (1, 1, 4)
    # A page that was only read is read-only in the shadow: its first write finds it in the TLB, and faults.
    written = more(tmp_path / "write", warm, [write(WINDOW)], technique, mmu)
    assert (written.failed_walks, written.data_misses >= 1) == (0, True)


def test_a_shadow_and_bare_metal_miss_alike_where_nothing_is_filled_in_or_flushed(tmp_path: Path) -> None:
    """Eighty pages in an order that some of them outlive: more than the TLB has room for."""
    order = [i * 7 % 80 for i in range(80)] + [i * 3 % 20 for i in range(40)]
    touched = [code for i in range(80) for code in (read(WINDOW + (i << 12)), write(WINDOW + (i << 12)))]
    rounds = [read(WINDOW + (i << 12)) for i in order]
    expected = more(tmp_path / "native", touched + rounds, rounds)
    assert 40 < expected.data_misses < 120
    for technique, mmu in (("classic", None), ("trap-emulate", None), ("amd-v", "shadow"), ("amd-v", "nested")):
        counted = more(tmp_path / technique / str(mmu), touched + rounds, rounds, technique, mmu)
        assert (counted.data_misses, counted.accesses, counted.failed_walks) == (expected.data_misses, 120, 0)


def test_a_cpu_without_tags_forgets_everything_at_every_exit(tmp_path: Path) -> None:
    cpuid, both = b"\x0f\xa2", [read(WINDOW), read(WINDOW + 0x1000)]
    for mmu, cpu, lost in (("shadow", "p4-672", 2), ("nested", "nehalem", 0)):
        counted = more(tmp_path / mmu, both, [cpuid, *both], "vt-x", mmu, cpu)
        assert (counted.data_misses, counted.flushes) == (lost, lost // 2)
    tagged = more(tmp_path / "amd", both, [cpuid, *both], "amd-v", "shadow")
    assert (tagged.data_misses, tagged.flushes) == (0, 0)


def test_two_linear_pages_of_the_same_memory_are_told_apart(tmp_path: Path) -> None:
    """The window's frames are mapped at their own addresses as well; which one is meant, the instruction says."""
    one, other = read(WINDOW), read(FRAMES)
    counted = more(tmp_path, [], [one, other, one, other, b"\xbe" + (FRAMES).to_bytes(4, "little"), b"\xad", one])
    assert (misses(counted), counted.unresolved) == ((2, 0, 4), 0)


# ---- the count disturbs nothing, and is the same however it is made ------------------------------------------------


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_a_run_that_is_counted_is_the_run_that_is_not(technique: str, mmu: str | None, cpu: str | None) -> None:
    scenario = find_scenario("paging-tour")
    plain, counted = Run(scenario, technique, cpu, mmu=mmu), Run(scenario, technique, cpu, mmu=mmu)
    made = counted.technique
    trace = AccessTrace(made.machine, made.guest_base if made.machine.second_level else 0, TranslationCounter(made))
    plain.finish()
    counted.finish()
    assert trace.accesses > 4_000
    assert trace.unresolved == 0
    assert guest_state_sha256(made) == guest_state_sha256(plain.technique)
    assert [(e.at, e.cause, e.action) for e in counted.events] == [(e.at, e.cause, e.action) for e in plain.events]


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_what_ends_in_machine_code_is_nothing_new(
    technique: str, mmu: str | None, cpu: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = find_scenario("paging-tour")
    fast = count(scenario, technique, mmu, cpu)
    assert count(scenario, technique, mmu, cpu) == fast
    with monkeypatch.context() as patch:
        patch.setattr(TraceHooks, "quiet", lambda *_args, **_options: None)
        patch.setattr(TraceHooks, "quiet_code", lambda *_args: None)
        assert count(scenario, technique, mmu, cpu) == fast
    with monkeypatch.context() as patch:
        patch.setenv(PURE_PYTHON_VARIABLE, "1")
        assert count(scenario, technique, mmu, cpu) == fast


GOLDEN = {
    ("native", None, None): (2, 9, 2, 2, 26),
    ("classic", None, None): (8, 16, 7, 4, 62),
    ("trap-emulate", None, None): (8, 19, 7, 4, 68),
    ("binary-translation", None, None): (9, 21, 7, 5, 74),
    ("vt-x", "shadow", None): (834, 1260, 9, 831, 4206),
    ("vt-x", "nested", None): (4, 14, 2, 2, 237),
    ("vt-x", "nested", "westmere"): (4, 14, 2, 2, 202),
    ("amd-v", "shadow", None): (8, 21, 8, 4, 74),
    ("amd-v", "nested", None): (4, 14, 2, 2, 202),
}
"""Misses of code and of data, walks in vain, flushes, references.

Bare metal by hand. Code: the kernel's page and the program's. Data: stack, texts, GDT, IDT, TSS, the page table that
the handler writes to, and the lazy page under both its addresses; and the page of the texts once more, for the fault
of ring 3 there, which the TLB knew enough to refuse, has thrown it out. In vain: the lazy page before it is brought,
and the kernel's write to the program, whose page only the TLB for code has. Flushes: MOV to CR3 and MOV to CR0.
"""


def test_golden_counts_of_paging_tour() -> None:
    scenario = find_scenario("paging-tour")
    for way, expected in GOLDEN.items():
        found = count(scenario, *way)
        assert (
            found.code_misses, found.data_misses, found.failed_walks, found.flushes, found.references
        ) == expected, way  # fmt: skip


def test_hardware_makes_the_accesses_that_bare_metal_makes_those_of_gates_and_returns_included() -> None:
    scenario = find_scenario("syscall-roundtrip")
    ways = [("native", None), *((t, mmu) for t in ("vt-x", "amd-v") for mmu in ("shadow", "nested"))]
    assert len({count(scenario, technique, mmu).accesses for technique, mmu in ways}) == 1


def test_full_emulation_has_no_walks_to_count() -> None:
    with pytest.raises(UnsupportedError, match="has no page walks to count"):
        count(find_scenario("paging-tour"), "emulation")


def test_stat_has_the_count_where_it_is_asked_for() -> None:
    scenario = find_scenario("paging-tour")
    asked = stat(scenario, "amd-v", "nested", walks=True)
    assert asked.walks == count(scenario, "amd-v", "nested")
    assert asked.walks is not None
    assert asked.walks.instructions == asked.retired
    plain = stat(scenario, "amd-v", "nested")
    (natives, vmms), cpu = walk_charges(asked.walks), CPU_PROFILES[plain.cpu]
    assert (
        asked.cycles.guest - plain.cycles.guest == natives[WALK_REFERENCE] * cost_of(cpu, WALK_REFERENCE).charged_cycles
    )
    assert asked.cycles.overhead - plain.cycles.overhead == vmms[NESTED_WALK] * cost_of(cpu, NESTED_WALK).charged_cycles
    priced = {"walks": None, "cycles": plain.cycles, "events": plain.events, "ledger": plain.ledger}
    assert replace(asked, **priced) == plain  # type: ignore[arg-type]
