"""Device time: how retired guest instructions become seconds.

Device time is a count of guest instructions, and of the time that the CPU has slept in HLT, which passes without any.
So a device acts before the same instruction under every technique and on every host. Parts that know seconds need a
rate. Ours is our own choice: one instruction is one microsecond. It is slow for an x86 on purpose: a lesson runs some
million instructions, and its clocks should be seen to move.
"""

INSTRUCTIONS_PER_SECOND = 1_000_000


def instructions_in_microseconds(microseconds: int) -> int:
    """How many instructions retire in so many microseconds of device time."""
    return microseconds * INSTRUCTIONS_PER_SECOND // 1_000_000
