"""One thing that can be explained."""

from dataclasses import dataclass

from ringviz.facts.explanations import EXPLANATIONS
from ringviz.facts.glossary import GLOSSARY


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing and its paragraph."""

    title: str
    now: str
    """What it is at this moment, before the paragraph; or empty."""
    text: str
    source: str = ""
    lesson: str = ""
    see: tuple[str, ...] = ()
    """Titles of other subjects."""

    def matches(self, words: str) -> bool:
        """Tell whether all words that somebody typed occur in the title; or else in the text."""
        return all(word in f"{self.title} {self.text}".lower() for word in words.lower().split())


def known(id_: str, now: str = "") -> Subject:
    """Give the explanation of a thing by its id, with what it is at this moment."""
    row = EXPLANATIONS[id_]
    return Subject(
        row.title, now, row.text, str(row.source), row.lesson, tuple(GLOSSARY[term].term for term in row.see)
    )
