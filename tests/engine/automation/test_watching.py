"""Rules fire when their condition has held for long enough, once, and not again before they were released."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ringviz.engine.automation.reading import read_automation
from ringviz.engine.automation.watching import Firing, Reading, Watcher

PERIOD = 1_000_000


def _watched(rule: str, readings: Sequence[Reading]) -> list[tuple[int, Firing]]:
    """What the rules of a text fire upon one machine, by the number of the look."""
    watcher = Watcher(read_automation(f"schema = 1\n{rule}", "test").rules)
    return [
        (number, firing)
        for number, reading in enumerate(readings, start=1)
        for firing in watcher.look(number * PERIOD, {"vm": reading})
    ]


def _rule(**keys: object) -> str:
    values = {"name": "r", "machine": "vm", "do": "pause"} | {key.rstrip("_"): value for key, value in keys.items()}
    lines = (f"{key} = {str(value) if not isinstance(value, str) else repr(value)}" for key, value in values.items())
    return "[[rules]]\n" + "\n".join(lines) + "\n"


def _shares(*values: float) -> list[Reading]:
    return [Reading(share=value) for value in values]


def _states(*words: str) -> list[Reading]:
    return [Reading(states=frozenset(word.split())) for word in words]


def test_a_rule_fires_once_until_its_value_is_back_at_its_release() -> None:
    rule = _rule(when="share", over=60, release=30)
    fired = _watched(rule, _shares(50, 61, 70, 59, 80, 31, 61, 30, 61, 61))
    assert [(at, firing.deed.text) for at, firing in fired] == [(2, "pause vm"), (9, "pause vm")]
    assert fired[0][1].why == "vm: share over 60 %: 61.0 %"


def test_the_time_that_a_condition_holds_has_no_break() -> None:
    rule = _rule(when="ready", under=5, for_cycles=3 * PERIOD)
    values = (1, 1, 5, 1, 1, 1, 1)
    fired = _watched(rule, [Reading(ready=value) for value in values])
    assert [at for at, _ in fired] == [6]
    assert fired[0][1].why.endswith(", for 3,000,000 cycles")


def test_the_cool_down_passes_between_two_firings() -> None:
    rule = _rule(when="share", over=60, cool_down_cycles=5 * PERIOD)
    assert [at for at, _ in _watched(rule, _shares(*(61, 10) * 6))] == [1, 7]
    held = _shares(61, 10, 61, 61, 61, 61, 61)
    assert [at for at, _ in _watched(rule, held)] == [1, 6]


def test_a_release_gives_another_value() -> None:
    rule = _rule(when="share", over=60, release=30, do="weight", value=64, release_value=256)
    fired = _watched(rule, _shares(61, 40, 30, 20, 61))
    assert [(at, firing.deed.text) for at, firing in fired] == [
        (1, "weight vm 64"),
        (3, "weight vm 256"),
        (5, "weight vm 64"),
    ]


def test_a_machine_that_has_not_run_tells_nothing_of_its_exits() -> None:
    rule = _rule(when="exits", under=100)
    readings = [Reading(exits=value) for value in (None, 99, None, 99, 100, 99)]
    assert [at for at, _ in _watched(rule, readings)] == [2, 6]


def test_a_state_fires_when_it_comes_and_again_after_another() -> None:
    rule = _rule(when="state", is_="crashed", do="restart")
    looks = _states("running", "stopped ended crashed", "stopped ended crashed", "running", "stopped crashed")
    assert [at for at, _ in _watched(rule, looks)] == [2, 5]
    ended = _rule(when="state", is_="exit-3", do="start", target="other")
    assert [firing.deed.text for _, firing in _watched(ended, _states("ended exit-3", "exit-33"))] == ["start other"]


def test_a_text_on_the_console_fires_for_each_time_it_comes_also_in_pieces() -> None:
    rule = _rule(when="console", has="panic")
    consoles = ("", "hello pan", "hello panic", "hello panic again", "hello panic again panic", "pan", "panic")
    assert [at for at, _ in _watched(rule, [Reading(console=text) for text in consoles])] == [3, 5, 7]


def test_of_two_rules_that_would_change_one_thing_at_one_look_the_first_has_its_way() -> None:
    rules = _rule(name="calm", when="share", over=60, do="cap", value=20) + _rule(
        name="free", when="ready", under=5, do="cap", value=0
    )
    fired = _watched(rules, [Reading(share=70, ready=1)])
    assert [(firing.rule, firing.overruled_by) for _, firing in fired] == [("calm", None), ("free", "calm")]


@given(
    st.lists(st.floats(0, 100), max_size=60),
    st.integers(0, 50),
    st.integers(50, 99),
    st.integers(0, 4),
    st.integers(0, 8),
)
def test_no_rule_flaps(values: list[float], release: int, over: int, held: int, cool_down: int) -> None:
    rule = _rule(
        when="share", over=over, release=release, for_cycles=held * PERIOD, cool_down_cycles=cool_down * PERIOD
    )
    fired = [at for at, _ in _watched(rule, _shares(*values))]
    for first, second in pairwise(fired):
        assert second - first >= max(1, cool_down)
        assert any(value <= release for value in values[first:second])
    for at in fired:
        assert all(value > over for value in values[at - max(1, held) : at])
