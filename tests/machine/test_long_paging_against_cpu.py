"""The walk through four levels and the emulated CPU agree on every translation, fault, error code and mark."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Efer
from ringviz.machine.machine import Machine
from ringviz.machine.paging import Access, mark_path, mark_used, walk
from ringviz.machine.state import EAX
from ringviz.machine.stops import BudgetSpent, Fault
from tests.machine.long_guests import HIGH, RAM_BYTES, TOP, make_long_machine

LEVELS = (0x30_0000, 0x30_1000, 0x30_2000)
"""Tables of the levels 3, 2 and 1, used for the address looked at."""
SLOTS = (3, 1, 2, 5)
LOW = SLOTS[0] << 39 | SLOTS[1] << 30 | SLOTS[2] << 21 | SLOTS[3] << 12 | 0x124
LINEARS = {"low": LOW, "high": HIGH + (LOW & (1 << 39) - 1) + (100 << 39)}
FRAMES = (0x20_0000, 0x20_1000, 0x6F_F000, 0x50_0000)
NX = 1 << 63


@dataclass(frozen=True)
class Path:
    """The four entries of one path, and the registers that say how they are read."""

    entries: tuple[int, int, int, int]
    cr0: int
    efer: int

    def lay(self, machine: Machine, linear: int) -> tuple[int, ...]:
        """Write the tables; give the addresses of the four entries."""
        addresses = tuple(
            table + 8 * (linear >> shift & 511) for table, shift in zip((TOP, *LEVELS), (39, 30, 21, 12), strict=True)
        )
        for address, entry in zip(addresses, self.entries, strict=True):
            machine.ram.write_int(address, entry, 8)
        machine.state.cr0 |= self.cr0
        machine.state.efer |= self.efer
        return addresses


@st.composite
def paths(draw: st.DrawFn) -> Path:
    """Random attributes, most of them present, some with bits that are reserved."""
    large_at = draw(st.sampled_from([None, None, 1, 2]))
    entries = []
    for number, table in enumerate((*LEVELS, draw(st.sampled_from(FRAMES)))):
        bits = draw(st.integers(0, 0x7F)) & ~0x18
        if draw(st.integers(0, 9)):
            bits |= 7 if draw(st.booleans()) else 1
        if draw(st.integers(0, 5)) == 0:
            bits |= 1 << draw(st.sampled_from([8, 9, 12, 20, 39, 40, 51, 52, 62, 63]))
        target = table
        if number == large_at:
            bits |= 0x80
            target = draw(st.sampled_from([0, 0x20_0000 if number == 2 else 0]))
        entries.append(target | bits)
    efer = Efer.NXE if draw(st.booleans()) else 0
    return Path((entries[0], entries[1], entries[2], entries[3]), draw(st.sampled_from([0, Cr0.WP])), efer)


def code_for(kind: str, linear: int) -> bytes:
    load = b"\x48\xb8" if kind == "fetch" else b"\x48\xa1" if kind == "read" else b"\x48\xa3"
    return load + linear.to_bytes(8, "little") + (b"\xff\xe0" if kind == "fetch" else b"")


@settings(max_examples=300, deadline=None)
@given(paths(), st.sampled_from(["read", "write", "fetch"]), st.sampled_from([0, 3]), st.sampled_from(sorted(LINEARS)))
def test_the_walk_says_what_the_cpu_does(path: Path, kind: str, ring: int, where: str) -> None:
    linear = LINEARS[where]
    machine = make_long_machine(code_for(kind, linear), ring)
    addresses = path.lay(machine, linear)
    state = machine.state
    access = Access(kind == "write", ring == 3, kind == "fetch")
    done = walk(machine._read_entry, state.cr0, state.cr3, state.cr4, state.efer, linear, access)
    stop = machine.run(3 if kind == "fetch" else 1)
    found = tuple(machine.ram.read_int(address, 8) for address in addresses)
    mine = make_long_machine()
    path.lay(mine, linear)

    def write(address: int, value: int, size: int) -> None:
        mine.ram.write_int(address, value, size)

    if done.physical is None:
        assert isinstance(stop, Fault), done
        assert (stop.vector, stop.error_code, stop.linear) == (Vector.PF, done.fault, linear)
        mark_path(write, done)
    elif kind == "fetch":
        # What stands there may be no instruction, or one that writes where it may not.
        assert not (isinstance(stop, Fault) and stop.vector == Vector.PF and not (stop.error_code or 0) & 2)
        return
    else:
        assert stop == BudgetSpent()
        if kind == "read" and done.physical < RAM_BYTES:
            assert machine.state.gpr[EAX] == machine.ram.read_int(done.physical, 8)
        mark_used(write, done, is_write=access.is_write)
    if kind != "fetch" and (done.physical is None or not TOP <= done.physical < LEVELS[2] + 0x1000):
        assert found == tuple(mine.ram.read_int(address, 8) for address in addresses)


@pytest.mark.parametrize("level", [4, 3, 2, 1])
@pytest.mark.parametrize("nxe", [0, Efer.NXE])
@pytest.mark.parametrize("is_large", [False, True])
def test_the_walk_and_the_cpu_know_the_same_reserved_bits(level: int, nxe: int, is_large: bool) -> None:
    if is_large and level not in (2, 3):
        return
    for bit in (7, 12, 13, 20, 21, 29, *range(38, 64)):
        entries = [*(table | 7 for table in LEVELS), 0x20_0000 | 7]
        if is_large:
            entries[4 - level] = 0x87
        entries[4 - level] |= 1 << bit
        path = Path((entries[0], entries[1], entries[2], entries[3]), 0, nxe)
        machine = make_long_machine(code_for("read", LOW))
        path.lay(machine, LOW)
        state = machine.state
        done = walk(machine._read_entry, state.cr0, state.cr3, state.cr4, state.efer, LOW, Access())
        stop = machine.run(1)
        assert (done.fault is not None) == isinstance(stop, Fault), bit
        if isinstance(stop, Fault):
            assert (stop.error_code, stop.linear) == (done.fault, LOW), bit


def test_a_page_of_1_gib() -> None:
    machine = make_long_machine(code_for("read", LOW))
    Path((LEVELS[0] | 7, 0x87, 0, 0), 0, 0).lay(machine, LOW)
    at = LOW & (1 << 30) - 1
    machine.ram.write_int(at, 0x1234_5678_9ABC_DEF0, 8)
    assert machine.run(1) == BudgetSpent()
    assert machine.state.gpr[EAX] == 0x1234_5678_9ABC_DEF0
