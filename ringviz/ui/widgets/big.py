"""Big type for the last row: a heading whose letters are three lines high, drawn with half-blocks."""

from collections.abc import Mapping

from textual.content import Content

# Each letter is five rows of three pixels, from the top; a set bit is a lit pixel, the leftmost is 4.
_PIXELS: Mapping[str, tuple[int, int, int, int, int]] = {
    "A": (2, 5, 7, 5, 5), "B": (6, 5, 6, 5, 6), "C": (3, 4, 4, 4, 3), "D": (6, 5, 5, 5, 6), "E": (7, 4, 6, 4, 7),
    "F": (7, 4, 6, 4, 4), "G": (3, 4, 5, 5, 3), "H": (5, 5, 7, 5, 5), "I": (7, 2, 2, 2, 7), "J": (1, 1, 1, 5, 2),
    "K": (5, 5, 6, 5, 5), "L": (4, 4, 4, 4, 7), "M": (5, 7, 7, 5, 5), "N": (6, 5, 5, 5, 5), "O": (2, 5, 5, 5, 2),
    "P": (6, 5, 6, 4, 4), "Q": (2, 5, 5, 6, 3), "R": (6, 5, 6, 5, 5), "S": (3, 4, 2, 1, 6), "T": (7, 2, 2, 2, 2),
    "U": (5, 5, 5, 5, 7), "V": (5, 5, 5, 5, 2), "W": (5, 5, 7, 7, 5), "X": (5, 5, 2, 5, 5), "Y": (5, 5, 2, 2, 2),
    "Z": (7, 1, 2, 4, 7), "0": (7, 5, 5, 5, 7), "1": (2, 6, 2, 2, 7), "2": (6, 1, 2, 4, 7), "3": (6, 1, 2, 1, 6),
    "4": (5, 5, 7, 1, 1), "5": (7, 4, 6, 1, 6), "6": (3, 4, 6, 5, 2), "7": (7, 1, 2, 2, 2), "8": (2, 5, 2, 5, 2),
    "9": (2, 5, 3, 1, 6), " ": (0, 0, 0, 0, 0), "-": (0, 0, 7, 0, 0), ":": (0, 2, 0, 2, 0), ".": (0, 0, 0, 0, 2),
    ",": (0, 0, 0, 2, 4), "?": (6, 1, 2, 0, 2), "!": (2, 2, 2, 0, 2), "'": (2, 2, 0, 0, 0), "/": (1, 1, 2, 4, 4),
    "(": (1, 2, 2, 2, 1), ")": (4, 2, 2, 2, 4), "#": (5, 7, 5, 7, 5), "+": (0, 2, 7, 2, 0), "=": (0, 7, 0, 7, 0),
    ">": (4, 2, 1, 2, 4), "<": (1, 2, 4, 2, 1), "→": (0, 2, 7, 2, 0), "−": (0, 0, 7, 0, 0), "’": (2, 2, 0, 0, 0),
}  # fmt: skip
_HALVES = " ▄▀█"
ROWS = 3
CELLS = 4
"""Width of a letter, its gap included."""


def big(text: str, width: int, style: str) -> list[Content] | None:
    """Give a text in letters three rows high; None if it has no room, or a letter that is not among them."""
    letters = text.upper()
    if not letters or len(letters) * CELLS - 1 > width or any(letter not in _PIXELS for letter in letters):
        return None
    lines = []
    for row in range(0, 6, 2):
        cells = []
        for letter in letters:
            rows = (*_PIXELS[letter], 0)
            upper, lower = rows[row], rows[row + 1]
            cells.append("".join(_HALVES[2 * (upper >> bit & 1) + (lower >> bit & 1)] for bit in (2, 1, 0)))
        lines.append(Content.assemble((" ".join(cells), style)))
    return lines
