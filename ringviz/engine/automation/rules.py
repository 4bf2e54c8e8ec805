"""What a host is told to do by itself: rules, and orders for set times."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.engine.automation.words import METRICS

_LINKS = {"revert": "to"}


@dataclass(frozen=True, slots=True)
class Deed:
    """An action upon one machine."""

    action: str
    target: str
    value: int | None = None
    named: str = ""
    """The snapshot or the machine that the action names besides, where somebody has named one."""

    @property
    def text(self) -> str:
        """In words: `cap noisy 20 %`."""
        if self.named:
            return f"{self.action} {self.target} {_LINKS.get(self.action, 'as')} {self.named}"
        if self.action == "migrate":
            return f"begin to move {self.target}"
        if self.value is None:
            return f"{self.action} {self.target}"
        if self.action == "cap":
            return f"cap {self.target} {self.value} %" if self.value else f"cap {self.target} none"
        if self.action == "balloon":
            return f"balloon {self.target} to {self.value:,} MiB" if self.value else f"balloon {self.target} empty"
        return f"{self.action} {self.target} {self.value:,}"


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of a machine: exactly one of the four."""

    metric: str
    over: float | None = None
    under: float | None = None
    equals: str | None = None
    """A word for a state."""
    has: str | None = None
    """A text on the console."""

    @property
    def text(self) -> str:
        """In words: `share over 60 %`."""
        if self.equals is not None:
            return f"{self.metric} is {self.equals}"
        if self.has is not None:
            return f"{self.metric} has {self.has!r}"
        unit = METRICS[self.metric].unit
        word, threshold = ("over", self.over) if self.over is not None else ("under", self.under)
        return f"{self.metric} {word} {threshold:,g}{' ' + unit if unit else ''}"

    def could_hold_with(self, other: Condition) -> bool:
        """Tell whether both can hold of one machine at one moment, as far as they are about the same metric."""
        if self.metric != other.metric:
            return False
        if self.has is not None and other.has is not None:
            return self.has in other.has or other.has in self.has
        if self.equals is not None:
            return self.equals == other.equals
        above = [each.over for each in (self, other) if each.over is not None]
        below = [each.under for each in (self, other) if each.under is not None]
        return not above or not below or max(above) < min(below)


@dataclass(frozen=True, slots=True)
class Rule:
    """If a condition holds of a machine for some time, something is done, once; then it has to be released."""

    name: str
    machine: str
    """Empty where the condition is about the host."""
    condition: Condition
    for_cycles: int
    """How long it has to hold, without a break; a look at the host covers the time since the one before."""
    release: float
    """Where a threshold is: the value at or beyond which the rule can fire anew; not used elsewhere."""
    cool_down_cycles: int
    """How long it does not fire again after it has fired."""
    deed: Deed
    release_value: int | None = None
    """What weight or cap is given when the rule is released; None leaves it as it is."""

    @property
    def whose(self) -> str:
        """Say of whom it asks something."""
        return self.machine or "the host"

    @property
    def text(self) -> str:
        """In words: when what has lasted for how long, what is done, and when it is released."""
        text = f"{self.name}: when {self.whose}'s {self.condition.text}"
        text += f" for {self.for_cycles:,} cycles" if self.for_cycles else ""
        text += f": {self.deed.text}"
        if self.condition.over is not None or self.condition.under is not None:
            text += f"; released at {self.release:,g}"
        text += f": {self.release_deed.text}" if self.release_deed is not None else ""
        return text + (f"; not again within {self.cool_down_cycles:,} cycles" if self.cool_down_cycles else "")

    @property
    def release_deed(self) -> Deed | None:
        """What is done when the rule is released."""
        if self.release_value is None:
            return None
        return Deed(self.deed.action, self.deed.target, self.release_value)


@dataclass(frozen=True, slots=True)
class Order:
    """Something to be done when the host's clock has come to a moment."""

    at: int
    deed: Deed

    @property
    def text(self) -> str:
        """In words: when, and what."""
        return f"At {self.at:,} cycles: {self.deed.text}"


@dataclass(frozen=True, slots=True)
class Automation:
    """All of it."""

    rules: tuple[Rule, ...] = ()
    orders: tuple[Order, ...] = ()
    """By time."""

    @property
    def machines(self) -> tuple[str, ...]:
        """Every machine that is spoken of, by name."""
        named = {rule.machine for rule in self.rules if rule.machine} | {rule.deed.target for rule in self.rules}
        return tuple(sorted(named | {order.deed.target for order in self.orders}))
