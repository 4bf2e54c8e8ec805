"""`ringviz replay`: plays a script of beats, in the app or headless as a test."""

import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ringviz.cli.exits import Exit, complain, one_line
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.errors import ReplayError
from ringviz.lessons.lectures import find_replay
from ringviz.record.made_with import told_changes
from ringviz.record.replay_file import load_replay

if TYPE_CHECKING:
    from ringviz.record.machines.host_lecture import HostLecture
    from ringviz.record.machines.host_player import HostPlayed
    from ringviz.record.made_with import MadeWith
    from ringviz.record.played import Finding, Played
    from ringviz.record.player import ReplayPlayer
    from ringviz.record.replay import Question, Replay, Script

_Beat = TypeVar("_Beat", "Played", "HostPlayed")
_FASTEST = 100.0


def replay(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A *.replay.toml file; or the id of a scenario, lesson or host, for its lecture."
        ),
    ],
    headless: Annotated[
        bool, typer.Option("--headless", help="Play without the app, as fast as it goes, and check what it expects.")
    ] = False,
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", min=0.01, max=_FASTEST, help="In the app: so many times as fast.")
    ] = 1.0,
    stamp: Annotated[
        bool, typer.Option("--stamp", help="Play headless; if all holds, note in the file what it was made with.")
    ] = False,
    json: Json = False,
) -> int:
    """Play a scripted replay.

    Headless, exit code 1 says that something it expects is not so.
    """
    from ringviz.record.machines.host_lecture_file import is_host_lecture, load_host_lecture
    from ringviz.record.player import ReplayPlayer

    path = find_replay(file)
    if is_host_lecture(path):
        from ringviz.cli.host_replay import open_lecture, play_headless

        of_host = load_host_lecture(path)
        if headless or stamp or json:
            return play_headless(of_host, stamp=stamp, json=json)
        return open_lecture(of_host, speed, is_by_itself=True)
    script = load_replay(path)
    if headless or stamp or json:
        return _play_headless(ReplayPlayer(script), stamp=stamp, json=json)
    from ringviz.cli.run import open_app

    return open_app(script.scenario, replay=script, speed=speed)


def _play_headless(player: "ReplayPlayer", *, stamp: bool, json: bool) -> int:
    return perform(
        player.replay,
        iter(player.next, None),
        lines=_beat_lines,
        problems=lambda beat: int(bool(beat.problem)),
        as_json=lambda played: _json(player, played),
        changes=lambda: player.changes,
        made_with=lambda: player.made_with,
        stamp=stamp,
        json=json,
    )


def perform(
    script: "Replay | HostLecture",
    beats: "Iterable[_Beat]",
    *,
    lines: "Callable[[_Beat], Iterable[str]]",
    problems: "Callable[[_Beat], int]",
    as_json: "Callable[[list[_Beat]], dict[str, object]]",
    changes: Callable[[], tuple[str, ...]],
    made_with: "Callable[[], MadeWith]",
    stamp: bool,
    json: bool,
) -> int:
    """Play a script as fast as it goes, and check what it expects.

    Args:
        script: what is played.
        beats: plays one after the other.
        lines: tells a beat to people.
        problems: counts why what it is about is not as a beat wants it; then what follows would begin somewhere else.
        as_json: tells all of them to scripts.
        changes: says what is not as it was when the script was stamped.
        made_with: says what it is played with now.
        stamp: note that in its file, if all holds.
        json: print JSON, and nothing for people.
    """
    played: list[_Beat] = []
    if not json:
        print_lines(head_lines(script))
    for beat in beats:
        played.append(beat)
        if not json:
            print_lines(lines(beat))
        for failure in beat.failures:
            complain(f"{script.place_of(beat.number)}, {failure}")
        if problems(beat):
            break
    holds = all(beat.holds for beat in played)
    if json:
        print_json(as_json(played))
    else:
        findings = [finding for beat in played for finding in beat.findings]
        print_lines(tail_lines(len(played), findings, sum(map(problems, played))))
    tell_changes(changes(), script.where, holds=holds, json=json)
    if not holds:
        return Exit.FAILED
    if stamp:
        write_stamp(script.path, script.where, made_with())
    return Exit.DONE


def write_stamp(path: Path, where: str, made: "MadeWith") -> None:
    """Note in a replay file what it was played with.

    Raises:
        ReplayError: it cannot be written.
    """
    from ringviz.record.replay_file import stamped

    try:
        old = path.read_text(encoding="utf-8")
        new = stamped(old, made)
        if new != old:
            path.write_text(new, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ReplayError(f"{where}: cannot be written: {error.strerror}") from None


# ---- for people ------------------------------------------------------------------------------------------------------


def head_lines(script: "Script") -> Iterator[str]:
    """Say what a replay is about."""
    yield strong(script.title)
    if script.summary:
        yield from wrapped_lines(script.summary)


def _beat_lines(played: "Played") -> Iterator[str]:
    """Tell one beat: for reading along, and for reading aloud."""
    beat, place = played.beat, played.place
    yield ""
    yield strong(f"{played.number}. {beat.title}")
    end = ", the end of the run" if place.is_at_end else ""
    yield f"   {place.technique}, after {place.position:,} instructions{end}"
    if beat.say:
        yield from wrapped_lines(beat.say, "   ")
    if beat.compare:
        yield f"   Compare: {', '.join(beat.compare)}"
    if beat.ask is not None:
        yield from question_lines(beat.ask)
    yield from finding_lines(played.findings)
    if played.problem:
        yield f"   ! {played.problem}"


def question_lines(ask: "Question") -> Iterator[str]:
    """Tell a question and its answer."""
    yield from wrapped_lines(f"Question: {ask.text}", "   ")
    yield from (f"     - {choice}" for choice in ask.choices)
    if ask.answer:
        yield from wrapped_lines(f"Answer: {ask.answer}", "   ")
    if ask.explain:
        yield from wrapped_lines(ask.explain, "   ")


def finding_lines(findings: Iterable["Finding"]) -> Iterator[str]:
    """Tell what was expected at a beat, and whether it is so."""
    for finding in findings:
        words = f"{finding.wanted.key} {finding.wanted.words}" if finding.holds else f"NOT SO: {finding.words}"
        yield from wrapped_lines(one_line(words), "   ", mark="= " if finding.holds else "! ")


def tail_lines(beats: int, findings: "list[Finding]", problems: int) -> Iterator[str]:
    """Sum up what was played."""
    failed = sum(not finding.holds for finding in findings) + problems
    yield ""
    verdict = f"{failed:,} not so" if failed else "all hold"
    yield f"{beats:,} beats, {len(findings):,} expectations: {verdict}"


def tell_changes(changes: tuple[str, ...], where: str, *, holds: bool, json: bool) -> None:
    """Say what has changed since a replay was stamped: a complaint if it does not hold any more."""
    if not changes:
        return
    told = told_changes(changes)
    if not holds:
        complain(f"{where}: {told[0].lower()}{told[1:]}")
    elif not json:
        print_lines([f"{told}; what it expects still holds."])


def wrapped_lines(text: str, indent: str = "", mark: str = "") -> Iterator[str]:
    """Give paragraphs as lines of the terminal's width, perhaps with a mark before the first."""
    for paragraph in text.split("\n\n"):
        joined = " ".join(paragraph.split())
        yield from textwrap.wrap(
            joined, width_cells(), initial_indent=indent + mark, subsequent_indent=indent + " " * len(mark)
        )


# ---- for scripts -----------------------------------------------------------------------------------------------------


def _json(player: "ReplayPlayer", played: "list[Played]") -> dict[str, object]:
    return {
        "schema": 1,
        "title": player.replay.title,
        "scenario": player.scenario.id,
        "holds": all(beat.holds for beat in played),
        "changed": list(player.changes),
        "beats": [
            {
                "number": beat.number,
                "title": beat.beat.title,
                "technique": beat.place.technique,
                "position": beat.place.position,
                "holds": beat.holds,
                "problem": beat.problem or None,
                "expect": [finding_json(finding) for finding in beat.findings],
            }
            for beat in played
        ],
    }


def finding_json(finding: "Finding") -> dict[str, object]:
    """Give one expectation for a script."""
    return {
        "key": finding.wanted.key,
        "relation": finding.wanted.relation,
        "expected": finding.wanted.value,
        "found": finding.found,
        "holds": finding.holds,
    }
