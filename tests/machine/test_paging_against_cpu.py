"""The page walk and the emulated CPU agree on every translation, fault, error code and accessed or dirty bit."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.machine.machine import Machine
from ringviz.machine.paging import Access, mark_used, walk
from ringviz.machine.state import EAX
from ringviz.machine.stops import BudgetSpent, Fault
from tests.machine.guests import CODE, RAM_BYTES, make_machine

ROOT, DIRECTORY, TABLE = 0x30_0000, 0x30_1000, 0x30_2000
LINEAR = 0x4040_3124
"""The address looked at: with PAE entry 1 of the pointers, 2 of the directory, 3 of the table; without, 101h and 3."""
FRAMES = st.sampled_from([0x20_0000, 0x20_1000, 0x3F_F000, 0x50_0000])
NX = 1 << 63


@dataclass(frozen=True)
class Tables:
    """One path through page tables, and the registers that say how to take it."""

    cr0: int
    cr4: int
    efer: int
    directory: int
    table: int

    @property
    def size(self) -> int:
        return 8 if self.cr4 & Cr4.PAE else 4

    def lay(self, machine: Machine) -> None:
        """Write the tables; the first 4 MiB are as they are, for the code."""
        write = machine.ram.write_int
        size = self.size
        if size == 8:
            write(ROOT, 0x30_4001, 8)
            for index in range(2):
                write(0x30_4000 + 8 * index, index << 21 | 0xE7, 8)
            write(ROOT + 8, DIRECTORY | 1, 8)
            write(DIRECTORY + 8 * 2, self.directory, 8)
            write(TABLE + 8 * 3, self.table, 8)
        else:
            write(ROOT, 0x30_5000 | 7, 4)
            for index in range(1024):
                write(0x30_5000 + 4 * index, index << 12 | 0x67, 4)
            write(ROOT + 4 * (LINEAR >> 22), self.directory, 4)
            write(TABLE + 4 * 3, self.table, 4)
        state = machine.state
        state.cr0 |= self.cr0 | Cr0.PG
        state.cr4 |= self.cr4
        state.efer = self.efer
        state.cr3 = ROOT


@st.composite
def tables(draw: st.DrawFn) -> Tables:
    """Random attributes; present nine times in ten, or nothing else would be seen."""

    def attributes(*, may_be_large: bool) -> int:
        bits = draw(st.integers(0, 0x7F)) & ~0x18
        if draw(st.integers(0, 9)):
            bits |= 1
        return bits | (0x80 if may_be_large and draw(st.booleans()) else 0)

    has_pae, has_pse = draw(st.booleans()), draw(st.booleans())
    cr4 = (Cr4.PAE if has_pae else 0) | (Cr4.PSE if has_pse else 0)
    efer = Efer.NXE if has_pae and draw(st.booleans()) else 0
    first = attributes(may_be_large=True)
    large_page = has_pae or has_pse
    directory = (draw(st.sampled_from([0x20_0000, 0x0])) if first & 0x80 and large_page else TABLE) | first
    if first & 0x80 and large_page and not has_pae:
        directory = draw(st.sampled_from([0, 0x20_0000])) | first  # bit 21 is reserved in a 4 MiB page
    table = draw(FRAMES) | attributes(may_be_large=False)
    if has_pae:
        directory |= NX * draw(st.booleans())
        table |= NX * draw(st.booleans())
    return Tables(draw(st.sampled_from([0, Cr0.WP])), cr4, efer, directory, table)


def entries(machine: Machine, size: int) -> tuple[int, ...]:
    index = 2 if size == 8 else LINEAR >> 22
    base = DIRECTORY if size == 8 else ROOT
    return machine.ram.read_int(base + size * index, size), machine.ram.read_int(TABLE + size * 3, size)


CODES = {
    "read": bytes.fromhex("a1") + LINEAR.to_bytes(4, "little"),
    "write": bytes.fromhex("a3") + LINEAR.to_bytes(4, "little"),
    "fetch": bytes.fromhex("b8") + LINEAR.to_bytes(4, "little") + bytes.fromhex("ffe0"),
}


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(sorted(CODES)), st.sampled_from([0, 3]))
def test_the_walk_says_what_the_cpu_does(layout: Tables, kind: str, ring: int) -> None:
    machine = make_machine(CODES[kind], ring)
    layout.lay(machine)
    for page in range(0x20_0000, 0x30_0000, 0x1000):
        machine.ram.write_int(page + (LINEAR & 0xFFF), page | 0xC3, 4)  # C3, RET, is what the fetch finds
    state = machine.state
    access = Access(kind == "write", ring == 3, kind == "fetch")
    done = walk(machine._read_entry, state.cr0, state.cr3, state.cr4, state.efer, LINEAR, access)
    stop = machine.run(3 if kind == "fetch" else 1)
    if done.physical is None:
        assert isinstance(stop, Fault), done
        assert (stop.vector, stop.error_code, stop.linear) == (Vector.PF, done.fault, LINEAR)
        return
    if kind == "fetch":
        # What stands there may be no instruction, or one that writes where it may not.
        assert not (isinstance(stop, Fault) and stop.vector == Vector.PF and not (stop.error_code or 0) & 2)
        return
    assert stop == BudgetSpent()
    if kind == "read":
        assert machine.state.gpr[EAX] == machine.ram.read_int(done.physical, 4)
    elif done.physical < RAM_BYTES:
        assert machine.ram.read_int(done.physical, 4) == state.gpr[EAX]
    found = entries(machine, layout.size)
    mine = make_machine()
    layout.lay(mine)
    mark_used(lambda address, value, size: mine.ram.write_int(address, value, size), done, is_write=access.is_write)
    assert found == entries(mine, layout.size)


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("ring", [0, 1, 3])
@pytest.mark.parametrize("is_protected", [True, False])
@pytest.mark.parametrize("rights", [1, 3, 5, 7])
def test_every_combination_of_right_ring_and_write_protection(
    rights: int, is_protected: bool, ring: int, kind: str
) -> None:
    layout = Tables(Cr0.WP if is_protected else 0, 0, 0, TABLE | 7, 0x20_0000 | rights)
    machine = make_machine(CODES[kind], ring)
    layout.lay(machine)
    is_user, is_write = ring == 3, kind == "write"
    allowed = (rights & 4 or not is_user) and (rights & 2 or not is_write or not (is_user or is_protected))
    stop = machine.run(1)
    if allowed:
        assert stop == BudgetSpent()
    else:
        assert isinstance(stop, Fault)
        assert (stop.vector, stop.error_code) == (Vector.PF, 1 | is_write << 1 | is_user << 2)


def test_a_fault_on_the_second_page_of_an_access_names_that_page() -> None:
    layout = Tables(0, 0, 0, TABLE | 7, 0x20_0000 | 7)
    at = (LINEAR & ~0xFFF) + 0xFFE
    machine = make_machine(bytes.fromhex("a3") + at.to_bytes(4, "little"))
    layout.lay(machine)
    stop = machine.run(1)
    assert isinstance(stop, Fault)
    assert (stop.vector, stop.linear, stop.error_code) == (Vector.PF, at + 2, 2)
    assert machine.ram.read(0x20_0FFE, 2) == b"\0\0"
    assert (machine.retired, machine.state.eip) == (0, CODE)


@pytest.mark.parametrize("level", ["pointer", "directory", "large page", "table"])
@pytest.mark.parametrize("nxe", [0, Efer.NXE])
def test_the_walk_and_the_cpu_know_the_same_reserved_bits_of_pae(nxe: int, level: str) -> None:
    for bit in (1, 2, 6, 8, 11, 12, 13, 20, *range(32, 64)):
        extra = 1 << bit
        directory = 0x20_0000 | 0x87 if level == "large page" else TABLE | 7
        layout = Tables(
            0,
            Cr4.PAE,
            nxe,
            directory | extra * (level in ("directory", "large page")),
            0x20_0000 | 7 | extra * (level == "table"),
        )
        machine = make_machine(CODES["read"])
        layout.lay(machine)
        if level == "pointer":
            machine.ram.write_int(ROOT + 8, DIRECTORY | 1 | extra, 8)
        state = machine.state
        done = walk(machine._read_entry, state.cr0, state.cr3, state.cr4, state.efer, LINEAR, Access())
        stop = machine.run(1)
        assert (stop.error_code if isinstance(stop, Fault) else None) == done.fault, f"bit {bit}"
