"""Descriptor tables, stacks and handlers behind page tables, and linear addresses that the VMM has taken for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.facts.segments import Descriptor, encode_descriptor
from tests.machine.guests import GDT, IDT, INNER_STACK_TOP, STACK_TOP, TSS
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.paged_guests import (
    BODY,
    DIRECTORY,
    FRAMES,
    LAND,
    LOW_TABLE,
    OTHER_TABLE,
    PAE,
    PAE_TABLE,
    PAGED,
    POINTERS,
    TABLE,
    WINDOW,
    WP,
    A,
    Body,
    P,
    U,
    W,
    change,
    entry,
    faults,
    invlpg,
    le,
    paged_scenario,
    read,
    two_level,
    with_pae,
    write,
)

TECHNIQUES = ("classic", "trap-emulate", "binary-translation")
PAGE = 0x1000
PW, PWU = P | W, P | W | U
SELECTOR = 0x58
"""The first free entry of the guest's GDT."""


def segment(base: int, access: int = 0xC93) -> bytes:
    return encode_descriptor(Descriptor(base, 0xFFFF_FFFF, access)).to_bytes(8, "little")


def load_fs(selector: int) -> bytes:
    """mov ax, selector; mov fs, ax"""
    return b"\x66\xb8" + le(selector, 2) + b"\x8e\xe0"


READ_FS = b"\x64\xa1" + le(0)  # mov eax, fs:[0]
POINTER = 0x7180
"""What LGDT and LIDT read here."""


def load_table(opcode: bytes, base: int, limit: int = 0xFF) -> list[bytes]:
    """Slots that load GDTR or IDTR."""
    return [write(POINTER, limit | (base & 0xFFFF) << 16), write(POINTER + 4, base >> 16), opcode + le(POINTER)]


LGDT, LIDT = b"\x0f\x01\x15", b"\x0f\x01\x1d"


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("base", [WINDOW, WINDOW + PAGE - 0x5C, 0x8000_0000 + 3 * PAGE])
def test_a_gdt_at_another_linear_address_than_its_physical_one(tmp_path: Path, base: int, technique: str) -> None:
    copy = b"\xbe" + le(GDT) + b"\xbf" + le(base) + b"\xb9" + le(64)  # mov esi, ..; mov edi, ..; mov ecx, ..
    body = [
        copy,
        b"\xf3\xa5",  # rep movsd
        *load_table(LGDT, base),
        write(base + SELECTOR, int.from_bytes(segment(FRAMES + 5 * PAGE)[:4], "little")),
        write(base + SELECTOR + 4, int.from_bytes(segment(FRAMES + 5 * PAGE)[4:], "little")),
        write(FRAMES + 5 * PAGE, 0x600D_F00D),
        load_fs(SELECTOR) + READ_FS,
        write(TABLE + 4 * (base >> 12 & 3), FRAMES + 7 * PAGE | PWU),  # another page, empty, takes its place
        invlpg(base),
        load_fs(SELECTOR),
        load_fs(SELECTOR + 3),
    ]
    entries = {i: FRAMES + (6 - i) * PAGE | PWU for i in range(4)}
    run = assert_lockstep(
        paged_scenario(tmp_path / "guest", body, two_level(entries, directory={512: TABLE | PWU}), limit=2000),
        technique,
    )
    assert run.technique.guest_state().gdtr.base == base


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("rights", [0, P, P | A, PW | A, PWU])
def test_loading_a_segment_looks_its_descriptor_up_through_the_guests_page_tables(
    tmp_path: Path, rights: int, technique: str
) -> None:
    low = LOW_TABLE + 4 * (GDT >> 12)
    body = [
        load_fs(SELECTOR - 0x48),
        write(low, GDT | rights),
        invlpg(GDT),
        load_fs(SELECTOR - 0x48),
        b"\x8b\x0d" + le(low),  # mov ecx, [entry]
        load_fs(SELECTOR),
        b"\x8b\x15" + le(low),  # mov edx, [entry]
        write(low, GDT | PWU),
        invlpg(GDT),
        load_fs(SELECTOR),
    ]
    extra = [(GDT + SELECTOR, segment(FRAMES, 0xC92))]  # not accessed yet: the CPU writes to it
    scenario = paged_scenario(tmp_path / "guest", body, two_level(), extra=extra, limit=400)
    run = assert_lockstep(scenario, technique)
    assert run.ended is None or run.ended.how in ("halted", "triple-fault")
    if rights == 0:  # with the GDT, the handler's own segment is gone
        assert run.ended is not None
        assert run.ended.how == "triple-fault"


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_unmapping_the_gdt_is_noticed_where_no_shadow_follows_its_page_table(tmp_path: Path, technique: str) -> None:
    base = 0x8000_0000
    body = [
        b"\xbe" + le(GDT) + b"\xbf" + le(base) + b"\xb9" + le(64) + b"\xf3\xa5",  # copy the table there
        *load_table(LGDT, base),
        load_fs(0x10),
        write(OTHER_TABLE, 0),
        invlpg(base),
        load_fs(0x10),
    ]
    tables = [*two_level(directory={512: OTHER_TABLE | PWU}), (OTHER_TABLE, le(FRAMES | PWU))]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    assert run.ended is not None
    assert run.ended.how == "triple-fault"


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("what", ["idt", "tss", "stack", "inner stack", "handlers"])
@pytest.mark.parametrize("rights", [0, P, P | U])
def test_a_fault_whose_delivery_faults_ends_as_on_bare_metal(
    tmp_path: Path, rights: int, what: str, ring: int, technique: str
) -> None:
    page = {
        "idt": IDT,
        "tss": TSS,
        "stack": STACK_TOP - 1,
        "inner stack": INNER_STACK_TOP[0] - 1,
        "handlers": 0x7200,
    }[what] >> 12
    close = [write(LOW_TABLE + 4 * page, page << 12 | rights), invlpg(page << 12)]
    body = Body().slot(*close)
    if ring:
        body = Body()
        body.to_ring_3()
        body.slot(b"\x90")
        body.slot(*close)
    body.slot(b"\x0f\x0b", read(WINDOW), b"\xcd\x30")  # ud2; a page fault; int 30h
    tables = two_level(low={DIRECTORY >> 12: DIRECTORY | PWU})
    if ring:
        body.code[body.code.index(invlpg(page << 12)) :][:1]  # INVLPG is privileged: it faults, and that is delivered
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, limit=300), technique)
    assert run.position > 10


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_double_fault_reaches_its_handler(tmp_path: Path, technique: str) -> None:
    body = Body()
    body.to_ring_3()
    body.slot(read(WINDOW))  # the stack of ring 0 is not there: #PF on #PF, and #DF on the same stack
    low = {(INNER_STACK_TOP[0] - 1) >> 12: 0}
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level(low=low)), technique)
    assert run.ended is not None
    assert run.ended.how == "triple-fault"
    assert run.technique.guest_state().cr2 == INNER_STACK_TOP[0] - 4


PLACES = {
    "first page": 0xFFC0_0000,
    "task state": 0xFFC0_3000,
    "shadow descriptors": 0xFFC1_0000,
    "the middle": 0xFFE1_2000,
    "last page": 0xFFFF_F000,
}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rights", [0, P, P | U, PW, PWU])
@pytest.mark.parametrize("ring", [0, 3])
def test_what_the_guest_maps_where_the_vmm_lives_is_the_guests(
    tmp_path: Path, ring: int, rights: int, place: str, technique: str
) -> None:
    at = PLACES[place]
    body = Body()
    if ring:
        body.to_ring_3()
    body.slot(*(code(at + 4) for code in (read, write, change, read)))
    body.slot(b"\xbe" + le(at + 4) + b"\xbf" + le(WINDOW + 8) + b"\xa5")  # mov esi, ..; mov edi, ..; movsd
    body.slot(b"\xbe" + le(WINDOW) + b"\xbf" + le(at + 0x10) + b"\xb9" + le(3), b"\xf3\xa5")
    body.slot(read(at - 2), write(at - 2))
    body.slot(read((at + PAGE - 2) & 0xFFFF_FFFF))
    body.fetch(at + 0x800)
    slot = at >> 12 & 1023
    tables = [
        *two_level({0: FRAMES | PWU}, directory={1023: OTHER_TABLE | PWU}),
        (OTHER_TABLE + 4 * slot, le(0x6_0000 | rights)),
    ]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, extra=[(0x6_0800, LAND)]), technique)
    if rights == PWU:
        assert entry(run, 0x6_0004) == 0x1234_5679
        assert entry(run, FRAMES + 8) == 0x1234_5679
        own = [event for event in run.events if "the guest's page shown" in event.action]
        assert own
        assert not any(event.is_attempt for event in own)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("place", PLACES)
def test_the_same_with_pae(tmp_path: Path, place: str, technique: str) -> None:
    at = PLACES[place]
    body = [read(at), write(at + 4), change(at + 4), read(0xFFFF_FFFC)]
    slot = at >> 12 & 511
    tables = [
        *with_pae(),
        (0x2_C000 + 8 * (at >> 21 & 511), le(PAE_TABLE | PWU, 8)),
        (PAE_TABLE + 8 * slot, le(0x6_0000 | PW, 8)),
    ]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, cr3=POINTERS, cr4=PAE), technique)
    assert entry(run, 0x6_0004) == 0x1234_5679


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("what", ["stack", "gdt", "idt", "tss"])
def test_the_cpus_own_tables_of_the_guest_may_lie_where_the_vmm_lives(
    tmp_path: Path, what: str, technique: str
) -> None:
    at = 0xFFC1_0000
    frame = {"stack": 0x6_0000, "gdt": GDT, "idt": IDT, "tss": TSS}[what]
    body = Body()
    match what:
        case "stack":
            body.slot(b"\xbc" + le(at + 0x800), b"\x50\x58", read(WINDOW), b"\xcd\x30")  # mov esp; push, pop; faults
        case "gdt":
            body.slot(*load_table(LGDT, at), load_fs(0x10), read(WINDOW), change(at + 0xF8), load_fs(0x10))
        case "idt":
            body.slot(*load_table(LIDT, at, 0x7FF), read(WINDOW), b"\xcd\x30")
        case "tss":
            high, low = at >> 16, at & 0xFFFF
            descriptor = encode_descriptor(Descriptor(at, 0x1FFF, 0x89)).to_bytes(8, "little")
            body.slot(write(GDT + SELECTOR, int.from_bytes(descriptor[:4], "little")))
            body.slot(write(GDT + SELECTOR + 4, int.from_bytes(descriptor[4:], "little")))
            body.slot(b"\x66\xb8" + le(SELECTOR, 2) + b"\x0f\x00\xd8")  # mov ax, ..; ltr ax
            assert (high, low) == (0xFFC1, 0)
    body.to_ring_3().slot(read(WINDOW), load_fs(0x43)).to_ring_0()
    tables = [
        *two_level(directory={1023: OTHER_TABLE | PWU}),
        (OTHER_TABLE + 4 * 0x10, le(frame | PWU) + le(frame + PAGE | PWU)),
    ]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    assert run.ended is not None
    assert run.ended.how == "halted"
    assert faults(run)


def run_with(folder: Path, technique: str, body: Body, *, cr0: int = PAGED | WP) -> Run:
    """Run a body over plain tables."""
    return assert_lockstep(paged_scenario(folder / "guest", body, two_level({0: FRAMES | PWU}), cr0=cr0), technique)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_an_emulated_instruction_faults_on_pages_as_a_direct_one(tmp_path: Path, technique: str) -> None:
    gap = WINDOW + 5 * PAGE
    body = Body()
    body.slot(LGDT + le(gap), LIDT + le(WINDOW + PAGE - 2), b"\x0f\x00\x1d" + le(gap))  # ltr [gap]
    body.slot(b"\x0f\x01\x35" + le(gap))  # lmsw [gap]
    body.slot(b"\xbf" + le(gap) + b"\x66\xba\xf8\x03\x6c")  # mov edi, gap; mov dx, 3F8h; insb
    body.slot(b"\xbe" + le(gap) + b"\x66\xba\xe9\x00\x6e")  # mov esi, gap; mov dx, E9h; outsb
    body.slot(b"\xbe" + le(WINDOW + PAGE - 3) + b"\xb9" + le(9) + b"\xf3\x6e", b"\x89\xc8")  # rep outsb; mov eax, ecx
    body.slot(b"\xbc" + le(gap) + b"\xcf", b"\xbc" + le(STACK_TOP))  # mov esp, gap; iret: #PF, and its delivery too
    run = run_with(tmp_path, technique, body)
    assert [cr2 for _, cr2 in faults(run)][:6] == [gap, WINDOW + PAGE, gap, gap, gap, gap]
    assert BODY
