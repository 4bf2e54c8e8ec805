"""Random guests: every technique that promises fidelity is bare metal after each of their instructions.

Five hundred guests here, shared out over the techniques. A hundred thousand, each under all techniques, are behind the
marker `soak`; `RINGVIZ_SOAK_SEED` and `RINGVIZ_SOAK_GUESTS` say which of them, so that a long run can be taken up:

    RINGVIZ_SOAK_SEED=20000 RINGVIZ_SOAK_GUESTS=5000 pytest -s -m soak tests/vmm/test_random_guests.py
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from ringviz.vmm.registry import available
from tests.vmm import holding
from tests.vmm.holding import DivergenceError, Report, hold
from tests.vmm.random_code import Slot
from tests.vmm.random_guests import RandomGuest, guest_of_seed, random_guests
from tests.vmm.random_kernel import GDT_PLACES

TECHNIQUES = tuple(name for name in available() if name not in ("native", "paravirt"))
"""Those that run the guest's own code; paravirt's guests are other code, compared at markers."""
GUESTS = 500
INSTRUCTIONS = 150
MOST_REFUSED = 0.15
"""Share of guests that may ask for what a technique says it does not have: task switches, virtual-8086 mode."""
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_random_guests_cannot_tell_a_technique_from_bare_metal(technique: str, tmp_path: Path) -> None:
    count = -(-GUESTS // len(TECHNIQUES))
    reports: list[Report] = []

    @seed(TECHNIQUES.index(technique))
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=QUIET,
    )
    @given(random_guests())
    def check(guest: RandomGuest) -> None:
        number = len(reports)
        reports.append(
            hold(
                guest,
                tmp_path / "guest",
                [technique],
                limit=INSTRUCTIONS,
                restore_at=15 if number % 8 == 0 else 0,
            )
        )

    check()
    assert len(reports) >= count
    assert sum(bool(report.refused) for report in reports) < MOST_REFUSED * len(reports)
    assert sum(report.retired for report in reports) > 20 * count


@pytest.mark.soak
def test_very_many_random_guests_cannot_tell_any_technique_from_bare_metal(tmp_path: Path) -> None:
    first = int(os.environ.get("RINGVIZ_SOAK_SEED", "0"))
    count = int(os.environ.get("RINGVIZ_SOAK_GUESTS", "100000"))
    failures: list[int] = []
    refused: Counter[str] = Counter()
    retired = 0
    for number in range(first, first + count):
        try:
            restore_at = 20 if number % 10 == 0 else 0
            report = hold(
                guest_of_seed(number), tmp_path / "guest", TECHNIQUES, limit=INSTRUCTIONS, restore_at=restore_at
            )
        except DivergenceError as error:
            failures.append(number)
            print(f"guest {number}: {error}", flush=True)
            continue
        retired += report.retired
        refused.update(report.refused.keys())
        if number % 100 == 99:
            done = number - first + 1
            print(
                f"guests {first} to {number}: {retired:,} instructions, {sum(refused.values())} refused,"
                f" {len(failures)} failures; go on with RINGVIZ_SOAK_SEED={number + 1}"
                f" RINGVIZ_SOAK_GUESTS={count - done}",
                flush=True,
            )
    assert failures == []
    assert all(number < MOST_REFUSED * count for number in refused.values())


def small_guest(code: str, *, ring: int = 0, eflags: int = 0x202) -> RandomGuest:
    raw = bytes.fromhex(code)
    slot = Slot("made by hand", raw + b"\x90" * (-len(raw) % 16))
    return RandomGuest((slot,), ring, eflags, (1, 2, 3, 4), GDT_PLACES[0], 0)


def test_a_silent_instruction_is_seen_and_allowed_under_trap_emulate(tmp_path: Path) -> None:
    report = hold(small_guest("9c 58 fa 9c 0f01e0"), tmp_path / "guest", ["trap-emulate"], limit=INSTRUCTIONS)
    assert report.silent == {"pushf": 1, "smsw": 1}
    assert report.ended == "halted"


def test_a_divergence_elsewhere_is_told_with_the_guests_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "SILENT_IDS", frozenset())
    with pytest.raises(DivergenceError) as told:
        hold(small_guest("fa 9c"), tmp_path / "guest", ["trap-emulate"], limit=INSTRUCTIONS)
    first, _, listing = str(told.value).partition("\n")
    assert first.startswith("trap-emulate is not bare metal after instruction ")
    assert ", pushfd: memory at " in first
    assert "00016000  fa                              cli\n" in listing


def test_a_failure_of_ringviz_is_told_with_the_guests_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(holding, "difference", fail)
    with pytest.raises(DivergenceError, match=r"amd-v, instruction \d+: KeyError: 'lost'\nring 0"):
        hold(small_guest("40"), tmp_path / "guest", ["amd-v"], limit=INSTRUCTIONS)


def test_a_guest_of_a_number_is_always_the_same() -> None:
    assert guest_of_seed(7) == guest_of_seed(7)
    assert guest_of_seed(7) != guest_of_seed(8)
    assert guest_of_seed(7).listing().splitlines()[0] == guest_of_seed(7).listing().splitlines()[0]


def test_what_the_emulator_cannot_bear_is_not_among_the_guests() -> None:
    assert not small_guest("f0 0fbae9b5").is_bearable
    assert not small_guest("f0 66 0fa3c1").is_bearable
    assert small_guest("f0 0fba2b05").is_bearable
