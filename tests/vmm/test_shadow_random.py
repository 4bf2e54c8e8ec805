"""Random page tables and random accesses: shadows and bare metal agree after every instruction."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringviz.guest import Scenario
from tests.machine.guests import IDT, STACK_TOP, code_selector, gate
from tests.vmm.guests import GUEST_BYTES
from tests.vmm.lockstep import assert_lockstep
from tests.vmm.paged_guests import (
    DIRECTORY,
    FRAMES,
    LAND,
    LOW_TABLE,
    NX,
    OTHER_DIRECTORY,
    OTHER_TABLE,
    PAE,
    PAE_DIRECTORIES,
    PAE_LOW_TABLES,
    PAE_TABLE,
    PAGED,
    POINTERS,
    PS,
    PSE,
    TABLE,
    WINDOW,
    WP,
    A,
    Body,
    D,
    P,
    U,
    W,
    change,
    le,
    paged_scenario,
    read,
    set_cr,
    two_level,
    with_pae,
    write,
)
from tests.vmm.vmm_memory import assert_shadows_follow_the_guest

PAGES = 8
FLUSH = bytes.fromhex("cd42")
"""int 42h: a handler that loads CR3 anew, for every ring; what is written to page tables counts from then on."""
_FLUSH_HANDLER = 0x7380
_FLUSH_CODE = bytes.fromhex("50 0f20d8 0f22d8 58 cf")  # push eax; mov eax, cr3; mov cr3, eax; pop eax; iret
OFFSETS = (4, 8, 20, 0x3F8, 0xFFC, 0xFFE)
"""Where guests store: never in the half of a page that code is fetched from, nor on entries that map the kernel."""
PAE_OFFSETS = (12, *OFFSETS[1:])
"""With entries of 8 bytes, 4 is in the middle of the first."""
_ACROSS = 0xFFE
"""A store there goes on into the next page, whose first entry may be one that maps the kernel."""
_FIRST_PUSH = 8
"""What is pushed there stays behind the first entry of its page."""
CODE_OFFSETS = (0x800, 0xC00)

BITS = st.sampled_from([0, P, P | W, P | U, P | W | U, P | W | U, P | U | A, P | W | U | A | D, P | W | A, U | W])
LANDINGS = LAND * 1024


def frames(pae: bool) -> st.SearchStrategy[int]:
    """Guest frames to map: plain memory mostly, the tables themselves, and nothing at all."""
    plain = [FRAMES + (i << 12) for i in range(4)]
    tables = [PAE_TABLE, PAE_DIRECTORIES] if pae else [TABLE, OTHER_TABLE, DIRECTORY, OTHER_DIRECTORY]
    return st.sampled_from([*plain, *plain, *tables, GUEST_BYTES, 0x8000_0000])


def table_entries(pae: bool) -> st.SearchStrategy[int]:
    """Last-level entries."""
    plain = st.builds(lambda frame, bits: frame | bits, frames(pae), BITS)
    if not pae:
        return plain
    return st.builds(lambda value, nx: value | NX * nx, plain, st.booleans())


def directory_entries(pae: bool) -> st.SearchStrategy[int]:
    """Entries of a page directory: tables, large pages, nonsense."""
    tables = st.sampled_from([PAE_TABLE] if pae else [TABLE, OTHER_TABLE])
    small = st.builds(lambda frame, bits: frame | bits, tables, BITS)
    base = FRAMES if pae else 0
    large = st.builds(lambda bits, extra: base | PS | bits | extra, BITS, st.sampled_from([0, 0, 0x20_0000, 0x1000]))
    return st.one_of(small, small, large)


@st.composite
def guests(draw: st.DrawFn) -> tuple[Body, dict[str, object]]:
    """A body and how to set its tables up."""
    pae = draw(st.booleans())
    entry_bytes = 8 if pae else 4
    shift = 21 if pae else 22
    values = st.one_of(table_entries(pae), directory_entries(pae)).map(lambda value: value & 0xFFFF_FFFF)
    addresses = st.builds(
        lambda block, page, offset: WINDOW + (block << shift) + (page << 12) + offset,
        st.sampled_from([0, 0, 0, 1]),
        st.integers(0, PAGES - 1),
        st.sampled_from(PAE_OFFSETS if pae else OFFSETS),
    )
    code = st.builds(
        lambda page, offset: WINDOW + (page << 12) + offset, st.integers(0, 7), st.sampled_from(CODE_OFFSETS)
    )
    own_table = PAE_TABLE if pae else TABLE
    own_directory = PAE_DIRECTORIES if pae else DIRECTORY
    first_entry = (PAE_LOW_TABLES if pae else LOW_TABLE) | P | W | U
    first = WINDOW >> shift
    body = Body()
    ring = 0
    for _ in range(draw(st.integers(3, 14))):
        kind = draw(st.sampled_from("rrwwccmpfftddRRkkv"))
        match kind:
            case "r":
                body.slot(read(draw(addresses)))
            case "w":
                address, value = draw(addresses), draw(values)
                if address & 0xFFF == _ACROSS:  # the half that may fall on an entry for the kernel is that entry's own
                    value = value & 0xFFFF | (first_entry & 0xFFFF) << 16
                body.slot(write(address, value), FLUSH)
            case "c":
                address = draw(addresses)
                body.slot(change(address - (2 if address & 0xFFF == _ACROSS else 0)), FLUSH)
            case "m":
                count = draw(st.integers(1, 5))
                # Not across the end of a page: the next may hold the entries that map the kernel.
                source, target = draw(addresses), draw(addresses) & ~0x800
                body.slot(b"\xbe" + le(source) + b"\xbf" + le(target), b"\xb9" + le(count) + b"\xf3\xa5", FLUSH)
            case "p" if ring == 3:
                top = draw(addresses)
                top = top & ~0xFFF | max(top & 0xFFF, _FIRST_PUSH)
                body.slot(b"\xbc" + le(top) + b"\x54\x58", FLUSH + b"\xbc" + le(STACK_TOP - 0x1000))
            case "f":
                body.fetch(draw(code))
            case "t" if ring == 0:
                at = own_table + entry_bytes * draw(st.integers(0, PAGES - 1))
                body.slot(write(at, draw(table_entries(pae)) & 0xFFFF_FFFF), FLUSH)
            case "d" if ring == 0:
                at = own_directory + entry_bytes * (first + draw(st.integers(0, 1)))
                body.slot(write(at, draw(directory_entries(pae)) & 0xFFFF_FFFF), FLUSH)
            case "R":
                ring = draw(st.sampled_from([0, 3]))
                body = body.to_ring_0() if ring == 0 else body.to_ring_3()
            case "k" if ring == 0:
                body.slot(set_cr(0, PAGED | draw(st.sampled_from([WP, 0]))))
            case "v" if ring == 0 and not pae:
                if draw(st.booleans()):
                    body.slot(set_cr(4, draw(st.sampled_from([0, PSE]))))
                else:
                    body.slot(set_cr(3, draw(st.sampled_from([DIRECTORY, OTHER_DIRECTORY]))))
    entries = {i: draw(table_entries(pae)) for i in range(PAGES)}
    blocks = {first + i: draw(directory_entries(pae)) for i in range(2)}
    nxe = pae and draw(st.booleans())
    settings_: dict[str, object] = {
        "cr0": PAGED | draw(st.sampled_from([WP, 0])),
        "cr4": PAE if pae else draw(st.sampled_from([0, PSE])),
        "nxe": nxe,
        "cr3": POINTERS if pae else DIRECTORY,
        "entries": entries,
        "blocks": blocks,
        "others": {i: draw(table_entries(pae)) for i in range(PAGES)},
    }
    return body, settings_


def build(folder: Path, body: Body, how: dict[str, object]) -> Scenario:
    """Write the guest."""
    options = dict(how)
    entries, blocks, others = (options.pop(name) for name in ("entries", "blocks", "others"))
    assert isinstance(entries, dict)
    assert isinstance(blocks, dict)
    assert isinstance(others, dict)
    if options["cr4"] == PAE:
        tables = with_pae(entries, directory=blocks)
        halves = [PAE_TABLE, *(PAE_DIRECTORIES + (i << 12) for i in range(4))]
    else:
        tables = two_level(entries, directory=blocks)
        tables += [(OTHER_TABLE + 4 * i, le(value)) for i, value in others.items()]
        tables += [(OTHER_DIRECTORY, le(LOW_TABLE | P | W | U) + le(OTHER_TABLE | P | W | U))]
        halves = [TABLE, DIRECTORY, OTHER_TABLE, OTHER_DIRECTORY]
    extra = [(page + 0x800, LANDINGS) for page in halves]
    extra += [
        (IDT + 8 * 0x42, le(gate(code_selector(0), _FLUSH_HANDLER, 0xE, 3), 8)),
        (_FLUSH_HANDLER, _FLUSH_CODE),
    ]
    fill = bytes.fromhex("bf") + le(FRAMES) + b"\xb9" + le(0x1000) + b"\xb8" + LAND * 2 + bytes.fromhex("f3ab")
    return paged_scenario(folder, body, tables, extra=extra, before=fill, limit=300, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("technique", ["classic", "trap-emulate", "binary-translation"])
@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(guest=guests())
def test_random_tables_and_accesses_are_bare_metal_at_every_instruction(
    tmp_path: Path, technique: str, guest: tuple[Body, dict[str, object]]
) -> None:
    run = assert_lockstep(build(tmp_path / "guest", *guest), technique)
    assert_shadows_follow_the_guest(run.technique)
