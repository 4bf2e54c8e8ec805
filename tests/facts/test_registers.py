from collections.abc import Mapping
from enum import IntEnum

import pytest

from ringviz.facts import registers as r

TABLES: list[tuple[type[IntEnum], Mapping[str, r.RegisterBit]]] = [
    (r.Eflags, r.EFLAGS_BITS),
    (r.Cr0, r.CR0_BITS),
    (r.Cr4, r.CR4_BITS),
    (r.Efer, r.EFER_BITS),
]


@pytest.mark.parametrize(("flags", "table"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_flags_for_code_and_rows_for_people_are_equal(flags: type[IntEnum], table: Mapping[str, r.RegisterBit]) -> None:
    assert {name: int(flag) for name, flag in flags.__members__.items()} == {
        name: row.mask for name, row in table.items()
    }


@pytest.mark.parametrize(("flags", "table"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_no_two_fields_share_a_bit(flags: type[IntEnum], table: Mapping[str, r.RegisterBit]) -> None:
    assert sum(row.mask for row in table.values()) == sum(int(f) for f in flags.__members__.values())
    union = 0
    for row in table.values():
        assert union & row.mask == 0, row.name
        union |= row.mask


def test_flags_are_where_well_known_words_have_them() -> None:
    # 0x11: protected mode as an 80387 machine boots into it; 0x80000011 adds paging.
    assert (r.Cr0.PE | r.Cr0.ET | r.Cr0.PG) == 0x8000_0011
    assert int(r.Eflags.IF) == 0x200
    assert int(r.Eflags.TF) == 0x100
    assert int(r.Eflags.ID) == 0x20_0000
    assert int(r.Cr4.PAE) == 0x20
    assert int(r.Efer.SVME) == 0x1000


def test_reserved_bits_are_those_that_the_manual_draws_grey() -> None:
    assert r.EFLAGS_FIXED == 2
    assert sum(1 << bit for bit in (3, 5, 15, *range(22, 32))) == r.EFLAGS_RESERVED
    assert sum(1 << bit for bit in (*range(6, 16), 17, *range(19, 29))) == r.CR0_RESERVED
    assert r.CR4_RESERVED == 0xFFFF_FFFF & ~0x27FF
    assert r.EFER_RESERVED == 0xFFFF_FFFF & ~0xD01


def test_iopl_is_read_as_a_number() -> None:
    assert [r.iopl(0x0202 | level << 12) for level in range(4)] == [0, 1, 2, 3]


def test_register_numbers_are_those_of_the_encoding() -> None:
    # The order of 8-bit PUSHes: 50h push eax ... 57h push edi.
    assert r.GPR_NAMES == ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
    assert list(r.GPRS) == list(range(8))
    assert [row.name8 for row in r.GPRS.values()] == ["al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"]
    assert all(row.name == "e" + row.name16 for row in r.GPRS.values())
    assert r.SEGMENT_NAMES == ("es", "cs", "ss", "ds", "fs", "gs")
