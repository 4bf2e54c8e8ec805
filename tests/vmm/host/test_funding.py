"""Who loses memory first: shares per page, with a tax on what is idle."""

from fractions import Fraction

import pytest

from ringviz.vmm.host.funding import Client, entitlements, shares_per_page


def _client(shares: int = 1000, pages: int = 1000, least: int = 100, active: Fraction = Fraction(1)) -> Client:
    return Client(shares, pages, least, active)


def test_the_price_is_the_one_of_the_paper() -> None:
    busy, idle = _client(), _client(active=Fraction(0))
    assert shares_per_page(busy, 1000, 75) == 1
    assert shares_per_page(idle, 1000, 75) == Fraction(1, 4), "an idle page costs four times as much at 75 %"
    assert shares_per_page(idle, 1000, 0) == 1, "without a tax idle pages are as good as others"
    half = _client(active=Fraction(1, 2))
    assert shares_per_page(half, 1000, 75) == Fraction(1000) / (1000 * (Fraction(1, 2) + 4 * Fraction(1, 2)))


def test_with_enough_for_all_everybody_has_what_it_wants() -> None:
    assert entitlements({"a": _client(pages=300), "b": _client(pages=200)}, 600, 75) == {"a": 300, "b": 200}


@pytest.mark.parametrize(("shares", "wanted"), [(1000, Fraction(1, 2)), (3000, Fraction(3, 4))])
def test_busy_machines_share_by_their_shares(shares: int, wanted: Fraction) -> None:
    granted = entitlements({"a": _client(shares), "b": _client()}, 800, 75)
    assert sum(granted.values()) == 800
    assert granted["a"] / 800 == pytest.approx(float(wanted), abs=0.02)


def test_the_idle_one_loses_first_and_the_more_the_higher_the_tax() -> None:
    clients = {"busy": _client(), "idle": _client(active=Fraction(1, 10))}
    untaxed, taxed = (entitlements(clients, 1200, tax) for tax in (0, 75))
    assert untaxed["idle"] == pytest.approx(600, abs=10)
    assert taxed["busy"] > untaxed["busy"] + 200
    assert sum(taxed.values()) == 1200


def test_nobody_falls_below_its_minimum_even_if_there_is_too_little() -> None:
    clients = {"a": _client(least=400, active=Fraction(0)), "b": _client(least=50)}
    assert entitlements(clients, 500, 75) == {"a": 400, "b": 100}
    assert entitlements(clients, 10, 75) == {"a": 400, "b": 50}
