"""A host's lecture: played headless as a test, or held in front of an audience."""

from collections.abc import Iterator

from ringviz.cli.exits import Exit, complain
from ringviz.cli.output import print_json, print_lines, strong
from ringviz.cli.replay import (
    finding_json,
    finding_lines,
    head_lines,
    question_lines,
    tail_lines,
    tell_changes,
    wrapped_lines,
    write_stamp,
)
from ringviz.cli.run import has_terminal
from ringviz.errors import InputError
from ringviz.record.machines.host_lecture import HostLecture
from ringviz.record.machines.host_made_with import changes_of, host_made_with
from ringviz.record.machines.host_player import HostPlayed, playing


def play_headless(lecture: HostLecture, *, stamp: bool, json: bool) -> int:
    """Play a lecture as fast as it goes, and check what it expects.

    Raises:
        RingvizError: there can be no such host; one line.
    """
    if not json:
        print_lines(head_lines(lecture))
    played: list[HostPlayed] = []
    with playing(lecture) as player:
        while (beat := player.next()) is not None:
            played.append(beat)
            if not json:
                print_lines(_beat_lines(beat))
            for failure in beat.failures:
                complain(f"{lecture.place_of(beat.number)}, {failure}")
            if beat.problems:
                break  # what follows would begin somewhere else
    holds = all(beat.holds for beat in played)
    if json:
        print_json(_json(lecture, played))
    else:
        failed = sum(len(beat.problems) for beat in played)
        print_lines(tail_lines(len(played), [finding for beat in played for finding in beat.findings], failed))
    tell_changes(changes_of(lecture), lecture.where, holds=holds, json=json)
    if not holds:
        return Exit.FAILED
    if stamp:
        write_stamp(lecture.path, lecture.where, host_made_with(lecture))
    return Exit.DONE


def open_lecture(lecture: HostLecture, speed: float, *, is_by_itself: bool = False) -> int:
    """Hold a lecture on this terminal.

    Raises:
        InputError: there is no terminal to hold it on.
    """
    if not has_terminal():
        raise InputError("a lecture needs a terminal; without one use `ringviz replay --headless`")
    from ringviz.record.state_folder import state_folder
    from ringviz.ui.host_lecture import HostLectureApp
    from ringviz.ui.remembered import Remembered

    remembered = Remembered(state_folder() / "app.json")
    app = HostLectureApp(lecture, speed, is_by_itself=is_by_itself, remembered=remembered)
    app.run()
    return app.return_code or Exit.DONE


def _beat_lines(played: HostPlayed) -> Iterator[str]:
    """Tell one beat: for reading along, and for reading aloud."""
    beat = played.beat
    yield ""
    yield strong(f"{played.number}. {beat.title}")
    for deed in beat.deeds:
        yield f"   The host is told: {deed.text}"
    yield f"   after {played.clock:,} cycles"
    if beat.say:
        yield from wrapped_lines(beat.say, "   ")
    if beat.ask is not None:
        yield from question_lines(beat.ask)
    yield from finding_lines(played.findings)
    for problem in played.problems:
        yield from wrapped_lines(problem, "   ", mark="! ")


def _json(lecture: HostLecture, played: list[HostPlayed]) -> dict[str, object]:
    return {
        "schema": 1,
        "title": lecture.title,
        "host": lecture.host.id,
        "holds": all(beat.holds for beat in played),
        "changed": list(changes_of(lecture)),
        "beats": [
            {
                "number": beat.number,
                "title": beat.beat.title,
                "clock": beat.clock,
                "holds": beat.holds,
                "problems": list(beat.problems),
                "expect": [finding_json(finding) for finding in beat.findings],
            }
            for beat in played
        ],
    }
