"""Sharing, reclaiming, sampling and the balloon, one at a time."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import pytest

from ringviz.engine.frame_map import frame_cells, guest_cells, host_pages
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.host_memory import RECLAIM_STATES, number
from ringviz.guest import find_scenario
from ringviz.machine.memory import PAGE, Ram, lent_by
from ringviz.vmm.host.allotment import Allotment, MemoryRules
from ringviz.vmm.host.host import Host, MachineSpec
from ringviz.vmm.host.memory import HostMemory
from ringviz.vmm.host.reclaiming import next_state
from ringviz.vmm.host.virtual_machine import VirtualMachine
from ringviz.vmm.host.working_set import WorkingSet
from tests.vmm.host.guests import busy

MiB = 1 << 20
BOTH = MemoryRules(overcommits=True, shares_pages=True)
SAME = b"the same bytes everywhere".ljust(PAGE, b".")


def _ram(memory: HostMemory, name: str, size: int = MiB) -> Ram:
    with lent_by(lambda size_bytes: memory.lend(name, size_bytes)):
        return Ram(size)


def _scan(memory: HostMemory) -> int:
    chance = random.Random(1)
    return sum(memory.sharing.scan(pages, 1000, chance) for pages in memory.maps.values())


# ---- sharing ---------------------------------------------------------------------------------------------------------


def test_pages_of_the_same_bytes_have_one_frame_until_one_is_written() -> None:
    memory = HostMemory(4 * MiB, BOTH)
    one, other, third = (_ram(memory, name) for name in "abc")
    for ram, page in ((one, 3), (other, 7), (third, 200)):
        ram.write(page * PAGE, SAME)
    assert memory.frames.free == memory.frames.total - 3
    assert _scan(memory) == 2
    assert memory.frames.free == memory.frames.total - 1
    assert memory.owners_of(0) == ("a", "b", "c")
    other.write(7 * PAGE + 5, b"X")
    assert (one.page(3), third.page(200)) == (SAME, SAME)
    assert other.page(7) == SAME[:5] + b"X" + SAME[6:]
    assert memory.maps["b"].counts.copied == 1
    assert memory.maps["b"].counts.cycles >= number("copy-cycles")
    assert memory.sharing.saved_frames == 1


def test_the_last_page_of_a_shared_frame_is_written_without_a_copy() -> None:
    memory = HostMemory(4 * MiB, BOTH)
    one, other = (_ram(memory, name) for name in "ab")
    one.write(0, SAME)
    other.write(0, SAME)
    _scan(memory)
    one.write(0, b"1")
    free = memory.frames.free
    other.write(0, b"2")
    assert memory.frames.free == free
    assert memory.maps["b"].counts.copied == 0
    assert not memory.frames.in_use[0].is_shared


def test_the_same_hash_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringviz.vmm.host.page_sharing.digest_of", lambda _data: 42)
    memory = HostMemory(4 * MiB, BOTH)
    one, other, third = (_ram(memory, name) for name in "abc")
    one.write(0, b"mine")
    other.write(0, b"yours")
    assert _scan(memory) == 0
    assert memory.sharing.rejected == 1
    assert (one.read(0, 4), other.read(0, 5)) == (b"mine", b"yours")
    third.write(0, b"yours")
    assert _scan(memory) == 1
    assert (one.read(0, 4), other.read(0, 5), third.read(0, 5)) == (b"mine", b"yours", b"yours")


def test_a_hint_that_has_been_written_since_is_not_shared() -> None:
    memory = HostMemory(4 * MiB, BOTH)
    one, other = (_ram(memory, name) for name in "ab")
    one.write(0, SAME)
    _scan(memory)
    one.write(0, b"other")
    other.write(0, SAME)
    assert _scan(memory) == 0
    assert (one.read(0, 5), other.page(0)) == (b"other", SAME)


# ---- swapping and reclaiming -----------------------------------------------------------------------------------------


def test_what_is_swapped_out_is_read_through_and_comes_back_when_it_is_written() -> None:
    memory = HostMemory(4 * MiB, BOTH)
    ram = _ram(memory, "a")
    ram.write(5 * PAGE - 4, b"across the border")
    pages = memory.maps["a"]
    for page in (4, 5):
        pages.swap_out(page)
    assert memory.frames.free == memory.frames.total
    assert ram.read(5 * PAGE - 4, 17) == b"across the border"
    assert memory.swap.used == 2
    ram.write(5 * PAGE, b"X")
    assert memory.swap.used == 1
    assert ram.read(5 * PAGE - 4, 17) == b"acroXs the border"
    assert (pages.counts.swapped_out, pages.counts.swapped_in) == (2, 1)
    memory.take_back("a")
    assert memory.swap.used == 0


def test_the_states_go_down_at_once_and_up_only_when_clearly_more_is_free() -> None:
    high, soft, hard, low = RECLAIM_STATES.values()
    total = 10_000
    path = [(high, 400, high), (high, 399, soft), (high, 50, low), (soft, 650, soft), (soft, 700, high),
            (hard, 199, hard), (hard, 450, hard), (hard, 500, soft), (low, 250, low), (low, 300, hard),
            (low, 9_000, high)]  # fmt: skip
    for before, free, after in path:
        assert next_state(before, free, total) is after, (before.id, free)


def test_a_host_that_is_full_swaps_out_and_one_that_cannot_says_so() -> None:
    memory = HostMemory(MiB, BOTH)
    one, other = _ram(memory, "a"), _ram(memory, "b")
    for page in range(200):
        one.write(page * PAGE, page.to_bytes(2, "little"))
    for page in range(200):
        other.write(page * PAGE, (1000 + page).to_bytes(2, "little"))
    assert memory.frames.free == 0
    assert memory.swap.used == 400 - memory.frames.total
    assert [int.from_bytes(one.read(page * PAGE, 2), "little") for page in range(200)] == list(range(200))
    assert [int.from_bytes(other.read(page * PAGE, 2), "little") for page in range(200)] == list(range(1000, 1200))
    for pages in memory.maps.values():
        pages.allotment = Allotment(min_mib=1)
    with pytest.raises(UnsupportedError, match="a: the host's 1 MiB are full, and nothing can be swapped out"):
        one.write(250 * PAGE, b"x")


def test_half_of_the_pages_in_use_is_estimated_as_such() -> None:
    estimate = WorkingSet()
    assert estimate.active == 1
    chance = random.Random(7)
    for _ in range(20):
        for page in estimate.begin(chance.sample(range(1000), 100)):
            if page < 500:
                estimate.touched(page)
        estimate.end()
    assert float(estimate.active) == pytest.approx(0.5, abs=0.12)
    estimate.begin(range(100))
    for page in range(100):
        estimate.touched(page)
    assert estimate.active == 1, "who becomes busy is believed at once"
    estimate.begin(range(100))
    estimate.end()
    assert 0 < estimate.active < Fraction(3, 4), "who falls idle, by and by"


# ---- the balloon -----------------------------------------------------------------------------------------------------


def _reader(host: Host, name: str, technique: str) -> VirtualMachine:
    return host.add(MachineSpec(name, find_scenario("balloon"), technique))


@pytest.mark.parametrize("technique", ["vt-x", "binary-translation"])
def test_a_smaller_size_is_reached_within_one_accounting_period_and_taken_back(technique: str) -> None:
    host = Host("haswell", 32)
    vm = _reader(host, "vm", technique)
    host.run(3 * host.period)
    resident = vm.pages.resident
    host.set_allotment("vm", Allotment(max_mib=3))
    host.run(host.period)
    balloon = vm.technique.balloon
    assert balloon is not None
    assert len(balloon.pages) == balloon.asked == 256
    assert {vm.pages.first_guest_page + page for page in balloon.pages} == vm.pages.balloon
    assert vm.pages.resident < resident
    in_balloon = [page for page in vm.pages.balloon if page in vm.pages.frames]
    assert len(in_balloon) == vm.pages.counts.touched_in_balloon == 1, "the guest has looked at one of them"
    host.set_allotment("vm", Allotment())
    host.run(host.period)
    assert not balloon.pages
    assert not vm.pages.balloon


@pytest.mark.parametrize("way", [("amd-v", "nested"), ("vt-x", "shadow"), ("trap-emulate", None)])
def test_a_balloon_is_the_same_to_the_guest_whether_a_host_takes_the_frames_or_not(
    way: tuple[str, str | None],
) -> None:
    """The device alone, on a machine that has its own memory, against a host that has too little of it."""
    scenario = find_scenario("balloon")
    technique, mmu = way
    cpu = "barcelona" if technique == "amd-v" else "haswell"
    roomy, tight = (Host(cpu, size_mib, memory_rules=MemoryRules(overcommits=True)) for size_mib in (64, 1))
    hosted = [host.add(MachineSpec("vm", scenario, technique, mmu)) for host in (roomy, tight)]
    other = _reader(tight, "other", technique)
    tight.run(6_000_000)
    assert hosted[1].pages.counts.inflated > 0
    assert other.pages.counts.inflated > 0
    roomy.pause("vm")
    hosted[0].go_to(hosted[1].place)
    assert hosted[0].place == hosted[1].place
    assert guest_state_sha256(hosted[0].technique) == guest_state_sha256(hosted[1].technique)


def test_the_same_host_does_the_same() -> None:
    def story(step: int) -> list[str]:
        host = Host("haswell", 2, memory_rules=BOTH)
        for name in "ab":
            _reader(host, name, "vt-x")
        while host.clock < 4_000_000:
            host.run_until(min(4_000_000, host.clock + step))
        return [event.line() for event in host.events] + [run.text for run in host_pages(host).runs]

    assert story(4_000_000) == story(333_331)


# ---- allotments ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_had_is_refused_in_one_line(tmp_path: Path) -> None:
    host = Host("haswell", 4, memory_rules=BOTH)
    for allotment, why in (
        (Allotment(max_mib=0), "memory_max_mib: found 0, expected a number from 1 to the machine's 4 MiB"),
        (Allotment(min_mib=5), "memory_min_mib: found 5"),
        (Allotment(3, 2), "memory_min_mib: found 3, expected no more than memory_max_mib, 2"),
        (Allotment(shares=0), "memory_shares: found 0"),
    ):
        with pytest.raises(InputError, match=why):
            host.add(MachineSpec("vm", busy(tmp_path), "vt-x", allotment=allotment))
    host.add(MachineSpec("vm", busy(tmp_path), "vt-x", allotment=Allotment(min_mib=3)))
    with pytest.raises(UnsupportedError, match=r"x: needs 2\.25 MiB with its VMM at the least; of the host's 4 MiB"):
        host.add(MachineSpec("x", busy(tmp_path), "vt-x", allotment=Allotment(min_mib=2)))
    with pytest.raises(InputError, match="idle_tax_percent: found 100"):
        MemoryRules(tax_percent=100).check("here")


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_the_map_shows_every_frame_once_and_every_page_as_it_is() -> None:
    host = Host("haswell", 1, memory_rules=BOTH)
    _reader(host, "vm", "trap-emulate")
    host.run(2_000_000)
    shown = host_pages(host)
    assert sum(run.count for run in shown.runs) == shown.frames == 256
    assert sum(run.count for run in shown.runs if run.state == "free") == shown.free
    guest = shown.guests[0]
    assert guest.private + guest.shared + guest.ballooned + guest.swapped + guest.untouched == guest.pages == 1024
    assert len(frame_cells(shown, 64)) == 64
    assert frame_cells(shown, 256).count(".") == shown.free
    assert guest_cells(guest, 1024).count("#") == guest.private


def test_an_operating_system_with_a_driver_gives_memory_back_and_its_programs_cannot_tell() -> None:
    scenario = find_scenario("teachos-balloon")
    host = Host("haswell", 32)
    vm = host.add(MachineSpec("vm", scenario, "vt-x", "nested"))
    host.set_allotment("vm", Allotment(max_mib=2))
    while not host.is_over:
        host.run(host.period)
    balloon = vm.technique.balloon
    assert balloon is not None
    assert len(balloon.pages) == 512
    assert vm.end is not None
    assert vm.end.how == "exit"
    expected = Path(__file__).parents[2] / "golden" / "teachos-balloon.console.txt"
    assert expected.read_text().splitlines()[-3] in vm.technique.machine.bus.console
