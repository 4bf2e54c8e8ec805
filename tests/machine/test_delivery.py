"""Exceptions and interrupts through the interrupt descriptor table, case by case of the manual's pseudo code."""

from __future__ import annotations

import pytest

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Eflags
from ringviz.facts.segments import Descriptor, SegmentCache
from ringviz.machine.delivery import Delivered, Interruption, Shutdown, TaskGateError, deliver
from ringviz.machine.linear import LinearMemory
from ringviz.machine.state import CS, DS, ES, ESP, FS, GS, SS, CpuState, TableRegister, real_mode_cache
from tests.machine.guests import (
    CODE,
    FREE_SELECTOR,
    GDT,
    IDT,
    INNER_STACK_TOP,
    STACK_TOP,
    TSS,
    TSS_SELECTOR,
    code_selector,
    data_selector,
    flat_state,
    gate,
    lay_tables,
    make_machine,
    play,
    put_descriptor,
    real_state,
    set_stack,
)

TARGET = 0x1234
INT32, TRAP32, INT16, TRAP16, TASK, CALL32 = 0xE, 0xF, 0x6, 0x7, 0x5, 0xC


class Memory:
    """Physical memory as a dictionary of bytes, zero where nothing was written."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def read_physical(self, address: int, size: int) -> bytes:
        return bytes(self.bytes.get(address + i, 0) for i in range(size))

    def write_physical(self, address: int, data: bytes) -> None:
        self.bytes.update(enumerate(data, address))

    def words(self, address: int, count: int, width: int = 4) -> list[int]:
        data = self.read_physical(address, count * width)
        return [int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)]


class Case:
    """A CPU in a ring, tables in dictionary memory, and a handler for every vector in ring 0."""

    def __init__(self, ring: int = 0, eflags: int = 0x0202) -> None:
        self.memory = Memory()
        lay_tables(self.memory.write_physical)
        self.state = flat_state(ring, CODE, eflags=eflags)

    def gate(self, vector: int, selector: int, type_: int = INT32, dpl: int = 0, *, present: bool = True) -> None:
        raw = gate(selector, TARGET if type_ != TASK else 0, type_, dpl, present=present)
        self.memory.write_physical(IDT + 8 * vector, raw.to_bytes(8, "little"))

    def descriptor(self, selector: int, access: int, limit: int = 0xFFFF_FFFF) -> None:
        put_descriptor(self.memory.write_physical, selector, Descriptor(0, limit, access))

    def deliver(self, vector: int, error: int | None = None, **more: int | bool) -> Delivered | Shutdown:
        event = Interruption(vector, error, **more)  # type: ignore[arg-type]
        return deliver(self.state, LinearMemory(self.state, self.memory), event)

    def second(self, vector: int, error: int | None = None, **more: int | bool) -> tuple[int, int | None]:
        """Deliver, and give the exception that delivery raised and that then reached its handler."""
        done = self.deliver(vector, error, **more)
        assert isinstance(done, Delivered)
        assert done.chain == (vector, done.vector)
        return done.vector, done.error_code


@pytest.mark.parametrize("type_", [INT32, TRAP32, INT16, TRAP16])
@pytest.mark.parametrize("error", [None, 0x1230])
@pytest.mark.parametrize("ring", [0, 1, 3])
def test_the_frame_is_as_wide_as_the_gate_and_a_new_ring_gets_its_own_stack(
    type_: int, error: int | None, ring: int
) -> None:
    case = Case(ring, eflags=0x0303)
    case.gate(40, code_selector(0), type_)
    done = case.deliver(40, error)
    width = 4 if type_ & 8 else 2
    mask = 0xFFFF_FFFF if width == 4 else 0xFFFF
    frame = [CODE & mask, code_selector(ring), 0x0303]
    if error is not None:
        frame.insert(0, error)
    if ring:
        frame += [STACK_TOP & mask, data_selector(ring)]
    top = INNER_STACK_TOP[0] if ring else STACK_TOP
    state = case.state
    assert done == Delivered(40, error, ring, 0, (40,))
    assert state.gpr[ESP] == top - width * len(frame)
    assert case.memory.words(state.gpr[ESP], len(frame), width) == frame
    assert (state.eip, state.cpl, state.segments[CS].selector) == (TARGET, 0, code_selector(0))
    assert state.segments[SS].selector == data_selector(0)
    assert state.eflags == (0x0203 if type_ in (TRAP16, TRAP32) else 0x0003)


def test_ring_1_is_entered_from_ring_3_on_the_stack_of_ring_1() -> None:
    case = Case(3)
    case.gate(40, code_selector(1))
    case.deliver(40)
    assert (case.state.cpl, case.state.gpr[ESP]) == (1, INNER_STACK_TOP[1] - 20)
    assert case.state.segments[SS].selector == data_selector(1)


def test_a_conforming_handler_stays_in_the_ring() -> None:
    case = Case(3)
    case.descriptor(FREE_SELECTOR, 0xC9F)  # DPL 0, conforming
    case.gate(40, FREE_SELECTOR)
    case.deliver(40)
    assert (case.state.cpl, case.state.segments[CS].selector) == (3, FREE_SELECTOR | 3)
    assert case.state.gpr[ESP] == STACK_TOP - 12


def test_handler_and_stack_descriptors_are_marked_accessed() -> None:
    case = Case(3)
    case.descriptor(code_selector(0), 0xC9A)
    case.descriptor(data_selector(0), 0xC92)
    case.deliver(40)
    for selector in (code_selector(0), data_selector(0)):
        assert case.memory.bytes[GDT + selector + 5] & 1


@pytest.mark.parametrize(("vector", "error", "saves_rf"), [(13, 0, True), (6, None, True), (3, None, False)])
def test_faults_save_rf_and_traps_do_not(vector: int, error: int | None, saves_rf: bool) -> None:
    case = Case()
    case.deliver(vector, error)
    flags = case.memory.words(case.state.gpr[ESP] + (12 if error is not None else 8), 1)[0]
    assert bool(flags & Eflags.RF) == saves_rf


def test_tf_nt_and_rf_are_clear_in_the_handler() -> None:
    case = Case(eflags=0x2 | Eflags.TF | Eflags.NT | Eflags.RF | Eflags.IF | Eflags.DF)
    case.deliver(40)
    assert case.state.eflags == 0x2 | Eflags.DF


def test_a_software_interrupt_saves_the_next_eip() -> None:
    case = Case()
    case.deliver(40, is_software=True, next_eip=CODE + 2)
    assert case.memory.words(case.state.gpr[ESP], 1) == [CODE + 2]


# ---- gates -----------------------------------------------------------------------------------------------------------


def test_a_vector_beyond_the_limit_is_a_general_protection_fault_naming_it() -> None:
    case = Case()
    case.state.idtr = TableRegister(IDT, 8 * 40 + 6)
    assert case.second(40) == (Vector.GP, 40 * 8 + 2 + 1)
    assert Case().deliver(255) == Delivered(255, None, 0, 0, (255,))


@pytest.mark.parametrize("is_software", [True, False])
def test_ext_tells_whether_the_program_asked(is_software: bool) -> None:
    case = Case(3)
    case.gate(40, code_selector(0), dpl=3, present=False)
    assert case.second(40, is_software=is_software) == (Vector.NP, 40 * 8 + 2 + (not is_software))


def test_int_n_needs_a_gate_that_its_ring_may_use_and_hardware_does_not() -> None:
    assert Case(3).second(40, is_software=True) == (Vector.GP, 40 * 8 + 2)
    assert Case(3).deliver(40) == Delivered(40, None, 3, 0, (40,))


@pytest.mark.parametrize("type_", [0, 1, 2, 3, 4, 8, 9, 10, 11, CALL32, 13])
def test_what_is_no_interrupt_gate_is_refused(type_: int) -> None:
    case = Case()
    raw = TARGET | code_selector(0) << 16 | (0x80 | type_) << 40
    case.memory.write_physical(IDT + 8 * 40, raw.to_bytes(8, "little"))
    assert case.second(40) == (Vector.GP, 40 * 8 + 2 + 1)


def test_a_task_gate_is_refused_by_name() -> None:
    case = Case()
    case.gate(40, TSS_SELECTOR, TASK)
    with pytest.raises(TaskGateError, match="40"):
        case.deliver(40)


# ---- the handler's code segment --------------------------------------------------------------------------------------


def test_a_null_selector_in_the_gate() -> None:
    case = Case()
    case.gate(40, 3)
    assert case.second(40) == (Vector.GP, 1)


@pytest.mark.parametrize(
    ("selector", "access", "vector"),
    [
        (FREE_SELECTOR, 0xC93, Vector.GP),  # data
        (FREE_SELECTOR, 0x88B, Vector.GP),  # a system segment
        (FREE_SELECTOR, 0xCFB, Vector.GP),  # code of ring 3, from ring 0
        (FREE_SELECTOR, 0xC1B, Vector.NP),  # absent
        (0x7F8, 0xC9B, Vector.GP),  # beyond the table
        (FREE_SELECTOR | 4, 0xC9B, Vector.GP),  # in the LDT, and there is none
    ],
)
def test_a_handler_segment_that_will_not_do(selector: int, access: int, vector: int) -> None:
    case = Case()
    if selector == FREE_SELECTOR:
        case.descriptor(selector, access)
    case.gate(40, selector)
    assert case.second(40) == (vector, selector & ~3 | 1)


def test_an_entry_point_beyond_the_segment() -> None:
    case = Case()
    case.descriptor(FREE_SELECTOR, 0x49B, TARGET - 1)
    case.gate(40, FREE_SELECTOR)
    assert case.second(40) == (Vector.GP, 1)


# ---- the inner stack -------------------------------------------------------------------------------------------------


def inner_stack(selector: int, pointer: int = 0x8_8000) -> Case:
    """A case of ring 3 entering ring 1 with this stack in the TSS."""
    case = Case(3)
    case.gate(40, code_selector(1))
    words = pointer.to_bytes(4, "little") + selector.to_bytes(4, "little")
    case.memory.write_physical(TSS + 12, words)
    return case


@pytest.mark.parametrize(
    ("selector", "access", "vector"),
    [
        (FREE_SELECTOR, 0xCB3, Vector.TS),  # RPL 0 for ring 1
        (FREE_SELECTOR | 1, 0xC93, Vector.TS),  # DPL 0 for ring 1
        (FREE_SELECTOR | 1, 0xCF3, Vector.TS),  # DPL 3 for ring 1
        (FREE_SELECTOR | 1, 0xCB1, Vector.TS),  # read-only
        (FREE_SELECTOR | 1, 0xCBB, Vector.TS),  # code
        (FREE_SELECTOR | 1, 0xC33, Vector.SS),  # absent
        (0x7F9, 0xCB3, Vector.TS),  # beyond the table
    ],
)
def test_an_inner_stack_segment_that_will_not_do(selector: int, access: int, vector: int) -> None:
    case = inner_stack(selector)
    if selector & ~3 == FREE_SELECTOR:
        case.descriptor(FREE_SELECTOR, access)
    assert case.second(40) == (vector, selector & ~3 | 1)


def test_a_null_inner_stack() -> None:
    assert inner_stack(1).second(40) == (Vector.TS, 1)


def test_a_task_state_segment_too_short_for_the_stack_of_the_ring() -> None:
    case = inner_stack(data_selector(1))
    case.state.tr = SegmentCache(TSS_SELECTOR, TSS, 12 + 6, 0x8B)
    # with ring 0's stack within the limit, the #TS can be delivered
    assert case.second(40) == (Vector.TS, TSS_SELECTOR | 1)


def test_a_16_bit_task_state_segment_has_its_stacks_elsewhere() -> None:
    case = Case(3)
    case.state.tr = SegmentCache(TSS_SELECTOR, TSS, 0x2B, 0x83)
    case.memory.write_physical(TSS + 2, (0x7000).to_bytes(2, "little") + data_selector(0).to_bytes(2, "little"))
    case.deliver(40)
    assert case.state.gpr[ESP] == 0x7000 - 20


def test_an_inner_stack_without_room_names_its_segment() -> None:
    case = inner_stack(FREE_SELECTOR | 1, pointer=0x1010)
    case.descriptor(FREE_SELECTOR, 0x4B7, 0xFFF)  # expand-down: offsets from 1000h up
    assert case.second(40) == (Vector.SS, FREE_SELECTOR | 1)


def test_a_stack_of_the_same_ring_without_room_is_a_double_fault_away() -> None:
    case = Case()
    case.state.segments[SS] = SegmentCache(data_selector(0), 0, 0xFF, 0x493)
    case.state.gpr[ESP] = 0x1000
    # #SS(EXT) cannot be pushed either, nor the #DF
    assert case.deliver(40) == Shutdown((40, Vector.SS, Vector.DF, Vector.SS))


def test_a_16_bit_stack_wraps_at_64_kib_and_keeps_the_upper_half() -> None:
    case = Case()
    set_stack(case.state, data_selector(0), 0xABCD_0004, 0x93)
    case.state.segments[SS] = SegmentCache(data_selector(0), 0, 0xFFFF, 0x93)
    case.deliver(40)
    assert case.state.gpr[ESP] == 0xABCD_FFF8
    assert case.memory.words(0xFFF8, 2) == [CODE, code_selector(0)]


# ---- one exception after another -------------------------------------------------------------------------------------


def absent(*vectors: int) -> Case:
    case = Case()
    for vector in vectors:
        case.gate(vector, code_selector(0), present=False)
    return case


def test_a_contributory_exception_that_cannot_be_delivered_is_a_double_fault() -> None:
    done = absent(Vector.GP).deliver(Vector.GP, 0)
    assert done == Delivered(Vector.DF, 0, 0, 0, (Vector.GP, Vector.DF))


def test_a_benign_exception_that_cannot_be_delivered_is_followed_by_the_second() -> None:
    done = absent(Vector.UD).deliver(Vector.UD)
    assert done == Delivered(Vector.NP, Vector.UD * 8 + 3, 0, 0, (Vector.UD, Vector.NP))


def test_a_page_fault_that_cannot_be_delivered_is_a_double_fault_and_cr2_stays() -> None:
    case = absent(Vector.PF)
    done = case.deliver(Vector.PF, 2, linear=0xDEAD_B000)
    assert done == Delivered(Vector.DF, 0, 0, 0, (Vector.PF, Vector.DF))
    assert case.state.cr2 == 0xDEAD_B000


def test_a_double_fault_that_cannot_be_delivered_shuts_the_cpu_down_and_changes_no_register() -> None:
    case = absent(Vector.GP, Vector.DF)
    before = case.state.copy()
    assert case.deliver(Vector.GP, 0) == Shutdown((Vector.GP, Vector.DF, Vector.NP))
    assert case.state == before


def paged(case: Case, *absent_pages: int) -> None:
    """Turn paging on: the first 4 MiB as they are, but for some pages."""
    directory, table = 0x30_0000, 0x30_1000
    case.memory.write_physical(directory, (table | 7).to_bytes(4, "little"))
    for page in range(1024):
        entry = 0 if page in absent_pages else page << 12 | 7
        case.memory.write_physical(table + 4 * page, entry.to_bytes(4, "little"))
    case.state.cr0 |= Cr0.PG
    case.state.cr3 = directory


def test_an_absent_stack_page_is_a_page_fault_then_a_double_fault_then_the_end() -> None:
    case = Case()
    paged(case, (STACK_TOP - 4) >> 12)
    assert case.deliver(Vector.UD) == Shutdown((Vector.UD, Vector.PF, Vector.DF, Vector.PF))
    assert case.state.cr2 >> 12 == (STACK_TOP - 4) >> 12


def test_a_page_fault_while_delivering_a_contributory_exception_is_serial() -> None:
    case = Case()
    case.gate(Vector.GP, code_selector(1))  # from ring 3, on the stack of ring 1, whose page is absent
    case.state = flat_state(3)
    paged(case, (INNER_STACK_TOP[1] - 4) >> 12)
    done = case.deliver(Vector.GP, 0)
    assert done == Delivered(Vector.PF, 2, 3, 0, (Vector.GP, Vector.PF))
    assert case.state.cr2 >> 12 == (INNER_STACK_TOP[1] - 4) >> 12


def test_a_page_fault_while_delivering_a_page_fault_is_a_double_fault_with_the_second_address() -> None:
    case = Case(3)
    case.gate(Vector.PF, code_selector(1))
    paged(case, (INNER_STACK_TOP[1] - 4) >> 12)
    done = case.deliver(Vector.PF, 4, linear=0x1111_1000)
    assert done == Delivered(Vector.DF, 0, 3, 0, (Vector.PF, Vector.DF))
    assert case.state.cr2 >> 12 == (INNER_STACK_TOP[1] - 4) >> 12


# ---- other modes -----------------------------------------------------------------------------------------------------


def test_real_mode_goes_through_the_vector_table_without_an_error_code() -> None:
    memory = Memory()
    state = real_state()
    state.eflags = 0x0302
    memory.write_physical(13 * 4, bytes.fromhex("34127856"))
    deliver(state, LinearMemory(state, memory), Interruption(13, 0))
    assert (state.eip, state.segments[CS].selector, state.segments[CS].base) == (0x1234, 0x5678, 0x56780)
    assert (state.gpr[ESP], state.eflags) == (0x7000 - 6, 0x0002)
    saved = memory.words(0x7000 - 6, 3, 2)
    assert (saved[0], saved[1], saved[2] & 0xFFFF) == (0x7C00, 0, 0x0302)


def v86_state() -> CpuState:
    state = flat_state(3, 0x100)
    for index, value in ((ES, 0x1000), (CS, 0x2000), (SS, 0x3000), (DS, 0x4000), (FS, 0x5000), (GS, 0x6000)):
        state.segments[index] = real_mode_cache(value, 0xF3)
    state.eflags = 0x2 | Eflags.VM | Eflags.IF | 3 << 12
    state.gpr[ESP] = 0x800
    return state


def test_virtual_8086_mode_is_left_with_its_data_segments_on_the_stack() -> None:
    case = Case()
    case.state = v86_state()
    case.deliver(40)
    state = case.state
    assert case.memory.words(state.gpr[ESP], 9) == [
        0x100, 0x2000, 0x2 | Eflags.VM | Eflags.IF | 3 << 12, 0x800, 0x3000, 0x1000, 0x4000, 0x5000, 0x6000,
    ]  # fmt: skip
    assert (state.cpl, state.eflags & Eflags.VM, state.gpr[ESP]) == (0, 0, INNER_STACK_TOP[0] - 36)
    assert all(not state.segments[index].is_usable for index in (ES, DS, FS, GS))


@pytest.mark.parametrize("ring", [1, 3])
def test_virtual_8086_mode_enters_ring_0_only(ring: int) -> None:
    case = Case()
    case.state = v86_state()
    case.gate(40, code_selector(ring))
    assert case.second(40) == (Vector.GP, code_selector(ring) & ~3 | 1)


# ---- with the real CPU's IRET ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [INT16, TRAP16, INT32, TRAP32])
def test_the_cpu_returns_from_a_gate_of_either_size_to_the_outer_ring(type_: int) -> None:
    handler = 0x6300  # within 64 KiB, for 16-bit gates
    at, stack = 0x7000, 0x7F00
    machine = make_machine(bytes.fromhex("cd28 40 cd29"), 3, at=at)
    machine.state.gpr[ESP] = stack
    machine.ram.write(TSS + 4, (0x9000).to_bytes(4, "little"))
    machine.ram.write(handler, b"\xcf" if type_ & 8 else b"\x66\xcf")
    machine.ram.write(IDT + 8 * 40, gate(code_selector(0), handler, type_, 3).to_bytes(8, "little"))
    machine.ram.write(IDT + 8 * 41, gate(code_selector(0), 0x6400, INT32, 3).to_bytes(8, "little"))
    machine.ram.write(0x6400, b"\xf4")
    assert play(machine) == "halt"
    assert (machine.state.gpr[0], machine.retired) == (1, 5)
    frame = [int.from_bytes(machine.ram.read(0x9000 - 20 + 4 * i, 4), "little") for i in range(5)]
    assert (frame[0], frame[1], frame[3], frame[4]) == (at + 5, code_selector(3), stack, data_selector(3))
