"""Walks in two dimensions on tables made by hand, without a guest that runs."""

from __future__ import annotations

import pytest

from ringviz.engine.walks import arithmetic
from ringviz.facts.paging import PagingMode
from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.guest.image import Image, StartState
from ringviz.machine.memory import Ram
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState
from ringviz.vmm.amdv.nested_tables import NestedTables
from ringviz.vmm.technique import initial_state
from ringviz.vmm.vtx.ept import ExtendedTables
from ringviz.vmm.walks import NestedWalk, TableWalk, two_dimensions

BASE, ROOT, SIZE = 0x0100_0000, 0x0010_0000, 4 << 20
PML4, POINTERS, DIRECTORY, TABLE, PAGE = 0x1000, 0x2000, 0x3000, 0x4000, 0x0020_0000
LINEAR = 0x0000_7F12_0012_3ABC
INDEXES = (LINEAR >> 39 & 511, LINEAR >> 30 & 511, LINEAR >> 21 & 511, LINEAR >> 12 & 511)


def long_mode(ram: Ram, entries: dict[int, int]) -> CpuState:
    """A CPU in long mode, and its tables in the guest's memory."""
    for address, value in entries.items():
        ram.write_int(BASE + address, value, 8)
    state = initial_state(Image((), (), 0, StartState.PROTECTED, ()))
    state.cr0 |= Cr0.PG
    state.cr3, state.cr4, state.efer = PML4, int(Cr4.PAE), int(Efer.LME | Efer.LMA)
    return state


def walked(technique: str, entries: dict[int, int]) -> TableWalk:
    ram = Ram(BASE + SIZE)
    state = long_mode(ram, entries)
    if technique == "amd-v":
        tables = NestedTables(ram, ROOT, BASE, SIZE)
        return two_dimensions(
            ram.read_int, state, LINEAR, Access(),
            nested=lambda gpa, access: tables.walk(gpa, is_write=access.is_write),
            nested_mode=PagingMode.FOUR_LEVEL, nested_root=ROOT,
        )  # fmt: skip
    ept = ExtendedTables(ram, ROOT, BASE, SIZE)

    def nested(gpa: int, access: Access) -> NestedWalk:
        done = ept.walk(gpa, is_write=access.is_write, is_fetch=access.is_fetch)
        return NestedWalk(done.entries, done.hpa, "")

    return two_dimensions(
        ram.read_int, state, LINEAR, Access(), nested=nested, nested_mode=PagingMode.EPT, nested_root=ROOT
    )


FULL = {
    PML4 + 8 * INDEXES[0]: POINTERS | 7,
    POINTERS + 8 * INDEXES[1]: DIRECTORY | 7,
    DIRECTORY + 8 * INDEXES[2]: TABLE | 7,
    TABLE + 8 * INDEXES[3]: PAGE | 7,
}


@pytest.mark.parametrize("technique", ["amd-v", "vt-x"])
def test_four_levels_on_four_take_twenty_four_references(technique: str) -> None:
    """Bhargava et al. 2008, section 1: nm + n + m, which is (4 + 1) × (4 + 1) - 1."""
    walk = walked(technique, FULL)
    assert len(walk.reads) == (4 + 1) * (4 + 1) - 1 == 24
    assert arithmetic(walk) == "4 guest + 5 translations × 4 nested = 24"
    assert (walk.mode, walk.gpa, walk.hpa) == (PagingMode.FOUR_LEVEL, PAGE + 0xABC, BASE + PAGE + 0xABC)
    own = [read for read in walk.reads if read.translates is None]
    assert [(read.entry.level, read.gpa, read.hpa) for read in own] == [
        (level, address, BASE + address) for level, address in zip((4, 3, 2, 1), FULL, strict=True)
    ]


@pytest.mark.parametrize("technique", ["amd-v", "vt-x"])
@pytest.mark.parametrize(("levels", "size"), [(3, 2 << 20), (2, 1 << 30)])
def test_large_pages_of_long_mode_save_five_references_a_level(technique: str, levels: int, size: int) -> None:
    entries = dict(list(FULL.items())[: levels - 1])
    last = list(FULL)[levels - 1]
    walk = walked(technique, entries | {last: 0x87})
    assert len(walk.reads) == levels * 4 + levels + 4
    assert (walk.gpa, walk.hpa) == (LINEAR & (size - 1), BASE + (LINEAR & (size - 1)))


@pytest.mark.parametrize("missing", range(4))
def test_a_walk_that_ends_early_has_paid_for_the_levels_before(missing: int) -> None:
    walk = walked("amd-v", FULL | {list(FULL)[missing]: 0})
    assert len(walk.reads) == (missing + 1) * 5
    assert (walk.done.fault, walk.hpa) == (0, None)
