"""Guests that reach for what is not theirs: they get what empty wires give, and the VMM stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.vmm.events import Kind
from ringviz.vmm.translation import layout as translation
from tests.vmm.guests import END, GUEST_BYTES, bare_scenario, kernel_scenario, slots
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.vmm_memory import assert_tables_follow_the_guest, still

TECHNIQUES = ("amd-v", "vt-x", "trap-emulate", "binary-translation")
PLACES = {
    "just beyond RAM": GUEST_BYTES,
    "across the end of RAM": GUEST_BYTES - 2,
    "the next page table's megabytes": 0x0080_0000,
    "where the VMM puts the guest": 0x0100_0000,
    "video memory of nobody": 0x8000_0000,
    "the emulator's own pages": 0xF000_1000,
    "the VMM's first page": 0xFFC0_0000,
    "the VMM's page directory": 0xFFC0_1000,
    "the VMM's task state": 0xFFC0_3000,
    "the VMM's interrupt table": 0xFFC0_4000,
    "the VMM's shadow descriptors": 0xFFC1_0008,
    "the VMM's own descriptors": 0xFFC1_FFF0,
    "a binary translator's code": translation.CACHE + 0x40,
    "across two pages of translated code": translation.CACHE + 0xFFE,
    "a binary translator's virtual CPU": translation.PRIVATE,
    "a binary translator's lookup table": translation.PRIVATE + translation.LOOKUP_TABLE + 8,
    "the last bytes of all": 0xFFFF_FFFC,
}
FEW = (
    "a binary translator's code",
    "a binary translator's virtual CPU",
    "just beyond RAM",
    "across the end of RAM",
    "the emulator's own pages",
    "the VMM's shadow descriptors",
    "the last bytes of all",
)


def le(value: int) -> bytes:
    return value.to_bytes(4, "little")


def accesses(address: int) -> dict[str, bytes]:
    """Ways to touch an address."""
    at = le(address)
    return {
        "read": b"\xa1" + at,  # mov eax, [address]
        "write": b"\xc7\x05" + at + le(0x1234_5678),  # mov dword [address], 12345678h
        "read back": b"\x8b\x15" + at,  # mov edx, [address]
        "change": b"\xff\x05" + at,  # inc dword [address]
        "exchange": b"\xf0\x87\x05" + at,  # lock xchg [address], eax
        "byte": b"\x80\x0d" + at + b"\x10",  # or byte [address], 10h
        "copy in": b"\xbf" + at + b"\xa5",  # mov edi, address; movsd
        "copy out": b"\xbe" + at + b"\xbf" + le(0x20_0040) + b"\xa5",  # mov esi, address; mov edi, ..; movsd
        "fill": b"\xbf" + at + b"\xb9" + le(3) + b"\xf3\xab",  # mov edi, address; mov ecx, 3; rep stosd
    }


def run_contained(scenario_folder: Path, body: bytes, technique: str, ring: int, limit: int = 10_000) -> Run:
    """Run a guest in lockstep with bare metal and check the VMM's memory after every instruction."""
    scenario = kernel_scenario(scenario_folder, body, ring=ring, limit=limit)
    made = still(Run(scenario, technique).technique)

    def look(run: Run) -> None:
        assert still(run.technique) == made

    run = assert_lockstep(scenario, technique, each=look if limit < 1_000 else None)
    assert still(run.technique) == made
    assert_tables_follow_the_guest(run.technique)
    return run


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("place", PLACES)
def test_nothing_answers_beyond_the_guests_machine(tmp_path: Path, place: str, ring: int, technique: str) -> None:
    ways = accesses(PLACES[place])
    run = run_contained(tmp_path / "guest", slots(*ways.values()), technique, ring)
    attempts = [event for event in run.events if event.is_attempt]
    inside = {"byte"} if place == "across the end of RAM" else set()
    assert len({event.address for event in attempts}) == len(ways.keys() - inside)
    assert {event.kind for event in attempts} == {Kind.VIOLATION}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("place", FEW)
def test_code_beyond_the_guests_machine_is_what_empty_wires_give(
    tmp_path: Path, place: str, ring: int, technique: str
) -> None:
    body = slots(b"\xb8" + le(PLACES[place]) + b"\xff\xe0")  # mov eax, place; jmp eax
    run = run_contained(tmp_path / "guest", body, technique, ring, limit=100)
    assert run.position == 100


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("place", FEW)
def test_a_stack_beyond_the_guests_machine_loses_everything(
    tmp_path: Path, place: str, ring: int, technique: str
) -> None:
    top = le((PLACES[place] + 16) & 0xFFFF_FFFC)
    body = slots(
        b"\xbc" + top + b"\x50\x5a",  # mov esp, top; push eax; pop edx
        b"\x68" + le(0x1234) + b"\x58",  # push 1234h; pop eax
        b"\xbc" + le(0x8_E000),  # mov esp, a good one
    )
    run_contained(tmp_path / "guest", body, technique, ring)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("place", FEW)
def test_an_interrupt_onto_a_stack_beyond_the_guests_machine_ends_alike(
    tmp_path: Path, place: str, technique: str
) -> None:
    body = slots(b"\xbc" + le((PLACES[place] + 16) & 0xFFFF_FFFC) + END)  # mov esp, top; int 40h
    run_contained(tmp_path / "guest", body, technique, 0, limit=200)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("place", FEW[:-1])
@pytest.mark.parametrize("table", ["lgdt", "lidt"])
def test_tables_beyond_the_guests_machine_hold_ones(tmp_path: Path, place: str, table: str, technique: str) -> None:
    load = {"lgdt": b"\x0f\x01\x15", "lidt": b"\x0f\x01\x1d"}[table]
    body = slots(
        b"\xc7\x03" + le(0x00FF_FFFF & 0xFFFF),  # mov dword [ebx], limit
        b"\xc7\x43\x02" + le(PLACES[place]),  # mov dword [ebx + 2], place
        load + le(0x20_0000),
        b"\x66\xb8\x10\x00\x8e\xe0",  # mov ax, 10h; mov fs, ax
        b"\x64\xa1" + le(0),  # mov eax, fs:[0]
        b"\x66\xb8\x3b\x00\x8e\xe8",  # mov ax, 3Bh; mov gs, ax
    )
    run_contained(tmp_path / "guest", body, technique, 0, limit=200)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_long_copy_over_the_end_of_ram_keeps_what_fits(tmp_path: Path, technique: str) -> None:
    body = slots(
        b"\xbf" + le(GUEST_BYTES - 8) + b"\xb8" + le(0x5A5A_5A5A),  # mov edi, end - 8; mov eax, 5A5A5A5Ah
        b"\xb9" + le(2000) + b"\xf3\xab",  # mov ecx, 2000; rep stosd
        b"\xa1" + le(GUEST_BYTES - 4),
    )
    run_contained(tmp_path / "guest", body, technique, 0)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_guest_without_tables_that_touches_everything_dies_alike(tmp_path: Path, technique: str) -> None:
    code = b"".join(accesses(0xFFC1_0000).values()) + b"\x0f\x0b"
    run = assert_lockstep(bare_scenario(tmp_path / "guest", code), technique)
    assert run.ended is not None
    assert run.ended.how == "triple-fault"


@pytest.mark.parametrize("technique", ["amd-v", "classic", "trap-emulate"])
@pytest.mark.parametrize("place", FEW)
def test_no_selector_can_be_read_out_of_the_vmms_tables(tmp_path: Path, place: str, technique: str) -> None:
    at = le(PLACES[place])
    operands = (
        b"\x8e\x25" + at,  # mov fs, [place]
        b"\x0f\xb4\x1d" + at + b"\xbb" + le(0x20_0000),  # lfs ebx, [place]; mov ebx, ..
    )
    stacks = (
        b"\xbc" + at + b"\x0f\xa9",  # mov esp, place; pop gs
        b"\xbc" + at + b"\xcb",  # mov esp, place; retf
        b"\xbc" + le(0x8_E000),  # mov esp, a good one
    )
    run_contained(tmp_path / "guest", slots(*operands), technique, 0, limit=300)
    run_contained(tmp_path / "user", slots(*operands, *stacks), technique, 3, limit=300)


@pytest.mark.parametrize("technique", ["amd-v", "classic", "trap-emulate"])
def test_shadow_descriptors_are_no_code(tmp_path: Path, technique: str) -> None:
    entry = b"\x0f\x02\xc1\x0f\x02\xc1\xff\xff"  # lar eax, ecx; lar eax, ecx: a descriptor that looks like code
    body = slots(
        b"\xc7\x05" + le(0x1058) + entry[:4],  # mov dword [free descriptor], ..
        b"\xc7\x05" + le(0x105C) + entry[4:],
        b"\xb8" + le(0xFFC1_0058) + b"\xff\xe0",  # mov eax, its shadow; jmp eax
    )
    run_contained(tmp_path / "guest", body, technique, 0, limit=100)
