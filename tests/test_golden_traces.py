"""The story of every scenario under every technique, on file.

A file holds the sentences of the first and last events, how many there are, and a hash of the whole story. A changed
file is a decision: `RINGVIZ_ACCEPT_GOLDENS=1 pytest tests/test_golden_traces.py` writes it anew; read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ringviz.errors import UnsupportedError
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import available, check_fits
from tests.cli.told import told
from tests.short_scenarios import SHORT

FOLDER = Path(__file__).parent / "golden" / "traces"


def fits(scenario_id: str, technique: str) -> bool:
    try:
        check_fits(find_scenario(scenario_id), technique)
    except UnsupportedError:
        return False
    return True


PAIRS = [(scenario.id, technique) for scenario in SHORT for technique in available() if fits(scenario.id, technique)]


@pytest.mark.parametrize(("scenario_id", "technique"), PAIRS)
def test_the_story_of_a_run_is_the_one_on_file(scenario_id: str, technique: str) -> None:
    story = told(find_scenario(scenario_id), technique).story
    path = FOLDER / f"{scenario_id}.{technique}.txt"
    if os.environ.get("RINGVIZ_ACCEPT_GOLDENS") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(story) + "\n", encoding="utf-8")
    assert path.read_text(encoding="utf-8").splitlines() == story


def test_every_file_belongs_to_a_scenario_and_a_technique() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{scenario}.{technique}.txt" for scenario, technique in PAIRS}
