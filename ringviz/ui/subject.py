"""One thing that can be explained."""

from dataclasses import dataclass


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
