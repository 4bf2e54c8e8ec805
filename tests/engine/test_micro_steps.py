"""Events taken apart."""

import pytest

from ringviz.engine.micro_steps import MicroStep, vector_of
from ringviz.engine.places import resolve_stop
from ringviz.engine.session import Session
from ringviz.guest.scenario import find_scenario


def parts(technique: str, place: str, scenario: str = "rings-tour") -> dict[str, MicroStep]:
    session = Session(find_scenario(scenario), technique)
    assert session.run_until((resolve_stop(session, place),)) is not None
    return {step.name: step for step in session.snapshot().micro}


def test_a_trap_goes_through_the_real_table_and_changes_the_virtual_cpu() -> None:
    steps = parts("trap-emulate", "trap lgdt")
    assert list(steps) == ["fault", "delivery", "dispatch", "decode", "emulate", "return"]
    assert [step.ring for step in steps.values()] == [1, 0, 0, 0, 0, 1]
    assert "CPL 1 is not 0 → #GP(0)" in steps["fault"].text
    assert "entry 0Dh of the real IDT at FFC04000, gate → FFE0:FFC010D0" in steps["delivery"].text
    assert "0F 01 15 70 21 10 00 at 00100026 is lgdt [0x102170]" in steps["decode"].text
    assert "GDTR.BASE 0 → 103000" in steps["emulate"].text
    assert "ring 1 at 0010002D" in steps["return"].text


def test_an_exit_says_what_the_cpu_wrote_down_in_each_vendors_words() -> None:
    intel, amd = (parts(technique, "exit")["delivery"] for technique in ("vt-x", "amd-v"))
    assert (intel.ring, amd.ring) == (-1, -1)
    assert "EXIT_REASON = 30" in intel.text
    assert "EXIT_QUALIFICATION = 210040h" in intel.text
    assert "EXITCODE = 07Bh" in amd.text


def test_without_a_vmm_the_cpu_looks_into_the_guests_own_table() -> None:
    steps = parts("native", "fault")
    assert list(steps) == ["fault", "delivery", "enter"]
    assert "entry 0Dh of the guest's IDT at 00104000, gate → 0008:00100078" in steps["delivery"].text
    assert steps["enter"].ring == 0


def test_a_hypercall_names_its_entry_and_its_arguments() -> None:
    steps = parts("paravirt", "hypercall set_gdt")
    assert "2 set_gdt" in steps["dispatch"].text
    assert "frames 00102170" in steps["dispatch"].text
    assert steps["return"].ring == 1


def test_a_silent_instruction_has_nobody_to_hear_of_it() -> None:
    steps = parts("trap-emulate", "silent popfd", "popf-hole")
    assert list(steps) == ["execute", "result"]
    assert {step.ring for step in steps.values()} == {1}


@pytest.mark.parametrize("technique", ["emulation", "classic", "binary-translation", "vt-x", "paravirt"])
def test_every_part_of_every_event_is_one_line_in_a_ring_that_exists(technique: str) -> None:
    session = Session(find_scenario("rings-tour"), technique)
    for _ in range(40):
        if not session.next_event():
            break
        for step in session.snapshot(lambda: True).micro:
            assert -1 <= step.ring <= 3
            assert step.text
            assert "\n" not in step.text


@pytest.mark.parametrize(
    ("cause", "vector"),
    [("#GP(0)", 13), ("#PF at 00500000", 14), ("INT 80h", 0x80), ("interrupt 20h (timer)", 0x20), ("callout", None)],
)
def test_a_cause_names_its_vector(cause: str, vector: int | None) -> None:
    assert vector_of(cause) == vector
