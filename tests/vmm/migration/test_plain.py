"""Plain values become bytes and plain values again, and nothing else comes out of bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.vmm.migration import plain

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5).map(tuple),
    max_leaves=20,
)


@given(_values)
def test_what_was_written_is_read_again(value: Any) -> None:
    assert plain.decode(plain.encode(value)) == value


@given(_values)
def test_a_value_that_is_cut_short_is_refused(value: Any) -> None:
    data = plain.encode(value)
    with pytest.raises(ValueError, match="ends at byte"):
        plain.decode(data[:-1])


@given(st.binary(max_size=60))
def test_any_bytes_are_a_plain_value_or_refused(data: bytes) -> None:
    try:
        value = plain.decode(data)
    except ValueError:
        return
    assert isinstance(value, (int, bytes, str, tuple, type(None)))


def test_tuples_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match="deeper than"):
        plain.decode(b"t\1\0\0\0" * 1000 + b"N")


def test_what_is_not_plain_is_not_written() -> None:
    with pytest.raises(TypeError, match="no plain value"):
        plain.encode(({1: 2},))
