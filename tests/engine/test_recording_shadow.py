"""Shadow page tables are part of the tape: going back brings them back, hidden faults and all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.guest import Scenario
from ringviz.guest.scenario import find_scenario
from tests.engine.complete_state import everything, fresh, recording
from tests.vmm.paged_guests import (
    DIRECTORY,
    FRAMES,
    LOW_TABLE,
    OTHER_DIRECTORY,
    OTHER_TABLE,
    PAGED,
    RELOAD_CR3,
    TABLE,
    WINDOW,
    WP,
    Body,
    P,
    U,
    W,
    change,
    invlpg,
    le,
    paged_scenario,
    read,
    set_cr,
    two_level,
    write,
)

TECHNIQUES = ("classic", "trap-emulate", "binary-translation")
PWU = P | W | U


def busy_guest(folder: Path) -> Scenario:
    """A guest that goes through everything shadows do, several times."""
    body = Body()
    for turn in range(3):
        body.slot(read(WINDOW), change(WINDOW), write(TABLE + 4, FRAMES + 0x1000 * turn | PWU), invlpg(WINDOW + 0x1000))
        body.slot(change(WINDOW + 0x1000), set_cr(3, OTHER_DIRECTORY), change(WINDOW), set_cr(3, DIRECTORY))
        body.slot(write(DIRECTORY + 8, OTHER_TABLE | PWU), RELOAD_CR3, change(0x80_0000), write(0xFFFF_F000))
        body.slot(set_cr(0, PAGED), change(WINDOW + 0x2000)).to_ring_3()
        body.slot(read(WINDOW + 0x2000), write(WINDOW + 0x2000), read(0x8000_0000)).to_ring_0()
        body.slot(set_cr(0, PAGED | WP), set_cr(0, 0x11), change(WINDOW), set_cr(0, PAGED | WP))
    entries = {0: FRAMES | PWU, 2: FRAMES + 0x5000 | P | U}
    tables = [
        *two_level(entries, directory={1023: OTHER_TABLE | PWU}),
        (OTHER_DIRECTORY, le(LOW_TABLE | PWU) + le(OTHER_TABLE | PWU)),
        (OTHER_TABLE, le(FRAMES + 0x7000 | PWU)),
    ]
    return paged_scenario(folder / "guest", body, tables)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_position_has_the_bits_of_a_fresh_run_however_it_is_reached(tmp_path: Path, technique: str) -> None:
    scenario = busy_guest(tmp_path)
    tape = recording(scenario, technique)
    tape.play_to_the_end()
    end = tape.position
    assert tape.end is not None
    assert tape.end.outcome == "halted"
    for place in (*range(20, end, 41), end - 1, 30, end, 100):
        tape.seek(place)
        assert everything(tape) == fresh(scenario, technique, place)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_stepping_and_running_tell_the_same_hidden_faults(tmp_path: Path, technique: str) -> None:
    scenario = busy_guest(tmp_path)
    straight, stepped, broken = (recording(scenario, technique) for _ in range(3))
    straight.play_to_the_end()
    while not stepped.is_at_end:
        stepped.play(stepped.position + 1)
    for place in range(3, straight.position, 17):
        broken.play(place)
        broken.seek(max(0, place - 30))
    broken.play_to_the_end()
    assert stepped.log.raw == straight.log.raw == broken.log.raw
    assert everything(stepped) == everything(straight) == everything(broken)
    assert sum(event.charges == ("hidden-fault",) for event in straight.log.raw) > 20
    assert sum(event.charges == ("trace",) for event in straight.log.raw) >= 4


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_paging_tour_can_be_left_and_returned_to(technique: str) -> None:
    scenario = find_scenario("paging-tour")
    tape = recording(scenario, technique)
    tape.play_to_the_end()
    log, end = list(tape.log.raw), tape.position
    for place in (5163, 5672, 6655, 6661, 7105, 100, end, 5673):
        tape.seek(place)
        assert everything(tape) == fresh(scenario, technique, place)
    tape.play_to_the_end()
    assert list(tape.log.raw) == log
