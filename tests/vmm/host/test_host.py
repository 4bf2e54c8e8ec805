"""One CPU and one memory for several machines: shares, caps, stolen time, isolation, admission."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.engine.stat import stat
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import InputError, UnsupportedError
from ringviz.guest import Scenario, find_scenario
from ringviz.vmm.host.host import Host, MachineSpec
from ringviz.vmm.host.records import State
from ringviz.vmm.host.shares import Share, ideal_rates
from tests.vmm.host.guests import busy, ending, sleeper

ALL_ON_INTEL = ("emulation", "classic", "trap-emulate", "binary-translation", "vt-x")


def _host(cpu: str = "haswell", scheduler: str = "credit", memory_mib: int = 256) -> Host:
    return Host(cpu, memory_mib, scheduler)


def _worst(host: Host) -> float:
    """How far the machine that is furthest from its ideal is from it, as a part of the ideal."""
    times = [host.times_of(name) for name in host.names]
    return max(abs(each.spent[State.RUNNING] / each.ideal - 1) for each in times)


@pytest.mark.parametrize(("count", "scheduler"), [(2, "credit"), (9, "credit"), (16, "stride")])
def test_shares_are_within_two_percent_of_the_ideal_over_100_periods(
    tmp_path: Path, count: int, scheduler: str
) -> None:
    _check_shares(tmp_path, count, scheduler)


@pytest.mark.soak
@pytest.mark.parametrize("scheduler", ["credit", "stride"])
@pytest.mark.parametrize("count", range(2, 17))
def test_shares_of_every_number_of_machines_are_within_two_percent(tmp_path: Path, count: int, scheduler: str) -> None:
    _check_shares(tmp_path, count, scheduler)


def _check_shares(tmp_path: Path, count: int, scheduler: str) -> None:
    chance = random.Random(count)
    host = _host(scheduler=scheduler, memory_mib=512)
    guest = busy(tmp_path)
    for i in range(count):
        technique = ALL_ON_INTEL[1 + i % 4]
        host.add(MachineSpec(f"vm{i}", guest, technique, share=Share(chance.choice((128, 256, 512)))))
    host.run_until(100 * host.period)
    assert len(host.periods) == 100
    assert _worst(host) < 0.02
    assert sum(sum(period.used.values()) for period in host.periods) == 100 * host.period


@pytest.mark.parametrize("scheduler", ["credit", "stride", "round-robin"])
def test_a_cap_holds_and_the_neighbour_has_the_rest(tmp_path: Path, scheduler: str) -> None:
    host = _host(scheduler=scheduler)
    for name, cap in (("noisy", 20), ("neighbour", 0)):
        host.add(MachineSpec(name, busy(tmp_path), "trap-emulate", share=Share(cap_percent=cap)))
    host.run_until(20 * host.period)
    assert host.times_of("noisy").spent[State.RUNNING] / host.clock == pytest.approx(0.2, rel=0.02)
    assert host.times_of("neighbour").spent[State.RUNNING] / host.clock == pytest.approx(0.8, rel=0.02)
    assert host.times_of("noisy").spent[State.PARKED] > 0
    host.set_share("noisy", Share(cap_percent=60))
    host.set_share("neighbour", Share(weight=512, cap_percent=30))
    host.run_until(40 * host.period)
    for period in host.periods[21:]:
        assert period.used["neighbour"] / period.cycles == pytest.approx(0.3, abs=0.05)
        assert period.used["noisy"] / period.cycles == pytest.approx(0.6, abs=0.05)


def test_a_change_of_weight_shows_within_one_accounting_period(tmp_path: Path) -> None:
    host = _host()
    for name in "ab":
        host.add(MachineSpec(name, busy(tmp_path), "trap-emulate"))
    host.run_until(5 * host.period)
    host.set_share("a", Share(weight=768))
    host.run_until(8 * host.period)
    assert host.periods[4].used["a"] / host.period == pytest.approx(0.5, abs=0.04)
    for period in host.periods[6:]:
        assert period.used["a"] / host.period == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize("technique", ["trap-emulate", "vt-x", "emulation"])
def test_a_guest_that_sleeps_leaves_the_cpu_to_others_and_its_clock_misses_only_what_was_stolen(
    tmp_path: Path, technique: str
) -> None:
    host = _host()
    host.add(MachineSpec("sleeper", sleeper(tmp_path / "s"), technique))
    host.add(MachineSpec("busy", busy(tmp_path / "b"), "trap-emulate"))
    host.run_until(3 * host.period)
    asleep = host.times_of("sleeper")
    assert asleep.spent[State.SLEEPING] > 0.35 * host.clock
    assert host.times_of("busy").spent[State.RUNNING] > 0.5 * host.clock
    assert sum(asleep.spent.values()) == host.clock
    guest = host.machine("sleeper")
    in_hlt = guest.technique.machine.idle
    assert in_hlt == pytest.approx(asleep.spent[State.SLEEPING], abs=20_000)
    lost = host.clock - guest.guest_ticks
    assert lost == pytest.approx(asleep.stolen + asleep.spent[State.RUNNING], rel=0.2)


def test_an_idle_host_jumps_to_the_next_moment_somebody_wants_it(tmp_path: Path) -> None:
    host = _host()
    host.add(MachineSpec("sleeper", sleeper(tmp_path), "vt-x"))
    host.run_until(2 * host.period)
    spent = host.times_of("sleeper").spent
    assert spent[State.READY] == 0
    assert spent[State.RUNNING] + spent[State.SLEEPING] == host.clock
    assert [period.used["sleeper"] < host.period // 2 for period in host.periods] == [True, True]


MIXED = (
    ("popf-hole", "paravirt"),
    ("popf-hole", "binary-translation"),
    ("syscall-roundtrip", "vt-x"),
    ("hello-serial", "emulation"),
)


@pytest.fixture(scope="module")
def mixed() -> Host:
    host = Host("haswell", 256)
    for number, (scenario, technique) in enumerate(MIXED):
        host.add(MachineSpec(f"vm{number}", find_scenario(scenario), technique))
    while not host.is_over:
        host.run(host.period)
    return host


def test_guests_under_different_techniques_end_as_they_do_alone(mixed: Host) -> None:
    for name, (scenario, technique) in zip(mixed.names, MIXED, strict=True):
        alone = stat(find_scenario(scenario), technique, cpu="haswell")
        machine = mixed.machine(name)
        assert guest_state_sha256(machine.technique) == alone.guest_state_sha256
        assert machine.end is not None
        assert machine.end.how == alone.outcome
        timer = machine.spent_cycles - alone.cycles.total
        assert timer >= 0
        turns = [turn for turn in mixed.turns if turn.machine == name]
        assert (timer == 0) == all(turn.ended_by != "timer" for turn in turns)


def test_all_that_machines_cost_is_paid_from_the_hosts_cycles(mixed: Host) -> None:
    busy_cycles = sum(turn.end - turn.start for turn in mixed.turns)
    assert busy_cycles == sum(mixed.machine(name).spent_cycles for name in mixed.names)
    for name in mixed.names:
        assert mixed.times_of(name).spent[State.RUNNING] == mixed.machine(name).spent_cycles
    for before, after in zip(mixed.turns, mixed.turns[1:], strict=False):
        assert before.end <= after.start


def test_the_same_host_gives_the_same_events_however_it_is_run(tmp_path: Path) -> None:
    def events(step: int) -> list[str]:
        host = _host(scheduler="stride")
        host.add(MachineSpec("a", sleeper(tmp_path / "s"), "vt-x", share=Share(cap_percent=5)))
        host.add(MachineSpec("b", busy(tmp_path / "b"), "binary-translation", share=Share(cap_percent=50)))
        host.add(MachineSpec("c", ending(tmp_path / "e", 30_000), "emulation"))
        while host.clock < 1_500_000:
            host.run_until(min(1_500_000, host.clock + step))
        return [event.line() for event in host.events]

    assert events(1_500_000) == events(7_919)


@pytest.mark.parametrize(
    ("technique", "cpu", "cause"),
    [
        ("vt-x", "haswell", "exit"),
        ("amd-v", "barcelona", "exit"),
        ("trap-emulate", "haswell", "trap-emulate"),
        ("binary-translation", "p4-672", "trap-emulate"),
        ("emulation", "haswell", "native-interrupt"),
    ],
)
def test_the_hosts_timer_costs_what_it_does_under_each_technique(
    tmp_path: Path, technique: str, cpu: str, cause: str
) -> None:
    host = _host(cpu)
    seen: list[str] = []
    host.on_events = lambda _name, events: seen.extend(event.cause for event in events)
    machine = host.add(MachineSpec("a", busy(tmp_path), technique))
    host.run(5 * host.time_slice)
    timers = sum(turn.ended_by == "timer" for turn in host.turns)
    assert timers >= 4
    assert machine.counts[cause] >= timers
    words = {"vt-x": "external interrupt", "amd-v": "VMEXIT_INTR"}.get(technique, "host timer")
    assert sum(words.lower() in cause.lower() for cause in seen) == timers, seen


def test_no_guest_gets_at_the_memory_of_another(tmp_path: Path) -> None:
    host = _host()
    quiet = host.add(MachineSpec("quiet", busy(tmp_path), "vt-x"), paused=True)
    quiet.technique.machine.ram.write(0x20_0000, b"secret" * 1000)
    attackers = {"attacker0": ("escape-attempts", "trap-emulate"), "attacker1": ("popf-hole", "vt-x")}
    for name, (scenario, technique) in attackers.items():
        host.add(MachineSpec(name, find_scenario(scenario), technique))
    before = host.memory.content_of("quiet")
    assert b"secret" in before
    while not host.is_over:
        host.run(host.period)
    assert host.memory.content_of("quiet") == before
    for name in attackers:
        assert b"secretsecret" not in host.memory.content_of(name)


def test_memory_is_wiped_before_somebody_else_gets_it(tmp_path: Path) -> None:
    host = _host()
    host.add(MachineSpec("a", busy(tmp_path), "trap-emulate"))
    host.machine("a").technique.machine.ram.write(5000, b"secret")
    used = host.memory.frames.total - host.memory.frames.free
    assert {host.memory.owners_of(frame) for frame in range(used)} == {("a",)}
    assert host.memory.owners_of(used) == ()
    host.remove("a")
    assert host.memory.free_bytes == host.memory.size_bytes
    assert host.memory.frames.free == host.memory.frames.total
    host.add(MachineSpec("b", busy(tmp_path), "trap-emulate"))
    assert b"secret" not in host.memory.content_of("b")


def test_what_does_not_fit_is_refused_in_one_line_and_takes_nothing(tmp_path: Path) -> None:
    host = Host("barcelona", 40)
    guest = busy(tmp_path)
    host.add(MachineSpec("first", guest, "trap-emulate"))
    free = host.memory.free_bytes
    refusals: list[tuple[Callable[[Scenario], MachineSpec], str]] = [
        (lambda g: MachineSpec("x", g, "vt-x"), "x: vt-x needs a CPU with it; barcelona"),
        (lambda g: MachineSpec("x", g, "native"), "x: native cannot share a host: bare metal has no VMM"),
        (lambda g: MachineSpec("x", g, "amd-v", controls=("-intr",)), "x: amd-v cannot share a host"),
        (lambda g: MachineSpec("x", _larger(g), "amd-v"), "x: needs .* MiB with its VMM; of the host's 40 MiB"),
    ]
    for make, why in refusals:
        with pytest.raises(UnsupportedError, match=why) as caught:
            host.add(make(guest))
        assert str(caught.value).isprintable()
        assert (host.names, host.memory.free_bytes) == (("first",), free)
    for spec, why in (
        (MachineSpec("first", guest, "amd-v"), "is on this host already"),
        (MachineSpec("x", guest, "amd-v", share=Share(weight=0)), "x: weight: found 0"),
        (MachineSpec("x", guest, "amd-v", share=Share(cap_percent=101)), "x: cap_percent: found 101"),
    ):
        with pytest.raises(InputError, match=why):
            host.add(spec)
    with pytest.raises(InputError, match='"frist" is not on this host; there are first; did you mean'):
        host.pause("frist")


def _larger(scenario: Scenario) -> Scenario:
    return replace(scenario, guest=replace(scenario.guest, memory_mib=64))


def test_a_paused_machine_does_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    host = _host()
    for name in "ab":
        host.add(MachineSpec(name, busy(tmp_path), "trap-emulate"))
    host.run(host.period)
    host.pause("a")
    stands = host.machine("a").guest_ticks
    host.run(host.period)
    assert host.machine("a").guest_ticks == stands
    host.resume("a")
    host.run(host.period)
    assert host.machine("a").guest_ticks > stands
    assert host.times_of("a").spent[State.PAUSED] >= host.period


def test_the_ideal_gives_away_what_a_cap_forbids() -> None:
    shares = {"a": Share(256, 10), "b": Share(256), "c": Share(512)}
    rates = {name: float(rate) for name, rate in ideal_rates(shares, shares).items()}
    assert rates == pytest.approx({"a": 0.1, "b": 0.3, "c": 0.6})
    assert ideal_rates({"a": Share(cap_percent=25)}, ["a"])["a"] == 0.25
