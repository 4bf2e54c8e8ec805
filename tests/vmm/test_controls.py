"""The playground: controls change what exits, the guest stays faithful where it can, and the hardware's rules hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.stat import stat
from ringviz.errors import InputError, UnsupportedError
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.controls import Control
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.registry import available, choose, controls_of, understood
from tests.vmm.guests import SCRATCH, bare_scenario, kernel_scenario, slots
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.test_vtx_lockstep import every_kind_of_instruction

# ---- what may be asked for -------------------------------------------------------------------------------------------

REFUSED = {
    "CR3 exits are forced on the first generation": ("vt-x", "p4-672", "-cr3-load-exiting", "no allowed 0-setting"),
    "and on the second": ("vt-x", "core2", "-cr3-store-exiting", "no allowed 0-setting"),
    "no secondary controls": ("vt-x", "p4-672", "+descriptor-table-exiting", "no secondary controls"),
    "no EPT there": ("vt-x", "p4-672", "+enable-ept", "no secondary controls"),
    "EPT is what --mmu says": ("vt-x", "nehalem", "-enable-ept", "--mmu shadow"),
    "no MSR bitmaps": ("vt-x", "p4-672", "+use-msr-bitmaps", "no allowed 1-setting"),
    "no unrestricted guest": ("vt-x", "nehalem", "+unrestricted-guest", "no allowed 1-setting"),
    "PG is fixed": ("vt-x", "p4-672", "-cr0-mask-pg", "VMX operation fixes"),
    "the VMM's page faults": ("vt-x", "p4-672", "-exception-pf", "must reach it"),
    "the VMM's CR3": ("vt-x", "nehalem", "-cr3-load-exiting", "paging off"),
    "no APIC": ("vt-x", "westmere", "+use-tpr-shadow", "no APIC"),
    "a port of no bitmap": ("vt-x", "p4-672", "-msr-174", "Use MSR bitmaps"),
    "VMRUN must be intercepted": ("amd-v", "barcelona", "-vmrun", "VMEXIT_INVALID"),
    "ASID 0": ("amd-v", "barcelona", "-asid", "VMEXIT_INVALID"),
    "the way of memory is chosen by --mmu": ("amd-v", "barcelona", "-npt", "ask for --mmu shadow"),
    "nothing to intercept": ("amd-v", "barcelona", "+vintr", "V_IRQ needs no exit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_hardware_forbids_is_refused_with_the_rule(case: str) -> None:
    technique, cpu, word, rule = REFUSED[case]
    with pytest.raises(UnsupportedError, match=word[1:]) as refused:
        choose(technique, cpu=cpu, controls=[word])
    assert rule in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["+hlt-exting"], 'did you mean "hlt-exiting"'),
        (["hlt-exiting"], r"needs a sign: \+hlt-exiting"),
        (["+hlt-exiting", "-hlt-exiting"], "both ways"),
        (["-pushf"], "unknown"),
    ],
)
def test_a_word_that_is_no_control_is_wrong_input(words: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        choose("vt-x", controls=words)


@pytest.mark.parametrize("technique", [name for name in available() if name not in ("vt-x", "amd-v")])
def test_techniques_without_a_control_structure_have_no_controls(technique: str) -> None:
    assert controls_of(technique) == {}
    with pytest.raises(InputError, match="no controls to change"):
        choose(technique, controls=["+hlt-exiting"])


def test_saying_what_is_so_anyway_is_always_allowed() -> None:
    for technique, cpu in (("vt-x", "p4-672"), ("vt-x", "nehalem"), ("vt-x", "westmere"), ("amd-v", "barcelona")):
        rows: dict[str, Control] = dict(controls_of(technique, cpu=cpu))
        assert choose(technique, cpu=cpu, controls=[f"{'+' if c.is_on else '-'}{c.id}" for c in rows.values()])


def test_exceptions_have_numbers_as_well() -> None:
    assert choose("vt-x", controls=["+exception-6"])
    assert understood("amd-v", ["+exception-6", "+hlt-exiting", "-hlt"]) == ("+exception-6", "-hlt")


# ---- runs that change ------------------------------------------------------------------------------------------------

FAITHFUL = [
    ("vt-x", "p4-672", ("+rdtsc-exiting", "+mov-dr-exiting", "-rdpmc-exiting", "-invlpg-exiting")),
    ("vt-x", "p4-672", ("+exception-ud", "+exception-gp", "+exception-de", "+exception-bp", "+exception-of")),
    ("vt-x", "p4-672", ("+exception-np", "+exception-ss", "+exception-ts", "+exception-db", "+exception-ac")),
    ("vt-x", "p4-672", ("+cr0-mask-ts", "+cr0-mask-mp", "+cr0-mask-em", "+cr4-mask-tsd", "-cr0-mask-cd")),
    ("vt-x", "p4-672", ("-use-io-bitmaps", "+unconditional-io-exiting")),
    ("vt-x", "core2", ("+use-msr-bitmaps", "-msr-174", "-msr-175", "-msr-176")),
    ("vt-x", "nehalem", ("+descriptor-table-exiting", "+wbinvd-exiting", "-enable-vpid", "+invlpg-exiting")),
    ("vt-x", "westmere", ("-unrestricted-guest",)),
    ("vt-x", "westmere", ("+cr3-load-exiting", "+cr3-store-exiting", "+cr0-mask-pg", "+exception-pf")),
    ("amd-v", "barcelona", ("+pushf", "+popf", "+iret", "+intn", "+icebp", "+rdtsc", "+rdpmc", "+wbinvd", "+invlpg")),
    ("amd-v", "barcelona", ("+cr0-read", "+cr0-write", "+cr3-read", "+cr3-write", "+cr4-read", "+cr4-write")),
    ("amd-v", "barcelona", ("+cr0-sel-write", "+dr0-read", "+dr0-write", "+dr6-read", "+dr6-write")),
    ("amd-v", "barcelona", ("+idtr-read", "+gdtr-read", "+ldtr-read", "+tr-read", "+idtr-write", "+gdtr-write")),
    ("amd-v", "barcelona", ("+ldtr-write", "+tr-write", "-invd", "-vmmcall", "-shutdown")),
    ("amd-v", "barcelona", ("+exception-ud", "+exception-gp", "+exception-de", "+exception-bp", "+exception-of")),
    ("amd-v", "barcelona", ("+exception-np", "+exception-ss", "+exception-ts", "+exception-pf", "+exception-db")),
]


@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize(("technique", "cpu", "words"), FAITHFUL)
def test_a_guest_sees_no_difference_whatever_exits(
    tmp_path: Path, technique: str, cpu: str, words: tuple[str, ...], ring: int
) -> None:
    scenario = kernel_scenario(tmp_path / "guest", every_kind_of_instruction(), ring=ring)
    assert_lockstep(scenario, technique, cpu=cpu, controls=words)


@pytest.mark.parametrize(
    ("technique", "cpu", "words"), [FAITHFUL[6], FAITHFUL[7], FAITHFUL[8], FAITHFUL[9], FAITHFUL[10], FAITHFUL[15]]
)
def test_a_guest_with_paging_sees_none_either(technique: str, cpu: str, words: tuple[str, ...]) -> None:
    run = assert_lockstep(find_scenario("paging-tour"), technique, cpu=cpu, controls=words)
    assert run.ended is not None
    assert run.ended.how == "exit"


def exits_of(run: Run) -> list[str]:
    return [event.form or "" for event in run.events if event.kind is Kind.EXIT]


def played(folder: Path, body: bytes, technique: str, *words: str, cpu: str | None = None, ring: int = 0) -> Run:
    run = Run(kernel_scenario(folder / "guest", body, ring=ring), technique, cpu, words)
    run.finish()
    return run


FLIPS = [
    ("vt-x", None, "rdtsc-exiting", "0f31", "rdtsc"),
    ("vt-x", None, "mov-dr-exiting", "0f21c0", "mov-from-dr"),
    ("vt-x", None, "invlpg-exiting", "0f013b", "invlpg"),
    ("vt-x", None, "rdpmc-exiting", "0f33", "rdpmc"),
    ("vt-x", None, "exception-ud", "0f0b", "ud2"),
    ("vt-x", None, "exception-bp", "cc", "int3"),
    ("vt-x", "nehalem", "descriptor-table-exiting", "0f0103", "sgdt"),
    ("vt-x", "nehalem", "wbinvd-exiting", "0f09", "wbinvd"),
    ("vt-x", "westmere", "cr3-store-exiting", "0f20d8", "mov-from-cr"),
    ("amd-v", None, "pushf", "9c", "pushf"),
    ("amd-v", None, "popf", "9c 9d", "popf"),
    ("amd-v", None, "intn", "cd30", "int"),
    ("amd-v", None, "icebp", "f1", "int1"),
    ("amd-v", None, "rdtsc", "0f31", "rdtsc"),
    ("amd-v", None, "cr3-read", "0f20d8", "mov-from-cr"),
    ("amd-v", None, "cr0-write", "0f06", "clts"),
    ("amd-v", None, "cr0-read", "0f01e0", "smsw"),
    ("amd-v", None, "dr0-write", "0f23c0", "mov-to-dr"),
    ("amd-v", None, "idtr-read", "0f010b", "sidt"),
    ("amd-v", None, "exception-ud", "0f0b", "ud2"),
    ("amd-v", None, "invd", "0f08", "invd"),
    ("amd-v", None, "vmmcall", "0f01d9", "vmmcall"),
]


@pytest.mark.parametrize(("technique", "cpu", "name", "code", "form"), FLIPS)
def test_a_control_decides_whether_its_instruction_exits(
    tmp_path: Path, technique: str, cpu: str | None, name: str, code: str, form: str
) -> None:
    body = slots(bytes.fromhex(code))
    on = played(tmp_path / "on", body, technique, f"+{name}", cpu=cpu)
    off = played(tmp_path / "off", body, technique, f"-{name}", cpu=cpu)
    assert form in exits_of(on)
    assert form not in exits_of(off)


def test_iret_exits_under_amd_v_only_and_every_handler_returns_by_it(tmp_path: Path) -> None:
    body = slots(bytes.fromhex("0f0b"), bytes.fromhex("cd30"))
    run = played(tmp_path, body, "amd-v", "+iret")
    assert exits_of(run).count("iret") == 3
    assert "iret" not in controls_of("vt-x")


def test_a_masked_bit_exits_only_where_it_differs_from_the_shadow(tmp_path: Path) -> None:
    body = slots(bytes.fromhex("0f06"), bytes.fromhex("b819000000 0f22c0"), bytes.fromhex("0f06"))
    assert exits_of(played(tmp_path / "a", body, "vt-x")) == ["hlt"]
    assert exits_of(played(tmp_path / "b", body, "vt-x", "+cr0-mask-ts")) == ["mov-to-cr", "clts", "hlt"]


def test_reflected_exceptions_say_what_they_were_delivered_for(tmp_path: Path) -> None:
    # lidt of an empty table, then ud2: #UD, #GP in its delivery, #DF, and the end
    body = slots(bytes.fromhex("66c7030000 0f011b"), bytes.fromhex("0f0b"))
    run = played(tmp_path, body, "vt-x", "+exception-gp")
    told = [event for event in run.events if "IDT_VECTORING_INFO" in dict(event.detail)]
    assert dict(told[0].detail)["IDT_VECTORING_INFO"] == "80000306h"
    assert run.ended is not None
    assert run.ended.how == "triple-fault"
    again = played(tmp_path / "amd", body, "amd-v", "+exception-gp")
    first = next(event for event in again.events if "EXITINTINFO" in dict(event.detail))
    assert dict(first.detail)["EXITINTINFO"] == "80000306h"


# ---- what gets away --------------------------------------------------------------------------------------------------


def escapes(run: Run) -> list[Event]:
    return [event for event in run.events if event.escaped]


@pytest.mark.parametrize(("technique", "word"), [("vt-x", "-hlt-exiting"), ("amd-v", "-hlt")])
def test_without_its_exit_hlt_stops_the_real_cpu(tmp_path: Path, technique: str, word: str) -> None:
    run = played(tmp_path, b"", technique, word)
    (event,) = escapes(run)
    assert (event.kind, event.is_attempt, event.action) == (Kind.VIOLATION, True, "the real CPU halts")
    assert run.ended is not None
    assert run.ended.how == "halted"


@pytest.mark.parametrize(
    ("technique", "word"), [("vt-x", "-use-io-bitmaps"), ("amd-v", "-ioio"), ("vt-x", "-port-3f8")]
)
def test_without_its_exit_the_guest_uses_the_machines_own_port(tmp_path: Path, technique: str, word: str) -> None:
    body = slots(bytes.fromhex("66baf803 b041 ee"))
    run = played(tmp_path, body, technique, word)
    (event,) = [event for event in escapes(run) if event.form == "out"]
    assert "the machine's own port" in event.rule
    assert run.technique.machine.bus.console == "A"


def test_safety_counts_what_was_not_contained() -> None:
    result = stat(find_scenario("hello-serial"), "amd-v", controls=["-ioio"])
    assert result.safety.attempts > 400
    assert result.safety.contained == 0
    assert stat(find_scenario("hello-serial"), "amd-v").safety.attempts == 0


def test_without_its_intercept_a_triple_fault_is_the_real_cpus(tmp_path: Path) -> None:
    run = Run(bare_scenario(tmp_path / "guest", b"\x0f\x0b"), "amd-v", None, ["-shutdown"])
    run.finish()
    (event,) = escapes(run)
    assert event.cause == "shutdown"


def test_without_its_intercept_rdmsr_shows_the_real_efer(tmp_path: Path) -> None:
    body = slots(bytes.fromhex("b9800000c0 0f32 8903"))
    for words, expected in (((), 0), (("-msr",), 1 << 12), (("-msr-c0000080",), 1 << 12)):
        run = played(tmp_path / str(len(words) + expected + len("".join(words))), body, "amd-v", *words)
        assert int.from_bytes(run.technique.guest_ram()[SCRATCH : SCRATCH + 4], "little") == expected
    with pytest.raises(UnsupportedError, match="VMEXIT_INVALID"):
        played(tmp_path / "write", slots(bytes.fromhex("b9800000c0 31c0 31d2 0f30")), "amd-v", "-msr")


def test_without_the_mask_a_fixed_bit_shows_and_cannot_be_cleared(tmp_path: Path) -> None:
    # the guest reads NE although it never set it, and a write that clears it is #GP(0)
    body = slots(bytes.fromhex("0f20c0 8903"), bytes.fromhex("b811000000 0f22c0"))
    run = played(tmp_path, body, "vt-x", "-cr0-mask-ne")
    assert run.technique.guest_ram()[SCRATCH] == 0x31
    assert [event.cause for event in run.events if event.kind is Kind.FAULT] == ["#GP"]


@pytest.mark.parametrize("technique", ["vt-x", "amd-v"])
def test_the_hypervisor_bit_is_shown_on_demand(tmp_path: Path, technique: str) -> None:
    body = slots(bytes.fromhex("b801000000 0fa2 890e"), bytes.fromhex("b800000040 0fa2 895e04 894e08 89560c"))
    silent = played(tmp_path / "off", body, technique)
    told = played(tmp_path / "on", body, technique, "+hypervisor-bit")
    leaf = [run.technique.guest_ram()[SCRATCH : SCRATCH + 4] for run in (silent, told)]
    bits = [int.from_bytes(word, "little") >> 31 for word in leaf]
    assert bits == [0, 1]
    names = [run.technique.guest_ram()[SCRATCH + 4 : SCRATCH + 16] for run in (silent, told)]
    assert names == [bytes(12), b"RingvizVMM  "]


def test_verdicts_follow_the_controls() -> None:
    scenario = find_scenario("popf-hole")
    run = Run(scenario, "amd-v", None, ["+popf"])
    run.reach(2000)
    machine = run.technique.machine
    popf = next(i for i in (machine.instruction_at(a) for a in range(0x10_0000, 0x10_2000)) if i and i.form == "popf")
    assert run.technique.verdict(popf, 0) == ("exits", "the VMCB intercepts POPF")
    assert Run(scenario, "vt-x").technique.verdict(popf, 0)[0] == ""
