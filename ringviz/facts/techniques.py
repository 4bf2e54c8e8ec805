"""The classic ways of virtualizing x86: where each puts the VMM and the guest's kernel, and what each needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ringviz.facts.source import Source, by
from ringviz.facts.sources import AA06, APM2, POPEK_GOLDBERG, RING_COMPRESSION, SDM3C, XEN03

Mmu = Literal["none", "shadow", "direct", "nested"]


@dataclass(frozen=True, slots=True)
class TechniqueFacts:
    """One technique, as a learner should know it."""

    id: str
    title: str
    vmm_seat: str
    stands_for: str
    needs_feature: Literal["vt-x", "amd-v"] | None
    """CPU feature without which the technique does not exist."""
    mmus: tuple[Mmu, ...]
    """Ways of memory virtualization; the first is the default."""
    guest_kernel_ring: int | None
    """The ring that the guest's kernel really runs in; None where it does not run on the CPU at all."""
    vmm_ring: Literal[0, -1] | None
    """0, or -1 for VMX root and host mode, which are modes and not rings; None where no VMM sits in a ring."""
    promises_fidelity: bool
    """False where the technique is known to break on the silent instructions."""
    source: Source
    alignment: Literal["instruction", "marker"] = "instruction"
    """Where it can be compared with bare metal: after every instruction of the same code, or, where the kernel was
    recompiled and has other instructions, at the markers that both builds have."""


TECHNIQUES: Mapping[str, TechniqueFacts] = by(
    "id",
    TechniqueFacts(
        "native",
        "Bare metal",
        "no VMM",
        "the reference every other run is compared with",
        None,
        ("none",),
        0,
        None,
        True,
        Source.ringviz("fidelity is measured against the run without a VMM"),
    ),
    TechniqueFacts(
        "emulation",
        "Full emulation",
        "a program above the CPU; no guest instruction runs directly",
        '"emulation" of the key terms; Bochs',
        None,
        ("shadow",),
        None,
        None,
        True,
        AA06.at("section 2", note="an interpreter fails this property and keeps the other two"),
    ),
    TechniqueFacts(
        "classic",
        "Classically virtualizable (what if)",
        "ring 0, guest kernel in ring 1",
        "IBM System/370: an x86 on which every sensitive instruction traps",
        None,
        ("shadow",),
        1,
        0,
        True,
        POPEK_GOLDBERG.at("Theorem 1"),
    ),
    TechniqueFacts(
        "trap-emulate",
        "Trap-and-emulate on real x86",
        "ring 0, guest kernel in ring 1",
        "ring compression as in Virtual PC / Virtual Server; breaks on the silent instructions",
        None,
        ("shadow",),
        1,
        0,
        False,
        RING_COMPRESSION.at(""),
    ),
    TechniqueFacts(
        "binary-translation",
        "Binary translation",
        "ring 0, translated kernel in ring 1, user code direct",
        "VMware Workstation",
        None,
        ("shadow",),
        1,
        0,
        True,
        AA06.at("section 3"),
    ),
    TechniqueFacts(
        "paravirt",
        "Paravirtualization",
        "ring 0, recompiled guest kernel in ring 1",
        "Xen (and, as a variant, Virtual Server with VM Additions)",
        None,
        ("direct",),
        1,
        0,
        True,
        XEN03.at(""),
        alignment="marker",
    ),
    TechniqueFacts(
        "vt-x",
        "Intel VT-x",
        '"ring -1" = VMX root; guest kernel in ring 0 of non-root',
        "Intel Virtualization Technology",
        "vt-x",
        ("nested", "shadow"),
        0,
        -1,
        True,
        SDM3C.at("Introduction to Virtual Machine Extensions"),
    ),
    TechniqueFacts(
        "amd-v",
        "AMD-V",
        '"ring -1" = host mode; guest kernel in ring 0 of guest mode',
        "AMD-V (Pacifica, SVM)",
        "amd-v",
        ("nested", "shadow"),
        0,
        -1,
        True,
        APM2.at("Secure Virtual Machine"),
    ),
)
