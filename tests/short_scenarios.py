"""The scenarios that a test can follow instruction by instruction, and tell event by event.

An operating system runs for millions of instructions, and has tests of its own (`test_teachos`, `test_teachos64`).
"""

from ringviz.guest import Scenario, list_scenarios

_MOST_INSTRUCTIONS = 5_000_000

SHORT: tuple[Scenario, ...] = tuple(
    scenario for scenario in list_scenarios() if scenario.limits.instructions <= _MOST_INSTRUCTIONS
)
