"""Who costs how much, as bars on one scale, the cheapest first."""

from fractions import Fraction

from textual.content import Content

from ringviz.engine.decimals import decimals
from ringviz.engine.what_if import Answer
from ringviz.ui.glyphs import grouped

_NAME_CELLS = 21
_NUMBER_CELLS = 26
_LONGEST_BAR = 100
_COLOURS = {"binary-translation": "$kind-callout", "paravirt": "$kind-hypercall"}
_FILLS = {"shadow": "▓", "nested": "█"}
"""Ways of memory differ by pattern, techniques by colour; the name stands beside them."""
_BARE = "░"


def standing_lines(result: Answer, width: int) -> list[Content]:
    """Give a line for each run, and one for bare metal; every bar begins with what bare metal pays as well."""
    native = result.native_cycles
    most = max(native, *(standing.cycles for standing in result.standings))
    room = max(0, min(_LONGEST_BAR, width - 2 - _NAME_CELLS - _NUMBER_CELLS))
    lines = []
    for place, standing in enumerate(result.standings):
        contender = standing.run.contender
        colour = _COLOURS.get(contender.technique, "$kind-exit")
        fill = "▒" if contender.technique in _COLOURS else _FILLS.get(contender.mmu, "▒")
        all_cells = _cells(standing.cycles, most, room)
        bare = min(all_cells, _cells(native, most, room))
        sign = "★" if place == 0 and len(result.standings) > 1 else " "
        bars = ((_BARE * bare, "$kind-guest"), (fill * (all_cells - bare), colour))
        lines.append(_line(sign, contender.name, standing.cycles, standing.slowdown, "bold", bars))
    bars = ((_BARE * _cells(native, most, room), "$kind-guest"), ("", ""))
    lines.append(_line(" ", "bare metal", native, Fraction(1), "$dim", bars))
    return lines


def _cells(cycles: Fraction, most: Fraction, room: int) -> int:
    return round(room * cycles / most) if most else 0


def _line(
    sign: str,
    name: str,
    cycles: Fraction,
    slowdown: Fraction | None,
    style: str,
    bars: tuple[tuple[str, str], tuple[str, str]],
) -> Content:
    factor = "-" if slowdown is None else f"{decimals(slowdown)}×"
    numbers = f"{grouped(round(cycles)):>15} {factor:>9} "
    return Content.assemble((f"{sign} ", "bold $kind-gate"), (name.ljust(_NAME_CELLS), style), (numbers, style), *bars)
