"""The same command gives the same bytes: no clock, no randomness, no path in any output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringviz.cli.list import available
from tests.cli.digests import TRACED, Digests, digests
from tests.cli.program import as_process, ringviz
from tests.cli.told import told

PROBE = Path(__file__).parent / "digests.py"


def strange(folder: Path) -> dict[str, str]:
    """Give an environment with hashes, language, width, time zone and home of its own."""
    return {
        "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2",
        "LC_ALL": "C",
        "COLUMNS": "200",
        "TZ": "Asia/Tokyo",
        "HOME": str(folder),
    }


def elsewhere(technique: str, folder: Path) -> Digests:
    """Give the digests as a process finds them that has nothing of this one's."""
    result = subprocess.run(
        [sys.executable, str(PROBE), technique],
        capture_output=True, text=True, cwd=folder, env=os.environ | strange(folder), timeout=900, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found: Digests = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("technique", [row.id for row in available()])
def test_every_scenario_gives_the_same_bytes_wherever_it_runs(technique: str, tmp_path: Path) -> None:
    here = digests(technique, told)
    assert here == elsewhere(technique, tmp_path)
    for scenario in TRACED:
        assert {f"stat --json {scenario}", f"jsonl events of {scenario}", f"trace {scenario}"} <= set(here)
    assert all(code == 0 and length for code, length, _ in here.values())


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_replay_is_played_to_the_same_bytes_wherever_it_runs(
    form: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("replay", "popf-hole", "--headless", *form)
    there = as_process(*command, cwd=tmp_path, **strange(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    here = ringviz(*command)
    assert here.returncode == 0
    assert here.stdout
    assert (here.stdout, here.stderr) == (there.stdout, there.stderr)
