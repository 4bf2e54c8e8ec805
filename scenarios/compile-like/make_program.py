"""Writes program.txt, the source text that compile-like compiles, the same bytes every time.

    python scenarios/compile-like/make_program.py

Each line assigns an expression to a name. Names are short words; expressions have numbers, names, + - * and
parentheses. A name that has had no value yet is 0. `value_of` says what compiling and running it must give.
"""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

MOST_BYTES = 4000
NAMES = 150
"""The compiler's table has 256 places."""
WORD_BITS = 32
_NAME = re.compile(r"[a-z]+")


def numbers(seed: int) -> Iterator[int]:
    """Yield numbers without an apparent order: a linear congruential generator's high bits."""
    while True:
        seed = (seed * 1103515245 + 12345) % 2**31
        yield seed >> 8


def make_program(seed: int = 2006) -> str:
    """Give the text."""
    dice = numbers(seed)
    syllables = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
    names = sorted(
        {"".join(syllables[next(dice) % len(syllables)] for _ in range(2 + next(dice) % 3)) for _ in range(NAMES)}
    )

    def factor(depth: int) -> str:
        kind = next(dice) % 8
        if kind < 3:
            return str(next(dice) % 10 ** (1 + next(dice) % 5))
        if kind == 3 and depth < 3:
            return f"({expression(depth + 1)})"
        return names[next(dice) % len(names)]

    def expression(depth: int = 0) -> str:
        text = factor(depth)
        for _ in range(next(dice) % 4):
            text += f" {'+-*'[next(dice) % 3]} {factor(depth)}"
        return text

    text = ""
    while True:
        line = f"{names[next(dice) % len(names)]} = {expression()}\n"
        if len(text) + len(line) > MOST_BYTES:
            return text
        text += line


def value_of(text: str) -> int:
    """Compile and run it in Python: the sum of all names' values in the end, in 32 bits."""
    values: dict[str, int] = {}
    for line in text.splitlines():
        name, _, expression = line.partition(" = ")
        plain = _NAME.sub(lambda match: str(values.setdefault(match[0], 0)), expression)
        values[name] = eval(plain) % 2**WORD_BITS
    return sum(values.values()) % 2**WORD_BITS


if __name__ == "__main__":
    Path(__file__).with_name("program.txt").write_bytes(make_program().encode("ascii"))
