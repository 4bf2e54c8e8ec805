"""Places of a run as people write them: `500`, `0x100040`, `kernel_main`, `exit 30`, `ring 3 if eax == 5`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ringviz.engine.conditions import (
    FLAGS,
    OPERATORS,
    AtAddress,
    AtEvent,
    AtStep,
    OnDivergence,
    OnEvent,
    OnKind,
    OnRingChange,
    RegisterTest,
    Stop,
    StopCondition,
)
from ringviz.engine.memory_look import ACCESS, register_names
from ringviz.errors import InputError
from ringviz.machine.state import fields_of
from ringviz.vmm.events import Kind

if TYPE_CHECKING:
    from ringviz.engine.session import Session

DIVERGENCE = "divergence"
"""The word for the next place where the guest gets something else than on bare metal."""
KIND_WORDS = tuple(kind.value for kind in Kind if kind is not Kind.GUEST)
_IF = re.compile(r"\s+if\s+")
_AND = re.compile(r"\s+and\s+|\s*,\s*")
_TEST = re.compile(rf"^([a-z][a-z0-9_.]*)\s*({'|'.join(map(re.escape, OPERATORS))}|=)\s*(\S+)$")
_EVENT = re.compile(r"^(?:#|event\s+#?)(\d+)$")


def resolve_stop(session: Session, text: str) -> Stop:
    """Understand a place with its conditions: `marker if eax == 5 and cf = 1`.

    Raises:
        InputError: a part of it is not understood; one line says which.
    """
    place, *rest = _IF.split(text.strip(), maxsplit=1)
    tests = tuple(_test(session, part) for part in _AND.split(rest[0].strip())) if rest else ()
    return Stop(resolve_condition(session, place), tests, " ".join(text.split()))


def resolve_condition(session: Session, text: str) -> StopCondition:
    """Understand where to run to.

    A step, an event's number, an address, a symbol, a change of ring, a divergence from bare metal, or a kind of event.

    Raises:
        InputError: it is none of these.
    """
    word = " ".join(text.lower().split())
    digits = re.sub(r"[ _,]", "", word.removeprefix("step "))
    if digits.isascii() and digits.isdigit():
        return AtStep(int(digits))
    numbered = _EVENT.match(word)
    if numbered is not None:
        return AtEvent(int(numbered[1]))
    if word == "event":
        return OnEvent()
    if word == DIVERGENCE:
        return OnDivergence()
    if word == "ring":
        return OnRingChange()
    if re.fullmatch(r"ring [0-3]", word):
        return OnRingChange(int(word[-1]))
    kind, _, rest = word.partition(" ")
    if kind in KIND_WORDS and session.source.address_of(text.strip()) is None:
        return OnKind(Kind(kind), rest)
    return AtAddress(resolve_address(session, text))


def in_other_builds(session: Session, text: str) -> str:
    """Say a place so that it holds in another build of the guest: `putc+3h` for an address within `putc`.

    Returns:
        Empty if the text holds in every build as it is; the text itself if it holds in this build only.

    Raises:
        InputError: it is not understood.
    """
    place, *rest = _IF.split(text.strip(), maxsplit=1)
    condition = resolve_condition(session, place)
    if isinstance(condition, (AtStep, AtEvent)):
        return text
    if not isinstance(condition, AtAddress) or _named(session, place) is not None:
        return ""
    found = session.source.symbol_at(condition.address)
    if found is None:
        return text
    name, offset = found
    return " if ".join((f"{name}+{offset:X}h" if offset else name, *rest))


def resolve_address(session: Session, text: str) -> int:
    """Understand an address: `0x100040`, `100040h`, a symbol of the guest, or a distance behind one: `putc+3`.

    Raises:
        InputError: it is neither.
    """
    word = text.strip()
    known = _named(session, word)
    if known is not None:
        return known
    number = _number(word) if word[:2].lower() == "0x" or word[-1:] in ("h", "H") else None
    if number is not None:
        return number
    raise InputError(
        f'"{word}" is no step, no event such as #12, no address such as 0x100040, no symbol of {session.scenario.id},'
        f" not `ring`, not `{DIVERGENCE}`, and no kind of event ({', '.join(KIND_WORDS)})"
    )


def _named(session: Session, text: str) -> int | None:
    """Give the address of a symbol, or of a place behind one; None if there is no such symbol."""
    name, plus, distance = (part.strip() for part in text.partition("+"))
    known = session.source.address_of(name)
    behind = _number(distance) if plus else 0
    return None if known is None or behind is None else known + behind


def resolve_look(session: Session, text: str) -> tuple[str, int]:
    """Understand what to look at: a register to follow, `access` for what the last step accessed, or an address.

    Returns:
        What to follow, empty for nothing; and the address.

    Raises:
        InputError: it is none of these.
    """
    word = text.strip().lower()
    has_long = session.scenario.guest.long
    if word == ACCESS or word in register_names(has_long_mode=has_long):
        return word, 0
    try:
        return "", resolve_address(session, text)
    except InputError:
        raise InputError(
            f'"{text.strip()}" is no register, no address such as 0x100040, no symbol of {session.scenario.id},'
            " and not `access`"
        ) from None


def _test(session: Session, text: str) -> RegisterTest:
    """Understand `eax == 5`.

    Raises:
        InputError: it is not of this form, or there is no such register.
    """
    found = _TEST.match(text.lower())
    value = None if found is None else _number(found[3])
    if found is None or value is None:
        raise InputError(f'"{text}" is no condition: expected a register, one of {" ".join(OPERATORS)}, and a number')
    register = "cpl" if found[1] == "ring" else found[1]
    known = fields_of(session.cpu_state(is_real=False))
    if register not in known and register not in FLAGS:
        raise InputError(
            f'"{found[1]}" is no register: expected eax, eip, cr0, cs, cpl, … or a flag such as if, zf, cf'
        )
    return RegisterTest(register, "==" if found[2] == "=" else found[2], value)


def _number(word: str) -> int | None:
    """Read a number: decimal, or hexadecimal with 0x before it or h behind."""
    word = word.lower().replace("_", "")
    try:
        if word.startswith("0x"):
            return int(word[2:], 16)
        return int(word[:-1], 16) if word.endswith("h") else int(word)
    except ValueError:
        return None
