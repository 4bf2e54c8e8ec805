"""Tables of plain text that fit the line: some columns may wrap, the others keep their width."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GAP = "  "
_NARROWEST_CELLS = 10
"""A column that wraps is not made narrower, whatever the line."""


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a table looks."""

    title: str
    is_number: bool = False
    """Numbers stand to the right, all else to the left."""
    wraps: bool = False
    """Takes its share of the room that the other columns leave, and as many lines as it needs."""


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width_cells: int, gap: str = GAP) -> Iterator[str]:
    """Give a table line by line, the line of titles first.

    Args:
        columns: what the columns are.
        rows: finished texts, one for each column.
        width_cells: length of a line; only a table whose columns do not wrap enough can be longer.
        gap: what stands between two columns.
    """
    widths = _widths(columns, rows, width_cells - len(gap) * (len(columns) - 1))
    for row in ([column.title for column in columns], *rows):
        yield from _row(columns, widths, row, gap)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], cells: int) -> list[int]:
    """Give each column the width of its widest text, as long as those that wrap have that much room."""
    widths = [max(len(text) for text in texts) for texts in zip([c.title for c in columns], *rows, strict=True)]
    wrapping = [index for index, column in enumerate(columns) if column.wraps]
    room = cells - sum(widths) + sum(widths[index] for index in wrapping)
    # The narrowest first: what it does not need of its share is left to the others.
    for left, index in zip(range(len(wrapping), 0, -1), sorted(wrapping, key=lambda index: widths[index]), strict=True):
        narrowest = max(len(columns[index].title), _NARROWEST_CELLS)
        widths[index] = min(widths[index], max(room // left, narrowest))
        room -= widths[index]
    return widths


def _row(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str], gap: str) -> Iterator[str]:
    """Give one row: its first line, and more where the wrapping column needs them."""
    cells = [
        textwrap.wrap(text, width, break_on_hyphens=False) or [""] if column.wraps else [text]
        for column, width, text in zip(columns, widths, row, strict=True)
    ]
    for line in range(max(len(cell) for cell in cells)):
        texts = [cell[line] if line < len(cell) else "" for cell in cells]
        aligned = (
            text.rjust(width) if column.is_number else text.ljust(width)
            for column, width, text in zip(columns, widths, texts, strict=True)
        )
        yield gap.join(aligned).rstrip()
