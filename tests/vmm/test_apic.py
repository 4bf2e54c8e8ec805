"""A guest that lives on local APIC and I/O APIC finds them alike under every technique, by memory accesses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ringviz.guest import Scenario
from ringviz.vmm.events import Kind
from tests.machine.guests import NASM, assemble
from tests.vmm.guests import make_scenario
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.test_interrupts import LOAD, LOG, TICKS, WAYS

SOURCE = Path(__file__).with_name("apic.asm")
PERIOD = 90_000
"""Ticks of the APIC's timer between two interrupts: 90 microseconds of device time."""

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")


def guest(folder: Path) -> Scenario:
    source = SOURCE.read_text(encoding="ascii").replace("PERIOD", str(PERIOD))
    return make_scenario(folder, assemble(source, folder), LOAD, entry=LOAD, limit=100_000)


def word(run: Run, address: int) -> int:
    return int.from_bytes(run.page(address >> 12)[address & 0xFFF :][:4], "little")


def test_timer_io_apic_and_messages_reach_the_cpu_on_bare_metal(tmp_path: Path) -> None:
    run = Run(guest(tmp_path), "native")
    run.finish()
    assert run.ended is not None
    assert run.ended.how == "halted"
    count = word(run, TICKS)
    kinds = Counter(word(run, LOG + 8 * number + 4) for number in range(count))
    assert kinds[3] == 150  # every message arrived
    assert kinds[1] > 40
    assert kinds[2] > 20
    assert not kinds[4]
    assert word(run, TICKS + 8) == 0
    assert word(run, TICKS + 16) == 0x0005_0014
    assert word(run, TICKS + 24) == 3 << 16  # vectors 30h and 31h wait behind the task priority
    assert word(run, TICKS + 28) == 0x30
    assert run.technique.machine.idle > 0


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_the_apic_is_the_same_under_every_technique(
    technique: str, mmu: str | None, cpu: str | None, tmp_path: Path
) -> None:
    run = assert_lockstep(guest(tmp_path), technique, mmu=mmu, cpu=cpu, times=10)
    assert word(run, TICKS) > 200
    assert not any(event.kind is Kind.VIOLATION for event in run.events)
