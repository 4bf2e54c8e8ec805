"""Which techniques ringviz can run, and how each is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.costs import BUILT_IN_CPUS, CPU_PROFILES, CpuProfile
from ringviz.facts.cpu_features import SECOND_LEVEL
from ringviz.facts.techniques import TECHNIQUES, TechniqueFacts
from ringviz.guest.image import load_image, with_mp_tables
from ringviz.guest.scenario import Scenario, Variant
from ringviz.vmm.amdv.technique import AmdV
from ringviz.vmm.classic import Classic
from ringviz.vmm.controls import Control, id_of
from ringviz.vmm.emulation import Emulation
from ringviz.vmm.native import Native
from ringviz.vmm.paravirt.not_recompiled import refusal
from ringviz.vmm.paravirt.technique import Paravirt
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import Technique
from ringviz.vmm.translation.technique import BinaryTranslation
from ringviz.vmm.trap_emulate import TrapEmulate
from ringviz.vmm.vtx.technique import VtX

_CLASSES: Mapping[str, type[Technique]] = MappingProxyType(
    {cls.id: cls for cls in (Native, Emulation, Classic, TrapEmulate, BinaryTranslation, Paravirt, VtX, AmdV)}
)
_DEFAULT_CPU = "p4-672"
_CPU_BY_FEATURE = {"amd-v": "barcelona"}


def available() -> tuple[str, ...]:
    """Ids of the techniques that can run, in the order to show them."""
    return tuple(technique for technique in TECHNIQUES if technique in _CLASSES)


def technique_facts(technique: str) -> TechniqueFacts:
    """The row of a technique that can run.

    Raises:
        InputError: no such technique, or not one that this version runs.
    """
    if technique not in _CLASSES:
        known = ", ".join(available())
        why = "is not built yet" if technique in TECHNIQUES else "is unknown"
        raise InputError(f'technique "{technique}" {why}; choose one of {known}')
    return TECHNIQUES[technique]


def choose_mmu(technique: str, mmu: str | None, cpu: CpuProfile | None = None) -> str:
    """Settle the way of memory virtualization: the one asked for, or the best one that the CPU has.

    Raises:
        UnsupportedError: the technique does not have it.
    """
    offered = _CLASSES[technique_facts(technique).id].mmus
    if mmu is None:
        if cpu is not None and not cpu.features & SECOND_LEVEL:
            return next((way for way in offered if way != "nested"), offered[0])
        return offered[0]
    if mmu not in offered:
        raise UnsupportedError(f'{technique} has no --mmu "{mmu}"; choose {" or ".join(offered)}')
    return mmu


def choose_cpu(technique: str, mmu: str | None, cpu: str | None, scenario: Scenario | None = None) -> CpuProfile:
    """Settle the CPU: the one asked for, or the technique's default, which has what a way of memory asks for.

    Args:
        technique: id.
        mmu: way of memory virtualization that was asked for.
        cpu: id; None is the default.
        scenario: the guest, if it is known: one that is a hypervisor itself has a CPU with AMD-V by default.

    Raises:
        InputError: no such profile.
        UnsupportedError: that CPU does not have what the technique needs.
    """
    row = technique_facts(technique)
    if cpu is None:
        cpu = _default_cpu(row, mmu, scenario)
    if cpu not in CPU_PROFILES:
        raise InputError(f'CPU "{cpu}" is unknown; choose one of {", ".join(CPU_PROFILES)}')
    profile = CPU_PROFILES[cpu]
    if row.needs_feature is not None and row.needs_feature not in profile.features:
        fitting = ", ".join(p.id for p in CPU_PROFILES.values() if row.needs_feature in p.features)
        raise UnsupportedError(f"{technique} needs a CPU with it; {cpu} ({profile.title}) has none; try {fitting}")
    if mmu == "nested" and not profile.features & SECOND_LEVEL:
        raise UnsupportedError(f"--mmu nested needs nested paging; {cpu} ({profile.title}) has none")
    return profile


def _default_cpu(technique: TechniqueFacts, mmu: str | None, scenario: Scenario | None) -> str:
    """Name the CPU for a technique when none is asked for: for nested paging the oldest that has it."""
    default = _CPU_BY_FEATURE.get(technique.needs_feature or "", _DEFAULT_CPU)
    if scenario is not None and scenario.guest.svm and not technique.needs_feature:
        default = _DEFAULT_CPU if _CLASSES[technique.id].no_svm else _CPU_BY_FEATURE["amd-v"]
    if mmu != "nested" or CPU_PROFILES[default].features & SECOND_LEVEL:
        return default
    able = [p for p in BUILT_IN_CPUS.values() if technique.needs_feature in p.features and p.features & SECOND_LEVEL]
    return min(able, key=lambda profile: profile.year).id if able else default


def choose(
    technique: str,
    mmu: str | None = None,
    cpu: str | None = None,
    controls: Iterable[str] = (),
    scenario: Scenario | None = None,
) -> Setup:
    """Settle all choices about a technique; what is not asked for is the technique's own default.

    Args:
        technique: id.
        mmu: way of memory virtualization; None is the default.
        cpu: id; None is the default.
        controls: `+name` and `-name`.
        scenario: the guest, if it is known: some guests need a CPU of their own.

    Raises:
        InputError: a name is unknown.
        UnsupportedError: the choices do not go together; one line says which rule is broken.
    """
    asked = None if mmu is None else choose_mmu(technique, mmu)
    profile = choose_cpu(technique, asked, cpu, scenario)
    setup = Setup(choose_mmu(technique, mmu, profile), profile, tuple(sorted(controls)))
    _CLASSES[technique].check_setup(setup)
    return setup


def controls_of(
    technique: str, mmu: str | None = None, cpu: str | None = None, given: Iterable[str] = ()
) -> Mapping[str, Control]:
    """Every control that a technique has, by id, as it stands on that CPU.

    Args:
        technique: id.
        mmu: way of memory virtualization; None is the default.
        cpu: id; None is the default.
        given: what the user changes: some controls exist by being named, and some rules depend on others.

    Raises:
        InputError: a name is unknown.
        UnsupportedError: the choices do not go together.
    """
    setup = choose(technique, mmu, cpu)
    return _CLASSES[technique].controls(replace(setup, controls=tuple(sorted(given))))


def understood(technique: str, words: Iterable[str], mmu: str | None = None, cpu: str | None = None) -> tuple[str, ...]:
    """Of `+name` and `-name`, those that a technique has a control for."""
    given = tuple(words)
    known = controls_of(technique, mmu, cpu, given) if given else {}
    return tuple(word for word in given if id_of(word) in known)


def check_fits(scenario: Scenario, technique: str) -> None:
    """Refuse a scenario that needs what a technique does not have.

    Raises:
        UnsupportedError: with the reason, in one line.
    """
    technique_facts(technique)
    if variant_for(technique) not in scenario.variants:
        raise UnsupportedError(refusal(scenario, technique))
    why = _CLASSES[technique].no_long_mode
    if scenario.guest.long and why:
        raise UnsupportedError(f"{scenario.id} is a 64-bit guest, and {technique} does not run it: {why}")


def why_no_svm(technique: str) -> str:
    """Say why a technique does not lend AMD-V on to a guest that is a hypervisor itself; empty where it does."""
    return _CLASSES[technique_facts(technique).id].no_svm


def memory_bytes(scenario: Scenario, technique: str) -> int:
    """Give the memory that a guest takes with the VMM under it."""
    return _CLASSES[technique_facts(technique).id].guest_base + scenario.guest.memory_bytes


def variant_for(technique: str) -> Variant:
    """Which of a scenario's builds a technique runs."""
    return Variant.PARAVIRT if technique_facts(technique).alignment == "marker" else Variant.ORIGINAL


def power_on(scenario: Scenario, technique: str, setup: Setup | None = None) -> Technique:
    """Make a technique's machine and put the scenario's guest on it, at its first instruction.

    Args:
        scenario: the guest.
        technique: id.
        setup: what `choose` gave; None is the technique's own choice in everything.

    Raises:
        ScenarioError: the image cannot be loaded.
        UnsupportedError: the technique cannot run this guest.
    """
    setup = setup or choose(technique, scenario=scenario)
    made = built(scenario, technique, setup)
    image = load_image(scenario, variant_for(technique))
    if variant_for(technique) is Variant.ORIGINAL:  # a recompiled guest asks its hypervisor, and no firmware
        signature, _, _, features = made.machine.cpuid(1, 0)
        image = with_mp_tables(image, scenario.guest.format, signature, features)
    made.boot(image)
    return made


def built(scenario: Scenario, technique: str, setup: Setup) -> Technique:
    """Make a technique's machine with nothing on it yet: `Technique.boot` starts a guest, or one arrives.

    Raises:
        UnsupportedError: the technique cannot run this guest.
    """
    check_fits(scenario, technique)
    return _CLASSES[technique](scenario, setup)
