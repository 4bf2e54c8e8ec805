"""What is wrong with a replay: told without playing it, or by playing it to its end."""

from __future__ import annotations

from collections.abc import Iterator

from ringviz.errors import RingvizError
from ringviz.guest.scenario import Scenario, find_scenario
from ringviz.guest.schema import did_you_mean
from ringviz.guest.symbols import SourceMap, load_source_map
from ringviz.record.player import ReplayPlayer
from ringviz.record.replay import Beat, Machine, Replay, ToPlace, Wanted
from ringviz.vmm.registry import check_fits, choose, variant_for

_HEXADECIMAL = set("0123456789abcdefABCDEF")


def replay_problems(replay: Replay, scenario: Scenario | None = None) -> Iterator[str]:
    """Tell what can be told without running anything: machines that do not exist, places that the guest has not.

    Args:
        replay: the script.
        scenario: the guest, if its machine is another than its folder says.

    Yields:
        One line each: file, beat, key, what was found and what was expected.
    """
    try:
        guest = scenario if scenario is not None else find_scenario(replay.scenario)
        machine = _settled(guest, Machine("native"), replay.machine)
    except RingvizError as error:
        yield f"{replay.where}: {error}"
        return
    for number, beat in enumerate(replay.beats, 1):
        where = f"{replay.where}: beat {number}"
        try:
            machine = _settled(guest, machine, beat.machine)
        except RingvizError as error:
            yield f"{where}: {error}"
        assert machine.technique is not None
        yield from _problems_of_beat(beat, guest, machine.technique, where)


def played_problems(replay: Replay) -> Iterator[str]:
    """Play a replay, and tell what is not so: places that are never reached, expectations, panels with nothing in them.

    Yields:
        One line each: file, beat, step, what was expected and what was found.
    """
    try:
        player = ReplayPlayer(replay)
        while (played := player.next()) is not None:
            place = replay.place_of(played.number)
            yield from (f"{place}, {failure}" for failure in played.failures)
            if played.problem:
                return  # what follows would begin somewhere else
            if played.beat.focus == "vmm" and player.session.snapshot(lambda: True).side is None:
                technique = played.place.technique
                yield f'{place}: focus: found "vmm", but {technique} keeps nothing beside the guest\'s code'
    except RingvizError as error:
        yield str(error)


def _problems_of_beat(beat: Beat, guest: Scenario, technique: str, where: str) -> Iterator[str]:
    try:
        source = load_source_map(guest, variant_for(technique))
        for compared in beat.compare:
            check_fits(guest, compared)
        for wanted in beat.expect:
            if wanted.key.startswith("fidelity."):
                check_fits(guest, wanted.key.partition(".")[2])
    except RingvizError as error:
        yield f"{where}: {error}"
        return
    if isinstance(beat.go, ToPlace):
        yield from _problem_of_place(beat.go.name, source, f"{where}: go.at", guest.id)
    for wanted in beat.expect:
        yield from _problem_of_wanted(wanted, source, f"{where}: expect.{wanted.key}", guest.id)


def _settled(guest: Scenario, before: Machine, change: Machine) -> Machine:
    """Give the machine after a change, if there is such a one and it runs the guest."""
    technique = change.technique or before.technique or "native"
    stays = technique == before.technique
    machine = Machine(
        technique,
        change.mmu or (before.mmu if stays else None),
        change.cpu or (before.cpu if stays else None),
        change.controls if change.controls is not None else (before.controls if stays else ()),
    )
    choose(technique, machine.mmu, machine.cpu, machine.controls or (), guest)
    check_fits(guest, technique)
    return machine


def _problem_of_wanted(wanted: Wanted, source: SourceMap, where: str, guest: str) -> Iterator[str]:
    family, _, member = wanted.key.partition(".")
    if family in ("memory", "walk"):
        yield from _problem_of_place(member, source, where, guest)


def _problem_of_place(name: str, source: SourceMap, where: str, guest: str) -> Iterator[str]:
    word = name.strip()
    digits = word[2:] if word[:2] in ("0x", "0X") else word[:-1] if word[-1:] in ("h", "H") else ""
    if source.address_of(word) is None and not (digits and set(digits) <= _HEXADECIMAL):
        names = [symbol.name for symbol in source.symbols]
        yield (
            f'{where}: found "{word}", expected an address such as 0x100040, or a symbol of {guest}'
            f"{did_you_mean(word, names)}"
        )
