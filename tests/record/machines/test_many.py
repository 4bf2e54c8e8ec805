"""Sixty-four small machines on one host: each has its share, and all of them are listed at every look."""

from pathlib import Path

from ringviz.engine.host_view import machine_rows, unfairness
from ringviz.record.machines.definition import Definition
from ringviz.record.machines.room import Room
from ringviz.record.machines.room_view import room_view
from tests.vmm.migration.guests import writer

MACHINES = 64
CYCLES = 4_000_000


def test_sixty_four_machines_run_and_are_listed(tmp_path: Path) -> None:
    writer(tmp_path / "guest", 100_000, 4, 2_000)
    room = Room(tmp_path / "room", lambda: 0)
    room.set_host(None, 2048, None)
    definition = Definition(str(tmp_path / "guest"), "vt-x")
    for number in range(MACHINES):
        room.define(f"vm-{number}", definition)
        room.start(f"vm-{number}")
    run = room.prepare()
    run.begin()
    looks = 0
    while run.host.clock < CYCLES:
        run.advance(CYCLES)
        shown = room_view(run, 60, 4)
        looks += 1
        assert [row.name for row in shown.rows] == list(room.machines)
        assert len(shown.gantt) == MACHINES
    assert looks <= 5  # once in each accounting period, however many machines there are
    turns = {row.name: row.running_cycles for row in machine_rows(run.host)}
    assert len(turns) == MACHINES
    # Each has had two turns of a time slice in 4,000,000 cycles; nobody had a third before all had two.
    assert max(turns.values()) - min(turns.values()) < 40_000
    assert unfairness(run.host) < 0.6
    run.finish()
    room.keep(run)
    assert all(kept.run is not None and kept.run.place.retired for kept in room.machines.values())
    room.close()
