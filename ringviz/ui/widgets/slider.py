"""One knob as a slider: a track, where it stands, where it stood, and where the verdict turns."""

from fractions import Fraction

from textual.content import Content

from ringviz.engine.decimals import decimal
from ringviz.engine.what_if import KnobView
from ringviz.engine.what_if_words import value_text

PRICE_STEP = 50
"""Cycles of one step."""
_RATES = tuple(sorted({Fraction(2) ** n * m for n in range(-6, 14) for m in (1, Fraction(3, 2))}))
"""Steps of a rate: each about half as much again as the one before."""
_NAME_CELLS = 18
_VALUE_CELLS = 18
_LONGEST_TRACK = 72
_HERE, _OWN, _TURN, _TRACK = "●", "┆", "◆", "─"


def moved(view: KnobView, steps: int) -> Fraction:
    """Give the value so many steps on; a price moves by cycles, a rate from one round factor to the next."""
    if not view.knob.is_rate:
        # Between two lines of the grid, the first step goes to the nearer line in its direction.
        line = view.value // PRICE_STEP if steps > 0 else -(-view.value // PRICE_STEP)
        return max(Fraction(0), Fraction((line + steps) * PRICE_STEP))
    if steps > 0:
        ahead = [rate for rate in _RATES if rate > view.value]
        return ahead[min(steps, len(ahead)) - 1] if ahead else view.value
    behind = [Fraction(0), *(rate for rate in _RATES if rate < view.value)] if view.value else []
    return behind[max(steps, -len(behind))] if behind else view.value


def slider_line(view: KnobView, width: int, is_chosen: bool) -> Content:
    """Draw a knob in one line."""
    name = view.knob.id.ljust(_NAME_CELLS)
    value = value_text(view.knob, view.value).rjust(_VALUE_CELLS)
    track_cells = min(_LONGEST_TRACK, width - _NAME_CELLS - _VALUE_CELLS - 5)
    style = "bold $changed" if _is_changed(view) else "bold" if is_chosen else "$foreground"
    parts = [("► " if is_chosen else "  ", "bold $primary"), (name, style), (value, style), (" ", "")]
    if track_cells >= 12:
        parts += _track(view, track_cells)
    own = _own_text(view)
    used = 2 + _NAME_CELLS + _VALUE_CELLS + 1 + track_cells
    if used + len(own) <= width:
        parts.append((own, "$dim"))
    return Content.assemble(*parts)


def _is_changed(view: KnobView) -> bool:
    return view.value != (1 if view.knob.is_rate else view.known or 0)


def _own_text(view: KnobView) -> str:
    if view.knob.is_rate:
        return f"  own ×1, up to ×{decimal(_scale(view))}"
    return "  no figure" if view.known is None else f"  own {view.known:,}, up to {decimal(_scale(view))}"


def _track(view: KnobView, cells: int) -> list[tuple[str, str]]:
    """Draw the track with its marks; of several in one cell the one that stands counts most."""
    drawn: list[tuple[str, str]] = [(_TRACK, "$frame")] * cells
    scale = _scale(view)
    own = Fraction(1) if view.knob.is_rate else Fraction(view.known or 0)
    drawn[_cell(view, own, scale, cells)] = (_OWN, "$dim")
    for turn in (view.earlier, view.later):
        if turn is not None:
            drawn[_cell(view, turn.value, scale, cells)] = (_TURN, "$kind-exit")
    drawn[_cell(view, view.value, scale, cells)] = (_HERE, "bold $kind-gate")
    return drawn


def _scale(view: KnobView) -> Fraction:
    """Give the value at the end of the track: a round one that everything on it is below."""
    values = [view.value, *(turn.value for turn in (view.earlier, view.later) if turn is not None)]
    values.append(Fraction(4) if view.knob.is_rate else Fraction(view.known or 0) * 2)
    most, scale = max(values), Fraction(1)
    while scale < most:
        scale = next(scale * factor for factor in (2, 5, 10) if scale * factor >= most or factor == 10)
    return scale


def _cell(view: KnobView, value: Fraction, scale: Fraction, cells: int) -> int:
    """Give the cell of a value; rates grow by factors, so their track is one of powers: 0, and then 1/64 on."""
    if not view.knob.is_rate:
        return min(cells - 1, int(value * (cells - 1) / scale))
    steps = [Fraction(0), *(rate for rate in _RATES if rate < scale), scale]
    place = sum(step <= value for step in steps) - 1
    return min(cells - 1, place * (cells - 1) // (len(steps) - 1))
