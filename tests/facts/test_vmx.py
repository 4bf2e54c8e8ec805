"""The VMX tables against numbers copied from the headers of Linux and Bochs, and against each other."""

from __future__ import annotations

import pytest

from ringviz.facts import vmx
from ringviz.facts.instructions import INSTRUCTIONS, SILENT_IDS
from ringviz.facts.vmx import FieldType, FieldWidth

ENCODINGS = {
    "VIRTUAL_PROCESSOR_ID": 0x0000, "GUEST_ES_SELECTOR": 0x0800, "GUEST_CS_SELECTOR": 0x0802,
    "GUEST_SS_SELECTOR": 0x0804, "GUEST_GS_SELECTOR": 0x080A, "GUEST_LDTR_SELECTOR": 0x080C,
    "GUEST_TR_SELECTOR": 0x080E, "HOST_ES_SELECTOR": 0x0C00, "HOST_GS_SELECTOR": 0x0C0A, "HOST_TR_SELECTOR": 0x0C0C,
    "IO_BITMAP_A": 0x2000, "IO_BITMAP_B": 0x2002, "MSR_BITMAP": 0x2004, "VM_EXIT_MSR_STORE_ADDR": 0x2006,
    "VM_EXIT_MSR_LOAD_ADDR": 0x2008, "VM_ENTRY_MSR_LOAD_ADDR": 0x200A, "TSC_OFFSET": 0x2010, "EPT_POINTER": 0x201A,
    "GUEST_PHYSICAL_ADDRESS": 0x2400, "VMCS_LINK_POINTER": 0x2800, "GUEST_IA32_DEBUGCTL": 0x2802,
    "GUEST_IA32_EFER": 0x2806, "GUEST_PDPTE0": 0x280A, "GUEST_PDPTE3": 0x2810, "HOST_IA32_EFER": 0x2C02,
    "PIN_BASED_VM_EXEC_CONTROL": 0x4000, "CPU_BASED_VM_EXEC_CONTROL": 0x4002, "EXCEPTION_BITMAP": 0x4004,
    "PAGE_FAULT_ERROR_CODE_MASK": 0x4006, "PAGE_FAULT_ERROR_CODE_MATCH": 0x4008, "CR3_TARGET_COUNT": 0x400A,
    "VM_EXIT_CONTROLS": 0x400C, "VM_EXIT_MSR_STORE_COUNT": 0x400E, "VM_EXIT_MSR_LOAD_COUNT": 0x4010,
    "VM_ENTRY_CONTROLS": 0x4012, "VM_ENTRY_MSR_LOAD_COUNT": 0x4014, "VM_ENTRY_INTR_INFO": 0x4016,
    "VM_ENTRY_EXCEPTION_ERROR_CODE": 0x4018, "VM_ENTRY_INSTRUCTION_LENGTH": 0x401A,
    "SECONDARY_VM_EXEC_CONTROL": 0x401E, "VM_INSTRUCTION_ERROR": 0x4400, "VM_EXIT_REASON": 0x4402,
    "VM_EXIT_INTR_INFO": 0x4404, "VM_EXIT_INTR_ERROR_CODE": 0x4406, "IDT_VECTORING_INFO": 0x4408,
    "IDT_VECTORING_ERROR_CODE": 0x440A, "VM_EXIT_INSTRUCTION_LENGTH": 0x440C, "VM_EXIT_INSTRUCTION_INFO": 0x440E,
    "GUEST_ES_LIMIT": 0x4800, "GUEST_TR_LIMIT": 0x480E, "GUEST_GDTR_LIMIT": 0x4810, "GUEST_IDTR_LIMIT": 0x4812,
    "GUEST_ES_ACCESS_RIGHTS": 0x4814, "GUEST_SS_ACCESS_RIGHTS": 0x4818, "GUEST_TR_ACCESS_RIGHTS": 0x4822,
    "GUEST_INTERRUPTIBILITY_STATE": 0x4824, "GUEST_ACTIVITY_STATE": 0x4826, "GUEST_SMBASE": 0x4828,
    "GUEST_SYSENTER_CS": 0x482A, "HOST_SYSENTER_CS": 0x4C00, "CR0_GUEST_HOST_MASK": 0x6000,
    "CR4_GUEST_HOST_MASK": 0x6002, "CR0_READ_SHADOW": 0x6004, "CR4_READ_SHADOW": 0x6006, "CR3_TARGET_VALUE0": 0x6008,
    "CR3_TARGET_VALUE3": 0x600E, "EXIT_QUALIFICATION": 0x6400, "IO_RCX": 0x6402, "IO_RSI": 0x6404, "IO_RDI": 0x6406,
    "IO_RIP": 0x6408, "GUEST_LINEAR_ADDRESS": 0x640A, "GUEST_CR0": 0x6800, "GUEST_CR3": 0x6802, "GUEST_CR4": 0x6804,
    "GUEST_ES_BASE": 0x6806, "GUEST_TR_BASE": 0x6814, "GUEST_GDTR_BASE": 0x6816, "GUEST_IDTR_BASE": 0x6818,
    "GUEST_DR7": 0x681A, "GUEST_RSP": 0x681C, "GUEST_RIP": 0x681E, "GUEST_RFLAGS": 0x6820,
    "GUEST_PENDING_DEBUG_EXCEPTIONS": 0x6822, "GUEST_SYSENTER_ESP": 0x6824, "GUEST_SYSENTER_EIP": 0x6826,
    "HOST_CR0": 0x6C00, "HOST_CR3": 0x6C02, "HOST_CR4": 0x6C04, "HOST_FS_BASE": 0x6C06, "HOST_TR_BASE": 0x6C0A,
    "HOST_IDTR_BASE": 0x6C0E, "HOST_SYSENTER_EIP": 0x6C12, "HOST_RSP": 0x6C14, "HOST_RIP": 0x6C16,
}  # fmt: skip

LINUX_BITS = {
    ("pin", 0x00000001): "external-interrupt-exiting", ("pin", 0x00000008): "nmi-exiting",
    ("pin", 0x00000020): "virtual-nmis", ("pin", 0x00000040): "activate-vmx-preemption-timer",
    ("pin", 0x00000080): "process-posted-interrupts",
    ("primary", 0x00000004): "interrupt-window-exiting", ("primary", 0x00000008): "use-tsc-offsetting",
    ("primary", 0x00000080): "hlt-exiting", ("primary", 0x00000200): "invlpg-exiting",
    ("primary", 0x00000400): "mwait-exiting", ("primary", 0x00000800): "rdpmc-exiting",
    ("primary", 0x00001000): "rdtsc-exiting", ("primary", 0x00008000): "cr3-load-exiting",
    ("primary", 0x00010000): "cr3-store-exiting", ("primary", 0x00080000): "cr8-load-exiting",
    ("primary", 0x00100000): "cr8-store-exiting", ("primary", 0x00200000): "use-tpr-shadow",
    ("primary", 0x00400000): "nmi-window-exiting", ("primary", 0x00800000): "mov-dr-exiting",
    ("primary", 0x01000000): "unconditional-io-exiting", ("primary", 0x02000000): "use-io-bitmaps",
    ("primary", 0x08000000): "monitor-trap-flag", ("primary", 0x10000000): "use-msr-bitmaps",
    ("primary", 0x20000000): "monitor-exiting", ("primary", 0x40000000): "pause-exiting",
    ("primary", 0x80000000): "activate-secondary-controls",
    ("secondary", 0x00000001): "virtualize-apic-accesses", ("secondary", 0x00000002): "enable-ept",
    ("secondary", 0x00000004): "descriptor-table-exiting", ("secondary", 0x00000008): "enable-rdtscp",
    ("secondary", 0x00000020): "enable-vpid", ("secondary", 0x00000040): "wbinvd-exiting",
    ("secondary", 0x00000080): "unrestricted-guest", ("secondary", 0x00000400): "pause-loop-exiting",
    ("secondary", 0x00001000): "enable-invpcid", ("secondary", 0x00004000): "vmcs-shadowing",
    ("secondary", 0x00020000): "enable-pml",
    ("exit", 0x00000004): "save-debug-controls-on-exit", ("exit", 0x00000200): "host-address-space-size-on-exit",
    ("exit", 0x00008000): "acknowledge-interrupt-on-exit", ("exit", 0x00100000): "save-ia32_efer-on-exit",
    ("exit", 0x00200000): "load-ia32_efer-on-exit",
    ("entry", 0x00000004): "load-debug-controls-on-entry", ("entry", 0x00000200): "ia-32e-mode-guest-on-entry",
    ("entry", 0x00000400): "entry-to-smm-on-entry", ("entry", 0x00008000): "load-ia32_efer-on-entry",
}  # fmt: skip

REASONS = {
    0: "Exception or NMI", 2: "Triple fault", 7: "Interrupt window", 9: "Task switch", 10: "CPUID", 12: "HLT",
    13: "INVD", 14: "INVLPG", 15: "RDPMC", 16: "RDTSC", 18: "VMCALL", 19: "VMCLEAR", 20: "VMLAUNCH", 21: "VMPTRLD",
    22: "VMPTRST", 23: "VMREAD", 24: "VMRESUME", 25: "VMWRITE", 26: "VMXOFF", 27: "VMXON",
    28: "Control-register accesses", 29: "MOV DR", 30: "I/O instruction", 31: "RDMSR", 32: "WRMSR", 36: "MWAIT",
    37: "Monitor trap flag", 39: "MONITOR", 40: "PAUSE", 46: "Access to GDTR or IDTR", 47: "Access to LDTR or TR",
    48: "EPT violation", 49: "EPT misconfiguration", 50: "INVEPT", 51: "RDTSCP", 53: "INVVPID", 54: "WBINVD",
    55: "XSETBV",
}  # fmt: skip


@pytest.mark.parametrize(("name", "encoding"), ENCODINGS.items())
def test_fields_have_intels_encodings(name: str, encoding: int) -> None:
    assert vmx.FIELDS_BY_NAME[name].encoding == encoding


def test_width_and_type_are_in_the_encoding() -> None:
    field = vmx.FIELDS_BY_NAME
    assert (field["GUEST_CS_SELECTOR"].width, field["GUEST_CS_SELECTOR"].type) == (FieldWidth.WORD, FieldType.GUEST)
    assert (field["IO_BITMAP_A"].width, field["IO_BITMAP_A"].type) == (FieldWidth.QUAD, FieldType.CONTROL)
    assert (field["VM_EXIT_REASON"].width, field["VM_EXIT_REASON"].type) == (FieldWidth.DOUBLE, FieldType.READ_ONLY)
    assert (field["HOST_RIP"].width, field["HOST_RIP"].type) == (FieldWidth.NATURAL, FieldType.HOST)
    assert field["GUEST_SS_SELECTOR"].index == 2
    for row in vmx.VMCS_FIELDS.values():
        assert row.encoding == row.width << 13 | row.type << 10 | row.index << 1


def test_names_and_titles_of_fields_are_unique() -> None:
    rows = list(vmx.VMCS_FIELDS.values())
    assert len({row.name for row in rows}) == len({row.title for row in rows}) == len(rows)


@pytest.mark.parametrize(("place", "name"), LINUX_BITS.items())
def test_controls_are_the_bits_that_linux_has(place: tuple[str, int], name: str) -> None:
    row = vmx.VMX_CONTROLS[name]
    assert (row.word, row.mask) == place


def test_no_two_controls_share_a_bit() -> None:
    rows = list(vmx.VMX_CONTROLS.values())
    assert len({(row.word, row.bit) for row in rows}) == len(rows)


def test_the_first_cpus_force_the_default1_class() -> None:
    # Linux: PIN_BASED_, CPU_BASED_, VM_EXIT_ and VM_ENTRY_ALWAYSON_WITHOUT_TRUE_MSR.
    assert vmx.DEFAULT1 == {"pin": 0x16, "primary": 0x0401E172, "secondary": 0, "exit": 0x00036DFF, "entry": 0x000011FF}
    forced = {row.id for row in vmx.VMX_CONTROLS.values() if vmx.DEFAULT1[row.word] & row.mask}
    assert forced >= {"cr3-load-exiting", "cr3-store-exiting"}


@pytest.mark.parametrize(("number", "name"), REASONS.items())
def test_exit_reasons_have_intels_numbers(number: int, name: str) -> None:
    assert vmx.EXIT_REASONS[number].name == name


def test_the_reasons_that_code_names_are_in_the_table() -> None:
    assert set(vmx.Reason) <= set(vmx.EXIT_REASONS)
    for row in vmx.EXIT_REASONS.values():
        assert set(row.controls) <= set(vmx.VMX_CONTROLS)


def test_instructions_that_exit_are_known_forms_and_controls() -> None:
    for row in vmx.INSTRUCTION_EXITS.values():
        assert row.form in INSTRUCTIONS
        assert row.control is None or row.control in vmx.VMX_CONTROLS


def test_what_has_no_control_is_not_among_the_instructions_that_exit() -> None:
    never = {"pushf", "popf", "cli", "sti", "iret", "int", "sysenter", "sysexit", "jmp-far", "call-far", "ret-far"}
    never |= {"lar", "lsl", "verr", "verw", "smsw", "mov-to-sreg", "mov-from-sreg", "push-sreg", "pop-sreg"}
    assert not never & set(vmx.INSTRUCTION_EXITS)
    assert set(vmx.INSTRUCTION_EXITS) & SILENT_IDS <= {"sgdt", "sidt", "sldt", "str"} | {"cpuid"}


def test_qualifications_are_laid_out_as_in_the_manual() -> None:
    cr, io, dr, ept = vmx.CR_QUALIFICATION, vmx.IO_QUALIFICATION, vmx.DR_QUALIFICATION, vmx.EPT_QUALIFICATION
    assert [(f.lo, f.hi) for f in cr.values()] == [(0, 3), (4, 5), (6, 6), (8, 11), (16, 31)]
    assert [(f.lo, f.hi) for f in io.values()] == [(0, 2), (3, 3), (4, 4), (5, 5), (6, 6), (16, 31)]
    assert [(f.lo, f.hi) for f in dr.values()] == [(0, 2), (4, 4), (8, 11)]
    assert [f.lo for f in ept.values()] == [0, 1, 2, 3, 4, 5, 7, 8]


def test_instruction_errors_are_those_of_the_manual() -> None:
    assert vmx.INSTRUCTION_ERRORS[7].title == "VM entry with invalid control field(s)"
    assert vmx.INSTRUCTION_ERRORS[8].title == "VM entry with invalid host-state field(s)"
    assert set(range(1, 29)) - set(vmx.INSTRUCTION_ERRORS) == {14, 21, 27}


def test_capability_msrs_run_from_480h() -> None:
    assert list(vmx.CAPABILITY_MSRS) == list(range(0x480, 0x491))
    assert set(vmx.CONTROL_MSRS.values()) <= set(vmx.CAPABILITY_MSRS)
