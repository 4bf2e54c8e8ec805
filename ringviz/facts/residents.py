"""Who lives in which ring under each technique: what the picture of the rings shows, and what it is there to teach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.source import Source, by
from ringviz.facts.sources import AA06, APM2, POPEK_GOLDBERG, RING_COMPRESSION, SDM3C, XEN03


@dataclass(frozen=True, slots=True)
class Residents:
    """One technique's picture."""

    technique: str
    rings: Mapping[int, str]
    """Who stands in a ring; rings that are not named are empty. -1 is below ring 0."""
    guest_mode: str
    """The manual's name of the mode that the guest runs in, where the CPU has two; else empty."""
    vmm_mode: str
    """The manual's name of the mode drawn as ring -1; else empty."""
    always_in: int | None
    """The ring that the CPU never leaves while the guest is worked on; None where it follows the guest."""
    lesson: str
    """What the picture must teach in five seconds; short enough for one line beneath it."""
    source: Source

    @property
    def guest_is_data(self) -> bool:
        """The guest's CPU is a data structure: no ring of the real CPU belongs to the guest."""
        return self.always_in is not None


_KERNEL, _PROGRAMS, _VMM = "guest OS", "applications", "VMM"
_COMPRESSED = {0: _VMM, 1: _KERNEL, 3: _PROGRAMS}
_ASSISTED = {-1: _VMM, 0: _KERNEL, 3: _PROGRAMS}

RESIDENTS: Mapping[str, Residents] = by(
    "technique",
    Residents(
        "native",
        {0: _KERNEL, 3: _PROGRAMS},
        "",
        "",
        None,
        "No VMM: the OS owns ring 0.",
        Source.ringviz("the reference every other run is compared with"),
    ),
    Residents(
        "emulation",
        {0: "host OS", 3: "emulator"},
        "",
        "",
        3,
        "The guest's CPU is program data.",
        AA06.at("section 2", note="an interpreter keeps the guest's state in its own memory"),
    ),
    Residents(
        "classic",
        _COMPRESSED,
        "",
        "",
        None,
        "What if nothing were silent?",
        POPEK_GOLDBERG.at("Theorem 1"),
    ),
    Residents(
        "trap-emulate",
        _COMPRESSED,
        "",
        "",
        None,
        "The kernel was pushed off ring 0.",
        RING_COMPRESSION.at(""),
    ),
    Residents(
        "binary-translation",
        {0: _VMM, 1: "translated OS", 3: _PROGRAMS},
        "",
        "",
        None,
        "Kernel translated, programs not.",
        AA06.at("section 3"),
    ),
    Residents(
        "paravirt",
        {0: _VMM, 1: "ported OS", 3: _PROGRAMS},
        "",
        "",
        None,
        "Built for ring 1, and knows it.",
        XEN03.at(""),
    ),
    Residents(
        "vt-x",
        _ASSISTED,
        "VMX non-root",
        "VMX root",
        None,
        "“Ring −1” is VMX root, not a CPL.",
        SDM3C.at("Introduction to Virtual Machine Extensions"),
    ),
    Residents(
        "amd-v",
        _ASSISTED,
        "guest mode",
        "host mode",
        None,
        "“Ring −1” is host mode, not a CPL.",
        APM2.at("Secure Virtual Machine"),
    ),
)
