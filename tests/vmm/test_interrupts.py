"""Interrupts arrive at the same instruction, and find the guest in the same state, under every technique."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.guest import Scenario
from ringviz.machine.devices import pc_devices
from ringviz.vmm import technique as technique_module
from ringviz.vmm.registry import available
from tests.machine.guests import NASM, assemble
from tests.vmm.guests import make_scenario
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.timer import Ticker

SOURCE = Path(__file__).with_name("interrupts.asm")
PERIODS = (37, 41, 100, 251)
TICKS, LOG = 0x20_0000, 0x20_1000
LOAD = 0x1000
FAITHFUL = tuple(name for name in available() if name not in ("native", "paravirt", "trap-emulate"))

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")


@pytest.fixture(autouse=True)
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the ticker where the timer is."""

    def devices(memory_bytes: int) -> tuple[object, ...]:
        others = [device for device in pc_devices(memory_bytes) if 0x40 not in device.ports[0]]
        return (Ticker(), *others)

    monkeypatch.setattr(technique_module, "pc_devices", devices)


def guest(folder: Path, period: int) -> Scenario:
    source = SOURCE.read_text(encoding="ascii").replace("PERIOD", str(period))
    return make_scenario(folder, assemble(source, folder), LOAD, entry=LOAD, limit=100_000)


def ticks(run: Run) -> int:
    page = run.page(TICKS >> 12)
    assert page[8:12] == b"\0\0\0\0", "the guest found a tick where none may come"
    return int.from_bytes(page[:4], "little")


@pytest.mark.parametrize("period", PERIODS)
def test_bare_metal_ticks_and_sleeps(period: int, tmp_path: Path) -> None:
    run = Run(guest(tmp_path, period), "native")
    run.finish()
    assert run.ended is not None
    assert run.ended.how == "halted"
    assert ticks(run) > 40
    assert run.technique.machine.idle > 0


def test_running_and_stepping_give_the_same(tmp_path: Path) -> None:
    scenario = guest(tmp_path, 41)
    free, stepped = Run(scenario, "native"), Run(scenario, "native")
    free.finish()
    while stepped.ended is None:
        stepped.reach(stepped.position + 1)
    assert free.page(LOG >> 12) == stepped.page(LOG >> 12)
    assert free.technique.guest_state() == stepped.technique.guest_state()
    assert free.technique.machine.now == stepped.technique.machine.now


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("technique", FAITHFUL)
def test_every_technique_delivers_at_the_same_instruction(technique: str, period: int, tmp_path: Path) -> None:
    run = assert_lockstep(guest(tmp_path, period), technique)
    assert ticks(run) > 40
