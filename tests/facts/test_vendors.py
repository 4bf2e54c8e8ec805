"""Every name that the comparison of the makes uses is one of theirs, and nothing is paired twice."""

from __future__ import annotations

import pytest

from ringviz.facts.svm import INTERCEPTS, SVM_EXITS, VMCB_CONTROL, VMCB_SAVE
from ringviz.facts.vendors import VENDOR_PAIRS, VendorPair
from ringviz.facts.vmx import EXIT_REASONS, FIELDS_BY_NAME, VMX_CONTROLS

INTEL = {
    "exit": {str(number) for number in EXIT_REASONS},
    "control": set(VMX_CONTROLS),
    "field": set(FIELDS_BY_NAME),
    "instruction": {
        "VMLAUNCH", "VMRESUME", "VMCLEAR", "VMPTRLD", "VMPTRST", "VMREAD", "VMWRITE", "VMXON", "VMXOFF", "VMCALL",
        "INVVPID", "INVEPT", "GETSEC",
    },
}  # fmt: skip
AMD = {
    "exit": {row.name for row in SVM_EXITS.values()},
    "control": set(INTERCEPTS),
    "field": {*VMCB_CONTROL, *VMCB_SAVE},
    "instruction": {"VMRUN", "VMLOAD", "VMSAVE", "STGI", "CLGI", "VMMCALL", "INVLPGA", "SKINIT"},
}


@pytest.mark.parametrize("row", VENDOR_PAIRS.values(), ids=lambda row: row.id)
def test_names_are_those_of_the_makes(row: VendorPair) -> None:
    assert set(row.intel) <= INTEL[row.aspect]
    assert set(row.amd) <= AMD[row.aspect]
    assert row.intel or row.amd
    assert len({*row.intel}) == len(row.intel)
    assert len({*row.amd}) == len(row.amd)


def test_only_amd_can_catch_pushf_popf_iret_and_int_n() -> None:
    only_amd = {name for row in VENDOR_PAIRS.values() if row.only == "amd" and row.aspect == "exit" for name in row.amd}
    assert only_amd >= {"VMEXIT_PUSHF", "VMEXIT_POPF", "VMEXIT_IRET", "VMEXIT_SWINT"}


def test_only_intel_has_masks_and_read_shadows() -> None:
    only_intel = {name for row in VENDOR_PAIRS.values() if row.only == "intel" for name in row.intel}
    assert only_intel >= {"CR0_GUEST_HOST_MASK", "CR0_READ_SHADOW", "CR3_TARGET_VALUE0"}


@pytest.mark.parametrize(("aspect", "side"), [("exit", "intel"), ("control", "intel"), ("control", "amd")])
def test_nothing_is_paired_twice(aspect: str, side: str) -> None:
    names = [name for row in VENDOR_PAIRS.values() if row.aspect == aspect for name in getattr(row, side)]
    assert len(names) == len(set(names))
