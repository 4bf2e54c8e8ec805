"""What a trap costs: modelled cycles by cause, for CPUs whose figures were published.

ringviz counts events for real and prices them with these rows. A cause without any figure has `cycles` None: it is
counted, charged nothing, and shown as unknown. A CPU without a figure of its own borrows one, and the row says whose.
"""

from __future__ import annotations

from collections.abc import Mapping

from ringviz.facts.amd_cpus import AMD_CPUS
from ringviz.facts.causes import CAUSES, Cause
from ringviz.facts.cpu_profile import Cost, CpuProfile, cost_of
from ringviz.facts.intel_cpus import INTEL_CPUS
from ringviz.facts.source import by

CPU_PROFILES: Mapping[str, CpuProfile] = by("id", *INTEL_CPUS.values(), *AMD_CPUS.values())

__all__ = ["CAUSES", "CPU_PROFILES", "Cause", "Cost", "CpuProfile", "cost_of"]
