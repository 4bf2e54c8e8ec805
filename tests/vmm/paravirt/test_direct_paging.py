"""Kernels on page tables of their own: what the CPU does with them, and what the hypervisor says to each request."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ringviz.facts.hypercalls import (
    DOMID_SELF,
    FLAT_RING1_CS,
    FLAT_RING1_DS,
    FLAT_RING3_CS,
    FLAT_RING3_DS,
    HYPERVISOR_START,
    MACH2PHYS,
    MACH2PHYS_END,
    Memory,
    MmuExt,
)
from ringviz.machine.state import EBX, ESI, ESP
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.frames import FrameType
from tests.vmm.lockstep import Run
from tests.vmm.paravirt.guests import (
    CODE,
    DATA,
    FIRST_FRAME,
    GUEST_BYTES,
    HANDLERS,
    PAGES,
    RING1_CODE,
    RING1_DATA,
    STACK_TOP,
    STOP,
    TABLE,
    USER,
    USER_STACK_TOP,
    eax,
    finished,
    guest_word,
    hypercall,
    le,
    start,
    technique_of,
    trap,
    words,
)
from tests.vmm.paravirt.hypervisor_memory import assert_nothing_leads_inward

EPERM, EFAULT, EINVAL, ENOSYS = -1, -14, -22, -38
END = {0x6_0000: b"\0"}
"""Makes the image end here, so that the builder's pages lie at known places."""
START_INFO, DIRECTORY, PAGE_TABLE = 0x6_2000, 0x6_3000, 0x6_4000
NEW_DIRECTORY, NEW_TABLE, SPARE = 0x7_0000, 0x7_1000, 0x7_2000
SHARED, LIST, DONE, CALLS = DATA + 0x1000, DATA + 0x200, DATA + 0x800, DATA + 0x900
P, RW, US, A, D = 1, 2, 4, 0x20, 0x40
SET_STACK = b"\xbc" + le(STACK_TOP)
BEGIN = SET_STACK + hypercall(14, SHARED, layout.SHARED_INFO | 7, 2) + hypercall(3, FLAT_RING1_DS, STACK_TOP)
BEGIN += hypercall(0, DATA)
HANDLER = {
    DATA: b"".join(trap(vector, 0, FLAT_RING1_CS, HANDLERS) for vector in (13, 14)) + bytes(8),
    HANDLERS: STOP,
}


def frame(address: int) -> int:
    return FIRST_FRAME + (address >> 12)


def entry(address: int, flags: int = P | RW | US) -> int:
    return frame(address) << 12 | flags


def entry_at(table: int, address: int) -> int:
    """Machine address of the entry of a page table that maps an address in its first 4 MiB."""
    return (frame(table) << 12) + 4 * (address >> 12 & 0x3FF)


def request(pointer: int, value: int) -> bytes:
    return struct.pack("<QQ", pointer, value)


def mmu_update(count: int, done: int = DONE) -> bytes:
    return hypercall(1, LIST, count, done, DOMID_SELF)


def read(address: int) -> bytes:
    return b"\xa1" + le(address)  # mov eax, [address]


def write(address: int, value: int = 0x1234) -> bytes:
    return b"\xc7\x05" + le(address) + le(value)  # mov dword [address], value


def ask(folder: Path, code: bytes, parts: dict[int, bytes] | None = None, limit: int = 80) -> Run:
    run = finished(folder / "guest", code + STOP, HANDLER | (parts or {}) | END, limit=limit)
    assert_nothing_leads_inward(technique_of(run))
    return run


def to_ring_3(code: bytes) -> tuple[bytes, dict[int, bytes]]:
    """Code that returns to a program, and the program."""
    stack = (FLAT_RING3_DS, USER_STACK_TOP, 0x202, FLAT_RING3_CS, USER, 0)
    return b"".join(b"\x68" + le(value) for value in stack) + b"\xb8" + le(23) + b"\xcd\x82", {USER: code}


def last_fault(run: Run) -> tuple[Event, list[int]]:
    """The last event that is no hypercall, and the frame it left: error code and EIP first."""
    event = [event for event in run.events if not event.cause.startswith("INT 82h")][-1]
    at = run.technique.machine.state.gpr[ESP]
    return event, [guest_word(run, at + 4 * number) for number in range(2)]


def cr2(run: Run) -> int:
    return run.technique.machine.ram.read_int(layout.SHARED_INFO + 8, 4)


def hypercalls(run: Run) -> list[Event]:
    return [event for event in run.events if event.cause.startswith("INT 82h")]


# ---- at the start --------------------------------------------------------------------------------------------------


def test_a_domain_starts_on_tables_in_its_own_memory_pinned_and_read_only(tmp_path: Path) -> None:
    run = start(tmp_path / "guest", STOP, END)
    technique, state = technique_of(run), run.technique.machine.state
    assert state.gpr[ESI] == START_INFO
    assert (guest_word(run, START_INFO + 64), guest_word(run, START_INFO + 68)) == (DIRECTORY, 2)
    assert state.cr3 == frame(DIRECTORY) << 12
    use = technique.hypervisor.domain.use
    assert use.type_of(DIRECTORY >> 12) is FrameType.L2
    assert use.counts[DIRECTORY >> 12] == 2  # pinned, and in CR3
    assert use.type_of(PAGE_TABLE >> 12) is FrameType.L1
    for page in range(PAGES):
        flags = P | US | A | (0 if page << 12 in (DIRECTORY, PAGE_TABLE) else RW)
        assert guest_word(run, PAGE_TABLE + 4 * page) & ~D == (FIRST_FRAME + page) << 12 | flags
    assert_nothing_leads_inward(technique)


def test_what_the_kernel_reads_there_is_what_the_cpu_walks(tmp_path: Path) -> None:
    run = ask(tmp_path, read(PAGE_TABLE + 4 * (DATA >> 12)))
    assert eax(run) & ~(A | D) == entry(DATA)


@pytest.mark.parametrize(
    ("table", "why"),
    [(PAGE_TABLE, "page 64h is an L1 table"), (DIRECTORY, "page 63h is an L2 table")],
)
def test_writing_to_a_table_is_the_kernels_own_page_fault_and_an_attempt(tmp_path: Path, table: int, why: str) -> None:
    code = BEGIN + write(table + 8)
    run = ask(tmp_path, code)
    event, on_stack = last_fault(run)
    assert on_stack == [P | RW, CODE + len(BEGIN)]
    assert cr2(run) == table + 8
    assert (event.kind, event.is_attempt, event.escaped) == (Kind.VIOLATION, True, False)
    assert event.rule == f"{why}: changes go through the hypervisor"


def test_a_read_only_page_that_is_no_table_is_between_the_kernel_and_itself(tmp_path: Path) -> None:
    code = BEGIN + hypercall(14, TABLE, entry(TABLE, P), 2)
    run = ask(tmp_path, code + write(TABLE))
    event, on_stack = last_fault(run)
    assert on_stack == [P | RW, CODE + len(code)]
    assert (event.kind, event.is_attempt, event.rule) == (Kind.REFLECT, False, "kernel, write, not allowed")


@pytest.mark.parametrize(("program", "error"), [(read(DATA), 5), (write(DATA), 7), (read(0x50_0000), 4)])
def test_a_page_that_is_not_for_ring_3_is_between_the_program_and_the_kernel(
    tmp_path: Path, program: bytes, error: int
) -> None:
    enter, parts = to_ring_3(program)
    run = ask(tmp_path, BEGIN + hypercall(14, DATA, entry(DATA, P | RW), 2) + enter, parts)
    event, on_stack = last_fault(run)
    assert on_stack == [error, USER]
    assert (event.kind, event.from_ring, event.to_ring) == (Kind.REFLECT, 3, 1)


# ---- the machine-to-physical table ---------------------------------------------------------------------------------


def test_the_kernel_reads_which_page_a_frame_is(tmp_path: Path) -> None:
    assert eax(ask(tmp_path / "own", read(MACH2PHYS + 4 * frame(DATA)))) == DATA >> 12
    assert eax(ask(tmp_path / "not", read(MACH2PHYS + 4 * 5))) == 0x5555_5555
    assert eax(ask(tmp_path / "end", read(MACH2PHYS_END - 4))) == 0x5555_5555
    change = mmu_update(1) + read(MACH2PHYS + 4 * frame(DATA))
    run = ask(tmp_path / "change", change, {LIST: request(frame(DATA) << 12 | 1, 0x77)})
    assert eax(run) == 0x77
    assert hypercalls(run)[0].action == "machine-to-physical entry of frame 1020h, page 20h: 77h"


def test_nobody_writes_to_it_and_ring_3_does_not_read_it(tmp_path: Path) -> None:
    run = ask(tmp_path / "write", BEGIN + write(MACH2PHYS + 4 * frame(DATA)))
    event, on_stack = last_fault(run)
    assert (on_stack[0], event.kind, event.is_attempt) == (P | RW, Kind.VIOLATION, True)
    enter, parts = to_ring_3(read(MACH2PHYS))
    run = ask(tmp_path / "read", BEGIN + enter, parts)
    event, on_stack = last_fault(run)
    assert (on_stack[0], event.kind, event.from_ring) == (P | US, Kind.VIOLATION, 3)


@pytest.mark.parametrize("place", [MACH2PHYS_END - 2, MACH2PHYS_END, 0xFD00_0000, layout.HOLE, layout.GDT_LINEAR])
def test_behind_it_the_segments_end(tmp_path: Path, place: int) -> None:
    run = ask(tmp_path, BEGIN + read(place))
    event, on_stack = last_fault(run)
    assert (on_stack[0], event.cause, event.is_attempt) == (0, "#GP(0)", True)


# ---- one entry at a time -------------------------------------------------------------------------------------------


def test_a_page_appears_where_it_is_mapped_and_the_cpu_marks_the_entry(tmp_path: Path) -> None:
    where = 0x20_0000
    run = ask(tmp_path, hypercall(14, where, entry(TABLE), 2) + write(where + 4) + read(TABLE + 4))
    assert eax(run) == 0x1234
    assert guest_word(run, PAGE_TABLE + 4 * (where >> 12)) == entry(TABLE) | A | D
    assert hypercalls(run)[0].action == "00200000h shows page 30h, writable"
    assert technique_of(run).hypervisor.domain.use.counts[TABLE >> 12] == 2


def test_what_is_unmapped_is_gone_at_once(tmp_path: Path) -> None:
    run = ask(tmp_path, BEGIN + read(TABLE) + hypercall(14, TABLE, 0, 0) + read(TABLE))
    event, on_stack = last_fault(run)
    assert (on_stack[0], cr2(run), event.kind) == (0, TABLE, Kind.REFLECT)


def test_an_address_without_a_page_table_has_no_entry_to_change(tmp_path: Path) -> None:
    run = ask(tmp_path, hypercall(14, GUEST_BYTES, entry(TABLE), 0))
    assert eax(run) == EINVAL
    assert hypercalls(run)[0].action == "refused: no L1 table maps 00400000h"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 0),
        (5, 0),
        (6, 0),
        (2 | DATA, 0),
        (2 | GUEST_BYTES, EFAULT),
        (1 | HYPERVISOR_START, EFAULT),
    ],
)
def test_a_flush_may_name_the_cpus_it_is_for(tmp_path: Path, flags: int, expected: int) -> None:
    run = ask(tmp_path, hypercall(14, TABLE, entry(TABLE, P), flags))
    assert eax(run) == expected
    assert guest_word(run, PAGE_TABLE + 4 * (TABLE >> 12)) == entry(TABLE, P)  # changed in any case


# ---- lists of requests ---------------------------------------------------------------------------------------------


def test_a_list_is_done_in_order_for_the_price_of_one_call(tmp_path: Path) -> None:
    requests = b"".join(request(entry_at(PAGE_TABLE, place), entry(place, P)) for place in (TABLE, SPARE, 0x20_0000))
    requests += request(entry_at(PAGE_TABLE, 0x20_1000), 0)
    run = ask(tmp_path, mmu_update(4), {LIST: requests})
    assert (eax(run), guest_word(run, DONE)) == (0, 4)
    (event,) = hypercalls(run)
    assert event.action == (
        "4 requests: L1 entry 30h of table 64h: page 30h, read-only; L1 entry 72h of table 64h: page 72h, read-only;"
        " L1 entry 200h of table 64h: page 200h, read-only and 1 more"
    )
    assert event.charges == ("hypercall", *("mmu-request",) * 4)


def test_a_list_ends_at_the_first_refusal_and_what_came_before_stays_done(tmp_path: Path) -> None:
    requests = request(entry_at(PAGE_TABLE, TABLE), entry(TABLE, P)) + request(entry_at(PAGE_TABLE, SPARE), 0x5007)
    requests += request(entry_at(PAGE_TABLE, DATA), 0)
    run = ask(tmp_path, mmu_update(3), {LIST: requests})
    assert (eax(run), guest_word(run, DONE)) == (EINVAL, 1)
    (event,) = hypercalls(run)
    assert event.action == "refused: request 2 of 3, frame 5h is not the guest's"
    assert (event.kind, event.is_attempt, event.charges) == (Kind.VIOLATION, True, ("hypercall", "mmu-request"))
    assert guest_word(run, PAGE_TABLE + 4 * (TABLE >> 12)) == entry(TABLE, P)
    assert guest_word(run, PAGE_TABLE + 4 * (DATA >> 12)) & P


@pytest.mark.parametrize(
    ("pointer", "value", "why"),
    [
        (entry_at(PAGE_TABLE, TABLE), entry(PAGE_TABLE), "page 64h is an L1 table (1 use)"),
        (entry_at(PAGE_TABLE, TABLE), entry(DIRECTORY), "page 63h is an L2 table (2 uses)"),
        (entry_at(PAGE_TABLE, TABLE), entry(TABLE) | 0x100, "flags 100h of entry 01030107h are not the guest's"),
        ((frame(DIRECTORY) << 12) + 8, entry(TABLE), "page 30h is mapped writable (1 use)"),
        ((frame(DIRECTORY) << 12) + 8, 0x83, "flags 80h of entry 00000083h are not the guest's"),
        ((frame(DIRECTORY) << 12) + 4 * 0x3F0, 0, "L2 entry 3F0h of table 63h is the hypervisor's own"),
        ((frame(DIRECTORY) << 12) + 4 * 0x3FF, 0, "L2 entry 3FFh of table 63h is the hypervisor's own"),
        (layout.HOLE_TABLE, 7, "frame 2h is not the guest's"),
        (entry_at(PAGE_TABLE, TABLE) | 2, 0, "mmu_update has no command 2"),
        (entry_at(PAGE_TABLE, TABLE) | 1 << 32, 0, "there is no machine address 1_01064"),
    ],
)
def test_a_request_that_would_do_harm_is_refused_with_the_reason(
    tmp_path: Path, pointer: int, value: int, why: str
) -> None:
    run = ask(tmp_path, mmu_update(1), {LIST: request(pointer, value)})
    assert (eax(run), guest_word(run, DONE)) == (EINVAL, 0)
    assert why in hypercalls(run)[0].action


def test_a_long_list_goes_on_where_it_gave_way(tmp_path: Path) -> None:
    count, at = 2500, 0x8_0000
    requests = b"".join(request(frame(SPARE) << 12 | 1, number) for number in range(count))
    run = ask(tmp_path, hypercall(1, at, count, DONE, DOMID_SELF), {at: requests})
    assert (eax(run), guest_word(run, DONE), run.position) == (0, count, 80)
    assert [len(event.charges) - 1 for event in hypercalls(run)] == [1024, 1024, 452]
    assert sum(technique_of(run).hypervisor.domain.calls.values()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((LIST, 1, 0, 3), EINVAL),
        ((HYPERVISOR_START - 8, 1, 0, DOMID_SELF), EFAULT),
        ((LIST, 0x7FFF_FFFF, 0, DOMID_SELF), EFAULT),
        ((GUEST_BYTES, 1, 0, DOMID_SELF), EFAULT),
        ((LIST, 0, 0, DOMID_SELF), 0),
        ((LIST, 0, HYPERVISOR_START, DOMID_SELF), 0),  # nowhere to put the count: Xen does not mind
    ],
)
def test_a_list_must_be_the_guests(tmp_path: Path, arguments: tuple[int, ...], expected: int) -> None:
    for number in (1, 26):
        assert eax(ask(tmp_path / str(number), hypercall(number, *arguments))) == expected


def test_a_multicall_says_what_was_validated_and_counts_its_requests(tmp_path: Path) -> None:
    def call(number: int, *arguments: int) -> bytes:
        return words(number, 0, *arguments, *(0,) * (6 - len(arguments)))

    batch = call(14, TABLE, entry(TABLE, P), 2) + call(1, LIST, 2, DONE, DOMID_SELF) + call(14, SPARE, 0x5007, 2)
    requests = request(entry_at(PAGE_TABLE, SPARE), 0) + request(entry_at(PAGE_TABLE, 0x20_0000), 0)
    run = ask(tmp_path, hypercall(13, CALLS, 3), {CALLS: batch, LIST: requests})
    assert [guest_word(run, CALLS + 32 * number + 4) for number in range(3)] == [0, 0, EINVAL & 0xFFFF_FFFF]
    (event,) = hypercalls(run)
    assert event.action == (
        "3 calls: update_va_mapping → 00030000h shows its frame, read-only, mmu_update → 2 requests: L1 entry 72h of"
        " table 64h: nothing; L1 entry 200h of table 64h: nothing, update_va_mapping → EINVAL (frame 5h is not the"
        " guest's)"
    )
    assert event.charges == ("hypercall", *("hypercall-entry",) * 3, *("mmu-request",) * 2)
    assert (event.kind, event.is_attempt) == (Kind.VIOLATION, True)


# ---- tables of its own ---------------------------------------------------------------------------------------------

OPERATIONS = words(MmuExt.PIN_L2_TABLE, frame(NEW_DIRECTORY), 0, MmuExt.NEW_BASEPTR, frame(NEW_DIRECTORY), 0)


LET_GO = hypercall(14, NEW_TABLE, entry(NEW_TABLE, P), 2) + hypercall(14, NEW_DIRECTORY, entry(NEW_DIRECTORY, P), 2)
BUILT = {0x7_3000: b"\0"}
"""The image ends behind the new tables: the builder's come behind that."""


def switched(folder: Path, code: bytes, parts: dict[int, bytes]) -> Run:
    """Let go of two pages, pin them as tables and load CR3; then run code."""
    run = finished(folder / "guest", BEGIN + LET_GO + hypercall(26, LIST, 2, DONE, DOMID_SELF) + code + STOP, parts, 80)
    assert_nothing_leads_inward(technique_of(run))
    return run


def own_tables() -> dict[int, bytes]:
    """A directory and a table in the image: all pages at their own numbers, all tables read-only, the builder's too."""
    tables = {NEW_DIRECTORY, NEW_TABLE, 0x7_6000, 0x7_7000}
    entries = [entry(page << 12, P | US | (0 if page << 12 in tables else RW)) for page in range(PAGES)]
    entries[SHARED >> 12] = layout.SHARED_INFO | 7
    return {NEW_DIRECTORY: words(entry(NEW_TABLE)), NEW_TABLE: words(*entries)} | BUILT | HANDLER | {LIST: OPERATIONS}


def test_a_kernel_goes_over_to_tables_of_its_own(tmp_path: Path) -> None:
    run = switched(tmp_path, write(SPARE) + read(SPARE), own_tables())
    assert (eax(run), guest_word(run, DONE)) == (0x1234, 2)
    assert run.technique.machine.state.cr3 == frame(NEW_DIRECTORY) << 12
    assert run.technique.guest_state().cr3 == frame(NEW_DIRECTORY) << 12
    action = hypercalls(run)[-1].action
    assert action == ("2 requests: page 70h pinned as L2 table, 1 entry valid; CR3 = 01070000, L2 table page 70h")
    assert guest_word(run, NEW_TABLE + 4 * (SPARE >> 12)) == entry(SPARE) | A | D
    assert guest_word(run, NEW_DIRECTORY) & A


def test_tables_that_map_a_table_writable_are_refused_and_the_old_ones_stay(tmp_path: Path) -> None:
    parts = own_tables()
    for place in (NEW_DIRECTORY, NEW_TABLE, 0x7_6000, 0x7_7000):
        entries = list(struct.unpack(f"<{PAGES}I", parts[NEW_TABLE]))
        entries[place >> 12] |= RW
        run = switched(tmp_path / f"{place:x}", b"", parts | {NEW_TABLE: words(*entries)})
        assert (eax(run), guest_word(run, DONE)) == (EINVAL, 0)
        action = hypercalls(run)[-1].action
        assert action.startswith("refused: request 1 of 2, L2 entry 0h of table 70h: L1 entry")
        assert f"page {place >> 12:X}h is an L" in action
        assert run.technique.machine.state.cr3 == frame(0x7_6000) << 12


def test_tables_that_can_still_be_written_to_are_refused(tmp_path: Path) -> None:
    code = BEGIN + hypercall(26, LIST, 2, DONE, DOMID_SELF)
    run = finished(tmp_path / "guest", code + STOP, own_tables(), 80)
    assert eax(run) == EINVAL
    assert "page 70h is mapped writable (1 use)" in hypercalls(run)[-1].action


def test_the_builders_tables_can_be_used_for_something_else_once_they_are_left(tmp_path: Path) -> None:
    unpin = hypercall(26, LIST + 0x40, 1, 0, DOMID_SELF)
    code = unpin + hypercall(14, 0x7_6000, entry(0x7_6000), 2) + write(0x7_6000) + read(0x7_6000)
    parts = own_tables() | {LIST + 0x40: words(MmuExt.UNPIN_TABLE, frame(0x7_6000), 0)}
    run = switched(tmp_path, code, parts)
    assert eax(run) == 0x1234
    assert [event.action for event in hypercalls(run)][-2] == "page 76h unpinned, no table now"


def test_tables_without_the_kernel_in_them_end_it(tmp_path: Path) -> None:
    parts = own_tables() | {NEW_TABLE: bytes(4 * PAGES)}
    run = finished(tmp_path / "guest", BEGIN + LET_GO + hypercall(26, LIST, 2, DONE, DOMID_SELF) + STOP, parts, 80)
    assert run.ended is not None
    assert run.ended.how == "triple-fault"
    assert "kernel stack" in run.ended.text


# ---- the LDT, which has a linear address ---------------------------------------------------------------------------


def test_the_ldt_is_what_is_mapped_at_its_address(tmp_path: Path) -> None:
    gdt = b"".join(raw.to_bytes(8, "little") for raw in (0, RING1_CODE, RING1_DATA))
    other = b"".join(raw.to_bytes(8, "little") for raw in (0, RING1_CODE, RING1_DATA | 0x1000 << 16))
    set_ldt = hypercall(14, TABLE, entry(TABLE, P), 2) + hypercall(26, LIST, 1, 0, DOMID_SELF)
    hide = hypercall(14, SPARE, entry(SPARE, P), 2) + hypercall(14, TABLE, entry(SPARE, P), 2)
    load = bytes.fromhex("66b81500 8ed8 bb77000000")  # mov ax, 15h; mov ds, ax; mov ebx, 77h
    parts = {LIST: words(MmuExt.SET_LDT, TABLE, 3), TABLE: gdt, SPARE: other}
    run = finished(tmp_path / "guest", BEGIN + set_ldt + hide + load + STOP, HANDLER | parts, 80)
    assert_nothing_leads_inward(technique_of(run))
    state = run.technique.machine.state
    assert (state.gpr[EBX], state.segments[3].base) == (0x77, 0x1000)
    use = technique_of(run).hypervisor.domain.use
    assert [use.type_of(page >> 12) for page in (TABLE, SPARE)] == [FrameType.NONE, FrameType.LDT]


def test_an_ldt_whose_page_is_taken_away_is_empty(tmp_path: Path) -> None:
    gdt = b"".join(raw.to_bytes(8, "little") for raw in (0, RING1_CODE, RING1_DATA))
    set_ldt = hypercall(14, TABLE, entry(TABLE, P), 2) + hypercall(26, LIST, 1, 0, DOMID_SELF)
    load = bytes.fromhex("66b81500 8ed8")  # mov ax, 15h; mov ds, ax
    parts = {LIST: words(MmuExt.SET_LDT, TABLE, 3), TABLE: gdt}
    at_once = hypercall(14, TABLE, entry(TABLE), 2)
    run = finished(tmp_path / "once", BEGIN + set_ldt + at_once + STOP, HANDLER | parts, 80)
    assert hypercalls(run)[-1].action == "refused: page 30h is part of the LDT (1 use)"
    code = BEGIN + set_ldt + hypercall(14, TABLE, 0, 2) + at_once + load
    run = finished(tmp_path / "guest", code + STOP, HANDLER | parts, 80)
    event, on_stack = last_fault(run)
    assert (event.cause, on_stack[0]) == ("#GP(14)", 0x14)
    assert technique_of(run).hypervisor.domain.ldt_pages == (None,)


# ---- how much memory -----------------------------------------------------------------------------------------------


def test_the_hypervisor_says_how_much_memory_there_is(tmp_path: Path) -> None:
    parts = {LIST: struct.pack("<H", DOMID_SELF), LIST + 4: struct.pack("<H", 3)}
    assert eax(ask(tmp_path / "max", hypercall(12, Memory.MAXIMUM_RAM_PAGE, 0))) == FIRST_FRAME + PAGES - 1
    for command in (Memory.CURRENT_RESERVATION, Memory.MAXIMUM_RESERVATION):
        assert eax(ask(tmp_path / f"own{command}", hypercall(12, command, LIST), parts)) == PAGES
        assert eax(ask(tmp_path / f"other{command}", hypercall(12, command, LIST + 4), parts)) == EPERM
    run = ask(tmp_path / "map", hypercall(12, Memory.MACHPHYS_MAPPING, LIST))
    assert [guest_word(run, LIST + 4 * i) for i in range(3)] == [MACH2PHYS, MACH2PHYS_END, FIRST_FRAME + PAGES - 1]
    left_out = (Memory.INCREASE_RESERVATION, Memory.DECREASE_RESERVATION, Memory.POPULATE_PHYSMAP, 99)
    for number in left_out:
        assert eax(ask(tmp_path / f"no{number}", hypercall(12, number, LIST))) == ENOSYS


def test_writable_page_tables_are_refused_in_a_sentence(tmp_path: Path) -> None:
    run = ask(tmp_path, hypercall(21, 0, 2))
    assert eax(run) == ENOSYS
    assert hypercalls(run)[0].action == "refused: page tables stay read-only: changes are asked for"
