"""The Markdown of lessons as styled text: paragraphs, lists, quotations, code, and words that stand out."""

import re
from collections.abc import Iterator

from textual.content import Content

from ringviz.ui.widgets.panel import printable

_INLINE = re.compile(r"\*\*(?P<strong>.+?)\*\*|`(?P<code>[^`]+)`|(?<!\w)\*(?P<stress>\S(?:[^*]*\S)?)\*(?!\w)")
_STYLES = {"strong": "bold", "code": "bold $kind-guest", "stress": "italic"}
_ITEM = re.compile(r"(?P<mark>[-*>]|\d+\.) (?P<text>.*)")


def prose(markdown: str, width: int) -> list[Content]:
    """Give Markdown as lines of at most `width` cells; code is cut where it is wider, everything else wraps."""
    lines: list[Content] = []
    for block in _blocks(markdown):
        if block:
            lines += _block(block, width)
        elif lines and lines[-1].plain:
            lines.append(Content(""))
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def inline(text: str) -> Content:
    """Give one paragraph with what stands out in it."""
    parts: list[Content] = []
    at = 0
    for match in _INLINE.finditer(text):
        parts.append(Content(printable(text[at : match.start()])))
        kind = str(match.lastgroup)
        parts.append(Content.assemble((printable(match[kind]), _STYLES[kind])))
        at = match.end()
    return Content("").join([*parts, Content(printable(text[at:]))])


def _blocks(markdown: str) -> Iterator[str]:
    """Give one paragraph, list item, heading, row of a table or line of code after the other; "" between them."""
    paragraph: list[str] = []
    is_code = False
    for line in [*markdown.strip().splitlines(), ""]:
        is_fence = line.startswith("```")
        begins = is_fence or is_code or not line.strip() or line.startswith(("|", "#")) or _ITEM.match(line) is not None
        if begins and paragraph:
            yield " ".join(paragraph)
            paragraph = []
        if is_fence:
            is_code = not is_code
        elif is_code:
            yield f"\t{line}"
        elif not line.strip():
            yield ""
        elif line.startswith(("|", "#")):
            yield line
        else:
            paragraph.append(line.strip())


def _block(block: str, width: int) -> list[Content]:
    if block.startswith("\t"):
        return [Content.assemble((f"  {printable(block[1:])}", "$kind-guest")).truncate(width, ellipsis=True)]
    if block.startswith("|"):
        return [inline(block).truncate(width, ellipsis=True)]
    if block.startswith("#"):
        return [Content.assemble((printable(block.lstrip("# ")), "bold $primary")).truncate(width, ellipsis=True)]
    item = _ITEM.match(block)
    if item is None:
        return [line.rstrip() for line in inline(block).wrap(max(1, width))]
    mark = {"-": "•", "*": "•", ">": "│"}.get(item["mark"], item["mark"])
    indent = len(mark) + 1
    wrapped = inline(item["text"]).wrap(max(1, width - indent))
    head = mark if mark == "│" else " " * len(mark)
    return [
        Content.assemble((f"{mark if number == 0 else head} ", "$secondary")) + line.rstrip()
        for number, line in enumerate(wrapped)
    ]
