"""The modelled TLB by itself."""

from __future__ import annotations

from ringviz.engine.tlb import FIRST_LEVEL, Tlb, TlbShape
from ringviz.facts.source import Source, Status

PAGE, LARGE = 4096, 4 << 20


def small() -> Tlb:
    """Two sets of two ways: pages of even and of odd number."""
    return Tlb(TlbShape(4, 2, Source.ringviz("small enough to follow by hand")))


def holds(tlb: Tlb, *pages: int) -> list[bool]:
    return [tlb.use(page * PAGE) is not None for page in pages]


def test_the_shape_is_ringvizs_own_choice_and_says_why() -> None:
    assert FIRST_LEVEL.source.status is Status.CHOSEN
    assert (FIRST_LEVEL.entries, FIRST_LEVEL.ways, FIRST_LEVEL.sets) == (64, 4, 16)


def test_the_entry_used_longest_ago_is_replaced_within_its_set() -> None:
    tlb = small()
    for page in (0, 2, 1):
        tlb.fill(page * PAGE, PAGE)
    assert holds(tlb, 0) == [True]  # now 2 is the older one
    tlb.fill(4 * PAGE, PAGE)
    assert holds(tlb, 2, 0, 4, 1) == [False, True, True, True]


def test_a_large_page_is_one_entry_for_all_its_addresses() -> None:
    tlb = small()
    tlb.fill(LARGE + 5 * PAGE, LARGE)
    assert len(tlb) == 1
    assert tlb.use(LARGE) == tlb.use(2 * LARGE - 1) == 1
    assert tlb.use(2 * LARGE) is None
    assert tlb.use(LARGE - 1) is None


def test_a_flush_spares_global_pages_unless_everything_goes() -> None:
    tlb = small()
    tlb.fill(0, PAGE)
    tlb.fill(PAGE, PAGE, is_global=True)
    tlb.flush(everything=False)
    assert holds(tlb, 0, 1) == [False, True]
    tlb.flush(everything=True)
    assert len(tlb) == 0


def test_one_page_is_forgotten_even_if_it_is_global() -> None:
    tlb = small()
    tlb.fill(0, PAGE)
    tlb.fill(2 * PAGE, PAGE, is_global=True)
    tlb.drop(2 * PAGE + 123)
    assert holds(tlb, 0, 2) == [True, False]


def test_looking_up_what_is_there_again_changes_nothing() -> None:
    tlb = small()
    tlb.fill(0, PAGE)
    tlb.fill(2 * PAGE, PAGE)
    assert tlb.use(2 * PAGE) == tlb.use(2 * PAGE) == 0
    tlb.fill(4 * PAGE, PAGE)
    assert holds(tlb, 0, 2, 4) == [False, True, True]
