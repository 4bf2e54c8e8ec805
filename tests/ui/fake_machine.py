"""A machine to choose: some CPUs, two kinds of paging, some controls, and rules that refuse."""

from collections.abc import Sequence

from ringviz.errors import UnsupportedError
from ringviz.facts.techniques import TECHNIQUES
from ringviz.ui.laboratory import ControlChoice, CpuChoice, MachineChoice

_CPUS = (
    ("p4-672", "Intel Pentium 4 672", 2005, ("vt-x",)),
    ("nehalem", "Intel Core i7 (Nehalem)", 2008, ("vt-x", "nested")),
    ("barcelona", "AMD Opteron (Barcelona)", 2007, ("amd-v", "nested")),
)
# id, title, group, on by itself, why it cannot be changed
CONTROLS = (
    ("hlt-exiting", "HLT exits", "primary processor-based controls", True, ""),
    ("rdtsc-exiting", "RDTSC exits", "primary processor-based controls", False, ""),
    ("invlpg-exiting", "INVLPG exits", "primary processor-based controls", False, "EPT makes [it] pointless"),
    *((f"exception-{n}", f"Vector {n} exits", "exception bitmap", False, "") for n in range(32)),
)


def fake_machine(technique: str, mmu: str, cpu: str, controls: Sequence[str]) -> MachineChoice:
    row = TECHNIQUES[technique]
    if mmu not in row.mmus:
        raise UnsupportedError(f"{technique} has no {mmu} paging")
    refusal = _refusal(technique, mmu, cpu)
    if refusal:
        raise UnsupportedError(refusal)
    known = CONTROLS if row.needs_feature else ()
    on = {word[1:]: word[0] == "+" for word in controls}
    for id_, _, _, own, rule in known:
        if rule and on.get(id_, own) != own:
            raise UnsupportedError(f"{id_}: {rule}")
    if on.get("rdtsc-exiting") and not on.get("hlt-exiting", True):
        raise UnsupportedError("rdtsc-exiting needs hlt-exiting: a made-up rule")
    return MachineChoice(
        technique,
        row.title,
        cpu,
        mmu,
        tuple(CpuChoice(id_, title, year, _refusal(technique, mmu, id_)) for id_, title, year, _ in _CPUS),
        row.mmus,
        tuple(ControlChoice(id_, title, group, on.get(id_, own), own, rule) for id_, title, group, own, rule in known),
    )


def _refusal(technique: str, mmu: str, cpu: str) -> str:
    features = next(features for id_, _, _, features in _CPUS if id_ == cpu)
    needed = TECHNIQUES[technique].needs_feature
    if needed and needed not in features:
        return f"{technique} needs a CPU with it; {cpu} has none"
    if mmu == "nested" and "nested" not in features:
        return f"--mmu nested needs nested paging; {cpu} has none"
    return ""
