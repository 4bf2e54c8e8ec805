"""Texts that are too long for their column, in a shorter form that still says what matters."""

import re
from functools import lru_cache

from ringviz.ui.widgets.panel import printable

_EXIT_NUMBER = re.compile(r"^exit \d+, ")
"""Before the words of a VM exit; the picture of the rings has the number too."""
_SHORTER: tuple[tuple[str, str], ...] = (
    ("to the guest's handler at ", "guest's handler "),
    ("passed on guest's handler ", "guest's handler "),
    ("the CPU waits for an interrupt", "the CPU waits"),
    ("the virtual CPU waits for an interrupt", "virtual CPU waits"),
    ("virtual CPU waits for an interrupt", "virtual CPU waits"),
    ("virtual debug console", "debug console"),
    ("virtual UART", "UART"),
    ("virtual disk", "disk"),
    ("virtual timer", "timer"),
    ("virtual keyboard", "keyboard"),
    ("virtual screen", "screen"),
    ("virtual interrupt controller", "PIC"),
    ("interrupt controller", "PIC"),
    ("debug console ", "console "),
    ("VM exit ", "exit "),
    ("I/O instruction", "I/O"),
    ("External interrupt", "interrupt"),
    ("Control-register accesses", "CR access"),
    ("Exception or NMI", "exception"),
    ("Interrupt window", "window"),
    ("no translation yet", "not translated"),
    ("trap (what if)", "trap"),
    ("dword ptr ", ""),
    ("word ptr ", ""),
    ("byte ptr ", ""),
    ("interrupt ", ""),
    ("INT 82h: ", ""),
)
"""What may be left out, the least missed first: in each row the text and what stands for it."""


@lru_cache(maxsize=2048)
def fit(text: str, width: int) -> str:
    """Give a text in exactly `width` cells: as it is, in the first shorter form that fits, or cut with an ellipsis."""
    short = printable(text)
    for long_form, short_form in _SHORTER:
        if len(short) <= width:
            break
        # A text that is nothing but the word would vanish.
        if short != long_form.strip():
            short = short.replace(long_form, short_form)
    if len(short) > width:
        short = _EXIT_NUMBER.sub("", short)
    return short.ljust(width) if len(short) <= width else f"{short[: max(0, width - 1)]}…"
