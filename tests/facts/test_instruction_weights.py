import pytest

from ringviz.facts.figures import FIGURES
from ringviz.facts.instruction_weights import CLASSES, HUNDREDTHS, weight_of
from ringviz.facts.source import Status


def test_the_papers_native_operations_are_inputs_of_the_weights() -> None:
    assert CLASSES["call"].weight + CLASSES["return"].weight == 11 * HUNDREDTHS
    assert CLASSES["interrupt-flag"].weight == 60 * HUNDREDTHS
    assert CLASSES["store"].weight == 1 * HUNDREDTHS
    assert CLASSES["control-register"].weight == 150 * HUNDREDTHS
    assert 2 * CLASSES["fast-call"].weight == FIGURES["p4-syscall"].value * HUNDREDTHS


def test_what_an_event_prices_weighs_nothing() -> None:
    assert CLASSES["by-event"].weight == 0
    assert [row.id for row in CLASSES.values() if row.weight == 0] == ["by-event"]


def test_a_weight_of_our_own_says_why_and_none_is_from_memory() -> None:
    for row in CLASSES.values():
        assert isinstance(row.weight, int)
        assert row.source.status is not Status.REMEMBERED
        assert row.source.status is not Status.CHOSEN or row.source.note


@pytest.mark.parametrize(
    ("class_id", "cycles"), [("simple", "1"), ("call", "5.5"), ("divide", "66"), ("by-event", "0")]
)
def test_weights_read_as_cycles(class_id: str, cycles: str) -> None:
    assert CLASSES[class_id].cycles == cycles


def test_a_profile_may_weigh_a_class_otherwise() -> None:
    assert weight_of("divide", {"divide": 2200}) == 2200
    assert weight_of("call", {"divide": 2200}) == 550
    with pytest.raises(KeyError):
        weight_of("magic")
