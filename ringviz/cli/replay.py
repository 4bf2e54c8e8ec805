"""`ringviz replay`: plays a script of beats, in the app or headless as a test."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.exits import Exit, complain, one_line
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.errors import ReplayError
from ringviz.lessons.lectures import find_replay
from ringviz.record.made_with import told_changes
from ringviz.record.replay_file import load_replay

if TYPE_CHECKING:
    from ringviz.record.played import Played
    from ringviz.record.player import ReplayPlayer
    from ringviz.record.replay import Replay

_FASTEST = 100.0


def replay(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A *.replay.toml file; or the id of a scenario or lesson, for its lecture."
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
    from ringviz.record.player import ReplayPlayer

    script = load_replay(find_replay(file))
    if headless or stamp or json:
        return _play_headless(ReplayPlayer(script), stamp=stamp, json=json)
    from ringviz.cli.run import open_app

    return open_app(script.scenario, replay=script, speed=speed)


def _play_headless(player: "ReplayPlayer", *, stamp: bool, json: bool) -> int:
    script = player.replay
    played: list[Played] = []
    if not json:
        print_lines(_head(script))
    while (beat := player.next()) is not None:
        played.append(beat)
        if not json:
            print_lines(_beat_lines(beat))
        for failure in beat.failures:
            complain(f"{script.place_of(beat.number)}, {failure}")
        if beat.problem:
            break  # what follows would begin somewhere else
    holds = all(beat.holds for beat in played)
    changes = player.changes
    if json:
        print_json(_json(player, played))
    else:
        print_lines(_tail(played, holds=holds))
        if changes and holds:
            print_lines([f"{told_changes(changes)}; what it expects still holds."])
    if changes and not holds:
        told = told_changes(changes)
        complain(f"{script.where}: {told[0].lower()}{told[1:]}")
    if not holds:
        return Exit.FAILED
    if stamp:
        _stamp(player)
    return Exit.DONE


def _stamp(player: "ReplayPlayer") -> None:
    from ringviz.record.replay_file import stamped

    path = player.replay.path
    try:
        old = path.read_text(encoding="utf-8")
        new = stamped(old, player.made_with)
        if new != old:
            path.write_text(new, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ReplayError(f"{player.replay.where}: cannot be written: {error.strerror}") from None


# ---- for people ------------------------------------------------------------------------------------------------------


def _head(script: "Replay") -> Iterator[str]:
    yield strong(script.title)
    if script.summary:
        yield from _wrapped(script.summary)


def _beat_lines(played: "Played") -> Iterator[str]:
    """Tell one beat: for reading along, and for reading aloud."""
    beat, place = played.beat, played.place
    yield ""
    yield strong(f"{played.number}. {beat.title}")
    end = ", the end of the run" if place.is_at_end else ""
    yield f"   {place.technique}, after {place.position:,} instructions{end}"
    if beat.say:
        yield from _wrapped(beat.say, "   ")
    if beat.compare:
        yield f"   Compare: {', '.join(beat.compare)}"
    if beat.ask is not None:
        yield from _wrapped(f"Question: {beat.ask.text}", "   ")
        yield from (f"     - {choice}" for choice in beat.ask.choices)
        if beat.ask.answer:
            yield from _wrapped(f"Answer: {beat.ask.answer}", "   ")
        if beat.ask.explain:
            yield from _wrapped(beat.ask.explain, "   ")
    for finding in played.findings:
        words = f"{finding.wanted.key} {finding.wanted.words}" if finding.holds else f"NOT SO: {finding.words}"
        yield from _wrapped(one_line(words), "   ", mark="= " if finding.holds else "! ")
    if played.problem:
        yield f"   ! {played.problem}"


def _tail(played: "list[Played]", *, holds: bool) -> Iterator[str]:
    findings = [finding for beat in played for finding in beat.findings]
    failed = sum(not finding.holds for finding in findings) + sum(bool(beat.problem) for beat in played)
    yield ""
    verdict = "all hold" if holds else f"{failed:,} not so"
    yield f"{len(played):,} beats, {len(findings):,} expectations: {verdict}"


def _wrapped(text: str, indent: str = "", mark: str = "") -> Iterator[str]:
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
                "expect": [
                    {
                        "key": finding.wanted.key,
                        "relation": finding.wanted.relation,
                        "expected": finding.wanted.value,
                        "found": finding.found,
                        "holds": finding.holds,
                    }
                    for finding in beat.findings
                ],
            }
            for beat in played
        ],
    }
