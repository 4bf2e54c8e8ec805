"""`ringviz build`: assembles guests, or compares committed images with a fresh build."""

from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.check import folders_of
from ringviz.cli.exits import Exit, complain, one_line
from ringviz.cli.output import print_lines
from ringviz.cli.run_report import port
from ringviz.errors import InputError, RingvizError
from ringviz.guest.build import verify as differences
from ringviz.guest.build import write_build
from ringviz.guest.recompiled import recompiled
from ringviz.guest.scenario import Scenario, Variant, load_scenario, shown_path
from ringviz.guest.source_text import place_of
from ringviz.guest.symbols import SourceLine


def build(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Scenario folders, or folders of them.")],
    verify: Annotated[bool, typer.Option("--verify", help="Write nothing; only compare with a fresh build.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; show which source lines a recompiled kernel changes.")
    ] = False,
) -> int:
    """Assemble the guest of each scenario folder with NASM."""
    if verify and diff:
        raise InputError("--verify and --diff: choose one of them")
    one = _verify_one if verify else _diff_one if diff else _build_one
    worst = Exit.DONE
    for folder in (folder for path in paths for folder in folders_of(path)):
        try:
            code = one(load_scenario(folder, is_built=verify))
        except RingvizError as error:
            complain(str(error))
            code = Exit.BAD_INPUT
        worst = max(worst, code)
    return worst


def _build_one(scenario: Scenario) -> Exit:
    changed = write_build(scenario)
    names = " and ".join(path.name for path in changed)
    print_lines([f"{shown_path(scenario.path)}: {f'{names} written' if names else 'nothing has changed'}"])
    return Exit.DONE


def _verify_one(scenario: Scenario) -> Exit:
    problems = differences(scenario)
    for problem in problems:
        complain(problem)
    if not problems:
        print_lines([f"{shown_path(scenario.path)}: same as a fresh build"])
    return Exit.FAILED if problems else Exit.DONE


def _diff_one(scenario: Scenario) -> Exit:
    """Show the source lines that are in one build only, each change as `-` lines and `+` lines."""
    where = shown_path(scenario.path)
    change = recompiled(scenario)
    if change is None:
        print_lines([f"{where}: one build only; nothing is recompiled"])
        return Exit.DONE
    lines = [f"{where}: {port(change)}, {change.dropped:,} left out"]
    for one in change.changes:
        lines.append("")
        for sign, variant, changed in (
            ("-", Variant.ORIGINAL, one.original),
            ("+", Variant.PARAVIRT, one.recompiled),
        ):
            lines += [f"{sign}{_number(scenario, variant, line)}  {one_line(line.text)}" for line in changed]
    print_lines(lines)
    return Exit.DONE


def _number(scenario: Scenario, variant: Variant, line: SourceLine) -> str:
    """Give a line's number in its file, and the name of one that is included."""
    source = scenario.files(variant).source
    place = place_of(source, line.number)
    return f"{place.number:>5}" if place.file == source.name else f"{place.file}:{place.number}"
