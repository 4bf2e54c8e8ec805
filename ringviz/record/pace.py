"""How long a beat stays when nobody presses a key."""

from ringviz.record.replay import Beat, Spoken

WORDS_PER_MINUTE = 180
"""Ours: the speed of somebody who reads aloud, so that a lecture and its recording take as long as each other."""
LEAST_SECONDS = 2.0
"""Ours: a screen that changes sooner has not been looked at."""
THINKING_SECONDS = 8.0
"""Ours: between a question and its answer."""


COMPARING_SECONDS = 10.0
"""Ours: techniques side by side take that long to look at, besides the words."""


def reading_seconds(text: str) -> float:
    """How long it takes to read a text."""
    return 60 * len(text.split()) / WORDS_PER_MINUTE


def beat_seconds(beat: Spoken, speed: float = 1.0) -> float:
    """How long a beat stays; at twice the speed half as long."""
    seconds = max(LEAST_SECONDS, reading_seconds(beat.say)) + beat.wait_seconds
    if beat.ask is not None:
        seconds += reading_seconds(beat.ask.text) + THINKING_SECONDS + reading_seconds(beat.ask.answer)
        seconds += reading_seconds(beat.ask.explain)
    if isinstance(beat, Beat) and beat.compare:
        seconds += COMPARING_SECONDS
    return seconds / speed
