"""Interrupts arrive at the same instruction, and find the guest in the same state, under every technique."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ringviz.guest import Scenario
from ringviz.vmm.events import Kind
from tests.machine.guests import NASM, assemble
from tests.vmm.guests import make_scenario
from tests.vmm.lockstep import Run, assert_lockstep, default_cpu, difference

SOURCE = Path(__file__).with_name("interrupts.asm")
PERIODS = (37, 41, 100, 251)
TICKS, LOG = 0x20_0000, 0x20_1000
LOAD = 0x1000
WAYS = (
    ("emulation", None, None),
    ("classic", None, None),
    ("binary-translation", None, None),
    ("vt-x", "nested", "nehalem"),
    ("vt-x", "shadow", "p4-672"),
    ("amd-v", "nested", None),
    ("amd-v", "shadow", None),
)
"""Technique, way of memory virtualization, CPU."""

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")


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


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_every_technique_delivers_at_the_same_instruction(
    technique: str, mmu: str | None, cpu: str | None, tmp_path: Path
) -> None:
    run = assert_lockstep(guest(tmp_path, 41), technique, mmu=mmu, cpu=cpu)
    assert ticks(run) > 40


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_the_ticks_of_a_free_run_come_where_they_come_on_bare_metal(
    technique: str, mmu: str | None, cpu: str | None, tmp_path: Path
) -> None:
    for period in PERIODS:
        scenario = guest(tmp_path, period)
        cpu = cpu or default_cpu(technique)
        native, run = Run(scenario, "native", cpu), Run(scenario, technique, cpu, mmu=mmu)
        native.finish()
        run.finish()
        assert run.page(LOG >> 12) == native.page(LOG >> 12)
        assert difference(native, run) is None
        assert run.technique.machine.now == native.technique.machine.now


def test_sti_lets_one_more_instruction_run_first(tmp_path: Path) -> None:
    run = Run(guest(tmp_path, 37), "native")
    run.finish()
    memory = run.technique.guest_ram()
    first = int.from_bytes(memory[LOG : LOG + 4], "little")
    assert memory[first - 2 : first + 1] == bytes.fromhex("fb 43 43"), "sti; inc ebx; <here> inc ebx"


def test_a_window_exit_comes_where_the_guest_opens_it(tmp_path: Path) -> None:
    run = Run(guest(tmp_path, 37), "vt-x")
    run.finish()
    causes = Counter(event.cause for event in run.events)
    assert causes["VM exit 1, External interrupt"] > 100
    assert causes["VM exit 7, Interrupt window"] > 20
    waits = [event for event in run.events if event.cause.startswith("VM exit 1,") and "asked for" in event.action]
    assert len(waits) > 20  # the others waited behind a mask of the interrupt controller


def test_the_cpu_itself_keeps_a_virtual_interrupt_until_if_is_set(tmp_path: Path) -> None:
    run = Run(guest(tmp_path, 37), "amd-v")
    run.finish()
    kinds = Counter(event.kind for event in run.events)
    assert kinds[Kind.INTERRUPT] == ticks(run)
    assert "VMEXIT_VINTR" not in {event.cause for event in run.events}


def test_without_the_control_the_guest_takes_the_machines_own_interrupts(tmp_path: Path) -> None:
    scenario = guest(tmp_path, 41)
    for technique, control in (("vt-x", "-external-interrupt-exiting"), ("amd-v", "-intr")):
        run = assert_lockstep(scenario, technique, controls=(control,), times=5)
        causes = {event.cause for event in run.events}
        assert not causes & {"VM exit 1, External interrupt", "VMEXIT_INTR"}
        assert sum(event.kind is Kind.INTERRUPT for event in run.events) + sum(
            event.kind is Kind.REFLECT for event in run.events
        ) == ticks(run)


def test_trap_and_emulate_loses_the_if_that_popf_should_set(tmp_path: Path) -> None:
    native, run = Run(guest(tmp_path, 41), "native"), Run(guest(tmp_path, 41), "trap-emulate")
    native.finish()
    run.finish()
    assert ticks(run) < ticks(native)


@pytest.mark.parametrize("load", ["mov fs, ax", "pop gs"])
def test_a_segment_load_that_begins_a_block_lets_the_guest_go_on_while_an_interrupt_waits(
    load: str, tmp_path: Path
) -> None:
    push = "push eax" if load.startswith("pop") else "nop"
    source = f"""
        bits 32
        org {LOAD}
        cli
        mov esp, 0x8000
        mov al, 0x11
        out 0x20, al
        mov al, 0x20
        out 0x21, al
        mov al, 4
        out 0x21, al
        mov al, 1
        out 0x21, al
        mov al, 0xFE
        out 0x21, al
        mov al, 0x34
        out 0x43, al
        mov al, 40
        out 0x40, al
        mov al, 0
        out 0x40, al
        mov ecx, 200
    .wait:
        loop .wait
        xor eax, eax
        {push}
        inc ecx
        {load}
        inc ecx
        mov al, 0
        out 0xF4, al
    """
    run = Run(make_scenario(tmp_path, assemble(source, tmp_path), LOAD, entry=LOAD, limit=1_000), "native")
    run.finish()
    assert run.technique.machine.bus.is_requesting
    assert run.ended is not None
    assert run.ended.how == "exit"
