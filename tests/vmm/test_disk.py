"""A guest that reads and writes its disks does so alike under every technique, and never in the scenario's files."""

from __future__ import annotations

import hashlib
import shutil
from itertools import cycle, islice
from pathlib import Path

import pytest

from ringviz.engine.recording import Recording
from ringviz.engine.reference import native_reference
from ringviz.engine.stat import stat
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import DiskError
from ringviz.guest import Scenario, load_scenario
from ringviz.guest.disk import read_disk
from ringviz.guest.scenario import with_disks
from ringviz.machine.state import ESI
from ringviz.vmm.registry import choose
from tests.vmm.disk_guest import INTERRUPTED, SECOND_SECTORS, SECTORS, disk_image, disk_scenario
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.test_interrupts import WAYS

pytestmark = pytest.mark.skipif(shutil.which("nasm") is None, reason="nasm is not installed")

TECHNIQUES = ("emulation", "classic", "trap-emulate", "binary-translation", "vt-x", "amd-v")


@pytest.fixture
def guest(tmp_path: Path) -> Scenario:
    return disk_scenario(tmp_path / "reader")


def _digest(folder: Path) -> str:
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in ("first.img", "second.img"))).hexdigest()


def _word(content: bytes, sector: int) -> int:
    return int.from_bytes(content[sector * 512 :][:4], "little")


def test_the_guest_finds_what_is_on_its_disks(guest: Scenario) -> None:
    result = stat(guest, "native")
    numbers = [int(line, 16) for line in result.console.split()]
    assert result.outcome == "exit"
    assert numbers[0] == SECTORS
    assert numbers[1].to_bytes(4, "little") == b"IRGN"  # RING, each word with its first character on top
    assert numbers[2] == _word(disk_image(16, b"b"), 4)
    assert numbers[4] == _word(disk_image(SECTORS, b"a"), 8)
    assert numbers[5] == 0x1051  # IDNF; DRDY, DSC and ERR
    assert numbers[6] == 0x0050
    assert len(numbers) == 8


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_disks_are_alike_under_every_technique(guest: Scenario, technique: str) -> None:
    assert_lockstep(guest, technique, times=3)


def _dwords(run: Run, address: int, count: int) -> list[int]:
    ram = run.technique.guest_ram()
    return [int.from_bytes(ram[at : at + 4], "little") for at in range(address, address + 4 * count, 4)]


def test_every_sector_interrupts_a_guest_that_sleeps_or_is_busy(tmp_path: Path) -> None:
    run = Run(disk_scenario(tmp_path, INTERRUPTED), "native")
    run.finish()
    assert run.ended is not None
    assert run.ended.how == "halted"
    assert _dwords(run, 0x1F_0000, 1) == [6 + 3 + 2 + 1 + 1 + 1 + 1]
    first, second = disk_image(SECTORS, b"a"), disk_image(SECOND_SECTORS, b"b")
    read = b"".join(first[512 * number :][:512] for number in (6, 5, 4, 3, 2, 1, 20, 21, 22))
    written = read[512:1024]
    assert second[512 * 3 :][:512] != written
    ram = run.technique.guest_ram()[0x20_0000:]
    assert ram[: len(read) + 512 + 1] == read + written + b"\x10"
    assert run.technique.guest_state().gpr[ESI] == 0xFFFF_FFFF
    slept, busy = _dwords(run, 0x1F_1000, 6), _dwords(run, 0x1F_1018, 3)
    assert len(set(slept)) == 1, "each time behind HLT"
    assert run.technique.machine.idle > 6 * 30
    assert {address - slept[0] for address in busy}.isdisjoint({0})


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_disks_interrupt_at_the_same_instruction_under_every_technique(
    technique: str, mmu: str | None, cpu: str | None, tmp_path: Path
) -> None:
    assert_lockstep(disk_scenario(tmp_path, INTERRUPTED), technique, mmu=mmu, cpu=cpu)


def test_going_back_takes_back_what_was_written(guest: Scenario) -> None:
    recording = Recording(guest, "native", choose("native"))
    recording.play_to_the_end()
    end, at_end = recording.position, guest_state_sha256(recording.technique)
    halfway = end // 2
    recording.seek(halfway)
    fresh = Run(guest, "native")
    fresh.reach(halfway)
    assert recording.technique.machine.bus.save() == fresh.technique.machine.bus.save()
    recording.seek(0)
    assert recording.technique.machine.bus.save() == Run(guest, "native").technique.machine.bus.save()
    recording.play_to_the_end()
    assert (recording.position, guest_state_sha256(recording.technique)) == (end, at_end)


def test_another_disk_is_another_run(guest: Scenario, tmp_path: Path) -> None:
    other = disk_image(SECTORS, b"c")
    (tmp_path / "other.img").write_bytes(other)
    changed = with_disks(guest, str(tmp_path / "other.img"), None)
    assert changed.disks[1] == guest.disks[1]
    assert native_reference(changed, "p4-672") is not native_reference(guest, "p4-672")
    assert int(stat(changed, "native").console.split()[4], 16) == _word(other, 8)
    assert int(stat(guest, "native").console.split()[4], 16) == _word(disk_image(SECTORS, b"a"), 8)


def test_a_disk_that_was_written_anew_is_another_scenario(guest: Scenario) -> None:
    (guest.path / "first.img").write_bytes(disk_image(2 * SECTORS, b"d"))
    again = load_scenario(guest.path)
    assert again != guest
    assert stat(again, "native").console.split()[0] == f"{2 * SECTORS:08X}"


def test_a_disk_that_changes_under_a_loaded_scenario_changes_no_run(guest: Scenario) -> None:
    before = stat(guest, "native")
    (guest.path / "first.img").write_bytes(disk_image(2 * SECTORS, b"d"))
    assert stat(guest, "native") == before
    read_disk.cache_clear()
    with pytest.raises(DiskError, match=r"first\.img: has changed since its scenario was loaded"):
        stat(guest, "native")


def test_the_images_are_the_same_after_runs_that_write(guest: Scenario) -> None:
    before = _digest(guest.path)
    for technique in ("native", *TECHNIQUES):
        assert stat(guest, technique).outcome == "exit"
    assert _digest(guest.path) == before


@pytest.mark.soak
def test_the_images_are_the_same_after_a_thousand_runs_that_write(guest: Scenario) -> None:
    before = _digest(guest.path)
    consoles = {stat(guest, technique).console for technique in islice(cycle(("native", *TECHNIQUES)), 1000)}
    assert len(consoles) == 1
    assert _digest(guest.path) == before
