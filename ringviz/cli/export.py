"""`ringviz export`: a run as a picture, a page, a recording or a trace, in formats that other programs show."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit
from ringviz.cli.names import known
from ringviz.cli.options import ConsoleInput, Controls, Cpu, Disk, Disk2, Keys, Limit, Memory, Mmu, Technique
from ringviz.cli.output import opened, write_text
from ringviz.errors import InputError

if TYPE_CHECKING:
    from ringviz.engine.session import Session
    from ringviz.engine.stream import Stream
    from ringviz.guest.scenario import Scenario
    from ringviz.record.player import ReplayPlayer
    from ringviz.ui.film import Scene

FORMATS = {
    "svg": "a picture of one step",
    "html": "a page of the whole run, for a browser",
    "cast": "a recording for asciinema: of each event, or of a replay's beats",
    "perfetto": "rings and VMM as tracks over modelled time, for ui.perfetto.dev",
    "jsonl": "every event as JSON",
    "csv": "every event as a row of a table",
    "plain": "every event as a sentence",
    "trace": "every event in ringviz's own file, for `ringviz diff`",
}
"""By the name that `--format` takes: what it gives."""
_SMALLEST, _LARGEST = (80, 24), (400, 120)
MOST_SCENES = 300
"""Ours: a recording of more events is longer than anybody looks at one."""
SECONDS_A_SCENE = 1.0


def export(
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO", help="A scenario's id or folder, an image, or for cast a *.replay.toml file."
        ),
    ],
    technique: Technique = "native",
    export_format: Annotated[
        str, typer.Option("--format", metavar="ID", help="svg, html, cast, perfetto, jsonl, csv, plain or trace.")
    ] = "html",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of stdout.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="WHEN", help="svg: a step, address, symbol or kind of event; the end if left out."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="html: steps; cast: events; at most so many.")
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", min=0.01, max=100, help="cast: so much faster.")
    ] = 1.0,
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="svg and cast: columns and rows, such as 80x24.")
    ] = "120x40",
    mmu: Mmu = None,
    cpu: Cpu = None,
    control: Controls = None,
    disk: Disk = None,
    disk2: Disk2 = None,
    memory: Memory = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
) -> int:
    """Write a run as a picture, a page, a recording or a trace."""
    from ringviz.record.replay import REPLAY_SUFFIX

    known("format", export_format, FORMATS)
    cells = _cells(size)
    if scenario.endswith(REPLAY_SUFFIX):
        if export_format != "cast":
            raise InputError(f"{scenario}: a replay becomes a recording: expected --format cast, found {export_format}")
        pieces = _cast_of_replay(scenario, speed, cells)
    else:
        found = chosen(scenario, disk, disk2, memory, limit, console_input, keys)
        pieces = _pieces(found, technique, mmu, cpu, tuple(control or ()), export_format, at, steps, speed, cells)
    with opened(output) as stream:
        write_text(pieces, stream)
    return Exit.DONE


def _pieces(
    scenario: "Scenario",
    technique: str,
    mmu: str | None,
    cpu: str | None,
    controls: tuple[str, ...],
    export_format: str,
    at: str | None,
    steps: int | None,
    speed: float,
    size: tuple[int, int],
) -> Iterator[str]:
    """Give the text of an export, piece by piece. What is wrong with the choices is said before the first."""
    from ringviz.engine.session import Session
    from ringviz.engine.stream import Stream
    from ringviz.vmm.registry import choose

    setup = choose(technique, mmu, cpu, controls, scenario)
    match export_format:
        case "svg":
            return iter([_picture(Session(scenario, technique, mmu, cpu, controls), at, size)])
        case "html":
            from ringviz.export.page import page_of
            from ringviz.export.page.page import MOST_STEPS

            return iter([page_of(Session(scenario, technique, mmu, cpu, controls), steps or MOST_STEPS)])
        case "cast":
            return _cast_of_run(Session(scenario, technique, mmu, cpu, controls), steps or MOST_SCENES, speed, size)
        case "perfetto":
            from ringviz.export.perfetto import perfetto_of

            return perfetto_of(Stream(scenario, technique, setup))
        case _:
            return _trace(Stream(scenario, technique, setup), export_format)


def _trace(run: "Stream", trace_format: str) -> Iterator[str]:
    from ringviz.cli.trace import end_of, events_of, head_of
    from ringviz.export import TRACE_FORMATS

    writer = TRACE_FORMATS[trace_format]
    yield writer.head(head_of(run))
    for news in events_of(run):
        yield from (writer.event(event) for event in news)
    yield writer.end(end_of(run))


def _cells(text: str) -> tuple[int, int]:
    """Understand a size in columns and rows.

    Raises:
        InputError: it is none, or one that no screen has.
    """
    width, _, height = text.partition("x")
    if width.isascii() and width.isdigit() and height.isascii() and height.isdigit():
        cells = (int(width), int(height))
        if all(low <= cell <= high for low, cell, high in zip(_SMALLEST, cells, _LARGEST, strict=True)):
            return cells
    raise InputError(f'--size: found "{text}", expected columns x rows from 80x24 to 400x120, such as 120x40')


def _picture(session: "Session", at: str | None, size: tuple[int, int]) -> str:
    from ringviz.ui.picture import render_picture

    go_to(session, at)
    return render_picture(session.snapshot(), size)


def go_to(session: "Session", text: str | None) -> None:
    """Stand at the moment that `--at` names.

    Raises:
        InputError: the guest never comes there.
    """
    from ringviz.engine.places import resolve_condition

    if text is None:
        session.run()
        return
    word = text.strip()
    if word.isascii() and word.isdigit():
        session.seek(int(word))
        if session.position < int(word):
            raise InputError(f"--at {word}: the run ends after {session.position:,} instructions")
    elif not session.run_to(resolve_condition(session, word)):
        raise InputError(f"--at {word}: the guest never comes there under {session.technique.id}")


# ---- recordings ------------------------------------------------------------------------------------------------------


def _cast_of_run(session: "Session", most: int, speed: float, size: tuple[int, int]) -> Iterator[str]:
    """Give a recording of a run: its start, and the moment after each event."""
    from ringviz.export.cast import cast_of
    from ringviz.ui.film import filmed

    title = f"ringviz: {session.scenario.title}, {session.technique.title}"
    return cast_of(filmed(_scenes_of_run(session, most, speed), size), size, title)


def _scenes_of_run(session: "Session", most: int, speed: float) -> Iterator["Scene"]:
    from ringviz.engine.events import sentence
    from ringviz.ui.film import Scene

    seconds = SECONDS_A_SCENE / speed
    yield Scene(session.snapshot(), seconds, f"{session.scenario.title}\n{session.scenario.summary}")
    for _ in range(most):
        if not session.next_event():
            break
        event = session.events[session.event_count() - 1]
        yield Scene(session.snapshot(), seconds, f"{event.number}. {sentence(event)}")


def _cast_of_replay(path: str, speed: float, size: tuple[int, int]) -> Iterator[str]:
    """Give a recording of a replay: each beat for as long as its words take."""
    from ringviz.export.cast import cast_of
    from ringviz.lessons.lectures import find_own_replay
    from ringviz.record.player import ReplayPlayer
    from ringviz.record.replay_file import load_replay
    from ringviz.ui.film import filmed

    player = ReplayPlayer(load_replay(find_own_replay(path)))
    return cast_of(filmed(_scenes_of_replay(player, speed), size), size, f"ringviz: {player.replay.title}")


def _scenes_of_replay(player: "ReplayPlayer", speed: float) -> Iterator["Scene"]:
    from ringviz.record.pace import THINKING_SECONDS, beat_seconds, reading_seconds
    from ringviz.ui.film import Scene

    while (played := player.next()) is not None:
        beat = played.beat
        snapshot = player.session.snapshot()
        head = f"{played.number}. {beat.title}"
        said = " ".join(beat.say.split())
        if beat.ask is None:
            yield Scene(snapshot, beat_seconds(beat, speed), f"{head}\n{said}", beat.focus, beat.is_zoomed)
            continue
        choices = " / ".join(beat.ask.choices)
        question = f"{head}\n{' '.join(beat.ask.text.split())}\n{choices}".rstrip()
        thinking = (reading_seconds(question) + THINKING_SECONDS) / speed
        if said:
            yield Scene(snapshot, beat_seconds(beat, speed) - thinking, f"{head}\n{said}", beat.focus, beat.is_zoomed)
        yield Scene(snapshot, thinking, question, beat.focus, beat.is_zoomed)
        if beat.ask.answer:
            answer = f"{head}\n{beat.ask.answer}\n{' '.join(beat.ask.explain.split())}".rstrip()
            yield Scene(snapshot, max(2.0, reading_seconds(answer)) / speed, answer, beat.focus, beat.is_zoomed)
