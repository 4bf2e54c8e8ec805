"""Guests that are hypervisors: VMRUN and #VMEXIT by the manual, and the same under AMD-V as on bare metal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ringviz.facts.svm import EXIT_INVALID, SVM_EXITS
from ringviz.guest.scenario import find_scenario
from ringviz.machine.svm.checks import CHECKS
from ringviz.vmm.events import Kind
from ringviz.vmm.registry import available, choose
from tests.vmm.hypervisor_guest import L2_CODE, L2_HANDLER, VMCB, field, hypervisor, l2_state
from tests.vmm.lockstep import Run, assert_lockstep

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
