"""Three runs that nobody made, with counts from which the verdict can be worked out in the head."""

from dataclasses import replace

from ringviz.engine.bill import Bill
from ringviz.engine.contest import Contender, Contest, Counted
from ringviz.engine.occasions import OCCASIONS, Share
from ringviz.facts.costs import CPU_PROFILES, Cost, CpuProfile
from ringviz.facts.instruction_weights import HUNDREDTHS
from ringviz.facts.source import Source

TRACED = 400
PRICES = {"exit": 1009, "translated-callout": 1254, "nested-walk": 0}
"""Whatever is published, these stay."""


def fake_contest(scenario: str, cpu: str) -> Contest:
    """Shadow paging has 1,000 exits, 400 of them for page-table writes; nested 500; translation 900 callouts."""
    software = _counted(Contender("binary-translation", "shadow"), {"translated-callout": 900}, {})
    shadow = _counted(Contender("vt-x", "shadow"), {"exit": 1000}, {"exit": TRACED})
    nested = _counted(Contender("vt-x", "nested"), {"exit": 500, "nested-walk": 100}, {})
    native = _counted(Contender("native", "none"), {}, {})
    return Contest(
        scenario, _priced(CPU_PROFILES[cpu]), native, (software, nested, shadow), (("amd-v, nested", "no AMD-V"),)
    )


def _counted(contender: Contender, causes: dict[str, int], writes: dict[str, int]) -> Counted:
    shares = {id_: Share(0, {}, {}) for id_ in OCCASIONS}
    shares["page-table-writes"] = Share(sum(writes.values()), writes, {})
    return Counted(
        contender, ("exit", 1), Bill(1_000_000, 0, causes, {}, 1_000_000 * HUNDREDTHS), shares, has_walks=True
    )


def _priced(cpu: CpuProfile) -> CpuProfile:
    made_up = Source.ringviz("made up for a test")
    own = {cause: Cost(cause, cycles, cycles, cycles, made_up) for cause, cycles in PRICES.items()}
    return replace(cpu, costs={**cpu.costs, **own})
