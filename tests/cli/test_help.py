"""The guides name everything there is, and every command in them works where and when it is read."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from ringviz.cli.help import GUIDES, guide, plain
from ringviz.guest.schema import KEYS as SCENARIO_KEYS
from ringviz.lessons import figures
from ringviz.lessons.asked import KEYS as QUESTION_KEYS
from ringviz.lessons.read import _GO_KEYS, _HEAD_KEYS, PANELS
from ringviz.record.machines.host_lecture import HOST_PANELS
from ringviz.record.machines.host_looks import HOST_LOOKS
from ringviz.record.observation import LOOKS
from ringviz.record.replay_schema import EVENT_WORDS
from ringviz.record.replay_schema import KEYS as REPLAY_KEYS
from tests.cli.program import one_complaint, ringviz
from tests.terminal import Terminal


def blocks(topic: str) -> list[tuple[str, list[str]]]:
    """Give the commands of a guide in their order, each block with its kind."""
    found = re.findall(r"^```(sh|app)\n(.*?)^```", guide(topic), re.MULTILINE | re.DOTALL)
    return [(kind, text.splitlines()) for kind, text in found]


@pytest.mark.parametrize("topic", GUIDES)
def test_every_command_of_a_guide_works_in_the_order_in_which_it_is_read(topic: str, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    for kind, lines in blocks(topic):
        for line in lines:
            program, *arguments = shlex.split(line)
            assert program == "ringviz"
            if kind == "app":
                terminal = Terminal(f"RINGVIZ_STATE={state} {sys.executable} -m {line}", tmp_path)
                assert terminal.read_until("ring 0", 60), terminal.shown
                terminal.type("\x11")  # ctrl+q
                assert terminal.exit_code(20) == 0, terminal.shown
                continue
            result = ringviz(*arguments, cwd=tmp_path, typed="\n" * 20, RINGVIZ_STATE=state)
            assert (result.returncode, result.stderr) == (0, ""), line
            assert "{{" not in result.stdout


def test_the_guides_name_every_key_there_is() -> None:
    authoring, replays, lessons = (guide(topic) for topic in ("authoring", "replays", "lessons"))
    assert all(f"`{key.dotted}`" in authoring for key in SCENARIO_KEYS if key.name not in ("schema", "load", "entry"))
    assert all(re.search(rf"`{key.name}\b", replays) for key in REPLAY_KEYS if key.table != "made_with")
    assert all(f"`{look.name}{look.example}`" in replays for look in LOOKS.values())
    assert all(f"`{look.name}{look.member.upper()}`" in replays for look in HOST_LOOKS.values())
    assert all(panel in replays for panel in HOST_PANELS)
    assert all(re.search(rf"\b{word}\b", replays) for word in EVENT_WORDS)
    for kind, keys in QUESTION_KEYS.items():
        (row,) = re.findall(rf"^\| `{kind.value}` \|.*$", lessons, re.MULTILINE)
        assert all(f"`{key.name}`" in row for key in keys if key.name != "explain"), row
    assert all(f"`{key}`" in lessons for key in (*_HEAD_KEYS, *_GO_KEYS, "explain") if key != "schema")
    assert all(re.search(rf"\b{word}\b", lessons) for word in (*figures.WORDS, *PANELS))


def test_a_guide_fits_a_narrow_line_and_has_no_signs_in_a_pipe() -> None:
    assert list(GUIDES) == [line.split()[0] for line in ringviz("help").stdout.splitlines()[2:5]]
    for topic in GUIDES:
        lines = list(plain(guide(topic), 80))
        assert max(len(line) for line in lines) <= 80, max(lines, key=len)
        assert not any("**" in line or "```" in line or line.startswith(("# ", "## ")) for line in lines)
        assert ringviz("help", topic).stdout.splitlines() == lines


def test_help_of_a_command_is_what_help_of_it_says_and_of_nothing_is_one_line() -> None:
    assert ringviz("help", "stat").stdout == ringviz("stat", "--help").stdout
    complaint = one_complaint(ringviz("help", "authorin"))
    assert '"authorin" is no guide and no command' in complaint
    assert 'did you mean "authoring"?' in complaint


def test_on_a_terminal_a_guide_has_colour(tmp_path: Path) -> None:
    terminal = Terminal(f"TERM=xterm-256color {sys.executable} -m ringviz help authoring", tmp_path)
    assert terminal.exit_code(20) == 0
    assert "Writing for ringviz" in terminal.shown
    assert "\x1b[1" in terminal.written
