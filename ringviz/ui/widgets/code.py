"""The code panel: the guest's instructions around the current one, each with what will happen to it."""

from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath

from textual.content import Content

from ringviz.engine.view import CodeRow, Snapshot, Verdict
from ringviz.ui.glyphs import REAL, VERDICT_LOOKS
from ringviz.ui.widgets.panel import Panel, keyed, printable, wrapped

_ADDRESS_DIGITS = 8
_SOURCE_WIDTH = 70
"""From this width on, the source text stands beside every instruction."""

_ROOMY = 15
"""From this height on, both the source line and the reason stand under the code."""
_MOST_NOTE_LINES = 3
_CALM = (Verdict.RUNS, Verdict.EMULATED)
"""Verdicts that do not set an instruction apart from its neighbours."""


class CodePanel(Panel):
    """Guest code with verdicts."""

    TITLE = "Guest code"
    EXPLANATION = (
        f"The guest's own machine code. The line marked {REAL} runs next. The sign and word at the right say what will "
        "happen to that instruction under the present technique, before it runs: see the signs below. "
        "Under the list stand the current source line and, for an instruction that matters, the reason for its verdict."
    )

    def title_for(self, snapshot: Snapshot) -> Content:
        """Give the title with the source file; the line number changes with every step and stands below."""
        return Content.assemble(self.TITLE, (f" · {printable(snapshot.source_name)}", "$dim"))

    def first_to_point_at(self, keys: Sequence[Hashable], by: int) -> Hashable:
        """Give the neighbour of the current instruction."""
        row = None if self.snapshot is None else _current(self.snapshot)
        if row is None or row.address not in keys:
            return super().first_to_point_at(keys, by)
        return row.address

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Give a window of instructions with the current one in its upper half, and the reason beneath."""
        foot = _foot(_current(snapshot), width, height)
        room = height - len(foot)
        listing: list[Content] = []
        short = width < 36 and all(row.address < 1 << 24 for row in snapshot.code)
        for row in snapshot.code:
            if row.label:
                listing.append(Content.assemble((f"{printable(row.label)}:", "bold $kind-guest")))
            listing.append(keyed(instruction_line(row, width, 6 if short else _ADDRESS_DIGITS), row.address))
        first = _first(snapshot.code, room)
        window = listing[first : first + room]
        window += [Content("")] * (room - len(window))
        return [*(line.truncate(width, ellipsis=True) for line in window), *foot]


def line_of_current(code: Sequence[CodeRow], height: int) -> int:
    """Give the line of the panel, counted from its top, on which the current instruction stands."""
    return _position(code) - _first(code, height - foot_height(height))


def foot_height(height: int) -> int:
    """How many lines stand beneath the list: always as many, so that it does not move from step to step."""
    return 1 if height < _ROOMY else 2 + _MOST_NOTE_LINES


def _position(code: Sequence[CodeRow]) -> int:
    """Give the current instruction's place among all lines; a label is a line of its own."""
    lines = 0
    for row in code:
        lines += bool(row.label)
        if row.is_current:
            return lines
        lines += 1
    return 0


def _first(code: Sequence[CodeRow], room: int) -> int:
    """Give the first line in view: the current one stands in the upper half."""
    count = len(code) + sum(1 for row in code if row.label)
    return max(0, min(_position(code) - room * 2 // 5, count - room))


def instruction_line(row: CodeRow, width: int, digits: int) -> Content:
    """One instruction: marker, address, text, verdict at the right, source beside it if there is room."""
    look = VERDICT_LOOKS[row.verdict]
    verdict = "" if row.verdict is Verdict.RUNS else f"{look.glyph} {look.word}"
    if row.verdict is Verdict.EMULATED:
        # Under emulation this is every line's fate: a sign is enough.
        verdict = look.glyph
    plain = row.verdict in _CALM
    style = "bold reverse $changed" if row.is_current else "$foreground" if plain else look.colour
    dim = style if row.is_current else "$dim"
    source = ""
    code_width = width
    if width >= _SOURCE_WIDTH:
        code_width = 42
        source = _beside(row.source_text)
    address = f"{row.address:0{digits}x}"
    if len(address) > _ADDRESS_DIGITS:
        # 16 digits leave no room for the instruction, and the upper half is the same on every line; RIP has it in full.
        address = f"…{address[-_ADDRESS_DIGITS:]}"
    head = f"{REAL if row.is_current else ' '}{address} "
    text, verdict = _text_and_verdict(row, verdict, code_width - len(head))
    parts: list[tuple[str, str]] = [(head, dim), (f"{text}{verdict}", style)]
    if width >= _SOURCE_WIDTH:
        parts.append((_fit(f" {source}", width - code_width), style if row.is_current else "$dim"))
    return Content.assemble(*parts)


def _beside(source: str) -> str:
    """Give what the source adds to the instruction: its comment, or the line itself if it has none."""
    text = " ".join(printable(source).split())
    _, mark, comment = text.partition(";")
    return f";{comment}" if mark else text


def _text_and_verdict(row: CodeRow, verdict: str, width: int) -> tuple[str, str]:
    """Instruction and verdict, `width` cells together; first the columns give way, then the verdict's word."""
    verdict_width = (2 if len(verdict) == 1 else 10 if width >= 20 else 9) if verdict else 0
    if len(verdict) > verdict_width:
        verdict = verdict[0]
    aligned = f"{printable(row.mnemonic):<6} {printable(row.operands)}".rstrip()
    tight = f"{printable(row.mnemonic)} {printable(row.operands)}".rstrip()
    room = width - verdict_width
    text = aligned if len(aligned) < room else tight
    if len(text) < room or not verdict:
        return _fit(text, room), verdict.ljust(verdict_width)
    return _fit(text, width - 2), f" {verdict[0]}"


def _fit(text: str, width: int) -> str:
    """Exactly `width` cells, with an ellipsis if something had to go."""
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"


def _current(snapshot: Snapshot) -> CodeRow | None:
    return next((row for row in snapshot.code if row.is_current), None)


def _foot(row: CodeRow | None, width: int, height: int) -> list[Content]:
    """Give source line and reason for the current instruction; on a small screen, one of the two."""
    if row is None:
        return [Content("")] * foot_height(height)
    look = VERDICT_LOOKS[row.verdict]
    note = Content.assemble((f"{look.glyph} ", look.colour), (printable(row.note), "$dim"))
    number = "" if row.source_line is None else f"{PurePosixPath(row.source_file).name} {row.source_line}: ".lstrip()
    source = Content.assemble((number, "$dim"), (" ".join(printable(row.source_text).split()), "italic"))
    if height < _ROOMY:
        return wrapped(note if row.note else source, width, 1) or [Content("")]
    lines = [source.truncate(width, ellipsis=True), *(wrapped(note, width, _MOST_NOTE_LINES) if row.note else [])]
    # Always as many lines, so that the code does not move from step to step.
    lines += [Content("")] * (foot_height(height) - 1 - len(lines))
    return [Content.assemble(("╌" * width, "$frame")), *lines]
