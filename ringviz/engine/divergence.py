"""The verdict of a comparison with bare metal, and the places where it went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.instructions import SILENT_IDS

INTERVAL = 10_000
"""Instructions from one comparison of a long run to the next."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """One place where the guest got something else than on bare metal."""

    retired: int
    address: int
    instruction: str
    what: str
    native: int | str
    here: int | str
    form: str | None = None

    @property
    def is_silent(self) -> bool:
        """The instruction is one that the facts call silent."""
        return self.form in SILENT_IDS


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The verdict."""

    identical: bool
    first_divergence: Divergence | None
    divergences: tuple[Divergence, ...]
    """The first one, then every silent instruction that gave another answer than it gave on bare metal."""
    markers: int | None = None
    """How many markers were compared, where the kernel was recompiled; None where every instruction was."""
    closely_until: int | None = None
    """From this step on the two were compared at intervals only (`INTERVAL`); None: closely to the end."""
