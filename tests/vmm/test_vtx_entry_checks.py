"""VM entry refuses a VMCS for each rule of the manual, and for no other reason."""

from __future__ import annotations

import pytest

from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.registers import Eflags
from ringviz.facts.vmx import EntryFailure
from ringviz.vmm.vtx.capabilities import capabilities_of
from ringviz.vmm.vtx.entry_checks import broken_control_rule, broken_guest_rule, broken_host_rule
from tests.machine.guests import flat_state
from tests.vmm.vmx_guest import good_fields

CPUS = ("p4-672", "core2", "nehalem", "westmere")
VALID = 1 << 31

CONTROLS = {
    "a default1 bit is 0": ("p4-672", {"CPU_BASED_VM_EXEC_CONTROL": 0x0400E172}, "bit 16 must be 1"),
    "a bit that the CPU does not have": ("p4-672", {"PIN_BASED_VM_EXEC_CONTROL": 0x3F}, "bit 5 must be 0"),
    "too many CR3 targets": ("p4-672", {"CR3_TARGET_COUNT": 5}, "CR3-target count"),
    "I/O bitmap not on a page": ("p4-672", {"IO_BITMAP_B": 0x4004}, "I/O-bitmap"),
    "I/O bitmap too high": ("p4-672", {"IO_BITMAP_A": 1 << 40}, "I/O-bitmap"),
    "MSR bitmap not on a page": (
        "core2", {"CPU_BASED_VM_EXEC_CONTROL": 0x1601EBF2, "MSR_BITMAP": 0x5008}, "MSR-bitmap"
    ),
    "VPID 0": ("nehalem", {"VIRTUAL_PROCESSOR_ID": 0}, "VPID"),
    "EPT memory type": ("nehalem", {"EPT_POINTER": 0x50_001A}, "memory type"),
    "EPT walk length": ("nehalem", {"EPT_POINTER": 0x50_0016}, "page walk of four levels"),
    "EPT reserved bits": ("nehalem", {"EPT_POINTER": 0x50_005E}, "reserved bits"),
    "unrestricted without EPT": ("westmere", {"SECONDARY_VM_EXEC_CONTROL": 0x80}, "unrestricted guest"),
    "MSR list not aligned": ("p4-672", {"VM_ENTRY_MSR_LOAD_COUNT": 1, "VM_ENTRY_MSR_LOAD_ADDR": 8}, "VM ENTRY MSR"),
    "reserved interruption type": ("p4-672", {"VM_ENTRY_INTR_INFO": VALID | 1 << 8}, "type 1 is reserved"),
    "NMI with a wrong vector": ("p4-672", {"VM_ENTRY_INTR_INFO": VALID | 2 << 8 | 3}, "vector must be 2"),
    "exception beyond 31": ("p4-672", {"VM_ENTRY_INTR_INFO": VALID | 3 << 8 | 32}, "at most 31"),
    "#GP without its error code": ("p4-672", {"VM_ENTRY_INTR_INFO": VALID | 3 << 8 | 13}, "deliver-error-code"),
    "#UD with an error code": ("p4-672", {"VM_ENTRY_INTR_INFO": VALID | 1 << 11 | 3 << 8 | 6}, "deliver-error-code"),
    "reserved bits of the injection": ("p4-672", {"VM_ENTRY_INTR_INFO": VALID | 1 << 12 | 3 << 8 | 6}, "30:12"),
    "a long error code": (
        "p4-672",
        {"VM_ENTRY_INTR_INFO": VALID | 1 << 11 | 3 << 8 | 13, "VM_ENTRY_EXCEPTION_ERROR_CODE": 1 << 16},
        "31:16 of the VM-entry exception error code",
    ),
    "INT n without a length": ("p4-672", {"VM_ENTRY_INTR_INFO": VALID | 4 << 8 | 0x80}, "instruction length"),
}  # fmt: skip

HOST = {
    "NE clear": ({"HOST_CR0": 0x8001_0011}, "host CR0"),
    "VMXE clear": ({"HOST_CR4": 0}, "host CR4"),
    "CR4 bit that is not there": ({"HOST_CR4": 0x2000 | 1 << 31}, "host CR4"),
    "CR3 too high": ({"HOST_CR3": 1 << 40}, "host CR3"),
    "RPL in CS": ({"HOST_CS_SELECTOR": 0x0B}, "host CS selector"),
    "TI in TR": ({"HOST_TR_SELECTOR": 0x1C}, "host TR selector"),
    "null CS": ({"HOST_CS_SELECTOR": 0}, "host CS selector must not be"),
    "null TR": ({"HOST_TR_SELECTOR": 0}, "host TR selector must not be"),
    "null SS": ({"HOST_SS_SELECTOR": 0}, "host SS selector must not be"),
    "RIP beyond 32 bits": ({"HOST_RIP": 1 << 32}, "host RIP"),
}

GUEST = {
    "PG clear": ({"GUEST_CR0": 0x31}, "guest CR0 must have PG"),
    "NE clear": ({"GUEST_CR0": 0x8000_0011}, "guest CR0 must have NE"),
    "PE clear": ({"GUEST_CR0": 0x8000_0030}, "guest CR0 must have PE"),
    "VMXE clear": ({"GUEST_CR4": 0}, "guest CR4 must have VMXE"),
    "CR4 bit that is not there": ({"GUEST_CR4": 0x2000 | 1 << 31}, "guest CR4 must not"),
    "CR3 too high": ({"GUEST_CR3": 1 << 40}, "guest CR3"),
    "DEBUGCTL reserved": ({"GUEST_IA32_DEBUGCTL": 4}, "IA32_DEBUGCTL"),
    "DR7 beyond 32 bits": ({"GUEST_DR7": 1 << 32}, "DR7"),
    "TR in an LDT": ({"GUEST_TR_SELECTOR": 4}, "TI of the guest TR"),
    "LDTR in an LDT": (
        {"GUEST_LDTR_SELECTOR": 12, "GUEST_LDTR_ACCESS_RIGHTS": 0x82, "GUEST_LDTR_LIMIT": 7}, "TI of the guest LDTR"
    ),
    "RPL of SS and CS": ({"GUEST_SS_SELECTOR": 0x11}, "RPL of guest SS"),
    "type of CS": ({"GUEST_CS_ACCESS_RIGHTS": 0xC098}, "type of guest CS"),
    "type of SS": ({"GUEST_SS_ACCESS_RIGHTS": 0xC091}, "type of guest SS"),
    "DS not accessed": ({"GUEST_DS_ACCESS_RIGHTS": 0xC092}, "DS must be accessed"),
    "DS execute-only": ({"GUEST_DS_ACCESS_RIGHTS": 0xC099}, "must be readable"),
    "S of CS": ({"GUEST_CS_ACCESS_RIGHTS": 0xC08B}, "S of guest CS"),
    "P of CS": ({"GUEST_CS_ACCESS_RIGHTS": 0xC01B}, "P of guest CS"),
    "reserved rights": ({"GUEST_ES_ACCESS_RIGHTS": 0xC193}, "reserved bits of the guest ES"),
    "G clear, large limit": ({"GUEST_CS_ACCESS_RIGHTS": 0x409B}, "G of guest CS must be 1"),
    "G set, odd limit": ({"GUEST_FS_LIMIT": 0xFFFF_F0FF}, "G of guest FS must be 0"),
    "DPL of non-conforming CS": ({"GUEST_CS_ACCESS_RIGHTS": 0xC0FB}, "DPL of guest CS must equal"),
    "DPL of conforming CS": ({"GUEST_CS_ACCESS_RIGHTS": 0xC0FF}, "DPL of guest CS must not be greater"),
    "DPL of SS": (
        {"GUEST_SS_ACCESS_RIGHTS": 0xC0F3, "GUEST_CS_ACCESS_RIGHTS": 0xC0FB}, "DPL of guest SS must equal its RPL"
    ),
    "DPL below RPL": ({"GUEST_DS_SELECTOR": 0x13}, "DPL of guest DS"),
    "TR unusable": ({"GUEST_TR_ACCESS_RIGHTS": 0x1_008B}, "TR must be usable"),
    "TR not busy": ({"GUEST_TR_ACCESS_RIGHTS": 0x89}, "busy TSS"),
    "TR a code segment": ({"GUEST_TR_ACCESS_RIGHTS": 0x9B}, "S of guest TR"),
    "TR not present": ({"GUEST_TR_ACCESS_RIGHTS": 0x0B}, "P of guest TR"),
    "type of LDTR": ({"GUEST_LDTR_ACCESS_RIGHTS": 0x83, "GUEST_LDTR_SELECTOR": 8}, "type of guest LDTR"),
    "S of LDTR": ({"GUEST_LDTR_ACCESS_RIGHTS": 0x92, "GUEST_LDTR_SELECTOR": 8}, "S of guest LDTR"),
    "P of LDTR": ({"GUEST_LDTR_ACCESS_RIGHTS": 0x02, "GUEST_LDTR_SELECTOR": 8}, "P of guest LDTR"),
    "GDTR limit": ({"GUEST_GDTR_LIMIT": 0x1_0000}, "GDTR limit"),
    "IDTR limit": ({"GUEST_IDTR_LIMIT": 0x1_0000}, "IDTR limit"),
    "RIP beyond 32 bits": ({"GUEST_RIP": 1 << 32}, "guest RIP"),
    "bit 1 of RFLAGS": ({"GUEST_RFLAGS": 0}, "bit 1"),
    "reserved RFLAGS": ({"GUEST_RFLAGS": 0xA}, "reserved bits 63:22"),
    "virtual-8086 bases": ({"GUEST_RFLAGS": Eflags.VM | 2}, "in virtual-8086 mode"),
    "interrupt with IF clear": ({"VM_ENTRY_INTR_INFO": VALID | 0x20}, "RFLAGS.IF must be 1"),
    "activity": ({"GUEST_ACTIVITY_STATE": 2}, "activity state must be one"),
    "halted in ring 3": (
        {"GUEST_ACTIVITY_STATE": 1, "GUEST_SS_ACCESS_RIGHTS": 0xC0F3, "GUEST_SS_SELECTOR": 0x13,
         "GUEST_CS_SELECTOR": 0x0B, "GUEST_CS_ACCESS_RIGHTS": 0xC0FB},
        "must not be HLT",
    ),
    "halted behind STI": (
        {"GUEST_ACTIVITY_STATE": 1, "GUEST_INTERRUPTIBILITY_STATE": 1, "GUEST_RFLAGS": 0x202}, "must be active"
    ),
    "halted with #UD": ({"GUEST_ACTIVITY_STATE": 1, "VM_ENTRY_INTR_INFO": VALID | 3 << 8 | 6}, "in the HLT state only"),
    "halted with INT n": ({"GUEST_ACTIVITY_STATE": 1, "VM_ENTRY_INTR_INFO": VALID | 4 << 8 | 6}, "no software"),
    "reserved interruptibility": ({"GUEST_INTERRUPTIBILITY_STATE": 0x10}, "reserved bits 31:4"),
    "STI and MOV SS": ({"GUEST_INTERRUPTIBILITY_STATE": 3, "GUEST_RFLAGS": 0x202}, "must not both be 1"),
    "STI with IF clear": ({"GUEST_INTERRUPTIBILITY_STATE": 1}, "blocking by STI must be 0"),
    "interrupt behind STI": (
        {"GUEST_INTERRUPTIBILITY_STATE": 1, "GUEST_RFLAGS": 0x202, "VM_ENTRY_INTR_INFO": VALID | 0x20},
        "external interrupt is injected",
    ),
    "NMI behind STI": (
        {"GUEST_INTERRUPTIBILITY_STATE": 1, "GUEST_RFLAGS": 0x202, "VM_ENTRY_INTR_INFO": VALID | 2 << 8 | 2},
        "an NMI is injected",
    ),
    "NMI behind MOV SS": (
        {"GUEST_INTERRUPTIBILITY_STATE": 2, "VM_ENTRY_INTR_INFO": VALID | 2 << 8 | 2}, "an NMI is injected"
    ),
    "SMI blocking": ({"GUEST_INTERRUPTIBILITY_STATE": 4}, "blocking by SMI"),
    "pending debug reserved": ({"GUEST_PENDING_DEBUG_EXCEPTIONS": 1 << 13}, "pending debug"),
    "BS missing behind STI": (
        {"GUEST_INTERRUPTIBILITY_STATE": 2, "GUEST_RFLAGS": 0x102}, "BS of the guest pending debug exceptions must be 1"
    ),
}  # fmt: skip


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("ring", [0, 3])
def test_what_the_vmm_writes_breaks_no_rule(cpu: str, ring: int) -> None:
    fields, capabilities = good_fields(cpu, flat_state(ring, 0x1000)), capabilities_of(CPU_PROFILES[cpu])
    assert broken_control_rule(fields, capabilities) is None
    assert broken_host_rule(fields, capabilities) is None
    assert broken_guest_rule(fields, capabilities) is None


@pytest.mark.parametrize("case", CONTROLS)
def test_each_rule_on_the_controls(case: str) -> None:
    cpu, change, words = CONTROLS[case]
    rule = broken_control_rule(good_fields(cpu) | change, capabilities_of(CPU_PROFILES[cpu]))
    assert rule is not None
    assert words in rule


@pytest.mark.parametrize("case", HOST)
def test_each_rule_on_the_host_state(case: str) -> None:
    change, words = HOST[case]
    capabilities = capabilities_of(CPU_PROFILES["p4-672"])
    rule = broken_host_rule(good_fields("p4-672") | change, capabilities)
    assert rule is not None
    assert words in rule


@pytest.mark.parametrize("case", GUEST)
def test_each_rule_on_the_guest_state(case: str) -> None:
    change, words = GUEST[case]
    capabilities = capabilities_of(CPU_PROFILES["p4-672"])
    broken = broken_guest_rule(good_fields("p4-672") | change, capabilities)
    assert broken is not None
    rule, qualification = broken
    assert words in rule
    assert qualification == EntryFailure.OTHER


def test_the_link_pointer_and_the_pdptes_have_qualifications_of_their_own() -> None:
    nehalem = capabilities_of(CPU_PROFILES["nehalem"])
    link = broken_guest_rule(good_fields("nehalem") | {"VMCS_LINK_POINTER": 0x2000}, nehalem)
    assert link is not None
    assert link[1] is EntryFailure.LINK_POINTER
    pae = {"GUEST_CR4": 0x2020, "GUEST_PDPTE2": 0x1E7}
    entries = broken_guest_rule(good_fields("nehalem") | pae, nehalem)
    assert entries is not None
    assert entries[1] is EntryFailure.PDPTE


def test_the_unrestricted_guest_may_be_in_real_mode() -> None:
    westmere = capabilities_of(CPU_PROFILES["westmere"])
    fields = good_fields("westmere") | {"GUEST_CR0": 0x30}
    assert broken_guest_rule(fields, westmere) is None
    loose = fields | {"GUEST_SS_SELECTOR": 0x12, "GUEST_DS_SELECTOR": 0x13, "GUEST_CS_ACCESS_RIGHTS": 0xC093}
    assert broken_guest_rule(loose, westmere) is None


def test_efer_is_checked_where_the_entry_loads_it() -> None:
    nehalem = capabilities_of(CPU_PROFILES["nehalem"])
    for value, words in ((1 << 3, "reserved bits"), (1 << 10, "IA-32e"), (1 << 8, "EFER.LME")):
        broken = broken_guest_rule(good_fields("nehalem") | {"GUEST_IA32_EFER": value}, nehalem)
        assert broken is not None
        assert words in broken[0]
