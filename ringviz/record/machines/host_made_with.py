"""What a host's lecture was played with, as hashes: its guests and its file, the engine, and the CPU's profile."""

from __future__ import annotations

import hashlib

from ringviz.facts.costs import CPU_PROFILES
from ringviz.record.machines.host_lecture import HostLecture
from ringviz.record.made_with import MadeWith, engine_digest, image_digest, profile_digest
from ringviz.vmm.registry import variant_for


def host_made_with(lecture: HostLecture) -> MadeWith:
    """Hash what a lecture is played with now.

    Raises:
        RingvizError: a guest of the host cannot be found.
    """
    host = lecture.host
    digest = hashlib.sha256()
    for name, machine in host.machines.items():
        digest.update(f"{name} {image_digest(machine.load(), variant_for(machine.technique))}".encode())
        digest.update(f"{machine.technique} {machine.weight} {machine.cap_percent}".encode())
    rest = (host.cpu, host.memory_mib, host.memory_rules, host.scheduler, host.cycles, sorted(host.off))
    digest.update(repr((rest, host.automation, host.other_host)).encode())
    return MadeWith(digest.hexdigest()[:16], engine_digest(), profile_digest(CPU_PROFILES[host.cpu]))


def changes_of(lecture: HostLecture) -> tuple[str, ...]:
    """Name what is not as it was when the lecture was stamped, in words; nothing if it is not stamped."""
    return () if lecture.made_with is None else lecture.made_with.changed(host_made_with(lecture))
