"""Rules and orders out of TOML: what does not say what it must, or contradicts itself, is refused in one line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from itertools import combinations

from ringviz.engine.automation.rules import Automation, Condition, Deed, Order, Rule
from ringviz.engine.automation.words import ACTIONS, EXIT_CODE, METRICS, STATES, Action, Metric, Shape
from ringviz.errors import InputError
from ringviz.guest.schema import clipped, did_you_mean

SCHEMA = 1
MOST_RULES = 100
"""Ours, for rules and for orders each: more than anybody reads."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
"""Shorter than a snapshot's name by a number."""
_EXIT = re.compile(rf"{EXIT_CODE}(0|[1-9][0-9]{{0,9}})")

_NUMBER, _WHOLE, _TEXT = "a number", "a whole number, at least 0", "a text in quotes"
_RULE_KEYS: Mapping[str, str] = {
    "name": "up to 24 of a to z, 0 to 9 and -, the first of them no -",
    "machine": "the name of a machine",
    "when": f"one of {', '.join(METRICS)}",
    "over": _NUMBER,
    "under": _NUMBER,
    "is": "a word for a state",
    "has": _TEXT,
    "for_cycles": _WHOLE,
    "release": _NUMBER,
    "cool_down_cycles": _WHOLE,
    "do": f"one of {', '.join(ACTIONS)}",
    "target": "the name of a machine",
    "value": _WHOLE,
    "release_value": _WHOLE,
}
_ORDER_KEYS: Mapping[str, str] = {
    "at": "cycles of the host, at least 0",
    "machine": "the name of a machine",
    "do": f"one of {', '.join(ACTIONS)}",
    "value": _WHOLE,
}
_DEED_KEYS: Mapping[str, str] = {key: _ORDER_KEYS[key] for key in ("machine", "do", "value")}
RULES, ORDERS = "rules", "orders"


def read_automation(text: str, where: str) -> Automation:
    """Understand a file of rules and orders.

    Args:
        text: TOML.
        where: the file, as error messages are to name it.

    Raises:
        InputError: it does not say what it must; one line with file, key and what was expected.
    """
    values = parsed(text, where)
    for key in values:
        if key not in ("schema", RULES, ORDERS):
            near = did_you_mean(key, (RULES, ORDERS))
            raise InputError(f"{where}: {clipped(key)}: unknown key, expected schema, {RULES}, {ORDERS}{near}")
    return make_automation(values, where)


def parsed(text: str, where: str) -> Mapping[str, object]:
    """Give the values of a TOML file of our schema.

    Raises:
        InputError: it is none.
    """
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{where}: no TOML: {clipped(str(error))}") from None
    if type(values.get("schema")) is not int or values["schema"] != SCHEMA:
        found = "missing" if "schema" not in values else f"found {clipped(repr(values['schema']))}"
        raise InputError(f"{where}: schema: {found}, expected {SCHEMA}")
    return values


def make_automation(values: Mapping[str, object], where: str) -> Automation:
    """Check the tables `rules` and `orders` of some values; see `read_automation`."""
    rules = tuple(
        _Table(table, _RULE_KEYS, f"{where}: {RULES}[{number}]").rule()
        for number, table in _tables(values, RULES, where)
    )
    orders = [
        _Table(table, _ORDER_KEYS, f"{where}: {ORDERS}[{number}]").order()
        for number, table in _tables(values, ORDERS, where)
    ]
    for one, other in combinations(rules, 2):
        _check_two(one, other, where)
    _check_orders(orders, where)
    return Automation(rules, tuple(sorted(orders, key=lambda order: order.at)))


def read_deed(table: Mapping[str, object], where: str) -> Deed:
    """Understand a table that says what is to be done with a machine: `machine`, `do` and perhaps `value`.

    Raises:
        InputError: it does not say what it must; one line with key and what was expected.
    """
    return _Table(table, _DEED_KEYS, where).deed()


def check_machines(automation: Automation, known: Collection[str], where: str) -> None:
    """Refuse rules and orders about machines that are not there.

    Raises:
        InputError: one line with those that are.
    """
    for name in automation.machines:
        if name not in known:
            there = ", ".join(known) or "none"
            raise InputError(f'{where}: machine "{name}": is not there; there are {there}{did_you_mean(name, known)}')


class _Table:
    """One table of the file, with each key of the right kind."""

    def __init__(self, table: Mapping[str, object], keys: Mapping[str, str], where: str) -> None:
        self._where = where
        self._keys = keys
        self._values = table
        for key, value in table.items():
            if key not in keys:
                expected = ", ".join(keys)
                raise self._error(clipped(key), f"unknown key, expected {expected}{did_you_mean(key, keys)}")
            if not _is_of_kind(value, keys[key]):
                raise self._error(key, f"found {clipped(repr(value))}, expected {keys[key]}")

    def rule(self) -> Rule:
        name = self._needed_text("name")
        if not _NAME.fullmatch(name):
            raise self._error("name", f'found "{clipped(name)}", expected {_RULE_KEYS["name"]}')
        self._where = f"{self._where} {name}"
        metric = self._metric()
        machine = "" if metric.is_hosts else self._needed_text("machine")
        if metric.is_hosts and "machine" in self._values:
            raise self._error("machine", f"{metric.id} is the host's, expected only target")
        condition = self._condition(metric)
        target = self._needed_text("target") if metric.is_hosts else self._text("target")
        deed = self._deed(target or machine)
        rule = Rule(
            name,
            machine,
            condition,
            self._whole("for_cycles") or 0,
            self._release(condition, metric),
            self._whole("cool_down_cycles") or 0,
            deed,
            self._whole("release_value"),
        )
        self._check_rule(rule, metric)
        return rule

    def order(self) -> Order:
        at = self._whole("at")
        if at is None:
            raise self._missing("at")
        return Order(at, self._deed(self._needed_text("machine")))

    def deed(self) -> Deed:
        return self._deed(self._needed_text("machine"))

    # ---- conditions --------------------------------------------------------------------------------------------------

    def _metric(self) -> Metric:
        name = self._needed_text("when")
        if name not in METRICS:
            raise self._error(
                "when", f'found "{clipped(name)}", expected {_RULE_KEYS["when"]}{did_you_mean(name, METRICS)}'
            )
        return METRICS[name]

    def _condition(self, metric: Metric) -> Condition:
        ways = {Shape.STATE: ("is",), Shape.TEXT: ("has",)}.get(metric.shape, ("over", "under"))
        given = [key for key in ("over", "under", "is", "has") if key in self._values]
        if len(given) != 1 or given[0] not in ways:
            found = " and ".join(given) or "no condition"
            raise self._error(metric.id, f"found {found}, expected {'either ' * (len(ways) - 1)}{' or '.join(ways)}")
        key = given[0]
        if key == "is":
            return Condition(metric.id, equals=self._state(metric))
        if key == "has":
            text = self._needed_text("has")
            if not text:
                raise self._error("has", "found an empty text, expected some of what a guest prints")
            return Condition(metric.id, has=text)
        threshold = self._number(key)
        assert threshold is not None
        self._check_threshold(metric, key, threshold)
        return Condition(metric.id, over=threshold) if key == "over" else Condition(metric.id, under=threshold)

    def _state(self, metric: Metric) -> str:
        state = self._needed_text("is")
        known = STATES if metric.words is None else metric.words
        if state not in known and not (metric.words is None and _EXIT.fullmatch(state)):
            expected = ", ".join(known) + (f", {EXIT_CODE}N" if metric.words is None else "")
            near = did_you_mean(state, known)
            raise self._error("is", f'found "{clipped(state)}", expected one of {expected}{near}')
        return state

    def _check_threshold(self, metric: Metric, key: str, threshold: float) -> None:
        """Refuse a threshold that every value, or none, is beyond."""
        most = 100 if metric.shape is Shape.PERCENT else float("inf")
        if key == "over" and not 0 <= threshold < most:
            upper = " and below 100" if most == 100 else ""
            raise self._error(key, f"found {threshold:g}, expected a number from 0{upper}: no {metric.id} is beyond")
        if key == "under" and not 0 < threshold <= most:
            upper = " and up to 100" if most == 100 else ""
            raise self._error(key, f"found {threshold:g}, expected a number above 0{upper}")

    def _release(self, condition: Condition, metric: Metric) -> float:
        release = self._number("release")
        if not metric.shape.is_measured:
            if release is not None:
                raise self._error("release", f"{metric.id} has no threshold to be released at")
            return 0
        threshold = condition.over if condition.over is not None else condition.under
        assert threshold is not None
        if release is None:
            return threshold
        if condition.over is not None and not 0 <= release <= threshold:
            raise self._error(
                "release", f"found {release:g}, expected a number from 0 to {threshold:g}, as it fires over"
            )
        most = 100 if metric.shape is Shape.PERCENT else float("inf")
        if condition.under is not None and not threshold <= release <= most:
            raise self._error("release", f"found {release:g}, expected a number from {threshold:g}, as it fires under")
        return release

    def _check_rule(self, rule: Rule, metric: Metric) -> None:
        if metric.shape is Shape.TEXT:
            for key in ("for_cycles", "release_value"):
                if key in self._values:
                    raise self._error(key, "what is printed does not last, so there is nothing to wait for")
        if rule.release_value is None:
            return
        value = ACTIONS[rule.deed.action].value
        if value is None:
            raise self._error("release_value", f"{rule.deed.action} takes no value, expected weight, cap or balloon")
        self._check_value("release_value", rule.release_value, ACTIONS[rule.deed.action])
        if rule.release_value == rule.deed.value:
            raise self._error("release_value", f"found {rule.release_value}, expected another than value")
        is_own_cap = rule.deed.action == "cap" and metric.id == "share" and rule.deed.target == rule.machine
        if is_own_cap and rule.condition.over is not None and 0 < (rule.deed.value or 0) <= rule.release:
            raise self._error(
                "release", f"found {rule.release:g}, expected less than the cap of {rule.deed.value} %, which itself "
                "brings the share down to there: cap and release would follow each other for ever",
            )  # fmt: skip

    # ---- deeds -------------------------------------------------------------------------------------------------------

    def _deed(self, target: str) -> Deed:
        name = self._needed_text("do")
        if name not in ACTIONS:
            near = did_you_mean(name, ACTIONS)
            raise self._error("do", f'found "{clipped(name)}", expected {self._keys["do"]}{near}')
        action = ACTIONS[name]
        value = self._whole("value")
        if action.value is None:
            if value is not None:
                raise self._error("value", f"{name} takes no value")
            return Deed(name, target)
        if value is None:
            raise self._error("value", f"missing, expected {action.value.title}")
        self._check_value("value", value, action)
        return Deed(name, target, value)

    def _check_value(self, key: str, value: int, action: Action) -> None:
        assert action.value is not None
        if not action.value.least <= value <= action.value.most:
            expected = f"{action.value.title}, {action.value.least} to {action.value.most:,}"
            raise self._error(key, f"found {value}, expected {expected}")

    # ---- values ------------------------------------------------------------------------------------------------------

    def _text(self, key: str) -> str | None:
        value = self._values.get(key)
        return value if isinstance(value, str) else None

    def _needed_text(self, key: str) -> str:
        value = self._text(key)
        if value is None:
            raise self._missing(key)
        return value

    def _whole(self, key: str) -> int | None:
        value = self._values.get(key)
        return value if isinstance(value, int) else None

    def _number(self, key: str) -> float | None:
        value = self._values.get(key)
        return value if isinstance(value, int | float) else None

    def _missing(self, key: str) -> InputError:
        return self._error(key, f"missing, expected {self._keys[key]}")

    def _error(self, key: str, text: str) -> InputError:
        return InputError(f"{self._where}: {key}: {text}")


def _is_of_kind(value: object, expected: str) -> bool:
    if expected == _NUMBER:
        return type(value) in (int, float) and value == value and abs(value) != float("inf")  # type: ignore[arg-type]
    if expected == _WHOLE or expected == _ORDER_KEYS["at"]:
        return type(value) is int and value >= 0
    return isinstance(value, str)


def _tables(values: Mapping[str, object], key: str, where: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    tables = values.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{where}: {key}: found {clipped(repr(tables))}, expected tables: [[{key}]]")
    if len(tables) > MOST_RULES:
        raise InputError(f"{where}: {key}: found {len(tables):,}, expected no more than {MOST_RULES}")
    yield from enumerate(tables, start=1)


def _check_two(one: Rule, other: Rule, where: str) -> None:
    """Refuse two rules that would at one moment make different things of one machine."""
    if one.name == other.name:
        raise InputError(f"{where}: {RULES}: {one.name}: found twice, expected a name for each rule")
    is_same_aspect = (
        one.deed.target == other.deed.target and ACTIONS[one.deed.action].aspect == ACTIONS[other.deed.action].aspect
    )
    is_same_moment = one.machine == other.machine and one.condition.could_hold_with(other.condition)
    if is_same_aspect and is_same_moment and one.deed != other.deed:
        raise InputError(
            f"{where}: {RULES}: {one.name} and {other.name} contradict each other: when {one.whose}'s "
            f"{one.condition.text} and {other.condition.text}, one would {one.deed.text}, the other {other.deed.text}"
        )


def _check_orders(orders: Collection[Order], where: str) -> None:
    for one, other in combinations(orders, 2):
        is_same = one.at == other.at and one.deed.target == other.deed.target
        if is_same and ACTIONS[one.deed.action].aspect == ACTIONS[other.deed.action].aspect and one.deed != other.deed:
            raise InputError(
                f"{where}: {ORDERS}: {one.deed.text} and {other.deed.text} contradict each other, both at {one.at:,}"
            )
