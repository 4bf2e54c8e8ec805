"""Guests that work on their own descriptor tables: the shadows follow, and hidden segment parts stay until reloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.facts.segments import Descriptor, encode_descriptor
from ringviz.vmm.events import Kind
from tests.machine.guests import GDT, LDT, LDT_SELECTOR, code_selector, data_selector, gate
from tests.vmm.guests import BODY, SCRATCH, kernel_scenario, slots
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.vmm_memory import assert_tables_follow_the_guest, still

TECHNIQUES = ("amd-v", "classic", "trap-emulate")
SELECTOR = 0x58
"""The first free entry of the guest's table."""
GATE_SELECTOR, CODE_SELECTOR = 0x60, 0x68
IN_LDT = 0x0C
GDT_TABLES = {"at a page's start": GDT, "across pages": 0x1_1FC4, "not aligned": 0x1_2802}


def le(value: int) -> bytes:
    return value.to_bytes(4, "little")


def segment(base: int, limit: int = 0xFFFF_FFFF, access: int = 0xC93) -> bytes:
    return encode_descriptor(Descriptor(base, limit, access)).to_bytes(8, "little")


def store(address: int, data: bytes) -> tuple[bytes, ...]:
    """Slots that write bytes to memory, four at a time."""
    return tuple(
        b"\xc7\x05" + le(address + i) + data[i : i + 4] for i in range(0, len(data), 4)
    )  # mov dword [address + i], ..


def load(register: str, selector: int) -> bytes:
    """mov ax, selector; mov register, ax"""
    return (
        b"\x66\xb8"
        + selector.to_bytes(2, "little")
        + {"fs": b"\x8e\xe0", "es": b"\x8e\xc0", "ss": b"\x8e\xd0"}[register]
    )


READ_FS = b"\x64\xa1" + le(0)  # mov eax, fs:[0]
WRITE_FS = b"\x64\xff\x05" + le(4)  # inc dword fs:[4]
READ_ES = b"\x26\x8b\x15" + le(0)  # mov edx, es:[0]
MARKED = ((SCRATCH, le(0x1111_1111)), (SCRATCH + 0x1000, le(0x2222_2222)))


def check(
    folder: Path,
    technique: str,
    *codes: bytes,
    ring: int = 0,
    extra: tuple[tuple[int, bytes], ...] = (),
    gdt: int = GDT,
    marked: bool = True,
) -> Run:
    """Run the codes, each in slots of its own, in lockstep with bare metal."""
    content = tuple((address - SCRATCH, data) for address, data in MARKED)
    prepare = (
        tuple(slot for offset, data in content for slot in store(SCRATCH + offset, data))
        if marked and ring == 0
        else ()
    )
    scenario = kernel_scenario(folder / "guest", slots(*prepare, *codes), ring=ring, extra=extra, gdt=gdt)
    made = still(Run(scenario, technique).technique)
    run = assert_lockstep(scenario, technique)
    assert still(run.technique) == made
    assert_tables_follow_the_guest(run.technique)
    assert run.ended is not None
    assert run.ended.how == "halted"
    return run


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("table", GDT_TABLES)
@pytest.mark.parametrize("access", [0xC93, 0xC92, 0xCF2, 0xC13, 0xC91, 0x493])
def test_a_descriptor_the_guest_writes_takes_effect_when_it_is_loaded(
    tmp_path: Path, table: str, access: int, technique: str
) -> None:
    gdt = GDT_TABLES[table]
    run = check(
        tmp_path,
        technique,
        *store(gdt + SELECTOR, segment(SCRATCH, 0xFFF, access)),
        load("fs", SELECTOR),
        READ_FS,
        WRITE_FS,
        gdt=gdt,
    )
    if technique == "trap-emulate":
        own = [event for event in run.events if "shadow table brought up to date" in event.action]
        assert len(own) >= 2
        assert {event.kind for event in own} == {Kind.TRAP}


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_segment_register_keeps_its_old_descriptor_until_it_is_loaded_again(tmp_path: Path, technique: str) -> None:
    run = check(
        tmp_path,
        technique,
        *store(GDT + SELECTOR, segment(SCRATCH)),
        load("fs", SELECTOR) + READ_FS,
        *store(GDT + SELECTOR, segment(SCRATCH + 0x1000)),
        READ_FS + b"\x89\xc6",  # mov esi, eax: the old one
        load("fs", SELECTOR) + READ_FS + b"\x89\xc7",  # mov edi, eax: the new one
    )
    assert run.technique.guest_state().gpr[6:8] == [0x1111_1111, 0x2222_2222]


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (segment(SCRATCH), segment(SCRATCH, 0xFFF, 0x493)),
        (segment(0, 0xFFFF_FFFF), segment(0, 0xFFDF_FFFF)),
        (segment(0, 0xFFFF_FFFF, 0xC93), segment(0, 0xFFFF_FFFF, 0xCB3)),
        (segment(0, 0xFFFF_FFFF, 0xC93), segment(0, 0xFFFF_FFFF, 0xC97)),
        (segment(0, 0xFFFF_FFFF, 0xC93), segment(0, 0xFFFF_FFFF, 0xD93)),
        (segment(0, 0xFFFF_FFFF, 0xC93), segment(0, 0xFFFF_FFFF, 0xC13)),
        (segment(SCRATCH), bytes(8)),
    ],
    ids=["shorter", "shorter within the VMM's part", "ring 1", "expand-down", "AVL", "not present", "nothing"],
)
def test_a_changed_descriptor_is_what_the_next_load_gives(
    tmp_path: Path, first: bytes, second: bytes, technique: str
) -> None:
    check(
        tmp_path,
        technique,
        *store(GDT + SELECTOR, first),
        load("fs", SELECTOR),
        *store(GDT + SELECTOR, second),
        load("fs", SELECTOR),
        load("es", SELECTOR),
    )


WRITERS = {
    "lock xchg": b"\xb8" + segment(SCRATCH)[4:] + b"\xf0\x87\x05" + le(GDT + SELECTOR + 4),
    "movsd": b"\xbe" + le(SCRATCH) + b"\xbf" + le(GDT + SELECTOR) + b"\xa5\xa5",
    "rep movsb": b"\xbe" + le(SCRATCH) + b"\xbf" + le(GDT + SELECTOR) + b"\x6a\x08\x59\xf3\xa4",
    "push": b"\x89\xe5\xbc" + le(GDT + SELECTOR + 8) + b"\xff\x73\x04\xff\x33\x89\xec",
    "bts": b"\x0f\xba\x2d" + le(GDT + SELECTOR + 4) + b"\x16",
    "fstp": b"\xdf\x2b\xdf\x3d" + le(GDT + SELECTOR),  # fild qword [ebx]; fistp qword [..]
    "movq": b"\x0f\x6f\x03\x0f\x7f\x05" + le(GDT + SELECTOR) + b"\x0f\x77",  # movq mm0, [ebx]; movq [..], mm0; emms
    "a neighbour": b"\xc7\x05" + le(GDT + 0x800) + le(0x77),
    "a dword half before the page": b"\xc7\x05" + le(GDT - 2) + le(0x55),
}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("writer", WRITERS)
def test_whatever_writes_a_table_the_shadow_follows(tmp_path: Path, writer: str, technique: str) -> None:
    check(
        tmp_path,
        technique,
        *store(SCRATCH, segment(SCRATCH)),
        WRITERS[writer],
        load("fs", SELECTOR) + READ_FS,
        WRITERS[writer],
        load("fs", SELECTOR) + READ_FS,
    )


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
def test_a_program_that_writes_the_kernels_table_is_believed_as_on_bare_metal(
    tmp_path: Path, ring: int, technique: str
) -> None:
    access = 0xCF3
    check(
        tmp_path,
        technique,
        *store(GDT + SELECTOR, segment(SCRATCH, 0xFFFF_FFFF, access)),
        load("fs", SELECTOR | 3) + READ_FS,
        load("ss", SELECTOR | 3),
        load("ss", data_selector(ring)),
        ring=ring,
    )


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("access", [0xCF3, 0xCF2])
def test_the_local_table_works_like_the_global_one(tmp_path: Path, access: int, technique: str) -> None:
    check(
        tmp_path,
        technique,
        load("fs", IN_LDT),  # no local table yet: #GP
        b"\x66\xb8" + LDT_SELECTOR.to_bytes(2, "little") + b"\x0f\x00\xd0",  # mov ax, ..; lldt ax
        load("fs", IN_LDT) + READ_FS,
        *store(LDT + 8, segment(SCRATCH + 0x1000, 0xFFF, access)),
        READ_FS,
        load("fs", IN_LDT) + READ_FS,
        load("es", IN_LDT | 3) + READ_ES,
        load("fs", 0x104),  # beyond its limit
        b"\x66\x31\xc0\x0f\x00\xd0",  # xor ax, ax; lldt ax
        READ_FS,
        load("fs", IN_LDT),
        extra=((LDT + 8, segment(SCRATCH)),),
    )


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
def test_null_selectors_load_and_do_not_lead_anywhere(tmp_path: Path, ring: int, technique: str) -> None:
    check(
        tmp_path,
        technique,
        load("fs", 0),
        READ_FS,
        load("es", 0),
        READ_ES,
        b"\x26\xc7\x05" + le(SCRATCH) + le(1),
        load("ss", 0),
        b"\x31\xc0\x1e\x8e\xd8\x8b\x03\x1f",  # xor eax, eax; push ds; mov ds, ax; mov eax, [ebx]; pop ds
        ring=ring,
    )


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_program_cannot_load_the_kernels_segments(tmp_path: Path, technique: str) -> None:
    codes = [load(register, selector) for register in ("fs", "ss", "es") for selector in (0x10, 0x13, 0x08, 0x20, 0x48)]
    run = check(tmp_path, technique, *codes, ring=3)
    faults = [event for event in run.events if event.kind in (Kind.FAULT, Kind.REFLECT)]
    assert len(faults) >= len(codes)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 1, 2, 3])
def test_selectors_beyond_the_table_fault(tmp_path: Path, ring: int, technique: str) -> None:
    codes = [load("fs", selector) for selector in (0x100, 0x7FF8, 0xFFD0, 0xFFE0, 0xFFF0, 0xFFF8, 0xFFFF)]
    check(tmp_path, technique, *codes, ring=ring)


CALL_TARGET = 0xF000


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("gate_dpl", [0, 3])
@pytest.mark.parametrize("params", [0, 2])
def test_a_call_gate_leads_to_the_kernel_and_back(
    tmp_path: Path, ring: int, gate_dpl: int, params: int, technique: str
) -> None:
    entry = gate(code_selector(0), CALL_TARGET, 0xC, gate_dpl, params=params).to_bytes(8, "little")
    back = b"\xff\x03\xca" + (4 * params).to_bytes(2, "little")  # inc dword [ebx]; retf n
    call = b"\x6a\x11\x6a\x22\x9a" + bytes(4) + (GATE_SELECTOR | ring).to_bytes(2, "little")  # push; push; call far
    check(tmp_path, technique, call, ring=ring, extra=((GDT + GATE_SELECTOR, entry), (CALL_TARGET, back)))


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("access", [0xC9A, 0xC9B, 0xCFA, 0xCFB, 0xC9F, 0xC9E, 0xC1B, 0xC93])
def test_far_jumps_within_a_ring(tmp_path: Path, ring: int, access: int, technique: str) -> None:
    back = b"\xff\x03\xea" + le(BODY + 16) + code_selector(ring).to_bytes(2, "little")  # inc dword [ebx]; jmp far
    check(
        tmp_path,
        technique,
        b"\xea" + le(CALL_TARGET) + (CODE_SELECTOR | ring).to_bytes(2, "little"),
        ring=ring,
        marked=False,
        extra=((GDT + CODE_SELECTOR, segment(0, 0xFFFF_FFFF, access)), (CALL_TARGET, back)),
    )


@pytest.mark.parametrize(
    ("technique", "ring"),
    [("amd-v", 0), ("amd-v", 3), ("classic", 0), ("classic", 3), ("trap-emulate", 3)],  # ring 1 shows in a pushed CS
)
@pytest.mark.parametrize("access", [0xC9B, 0xCFB, 0xC9F, 0xC1B, 0xC93])
def test_far_calls_within_a_ring(tmp_path: Path, ring: int, access: int, technique: str) -> None:
    check(
        tmp_path,
        technique,
        b"\x9a" + le(CALL_TARGET) + (CODE_SELECTOR | ring).to_bytes(2, "little"),
        *store(SCRATCH + 0x100, le(CALL_TARGET) + le(CODE_SELECTOR)),
        b"\xb8" + le(SCRATCH + 0x100) + b"\xff\x18",  # mov eax, ..; call far [eax]
        ring=ring,
        extra=((GDT + CODE_SELECTOR, segment(0, 0xFFFF_FFFF, access)), (CALL_TARGET, b"\xff\x03\xcb")),
    )


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
def test_far_pointers_load_a_segment_and_an_offset(tmp_path: Path, ring: int, technique: str) -> None:
    check(
        tmp_path,
        technique,
        *store(SCRATCH + 0x100, le(0x1234) + le(data_selector(ring))),
        b"\x0f\xb4\x83" + le(0x100),  # lfs eax, [ebx + 100h]
        b"\xc4\x93" + le(0x100),  # les edx, [ebx + 100h]
        b"\x8e\xa3" + le(0x104),  # mov fs, [ebx + 104h]
        b"\x06\x07\x0f\xa0\x0f\xa1",  # push es; pop es; push fs; pop fs
        ring=ring,
    )


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_the_kernel_returns_to_each_outer_ring_and_comes_back(tmp_path: Path, technique: str) -> None:
    for ring in (1, 2, 3):
        run = check(tmp_path / str(ring), technique, b"\xcd\x30", b"\xfa", b"\xcd\x30", ring=ring)
        assert {event.kind for event in run.events} - {Kind.IO}


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_smaller_table_hides_its_end(tmp_path: Path, technique: str) -> None:
    check(
        tmp_path,
        technique,
        *store(SCRATCH + 0x200, (0x5F | (GDT & 0xFFFF) << 16).to_bytes(4, "little") + le(GDT >> 16)),
        load("fs", SELECTOR),
        b"\x0f\x01\x93" + le(0x200),  # lgdt [ebx + 200h]
        load("fs", SELECTOR) + READ_FS,
        load("es", 0x60),
        load("fs", 0x10),
        extra=((GDT + SELECTOR, segment(SCRATCH)), (GDT + 0x60, segment(SCRATCH))),
    )


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_another_table_takes_the_place_of_the_first(tmp_path: Path, technique: str) -> None:
    other = 0x1_3000
    check(
        tmp_path,
        technique,
        *store(SCRATCH + 0x200, (0xFF | (other & 0xFFFF) << 16).to_bytes(4, "little") + le(other >> 16)),
        b"\xbe" + le(GDT) + b"\xbf" + le(other) + b"\xb9" + le(64) + b"\xf3\xa5",
        *store(other + SELECTOR, segment(SCRATCH)),
        load("fs", SELECTOR),  # not in the table in use
        b"\x0f\x01\x93" + le(0x200),
        load("fs", SELECTOR) + READ_FS,
        *store(GDT + SELECTOR, segment(SCRATCH + 0x1000)),  # no table any more
        *store(other + SELECTOR, segment(SCRATCH + 0x1000)),
        load("fs", SELECTOR) + READ_FS,
    )
