import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ringviz.cli.exits import Exit, guarded, one_line
from ringviz.errors import UnsupportedError
from tests.cli.program import one_complaint, ringviz


def _raises(error: BaseException) -> int:
    raise error


def test_an_error_of_the_user_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: _raises(UnsupportedError("vt-x: not on\n  an AMD \x1b[31mCPU"))) == Exit.BAD_INPUT
    assert capsys.readouterr().err == "ringviz: vt-x: not on an AMD \\x1b[31mCPU\n"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_is_exit_code_130_without_a_word(
    interruption: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: _raises(interruption)) == Exit.INTERRUPTED
    assert capsys.readouterr().err == ""


def test_an_internal_error_is_one_line_that_says_how_to_get_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGVIZ_TRACEBACK", raising=False)
    assert guarded(lambda: _raises(KeyError("boom"))) == Exit.INTERNAL
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert complaint.startswith("ringviz: internal error: KeyError: 'boom'")
    assert "RINGVIZ_TRACEBACK=1" in complaint


def test_the_traceback_of_an_internal_error_is_there_for_those_who_ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGVIZ_TRACEBACK", "1")
    assert guarded(lambda: _raises(KeyError("boom"))) == Exit.INTERNAL
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_exit_code_of_a_command_is_passed_on() -> None:
    assert guarded(lambda: Exit.FAILED) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb", "a b"), ("  a \n\n  b ", "a b"), ("\x1b]0;x\x07", "\\x1b]0;x\\x07"), ("naïve ×", "naïve ×")],
)
def test_one_line_is_one_printable_line(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sttat"], "did you mean"),
        (["stat"], "SCENARIO"),
        (["stat", "rings-tour", "--tecnique", "native"], "--technique"),
        (["stat", "rings-tour", "too", "many"], "too"),
        (["check"], "PATH"),
        (["stat", "rings-tuor"], '"rings-tour"'),
        (["stat", "rings-tour", "-t", "trap-emulat"], "trap-emulate"),
        (["stat", "rings-tour", "-t", "amd-v", "--cpu", "barcelonna"], "barcelona"),
        (["compare", "rings-tour", "-t", "natve"], "native"),
        (["compare", "rings-tour", "--cpu", "p4"], "p4-672"),
        (["trace", "rings-tour", "--format", "cvs"], '"csv"'),
        (["trace", "rings-tour", "-t", "native", "--mmu", "shadow"], "shadow"),
        (["stat", "no\x1b[31m-such"], "-such"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_would_be_right(arguments: list[str], expected: str) -> None:
    assert expected.lower() in one_complaint(ringviz(*arguments)).lower()


@pytest.mark.parametrize("arguments", [[], ["run", "rings-tour"]])
def test_the_app_without_a_terminal_is_refused_in_one_line(arguments: list[str]) -> None:
    assert "terminal" in one_complaint(ringviz(*arguments))


def test_help_names_every_command_and_version_says_which() -> None:
    words = ringviz("--help").stdout.split()
    for command in ("run", "list", "cpus", "stat", "compare", "trace", "check", "build", "doctor", "screenshots"):
        assert command in words
    assert "..." not in words
    assert ringviz("--version").stdout.startswith("ringviz ")


@pytest.mark.skipif(os.name == "nt", reason="there are no POSIX pipes on Windows")
def test_a_reader_that_goes_away_ends_the_program_quietly() -> None:
    command = f"{sys.executable} -m ringviz trace syscall-roundtrip -t trap-emulate; echo code=$? >&2"
    script = f"{{ {command} ; }} | head -n 1"
    result = subprocess.run(["sh", "-c", script], capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert result.stderr == "code=141\n"
    assert result.stdout.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [["list"], ["trace", "rings-tour", "-t", "native"]])
def test_a_full_disk_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "ringviz", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 2
    assert result.stderr == "ringviz: output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [("ringviz stat popf", "popf-hole"), ("ringviz stat popf-hole -t amd", "amd-v"), ("ringviz doc", "doctor")],
)
def test_a_shell_can_complete_names(words: str, offered: str) -> None:
    position = str(len(words.split()) - 1)
    result = ringviz(_RINGVIZ_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=position)
    assert result.stdout.split() == [offered]
