"""What a trap costs: modelled cycles by cause, for CPUs whose figures were published.

ringviz counts events for real and prices them with these rows. A cause without any figure has `cycles` None: it is
counted, charged nothing, and shown as unknown. A CPU without a figure of its own borrows one, and the row says whose.
A user's profile, read from a file, stands beside the others once it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ringviz.facts.amd_cpus import AMD_CPUS
from ringviz.facts.causes import CAUSES, GUEST_INSTRUCTION, PRICED, Cause
from ringviz.facts.cpu_profile import Cost, CpuProfile, cost_of
from ringviz.facts.intel_cpus import INTEL_CPUS
from ringviz.facts.source import by

BUILT_IN_CPUS: Mapping[str, CpuProfile] = by("id", *INTEL_CPUS.values(), *AMD_CPUS.values())
"""The profiles whose figures were published."""

_known: dict[str, CpuProfile] = dict(BUILT_IN_CPUS)
CPU_PROFILES: Mapping[str, CpuProfile] = MappingProxyType(_known)
"""All profiles that can be asked for: the built-in ones, and a user's own behind them."""

__all__ = [
    "BUILT_IN_CPUS",
    "CAUSES",
    "CPU_PROFILES",
    "GUEST_INSTRUCTION",
    "PRICED",
    "Cause",
    "Cost",
    "CpuProfile",
    "cost_of",
    "make_known",
]


def make_known(profile: CpuProfile) -> None:
    """Put a user's profile beside the others, under its id.

    Raises:
        ValueError: another profile has that id. Runs are remembered by the id of their CPU, so it must not change.
    """
    if _known.setdefault(profile.id, profile) != profile:
        raise ValueError(f"another profile is called {profile.id}")
