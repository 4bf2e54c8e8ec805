"""Why the VMM was entered, and which ports were nobody's."""

from __future__ import annotations

import pytest

from ringviz.engine.stat import Stat, stat
from ringviz.guest.scenario import find_scenario


def run(scenario: str, technique: str, mmu: str | None = None) -> Stat:
    return stat(find_scenario(scenario), technique, mmu)


@pytest.mark.parametrize("technique", ["emulation", "classic", "binary-translation", "paravirt", "vt-x", "amd-v"])
def test_every_entry_of_the_vmm_has_a_reason_and_the_most_frequent_comes_first(technique: str) -> None:
    result = run("syscall-roundtrip", technique)
    assert sum(reason.count for reason in result.reasons) == result.vmm_calls
    counts = [reason.count for reason in result.reasons]
    assert counts == sorted(counts, reverse=True)
    assert len({(reason.kind, reason.cause, reason.form) for reason in result.reasons}) == len(counts)


def test_bare_metal_has_no_vmm_to_enter() -> None:
    assert run("syscall-roundtrip", "native").reasons == ()


def test_a_trap_is_told_by_its_instruction_and_a_page_fault_without_its_address() -> None:
    reasons = run("paging-tour", "classic").reasons
    assert {reason.form for reason in reasons if reason.cause == "#GP(0)"} >= {"out", "mov-to-cr"}
    assert [reason.form for reason in reasons if reason.cause.startswith("#PF")] == [""] * 3
    assert {reason.cause for reason in reasons if reason.cause.startswith("#PF")} == {
        "#PF", "#PF (hidden)", "#PF (trace)",
    }  # fmt: skip


@pytest.mark.parametrize("technique", ["native", "emulation", "classic", "trap-emulate", "vt-x", "amd-v"])
def test_a_port_that_no_device_has_is_told_once_with_the_instruction_that_looked(technique: str) -> None:
    strangers = run("escape-attempts", technique).strangers
    assert len({stranger.port for stranger in strangers}) == len(strangers) > 0
    at_home = run("escape-attempts", "native").strangers
    assert {(s.port, s.address, s.instruction) for s in strangers} == {
        (s.port, s.address, s.instruction) for s in at_home
    }


def test_a_guest_that_uses_what_there_is_finds_no_strangers() -> None:
    assert run("hello-serial", "classic").strangers == ()
