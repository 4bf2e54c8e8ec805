"""What a guest can see of its computer, as one value: for comparing runs."""

from __future__ import annotations

import hashlib

from ringviz.machine.state import fields_of
from ringviz.vmm.technique import Technique


def guest_state_sha256(technique: Technique) -> str:
    """Hash registers, segment caches, system registers, FPU and SSE, guest memory and devices."""
    digest = hashlib.sha256()
    digest.update(repr(sorted(fields_of(technique.guest_state()).items())).encode())
    digest.update(repr(technique.machine.cpu.fpu_image()).encode())
    for piece in technique.guest_ram_pieces():
        digest.update(piece)
    digest.update(repr(technique.machine.bus.save()).encode())
    if technique.machine.idle:
        digest.update(f"device time {technique.machine.now}".encode())
    return digest.hexdigest()
