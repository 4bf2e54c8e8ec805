"""Guests that are hypervisors: VMRUN and #VMEXIT by the manual, and the same under AMD-V as on bare metal."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.engine.scorecard import scorecard
from ringviz.engine.stat import stat
from ringviz.facts.segments import SegmentCache
from ringviz.facts.svm import EXIT_INVALID, SVM_EXITS
from ringviz.guest.scenario import find_scenario
from ringviz.machine.state import CS
from ringviz.machine.svm.checks import CHECKS
from ringviz.vmm.events import Kind
from ringviz.vmm.migration.machine_state import cannot_move
from ringviz.vmm.registry import available, choose, why_no_svm
from tests.vmm.hypervisor_guest import L2_CODE, L2_HANDLER, VMCB, field, hypervisor, l2_state, paged
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.random_guests import guest_of_seed
from tests.vmm.random_hypervisor import around, random_intercepts

CODES = {row.name: row.code for row in SVM_EXITS.values()}
BREAKS: dict[str, dict[str, int]] = {
    "svme": {"EFER": 0},
    "cr0-nw": {"CR0": 0x2000_0011},
    "cr0-high": {"CR0": 1 << 32 | 0x11},
    "cr3": {"CR3": 1 << 32},
    "cr4": {"CR4": 1 << 31},
    "dr6": {"DR6": 1 << 32},
    "dr7": {"DR7": 1 << 32},
    "efer": {"EFER": 0x1100},
    "vmrun": {"INTERCEPT_MISC2": 2},
    "io-map": {"IOPM_BASE_PA": (1 << 36) - 0x2000},
    "msr-map": {"MSRPM_BASE_PA": (1 << 36) - 0x1000},
    "event": {"EVENTINJ": 1 << 31 | 3 << 8 | 32},
    "asid": {"GUEST_ASID": 0},
    "np": {"NP_CONTROL": 1},
}
"""What breaks each rule, and no other."""

INTERCEPTED: dict[str, tuple[str, str]] = {
    "0fa2": ("CPUID", "CPUID"),
    "f4": ("HLT", "HLT"),
    "0f08": ("INVD", "INVD"),
    "0f09": ("WBINVD", "WBINVD"),
    "0f0138": ("INVLPG", "INVLPG"),
    "0f31": ("RDTSC", "RDTSC"),
    "0f33": ("RDPMC", "RDPMC"),
    "9c": ("PUSHF", "PUSHF"),
    "9d": ("POPF", "POPF"),
    "cf": ("IRET", "IRET"),
    "cd20": ("INTN", "SWINT"),
    "f1": ("ICEBP", "ICEBP"),
    "0f010c24": ("IDTR_READ", "IDTR_READ"),
    "0f010424": ("GDTR_READ", "GDTR_READ"),
    "0f00c0": ("LDTR_READ", "LDTR_READ"),
    "0f00c8": ("TR_READ", "TR_READ"),
    "0f011c24": ("IDTR_WRITE", "IDTR_WRITE"),
    "0f011424": ("GDTR_WRITE", "GDTR_WRITE"),
    "0f00d0": ("LDTR_WRITE", "LDTR_WRITE"),
    "0f00d8": ("TR_WRITE", "TR_WRITE"),
    "0f01d8": ("VMRUN", "VMRUN"),
    "0f01da": ("VMLOAD", "VMLOAD"),
    "0f01db": ("VMSAVE", "VMSAVE"),
    "0f01dc": ("STGI", "STGI"),
    "0f01dd": ("CLGI", "CLGI"),
    "0f01df": ("INVLPGA", "INVLPGA"),
    "0f20c0": ("CR0_READ", "CR0_READ"),
    "0f22c0": ("CR0_WRITE", "CR0_WRITE"),
    "0f01e0": ("CR0_READ", "CR0_READ"),
    "0f01f0": ("CR0_WRITE", "CR0_WRITE"),
    "0f06": ("CR0_WRITE", "CR0_WRITE"),
    "0f22d8": ("CR3_WRITE", "CR3_WRITE"),
    "0f20e0": ("CR4_READ", "CR4_READ"),
    "0f21f8": ("DR7_READ", "DR7_READ"),
    "0f23f8": ("DR7_WRITE", "DR7_WRITE"),
    "e480": ("IOIO_PROT", "IOIO"),
    "ee": ("IOIO_PROT", "IOIO"),
    "0f32": ("MSR_PROT", "MSR"),
    "0f30": ("MSR_PROT", "MSR"),
    "0f0b": ("EXCP6", "EXCP6"),
    "f7f2": ("EXCP0", "EXCP0"),
    "cc": ("EXCP3", "EXCP3"),
}
"""Instruction, intercept, name of the exit without `VMEXIT_`. EDX is 0, and ECX the number of VM_HSAVE_PA."""


def test_every_rule_of_vmrun_has_something_that_breaks_it() -> None:
    assert set(BREAKS) == set(CHECKS)


@pytest.mark.parametrize("rule", BREAKS)
def test_vmrun_refuses_what_breaks_a_rule_and_the_hypervisor_goes_on(rule: str, tmp_path: Path) -> None:
    run = Run(hypervisor(tmp_path, b"", fields=BREAKS[rule]), "native")
    run.finish()
    refused = next(event for event in run.events if event.instruction.startswith("vmrun"))
    assert (refused.cause, refused.rule) == ("VMEXIT_INVALID", CHECKS[rule].title)
    assert field(run.page(VMCB >> 12), "EXITCODE") == EXIT_INVALID
    svm = run.technique.guest_state().svm
    assert svm is not None
    assert (svm.gif, svm.guest) == (False, None)
    assert run.ended is not None
    assert run.ended.how == "halted"


@pytest.mark.parametrize("code", INTERCEPTED)
def test_an_intercepted_instruction_exits_before_it_has_any_effect(code: str, tmp_path: Path) -> None:
    intercept, exit_name = INTERCEPTED[code]
    run = Run(hypervisor(tmp_path, bytes.fromhex(code), [intercept], maps=b"\xff"), "native")
    run.finish()
    vmcb = run.page(VMCB >> 12)
    assert field(vmcb, "EXITCODE") == CODES[f"VMEXIT_{exit_name}"]
    assert field(vmcb, "RIP") == L2_CODE


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
@pytest.mark.parametrize("code", INTERCEPTED)
def test_amd_v_serves_a_hypervisor_as_the_cpu_does(code: str, mmu: str, tmp_path: Path) -> None:
    """With the intercept and without: then the instruction is L2's own affair, or L0's."""
    intercept, _ = INTERCEPTED[code]
    for number, intercepts in enumerate(([intercept], [])):
        guest = hypervisor(tmp_path / str(number), bytes.fromhex(code), intercepts, maps=b"\xff")
        assert_lockstep(guest, "amd-v", mmu=mmu)


@pytest.mark.parametrize("technique", ["native", "amd-v"])
@pytest.mark.parametrize(
    ("event", "where"),
    [
        (1 << 31 | 3 << 8 | 6, L2_HANDLER),
        (1 << 31 | 3 << 8 | 1 << 11 | 13 | 0x1234 << 32, L2_HANDLER),
        (1 << 31 | 0x20, L2_HANDLER),
        (1 << 31 | 4 << 8 | 0x21, L2_HANDLER),
        (1 << 31 | 2 << 8 | 2, L2_HANDLER),
    ],
)
def test_an_injected_event_goes_to_the_handler_of_l2(technique: str, event: int, where: int, tmp_path: Path) -> None:
    run = Run(hypervisor(tmp_path, b"\x90", fields={"EVENTINJ": event}), technique, cpu="barcelona")
    run.finish()
    vmcb = run.page(VMCB >> 12)
    assert (field(vmcb, "RIP"), field(vmcb, "EVENTINJ")) == (where, 0)
    error = field(vmcb, "RSP")
    pushed = int.from_bytes(run.page(error >> 12)[error & 0xFFF :][:4], "little")
    assert pushed == (0x1234 if event >> 11 & 1 else L2_CODE)


@pytest.mark.parametrize("technique", ["native", "amd-v"])
def test_a_fault_on_the_way_to_a_handler_exits_and_tells_what_was_being_delivered(
    technique: str, tmp_path: Path
) -> None:
    state = l2_state()
    state.idtr = state.idtr._replace(limit=0)
    event = 1 << 31 | 3 << 8 | 6
    run = Run(hypervisor(tmp_path, b"", ["EXCP13"], state=state, fields={"EVENTINJ": event}), technique, "barcelona")
    run.finish()
    vmcb = run.page(VMCB >> 12)
    assert (field(vmcb, "EXITCODE"), field(vmcb, "EXITINTINFO")) == (CODES["VMEXIT_EXCP13"], event)
    assert field(vmcb, "EXITINFO1") == 6 << 3 | 2 | 1


@pytest.mark.parametrize("technique", ["native", "amd-v"])
def test_a_triple_fault_of_l2_is_for_l1_where_it_asks_for_that(technique: str, tmp_path: Path) -> None:
    state = l2_state()
    state.idtr = state.idtr._replace(limit=0)
    run = Run(hypervisor(tmp_path, b"\x0f\x0b", ["SHUTDOWN"], state=state), technique, "barcelona")
    run.finish()
    assert field(run.page(VMCB >> 12), "EXITCODE") == CODES["VMEXIT_SHUTDOWN"]
    assert run.ended is not None
    assert run.ended.how == "halted"


def test_without_efer_svme_the_instructions_of_a_hypervisor_do_not_exist() -> None:
    """In the scenarios that do not ask for AMD-V: VMRUN raises #UD, and CPUID does not offer it."""
    native = Run(find_scenario("hello-serial"), "native", "barcelona")
    assert native.technique.guest_state().svm is None
    assert not native.technique.machine.cpuid(0x8000_0001, 0)[2] >> 2 & 1
    offered = Run(find_scenario("nested-svm"), "native").technique.machine.cpuid
    assert offered(0x8000_0001, 0)[2] >> 2 & 1
    assert offered(0x8000_000A, 0) == (1, 64, 0, 4)


V_IRQ, V_IGN_TPR, V_INTR_MASKING = 1 << 8, 1 << 20, 1 << 24
PRIORITY_1, TASK_PRIORITY_2 = 1 << 16, 2
SHADOW = {"INTERRUPT_SHADOW": 1}


@pytest.mark.parametrize(
    ("intercepts", "control", "more", "exit_name", "place"),
    [
        ([], V_IRQ | V_IGN_TPR, {}, "VMMCALL", L2_HANDLER),
        ([], V_IRQ | V_IGN_TPR | V_INTR_MASKING, {}, "VMMCALL", L2_HANDLER),
        ([], V_IRQ | PRIORITY_1 | TASK_PRIORITY_2, {}, "VMMCALL", L2_CODE + 2),
        (["VINTR"], V_IRQ | V_IGN_TPR, {}, "VINTR", L2_CODE),
        (["VINTR"], V_IRQ | V_IGN_TPR, SHADOW, "VINTR", L2_CODE + 1),
    ],
)
def test_a_virtual_interrupt_comes_when_l2_lets_it_in(
    intercepts: list[str], control: int, more: dict[str, int], exit_name: str, place: int, tmp_path: Path
) -> None:
    state = l2_state()
    state.eflags |= 0x200
    fields = {"VINTR_CONTROL": control, "V_INTR_VECTOR": 0x31, **more}
    guest = hypervisor(tmp_path, b"\x90\x90", intercepts, state=state, fields=fields)
    run = assert_lockstep(guest, "amd-v")
    vmcb = run.page(VMCB >> 12)
    assert (field(vmcb, "EXITCODE"), field(vmcb, "RIP")) == (CODES[f"VMEXIT_{exit_name}"], place)
    is_taken = exit_name == "VMMCALL" and place == L2_HANDLER
    assert bool(field(vmcb, "VINTR_CONTROL") & V_IRQ) is not is_taken


def test_a_virtual_interrupt_waits_for_sti_and_one_instruction_more(tmp_path: Path) -> None:
    fields = {"VINTR_CONTROL": V_IRQ | V_IGN_TPR, "V_INTR_VECTOR": 0x31}
    run = assert_lockstep(hypervisor(tmp_path, bytes.fromhex("90fb4040"), ["VINTR"], fields=fields), "amd-v")
    vmcb = run.page(VMCB >> 12)
    assert (field(vmcb, "EXITCODE"), field(vmcb, "RIP")) == (CODES["VMEXIT_VINTR"], L2_CODE + 3)


TIMER_AND_WAIT = bytes.fromhex(
    "b011e620 b020e621 b004e621 b001e621 b0fee621"  # the interrupt controller: vectors from 20h, only the timer
    "b030e643 b000e640 b001e640"  # the timer: once, after 256 ticks
    "fb ebfe"  # sti; wait for ever
)
WAITS_AT = L2_CODE + len(TIMER_AND_WAIT) - 2


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
@pytest.mark.parametrize(
    ("intercepts", "exit_name", "place"), [(["INTR"], "INTR", WAITS_AT), ([], "VMMCALL", L2_HANDLER)]
)
def test_a_real_interrupt_exits_or_is_for_l2(
    intercepts: list[str], exit_name: str, place: int, mmu: str, tmp_path: Path
) -> None:
    run = assert_lockstep(hypervisor(tmp_path, TIMER_AND_WAIT, intercepts), "amd-v", mmu=mmu)
    vmcb = run.page(VMCB >> 12)
    assert (field(vmcb, "EXITCODE"), field(vmcb, "RIP")) == (CODES[f"VMEXIT_{exit_name}"], place)


@pytest.mark.parametrize("seed", [23, 30, 36])
@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_a_random_guest_of_a_hypervisor_is_the_same_at_every_instruction(seed: int, mmu: str, tmp_path: Path) -> None:
    guest = around(guest_of_seed(seed), random_intercepts(seed), tmp_path, limit=3_000)
    run = assert_lockstep(guest, "amd-v", mmu=mmu)
    assert any(event.action.startswith("reflected") for event in run.events)


READ_BEYOND = bytes.fromhex("a100008000")  # mov eax, [800000h]


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
@pytest.mark.parametrize("intercepts", [["EXCP14"], []])
def test_page_faults_of_l2_are_by_its_own_tables(intercepts: list[str], mmu: str, tmp_path: Path) -> None:
    state = paged(l2_state())
    run = assert_lockstep(hypervisor(tmp_path, b"\x40" + READ_BEYOND, intercepts, state=state), "amd-v", mmu=mmu)
    vmcb = run.page(VMCB >> 12)
    if intercepts:
        found = [field(vmcb, name) for name in ("EXITCODE", "EXITINFO1", "EXITINFO2", "CR2")]
        assert found == [CODES["VMEXIT_EXCP14"], 0, 0x80_0000, 0]
    else:
        assert [field(vmcb, name) for name in ("RIP", "CR2", "CR3")] == [L2_HANDLER, 0x80_0000, state.cr3]


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_l2_may_be_in_real_mode_or_in_ring_3(mmu: str, tmp_path: Path) -> None:
    outer = l2_state()
    outer.cpl = 3
    for index, cache in enumerate(outer.segments):
        outer.segments[index] = _in_ring_3(cache)
    run = assert_lockstep(hypervisor(tmp_path / "outer", b"\xfa", ["EXCP13"], state=outer), "amd-v", mmu=mmu)
    vmcb = run.page(VMCB >> 12)
    assert [field(vmcb, name) for name in ("EXITCODE", "CPL", "RIP")] == [CODES["VMEXIT_EXCP13"], 3, L2_CODE]

    real = l2_state()
    real.cr0 &= ~1
    real.eip = L2_CODE & 0xFFFF
    real.segments = [SegmentCache(0x10_0000 >> 4 & 0xFFFF, 0x10_0000, 0xFFFF, 0x93)] * 6
    real.segments[CS] = SegmentCache(0xF000, 0x10_0000, 0xFFFF, 0x9B)
    run = assert_lockstep(hypervisor(tmp_path / "real", b"\x40\xf4", ["HLT"], state=real), "amd-v", mmu=mmu)
    vmcb = run.page(VMCB >> 12)
    found = [field(vmcb, name) for name in ("EXITCODE", "CPL", "RIP", "CS.base")]
    assert found == [CODES["VMEXIT_HLT"], 0, (L2_CODE & 0xFFFF) + 1, 0x10_0000]


def _in_ring_3(cache: SegmentCache) -> SegmentCache:
    """The same segment for ring 3."""
    return replace(cache, selector=cache.selector | 3, access=cache.access | 0x60)


# ---- the scenario ----------------------------------------------------------------------------------------------------


def test_one_exit_of_l2_becomes_six_of_l0() -> None:
    """Of the Turtles paper: an exit handler of L1 cannot move without L0."""
    run = Run(find_scenario("nested-svm"), "amd-v")
    run.finish()
    exits = [event for event in run.events if event.kind is Kind.EXIT]
    first = next(number for number, event in enumerate(exits) if event.cause == "VMEXIT_CPUID" and "L1" in event.action)
    assert [event.cause.removeprefix("VMEXIT_") for event in exits[first : first + 7]] == [
        "CPUID", "VMSAVE", "STGI", "CLGI", "VMLOAD", "VMRUN", "IOIO",
    ]  # fmt: skip
    reflected = Counter(event.cause for event in exits if event.action.startswith("reflected"))
    assert reflected.total() == 10


def test_a_guest_that_is_lent_amd_v_stays_where_it_is() -> None:
    assert "AMD-V" in cannot_move(Run(find_scenario("nested-svm"), "amd-v").technique)


@pytest.mark.parametrize(
    "technique",
    [name for name in available() if name not in ("native", "emulation", "amd-v", "paravirt")],
)
def test_where_nobody_lends_amd_v_the_hypervisor_says_so_and_ends(technique: str) -> None:
    scenario = find_scenario("nested-svm")
    cpu = choose(technique, scenario=scenario).cpu.id if technique == "vt-x" else "barcelona"
    run = Run(scenario, technique, cpu)
    run.finish()
    assert not run.technique.lends_svm
    assert run.technique.no_svm
    assert "No SVM here" in run.technique.machine.bus.console
    assert run.technique.machine.bus.exit_code == 3


@pytest.mark.parametrize(("technique", "mmu"), [("emulation", None), ("amd-v", "shadow")])
def test_the_scenario_is_bare_metal_at_every_instruction(technique: str, mmu: str | None) -> None:
    """With nested paging `test_lockstep` follows it."""
    run = assert_lockstep(find_scenario("nested-svm"), technique, mmu=mmu, times=5)
    assert run.technique.lends_svm


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_a_run_that_is_left_while_l2_runs_goes_on_as_it_would_have(mmu: str) -> None:
    whole = Run(find_scenario("nested-svm"), "amd-v", mmu=mmu)
    whole.finish()
    run = Run(find_scenario("nested-svm"), "amd-v", mmu=mmu)
    run.reach(next(event.at for event in whole.events if event.cause == "VMEXIT_HLT") - 1)
    assert run.technique.guest_state().is_guest_mode
    technique = run.technique
    saved, memory = technique.save(), technique.machine.ram.read(0, technique.machine.ram.size)
    run.finish()
    technique.machine.ram.write(0, memory)
    technique.restore(saved)
    again = Run(find_scenario("nested-svm"), "amd-v", mmu=mmu)
    again.technique = technique
    again.finish()
    assert technique.guest_state() == whole.technique.guest_state()
    assert technique.machine.bus.console == whole.technique.machine.bus.console


def test_the_scorecard_says_why_a_hypervisor_finds_no_amd_v() -> None:
    run = stat(find_scenario("nested-svm"), "trap-emulate", cpu="barcelona", fidelity=True)
    words = scorecard(run).scores[0].words
    assert f"keeps AMD-V to itself: {why_no_svm('trap-emulate')}." in words


def test_int1_is_intercepted_as_itself_and_not_as_an_exception(tmp_path: Path) -> None:
    run = assert_lockstep(hypervisor(tmp_path, b"\xf1", ["EXCP1"]), "amd-v")
    assert field(run.page(VMCB >> 12), "RIP") == L2_HANDLER
