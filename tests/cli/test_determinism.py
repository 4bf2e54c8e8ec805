"""The same command gives the same bytes: no clock, no randomness, no path in any output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Runs all scenarios but the long ones under all techniques that can run them, and prints a digest of each command's
# output. The texts for people are made of the same data; a few scenarios do for them.
PROBE = """
import contextlib, hashlib, io, json
from ringviz.cli.list import available, can_run
from ringviz.cli.main import main
from ringviz.guest.scenario import list_scenarios
digests = {}
for scenario in list_scenarios():
    if scenario.limits.instructions > 5_000_000:
        continue
    for technique in available():
        if not can_run(technique.id, scenario):
            continue
        commands = [["stat", "--json"], ["trace", "--format", "jsonl"]]
        if scenario.id in ("rings-tour", "popf-hole", "paging-tour"):
            commands += [["stat"], ["trace"]]
        for words in commands:
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                code = main([*words, scenario.id, "-t", technique.id])
            digest = hashlib.sha256(output.getvalue().encode()).hexdigest()
            digests[" ".join((*words, scenario.id, technique.id))] = [code, len(output.getvalue()), digest]
print(json.dumps(digests))
"""


def digests(folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, tuple[int, int, str]]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, cwd=folder, timeout=900, check=False
    )
    assert result.returncode == 0, result.stderr
    return {command: (code, length, digest) for command, (code, length, digest) in json.loads(result.stdout).items()}


def test_every_scenario_under_every_technique_gives_the_same_bytes_wherever_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = digests(tmp_path, monkeypatch, PYTHONHASHSEED="1", LC_ALL="C", COLUMNS="200", TZ="UTC")
    other = digests(
        Path(__file__).parent, monkeypatch, PYTHONHASHSEED="2", LC_ALL="C.UTF-8", COLUMNS="40", TZ="Asia/Tokyo"
    )
    assert one == other
    assert {"stat --json rings-tour trap-emulate", "trace popf-hole amd-v", "stat paging-tour native"} <= set(one)
    assert all(code == 0 and length > 0 for code, length, _ in one.values())
