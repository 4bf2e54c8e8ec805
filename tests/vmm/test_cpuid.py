"""Under every technique a guest finds the CPU that was chosen, and the same one as on bare metal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.facts.costs import CPU_PROFILES
from ringviz.machine.cpuid import profile_cpuid
from ringviz.vmm.registry import available, choose
from tests.vmm.guests import SCRATCH, kernel_scenario
from tests.vmm.lockstep import Run, assert_lockstep

ASKED = (
    *((leaf, 0) for leaf in range(0x18)),
    *((4, subleaf) for subleaf in range(1, 5)),
    *((leaf, 0) for leaf in (0x4000_0000, 0x4000_0001, 0x7FFF_FFFF)),
    *((leaf, 0) for leaf in range(0x8000_0000, 0x8000_001F)),
)
FAITHFUL = tuple(
    technique for technique in available() if technique in ("native", "emulation", "classic", "binary-translation")
)


def body() -> bytes:
    """Ask for every leaf and put the answers in a row at ESI."""
    code = b""
    for leaf, subleaf in ASKED:
        code += b"\xb8" + leaf.to_bytes(4, "little") + b"\xb9" + subleaf.to_bytes(4, "little")  # mov eax; mov ecx
        code += bytes.fromhex("0fa2 8906 895e04 894e08 89560c 83c610")  # cpuid; mov [esi..], eax ebx ecx edx
    return code


def answers(run: Run) -> list[tuple[int, int, int, int]]:
    memory = run.technique.guest_ram()[SCRATCH : SCRATCH + 16 * len(ASKED)]
    words = [int.from_bytes(memory[at : at + 4], "little") for at in range(0, len(memory), 4)]
    return [(words[at], words[at + 1], words[at + 2], words[at + 3]) for at in range(0, len(words), 4)]


@pytest.mark.parametrize("cpu", CPU_PROFILES)
@pytest.mark.parametrize("technique", FAITHFUL)
def test_every_leaf_is_that_of_the_cpu_that_was_chosen(technique: str, cpu: str, tmp_path: Path) -> None:
    run = Run(kernel_scenario(tmp_path / "guest", body()), technique, cpu)
    run.finish()
    assert run.ended is not None
    cpuid = profile_cpuid(CPU_PROFILES[cpu])
    assert answers(run) == [cpuid(leaf, subleaf) for leaf, subleaf in ASKED]


@pytest.mark.parametrize("technique", [name for name in available() if name in ("trap-emulate", "vt-x", "amd-v")])
def test_the_others_find_their_own_default_cpu(technique: str, tmp_path: Path) -> None:
    run = Run(kernel_scenario(tmp_path / "guest", body()), technique)
    run.finish()
    cpuid = profile_cpuid(choose(technique).cpu)
    assert answers(run) == [cpuid(leaf, subleaf) for leaf, subleaf in ASKED]


@pytest.mark.parametrize("technique", [name for name in available() if name in ("classic", "vt-x", "amd-v")])
@pytest.mark.parametrize("ring", [0, 3])
def test_cpuid_is_bare_metals_after_every_instruction(technique: str, ring: int, tmp_path: Path) -> None:
    assert assert_lockstep(kernel_scenario(tmp_path / "guest", body(), ring=ring), technique).ended is not None


def test_two_generations_are_two_cpus(tmp_path: Path) -> None:
    scenario = kernel_scenario(tmp_path / "guest", body())
    found = []
    for cpu in ("core2", "skylake", "barcelona"):
        run = Run(scenario, "native", cpu)
        run.finish()
        found.append(answers(run))
    assert found[0] != found[1] != found[2] != found[0]
