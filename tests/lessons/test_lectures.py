"""Each lesson has a lecture of about five minutes, which is what its author expected."""

from __future__ import annotations

import pytest

from ringviz.errors import InputError
from ringviz.lessons.course import list_lessons
from ringviz.lessons.lectures import find_replay
from ringviz.lessons.lesson import Lesson
from ringviz.record.machines.host_lecture_file import load_host_lecture
from ringviz.record.made_with import image_digest
from ringviz.record.pace import beat_seconds
from ringviz.record.player import ReplayPlayer
from ringviz.record.replay_check import replay_problems
from ringviz.record.replay_file import load_replay
from ringviz.vmm.registry import variant_for

LESSONS = [lesson for lesson in list_lessons() if lesson.host is None]
ABOUT_HOSTS = [lesson for lesson in list_lessons() if lesson.host is not None]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_the_lecture_of_a_lesson_is_what_its_author_expected(lesson: Lesson) -> None:
    replay = load_replay(find_replay(lesson.id))
    assert list(replay_problems(replay)) == []
    player = ReplayPlayer(replay)
    while (played := player.next()) is not None:
        assert played.holds, (replay.place_of(played.number), played.failures)
        assert played.beat.expect, replay.place_of(played.number)
        if played.beat.focus == "vmm":
            assert player.session.snapshot(lambda: True).side is not None, replay.place_of(played.number)
    assert player.is_over


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_a_lecture_takes_five_minutes_asks_and_is_about_the_guest_of_its_lesson(lesson: Lesson) -> None:
    replay = load_replay(find_replay(lesson.id))
    assert replay.path.parent == lesson.path.parent
    assert 4.5 <= sum(map(beat_seconds, replay.beats)) / 60 <= 5.5
    assert any(beat.ask is not None for beat in replay.beats)
    assert replay.scenario == lesson.scenario.id
    assert replay.made_with is not None, "ringviz replay --stamp"
    image = image_digest(lesson.scenario, variant_for(replay.machine.technique or "native"))
    assert replay.made_with.image == image, "ringviz replay --stamp"


def test_a_lesson_about_a_host_has_the_lecture_of_that_host() -> None:
    assert len(ABOUT_HOSTS) >= 2
    for lesson in ABOUT_HOSTS:
        lecture = load_host_lecture(find_replay(lesson.id))
        assert lecture.host.id in {lesson.host, "migration-writer"}


def test_a_lecture_is_found_by_file_scenario_lesson_and_number() -> None:
    assert find_replay("x86-hole").parent.name == "x86-hole"
    assert find_replay("5") == find_replay("x86-hole")
    assert find_replay("popf-hole").parent.name == "popf-hole"
    assert find_replay("migration-quiet").parent.name == "lectures"  # the host's, not the guest's of that name
    assert find_replay("scenarios/migration-quiet").parent.name == "migration-quiet"
    with pytest.raises(InputError, match=r'did you mean "x86-hole"\?'):
        find_replay("x86-hol")
    with pytest.raises(InputError, match="no such file"):
        find_replay("nothing.replay.toml")
