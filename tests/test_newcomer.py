"""A newcomer with an empty home follows lesson 1 in the app, on a terminal of 80 by 24, by its keys alone."""

import json
import shlex
import sys
from pathlib import Path

from tests.terminal import Terminal

PRESSES = 40
"""Enter goes into the line for an answer, there shows it, and then opens the next page."""


def test_lesson_1_is_followed_to_its_end_and_kept(tmp_path: Path) -> None:
    home = shlex.quote(str(tmp_path))
    command = f"env -u RINGVIZ_STATE HOME={home} XDG_STATE_HOME={home} XDG_DATA_HOME={home} TERM=xterm-256color"
    terminal = Terminal(f"{command} {shlex.quote(sys.executable)} -m ringviz learn 1", tmp_path, lines=24, columns=80)
    assert terminal.read_until("page 1 of 8", 90), terminal.shown
    for words in (*(f"page {number} of 8" for number in range(2, 9)), "The end. ringviz quiz where-am-i"):
        for _ in range(PRESSES):
            terminal.type("\r")
            if terminal.read_until(words, 2):
                break
        assert words in terminal.shown, terminal.shown[-2000:]
    assert "The answer" in terminal.shown
    terminal.type("\x11")
    assert terminal.exit_code(20) == 0
    (kept,) = tmp_path.rglob("progress.json")
    done = json.loads(kept.read_text(encoding="utf-8"))["lessons"]["where-am-i"]
    assert (done["page"], done["read"]) == (8, True)
