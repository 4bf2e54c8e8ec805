"""AMD's CPUs: the first with AMD-V, and the first with nested paging. The evidence about them is thin."""

from __future__ import annotations

from collections.abc import Mapping

from ringviz.facts.cost_rows import Lender, complete, interpreted, nested_walk, unknown, walk_reference
from ringviz.facts.cpu_profile import Cost, CpuProfile
from ringviz.facts.figures import FIGURES
from ringviz.facts.intel_cpus import P4_LENDS
from ringviz.facts.source import Status, by
from ringviz.facts.sources import AMD06, TIMELINE

_THIN = "thin evidence: one statement of the maker before the CPU was sold; the middle of the range is charged"
_SWITCH = FIGURES["amd-world-switch"]


def _k8_exit() -> Cost:
    """Charge the middle of AMD's own range for a world switch."""
    return Cost(
        "exit",
        (_SWITCH.low + _SWITCH.high) // 2,
        _SWITCH.low,
        _SWITCH.high,
        AMD06.at("", Status.COMPUTED, f"middle of about {_SWITCH.low} to {_SWITCH.high} cycles"),
        "thin evidence: one statement of the maker; the middle of its range is charged",
    )


def _barcelona_exit() -> Cost:
    """Shorten AMD's range for a world switch by what AMD says Barcelona saves, and charge the middle."""
    saving = FIGURES["barcelona-saving"].value
    low, high = (bound * (100 - saving) // 100 for bound in (_SWITCH.low, _SWITCH.high))
    return Cost(
        "exit",
        (low + high) // 2,
        low,
        high,
        AMD06.at("", Status.COMPUTED, f"about {_SWITCH.low} to {_SWITCH.high} cycles, less about {saving} %"),
        _THIN,
    )


_WALK = walk_reference("athlon-64-l2", is_other_cpu=True)
NO_VMCS = (
    unknown("vmread", "AMD-V has a VMCB in ordinary memory, and no such instruction"),
    unknown("vmwrite", "AMD-V has a VMCB in ordinary memory, and no such instruction"),
    unknown("vm-entry", "only the world switch as a whole was stated: it is kept whole"),
    unknown("vm-exit", "only the world switch as a whole was stated: it is kept whole"),
)
"""What no CPU with AMD-V has a price for."""
_AMD = (interpreted("bochs-athlon-xp", is_other_cpu=True), *NO_VMCS, _WALK)

K8_LENDS = Lender("K8 revision F", by("cause", *_AMD, _k8_exit()))

_BARCELONA_CLOCK = FIGURES["barcelona-clock"]

AMD_CPUS: Mapping[str, CpuProfile] = by(
    "id",
    CpuProfile(
        id="k8-revf",
        title="AMD Athlon 64 X2 (K8 revision F)",
        vendor="amd",
        year=2006,
        features=frozenset({"amd-v"}),
        clock_hz=None,
        clock_source=None,
        costs=complete((*_AMD, _k8_exit()), P4_LENDS),
        source=TIMELINE.at("AMD-V, May 2006: Orleans and Windsor"),
        note="The first CPU with AMD-V. Thin evidence: only its world switch has a figure, and only about",
    ),
    CpuProfile(
        id="barcelona",
        title="AMD Opteron (Barcelona)",
        vendor="amd",
        year=2007,
        features=frozenset({"amd-v", "npt"}),
        clock_hz=_BARCELONA_CLOCK.value,
        clock_source=_BARCELONA_CLOCK.source,
        costs=complete(
            (
                *_AMD,
                _barcelona_exit(),
                nested_walk(_WALK),
            ),
            P4_LENDS,
        ),
        source=TIMELINE.at("AMD-V with nested paging, September 2007"),
        note="The first CPU with nested paging. Thin evidence: only its world switch has a figure, and only about",
    ),
)
