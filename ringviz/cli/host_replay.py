"""A host's lecture: played headless as a test, or held in front of an audience."""

from collections.abc import Iterator

from ringviz.cli.exits import Exit
from ringviz.cli.output import strong
from ringviz.cli.replay import finding_json, finding_lines, perform, question_lines, wrapped_lines
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
    with playing(lecture) as player:
        return perform(
            lecture,
            iter(player.next, None),
            lines=_beat_lines,
            problems=lambda beat: len(beat.problems),
            as_json=lambda played: _json(lecture, played),
            changes=lambda: changes_of(lecture),
            made_with=lambda: host_made_with(lecture),
            stamp=stamp,
            json=json,
        )


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
