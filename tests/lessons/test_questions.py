"""Questions are made from runs: the right answer is what the guest really does, whatever the seed."""

from __future__ import annotations

import pytest

from ringviz.engine.fidelity import check_fidelity
from ringviz.errors import InputError, LessonError
from ringviz.facts.instructions import INSTRUCTIONS, PgClass
from ringviz.guest.scenario import find_scenario
from ringviz.lessons.asked import read_question
from ringviz.lessons.figures import Figures
from ringviz.lessons.make import Maker
from ringviz.lessons.question import LETTERS, Question, QuestionKind

FIGURES = {id_: Figures(find_scenario(id_)) for id_ in ("rings-tour", "popf-hole")}


def made(scenario: str, seed: int = 0, /, **table: object) -> Question:
    asked = read_question({"id": "q", **table}, "quiz.toml", 1)
    return Maker(FIGURES[scenario].scenario, seed, FIGURES[scenario], "quiz.toml").make(asked)


def chosen(question: Question) -> list[str]:
    return [question.options[LETTERS.index(letter)] for letter in question.answer]


@pytest.mark.parametrize("seed", range(4))
def test_a_choice_is_shuffled_by_the_seed_and_stays_right(seed: int) -> None:
    table = {"kind": "choice", "text": "?", "right": "yes", "wrong": ["no", "perhaps", "never"], "explain": "!"}
    question = made("rings-tour", seed, **table)
    assert chosen(question) == ["yes"]
    assert question == made("rings-tour", seed, **table)
    assert len({made("rings-tour", other, **table).answer for other in range(8)}) > 1


def test_a_choice_whose_claim_the_run_contradicts_is_refused() -> None:
    table = {"kind": "choice", "text": "?", "right": "5", "wrong": ["6"], "explain": "!"}
    made("rings-tour", **table, check=[["native times fault", "5"]])
    with pytest.raises(LessonError, match="check: native times fault is 5, and not 6"):
        made("rings-tour", **table, check=[["native times fault", "6"]])


def test_numbers_come_from_the_run() -> None:
    question = made("rings-tour", kind="number", text="How many?", figure="native times fault")
    assert question.answer == "5"
    assert question.is_right(" 5 ")
    assert not question.is_right("6")
    assert question.normalized("five") is None
    near = made("rings-tour", kind="number", text="?", figure="native retired", percent=10)
    assert near.is_right("7,000")
    assert not near.is_right("6,000")


def test_an_order_is_that_of_the_figures() -> None:
    items = [
        ["translation", "cost p4-672 translate-instruction"],
        ["an exit", "cost p4-672 exit"],
        ["one", "native times end"],
    ]
    question = made("rings-tour", kind="order", text="?", items=items, first="least")
    assert chosen(question) == ["one", "translation", "an exit"]
    with pytest.raises(LessonError, match="no two of them equal"):
        made("rings-tour", kind="order", text="?", items=[items[0], items[0]], first="most")


@pytest.mark.parametrize("seed", range(6))
def test_instructions_are_classified_by_the_table_of_facts(seed: int) -> None:
    question = made("rings-tour", seed, kind="classify", count=6)
    by_mnemonic = {row.mnemonics[0]: row.pg_class for row in INSTRUCTIONS.values()}
    for item, option in zip(question.items, chosen(question), strict=True):
        class_ = by_mnemonic.get(item)
        if class_ is PgClass.PRIVILEGED:
            assert option.startswith("privileged")
        elif class_ is PgClass.SENSITIVE_SILENT:
            assert option.startswith("sensitive")
    assert len(question.answer) == 6


@pytest.mark.parametrize("seed", range(4))
def test_the_instruction_that_traps_is_one_of_those_shown(seed: int) -> None:
    question = made("popf-hole", seed, kind="which-instruction", technique="trap-emulate", event="trap")
    assert len(question.options) >= 3
    assert chosen(question)[0].split("  ", 1)[1] in question.explain
    assert "trapped with" in question.explain


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "binary-translation", "amd-v"])
def test_what_happens_next_is_what_happened(technique: str) -> None:
    question = (
        made("popf-hole", kind="what-happens-next", technique=technique, at="before divergence")
        if (technique == "trap-emulate")
        else made("popf-hole", 3, kind="what-happens-next", technique=technique)
    )
    assert len(question.options) == 4
    if technique == "trap-emulate":
        assert "does not trap" in chosen(question)[0]
        assert "pushfd" in question.text
    if technique == "amd-v":
        assert "VM exit" in chosen(question)[0]


def test_the_divergence_to_be_marked_is_the_one_that_the_comparison_finds() -> None:
    question = made("popf-hole", kind="mark-the-divergence", technique="trap-emulate")
    first = check_fidelity(find_scenario("popf-hole"), "trap-emulate").first_divergence
    assert first is not None
    assert chosen(question) == [f"{first.address:08X}h  {first.instruction}"]
    with pytest.raises(LessonError, match="does not diverge"):
        made("popf-hole", kind="mark-the-divergence", technique="amd-v")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("native", "is no figure"),
        ("nativ retired", 'technique "nativ" unknown; did you mean "native"?'),
        ("native retierd", 'did you mean "retired"?'),
        ("native count exits", 'cause "exits" unknown'),
        ("native times traps", 'kind of event "traps" unknown'),
        ("fact p4", 'figure "p4" unknown'),
        ("no-such:native retired", "no-such"),
    ],
)
def test_a_figure_that_is_none_is_named(name: str, complaint: str) -> None:
    with pytest.raises(InputError) as error:
        FIGURES["rings-tour"].value(name)
    assert complaint in str(error.value)


def test_figures_fill_a_text() -> None:
    text = FIGURES["rings-tour"].fill("{{native retired}} steps, {{ popf-hole:native outcome }}, {{fact p4-syscall}}")
    assert text == "7,531 steps, exit, 242"


def test_answers_have_one_form_for_each_kind() -> None:
    order = Question("q", QuestionKind.ORDER, "?", ("x", "y", "z"), "bca", "")
    assert order.normalized("B, c > a") == "bca"
    assert order.normalized("bcb") is None
    assert order.solution == "b) y → c) z → a) x"
    classes = Question("q", QuestionKind.CLASSIFY, "?", ("x", "y"), "aba", "", ("i", "j", "k"))
    assert classes.normalized("a b a") == "aba"
    assert classes.normalized("ab") is None
