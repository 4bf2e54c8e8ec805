import pytest

from ringviz.facts.instruction_weights import CLASSES
from ringviz.guest.decode import decode
from ringviz.guest.forms import FORMS
from ringviz.guest.instruction_weight import _CLASS_BY_FORM, _CLASS_BY_NAME, class_of, weight_of

EXAMPLES = {
    "simple": "90 01c8 8d01 0fc8 8cd8 ce 0fae38",
    "load": "8b01 0301 58 c9 d7 ac a6 3b01",
    "store": "8901 50 c60105 aa 9c 06",
    "load-and-store": "0101 ff01 ff30 8f00 a4",
    "many-stores": "60 61 c8080000",
    "repeated-string": "f3a5 f3aa f2ae",
    "branch": "7405 eb05 e2fe ffe0 ff21 e305",
    "call": "e800000000 ffd0 ff12",
    "return": "c3 c20400",
    "multiply": "f7e1 0fafc1 69c101000000",
    "divide": "f7f1 f739 d40a",
    "floating-point": "d9c1 dd01 0f58c1 660fefc0 0f6fc1 0f77",
    "locked": "f00fb10a f0ff01 8702",
    "interrupt-flag": "fa fb 9d",
    "segment-load": "8ed8 1f c508",
    "far-transfer": "ea000000000800 ff2b cb 9a000000000800",
    "system-read": "0f20c0 0f21f8 0f0100 0f31 0f02c1",
    "control-register": "0f22d8 0f23f8",
    "serializing": "0fa2 0f32 0f30 0f0138 0f06 0f0110 0f01f0 0f09",
    "fast-call": "0f34 0f35",
    "by-event": "e480 ee 6c f36f cd80 cc cf 0f05 0f07 f4",
}


@pytest.mark.parametrize("class_id", EXAMPLES)
def test_instructions_are_of_their_class(class_id: str) -> None:
    for code in EXAMPLES[class_id].split():
        instruction = decode(bytes.fromhex(code), 0x1000)
        assert instruction is not None, code
        assert class_of(instruction) == class_id, instruction.text
        assert weight_of(instruction) == CLASSES[class_id].weight


def test_every_class_has_an_example_and_the_tables_name_known_ones_only() -> None:
    assert set(EXAMPLES) == set(CLASSES)
    assert set(_CLASS_BY_FORM) <= FORMS
    assert set(_CLASS_BY_FORM.values()) | set(_CLASS_BY_NAME.values()) <= set(CLASSES)


def test_the_weight_may_be_a_profiles_own() -> None:
    divide = decode(bytes.fromhex("f7f1"), 0)
    assert divide is not None
    assert weight_of(divide, {"divide": 2300}) == 2300
