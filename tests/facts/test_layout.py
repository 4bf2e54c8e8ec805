import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.facts.layout import BitField, ByteField
from ringviz.facts.source import Source

SOURCE = Source.ringviz("test")


def test_a_field_reads_its_own_bits_only() -> None:
    field = BitField("IOPL", 12, 13, "", SOURCE)
    assert field.width == 2
    assert field.mask == 0x3000
    assert field.get(0xFFFF_2FFF) == 2


@given(st.integers(0, 2**64 - 1), st.integers(0, 63), st.data())
def test_put_then_get_gives_the_value_back_and_touches_nothing_else(word: int, lo: int, data: st.DataObject) -> None:
    field = BitField("F", lo, data.draw(st.integers(lo, 63)), "", SOURCE)
    value = data.draw(st.integers(0, 2**field.width - 1))
    changed = field.put(word, value)
    assert field.get(changed) == value
    assert (changed ^ word) & ~field.mask == 0


def test_put_refuses_a_value_that_is_too_wide() -> None:
    with pytest.raises(ValueError, match="DPL has 2 bits"):
        BitField("DPL", 45, 46, "", SOURCE).put(0, 4)


def test_a_byte_field_ends_where_the_next_may_begin() -> None:
    assert ByteField(0x4CB, 1, "CPL", "", SOURCE).end == 0x4CC
