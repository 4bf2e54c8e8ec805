"""What a command shows on a terminal and not in a pipe."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.cli.program import ringviz

if sys.platform == "win32":
    pytest.skip("there are no POSIX terminals on Windows", allow_module_level=True)

from tests.terminal import Terminal

STAT = ("stat", "rings-tour", "-t", "trap-emulate")


def on_terminal(*arguments: str, environment: str = "") -> Terminal:
    """Run a command line on a terminal to its end."""
    command = shlex.join([sys.executable, "-m", "ringviz", *arguments])
    terminal = Terminal(f"env TERM=xterm-256color {environment} {command}", Path.cwd())
    assert terminal.exit_code(120) == 0, terminal.shown
    return terminal


def test_progress_is_shown_on_a_terminal_and_not_in_a_pipe() -> None:
    assert " instructions " in on_terminal(*STAT, "--json").shown.partition("{")[0]
    assert ringviz(*STAT, "--json").stderr == ""


def test_headings_are_bold_on_a_terminal_unless_no_color_is_set() -> None:
    assert "\x1b[1m" in on_terminal("list").written
    assert "\x1b" not in on_terminal("list", environment="NO_COLOR=1").written
    assert "\x1b" not in on_terminal("list", environment="TERM=dumb").written


def test_the_words_are_the_same_with_and_without_colour() -> None:
    assert on_terminal("list").shown == on_terminal("list", environment="NO_COLOR=1").written


@pytest.fixture(autouse=True)
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget that whoever runs the tests does not want colour."""
    monkeypatch.delenv("NO_COLOR", raising=False)
