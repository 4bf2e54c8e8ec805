"""The features that the profiles claim are those that CPUs of their generation reported."""

import pytest

from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.vmx_records import VMX_RECORDS

PIN, PRIMARY, SECONDARY = "IA32_VMX_PINBASED_CTLS", "IA32_VMX_PROCBASED_CTLS", "IA32_VMX_PROCBASED_CTLS2"
TRUE_PRIMARY = "IA32_VMX_TRUE_PROCBASED_CTLS"
CONTROLS = {
    "msr-bitmaps": (PRIMARY, 28),
    "virtual-nmis": (PIN, 5),
    "preemption-timer": (PIN, 6),
    "monitor-trap-flag": (PRIMARY, 27),
    "ept": (SECONDARY, 1),
    "descriptor-table-exiting": (SECONDARY, 2),
    "vpid": (SECONDARY, 5),
    "unrestricted-guest": (SECONDARY, 7),
    "vmfunc": (SECONDARY, 13),
    "vmcs-shadowing": (SECONDARY, 14),
    "pml": (SECONDARY, 17),
    "virtualization-exceptions": (SECONDARY, 18),
}
CR3_LOAD, CR3_STORE = 15, 16


def test_every_profile_with_vt_x_but_the_first_has_a_record() -> None:
    with_vmx = [profile.id for profile in CPU_PROFILES.values() if "vt-x" in profile.features]
    assert list(VMX_RECORDS) == with_vmx[1:]
    assert with_vmx[0] == "p4-672"


@pytest.mark.parametrize("profile", VMX_RECORDS)
def test_the_features_are_those_that_the_cpu_reported(profile: str) -> None:
    record = VMX_RECORDS[profile]
    reported = {name for name, (register, bit) in CONTROLS.items() if record.may_be_1(register, bit)}
    assert reported == CPU_PROFILES[profile].features - {"vt-x", "cr3-exits-optional"}


@pytest.mark.parametrize("profile", VMX_RECORDS)
def test_cr3_must_exit_where_there_are_no_true_controls(profile: str) -> None:
    record = VMX_RECORDS[profile]
    has_true_controls = bool(record.registers["IA32_VMX_BASIC"] >> 55 & 1)
    assert has_true_controls == (TRUE_PRIMARY in record.registers)
    for bit in (CR3_LOAD, CR3_STORE):
        assert record.must_be_1(PRIMARY, bit)
        if has_true_controls:
            assert not record.must_be_1(TRUE_PRIMARY, bit)
    assert has_true_controls == ("cr3-exits-optional" in CPU_PROFILES[profile].features)


@pytest.mark.parametrize("profile", VMX_RECORDS)
def test_what_must_be_1_may_be_1(profile: str) -> None:
    for name, value in VMX_RECORDS[profile].registers.items():
        if name.endswith(("CTLS", "CTLS2")):
            assert value & 0xFFFF_FFFF & ~(value >> 32) == 0, name


def test_the_core_2_has_no_secondary_controls() -> None:
    record = VMX_RECORDS["core2"]
    assert not record.may_be_1(PRIMARY, 31)
    assert SECONDARY not in record.registers
    assert all(VMX_RECORDS[profile].may_be_1(PRIMARY, 31) for profile in list(VMX_RECORDS)[1:])
