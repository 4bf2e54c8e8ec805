"""What machine it is that moves: a destination takes only the one that it was made for."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, fields

from ringviz.errors import MigrationError
from ringviz.guest.disks.content import content_sha256
from ringviz.guest.image import read_image_file
from ringviz.guest.scenario import Scenario
from ringviz.vmm.migration import plain
from ringviz.vmm.registry import variant_for
from ringviz.vmm.setup import Setup


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything about a machine that does not change while it runs."""

    scenario: str
    image_sha256: str
    """Of its image, and of what is typed at it."""
    disks_sha256: str
    """Of the images of its disks, which both hosts have; what the guest has written to them moves."""
    memory_bytes: int
    technique: str
    mmu: str
    controls: str
    cpu: str
    cpu_features: str
    """The guest has asked its CPU at start what it can do, and goes by that."""

    @classmethod
    def of(cls, scenario: Scenario, technique: str, setup: Setup) -> Identity:
        """Name a machine."""
        image = read_image_file(scenario, variant_for(technique))
        typed = plain.encode((scenario.console_input, scenario.keys))
        contents = hashlib.sha256(image + typed).hexdigest()
        features = " ".join(sorted(setup.cpu.features))
        return cls(
            scenario.id, contents, _hash_of_disks(scenario), scenario.guest.memory_bytes, technique, setup.mmu,
            " ".join(setup.controls), setup.cpu.id, features,
        )  # fmt: skip

    def encode(self) -> bytes:
        """Give its bytes."""
        return plain.encode(astuple(self))


def _hash_of_disks(scenario: Scenario) -> str:
    """Hash what a guest can read from its disks; the two hosts may keep it in images of different kinds."""
    digest = hashlib.sha256()
    for disk in scenario.disks:
        digest.update(b"none" if disk is None else content_sha256(disk.path, disk.size_bytes))
    return digest.hexdigest()


def check_identity(expected: Identity, content: bytes) -> None:
    """Refuse a machine that is not the one expected.

    Raises:
        MigrationError: with the first thing that differs, in one line.
    """
    try:
        values = plain.decode(content)
    except ValueError as error:
        raise MigrationError(f"what machine it is cannot be understood: {error}") from None
    names = [field.name for field in fields(Identity)]
    if not isinstance(values, tuple) or len(values) != len(names):
        raise MigrationError(f"what machine it is cannot be understood: expected {len(names)} values")
    for name, found, wanted in zip(names, values, astuple(expected), strict=True):
        if found != wanted:
            raise MigrationError(f"a foreign machine: {name.replace('_', ' ')} is {found!r}, expected {wanted!r}"[:240])
