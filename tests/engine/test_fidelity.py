"""Fidelity: identical is identical, and a lie is found where it was told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.compare import Comparison, compare
from ringviz.engine.fidelity import Divergence, Fidelity, check_fidelity
from ringviz.engine.stat import Stat, stat
from ringviz.guest.scenario import find_scenario
from ringviz.machine.state import EBX
from ringviz.machine.stops import PortIo, Stop
from ringviz.vmm.amdv.technique import AmdV
from ringviz.vmm.outcome import Outcome
from ringviz.vmm.registry import available
from tests.vmm.guests import MEMORY_MIB, kernel_scenario


@pytest.mark.parametrize("technique", ["native", "emulation", "classic", "binary-translation", "amd-v"])
def test_techniques_that_promise_fidelity_keep_it(technique: str) -> None:
    for scenario in ("hello-serial", "rings-tour", "popf-hole"):
        assert check_fidelity(find_scenario(scenario), technique) == Fidelity(True, None, ())


def test_a_run_that_stops_often_is_compared_at_intervals_and_says_from_where_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ringviz.engine.fidelity._CLOSELY_COMPARED", 20)
    verdict = check_fidelity(find_scenario("rings-tour"), "vt-x")
    assert verdict.identical
    assert verdict.closely_until is not None
    assert 20 <= verdict.closely_until < find_scenario("rings-tour").limits.instructions


def test_paging_is_the_same_under_nested_paging() -> None:
    assert check_fidelity(find_scenario("paging-tour"), "amd-v").identical


def test_trap_emulate_diverges_first_at_pushf_and_only_at_silent_instructions() -> None:
    verdict = check_fidelity(find_scenario("popf-hole"), "trap-emulate")
    assert verdict.first_divergence is not None
    assert (verdict.first_divergence.instruction, verdict.first_divergence.retired) == ("pushfd", 1763)
    assert all(divergence.is_silent for divergence in verdict.divergences)
    forms = {divergence.form for divergence in verdict.divergences}
    assert forms == {
        "pushf", "popf", "sidt", "sgdt", "str", "smsw", "mov-from-sreg", "push-sreg", "lar", "lsl", "verr", "verw",
    }  # fmt: skip


def test_a_vmm_that_changes_a_register_at_an_exit_is_caught_at_that_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = AmdV.handle

    def lying(self: AmdV, stop: Stop) -> Outcome:
        outcome = honest(self, stop)
        if isinstance(stop, PortIo) and self.machine.retired == 12:  # after the guest's first OUT
            self.machine.state.gpr[EBX] ^= 1
        return outcome

    monkeypatch.setattr(AmdV, "handle", lying)
    verdict = check_fidelity(find_scenario("hello-serial"), "amd-v")
    assert verdict.first_divergence is not None
    assert (verdict.first_divergence.retired, verdict.first_divergence.what) == (11, "ebx")


def test_a_memory_byte_changed_behind_the_guests_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = AmdV.handle

    def lying(self: AmdV, stop: Stop) -> Outcome:
        if self.machine.retired > 1000:
            self.machine.ram.write(self.guest_base + 0x30_0000, b"\x55")
        return honest(self, stop)

    monkeypatch.setattr(AmdV, "handle", lying)
    first = check_fidelity(find_scenario("hello-serial"), "amd-v").first_divergence
    assert first is not None
    assert (first.what, first.native, first.here) == ("memory at 00300000", 0, 0x55)
    assert first.instruction in ("in al, dx", "out dx, al")


def result(technique: str, fidelity: Fidelity) -> Stat:
    run = stat(find_scenario("hello-serial"), technique)
    return Stat(**{name: getattr(run, name) for name in Stat.__slots__} | {"fidelity": fidelity})


def test_a_comparison_fails_where_a_promise_is_broken() -> None:
    lie = Divergence(1, 0, "pushfd", "answer", "0", "1", "pushf")
    bug = Divergence(2, 0, "mov eax, 1", "eax", 1, 2, None)
    told, broken = Fidelity(False, lie, (lie,)), Fidelity(False, lie, (lie, bug))
    for technique, verdict, failed in (
        ("trap-emulate", told, False),
        ("trap-emulate", broken, True),
        ("amd-v", told, True),
        ("classic", told, True),
        ("native", Fidelity(True, None, ()), False),
    ):
        assert Comparison("x", "p4-672", (result(technique, verdict),), ()).failed is failed


def test_comparing_all_techniques_names_those_that_cannot_take_part() -> None:
    comparison = compare(find_scenario("msr-and-cr"))
    refused = [technique for technique, _ in comparison.refused]
    assert refused == ["paravirt"]
    assert [run.technique for run in comparison.runs] == [one for one in available() if one not in refused]
    assert not comparison.failed
    assert all(run.slowdown is not None for run in comparison.runs)


@pytest.mark.parametrize("technique", ["classic", "amd-v"])
def test_a_string_instruction_that_stops_half_way_is_no_difference(tmp_path: Path, technique: str) -> None:
    across_the_end = (MEMORY_MIB << 20) - 16
    code = b"\xbe" + across_the_end.to_bytes(4, "little") + bytes.fromhex("b908000000 f3a5")  # rep movsd, 8 of them
    assert check_fidelity(kernel_scenario(tmp_path, code), technique).identical


@pytest.mark.parametrize("technique", ["classic", "amd-v"])
def test_a_single_step_is_no_difference(tmp_path: Path, technique: str) -> None:
    code = bytes.fromhex("9c 810c2400010000 9d 90 90")  # pushf; or dword [esp], 100h; popf; nop; nop
    assert check_fidelity(kernel_scenario(tmp_path, code), technique).identical
