"""Formats of page-table entries: complete, without overlaps, and decoded as the MMU uses them."""

from __future__ import annotations

import pytest

from ringviz.facts.paging import ENTRY_FORMATS, EntryFormat, PagingMode, decode_entry, entry_format
from ringviz.facts.source import Status

FORMATS = list(ENTRY_FORMATS.values())


def _name(row: EntryFormat) -> str:
    return f"{row.mode.name}-{row.name}-{row.page_bytes}"


@pytest.mark.parametrize("row", FORMATS, ids=_name)
def test_fields_do_not_overlap_and_fit_the_entry(row: EntryFormat) -> None:
    taken = 0
    for field in row.fields.values():
        assert not taken & field.mask, field.name
        taken |= field.mask
        assert field.source.status is Status.MANUAL
    assert taken < 1 << 8 * row.mode.entry_bytes


@pytest.mark.parametrize("row", FORMATS, ids=_name)
def test_the_address_of_a_page_is_aligned_to_its_size(row: EntryFormat) -> None:
    assert 1 << row.fields["ADDRESS"].lo == (row.page_bytes or 4096)


@pytest.mark.parametrize("mode", PagingMode)
def test_every_level_of_a_mode_has_an_entry_and_only_the_last_is_always_a_page(mode: PagingMode) -> None:
    for level in range(1, mode.levels + 1):
        assert ((mode, level, False) in ENTRY_FORMATS) == (level > 1)
    assert (mode, mode.levels + 1, False) not in ENTRY_FORMATS
    assert (mode, 1, True) in ENTRY_FORMATS


def test_a_large_page_of_32_bit_paging_needs_cr4_pse() -> None:
    large = 0x0040_0083
    assert entry_format(PagingMode.TWO_LEVEL, 2, large).page_bytes == 4 << 20
    assert entry_format(PagingMode.TWO_LEVEL, 2, large, has_large_pages=False).page_bytes is None
    assert entry_format(PagingMode.PAE, 2, large, has_large_pages=False).page_bytes == 2 << 20
    assert entry_format(PagingMode.PAE, 3, large).page_bytes is None
    assert entry_format(PagingMode.FOUR_LEVEL, 3, large).page_bytes == 1 << 30


def test_an_entry_that_is_not_present_says_nothing_else() -> None:
    bits = decode_entry(entry_format(PagingMode.TWO_LEVEL, 1, 0xFFFF_FFFE), 0xFFFF_FFFE)
    assert (bits.is_present, bits.is_writable, bits.address, bits.page_bytes) == (False, None, None, None)


def test_bits_of_a_page_are_decoded() -> None:
    kind = entry_format(PagingMode.PAE, 1, 0)
    bits = decode_entry(kind, 1 << 63 | 0x1_2345_6000 | 0x165, has_no_execute=True)
    assert (bits.is_writable, bits.is_user, bits.is_accessed, bits.is_dirty) == (False, True, True, True)
    assert (bits.is_global, bits.is_executable, bits.address) == (True, False, 0x1_2345_6000)
    assert decode_entry(kind, 1 << 63 | 1).is_executable  # without EFER.NXE the bit is reserved, and no right


def test_bits_39_to_32_of_a_4_mib_page_stand_in_the_middle_of_the_entry() -> None:
    value = 0x00C0_0083 | 0xA5 << 13
    assert decode_entry(entry_format(PagingMode.TWO_LEVEL, 2, value), value).address == 0xA5_00C0_0000


def test_an_ept_entry_is_present_with_any_right_and_has_no_ring() -> None:
    kind = entry_format(PagingMode.EPT, 1, 0x5034)
    bits = decode_entry(kind, 0x5034)
    assert (bits.is_present, bits.is_writable, bits.is_executable, bits.is_user) == (True, False, True, None)
    assert not decode_entry(kind, 0x5030).is_present
