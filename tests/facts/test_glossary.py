import pytest

from ringviz.facts.glossary import GLOSSARY, Term


@pytest.mark.parametrize("row", GLOSSARY.values(), ids=lambda row: str(row.id))
def test_a_term_is_one_paragraph_that_ends_and_points_to_terms_that_exist(row: Term) -> None:
    assert "\n" not in row.text
    assert row.text.endswith(".")
    assert 60 <= len(row.text) <= 400
    assert set(row.see) <= set(GLOSSARY) - {row.id}


def test_terms_are_unique_as_words_too() -> None:
    assert len({row.term.lower() for row in GLOSSARY.values()}) == len(GLOSSARY)


def test_the_key_terms_of_the_subject_are_there() -> None:
    assert {
        "virtual-machine", "virtualization", "amd-v", "intel-vt", "emulation", "x86", "vmm", "protection-ring",
        "paravirtualization", "fidelity", "performance", "safety", "popek-goldberg", "privileged", "sensitive",
        "innocuous", "ring-compression", "ring-minus-1", "trap", "fault", "exit", "hypercall", "intercept", "vmcb",
        "silent-instruction", "binary-translation", "trap-and-emulate", "nested-paging",
    } <= set(GLOSSARY)  # fmt: skip
