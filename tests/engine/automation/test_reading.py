"""Rules that do not say what they must, or contradict each other, are refused in one line."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.engine.automation.reading import check_machines, read_automation
from ringviz.errors import InputError

RULE = {
    "name": '"r"',
    "machine": '"vm"',
    "when": '"share"',
    "over": "60",
    "do": '"cap"',
    "value": "20",
}


def _text(*rules: dict[str, str]) -> str:
    tables = ("[[rules]]\n" + "".join(f"{key} = {value}\n" for key, value in rule.items()) for rule in rules)
    return "schema = 1\n" + "\n".join(tables)


def _with(**keys: str | None) -> dict[str, str]:
    merged = RULE | {key.rstrip("_"): value for key, value in keys.items()}
    return {key: value for key, value in merged.items() if value is not None}


def _complaint(text: str) -> str:
    with pytest.raises(InputError) as error:
        read_automation(text, "rules.toml")
    complaint = str(error.value)
    assert complaint.startswith("rules.toml: ")
    assert complaint.isprintable()
    return complaint.removeprefix("rules.toml: ")


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (_with(when='"shares"'), 'rules[1] r: when: found "shares", expected one of share, ready'),
        (_with(over=None), "rules[1] r: share: found no condition, expected either over or under"),
        (_with(under="5"), "rules[1] r: share: found over and under, expected either over or under"),
        (_with(over=None, is_='"ended"'), "rules[1] r: share: found is, expected either over or under"),
        (_with(over="100"), "rules[1] r: over: found 100, expected a number from 0 and below 100"),
        (_with(over=None, under="0"), "rules[1] r: under: found 0, expected a number above 0 and up to 100"),
        (_with(over="nan"), "rules[1]: over: found nan, expected a number"),
        (_with(release="61"), "rules[1] r: release: found 61, expected a number from 0 to 60, as it fires over"),
        (_with(for_cycles="-1"), "rules[1]: for_cycles: found -1, expected a whole number, at least 0"),
        (_with(do='"migrate"'), "rules[1] r: value: migrate takes no value"),
        (_with(do='"reboot"'), 'rules[1] r: do: found "reboot", expected one of weight, cap, start'),
        (_with(value=None), "rules[1] r: value: missing, expected a cap in percent, 0 for none"),
        (_with(value="101"), "rules[1] r: value: found 101, expected a cap in percent, 0 for none, 0 to 100"),
        (_with(do='"pause"'), "rules[1] r: value: pause takes no value"),
        (_with(name='"R 1"'), 'rules[1]: name: found "R 1", expected up to 24 of a to z'),
        (_with(shell='"rm"'), "rules[1]: shell: unknown key, expected name, machine"),
        (_with(release="40", release_value="0"), "rules[1] r: release: found 40, expected less than the cap of 20 %"),
        (_with(when='"state"', over=None, is_='"dead"'), 'rules[1] r: is: found "dead", expected one of stopped'),
        (_with(when='"console"', over=None, has='"x"', for_cycles="1"), "rules[1] r: for_cycles: what is printed"),
        (_with(when='"console"', over=None, has='""'), "rules[1] r: has: found an empty text"),
        (_with(when='"free-memory"'), "rules[1] r: machine: free-memory is the host's, expected only target"),
        (_with(when='"free-memory"', machine=None), "rules[1] r: target: missing, expected the name of a machine"),
        (_with(when='"free-memory"', over=None, under="101"), "rules[1] r: machine: free-memory is the host's"),
        (_with(when='"swapped"', over="-1"), "rules[1] r: over: found -1, expected a number from 0: no swapped"),
        (_with(when='"swaped"'), 'rules[1] r: when: found "swaped", expected one of share'),
        (
            _with(when='"reclaim-state"', machine=None, target='"vm"', over=None, is_='"lo"'),
            'rules[1] r: is: found "lo", expected one of high, soft, hard, low; did you mean "low"?',
        ),
        (
            _with(when='"reclaim-state"', machine=None, target='"vm"', over=None, is_='"exit-1"'),
            'rules[1] r: is: found "exit-1", expected one of high, soft, hard, low',
        ),
        (_with(when='"state"', over=None, is_='"soft"'), 'rules[1] r: is: found "soft", expected one of stopped'),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule: dict[str, str], complaint: str) -> None:
    assert _complaint(_text(rule)).startswith(complaint)


def test_rules_that_contradict_each_other_are_refused() -> None:
    other = _with(name='"other"', over="80", value="10")
    assert _complaint(_text(RULE, other)) == (
        "rules: r and other contradict each other: when vm's share over 60 % and share over 80 %, "
        "one would cap vm 20 %, the other cap vm 10 %"
    )
    assert "found twice" in _complaint(_text(RULE, RULE))
    apart = _with(name='"other"', over=None, under="60", value="0")
    assert len(read_automation(_text(RULE, apart), "rules.toml").rules) == 2
    assert "contradict" in _complaint(_text(RULE, apart | {"under": "61"}))
    orders = '[[orders]]\nat = 5\nmachine = "vm"\ndo = "{}"\n'
    assert "pause vm and stop vm contradict each other, both at 5" in _complaint(
        "schema = 1\n" + orders.format("pause") + orders.format("stop")
    )


def test_rules_about_the_host_name_only_whom_to_do_something_with() -> None:
    rule = _with(when='"free-memory"', machine=None, target='"vm"', over=None, under="8.5", do='"balloon"', value="2")
    automation = read_automation(_text(rule), "rules.toml")
    (found,) = automation.rules
    assert (found.whose, found.condition.text, found.deed.text) == (
        "the host", "free-memory under 8.5 %", "balloon vm to 2 MiB",
    )  # fmt: skip
    assert automation.machines == ("vm",)
    other = rule | {"name": '"other"', "under": "5", "value": "1"}
    assert "when the host's free-memory under 8.5 % and free-memory under 5 %" in _complaint(_text(rule, other))


def test_orders_come_by_time_and_machines_must_be_there() -> None:
    orders = '[[orders]]\nat = 7\nmachine = "b"\ndo = "stop"\n[[orders]]\nat = 5\nmachine = "a"\ndo = "pause"\n'
    automation = read_automation("schema = 1\n" + orders, "rules.toml")
    assert [order.deed.text for order in automation.orders] == ["pause a", "stop b"]
    check_machines(automation, ("a", "b"), "rules.toml")
    with pytest.raises(InputError, match=r'^rules\.toml: machine "b": is not there; there are a$'):
        check_machines(automation, ("a",), "rules.toml")


def test_a_file_that_is_something_else_is_refused() -> None:
    assert _complaint("[[").startswith("no TOML")
    assert _complaint("") == "schema: missing, expected 1"
    assert (
        _complaint("schema = 1\nrule = 1") == 'rule: unknown key, expected schema, rules, orders; did you mean "rules"?'
    )
    assert _complaint("schema = 1\nrules = 1").startswith("rules: found 1, expected tables: [[rules]]")


@given(st.text(max_size=80))
def test_any_text_is_understood_or_refused_in_one_line(text: str) -> None:
    for given_text in (text, f"schema = 1\n[[rules]]\nname = {text}"):
        with suppress(InputError):
            read_automation(given_text, "rules.toml")
            continue
        assert _complaint(given_text)
