"""Markdown as plain text: paragraphs and lists wrapped, code as it is, no signs."""

import re
import textwrap
from collections.abc import Iterator


def prose(markdown: str, width: int) -> list[str]:
    """Give Markdown as lines of plain text.

    Args:
        markdown: paragraphs, lists, quotes and blocks of code; tables stay as they are.
        width: cells of a line.
    """
    lines = list(_lines_of(markdown.strip(), width))
    return lines[:-1] if lines and not lines[-1] else lines


def _lines_of(markdown: str, width: int) -> Iterator[str]:
    is_code = False
    is_blank = True
    paragraph: list[str] = []
    for line in [*markdown.splitlines(), ""]:
        is_fence = line.startswith("```")
        starts = not line.strip() or is_fence or line.startswith(("- ", "* ", "> ", "|", "#")) or is_code
        if starts and paragraph:
            yield from _wrapped(" ".join(paragraph), width)
            paragraph = []
        if is_fence:
            is_code = not is_code
        elif is_code:
            yield f"    {line}"
        elif not line.strip():
            if not is_blank:
                yield ""
        elif line.startswith("|"):
            yield line
        else:
            paragraph.append(line.strip())
        is_blank = not line.strip()


def _wrapped(text: str, width: int) -> Iterator[str]:
    bare = re.sub(r"(?<!\w)\*(\S(?:[^*]*\S)?)\*(?!\w)", r"\1", text.replace("**", "").replace("`", ""))
    indent = "  " if bare.startswith(("- ", "* ", "> ")) else ""
    yield from textwrap.wrap(bare, width, subsequent_indent=indent, break_on_hyphens=False)
