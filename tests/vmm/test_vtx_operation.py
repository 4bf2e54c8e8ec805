"""VMX operation: the instructions succeed and fail as the manual says, and leave the numbers it says."""

from __future__ import annotations

import pytest

from ringviz.facts.exceptions import Vector
from ringviz.facts.vmx import FIELDS_BY_NAME, VMCS_FIELDS
from ringviz.machine.memory import Ram
from ringviz.vmm.vtx import layout
from ringviz.vmm.vtx.operation import (
    NO_VMCS,
    Entered,
    EntryFailed,
    FailInvalid,
    FailValid,
    Success,
    VmxFault,
    VmxUnit,
)
from ringviz.vmm.vtx.vmcs import LaunchState, Vmcs
from tests.vmm.vmx_guest import RAM_BYTES, fill, good_fields, unit_in_operation

OTHER_REGION = 0xA000
RIP = FIELDS_BY_NAME["GUEST_RIP"].encoding


def test_outside_vmx_operation_every_instruction_but_vmxon_is_undefined() -> None:
    unit = VmxUnit(Ram(RAM_BYTES), unit_in_operation().capabilities)
    for act in (
        unit.vmxoff,
        unit.vmptrst,
        unit.vmlaunch,
        unit.vmresume,
        lambda: unit.vmclear(0x2000),
        lambda: unit.vmptrld(0x2000),
        lambda: unit.vmread(RIP),
        lambda: unit.vmwrite(RIP, 0),
    ):
        with pytest.raises(VmxFault) as fault:
            act()
        assert fault.value.vector is Vector.UD


@pytest.mark.parametrize("address", [0x1800, 1 << 40])
def test_vmxon_wants_a_page_that_the_cpu_can_reach(address: int) -> None:
    unit = VmxUnit(Ram(RAM_BYTES), unit_in_operation().capabilities)
    assert unit.vmxon(address) == FailInvalid()
    assert not unit.is_on


def test_vmxon_wants_the_revision_identifier() -> None:
    unit = VmxUnit(Ram(RAM_BYTES), unit_in_operation().capabilities)
    assert unit.vmxon(layout.VMXON_REGION) == FailInvalid()


def test_vmxon_in_vmx_operation_fails_with_15() -> None:
    unit = unit_in_operation()
    assert unit.vmxon(OTHER_REGION) == FailValid(15)
    assert unit.vmcs.get("VM_INSTRUCTION_ERROR") == 15


def test_a_failure_without_a_current_vmcs_has_nowhere_to_say_why() -> None:
    unit = unit_in_operation()
    unit.vmclear(layout.VMCS_REGION)
    assert unit.current == NO_VMCS
    assert unit.vmxon(OTHER_REGION) == FailInvalid()
    assert unit.vmread(RIP) == unit.vmwrite(RIP, 0) == unit.vmlaunch() == FailInvalid()


@pytest.mark.parametrize(("address", "error"), [(0x2800, 2), (1 << 40, 2), (layout.VMXON_REGION, 3)])
def test_vmclear_fails_with_the_manuals_number(address: int, error: int) -> None:
    assert unit_in_operation().vmclear(address) == FailValid(error)


@pytest.mark.parametrize(
    ("address", "error"), [(0x2800, 9), (1 << 40, 9), (layout.VMXON_REGION, 10), (OTHER_REGION, 11)]
)
def test_vmptrld_fails_with_the_manuals_number(address: int, error: int) -> None:
    unit = unit_in_operation()
    assert unit.vmptrld(address) == FailValid(error)
    assert unit.current == layout.VMCS_REGION


def test_a_shadow_vmcs_is_refused_by_its_bit_31() -> None:
    unit = unit_in_operation()
    unit._ram.write_int(OTHER_REGION, 1 << 31 | 1, 4)
    assert unit.vmptrld(OTHER_REGION) == FailValid(11)


def test_vmptrst_tells_the_current_vmcs() -> None:
    unit = unit_in_operation()
    assert unit.vmptrst() == Success(layout.VMCS_REGION)


@pytest.mark.parametrize("field", VMCS_FIELDS.values(), ids=lambda field: field.name)
def test_what_is_written_is_read_cut_to_the_fields_width(field: object) -> None:
    unit = unit_in_operation("westmere")
    row = FIELDS_BY_NAME[field.name]  # type: ignore[attr-defined]
    value = 0x8877_6655_4433_2211
    wrote = unit.vmwrite(row.encoding, value)
    if row.type == 1:
        assert wrote == FailValid(13)
        return
    assert wrote == Success()
    assert unit.vmread(row.encoding) == Success(value & ((1 << 8 * row.size_bytes) - 1))


def test_a_64_bit_field_has_an_upper_half() -> None:
    unit = unit_in_operation()
    encoding = FIELDS_BY_NAME["TSC_OFFSET"].encoding
    unit.vmwrite(encoding, 0x1_0000_0002)
    assert unit.vmread(encoding + 1) == Success(1)
    unit.vmwrite(encoding + 1, 7)
    assert unit.vmread(encoding) == Success(0x7_0000_0002)
    assert unit.vmread(RIP + 1) == FailValid(12)


@pytest.mark.parametrize("name", ["SECONDARY_VM_EXEC_CONTROL", "EPT_POINTER", "VIRTUAL_PROCESSOR_ID", "MSR_BITMAP"])
def test_the_first_generation_lacks_the_fields_of_later_ones(name: str) -> None:
    encoding = FIELDS_BY_NAME[name].encoding
    assert unit_in_operation("p4-672").vmread(encoding) == FailValid(12)
    assert unit_in_operation("westmere").vmread(encoding) == Success()


def test_no_such_field_fails_with_12() -> None:
    assert unit_in_operation().vmread(0x6FFE) == FailValid(12)


def test_vmlaunch_wants_a_clear_vmcs_and_vmresume_a_launched_one() -> None:
    unit = unit_in_operation()
    fill(unit, good_fields("p4-672"))
    assert unit.vmresume() == FailValid(5)
    assert unit.vmlaunch() == Entered()
    assert unit.vmcs.launch_state is LaunchState.LAUNCHED
    assert unit.vmlaunch() == FailValid(4)
    assert unit.vmresume() == Entered()
    unit.vmclear(layout.VMCS_REGION)
    unit.vmptrld(layout.VMCS_REGION)
    assert unit.vmresume() == FailValid(5)


def test_vm_entry_right_after_mov_ss_fails_with_26() -> None:
    unit = unit_in_operation()
    fill(unit, good_fields("p4-672"))
    unit.mov_ss_blocking = True
    assert unit.vmlaunch() == FailValid(26)


def test_bad_controls_fail_with_7_bad_host_state_with_8() -> None:
    for name, value, error in (("CPU_BASED_VM_EXEC_CONTROL", 0, 7), ("HOST_CR0", 0, 8)):
        unit = unit_in_operation()
        fill(unit, good_fields("p4-672") | {name: value})
        result = unit.vmlaunch()
        assert isinstance(result, FailValid)
        assert (result.number, unit.vmcs.get("VM_INSTRUCTION_ERROR")) == (error, error)
        assert result.rule
        assert unit.vmcs.launch_state is LaunchState.CLEAR


def test_bad_guest_state_comes_back_as_exit_33_with_bit_31() -> None:
    unit = unit_in_operation()
    fill(unit, good_fields("p4-672") | {"GUEST_RFLAGS": 0})
    result = unit.vmlaunch()
    assert isinstance(result, EntryFailed)
    assert result.reason == unit.vmcs.get("VM_EXIT_REASON") == 1 << 31 | 33
    assert "bit 1 of guest RFLAGS" in result.rule
    assert unit.vmcs.launch_state is LaunchState.CLEAR


def test_a_region_is_bytes_in_memory_with_its_revision_first() -> None:
    unit = unit_in_operation()
    unit.vmwrite(RIP, 0x12345678)
    assert unit._ram.read_int(layout.VMCS_REGION, 4) == 1
    assert (0x12345678).to_bytes(8, "little") in unit._ram.read(layout.VMCS_REGION, 4096)
    again = Vmcs(unit._ram, layout.VMCS_REGION)
    assert again.get("GUEST_RIP") == 0x12345678


def test_reads_and_writes_are_counted() -> None:
    unit = unit_in_operation()
    unit.vmread(RIP)
    unit.vmwrite(RIP, 1)
    unit.vmwrite(RIP, 2)
    unit.vmread(0x6FFE)
    assert (unit.reads, unit.writes) == (1, 2)
