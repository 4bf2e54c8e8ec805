"""Runs one command line of the program: within this process, or as a process of its own."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from jsonschema import Draft202012Validator

from ringviz.cli.main import main
from ringviz.facts import costs

SCHEMAS = Path(__file__).parent / "schemas"
LIMIT_S = 120
"""No command of a test takes longer."""


def ringviz(
    *arguments: str, cwd: Path | None = None, typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one command line without a terminal; `typed` is what stands on its standard input.

    It runs within this process, for a process of its own needs a second only to begin; its three streams are bytes
    as they are there. `tests/cli/test_process.py` holds the two ways to the same result.
    """
    typed_bytes, printed, complained = io.BytesIO(typed.encode()), io.BytesIO(), io.BytesIO()
    with contextlib.ExitStack() as around:
        around.enter_context(_within(LIMIT_S))
        around.enter_context(mock.patch.dict(os.environ, environment))
        around.enter_context(mock.patch.dict(costs._known))  # a profile of one's own is known to its process only
        if cwd is not None:
            around.enter_context(contextlib.chdir(cwd))
        around.enter_context(mock.patch.object(sys, "argv", ["ringviz", *arguments]))
        around.enter_context(mock.patch.object(sys, "stdin", _text(typed_bytes)))
        output = around.enter_context(contextlib.redirect_stdout(_text(printed)))
        complaint = around.enter_context(contextlib.redirect_stderr(_text(complained, "backslashreplace")))
        try:
            code = main()
        except SystemExit as end:  # how Typer ends after an answer to a shell's completion
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        output.flush()
        complaint.flush()
    return subprocess.CompletedProcess(arguments, code, printed.getvalue().decode(), complained.getvalue().decode())


@cache
def once(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line that changes nothing, once for all the tests that read what it prints."""
    return ringviz(*arguments)


def as_process(
    *arguments: str, cwd: Path | None = None, typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Do the same as a user does: as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "ringviz", *arguments],
        capture_output=True,
        input=typed.encode(),
        cwd=cwd,
        env=os.environ | environment,
        timeout=LIMIT_S,
        check=False,
    )
    return subprocess.CompletedProcess(arguments, done.returncode, done.stdout.decode(), done.stderr.decode())


def one_complaint(result: subprocess.CompletedProcess[str], exit_code: int = 2) -> str:
    """Check that a command ended with one line on stderr and nothing else, and give that line."""
    assert result.returncode == exit_code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("ringviz: ")
    assert result.stderr.endswith("\n")
    assert result.stderr[:-1].isprintable(), result.stderr
    return result.stderr


def valid_json(text: str, schema: str) -> Any:
    """Check a JSON text against one of the schemas, and give what it says."""
    value = json.loads(text)
    Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text())).validate(value)
    return value


def _text(stream: io.BytesIO, errors: str = "strict") -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, encoding="utf-8", errors=errors, write_through=True)


@contextlib.contextmanager
def _within(limit_s: int) -> Iterator[None]:
    """Fail if what is done takes longer, where the system can tell us so."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"a command took more than {limit_s} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
