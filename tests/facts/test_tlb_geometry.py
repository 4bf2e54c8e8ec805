"""Real TLBs, read by hand from the manuals' tables."""

import pytest

from ringviz.facts.cpu_identity import CPU_IDENTITIES
from ringviz.facts.tlb_geometry import real_tlbs, source_of


@pytest.mark.parametrize(
    ("cpu", "lines"),
    [
        ("p4-672", ["code, 4 KiB and larger: 64", "data, 4 KiB and larger: 64"]),
        (
            "core2",
            [
                "code, 4 KiB: 128, 4 ways",
                "data, 4 KiB: 256, 4 ways",
                "data, level 0, 4 KiB: 16, 4 ways",
                "code, 2 MiB (4 MiB: half): 8, 4 ways",
                "data, 4 MiB: 32, 4 ways",
                "data, level 0, 4 MiB: 16, 4 ways",
            ],
        ),
        (
            "nehalem",
            [
                "code, 4 KiB: 64, 4 ways",
                "data, 4 KiB: 64, 4 ways",
                "second level, 4 KiB: 512, 4 ways",
                "code, 2 and 4 MiB: 7, fully associative",
                "data, 2 and 4 MiB: 32, 4 ways",
            ],
        ),
        (
            "barcelona",
            [
                "code, 4 KiB: 32, fully associative",
                "data, 4 KiB: 48, fully associative",
                "second level, code, 4 KiB: 512, 4 ways",
                "second level, data, 4 KiB: 512, 4 ways",
                "code, 2 and 4 MiB: 16, fully associative",
                "data, 2 and 4 MiB: 48, fully associative",
                "second level, data, 2 and 4 MiB: 128, 2 ways",
            ],
        ),
    ],
)
def test_a_cpus_own_tlbs_are_those_that_its_cpuid_tells_of(cpu: str, lines: list[str]) -> None:
    assert [str(tlb) for tlb in real_tlbs(CPU_IDENTITIES[cpu])] == lines


@pytest.mark.parametrize("cpu", CPU_IDENTITIES)
def test_every_cpu_has_a_tlb_for_small_pages_of_code_and_one_of_data(cpu: str) -> None:
    small = {tlb.holds for tlb in real_tlbs(CPU_IDENTITIES[cpu]) if tlb.pages.startswith("4 KiB")}
    assert {"code", "data"} <= small
    assert source_of(CPU_IDENTITIES[cpu]).work.startswith("Intel" if CPU_IDENTITIES[cpu].intel_descriptors else "AMD")
