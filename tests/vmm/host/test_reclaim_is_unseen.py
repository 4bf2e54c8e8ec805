"""Whatever a host does with the frames behind a guest's pages, the guest is the same guest, and no other's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import UnsupportedError
from ringviz.guest import Scenario, find_scenario
from ringviz.machine import frame_block
from ringviz.machine.memory import lent_by
from ringviz.machine.paging import Access
from ringviz.vmm.host.allotment import MemoryRules
from ringviz.vmm.host.host import Host, MachineSpec
from ringviz.vmm.host.memory import HostMemory
from ringviz.vmm.host.physical_map import PhysicalMap
from ringviz.vmm.mmu.telling import HIDDEN_FAULT
from ringviz.vmm.registry import memory_bytes
from tests.vmm.lockstep import Run
from tests.vmm.random_guests import RandomGuest, random_guests

WAYS = (
    ("amd-v", "nested", "barcelona"),
    ("amd-v", "shadow", "barcelona"),
    ("vt-x", "shadow", "p4-672"),
    ("vt-x", "nested", "haswell"),
    ("trap-emulate", None, "p4-672"),
    ("binary-translation", None, "p4-672"),
    ("emulation", None, "p4-672"),
)
INSTRUCTIONS = 120
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
DEEDS = ("swap", "scan", "sample", "all out")


def on_host(memory: HostMemory, name: str, scenario: Scenario, way: tuple[str, str | None, str]) -> Run:
    technique, mmu, cpu = way
    vmm_bytes = memory_bytes(scenario, technique) - scenario.guest.memory_bytes
    with lent_by(lambda size: memory.lend(name, size, vmm_bytes)):
        return Run(scenario, technique, cpu, mmu=mmu)


def do(memory: HostMemory, pages: PhysicalMap, deed: str, chance: random.Random) -> None:
    match deed:
        case "swap":
            for _ in range(8):
                page = pages.random_page(chance)
                if page is not None:
                    pages.swap_out(page)
        case "scan":
            for each in memory.maps.values():
                memory.sharing.scan(each, 10_000, chance)
        case "sample":
            pages.withdraw(pages.working_set.begin(sorted(pages.frames)))
        case "all out":
            for page in sorted(pages.frames):
                if page >= pages.first_guest_page and len(pages.frames[page].uses) == 1:
                    pages.swap_out(page)


def check_books(memory: HostMemory) -> None:
    """Every frame in use stands behind the pages that it says, each page behind one, and what is free is zero."""
    pairs = [(frame, use) for frame in memory.frames.in_use.values() for use in frame.uses]
    assert all(owner.frames[page] is frame for frame, (owner, page) in pairs)
    assert len(pairs) == sum(len(pages.frames) for pages in memory.maps.values())
    for pages in memory.maps.values():
        assert not pages.frames.keys() & pages.slots.keys()
        for page, frame in pages.frames.items():
            window = bytes(pages.window.buffer[page << 12 : (page + 1) << 12])
            assert window == memory.frames.content(frame), "what the CPU sees is what the frame holds"
            assert frame.is_shared or len(frame.uses) == 1
    assert memory.swap.used == sum(len(pages.slots) for pages in memory.maps.values())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0]}-{way[1]}")
def test_random_guests_are_the_same_whatever_becomes_of_their_frames(
    way: tuple[str, str | None, str], tmp_path: Path
) -> None:
    seen = {"shared": 0, "copied": 0, "swapped in": 0}

    @settings(
        max_examples=12, deadline=None, database=None, derandomize=True,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=QUIET,
    )  # fmt: skip
    @given(random_guests(), st.lists(st.sampled_from(DEEDS), min_size=6, max_size=6), st.integers(0, 1 << 30))
    def check(guest: RandomGuest, deeds: list[str], number: int) -> None:
        scenario = guest.scenario(tmp_path / "guest", limit=INSTRUCTIONS)
        chance = random.Random(number)
        memory = HostMemory(64 << 20, MemoryRules(overcommits=True, shares_pages=True))
        alone = Run(scenario, way[0], way[2], mmu=way[1])
        hosted = [on_host(memory, name, scenario, way) for name in ("first", "second")]
        position = 0
        for deed in deeds:
            position += 1 + chance.randrange(INSTRUCTIONS // len(deeds))
            try:
                for run in (alone, *hosted):
                    run.reach(position)
            except UnsupportedError:
                assume(condition=False)
            for pages in memory.maps.values():
                do(memory, pages, deed, chance)
            wanted = guest_state_sha256(alone.technique)
            assert [guest_state_sha256(run.technique) for run in hosted] == [wanted, wanted]
        check_books(memory)
        for pages in memory.maps.values():
            seen["shared"] += pages.counts.shared
            seen["copied"] += pages.counts.copied
            seen["swapped in"] += pages.counts.swapped_in

    check()
    assert all(seen.values()), seen


@pytest.mark.parametrize(("mapped", "shares"), [(True, False), (False, True)], ids=["mapped", "copied, sharing"])
def test_guests_on_a_host_that_is_much_too_small_are_the_same_as_alone(
    mapped: bool, shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not mapped:
        monkeypatch.setattr("ringviz.vmm.host.frames.make_block", lambda _size: frame_block.CopiedBlock())
    scenario = find_scenario("migration-writer")
    host = Host("haswell", 2, memory_rules=MemoryRules(overcommits=True, shares_pages=shares), period=300_000)
    ways = {"a": ("vt-x", "nested"), "b": ("trap-emulate", None), "c": ("vt-x", "shadow")}
    for name, (technique, mmu) in ways.items():
        host.add(MachineSpec(name, scenario, technique, mmu))
    host.run_until(4_500_000)
    check_books(host.memory)
    for name, (technique, mmu) in ways.items():
        hosted = host.machine(name).technique
        alone = Run(scenario, technique, "haswell", mmu=mmu)
        alone.reach(hosted.machine.retired)
        assert guest_state_sha256(hosted) == guest_state_sha256(alone.technique)
        assert host.machine(name).pages.counts.swapped_out > 0
    assert {"memory", "swap", *(["merge"] if shares else [])} <= {event.what for event in host.events}


def test_no_guest_finds_what_another_has_left_in_a_frame() -> None:
    scenario = find_scenario("migration-writer")
    memory = HostMemory(64 << 20, MemoryRules(overcommits=True, shares_pages=True))
    one = on_host(memory, "one", scenario, ("vt-x", "nested", "haswell"))
    one.technique.machine.ram.write(one.technique.guest_base + 0x30_0000, b"secret" * 3000)
    pages = memory.maps["one"]
    for page in list(pages.frames):
        if page >= pages.first_guest_page:
            pages.swap_out(page)
    freed = memory.frames.free
    two = on_host(memory, "two", scenario, ("amd-v", "nested", "barcelona"))
    assert memory.frames.free < freed
    two.reach(20_000)
    assert b"secret" not in memory.content_of("two")
    assert b"secretsecret" in memory.content_of("one")
    memory.take_back("one")
    used = max(memory.frames.in_use) + 100
    assert all(
        memory.frames.block.read(frame) == bytes(4096) for frame in range(used) if frame not in memory.frames.in_use
    )


@pytest.mark.parametrize(
    ("technique", "mmu", "cpu", "cause"),
    [
        ("amd-v", "nested", "barcelona", "VMEXIT_NPF"),
        ("vt-x", "nested", "haswell", "48"),
        ("vt-x", "shadow", "haswell", HIDDEN_FAULT),
        ("trap-emulate", None, "haswell", HIDDEN_FAULT),
        ("binary-translation", None, "haswell", HIDDEN_FAULT),
    ],
)
def test_a_shared_page_is_read_only_in_the_tables_the_cpu_walks_and_its_write_leaves_the_guest(
    technique: str, mmu: str | None, cpu: str, cause: str
) -> None:
    scenario = find_scenario("migration-writer")
    memory = HostMemory(64 << 20, MemoryRules(overcommits=True, shares_pages=True))
    one, other = (on_host(memory, name, scenario, (technique, mmu, cpu)) for name in ("one", "other"))
    for run in (one, other):
        run.reach(40_000)
    chance = random.Random(3)
    assert sum(memory.sharing.scan(pages, 10_000, chance) for pages in memory.maps.values()) > 10
    pages = memory.maps["one"]
    shared = {page - pages.first_guest_page for page, frame in pages.frames.items() if len(frame.uses) > 1}
    hot = min(page for page in shared if page > 0x104)  # the guest writes to it in every sweep
    for is_write in (False, True):
        walk = one.technique.cpu_walk(hot << 12, Access(is_write=is_write))
        assert walk is not None
        assert (walk.done.physical is None or walk.hpa is None) == is_write, walk
    before = len(one.events)
    copied = pages.counts.copied
    one.reach(40_000 + (hot - 0x104) * 1_300 + 2_000)
    mine = [event for event in one.events[before:] if "host ha" in event.rule + event.action]
    assert mine
    assert all(cause in event.cause and event.charges for event in mine)
    assert pages.counts.copied > copied
