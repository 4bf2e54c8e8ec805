"""Every replay that is shipped is played, and must be what its author expected."""

from pathlib import Path

import pytest

from ringviz.guest.scenario import find_scenario, list_scenarios
from ringviz.record.made_with import image_digest
from ringviz.record.player import ReplayPlayer
from ringviz.record.replay_file import load_replay, replays_in
from ringviz.vmm.registry import variant_for

SHIPPED = [path for scenario in list_scenarios() for path in replays_in(scenario.path)]


def test_each_scenario_has_a_replay() -> None:
    assert all(replays_in(scenario.path) for scenario in list_scenarios())


@pytest.mark.parametrize("path", SHIPPED, ids=[f"{path.parent.name}/{path.name}" for path in SHIPPED])
def test_a_shipped_replay_is_what_its_author_expected(path: Path) -> None:
    player = ReplayPlayer(load_replay(path))
    while (played := player.next()) is not None:
        assert played.holds, (player.replay.place_of(played.number), played.failures)
    assert player.is_over
    assert sum(len(beat.expect) for beat in player.replay.beats) >= len(player.replay.beats)


@pytest.mark.parametrize("path", SHIPPED, ids=[f"{path.parent.name}/{path.name}" for path in SHIPPED])
def test_a_shipped_replay_was_recorded_with_the_image_that_is_shipped(path: Path) -> None:
    replay = load_replay(path)
    assert replay.made_with is not None, "ringviz replay --stamp"
    image = image_digest(find_scenario(replay.scenario), variant_for(replay.machine.technique or "native"))
    assert replay.made_with.image == image, "ringviz replay --stamp"
