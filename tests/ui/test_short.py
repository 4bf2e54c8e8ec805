"""Texts cut to a column."""

import pytest

from ringviz.ui.widgets.short import fit


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("#GP(0)", 12, "#GP(0)      "),
        ("VM exit 30, I/O instruction", 40, "VM exit 30, I/O instruction".ljust(40)),
        ("VM exit 30, I/O instruction", 12, "exit 30, I/O"),
        ("VM exit 28, Control-register accesses", 12, "CR access   "),
        ("VM exit 1, External interrupt", 12, "interrupt   "),
        ("interrupt 20h (timer)", 12, "20h (timer) "),
        ("to the guest's handler at C01031D2, ring 3 → 0", 26, "guest's handler C01031D2, …"[:25] + "…"),
        ("virtual UART ← 30h '0'", 18, "UART ← 30h '0'".ljust(18)),
        ("a text without any shorter form", 10, "a text wi…"),
    ],
)
def test_a_text_is_shortened_before_it_is_cut(text: str, width: int, shown: str) -> None:
    assert fit(text, width) == shown
    assert len(fit(text, width)) == width


def test_what_a_terminal_might_obey_is_made_visible() -> None:
    assert fit("a\x1b[2J", 8) == "a·[2J   "
