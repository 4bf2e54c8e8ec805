"""A machine's place, a few numbers, leads another to the same state, whatever turns the first one had."""

from pathlib import Path

import pytest

from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import UnsupportedError
from ringviz.guest import Scenario, find_scenario
from ringviz.vmm.host.host import Host, MachineSpec
from tests.vmm.host.guests import busy, sleeper


@pytest.mark.parametrize(
    ("scenario", "technique", "cpu"),
    [
        ("popf-hole", "paravirt", "haswell"),
        ("popf-hole", "binary-translation", "p4-672"),
        ("hello-serial", "emulation", "haswell"),
        ("paging-tour", "amd-v", "barcelona"),
        ("sleeper", "trap-emulate", "haswell"),
        ("sleeper", "vt-x", "p4-672"),
    ],
)
def test_a_place_leads_to_the_same_machine(tmp_path: Path, scenario: str, technique: str, cpu: str) -> None:
    guest: Scenario = sleeper(tmp_path) if scenario == "sleeper" else find_scenario(scenario)
    host = Host(cpu, 64, time_slice=7_777)
    machine = host.add(MachineSpec("a", guest, technique))
    has_slept = False
    for _ in range(16 if scenario == "sleeper" else 4):
        host.run(11_111 if scenario == "sleeper" else 130_000)
        if machine.end is not None:
            break
        other = Host(cpu, 64).add(MachineSpec("a", guest, technique), paused=True)
        other.go_to(machine.place)
        assert other.place == machine.place
        assert guest_state_sha256(other.technique) == guest_state_sha256(machine.technique)
        has_slept = has_slept or machine.place.has_slept
    assert machine.place.retired > 0
    assert has_slept == (scenario == "sleeper")


def test_a_place_in_another_guests_run_is_refused(tmp_path: Path) -> None:
    host = Host("haswell", 64)
    machine = host.add(MachineSpec("a", sleeper(tmp_path / "a"), "vt-x"))
    host.run(50_000)
    other = Host("haswell", 64).add(MachineSpec("a", busy(tmp_path / "b"), "vt-x"), paused=True)
    with pytest.raises(UnsupportedError, match="does not come by the place"):
        other.go_to(machine.place)
