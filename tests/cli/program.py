"""Runs the program as a user does: as a process of its own, its two outputs apart."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parent / "schemas"


def ringviz(
    *arguments: str, cwd: Path | None = None, typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one command line without a terminal; `typed` is what stands on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "ringviz", *arguments],
        capture_output=True,
        encoding="utf-8",
        input=typed,
        cwd=cwd,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )


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
