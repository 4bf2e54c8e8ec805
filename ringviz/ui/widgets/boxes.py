"""The rings as nested boxes: for small screens, and where there is no colour to tell one disc from the next."""

from collections.abc import Callable, Sequence

from textual.content import Content

from ringviz.engine.view import Seat

_THIN = "╭─╮│╰╯┴"
_DOUBLE = "╔═╗║╚╝╩"
"""Corner, line, corner, wall, corner, corner, and the foot of an inner wall standing on an outer floor."""


def nested_boxes(
    seats: Sequence[Seat],
    real: int,
    label: Callable[[Seat], str],
    style: Callable[[int], str],
    width: int,
    height: int,
) -> list[Content]:
    """Draw one box a ring, the CPU's own ring with double lines.

    Args:
        seats: innermost first.
        real: the ring the CPU is in.
        label: what stands in the upper wall of a ring's box.
        style: the style of a ring's walls.
        width: in cells.
        height: in cells; if too low for closed boxes, all share one floor.
    """
    if not seats:
        return []
    rings = list(reversed(seats))
    count = len(rings)
    if height < count + 1:
        return [_bar(seat, real, label, style, width) for seat in rings[:height]]
    is_closed = height >= 2 * count
    floor = height - 1
    return [_row(rings, y, floor, is_closed, real, label, style, width) for y in range(floor + 1)]


def _row(
    rings: Sequence[Seat],
    y: int,
    floor: int,
    is_closed: bool,
    real: int,
    label: Callable[[Seat], str],
    style: Callable[[int], str],
    width: int,
) -> Content:
    left: list[tuple[str, str]] = []
    right: list[tuple[str, str]] = []
    for depth, seat in enumerate(rings):
        marks = _DOUBLE if seat.ring == real else _THIN
        paint = style(seat.ring)
        inside = width - 2 * (depth + 1)
        ends_here = y == floor - depth if is_closed else False
        if y == depth:
            text = label(seat)
            text = f" {text} " if len(text) + 2 <= inside else text[: max(0, inside)]
            name = (text, f"{paint} reverse" if seat.ring == real else paint)
            middle = [name, (marks[1] * (inside - len(text)), paint)]
            return _assemble([*left, (marks[0], paint)], middle, [*right, (marks[2], paint)])
        if ends_here:
            return _assemble([*left, (marks[4], paint)], [(marks[1] * inside, paint)], [*right, (marks[5], paint)])
        if not is_closed and y == floor:
            is_outermost = depth == 0
            left.append((marks[4] if is_outermost else marks[6], paint))
            right.append((marks[5] if is_outermost else marks[6], paint))
        else:
            left.append((marks[3], paint))
            right.append((marks[3], paint))
    inside = width - 2 * len(rings)
    innermost = rings[-1].ring
    marks = _DOUBLE if innermost == real else _THIN
    filler = (marks[1] if y == floor else " ") * inside
    return _assemble(left, [(filler, style(innermost))], right)


def _assemble(left: list[tuple[str, str]], middle: list[tuple[str, str]], right: list[tuple[str, str]]) -> Content:
    return Content.assemble(*left, *middle, *reversed(right))


def _bar(seat: Seat, real: int, label: Callable[[Seat], str], style: Callable[[int], str], width: int) -> Content:
    edge = "║" if seat.ring == real else "│"
    return Content.assemble((f"{edge} {label(seat)}"[: width - 1].ljust(width - 1) + edge, style(seat.ring)))
