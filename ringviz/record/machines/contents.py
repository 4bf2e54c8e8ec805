"""What the file of a room says: its host, and every machine as the last operation has left it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ringviz.errors import InputError
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.record.machines.audit import Audited
from ringviz.record.machines.inbox import Answer
from ringviz.record.machines.kept import Kept, understood
from ringviz.vmm.host.allotment import MemoryRules
from ringviz.vmm.scheduler.policy import DEFAULT_SCHEDULER

DEFAULT_CPU, DEFAULT_MEMORY_MIB = "haswell", 512


@dataclass(slots=True)
class Contents:
    """All of it."""

    cpu: str = DEFAULT_CPU
    memory_mib: int = DEFAULT_MEMORY_MIB
    scheduler: str = DEFAULT_SCHEDULER
    memory_rules: MemoryRules = field(default_factory=MemoryRules)
    clock: int = 0
    """Of the host, over all its runs."""
    disk_number: int = 0
    audit: list[Audited] = field(default_factory=list)
    """What the host has done by itself, the latest last."""
    machines: dict[str, Kept] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    """To orders that are carried out, and perhaps not answered yet."""

    def kept(self, name: str) -> Kept:
        """Give a machine as it is kept.

        Raises:
            InputError: there is none of that name.
        """
        return machine_named(name, self.machines)


def machine_named(name: str, machines: Mapping[str, Kept]) -> Kept:
    """Give a machine by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in machines:
        known = ", ".join(machines) or "none yet"
        raise InputError(f'no machine "{clipped(name)}"; there are {known}{did_you_mean(name, machines)}')
    return machines[name]


def understood_contents(content: Mapping[str, Any]) -> Contents:
    """Understand what a store holds; of an empty one, what a room begins with.

    Raises:
        InputError: it makes no sense.
    """
    plain = ("cpu", "memory_mib", "scheduler", "clock", "disk_number")
    try:
        return Contents(
            **{key: content[key] for key in plain if key in content},
            memory_rules=MemoryRules(**content.get("memory_rules", {})),
            audit=[Audited(**entry) for entry in content.get("audit", [])],
            machines={name: understood(value) for name, value in content.get("machines", {}).items()},
            answers={order: Answer(**value) for order, value in content.get("answers", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"machines.json: cannot be understood: {clipped(str(error))}") from None
