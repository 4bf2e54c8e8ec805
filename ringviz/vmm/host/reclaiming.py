"""When a host has too little free memory, and what it does about it.

Four states, from much to little; going down is at once, going up only when clearly more is free than it takes.

Source: Waldspurger 2002, "Dynamic Reallocation".
"""

from __future__ import annotations

from ringviz.facts.host_memory import RECLAIM_STATES, ReclaimState, number

_STATES = tuple(RECLAIM_STATES.values())
_HYSTERESIS_PERCENT = number("hysteresis")
HIGH = _STATES[0]


def frames_at(percent: int, total: int) -> int:
    """Give how many frames a percentage of a host's memory is."""
    return total * percent // 100


def next_state(now: ReclaimState, free: int, total: int) -> ReclaimState:
    """Say which state a host is in.

    Soft begins below 4 %, hard below 2 %, low below 1 %. The state above is entered again when clearly more is free
    than its own threshold.

    Args:
        now: the state so far.
        free: frames that nobody uses.
        total: all frames.
    """
    at = _STATES.index(now)
    while at + 1 < len(_STATES) and free < frames_at(_STATES[at + 1].percent, total):
        at += 1
    while at and free >= frames_at(_STATES[at - 1].percent + _HYSTERESIS_PERCENT, total):
        at -= 1
    return _STATES[at]


def wanted_free(total: int) -> int:
    """Give how many frames are to be free: whatever is reclaimed, it is until there are so many."""
    return frames_at(HIGH.percent + _HYSTERESIS_PERCENT, total)
