"""The algorithms alone: shares come out as weights say, sleepers neither starve nor hoard."""

import random

import pytest

from ringviz.errors import InputError
from ringviz.facts.scheduling import PERIOD_CYCLES, SCHEDULERS, TIME_SLICE_CYCLES
from ringviz.vmm.scheduler.policy import make_policy

PERIODS = 100


def _used(scheduler: str, weights: dict[str, int], chance: random.Random, periods: int = PERIODS) -> dict[str, int]:
    """Let machines that always want the CPU share it; turns run over by what cannot be interrupted."""
    policy = make_policy(scheduler)
    for name in weights:
        policy.wake(name, list(weights))
    policy.account(list(weights), weights, PERIOD_CYCLES)
    used, clock, boundary = dict.fromkeys(weights, 0), 0, PERIOD_CYCLES
    while clock < periods * PERIOD_CYCLES:
        name = policy.pick(list(weights), weights)
        cycles = policy.longest_turn(name, TIME_SLICE_CYCLES) + chance.randrange(5_000)
        policy.charge(name, cycles, weights[name])
        used[name] += cycles
        clock += cycles
        if clock >= boundary:
            policy.account(list(weights), weights, PERIOD_CYCLES)
            boundary += PERIOD_CYCLES
    return used


@pytest.mark.parametrize("count", range(2, 17))
@pytest.mark.parametrize("scheduler", [row.id for row in SCHEDULERS.values() if row.has_weights])
def test_shares_are_within_two_percent_of_the_weights(scheduler: str, count: int) -> None:
    chance = random.Random(count)
    weights = {f"vm{i}": chance.choice((64, 128, 256, 512)) for i in range(count)}
    used = _used(scheduler, weights, chance)
    for name, cycles in used.items():
        ideal = sum(used.values()) * weights[name] / sum(weights.values())
        assert abs(cycles / ideal - 1) < 0.02, name


@pytest.mark.parametrize("count", [2, 7, 16])
def test_round_robin_gives_all_the_same_whatever_their_weights(count: int) -> None:
    used = _used("round-robin", {f"vm{i}": 1 + i for i in range(count)}, random.Random(count))
    assert max(used.values()) / min(used.values()) < 1.03


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_who_comes_back_from_a_long_sleep_does_not_starve_the_others(scheduler: str) -> None:
    weights = {"a": 256, "b": 256, "sleeper": 256}
    policy = make_policy(scheduler)
    for name in weights:
        policy.wake(name, list(weights))
    for _ in range(20):
        policy.account(["a", "b"], weights, PERIOD_CYCLES)
        for _ in range(33):
            policy.charge(policy.pick(["a", "b"], weights), TIME_SLICE_CYCLES, 256)
    policy.wake("sleeper", ["a", "b"])
    picked: list[str] = []
    for _ in range(99):
        if len(picked) % 33 == 0:
            policy.account(list(weights), weights, PERIOD_CYCLES)
        picked.append(policy.pick(list(weights), weights))
        policy.charge(picked[-1], TIME_SLICE_CYCLES, 256)
    assert 25 <= picked.count("sleeper") <= 66
    assert min(picked.count("a"), picked.count("b")) >= 16


def test_credit_boosts_who_wakes_with_credits_left_once() -> None:
    policy = make_policy("credit")
    weights = {"busy": 256, "sleeper": 256}
    policy.account(list(weights), weights, PERIOD_CYCLES)
    policy.charge("busy", 1, 256)
    assert policy.preempts("sleeper")
    policy.wake("sleeper", ["busy"])
    assert policy.pick(["busy", "sleeper"], weights) == "sleeper"
    policy.charge("sleeper", 1, 256)
    assert policy.pick(["busy", "sleeper"], weights) == "busy"


def test_an_unknown_scheduler_is_one_line() -> None:
    with pytest.raises(InputError, match='"strid" is unknown; choose one of credit, stride, round-robin; did you mean'):
        make_policy("strid")
