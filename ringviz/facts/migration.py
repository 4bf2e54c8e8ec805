"""Numbers and rules that live migration goes by: Clark et al., Xen's tools and QEMU, and what ringviz chose itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.source import Source, by
from ringviz.facts.sources import CLARK05, QEMU_MIGRATION, XEN_SAVE


@dataclass(frozen=True, slots=True)
class StopRules:
    """One way to tell when pre-copy is over."""

    id: str
    title: str
    text: str
    """What it does, in a sentence."""
    source: Source


STOP_RULES: Mapping[str, StopRules] = by(
    "id",
    StopRules(
        "qemu",
        "QEMU",
        "The guest is stopped as soon as what is left can be sent within the downtime limit; there is no other end.",
        QEMU_MIGRATION.at("Migration parameters"),
    ),
    StopRules(
        "xen",
        "Xen's tools",
        "The guest is stopped after so many rounds, after so many times its memory, when a round was small, or when a "
        "round has sent more than the one before.",
        XEN_SAVE.at("The loop of pre-copy"),
    ),
    StopRules(
        "clark",
        "Clark et al. 2005",
        "Each round is sent somewhat faster than pages were dirtied in the last; the guest is stopped when that would "
        "be more than the link may carry, or when little is left.",
        CLARK05.at("Dynamic Rate-Limiting"),
    ),
)


@dataclass(frozen=True, slots=True)
class MigrationNumber:
    """One number that migrations go by."""

    id: str
    value: int
    unit: str
    title: str
    source: Source


_SCALE = "a link in proportion to guests of a few hundred KiB; a million cycles of the host make a second"

MIGRATION_NUMBERS: Mapping[str, MigrationNumber] = by(
    "id",
    MigrationNumber(
        "downtime-limit", 300_000, "cycles", "QEMU: longest that the guest may stand still",
        QEMU_MIGRATION.at("downtime-limit", note="300 ms, told in cycles of which a million make up a second"),
    ),
    MigrationNumber(
        "throttle-trigger", 50, "%", "Auto-converge: dirtied against sent, above which a round counts as too dirty",
        QEMU_MIGRATION.at("throttle-trigger-threshold"),
    ),
    MigrationNumber(
        "throttle-patience", 2, "rounds", "Auto-converge: rounds too dirty until the guest is slowed down more",
        QEMU_MIGRATION.at("Detection of a high dirty rate"),
    ),
    MigrationNumber(
        "throttle-initial", 20, "%", "Auto-converge: CPU time that is first taken from the guest",
        QEMU_MIGRATION.at("cpu-throttle-initial"),
    ),
    MigrationNumber(
        "throttle-increment", 10, "%", "Auto-converge: what is taken more each time",
        QEMU_MIGRATION.at("cpu-throttle-increment"),
    ),
    MigrationNumber(
        "throttle-most", 99, "%", "Auto-converge: the most that is taken", QEMU_MIGRATION.at("max-cpu-throttle")
    ),
    MigrationNumber("xen-rounds", 29, "rounds", "Xen: rounds before the last one", XEN_SAVE.at("DEF_MAX_ITERS")),
    MigrationNumber(
        "xen-factor", 3, "times", "Xen: the most that is sent, in guest's memories", XEN_SAVE.at("DEF_MAX_FACTOR")
    ),
    MigrationNumber(
        "xen-few-pages", 50, "pages", "Xen: a round of fewer is the last but one", XEN_SAVE.at("The loop of pre-copy")
    ),
    MigrationNumber(
        "clark-most", 500, "Mbit/s", "Clark et al.: the rate that no round exceeds",
        CLARK05.at("Dynamic Rate-Limiting"),
    ),
    MigrationNumber(
        "clark-least", 100, "Mbit/s", "Clark et al.: the rate of the first round", CLARK05.at("Evaluation")
    ),
    MigrationNumber(
        "clark-step", 50, "Mbit/s", "Clark et al.: by so much a round is faster than the last one was dirtied",
        CLARK05.at("Dynamic Rate-Limiting"),
    ),
    MigrationNumber(
        "clark-little", 262_144, "bytes", "Clark et al.: what may be left for the last round",
        CLARK05.at("Dynamic Rate-Limiting"),
    ),
    MigrationNumber("bandwidth", 10, "Mbit/s", "Bandwidth of the link", Source.ringviz(_SCALE)),
    MigrationNumber(
        "patience", 30, "rounds", "Rounds after which a migration that does not converge is given up",
        Source.ringviz("QEMU goes on until somebody gives up; here nobody waits, and Xen's tools stop at as many"),
    ),
    MigrationNumber(
        "batch", 16, "pages", "Pages that are sent before the guest goes on for as long as that took",
        Source.ringviz("a guest that runs meanwhile is seen to dirty pages that wait to be sent"),
    ),
)  # fmt: skip


def number(name: str) -> int:
    """Give the value of a row."""
    return MIGRATION_NUMBERS[name].value


DEFAULT_MBIT = number("bandwidth")
DEFAULT_ROUNDS = number("patience")
