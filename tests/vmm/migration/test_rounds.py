"""The rules by which pre-copy ends, and the help for guests that do not let it."""

import pytest

from ringviz.errors import InputError
from ringviz.vmm.migration.rounds import AutoConverge, Link, Round, make_rules

MEMORY = 1024


def done(number: int = 1, sent: int = 100, dirtied: int = 100, *, skipped: int = 0, cycles: int = 100_000) -> Round:
    return Round(number, sent + skipped, sent, 0, skipped, sent * 4096, cycles, dirtied, dirtied, 10, 0)


def test_a_link_of_eight_mbit_carries_a_byte_in_each_cycle() -> None:
    assert Link(8).cycles_for(4096) == 4096
    assert Link(8).cycles_for(3, 4) == 6


@pytest.mark.parametrize(("pages", "stops"), [(73, True), (74, False)])
def test_qemu_stops_as_soon_as_the_rest_fits_the_downtime_limit(pages: int, stops: bool) -> None:
    assert bool(make_rules("qemu", Link(8)).why_stop([done()], pages, MEMORY)) is stops


def test_xen_goes_by_rounds_by_what_is_sent_and_by_small_and_growing_rounds() -> None:
    xen = make_rules("xen", Link(8))
    shrinking = [done(number, 1000 - number) for number in range(1, 30)]
    assert not xen.why_stop(shrinking[:2], 900, MEMORY)
    assert xen.why_stop(shrinking, 900, 100_000) == "29 rounds are done"
    assert "more than 3 times the memory" in xen.why_stop(shrinking[:4], 900, MEMORY)
    assert "fewer than 50 pages" in xen.why_stop([done(1, 49)], 10, MEMORY)
    assert not xen.why_stop([done(1, 49, skipped=1)], 10, MEMORY)
    assert "more than the one before" in xen.why_stop([done(1, 100), done(2, 101)], 10, MEMORY)


def test_clark_sends_each_round_somewhat_faster_than_pages_were_dirtied() -> None:
    clark = make_rules("clark", Link(500))
    assert clark.rate([]) == 100
    # 1,000 pages in a tenth of a second are 328 Mbit/s.
    last = done(1, dirtied=1000)
    assert clark.rate([last]) == 328 + 50
    assert not clark.why_stop([last], 1000, MEMORY)
    assert "Mbit/s" in clark.why_stop([done(1, dirtied=1400)], 1400, MEMORY)
    assert "fewer than 262,144" in clark.why_stop([last], 63, MEMORY)
    assert not clark.why_stop([last], 64, MEMORY)


def test_a_guest_is_slowed_down_after_every_second_round_that_is_too_dirty_and_never_stopped() -> None:
    help_ = AutoConverge()
    seen = []
    for number in range(1, 25):
        help_.look(done(number, 100, 51))
        seen.append(help_.percent)
    assert seen[:7] == [0, 20, 20, 30, 30, 40, 40]
    assert seen[-1] == 99


def test_a_round_that_is_half_as_dirty_is_not_too_dirty() -> None:
    help_ = AutoConverge()
    for number in range(1, 5):
        help_.look(done(number, 100, 50))
    assert help_.percent == 0


def test_rules_that_nobody_has_are_refused() -> None:
    with pytest.raises(InputError, match="choose one of qemu, xen, clark"):
        make_rules("vmware", Link(8))
