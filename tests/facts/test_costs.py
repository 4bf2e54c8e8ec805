import pytest

from ringviz.facts.costs import CAUSES, CPU_PROFILES, cost_of
from ringviz.facts.figures import FIGURES
from ringviz.facts.source import Status

P4, BARCELONA = CPU_PROFILES["p4-672"], CPU_PROFILES["barcelona"]


def test_every_profile_prices_every_cause() -> None:
    for profile in CPU_PROFILES.values():
        assert set(profile.costs) == set(CAUSES), profile.id


@pytest.mark.parametrize(
    ("cause", "cycles", "status"),
    [
        ("guest-instruction", 1, Status.CHOSEN),
        ("native-port-io", 3209, Status.SEEN),
        ("native-exception", 889, Status.SEEN),
        ("native-page-fault", 1093, Status.SEEN),
        ("native-gate", 889, Status.BORROWED),
        ("native-cpuid", None, Status.CHOSEN),
        ("native-msr", None, Status.CHOSEN),
        ("trap-emulate", 2030, Status.SEEN),
        ("trap-reflect", 2030, Status.BORROWED),
        ("silent", 0, Status.CHOSEN),
        ("exit", 2409 + 1931, Status.COMPUTED),
        ("vmm-work", 10 * 178, Status.COMPUTED),
        ("nested-walk", None, Status.CHOSEN),
    ],
)
def test_the_pentium_4_costs_what_was_published(cause: str, cycles: int | None, status: Status) -> None:
    cost = cost_of(P4, cause)
    assert cost.cycles == cycles
    assert cost.source.status is status


def test_the_pentium_4s_exit_spans_both_published_round_trips() -> None:
    exit_cost = cost_of(P4, "exit")
    assert (exit_cost.low, exit_cost.high) == (3963, 4340)


def test_barcelonas_exit_is_amds_range_less_a_quarter() -> None:
    exit_cost = cost_of(BARCELONA, "exit")
    assert (exit_cost.low, exit_cost.cycles, exit_cost.high) == (0.75 * 1000, 0.75 * 1500, 0.75 * 2000)
    assert exit_cost.source.status is Status.COMPUTED
    assert "thin evidence" in exit_cost.note


def test_what_barcelona_borrows_from_the_pentium_4_is_marked() -> None:
    borrowed = [cost for cost in BARCELONA.costs.values() if cost.source.status is Status.BORROWED]
    assert {cost.cause for cost in borrowed} == {
        "native-port-io", "native-exception", "native-page-fault", "native-gate", "trap-emulate", "trap-reflect",
    }  # fmt: skip
    for cost in borrowed:
        assert cost.cycles == P4.costs[cost.cause].cycles
        assert cost.note == cost.source.note == "no figure for this CPU; the P4 672's is shown"


def test_ranges_hold_the_value_charged_and_unknown_costs_charge_nothing() -> None:
    for profile in CPU_PROFILES.values():
        for cost in profile.costs.values():
            if cost.cycles is None:
                assert (cost.low, cost.high, cost.charged_cycles) == (None, None, 0), cost
                assert "no figure found" in cost.source.note, cost
            else:
                assert cost.low is not None
                assert cost.high is not None
                assert cost.low <= cost.cycles <= cost.high, cost
                assert cost.charged_cycles == cost.cycles


def test_profiles_have_the_features_of_their_maker() -> None:
    assert P4.features == {"vt-x"}
    assert BARCELONA.features == {"amd-v", "npt"}
    assert (P4.vendor, P4.year, P4.clock_hz) == ("intel", 2005, 3_800_000_000)
    assert (BARCELONA.vendor, BARCELONA.year, BARCELONA.clock_hz) == ("amd", 2007, 2_000_000_000)
    for profile in CPU_PROFILES.values():
        assert profile.clock_source.status is Status.SEEN


def test_an_unknown_cause_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        cost_of(P4, "magic")


def test_a_figure_that_is_a_range_has_no_single_value() -> None:
    with pytest.raises(ValueError, match="1000 to 2000"):
        _ = FIGURES["amd-world-switch"].value
    # 634 ns and 508 ns at 3.8 GHz, as the same table prints them.
    assert round(FIGURES["p4-vm-entry"].value / 3.8) == 634
    assert round(FIGURES["p4-page-fault-exit"].value / 3.8) == 508
