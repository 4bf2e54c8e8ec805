"""A guest that moves ends as one that nobody moved, and runs at one place at every moment, wherever the link is cut."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ringviz.engine.migration import Ending, MigrationReport, ending_of, migrate, new_machine
from ringviz.errors import MigrationError
from ringviz.guest import Scenario
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.migration.source import Plan, Result
from ringviz.vmm.registry import choose
from tests.cli.guests import needs_nasm
from tests.vmm.disk_guest import disk_scenario
from tests.vmm.migration.guests import writer

WAYS = (
    ("vt-x", "nested", "haswell"),
    ("vt-x", "shadow", "haswell"),
    ("amd-v", "nested", "barcelona"),
    ("amd-v", "shadow", "barcelona"),
    ("binary-translation", None, "haswell"),
    ("trap-emulate", None, "haswell"),
    ("classic", None, "haswell"),
    ("emulation", None, "haswell"),
)


@dataclass(frozen=True)
class Moving:
    """A guest, how it is virtualized, and what becomes of it when nobody moves it."""

    scenario: Scenario
    technique: str
    mmu: str | None
    cpu: str
    alone: Ending
    cycles: int

    def migrate(self, after: int, plan: Plan, cut_after: int | None = None) -> MigrationReport:
        return migrate(
            self.scenario, self.technique, self.mmu, self.cpu, plan, after=after, cut_after=cut_after, alone=self.alone
        )


def moving(scenario: Scenario, technique: str, mmu: str | None, cpu: str) -> Moving:
    machine = new_machine(scenario, technique, choose(technique, mmu, cpu))
    alone = ending_of(machine)
    return Moving(scenario, technique, mmu, cpu, alone, machine.spent_cycles)


def check(report: MigrationReport) -> None:
    """The machine was at one place, and its guest has not noticed."""
    assert report.runs_at_source is not report.runs_at_destination
    assert report.outcome.moved is report.runs_at_destination
    assert report.is_equal, report


def random_migrations(folder: Path, seed: int, count: int) -> Iterator[MigrationReport]:
    """Random guests, each moved some ten times, over links of random bandwidths that are cut anywhere or not at all."""
    chance = random.Random(seed)
    for number in range(count // 10):
        sweeps, pages, work = chance.randrange(2, 12), chance.randrange(1, 24), chance.randrange(1, 120)
        guest = moving(writer(folder / f"{number}", sweeps, pages, work), *WAYS[number % len(WAYS)])
        carried = 100_000
        for _ in range(10):
            plan = Plan(
                chance.choice((1, 3, 10, 100, 1000)), chance.choice(("qemu", "xen", "clark")), chance.random() < 0.5, 8
            )
            cut_after = chance.randrange(carried) if chance.random() < 0.4 else None
            report = guest.migrate(chance.randrange(guest.cycles // 2), plan, cut_after)
            carried = report.link_bytes if cut_after is None else carried
            yield report


def test_a_hundred_random_migrations_change_nothing(tmp_path: Path) -> None:
    results = []
    for report in random_migrations(tmp_path, 1, 100):
        check(report)
        results.append(report.outcome.result)
    assert len(results) == 100
    assert results.count(Result.MOVED) >= 30
    assert results.count(Result.LINK_LOST) >= 15


@pytest.mark.soak
def test_a_thousand_random_migrations_change_nothing(tmp_path: Path) -> None:
    for report in random_migrations(tmp_path, 2, 1000):
        check(report)


def test_a_link_that_is_cut_during_the_hand_over_leaves_one_machine(tmp_path: Path) -> None:
    guest = moving(writer(tmp_path / "guest", 6, 3, 20), *WAYS[0])
    plan = Plan(1000)
    whole = guest.migrate(500, plan)
    check(whole)
    seen = set()
    # The end of the stream, the answer that all is there and the hand-over have 5 + 64 + 32, 37 and 37 bytes.
    for back in (1, 2, 36, 37, 38, 39, 73, 74, 75, 76, 100, 174, 175, 176):
        report = guest.migrate(500, plan, whole.link_bytes - back)
        check(report)
        seen.add((back <= 37, report.runs_at_destination))
    # Once the source has the answer the machine is the destination's, whether that hears of it or not.
    assert seen == {(True, True), (False, False)}


def test_a_guest_that_sleeps_stands_still_for_a_moment_only() -> None:
    scenario = find_scenario("migration-quiet")
    report = moving(scenario, *WAYS[0]).migrate(2_000_000, Plan())
    check(report)
    assert len(report.outcome.rounds) == 2
    assert report.outcome.downtime_cycles < 40_000


@pytest.mark.parametrize(("name", "way"), [("paging-tour", 1), ("timer-tour", 0), ("rings-tour", 4)])
def test_guests_with_tables_interrupts_and_rings_move_at_any_moment(name: str, way: int) -> None:
    guest = moving(find_scenario(name), *WAYS[way])
    report = guest.migrate(random.Random(name).randrange(guest.cycles // 4, guest.cycles), Plan(1000))
    assert report.outcome.moved
    check(report)


@needs_nasm
def test_what_a_guest_has_written_to_its_disks_moves_in_the_middle_of_commands(tmp_path: Path) -> None:
    guest = moving(disk_scenario(tmp_path / "guest"), *WAYS[0])
    for part in range(1, 8):
        report = guest.migrate(guest.cycles * part // 8, Plan(1000))
        assert report.outcome.moved
        check(report)


def test_a_writer_does_not_converge_until_it_is_slowed_down() -> None:
    guest = moving(find_scenario("migration-writer"), *WAYS[0])
    alone = guest.migrate(1_500_000, Plan(most_rounds=6))
    check(alone)
    assert alone.outcome.result is Result.GAVE_UP
    assert min(done.due_pages for done in alone.outcome.rounds) > 200
    helped = guest.migrate(1_500_000, Plan(auto_converge=True))
    check(helped)
    assert helped.outcome.moved
    assert helped.outcome.rounds[-2].throttle_percent >= 20
    assert 0 < helped.outcome.downtime_cycles < 310_000


def test_what_cannot_move_says_why() -> None:
    for name, technique, why in (
        ("hello-serial", "native", "bare metal has no VMM"),
        ("hello-serial", "paravirt", "its kernel is recompiled"),
    ):
        with pytest.raises(MigrationError, match=why):
            migrate(find_scenario(name), technique)
