"""What stands above a lecture's picture: the beat's title in large letters, its question and answer, the words."""

from textual.content import Content

from ringviz.record.replay import Spoken
from ringviz.ui.widgets.big import big
from ringviz.ui.widgets.panel import printable, wrapped

_TALL = 36
"""Rows from which on a heading may have two lines of big type."""
_ROOM_FOR_BIG_TYPE_FROM = 30
"""Rows of the screen."""


def title_lines(title: str, number: str, width: int, height: int) -> list[Content]:
    """Give a title in big type where it has room, else in one line with its number."""
    head = None if height < _ROOM_FOR_BIG_TYPE_FROM else big_heading(title, width, height)
    return head or [Content.assemble((number, "$dim"), (printable(title), "bold $primary"))]


def spoken_lines(beat: Spoken, width: int, *, is_answered: bool, shows_words: bool) -> list[Content]:
    """Give a beat's question, with its answer once that is given; and its words if the audience is to see them."""
    lines: list[Content] = []
    if beat.ask is not None:
        lines += wrapped(Content.assemble(("? ", "bold $changed"), (printable(beat.ask.text), "bold")), width, 3)
        for choice in beat.ask.choices:
            is_it = is_answered and choice == beat.ask.answer
            sign, style = ("→ ", "bold $kind-gate") if is_it else ("  ", "$foreground")
            lines += wrapped(Content.assemble((f"{sign}{printable(choice)}", style)), width, 2)
        if is_answered and beat.ask.answer and beat.ask.answer not in beat.ask.choices:
            lines += wrapped(Content.assemble((f"→ {printable(beat.ask.answer)}", "bold $kind-gate")), width, 3)
    explain = beat.ask.explain if beat.ask is not None and is_answered else ""
    for text in (beat.say, explain):
        if shows_words and text:
            lines += wrapped(Content(printable(" ".join(text.split()))), width, 4)
    return lines


def big_heading(title: str, width: int, height: int) -> list[Content] | None:
    """Give a title in big type, on two lines if it needs them and the screen has them; None if it has no room."""
    style = "bold $primary"
    whole = big(title, width, style)
    if whole is not None or height < _TALL:
        return whole
    words = title.split()
    for count in range(len(words) - 1, 0, -1):
        upper, lower = big(" ".join(words[:count]), width, style), big(" ".join(words[count:]), width, style)
        if upper is not None and lower is not None:
            return [*upper, *lower]
    return None
