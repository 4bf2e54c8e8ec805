"""Exceptions and interrupts of a recompiled kernel and its programs: frames, gates, and having no handler."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.facts.hypercalls import FLAT_RING1_CS, FLAT_RING1_DS, FLAT_RING3_CS, FLAT_RING3_DS
from ringviz.facts.registers import Cr0
from ringviz.machine.state import CS, ESP, SS
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.paravirt import layout
from tests.vmm.lockstep import Run
from tests.vmm.paravirt.guests import (
    CODE,
    DATA,
    GUEST_BYTES,
    HANDLERS,
    IRETD,
    STACK_TOP,
    STOP,
    USER,
    USER_STACK_TOP,
    eax,
    finished,
    guest_word,
    hypercall,
    le,
    technique_of,
    trap,
    words,
)

SHARED = DATA + 0x1000
MAP_SHARED = hypercall(14, SHARED, layout.SHARED_INFO | 7, 2)
MASKS = 4
SET_STACK = b"\xbc" + le(STACK_TOP)  # mov esp, STACK_TOP
KERNEL_STACK = hypercall(3, FLAT_RING1_DS, STACK_TOP)


def table(*entries: tuple[int, int, int]) -> dict[int, bytes]:
    """A trap table of (vector, flags, handler) in ring 1."""
    return {DATA: b"".join(trap(v, flags, FLAT_RING1_CS, address) for v, flags, address in entries) + bytes(8)}


def to_ring_3(at: int = USER, eflags: int = 0x202) -> bytes:
    """Push a frame and EAX, and return through it by hypercall."""
    frame = (FLAT_RING3_DS, USER_STACK_TOP, eflags, FLAT_RING3_CS, at, 0x77)
    return b"".join(b"\x68" + le(value) for value in frame) + b"\xb8" + le(23) + b"\xcd\x82"


START = SET_STACK + MAP_SHARED + KERNEL_STACK + hypercall(0, DATA)
HALT = {HANDLERS: STOP, HANDLERS + 0x100: STOP}


def frame(run: Run, count: int) -> list[int]:
    """The words on top of the kernel's stack."""
    at = run.technique.machine.state.gpr[ESP]
    return [guest_word(run, at + 4 * i) for i in range(count)]


def kinds(run: Run) -> list[Kind]:
    return [event.kind for event in run.events if event.kind is not Kind.HYPERCALL]


def last(run: Run, kind: Kind) -> Event:
    return [event for event in run.events if event.kind is kind][-1]


# ---- frames --------------------------------------------------------------------------------------------------------


def test_a_fault_of_a_program_arrives_on_the_kernels_stack_as_the_cpu_would_push_it(tmp_path: Path) -> None:
    parts = table((13, MASKS, HANDLERS)) | HALT | {USER: b"\xfa"}  # cli
    run = finished(tmp_path / "guest", START + to_ring_3(), parts, limit=80)
    state = run.technique.machine.state
    assert (state.cpl, state.eip, state.segments[CS].selector) == (1, HANDLERS, FLAT_RING1_CS)
    assert state.gpr[ESP] == STACK_TOP - 24
    # RF is set in the saved flags of a fault; the event mask was 0, so IF shows 1 and CS's upper half 0.
    assert frame(run, 6) == [0, USER, FLAT_RING3_CS, 0x10202, USER_STACK_TOP, FLAT_RING3_DS]
    assert technique_of(run).hypervisor.shared.is_masked
    event = last(run, Kind.REFLECT)
    assert (event.cause, event.rule, event.from_ring, event.to_ring) == ("#GP(0)", "CPL 3 > IOPL 0", 3, 1)
    assert event.charges == ("trap-reflect",)
    assert event.native_charges == ("native-exception",)


def test_a_fault_of_the_kernel_stays_on_its_stack_and_shows_the_event_mask(tmp_path: Path) -> None:
    parts = table((6, 0, HANDLERS)) | HALT
    code = START + b"\x0f\x0b"  # ud2
    run = finished(tmp_path / "guest", code, parts, limit=60)
    assert run.technique.machine.state.gpr[ESP] == STACK_TOP - 12
    assert frame(run, 3) == [CODE + len(code) - 2, FLAT_RING1_CS | 1 << 16, 0x10000 | 0x002]
    assert frame(run, 3)[2] & 0x200 == 0  # events were masked: IF shows 0


def test_a_handler_may_return_with_a_plain_iret(tmp_path: Path) -> None:
    skip = bytes.fromhex("83042402") + IRETD  # add dword [esp], 2; iret
    parts = table((6, 0, HANDLERS)) | {HANDLERS: skip}
    code = START + b"\x0f\x0b" + b"\xb8" + le(42)  # ud2; mov eax, 42
    run = finished(tmp_path / "guest", code + STOP, parts, limit=60)
    assert eax(run) == 42
    assert run.technique.machine.state.gpr[ESP] == STACK_TOP


def test_iret_of_ring_1_to_ring_3_is_the_cpus_own_and_leaves_the_event_mask(tmp_path: Path) -> None:
    pushes = (FLAT_RING3_DS, USER_STACK_TOP, 0x202, FLAT_RING3_CS, USER)
    code = START + b"".join(b"\x68" + le(value) for value in pushes) + IRETD
    run = finished(tmp_path / "guest", code, table() | {USER: STOP}, limit=60)
    assert run.technique.machine.state.cpl == 3
    assert technique_of(run).hypervisor.shared.is_masked
    event = last(run, Kind.GATE)
    assert (event.handler, event.from_ring, event.to_ring, event.via_ring) == ("the CPU", 1, 3, None)
    assert event.charges == ()


def test_the_iret_hypercall_sets_the_event_mask_as_the_frame_says(tmp_path: Path) -> None:
    for eflags, is_masked in ((0x202, False), (0x002, True)):
        run = finished(tmp_path / f"{eflags:x}", START + to_ring_3(eflags=eflags), table() | {USER: STOP}, limit=60)
        state = run.technique.machine.state
        assert (state.cpl, eax(run)) == (3, 0x77)
        assert technique_of(run).hypervisor.shared.is_masked is is_masked
        assert bool(run.technique.guest_state().eflags & 0x200) is not is_masked
        assert state.eflags & 0x3200 == 0x200  # the real IF stays on, and IOPL 0


@pytest.mark.parametrize("selector", [0, 0x08, 0x0B, FLAT_RING1_CS & ~3, 0xFFE0])
def test_a_return_to_ring_0_ends_the_guest(tmp_path: Path, selector: int) -> None:
    pushes = (FLAT_RING3_DS, USER_STACK_TOP, 0x202, selector, USER, 0)
    code = START + b"".join(b"\x68" + le(value) for value in pushes) + b"\xb8" + le(23) + b"\xcd\x82"
    run = finished(tmp_path / "guest", code, table() | {USER: STOP}, limit=60)
    assert run.ended is not None
    assert run.ended.how == "triple-fault"
    assert run.ended.text.startswith("the hypervisor ended the guest: ")
    assert run.technique.machine.state.cpl == 1


def test_a_return_that_the_cpu_refuses_calls_the_failsafe_callback(tmp_path: Path) -> None:
    pushes = (FLAT_RING1_DS, USER_STACK_TOP, 0x202, FLAT_RING3_CS, USER, 0)  # a stack of the wrong ring
    code = START + hypercall(4, FLAT_RING1_CS, HANDLERS + 0x100, FLAT_RING1_CS, HANDLERS)
    code += b"".join(b"\x68" + le(value) for value in pushes) + b"\xb8" + le(23) + b"\xcd\x82"
    run = finished(tmp_path / "guest", code, table() | HALT, limit=80)
    assert (run.technique.machine.state.eip, run.technique.machine.state.cpl) == (HANDLERS, 1)
    assert frame(run, 9)[4:] == [USER, FLAT_RING3_CS, 0x202, USER_STACK_TOP, FLAT_RING1_DS]
    assert last(run, Kind.REFLECT).cause == "failed return"


# ---- who may raise what --------------------------------------------------------------------------------------------


def test_a_system_call_goes_through_the_guests_own_gate_with_no_vmm_in_between(tmp_path: Path) -> None:
    parts = table((0x80, 3, HANDLERS)) | {HANDLERS: IRETD, USER: b"\xcd\x80" + b"\xb8" + le(7) + STOP}
    run = finished(tmp_path / "guest", START + to_ring_3(), parts, limit=80)
    assert eax(run) == 7
    gates = [event for event in run.events if event.kind is Kind.GATE]
    assert [(e.cause, e.from_ring, e.to_ring, e.via_ring) for e in gates] == [
        ("INT 80h", 3, 1, None), ("IRETD", 1, 3, None),
    ]  # fmt: skip
    assert gates[0].charges == ()
    assert gates[0].native_charges == ("native-gate",)
    hypercalls = sum(event.kind is Kind.HYPERCALL for event in run.events)
    assert run.technique.emulated == hypercalls  # INT 80h was the CPU's own
    assert not technique_of(run).hypervisor.shared.is_masked


def test_a_system_call_that_masks_events_comes_to_the_hypervisor_first(tmp_path: Path) -> None:
    parts = table((0x80, 3 | MASKS, HANDLERS)) | HALT | {USER: b"\xcd\x80"}
    run = finished(tmp_path / "guest", START + to_ring_3(), parts, limit=80)
    assert last(run, Kind.REFLECT).cause == "INT 80h"
    assert technique_of(run).hypervisor.shared.is_masked
    assert frame(run, 5) == [USER + 2, FLAT_RING3_CS, 0x202, USER_STACK_TOP, FLAT_RING3_DS]


@pytest.mark.parametrize(("flags", "vector"), [(0, 0x80), (1, 0x80), (3, 0x82), (1, 0x40), (0, 0x40)])
def test_an_interrupt_that_ring_3_may_not_raise_is_a_general_protection(
    tmp_path: Path, flags: int, vector: int
) -> None:
    entries = ((vector, flags, HANDLERS + 0x100), (13, 0, HANDLERS)) if vector != 0x82 else ((13, 0, HANDLERS),)
    parts = table(*entries) | HALT | {USER: b"\xcd" + bytes([vector])}
    run = finished(tmp_path / "guest", START + to_ring_3(), parts, limit=80)
    assert run.technique.machine.state.eip == HANDLERS
    assert frame(run, 2) == [vector << 3 | 2, USER]
    assert last(run, Kind.REFLECT).cause == f"#GP({vector << 3 | 2:X})"


def test_a_hypercall_of_a_program_is_a_general_protection_and_does_nothing(tmp_path: Path) -> None:
    program = hypercall(18, 0, 5, DATA)
    parts = table((13, 0, HANDLERS)) | HALT | {USER: program}
    run = finished(tmp_path / "guest", START + to_ring_3(), parts, limit=80)
    assert run.technique.machine.bus.console == ""
    assert frame(run, 2) == [0x82 << 3 | 2, USER + len(program) - 2]


def test_an_interrupt_that_the_table_allows_reaches_its_handler(tmp_path: Path) -> None:
    parts = table((0x40, 3, HANDLERS)) | HALT | {USER: b"\xcd\x40"}
    run = finished(tmp_path / "guest", START + to_ring_3(), parts, limit=80)
    assert (run.technique.machine.state.eip, frame(run, 1)) == (HANDLERS, [USER + 2])
    assert last(run, Kind.REFLECT).native_charges == ("native-gate",)


@pytest.mark.parametrize(("code", "vector"), [(b"\xcc", 3), (b"\xcd\x03", 3), (b"\xf1", 1)])
def test_breakpoints_need_no_permission(tmp_path: Path, code: bytes, vector: int) -> None:
    parts = table((vector, 0, HANDLERS)) | HALT | {USER: code}
    run = finished(tmp_path / "guest", START + to_ring_3(), parts, limit=80)
    assert (run.technique.machine.state.eip, frame(run, 1)) == (HANDLERS, [USER + len(code)])


# ---- what a port has overlooked ------------------------------------------------------------------------------------

PRIVILEGED = {
    "cli": b"\xfa",
    "sti": b"\xfb",
    "hlt": b"\xf4",
    "lgdt": b"\x0f\x01\x15" + le(DATA),
    "lidt": b"\x0f\x01\x1d" + le(DATA),
    "lldt": bytes.fromhex("0f00d0"),
    "ltr": bytes.fromhex("0f00d8"),
    "mov cr0": bytes.fromhex("0f22c0"),
    "mov from cr3": bytes.fromhex("0f20d8"),
    "mov dr7": bytes.fromhex("0f23f8"),
    "clts": bytes.fromhex("0f06"),
    "lmsw": bytes.fromhex("0f01f0"),
    "invlpg": b"\x0f\x01\x3d" + le(DATA),
    "wbinvd": bytes.fromhex("0f09"),
    "rdmsr": bytes.fromhex("0f32"),
    "wrmsr": bytes.fromhex("0f30"),
    "in": bytes.fromhex("e4f4"),
    "out": bytes.fromhex("e6f4"),
}


@pytest.mark.parametrize("name", PRIVILEGED)
def test_a_privileged_instruction_comes_back_as_the_kernels_own_exception(tmp_path: Path, name: str) -> None:
    parts = table((13, 0, HANDLERS)) | HALT
    code = START + PRIVILEGED[name]
    run = finished(tmp_path / "guest", code, parts, limit=60)
    state = run.technique.machine.state
    assert (state.eip, state.cpl) == (HANDLERS, 1)
    assert frame(run, 2) == [0, CODE + len(START)]
    event = last(run, Kind.REFLECT)
    assert (event.cause, event.handler) == ("#GP(0)", "VMM in ring 0")
    assert run.technique.machine.bus.exit_code is None
    before = Run(run.technique.scenario, "paravirt").technique.machine.state
    for name_ in ("cr0", "cr3", "cr4", "gdtr", "idtr", "tr", "efer", "dr"):
        assert getattr(state, name_) == getattr(before, name_), name_


def test_pushf_shows_the_real_interrupt_flag_and_is_told_as_a_lie(tmp_path: Path) -> None:
    code = SET_STACK + MAP_SHARED + b"\x9c\x58"  # pushf; pop eax
    run = finished(tmp_path / "guest", code + STOP, table(), limit=60)
    assert eax(run) & 0x200  # the kernel's own is 0: events are masked
    event = last(run, Kind.SILENT)
    assert event.is_divergence
    assert (event.got, event.native_would) == ("00000202", "00000002")
    assert (event.from_ring, event.via_ring) == (1, None)


def test_popf_does_not_change_the_kernels_interrupt_flag_and_is_told_as_a_lie(tmp_path: Path) -> None:
    code = SET_STACK + MAP_SHARED + b"\x68" + le(0x202) + b"\x9d"  # push 202h; popf
    run = finished(tmp_path / "guest", code + STOP, table(), limit=60)
    assert technique_of(run).hypervisor.shared.is_masked
    event = last(run, Kind.SILENT)
    assert (event.got, event.native_would) == ("IF 0", "IF 1")


@pytest.mark.parametrize(
    ("code", "got"),
    [
        (b"\x0f\x01\x0d" + le(DATA), f"base {layout.IDT_LINEAR:08X} limit 07FF"),  # sidt
        (bytes.fromhex("0f00c8"), "EAX FFF0"),  # str eax
    ],
)
def test_what_the_kernel_never_had_shows_the_hypervisors(tmp_path: Path, code: bytes, got: str) -> None:
    run = finished(tmp_path / "guest", SET_STACK + code + STOP, table(), limit=60)
    event = last(run, Kind.SILENT)
    assert event.is_divergence
    assert event.got == got


def test_a_kernel_that_asks_for_its_ring_is_told_the_truth(tmp_path: Path) -> None:
    run = finished(tmp_path / "guest", SET_STACK + b"\x66\x8c\xc8" + STOP, table(), limit=60)  # mov ax, cs
    assert eax(run) & 0xFFFF == FLAT_RING1_CS
    assert kinds(run) == []
    assert run.technique.guest_state().cpl == run.technique.machine.state.cpl == 1


def test_port_instructions_of_a_program_reach_no_device(tmp_path: Path) -> None:
    parts = table((13, 0, HANDLERS)) | HALT | {USER: bytes.fromhex("b001e6f4")}  # mov al, 1; out f4h, al
    run = finished(tmp_path / "guest", START + to_ring_3(), parts, limit=80)
    assert run.technique.machine.bus.exit_code is None
    assert run.technique.machine.state.eip == HANDLERS


def test_the_first_use_of_the_fpu_after_a_task_switch_traps_once(tmp_path: Path) -> None:
    parts = table((7, 0, HANDLERS)) | {HANDLERS: IRETD}
    code = START + hypercall(5, 1) + b"\xd9\xe8" + b"\xb8" + le(9)  # fld1; mov eax, 9
    run = finished(tmp_path / "guest", code + STOP, parts, limit=80)
    assert eax(run) == 9
    assert last(run, Kind.REFLECT).cause == "#NM"
    assert not run.technique.machine.state.cr0 & Cr0.TS


# ---- no handler, no stack ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (SET_STACK + b"\x0f\x0b", "vector 06h: it has registered no handler for this"),
        (b"\xbc" + le(layout.HOLE + 0x8000) + hypercall(0, DATA) + b"\xfa", "its kernel stack"),
        (b"\xbc" + le(GUEST_BYTES + 0x100) + hypercall(0, DATA) + b"\xfa", "its kernel stack"),
    ],
)
def test_a_guest_without_a_way_on_is_ended(tmp_path: Path, code: bytes, why: str) -> None:
    run = finished(tmp_path / "guest", code, table((13, 0, HANDLERS)) | HALT, limit=60)
    assert run.ended is not None
    assert run.ended.how == "triple-fault"
    assert why in run.ended.text
    assert last(run, Kind.END).action == "domain crashed"


@pytest.mark.parametrize(
    ("selector", "pointer"),
    [
        (FLAT_RING1_DS, layout.HOLE + 0x4800),
        (FLAT_RING1_DS, GUEST_BYTES + 0x1000),
        (0x11, STACK_TOP),
        (0xFFC1, STACK_TOP),
        (0xFFE1, STACK_TOP),
    ],
)
def test_a_kernel_stack_that_is_not_the_guests_ends_it_at_the_first_entry(
    tmp_path: Path, selector: int, pointer: int
) -> None:
    code = SET_STACK + hypercall(3, selector, pointer) + hypercall(0, DATA) + to_ring_3()
    tables_before = None
    for name, program in (("fault", b"\xfa"), ("own gate", b"\xcd\x80")):
        parts = table((13, 0, HANDLERS), (0x80, 3, HANDLERS)) | HALT | {USER: program}
        run = finished(tmp_path / name, code, parts, limit=80)
        assert run.ended is not None, name
        assert run.ended.how == "triple-fault"
        interrupts = run.technique.machine.ram.read(layout.INTERRUPT_TABLE, 0x400)
        assert tables_before in (None, interrupts)
        tables_before = interrupts


# ---- page faults and limits ----------------------------------------------------------------------------------------


def test_a_page_fault_leaves_its_address_in_the_shared_page(tmp_path: Path) -> None:
    parts = table((14, 0, HANDLERS)) | HALT
    code = START + b"\xa1" + le(GUEST_BYTES + 0x1234)  # mov eax, [beyond]
    run = finished(tmp_path / "guest", code, parts, limit=60)
    assert frame(run, 2) == [0, CODE + len(START)]
    assert run.technique.machine.ram.read_int(layout.SHARED_INFO + 8, 4) == GUEST_BYTES + 0x1234
    event = last(run, Kind.REFLECT)
    assert not event.is_attempt  # nothing is mapped there: the guest's own affair
    assert event.rule == "kernel, read, no page"
    assert event.native_charges == ("native-page-fault",)


@pytest.mark.parametrize(
    "place",
    [
        layout.SEGMENT_END - 2,
        layout.SEGMENT_END,
        layout.HOLE,
        0xFFFF_FFF8,
        layout.GDT_LINEAR + 8,
        layout.IDT_LINEAR,
        layout.TSS_LINEAR + 4,
    ],
)
@pytest.mark.parametrize("opcode", [b"\xa1", b"\xa3"])
def test_above_the_limit_of_its_segments_the_kernel_gets_a_general_protection(
    tmp_path: Path, place: int, opcode: bytes
) -> None:
    parts = table((13, 0, HANDLERS), (14, 0, HANDLERS)) | HALT
    run = finished(tmp_path / "guest", START + opcode + le(place), parts, limit=60)
    assert run.technique.machine.state.eip == HANDLERS
    event = last(run, Kind.VIOLATION)
    assert event.is_attempt
    assert event.cause == "#GP(0)"  # whether something is mapped there or not: the limit comes first
    assert frame(run, 2) == [0, CODE + len(START)]


def test_a_stack_above_the_limit_is_a_stack_fault(tmp_path: Path) -> None:
    parts = table((12, 0, HANDLERS)) | HALT
    code = START + b"\xff\x35" + le(DATA) + b"\x8b\xec\x8b\x2d" + le(DATA + 0x100)  # ...; mov ebp, [..]
    code += b"\x8b\x45\x00"  # mov eax, [ebp]
    run = finished(tmp_path / "guest", code, parts | {DATA + 0x100: words(layout.IDT_LINEAR)}, limit=60)
    assert last(run, Kind.VIOLATION).cause == "#SS(0)"
    assert run.technique.machine.state.segments[SS].selector == FLAT_RING1_DS
