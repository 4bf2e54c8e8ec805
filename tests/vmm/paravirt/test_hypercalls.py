"""Each hypercall, asked by a kernel: what it does, and with which of Xen's numbers it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.facts.hypercalls import (
    DOMID_SELF,
    FLAT_RING1_CS,
    FLAT_RING1_DS,
    FLAT_RING3_DS,
    HYPERCALLS,
    HYPERVISOR_START,
    MmuExt,
    Sched,
    XenVersion,
)
from ringviz.facts.registers import Cr0
from ringviz.machine.state import CS, DS, ES
from ringviz.vmm.events import Kind
from ringviz.vmm.paravirt import layout
from tests.vmm.lockstep import Run
from tests.vmm.paravirt.guests import (
    CODE,
    DATA,
    FIRST_FRAME,
    GUEST_BYTES,
    PAGES,
    RING0_CODE,
    RING1_CODE,
    RING1_DATA,
    STACK_TOP,
    STOP,
    TABLE,
    eax,
    finished,
    guest_word,
    hypercall,
    technique_of,
    trap,
    words,
)

EPERM, ESRCH, EFAULT, EINVAL, ENOSYS = -1, -3, -14, -22, -38
TABLE_FRAME = FIRST_FRAME + (TABLE >> 12)
READ_ONLY, WRITABLE = 5, 7
GDT = b"".join(raw.to_bytes(8, "little") for raw in (0, RING1_CODE, RING1_DATA))
MAKE_READ_ONLY = hypercall(14, TABLE, TABLE_FRAME << 12 | READ_ONLY, 2)
SET_GDT = MAKE_READ_ONLY + hypercall(2, DATA, 3)
GDT_PARTS = {TABLE: GDT, DATA: words(TABLE_FRAME)}


def ask(folder: Path, code: bytes, parts: dict[int, bytes] | None = None) -> Run:
    return finished(folder / "guest", code + STOP, parts, limit=60)


def told(run: Run) -> list[tuple[str, str]]:
    """Every hypercall by name and what was done about it."""
    return [(e.cause.removeprefix("INT 82h: "), e.action) for e in run.events if e.kind is Kind.HYPERCALL]


def test_a_call_that_xen_was_built_without_answers_enosys(tmp_path: Path) -> None:
    for number in range(70):
        row = HYPERCALLS.get(number)
        if row is None or not row.is_offered:
            run = ask(tmp_path / str(number), hypercall(number))
            assert eax(run) == ENOSYS, number
    assert eax(ask(tmp_path / "huge", hypercall(0xFFFF_FFFF))) == ENOSYS


def test_arguments_keep_their_registers_and_only_eax_answers(tmp_path: Path) -> None:
    run = ask(tmp_path, hypercall(17, 0, 2, 3, 4, 5))
    gpr = run.technique.machine.state.gpr
    assert (gpr[0], gpr[3], gpr[1], gpr[2], gpr[6], gpr[7]) == (0x0003_0000, 0, 2, 3, 4, 5)


# ---- descriptors ---------------------------------------------------------------------------------------------------


def test_a_gdt_is_checked_and_used(tmp_path: Path) -> None:
    load = bytes.fromhex("66b81100 8ed8")  # mov ax, 11h; mov ds, ax
    run = ask(tmp_path, SET_GDT + load, GDT_PARTS)
    assert told(run)[1] == ("set_gdt", "GDT of 3 entries checked and in use")
    ds = run.technique.machine.state.segments[DS]
    assert (ds.selector, ds.base, ds.limit, ds.dpl) == (0x11, 0, layout.SEGMENT_END - 1, 1)
    assert run.technique.guest_state().gdtr == (TABLE, 3 * 8 - 1)


def test_segments_of_a_gdt_are_cut_off_below_the_hypervisor_where_the_guest_can_see_it(tmp_path: Path) -> None:
    run = ask(tmp_path, SET_GDT, GDT_PARTS)
    assert guest_word(run, TABLE + 8) == 0xC3FF
    assert guest_word(run, TABLE + 12) == 0x00CFBB00
    flat = bytes.fromhex("66b81100 0f03c0")  # mov ax, 11h; lsl eax, eax
    assert eax(ask(tmp_path / "lsl", SET_GDT + flat, GDT_PARTS)) & 0xFFFF_FFFF == layout.SEGMENT_END - 1


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (RING0_CODE, "a segment of ring 0"),
        (0x00CF93000000FFFF, "data of ring 0"),
        (0x0000EB0000000067, "a task"),
        (0x0000E20000000067, "an LDT"),
        (0x0000EE0000080000, "an interrupt gate"),
        (0x0000EC0000080000, "a call gate to RPL 0"),
        (0x0000EC00FFE10000, "a call gate to the hypervisor"),
        (0xFFCFB3C000000FFF, "a segment that begins in the hypervisor"),
        (0xFF4FB3BF0000FFFF, "a byte-granular segment that reaches it"),
    ],
)
def test_a_gdt_with_a_bad_descriptor_is_refused(tmp_path: Path, raw: int, why: str) -> None:
    parts = GDT_PARTS | {TABLE: GDT + raw.to_bytes(8, "little")}
    run = ask(tmp_path, SET_GDT, parts)
    assert eax(run) == EINVAL, why
    assert technique_of(run).hypervisor.domain.gdt_pages == ()
    assert run.technique.machine.ram.read(layout.SHADOW_GDT, 32) == bytes(32)


@pytest.mark.parametrize(
    ("code", "parts", "expected"),
    [
        (hypercall(2, DATA, 3), {}, EINVAL),  # its page can still be written to
        (MAKE_READ_ONLY + hypercall(2, DATA, 0x1C01), {}, EINVAL),
        (MAKE_READ_ONLY + hypercall(2, 0xFFC1_0000, 3), {}, EFAULT),
        (MAKE_READ_ONLY + hypercall(2, GUEST_BYTES, 3), {}, EFAULT),
        (MAKE_READ_ONLY + hypercall(2, DATA, 3), {DATA: words(5)}, EINVAL),  # the hypervisor's own frame
        (MAKE_READ_ONLY + hypercall(2, DATA, 3), {DATA: words(FIRST_FRAME + PAGES)}, EINVAL),
        (MAKE_READ_ONLY + hypercall(2, DATA, 513), {DATA: words(TABLE_FRAME, TABLE_FRAME)}, 0),
    ],
)
def test_set_gdt_refuses_what_is_not_a_table_of_the_guests(
    tmp_path: Path, code: bytes, parts: dict[int, bytes], expected: int
) -> None:
    assert eax(ask(tmp_path, code, GDT_PARTS | parts)) == expected


def test_a_page_in_use_as_a_gdt_cannot_be_made_writable_again_until_another_is(tmp_path: Path) -> None:
    again = hypercall(14, TABLE, TABLE_FRAME << 12 | WRITABLE, 2)
    assert eax(ask(tmp_path / "a", SET_GDT + again, GDT_PARTS)) == EINVAL
    assert eax(ask(tmp_path / "b", SET_GDT + hypercall(2, DATA, 0) + again, GDT_PARTS)) == 0


def test_a_descriptor_changes_by_hypercall_and_segments_are_loaded_anew(tmp_path: Path) -> None:
    load = bytes.fromhex("66b81100 8ed8")  # mov ax, 11h; mov ds, ax
    base = 0x00CF_B300_0000_FFFF | 0x1234 << 16
    change = hypercall(10, (TABLE_FRAME << 12) + 16, 0, base & 0xFFFF_FFFF, base >> 32)
    run = ask(tmp_path, SET_GDT + load + change, GDT_PARTS)
    assert eax(run) == 0
    assert run.technique.machine.state.segments[DS].base == 0x1234
    assert guest_word(run, TABLE + 16) >> 16 == 0x1234


@pytest.mark.parametrize(
    ("low", "high", "address"),
    [
        (0xFFFF, 0x00CF9B00, (TABLE_FRAME << 12) + 8),
        (0xFFFF, 0x00CFBB00, (TABLE_FRAME << 12) + 4),
        (0xFFFF, 0x00CFBB00, layout.SHADOW_GDT + 8),
        (0xFFFF, 0x00CFBB00, (FIRST_FRAME + PAGES) << 12),
    ],
)
def test_a_bad_descriptor_or_place_is_refused(tmp_path: Path, low: int, high: int, address: int) -> None:
    run = ask(tmp_path, SET_GDT + hypercall(10, address, 0, low, high), GDT_PARTS)
    assert eax(run) == EINVAL


def test_a_segment_register_whose_descriptor_has_gone_makes_the_failsafe_callback(tmp_path: Path) -> None:
    load = bytes.fromhex("66b81100 8ed8 8ec0")  # mov ax, 11h; mov ds, ax; mov es, ax
    callbacks = hypercall(4, FLAT_RING1_CS, CODE, FLAT_RING1_CS, CODE + 0x800)
    gone = hypercall(10, (TABLE_FRAME << 12) + 16, 0, 0, 0)
    run = ask(tmp_path, SET_GDT + callbacks + load + gone, GDT_PARTS | {CODE + 0x800: STOP})
    state = run.technique.machine.state
    assert (state.eip, state.segments[CS].selector, state.cpl) == (CODE + 0x800, FLAT_RING1_CS, 1)
    assert not state.segments[DS].is_usable
    assert not state.segments[ES].is_usable
    frame = [guest_word(run, state.gpr[4] + 4 * i) for i in range(7)]
    assert frame[:4] == [0x11, 0x11, FLAT_RING1_DS, FLAT_RING1_DS]  # DS, ES, FS, GS
    assert frame[5] & 0xFFFF == FLAT_RING1_CS


def test_an_ldt_is_checked_and_used(tmp_path: Path) -> None:
    set_ldt = MAKE_READ_ONLY + hypercall(26, DATA, 1, DATA + 0x40, DOMID_SELF)
    load = bytes.fromhex("66b81500 8ed8")  # mov ax, 15h; mov ds, ax
    run = ask(tmp_path, set_ldt + load, {TABLE: GDT, DATA: words(MmuExt.SET_LDT, TABLE, 3)})
    assert run.technique.machine.state.segments[DS].selector == 0x15
    assert guest_word(run, DATA + 0x40) == 1
    assert run.technique.guest_state().ldtr.base == TABLE


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ((MmuExt.SET_LDT, TABLE + 8, 3), EINVAL),
        ((MmuExt.SET_LDT, TABLE, 0x2001), EINVAL),
        ((MmuExt.SET_LDT, 0xFFC0_0000, 3), EINVAL),
        ((MmuExt.SET_LDT, GUEST_BYTES, 3), EINVAL),
        ((MmuExt.SET_LDT, DATA, 3), EINVAL),  # writable
        ((MmuExt.SET_LDT, 0, 0), 0),
        ((MmuExt.TLB_FLUSH_LOCAL, 0, 0), 0),
        ((MmuExt.INVLPG_LOCAL, DATA, 0), 0),
        ((MmuExt.INVLPG_MULTI, DATA, DATA), 0),
        ((MmuExt.TLB_FLUSH_MULTI, 0, DATA), 0),
        ((MmuExt.TLB_FLUSH_MULTI, 0, GUEST_BYTES), EFAULT),
        ((MmuExt.FLUSH_CACHE, 0, 0), EINVAL),
        ((MmuExt.NEW_BASEPTR, TABLE_FRAME, 0), EINVAL),  # descriptors make no tables
        ((MmuExt.PIN_L1_TABLE, TABLE_FRAME, 0), EINVAL),
        ((MmuExt.PIN_L3_TABLE, TABLE_FRAME, 0), EINVAL),
        ((MmuExt.UNPIN_TABLE, TABLE_FRAME, 0), EINVAL),
        ((99, 0, 0), EINVAL),
    ],
)
def test_mmu_operations_are_done_or_refused(tmp_path: Path, operation: tuple[int, ...], expected: int) -> None:
    code = MAKE_READ_ONLY + hypercall(26, DATA, 1, 0, DOMID_SELF)
    assert eax(ask(tmp_path, code, {TABLE: GDT, DATA: words(*operation)})) == expected


def test_mmu_operations_for_other_domains_are_refused(tmp_path: Path) -> None:
    assert eax(ask(tmp_path, hypercall(26, DATA, 1, 0, 3))) == EINVAL


# ---- memory --------------------------------------------------------------------------------------------------------


def test_the_shared_page_appears_where_it_is_asked_for(tmp_path: Path) -> None:
    where = DATA + 0x1000
    read = b"\xa1" + words(where)  # mov eax, [where]
    run = ask(tmp_path, hypercall(14, where, layout.SHARED_INFO | WRITABLE, 2) + read)
    assert eax(run) & 0xFFFF == 0x0100  # nothing pending, masked
    write = b"\xc6\x05" + words(where + 1) + b"\x00"  # mov byte [where + 1], 0
    run = ask(tmp_path / "w", hypercall(14, where, layout.SHARED_INFO | WRITABLE, 2) + write)
    assert not technique_of(run).hypervisor.shared.is_masked
    assert run.technique.guest_state().eflags & 0x200


@pytest.mark.parametrize(
    ("address", "entry", "expected"),
    [
        (DATA, TABLE_FRAME << 12 | WRITABLE, 0),
        (DATA, 0x5000 | WRITABLE, EINVAL),
        (DATA, layout.HOLE_TABLE | WRITABLE, EINVAL),
        (DATA, layout.M2P, 0),
        (DATA, layout.M2P | 1, EINVAL),
        (DATA, (FIRST_FRAME + PAGES) << 12 | WRITABLE, EINVAL),
        (GUEST_BYTES, TABLE_FRAME << 12 | WRITABLE, EINVAL),
        (0xFFC1_0000, layout.SHARED_INFO | WRITABLE, EINVAL),
        (HYPERVISOR_START, layout.SHARED_INFO | WRITABLE, EINVAL),
        (DATA, layout.SHARED_INFO | WRITABLE | 0x100, EINVAL),
        (DATA, 0, 0),
    ],
)
def test_only_frames_of_the_guests_can_be_mapped(tmp_path: Path, address: int, entry: int, expected: int) -> None:
    assert eax(ask(tmp_path, hypercall(14, address, entry, 2))) == expected


# ---- traps, stack, callbacks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("selector", [0, 0x08, 0x0A, 0x0B, 0xE018, 0xE021, 0xE02B, 0xFFC1, 0xFFE1, 0xFFE0])
def test_a_handler_outside_ring_1_is_refused(tmp_path: Path, selector: int) -> None:
    table = trap(3, 0, FLAT_RING1_CS, 0x1234) + trap(13, 0, selector, 0x5678) + bytes(8)
    run = ask(tmp_path, hypercall(0, DATA), {DATA: table})
    assert eax(run) == EPERM
    assert set(technique_of(run).hypervisor.domain.traps) == {3}
    assert eax(ask(tmp_path / "c", hypercall(4, selector, CODE, FLAT_RING1_CS, CODE))) == EPERM
    assert eax(ask(tmp_path / "f", hypercall(4, FLAT_RING1_CS, CODE, selector, CODE))) == EPERM


def test_a_trap_table_replaces_entries_and_none_clears_all(tmp_path: Path) -> None:
    table = trap(3, 0, FLAT_RING1_CS, 0x1234) + trap(0x80, 3, FLAT_RING1_CS, 0x5678) + bytes(8)
    run = ask(tmp_path, hypercall(0, DATA), {DATA: table})
    gate = run.technique.machine.ram.read_int(layout.INTERRUPT_TABLE + 8 * 0x80, 8)
    assert gate == 0x0000_EF00_E019_5678
    run = ask(tmp_path / "c", hypercall(0, DATA) + hypercall(0, 0), {DATA: table})
    assert technique_of(run).hypervisor.domain.traps == {}
    assert run.technique.machine.ram.read_int(layout.INTERRUPT_TABLE + 8 * 0x80, 8) == 0


def test_a_trap_table_without_an_end_ends_where_memory_does(tmp_path: Path) -> None:
    table = trap(200, 0, FLAT_RING1_CS, 0x1234) * 512
    run = ask(tmp_path, hypercall(14, DATA + 0x1000, 0, 2) + hypercall(0, DATA), {DATA: table})
    assert eax(run) == EFAULT


@pytest.mark.parametrize(("selector", "expected"), [(0x10, EPERM), (0x12, EPERM), (0x13, EPERM), (0x11, 0)])
def test_a_kernel_stack_is_ring_1s(tmp_path: Path, selector: int, expected: int) -> None:
    assert eax(ask(tmp_path, hypercall(3, selector, STACK_TOP))) == expected


# ---- CPU -----------------------------------------------------------------------------------------------------------


def test_the_task_switched_flag_is_set_and_cleared_by_hypercall(tmp_path: Path) -> None:
    assert ask(tmp_path / "a", hypercall(5, 1)).technique.machine.state.cr0 & Cr0.TS
    assert not ask(tmp_path / "b", hypercall(5, 1) + hypercall(5, 0)).technique.machine.state.cr0 & Cr0.TS


@pytest.mark.parametrize(
    ("number", "value", "expected"),
    [
        (0, 0x1234, 0x1234),
        (3, HYPERVISOR_START, EPERM),
        (4, 0, EINVAL),
        (6, 0, 0xFFFF_0FF0 - (1 << 32)),
        (7, 1 << 13, EPERM),
        (7, 2 << 16, EPERM),
        (7, 2 << 18, EPERM),
        (7, 0x0155, 0x0555),
        (9, 0, EINVAL),
    ],
)
def test_debug_registers_go_through_the_hypervisor(tmp_path: Path, number: int, value: int, expected: int) -> None:
    run = ask(tmp_path, hypercall(8, number, value))
    if expected < 0 and number != 6:
        assert eax(run) == expected
    else:
        assert eax(ask(tmp_path / "get", hypercall(8, number, value) + hypercall(9, number))) == expected
    assert eax(ask(tmp_path / "beyond", hypercall(9, 8))) == EINVAL


# ---- talking and ending --------------------------------------------------------------------------------------------


def test_text_reaches_the_console_in_one_call(tmp_path: Path) -> None:
    run = ask(tmp_path, hypercall(18, 0, 5, DATA), {DATA: b"hello world"})
    assert run.technique.machine.bus.console == "hello"
    assert told(run) == [("console_io", "console ← 'hello'")]
    assert eax(run) == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((0, 0xFFFF_FFFF, DATA), 0), ((0, 0, 0xFFFF_0000), 0), ((1, 5, DATA), 0), ((2, 5, DATA), ENOSYS)]
    + [((0, 5, place), EFAULT) for place in (HYPERVISOR_START - 2, 0xFFC1_0000, 0xFFFF_FFFE, GUEST_BYTES - 2)],
)
def test_text_that_is_not_the_guests_is_not_printed(tmp_path: Path, arguments: tuple[int, ...], expected: int) -> None:
    run = ask(tmp_path, hypercall(18, *arguments), {DATA: b"hello"})
    assert (eax(run), run.technique.machine.bus.console) == (expected, "")


def test_a_very_long_text_is_printed_in_several_goes_of_one_hypercall(tmp_path: Path) -> None:
    run = ask(tmp_path, hypercall(18, 0, 150_000, DATA), {DATA: b"x"})
    assert len(run.technique.machine.bus.console) == 150_000
    assert len(told(run)) == 3
    assert run.position == 60
    assert sum(technique_of(run).hypervisor.domain.calls.values()) == 1


@pytest.mark.parametrize("call", [hypercall(6, Sched.SHUTDOWN, 5), hypercall(29, Sched.SHUTDOWN, DATA)])
def test_a_shutdowns_reason_is_what_the_exit_port_would_have_been_told(tmp_path: Path, call: bytes) -> None:
    run = ask(tmp_path, call, {DATA: words(5)})
    assert run.ended is not None
    assert (run.ended.how, run.technique.machine.bus.exit_code) == ("exit", 11)
    assert run.ended.text == "the guest shut down by sched_op, exit code 11"


def test_blocking_with_nothing_to_wait_for_halts(tmp_path: Path) -> None:
    run = ask(tmp_path, hypercall(6, Sched.BLOCK))
    assert run.ended is not None
    assert run.ended.how == "halted"


def test_yielding_goes_on_and_other_commands_do_not_exist(tmp_path: Path) -> None:
    assert eax(ask(tmp_path / "y", hypercall(29, Sched.YIELD, 0))) == 0
    assert eax(ask(tmp_path / "n", hypercall(29, 7, 0))) == ENOSYS
    assert eax(ask(tmp_path / "f", hypercall(29, Sched.SHUTDOWN, HYPERVISOR_START))) == EFAULT


def test_the_hypervisor_says_who_it_is(tmp_path: Path) -> None:
    run = ask(tmp_path / "c", hypercall(17, XenVersion.CAPABILITIES, DATA))
    assert run.technique.machine.ram.read(layout.GUEST_BASE + DATA, 16) == b"xen-3.0-x86_32\0\0"
    run = ask(tmp_path / "p", hypercall(17, XenVersion.PLATFORM_PARAMETERS, DATA))
    assert guest_word(run, DATA) == HYPERVISOR_START
    run = ask(tmp_path / "f", hypercall(17, XenVersion.GET_FEATURES, DATA), {DATA: words(0, 7)})
    assert guest_word(run, DATA + 4) == 0
    assert eax(ask(tmp_path / "i", hypercall(17, XenVersion.GET_FEATURES, DATA), {DATA: words(1, 7)})) == EINVAL
    assert eax(ask(tmp_path / "s", hypercall(17, XenVersion.PAGESIZE))) == 4096
    assert eax(ask(tmp_path / "n", hypercall(17, 2, DATA))) == ENOSYS
    assert eax(ask(tmp_path / "w", hypercall(17, XenVersion.EXTRAVERSION, HYPERVISOR_START - 4))) == EFAULT


@pytest.mark.parametrize(
    ("command", "kind", "expected"), [(0, 0, 0), (1, 0, 0), (0, 2, ENOSYS), (1, 2, 0), (2, 0, ENOSYS), (0, 3, EINVAL)]
)
def test_help_that_is_not_offered_is_refused(tmp_path: Path, command: int, kind: int, expected: int) -> None:
    assert eax(ask(tmp_path, hypercall(21, command, kind))) == expected


# ---- several at once -----------------------------------------------------------------------------------------------


def entry(number: int, *arguments: int) -> bytes:
    return words(number, 0xAAAA, *arguments, *(0,) * (6 - len(arguments)))


def test_a_multicall_answers_each_of_its_calls(tmp_path: Path) -> None:
    batch = entry(17, 0) + entry(99) + entry(13, DATA, 1) + entry(23) + entry(18, 0, 2, DATA + 0x100)
    run = ask(tmp_path, hypercall(13, DATA, 5), {DATA: batch, DATA + 0x100: b"hi"})
    answers = [guest_word(run, DATA + 32 * i + 4) for i in range(5)]
    assert answers == [0x0003_0000, ENOSYS & 0xFFFF_FFFF, EINVAL & 0xFFFF_FFFF, ENOSYS & 0xFFFF_FFFF, 0]
    assert run.technique.machine.bus.console == "hi"
    (event,) = [event for event in run.events if event.kind is Kind.HYPERCALL]
    assert event.charges == ("hypercall", *("hypercall-entry",) * 5)
    assert run.position == 60


def test_a_long_multicall_goes_on_where_it_gave_way(tmp_path: Path) -> None:
    batch = entry(18, 0, 1, DATA) * 3000
    run = ask(tmp_path, hypercall(13, DATA, 3000), {DATA: batch})
    assert len(run.technique.machine.bus.console) == 3000
    assert len(told(run)) == 3
    assert eax(run) == 0


def test_a_multicall_stops_at_a_shutdown(tmp_path: Path) -> None:
    batch = entry(6, Sched.SHUTDOWN, 0) + entry(18, 0, 1, DATA)
    run = ask(tmp_path, hypercall(13, DATA, 2), {DATA: batch})
    assert run.ended is not None
    assert run.technique.machine.bus.console == ""


def test_a_multicall_that_lies_beyond_the_guest_is_refused(tmp_path: Path) -> None:
    assert eax(ask(tmp_path, hypercall(13, GUEST_BYTES - 32, 2), {})) == EFAULT


def test_a_hypercall_says_its_arguments_and_answer(tmp_path: Path) -> None:
    run = ask(tmp_path, hypercall(3, FLAT_RING3_DS, STACK_TOP))
    (event,) = [event for event in run.events if event.kind is Kind.HYPERCALL]
    assert event.detail == (
        ("EAX", "3 stack_switch"), ("ss", "0000E033"), ("esp", "00040000"), ("result", "−EPERM"),
    )  # fmt: skip
    assert (event.from_ring, event.via_ring, event.to_ring) == (1, 0, 1)
    assert event.action == "refused: a stack in E033 would not be ring 1's"
