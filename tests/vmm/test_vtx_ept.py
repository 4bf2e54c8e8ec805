"""Extended page tables: what a walk gives, what it refuses, and what it reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.machine.memory import Ram
from ringviz.machine.stops import NestedFault
from ringviz.vmm.events import Kind
from ringviz.vmm.vtx.ept import (
    EXECUTE,
    READ,
    WRITE,
    EptWalk,
    ExtendedTables,
    is_misconfigured,
    violation_qualification,
    walk_ept,
)
from tests.vmm.guests import GUEST_BYTES, kernel_scenario, slots
from tests.vmm.lockstep import assert_lockstep

ROOT, BASE = 0x10_0000, 0x40_0000


@pytest.fixture
def tables() -> ExtendedTables:
    return ExtendedTables(Ram(8 << 20), ROOT, BASE, 4 << 20)


def test_guest_ram_leads_to_its_place_and_nothing_else_anywhere(tables: ExtendedTables) -> None:
    assert tables.translate(0x1234, is_write=True, is_fetch=False) == BASE + 0x1234
    assert tables.translate((4 << 20) - 1, is_write=False, is_fetch=True) == BASE + (4 << 20) - 1
    fault = tables.translate(4 << 20, is_write=True, is_fetch=False)
    assert fault == NestedFault(4 << 20, True, False, False, False, None)


def test_the_pointer_says_write_back_and_four_levels(tables: ExtendedTables) -> None:
    assert tables.pointer == ROOT | 0x1E


@pytest.mark.parametrize(
    ("allowed", "wanted", "fits"),
    [(READ, READ, True), (READ, WRITE, False), (READ | EXECUTE, WRITE, False), (READ | WRITE, EXECUTE, False)],
)
def test_permissions_are_kept(tables: ExtendedTables, allowed: int, wanted: int, fits: bool) -> None:
    tables._ram.write_int(tables._leaf(0x5000), BASE | 6 << 3 | allowed, 8)
    done = tables.walk(0x5000, is_write=wanted == WRITE, is_fetch=wanted == EXECUTE)
    assert (done.hpa is not None) is fits
    assert done.allowed == allowed


def test_large_pages_are_walked(tables: ExtendedTables) -> None:
    ram = tables._ram
    pdpt = ram.read_int(ROOT, 8) & ~0xFFF
    directory = ram.read_int(pdpt, 8) & ~0xFFF
    ram.write_int(directory + 8, 0x60_0000 | 6 << 3 | 0x80 | 7, 8)
    assert walk_ept(ram, ROOT, 0x20_1234, READ).hpa == 0x60_1234


MISCONFIGURED = {
    "write without read": (0x1000 | 6 << 3 | WRITE, 12, True),
    "write and execute without read": (0x1000 | 6 << 3 | WRITE | EXECUTE, 12, True),
    "execute only": (0x1000 | 6 << 3 | EXECUTE, 12, True),
    "memory type 2": (0x1000 | 2 << 3 | 7, 12, True),
    "memory type 7": (0x1000 | 7 << 3 | 7, 12, True),
    "beyond the physical addresses": (1 << 40 | 6 << 3 | 7, 12, True),
    "a table with a memory type": (0x1000 | 6 << 3 | 7, 30, False),
    "a large page off its boundary": (0x1000 | 6 << 3 | 0x80 | 7, 21, True),
}


@pytest.mark.parametrize("case", MISCONFIGURED)
def test_what_makes_no_sense_is_a_misconfiguration(case: str) -> None:
    entry, shift, is_leaf = MISCONFIGURED[case]
    assert is_misconfigured(entry, shift, is_leaf=is_leaf)


@pytest.mark.parametrize("memory_type", [0, 1, 4, 5, 6])
def test_good_entries_are_not(memory_type: int) -> None:
    assert not is_misconfigured(0x1000 | memory_type << 3 | 7, 12, is_leaf=True)
    assert not is_misconfigured(0x1007, 39, is_leaf=False)


def test_a_walk_tells_a_misconfiguration_from_a_violation(tables: ExtendedTables) -> None:
    tables._ram.write_int(tables._leaf(0x5000), 0x1000 | 2 << 3 | 7, 8)
    assert tables.walk(0x5000, is_write=False, is_fetch=False).is_misconfigured
    assert not tables.walk(8 << 20, is_write=False, is_fetch=False).is_misconfigured


def test_the_qualification_has_access_rights_and_validity() -> None:
    done = EptWalk(None, READ | EXECUTE)
    plain = violation_qualification(done, is_write=True, is_fetch=False, is_linear_valid=True, is_table_walk=False)
    assert plain == 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 8
    table = violation_qualification(done, is_write=False, is_fetch=False, is_linear_valid=True, is_table_walk=True)
    assert table == 1 | 1 << 3 | 1 << 5 | 1 << 7


@pytest.mark.parametrize("cpu", ["nehalem", "westmere"])
def test_an_access_beyond_ram_exits_as_an_ept_violation(tmp_path: Path, cpu: str) -> None:
    body = slots(b"\xc7\x05" + GUEST_BYTES.to_bytes(4, "little") + b"\x01\x00\x00\x00")
    run = assert_lockstep(kernel_scenario(tmp_path / "guest", body), "vt-x", cpu=cpu)
    event = next(event for event in run.events if event.is_attempt)
    detail = dict(event.detail)
    assert event.kind is Kind.VIOLATION
    assert (detail["EXIT_REASON"], detail["GUEST_PHYSICAL_ADDRESS"]) == ("48", f"{GUEST_BYTES:X}h")
    assert int(detail["EXIT_QUALIFICATION"][:-1], 16) & 0x187 == 0x182
