"""A guest's source, to be written in: line numbers, colours for assembly, marks and complaints beside the lines."""

import re
from collections import defaultdict
from collections.abc import Mapping

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.strip import Strip
from textual.widgets import TextArea
from textual.widgets.text_area import TextAreaTheme

from ringviz.errors import Complaint
from ringviz.ui.glyphs import REAL
from ringviz.ui.widgets.panel import printable

_REGISTERS = (
    r"e?[abcd]x|[abcd][lh]|e?[sd]i|e?[sb]p|[c-gs]s|cr[0-8]|dr[0-7]|"
    r"r[abcd]x|r[sd]i|r[sb]p|[sd]il|[sb]pl|r(?:8|9|1[0-5])[dwb]?"
)
_DIRECTIVES = (
    r"bits|org|section|segment|align|alignb|global|extern|default|struc|endstruc|istruc|iend|at|equ|times|incbin|"
    r"d[bwdqt]|res[bwdq]|byte|word|dword|qword|near|far|short"
)
_TOKENS = re.compile(
    rf"""(?P<comment>;.*)
    |(?P<string>"[^"]*"?|'[^']*'?|`[^`]*`?)
    |(?P<label>^\s*[\w.$?@~]+(?=:))
    |(?P<macro>%[%$]?[\w+-]+)
    |(?P<number>\b(?:0x[0-9a-f_]+|[0-9][0-9a-f_]*h|[01_]+b|[0-9][0-9_]*)\b)
    |(?P<register>\b(?:{_REGISTERS})\b)
    |(?P<directive>\b(?:{_DIRECTIVES})\b)
    |(?P<word>[\w.$?@~]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_MOST_HIGHLIGHTED = 400
"""Cells of a line: a longer one is data, and stays plain."""
_COLOURS = {
    "comment": "dim",
    "string": "kind-gate",
    "label": "kind-guest",
    "macro": "kind-hypercall",
    "number": "kind-io",
    "register": "changed",
    "directive": "kind-reflect",
    "mnemonic": "foreground",
}
"""The theme's variable for each kind of word."""
_BOLD = ("label", "mnemonic")
_LEAST_COMPLAINT = 16
"""Cells that a complaint needs beside its line; with fewer, it covers the line's end."""


class SourceArea(TextArea):
    """The text, with what is to be said about its lines."""

    def __init__(self, text: str, app: App[object]) -> None:
        super().__init__(
            text,
            soft_wrap=False,
            show_line_numbers=True,
            tab_behavior="indent",
            highlight_cursor_line=True,
            max_checkpoints=200,
            id="source",
        )
        self.cursor_blink = False
        self.complaints: Mapping[int, Complaint] = {}
        """By row, from 0."""
        self.current_row: int | None = None
        """Where the instruction comes from that the guest executes next."""
        self._highlights = _Rows(self)
        self.follow_theme(app)

    def follow_theme(self, app: App[object]) -> None:
        """Take the colours of the app's theme."""
        variables = app.theme_variables
        styles = {
            name: Style(color=variables[variable], bold=name in _BOLD, italic=name == "comment")
            for name, variable in _COLOURS.items()
        }
        self.register_theme(TextAreaTheme(f"assembly-{app.theme}", syntax_styles=styles))
        self.theme = f"assembly-{app.theme}"
        self._line_cache.clear()

    def say(self, complaints: Mapping[int, Complaint], current_row: int | None) -> None:
        """Show other complaints, and another place of the guest."""
        self.complaints, self.current_row = complaints, current_row
        self.refresh()

    def go_to_row(self, row: int) -> None:
        """Put the cursor on the first word of a row, in the middle of what is in view."""
        row = max(0, min(row, self.document.line_count - 1))
        line = self.document.get_line(row)
        self.move_cursor((row, len(line) - len(line.lstrip())), center=True)

    def render_line(self, y: int) -> Strip:
        """Draw one line of what is in view, with its mark and its complaint."""
        strip = super().render_line(y)
        row = y + self.scroll_offset.y
        if row >= self.document.line_count:
            return strip
        if row == self.current_row:
            strip = self._with_mark(strip, REAL, "ring-lit")
        complaint = self.complaints.get(row)
        if complaint is not None:
            strip = self._with_mark(strip, "×" if complaint.is_error else "!", "kind-violation")
            strip = self._with_complaint(strip, complaint, row)
        return strip

    def _style(self, variable: str) -> Style:
        return Style(color=self.app.theme_variables[variable], bold=True)

    def _with_mark(self, strip: Strip, sign: str, variable: str) -> Strip:
        """Put a sign between number and text."""
        at = self.gutter_width - 2
        mark = Strip([Segment(sign, self.rich_style + self._style(variable))], 1)
        return Strip.join([strip.crop(0, at), mark, strip.crop(at + 1, strip.cell_length)])

    def _with_complaint(self, strip: Strip, complaint: Complaint, row: int) -> Strip:
        """Write a complaint behind the text of its line, or over its end."""
        width = self.scrollable_content_region.width
        text = f" × {printable(complaint.text.removeprefix('error: '))} "
        used = self.gutter_width + len(self.document.get_line(row).expandtabs(self.indent_width)) + 2
        used = max(self.gutter_width, used - self.scroll_offset.x)
        at = used if width - used >= min(len(text), _LEAST_COMPLAINT) else max(self.gutter_width, width - len(text))
        shown = text if len(text) <= width - at else f"{text[: max(0, width - at - 1)]}…"
        said = Strip(
            [Segment(shown, self.rich_style + self._style("kind-violation") + Style(reverse=True))], len(shown)
        )
        return Strip.join([strip.crop(0, at), said, strip.crop(at + len(shown), strip.cell_length)])


class _Rows(defaultdict[int, list[tuple[int, int | None, str]]]):
    """What has which colour, row by row, found out when a row is drawn."""

    def __init__(self, area: SourceArea) -> None:
        super().__init__()
        self._area = area

    def __bool__(self) -> bool:
        # Asked by the area whether there is anything to colour at all: there may be, as soon as a row is asked for.
        return True

    def __missing__(self, row: int) -> list[tuple[int, int | None, str]]:
        found = highlights(self._area.document.get_line(row))
        self[row] = found
        return found


def highlights(line: str) -> list[tuple[int, int | None, str]]:
    """Give the words of a line of assembly that have a colour: where they begin and end in UTF-8, and their kind."""
    if len(line) > _MOST_HIGHLIGHTED:
        return []
    found: list[tuple[int, int | None, str]] = []
    has_mnemonic = False
    for match in _TOKENS.finditer(line):
        kind = match.lastgroup or "word"
        if kind == "word":
            if has_mnemonic or line[match.end() :].lstrip().startswith(("equ ", "equ\t")):
                continue
            kind = "mnemonic"
        has_mnemonic = has_mnemonic or kind in ("mnemonic", "directive", "macro")
        start, end = (len(line[:at].encode()) for at in match.span())
        found.append((start, end, kind))
    return found
