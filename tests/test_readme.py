"""What README.md tells a reader to type, typed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from ringviz.cli.main import COMMANDS, GROUPS, _app
from ringviz.record.event_record import FIELDS
from tests.cli.program import ringviz
from tests.terminal import Terminal

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
"""All that it tells to type."""
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "venv", "__pycache__", ".*_cache", ".hypothesis", "dist", "build")
"""What a fresh clone does not have."""

SETUP_LIMIT_S = 600.0
LEAVE_LIMIT_S = 20.0
NO_NETWORK = (
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "No matching distribution",
)


def marked(mark: str) -> list[str]:
    """Give the shell blocks of the README that stand after a mark, which is an HTML comment that no reader sees."""
    return re.findall(rf"<!-- {mark} -->\n```sh\n(.*?)```", README, re.DOTALL)


def lines_of(blocks: list[str]) -> list[str]:
    """Give the command lines of some blocks."""
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of this checkout as a fresh clone would be: without environment, caches and build products."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("readme") / "ringviz", ignore=LEFT_OUT))


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what this test run has put into the environment and a reader's shell has not."""
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    # `python3` of the command is the Python that runs the tests, outside its environment.
    base = Path(sys.base_prefix) / "bin"
    if (base / "python3").exists():
        monkeypatch.setenv("PATH", f"{base}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("name", ["app", "test"])
def test_each_of_the_two_commands_is_a_single_line(name: str) -> None:
    (block,) = marked(f"command: {name}")
    assert block.count("\n") == 1


@pytest.mark.usefixtures("clean_environment")
def test_the_first_command_opens_the_app_at_its_home_screen(checkout: Path) -> None:
    (command,) = lines_of(marked("command: app"))
    terminal = Terminal(command, checkout)
    if not terminal.read_until("A tour of the rings", SETUP_LIMIT_S):
        _skip_without_network(terminal.shown)
        pytest.fail(f"the home screen did not come: {terminal.shown}")
    terminal.type("q")
    assert terminal.exit_code(LEAVE_LIMIT_S) == 0, terminal.shown


@pytest.mark.usefixtures("clean_environment")
def test_the_second_command_sets_up_and_finds_all_tests(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The command itself is run by .ci/run, and perhaps is what runs this test: here pytest only collects.
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    (command,) = lines_of(marked("command: test"))
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=SETUP_LIMIT_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    _skip_without_network(result.stdout + result.stderr)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tests/test_readme.py::test_each_of_the_two_commands_is_a_single_line[app]" in result.stdout


@pytest.mark.parametrize("line", lines_of(marked("example")))
def test_an_example_of_the_tour_works(line: str, tmp_path: Path) -> None:
    program, *arguments = shlex.split(line)
    assert program == "ringviz"
    result = subprocess.run(
        [sys.executable, "-m", "ringviz", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    written = [tmp_path / argument for option, argument in pairwise(arguments) if option == "-o"]
    assert result.stdout or all(path.stat().st_size for path in written)


@pytest.mark.parametrize("walk", marked("walk"))
def test_a_walk_of_several_commands_works_in_its_order(walk: str, tmp_path: Path) -> None:
    for name, content in re.findall(r"<!-- file: (\S+) -->\n```toml\n(.*?)```", README, re.DOTALL):
        (tmp_path / name).write_text(content, encoding="utf-8")
    for line in walk.splitlines():
        done = ringviz(*shlex.split(line)[1:], cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), line


@pytest.mark.parametrize(
    "line", sorted(set(lines_of(re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE))))
)
def test_every_line_for_ringviz_has_the_words_that_its_command_takes(line: str) -> None:
    words = shlex.split(line)
    if words[0] != "ringviz" or len(words) == 1:
        return
    command: Any = typer.main.get_command(_app([*COMMANDS, *GROUPS]))
    words = words[1:]
    while hasattr(command, "resolve_command"):
        outer = command.make_context("ringviz", [], resilient_parsing=True)
        _, command, words = command.resolve_command(outer, words)
    command.make_context("ringviz", list(words))  # reads the words, runs nothing


def test_the_table_of_commands_is_the_commands_there_are() -> None:
    rows = re.findall(r"^\| `ringviz ([a-z]+)", README, re.MULTILINE)
    assert rows == [*COMMANDS, *GROUPS]


def test_the_table_of_trace_fields_is_the_fields_there_are() -> None:
    table = README.partition("| field | says |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", table, re.MULTILINE)
    assert dict(rows) == dict(FIELDS)


def test_every_picture_and_file_that_the_readme_shows_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def _skip_without_network(output: str) -> None:
    """Leave the test out where packages cannot be fetched: it would test the network."""
    if any(words in output for words in NO_NETWORK):
        pytest.skip("packages cannot be fetched here")
