"""What every scheduling algorithm answers, and which there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from ringviz.errors import InputError
from ringviz.facts.scheduling import SCHEDULERS
from ringviz.guest.schema import did_you_mean
from ringviz.vmm.scheduler.credit import Credit
from ringviz.vmm.scheduler.round_robin import RoundRobin
from ringviz.vmm.scheduler.stride import Stride


class Policy(Protocol):
    """One algorithm with its own books. Names come in the order in which the machines were started."""

    def pick(self, ready: Collection[str], weights: Mapping[str, int]) -> str:
        """Choose among machines that want the CPU; there is at least one."""

    def charge(self, name: str, cycles: int, weight: int) -> None:
        """Put a turn on a machine's account."""

    def account(self, present: Collection[str], weights: Mapping[str, int], cycles: int) -> None:
        """Settle accounts, where an accounting period begins.

        Args:
            present: machines that have wanted the CPU in the one before; at the first, all that want it.
            weights: of all machines.
            cycles: how long a period is.
        """

    def wake(self, name: str, ready: Collection[str]) -> None:
        """Hear that a machine wants the CPU again after a sleep, or for the first time."""

    def longest_turn(self, name: str, time_slice: int) -> int:
        """Say how long a machine's turn may last."""

    def preempts(self, name: str) -> bool:
        """Tell whether a machine that wakes now is to have the CPU at once."""

    def leave(self, name: str) -> None:
        """Forget a machine."""


_CLASSES: Mapping[str, type[Credit] | type[Stride] | type[RoundRobin]] = {
    "credit": Credit,
    "stride": Stride,
    "round-robin": RoundRobin,
}
DEFAULT_SCHEDULER = "credit"


def make_policy(scheduler: str) -> Policy:
    """Give a fresh scheduler.

    Raises:
        InputError: there is none of that name.
    """
    if scheduler not in _CLASSES:
        choice = f"choose one of {', '.join(SCHEDULERS)}{did_you_mean(scheduler, SCHEDULERS)}"
        raise InputError(f'scheduler "{scheduler}" is unknown; {choice}')
    return _CLASSES[scheduler]()
