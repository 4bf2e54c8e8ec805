"""The choices a user has about how a technique is built: one frozen record, settled by the registry."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.costs import CpuProfile


@dataclass(frozen=True, slots=True)
class Setup:
    """How to build the virtual machine and the monitor under it."""

    mmu: str
    """Way of memory virtualization: none, shadow, direct or nested."""
    cpu: CpuProfile
    """The CPU below: what it has, what it says of itself, and what things cost on it."""
    controls: tuple[str, ...] = ()
    """Settings of the technique that were changed from its own choice, `+name` or `-name`, sorted."""
