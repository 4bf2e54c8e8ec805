import pytest

from ringviz.facts.exceptions import (
    EXCEPTIONS,
    PAGE_FAULT_ERROR_FIELDS,
    SELECTOR_ERROR_FIELDS,
    ExceptionKind,
    FaultClass,
    PageFaultError,
    Vector,
    combines,
    exception_class,
    gate_error,
    selector_error,
)


def test_vectors_0_to_21_each_have_a_row() -> None:
    assert list(EXCEPTIONS) == list(range(22))


def test_mnemonics_are_unique_and_equal_to_the_names_in_code() -> None:
    named = {row.mnemonic.removeprefix("#"): vector for vector, row in EXCEPTIONS.items() if row.mnemonic != "—"}
    assert len(named) == 22 - 3
    assert named | {"NMI": 2} == {name: int(vector) for name, vector in Vector.__members__.items()}


def test_these_and_no_others_push_an_error_code() -> None:
    assert [vector for vector, row in EXCEPTIONS.items() if row.has_error_code] == [8, 10, 11, 12, 13, 14, 17, 21]


def test_what_can_be_tried_again_is_a_fault() -> None:
    kinds = {kind: {row.mnemonic for row in EXCEPTIONS.values() if row.kind is kind} for kind in ExceptionKind}
    assert kinds[ExceptionKind.TRAP] == {"#BP", "#OF"}
    assert kinds[ExceptionKind.ABORT] == {"#DF", "#MC"}
    assert kinds[ExceptionKind.FAULT_OR_TRAP] == {"#DB"}
    assert {"#GP", "#PF", "#UD", "#DE", "#NM", "#TS", "#NP", "#SS"} < kinds[ExceptionKind.FAULT]


def test_classes_are_those_of_the_double_fault_rule() -> None:
    of = {kind: [v for v, row in EXCEPTIONS.items() if row.fault_class is kind] for kind in FaultClass}
    assert of[FaultClass.CONTRIBUTORY] == [0, 10, 11, 12, 13, 21]
    assert of[FaultClass.PAGE_FAULT] == [14, 20]
    assert exception_class(0x80) is FaultClass.BENIGN


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (13, 13, "double-fault"),
        (0, 11, "double-fault"),
        (13, 14, "serial"),
        (14, 13, "double-fault"),
        (14, 14, "double-fault"),
        (14, 6, "serial"),
        (6, 13, "serial"),
        (6, 14, "serial"),
        (1, 3, "serial"),
        (13, 17, "serial"),
        (0x80, 13, "serial"),
        (0x20, 14, "serial"),
        (8, 13, "shutdown"),
        (8, 14, "shutdown"),
        (8, 0, "shutdown"),
        (8, 6, "serial"),
    ],
)
def test_two_events_combine_as_the_double_fault_table_says(first: int, second: int, outcome: str) -> None:
    assert combines(first, second) == outcome


def test_every_pair_of_vectors_has_an_outcome() -> None:
    outcomes = {combines(first, second) for first in range(256) for second in range(256)}
    assert outcomes == {"serial", "double-fault", "shutdown"}


def test_error_codes_name_a_selector_or_a_gate() -> None:
    assert selector_error(0x2B) == 0x28
    assert selector_error(0x0F, ext=True) == 0x0D
    assert gate_error(0x80) == 0x402
    assert gate_error(13, ext=True) == 0x6B
    code, fields = gate_error(0x80), SELECTOR_ERROR_FIELDS
    assert (fields["IDT"].get(code), fields["Segment Selector Index"].get(code)) == (1, 0x80)
    code = selector_error(0x2F)
    assert (fields["TI"].get(code), fields["Segment Selector Index"].get(code), fields["EXT"].get(code)) == (1, 5, 0)


def test_page_fault_bits_are_the_same_for_code_and_for_people() -> None:
    assert [int(bit) for bit in PageFaultError] == [field.mask for field in PAGE_FAULT_ERROR_FIELDS.values()]
    assert [bit.name for bit in PageFaultError] == [name[0] for name in PAGE_FAULT_ERROR_FIELDS]
