"""Plain values as bytes and back: what a machine's state is made of, in a form that another process can read.

Nested tuples of int, bool, bytes, str and None, as devices save themselves. Nothing else can come out of it, whatever
the bytes are: reading them makes no object and calls no code of anybody's choice.
"""

from __future__ import annotations

from typing import Any

_NONE, _FALSE, _TRUE, _INT, _BYTES, _STR, _TUPLE = b"NFTibst"
_COUNT_BYTES = 4
_DEEPEST = 64


def encode(value: Any) -> bytes:
    """Give a value's bytes; equal values have equal ones.

    Raises:
        TypeError: there is something in it that is not plain.
    """
    if value is None:
        return bytes((_NONE,))
    if isinstance(value, bool):
        return bytes((_TRUE if value else _FALSE,))
    if isinstance(value, int):
        number = int(value)
        return _with_count(_INT, number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True))
    if isinstance(value, bytes):
        return _with_count(_BYTES, value)
    if isinstance(value, str):
        return _with_count(_STR, value.encode())
    if isinstance(value, (tuple, list)):
        return bytes((_TUPLE,)) + len(value).to_bytes(_COUNT_BYTES, "little") + b"".join(encode(each) for each in value)
    raise TypeError(f"{type(value).__name__} is no plain value")


def decode(data: bytes) -> Any:
    """Give the value whose bytes these are, all of them.

    Raises:
        ValueError: they are not those of a plain value.
    """
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes follow the value")
    return value


def _with_count(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + len(content).to_bytes(_COUNT_BYTES, "little") + content


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError(f"tuples within each other deeper than {_DEEPEST}")
        kind = self._take(1)[0]
        if kind in (_NONE, _FALSE, _TRUE):
            return {_NONE: None, _FALSE: False, _TRUE: True}[kind]
        if kind not in (_INT, _BYTES, _STR, _TUPLE):
            raise ValueError(f"byte {kind:02X}h at {self.at - 1} is no kind of value")
        count = int.from_bytes(self._take(_COUNT_BYTES), "little")
        if kind == _TUPLE:
            return tuple(self.value(depth + 1) for _ in range(count))
        content = self._take(count)
        if kind == _INT:
            return int.from_bytes(content, "little", signed=True)
        return content if kind == _BYTES else content.decode()

    def _take(self, count: int) -> bytes:
        if self.at + count > len(self._data):
            raise ValueError(f"ends at byte {len(self._data)}, in the middle of a value")
        self.at += count
        return self._data[self.at - count : self.at]
