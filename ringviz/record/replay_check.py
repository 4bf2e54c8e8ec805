"""What can be told about a replay without playing it: that its machines exist, and that its guest has such places."""

from __future__ import annotations

from ringviz.errors import ReplayError, RingvizError
from ringviz.guest.scenario import Scenario, find_scenario
from ringviz.guest.schema import did_you_mean
from ringviz.guest.symbols import SourceMap, load_source_map
from ringviz.record.replay import Machine, Replay, ToPlace, Wanted
from ringviz.vmm.registry import check_fits, choose, variant_for

_HEXADECIMAL = set("0123456789abcdefABCDEF")


def check_replay(replay: Replay, scenario: Scenario | None = None) -> None:
    """Refuse a replay that could not be played.

    Raises:
        RingvizError: one line about the first thing that is wrong.
    """
    try:
        guest = scenario if scenario is not None else find_scenario(replay.scenario)
        machine = _settled(guest, Machine("native"), replay.machine)
    except RingvizError as error:
        raise ReplayError(f"{replay.where}: {error}") from None
    for number, beat in enumerate(replay.beats, 1):
        where = f"{replay.where}: beat {number}"
        try:
            machine = _settled(guest, machine, beat.machine)
            for technique in beat.compare:
                check_fits(guest, technique)
            for wanted in beat.expect:
                if wanted.key.startswith("fidelity."):
                    check_fits(guest, wanted.key.partition(".")[2])
            assert machine.technique is not None
            source = load_source_map(guest, variant_for(machine.technique))
        except RingvizError as error:
            raise ReplayError(f"{where}: {error}") from None
        if isinstance(beat.go, ToPlace):
            _check_place(beat.go.name, source, f"{where}: go.at", guest.id)
        for wanted in beat.expect:
            _check_wanted(wanted, source, f"{where}: expect.{wanted.key}", guest.id)


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


def _check_wanted(wanted: Wanted, source: SourceMap, where: str, guest: str) -> None:
    family, _, member = wanted.key.partition(".")
    if family in ("memory", "walk"):
        _check_place(member, source, where, guest)


def _check_place(name: str, source: SourceMap, where: str, guest: str) -> None:
    word = name.strip()
    digits = word[2:] if word[:2] in ("0x", "0X") else word[:-1] if word[-1:] in ("h", "H") else ""
    if source.address_of(word) is None and not (digits and set(digits) <= _HEXADECIMAL):
        names = [symbol.name for symbol in source.symbols]
        raise ReplayError(
            f'{where}: found "{word}", expected an address such as 0x100040, or a symbol of {guest}'
            f"{did_you_mean(word, names)}"
        )
