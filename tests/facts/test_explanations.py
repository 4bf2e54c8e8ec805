"""Explanations: whole, sourced, and linked to what is there."""

from ringviz.facts.explanations import EXPLANATIONS, LESSONS_OF_TERMS
from ringviz.facts.glossary import GLOSSARY
from ringviz.facts.source import Status
from ringviz.lessons.course import list_lessons


def test_every_explanation_is_a_paragraph_with_a_source_that_may_be_shown() -> None:
    for row in EXPLANATIONS.values():
        assert row.text.endswith("."), row.id
        assert len(row.text) > 60, row.id
        assert row.source.work, row.id
        assert row.source.status is not Status.REMEMBERED, row.id


def test_links_lead_to_words_and_lessons_that_exist() -> None:
    lessons = {lesson.id for lesson in list_lessons()} | {""}
    for row in EXPLANATIONS.values():
        assert set(row.see) <= set(GLOSSARY), row.id
        assert row.lesson in lessons, row.id
    assert set(LESSONS_OF_TERMS) <= set(GLOSSARY)
    assert set(LESSONS_OF_TERMS.values()) <= lessons
