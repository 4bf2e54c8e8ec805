"""The settings of a technique that a user may change from the technique's own choice: `+name` and `-name`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.exceptions import EXCEPTIONS
from ringviz.guest.schema import did_you_mean

HYPERVISOR_BIT = "hypervisor-bit"
"""The one control that is the VMM's own affair: may the guest know of it?"""


@dataclass(frozen=True, slots=True)
class Control:
    """One setting, as it stands before the user changes it."""

    id: str
    title: str
    """What it does while on, one line."""
    group: str
    """What it is a part of: a word of the control structure, by the vendor's name."""
    is_on: bool
    """The technique's own choice, on this CPU and with this way of memory virtualization."""
    rule: str = ""
    """Why it cannot be changed, or empty."""


def hypervisor_bit() -> Control:
    """The setting that tells the guest in CPUID that it is one."""
    return Control(
        HYPERVISOR_BIT, "CPUID tells the guest of the VMM: leaf 1, ECX bit 31, and leaf 4000_0000h", "CPUID", False
    )


def exception_name(vector: int) -> str:
    """`exception-ud`, or `exception-9` for a vector without a mnemonic."""
    row = EXCEPTIONS.get(vector)
    if row is None or not row.mnemonic.startswith("#"):
        return f"exception-{vector}"
    return f"exception-{row.mnemonic[1:].lower()}"


_ALIASES: Mapping[str, str] = {f"exception-{vector}": exception_name(vector) for vector in range(32)}


def id_of(word: str) -> str:
    """The id that a word like `+exception-6` means, aliases resolved."""
    name = word[1:].lower() if word[:1] in ("+", "-") else word.lower()
    return _ALIASES.get(name, name)


def take(technique: str, given: Iterable[str], known: Mapping[str, Control]) -> dict[str, bool]:
    """Understand what the user wants changed, and refuse what cannot be.

    Args:
        technique: id, for messages.
        given: `+name` or `-name`.
        known: the technique's controls by id.

    Returns:
        Setting by id, only for the controls named.

    Raises:
        InputError: a name is unknown, has no sign, or is given both ways.
        UnsupportedError: the hardware or the technique does not allow that setting; the message names the rule.
    """
    chosen: dict[str, bool] = {}
    for word in given:
        sign, name = word[:1], id_of(word)
        if sign not in ("+", "-"):
            raise InputError(f'control "{word}" needs a sign: +{word} sets it, -{word} clears it')
        if name not in known:
            raise InputError(_unknown(technique, name, known))
        if chosen.setdefault(name, sign == "+") != (sign == "+"):
            raise InputError(f"control {name} is given both ways: +{name} and -{name}")
    for name, value in chosen.items():
        control = known[name]
        if control.rule and value != control.is_on:
            raise UnsupportedError(f"{technique}: {'+' if value else '-'}{name} is not possible: {control.rule}")
    return chosen


def _unknown(technique: str, name: str, known: Mapping[str, Control]) -> str:
    if not known:
        return f'control "{name}" unknown: {technique} has no controls to change'
    guess = did_you_mean(name, known)
    return f'control "{name}" of {technique} unknown{guess}; `ringviz controls -t {technique}` lists them'
