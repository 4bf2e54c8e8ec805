"""What a VM entry checks before the guest may run: controls, host state, guest state.

Each function gives the first rule that a VMCS breaks, in the words of the manual, or None. The order is the manual's.
Rules about what this CPU model does not offer (SMM, an APIC, posted interrupts, long mode on a machine without it)
reduce to "the control must be 0", which the allowed settings say already.

Source: Intel SDM Vol. 3C, "Checks on VMX Controls and Host-State Area", "Checking and Loading Guest State".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ringviz.facts.registers import Cr0, Cr4, Efer, Eflags
from ringviz.facts.vmx import (
    CONTROL_FIELDS,
    ENTRY_INTERRUPTION,
    SEGMENT_NAMES,
    VMX_CONTROLS,
    ActivityState,
    EntryFailure,
    InterruptionType,
)
from ringviz.machine.state import is_canonical
from ringviz.vmm.vtx.capabilities import CR3_TARGETS, PHYSICAL_BITS, Capabilities

Fields = Mapping[str, int]
"""A VMCS: value by field name."""

_UNUSABLE = 1 << 16
_NO_LINK = (1 << 64) - 1
_VECTORS_WITH_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17})
_DATA_SEGMENTS = ("DS", "ES", "FS", "GS")
_CODE_TYPES = (9, 11, 13, 15)
_L, _DB = 1 << 13, 1 << 14


def _is_set(fields: Fields, control: str) -> bool:
    row = VMX_CONTROLS[control]
    if row.word == "secondary" and not _is_set(fields, "activate-secondary-controls"):
        return False
    return bool(fields[CONTROL_FIELDS[row.word]] & row.mask)


def _is_long(fields: Fields) -> bool:
    """The guest runs in long mode after the entry."""
    return _is_set(fields, "ia-32e-mode-guest-on-entry")


def _beyond(address: int) -> bool:
    return address >> PHYSICAL_BITS != 0


def _bad_page(address: int) -> bool:
    """An address that is no page's, or beyond what the CPU can reach."""
    return bool(address & 0xFFF) or _beyond(address)


def broken_control_rule(fields: Fields, capabilities: Capabilities) -> str | None:
    """Give the rule on the VM-execution, VM-exit and VM-entry controls that a VMCS breaks."""
    return next(_control_rules(fields, capabilities), None)


def broken_host_rule(fields: Fields, capabilities: Capabilities) -> str | None:
    """Give the rule on the host-state area that a VMCS breaks."""
    return next(_host_rules(fields, capabilities), None)


def broken_guest_rule(fields: Fields, capabilities: Capabilities) -> tuple[str, EntryFailure] | None:
    """Give the rule on the guest-state area that a VMCS breaks, and the exit qualification that says so."""
    for rule in _guest_rules(fields, capabilities):
        return rule, EntryFailure.OTHER
    link = fields["VMCS_LINK_POINTER"]
    if link != _NO_LINK:
        return "the VMCS link pointer must be FFFFFFFF_FFFFFFFFh without VMCS shadowing", EntryFailure.LINK_POINTER
    if _pdptes_are_bad(fields):
        return "a present PDPTE has reserved bits set", EntryFailure.PDPTE
    return None


# ---- controls --------------------------------------------------------------------------------------------------------


def _control_rules(fields: Fields, capabilities: Capabilities) -> Iterator[str]:
    for word, name in CONTROL_FIELDS.items():
        if word == "secondary" and not _is_set(fields, "activate-secondary-controls"):
            continue
        value, must, may = fields[name], capabilities.must_be_1[word], capabilities.may_be_1[word]
        if must & ~value:
            yield f"the {word} controls: bit {(must & ~value).bit_length() - 1} must be 1 (allowed 0-settings)"
        if value & ~may:
            yield f"the {word} controls: bit {(value & ~may).bit_length() - 1} must be 0 (allowed 1-settings)"
    if fields["CR3_TARGET_COUNT"] > CR3_TARGETS:
        yield f"the CR3-target count must not be greater than {CR3_TARGETS}"
    if _is_set(fields, "use-io-bitmaps") and any(_bad_page(fields[f"IO_BITMAP_{letter}"]) for letter in "AB"):
        yield "bits 11:0 of each I/O-bitmap address must be 0, and the address within the physical-address width"
    if _is_set(fields, "use-msr-bitmaps") and _bad_page(fields["MSR_BITMAP"]):
        yield "bits 11:0 of the MSR-bitmap address must be 0, and the address within the physical-address width"
    if _is_set(fields, "enable-vpid") and not fields["VIRTUAL_PROCESSOR_ID"]:
        yield "the VPID must not be 0000h"
    if _is_set(fields, "enable-ept"):
        yield from _eptp_rules(fields["EPT_POINTER"])
    if _is_set(fields, "unrestricted-guest") and not _is_set(fields, "enable-ept"):
        yield "if “unrestricted guest” is 1, “enable EPT” must be 1"
    for what in ("VM_EXIT_MSR_STORE", "VM_EXIT_MSR_LOAD", "VM_ENTRY_MSR_LOAD"):
        address, count = fields[f"{what}_ADDR"], fields[f"{what}_COUNT"]
        if count and (address & 15 or _beyond(address + 16 * count - 1)):
            yield f"{what.replace('_', ' ')}: bits 3:0 of the address must be 0, and the list within the width"
    if not _is_set(fields, "host-address-space-size-on-exit") and _is_long(fields):
        yield "a VMM that is not in 64-bit mode must leave “IA-32e mode guest” 0"
    yield from _injection_rules(fields, capabilities)


def _eptp_rules(eptp: int) -> Iterator[str]:
    if eptp & 7 not in (0, 6):
        yield "the EPT memory type (bits 2:0 of the EPTP) must be one that the CPU has: 0 or 6"
    if eptp >> 3 & 7 != 3:
        yield "bits 5:3 of the EPTP must be 3: a page walk of four levels"
    if eptp & 0xFC0 or _beyond(eptp):
        yield "reserved bits 11:6 of the EPTP must be 0, and its address within the physical-address width"


def _injection_rules(fields: Fields, capabilities: Capabilities) -> Iterator[str]:
    info = fields["VM_ENTRY_INTR_INFO"]
    if not ENTRY_INTERRUPTION["VALID"].get(info):
        return
    vector, kind = info & 0xFF, ENTRY_INTERRUPTION["TYPE"].get(info)
    pushes = ENTRY_INTERRUPTION["DELIVER_ERROR_CODE"].get(info)
    if kind in (1, InterruptionType.OTHER_EVENT):
        yield f"interruption type {kind} is reserved"
    if kind == InterruptionType.NMI and vector != 2:
        yield "if the interruption type is NMI, the vector must be 2"
    if kind == InterruptionType.HARDWARE_EXCEPTION and vector > 31:
        yield "if the interruption type is hardware exception, the vector must be at most 31"
    restricted = not _is_set(fields, "unrestricted-guest") or fields["GUEST_CR0"] & Cr0.PE
    wanted = bool(restricted and kind == InterruptionType.HARDWARE_EXCEPTION and vector in _VECTORS_WITH_ERROR_CODE)
    if bool(pushes) != wanted:
        yield f"the deliver-error-code bit must be {int(wanted)} for this type and vector"
    if ENTRY_INTERRUPTION["RESERVED"].get(info):
        yield "reserved bits 30:12 of the VM-entry interruption-information field must be 0"
    if pushes and fields["VM_ENTRY_EXCEPTION_ERROR_CODE"] >> 16:
        yield "bits 31:16 of the VM-entry exception error code must be 0"
    software = (
        InterruptionType.SOFTWARE_INTERRUPT,
        InterruptionType.PRIVILEGED_SOFTWARE_EXCEPTION,
        InterruptionType.SOFTWARE_EXCEPTION,
    )
    if kind in software and not 1 <= fields["VM_ENTRY_INSTRUCTION_LENGTH"] <= 15:
        yield "for software interrupts and exceptions the VM-entry instruction length must be 1 to 15"


# ---- host state ------------------------------------------------------------------------------------------------------


def _host_rules(fields: Fields, capabilities: Capabilities) -> Iterator[str]:
    if capabilities.cr0_fixed_1 & ~fields["HOST_CR0"]:
        yield "host CR0 must have the bits set that VMX operation fixes to 1: PE, NE, PG"
    if capabilities.cr4_fixed_1 & ~fields["HOST_CR4"] or fields["HOST_CR4"] & ~capabilities.cr4_may_be_1:
        yield "host CR4 must have VMXE set, and no bit that the CPU does not have"
    if fields["HOST_CR3"] >> capabilities.physical_bits:
        yield "host CR3 must be within the physical-address width"
    for name in ("CS", "SS", "DS", "ES", "FS", "GS", "TR"):
        if fields[f"HOST_{name}_SELECTOR"] & 7:
            yield f"RPL and TI of the host {name} selector must be 0"
    for name in ("CS", "TR"):
        if not fields[f"HOST_{name}_SELECTOR"]:
            yield f"the host {name} selector must not be 0000h"
    if not _is_set(fields, "host-address-space-size-on-exit"):
        if not fields["HOST_SS_SELECTOR"]:
            yield "the host SS selector must not be 0000h unless the host is in 64-bit mode"
        if fields["HOST_RIP"] >> 32:
            yield "bits 63:32 of host RIP must be 0 unless the host is in 64-bit mode"
        return
    if not fields["HOST_CR4"] & Cr4.PAE:
        yield "host CR4 must have PAE set if the host is in 64-bit mode"
    for name in ("FS_BASE", "GS_BASE", "TR_BASE", "GDTR_BASE", "IDTR_BASE", "RIP"):
        if not is_canonical(fields[f"HOST_{name}"]):
            yield f"the host {name.replace('_BASE', ' base')} must be canonical"


# ---- guest state -----------------------------------------------------------------------------------------------------


def _guest_rules(fields: Fields, capabilities: Capabilities) -> Iterator[str]:
    yield from _control_register_rules(fields, capabilities)
    yield from _segment_rules(fields)
    for name in ("GDTR", "IDTR"):
        if not is_canonical(fields[f"GUEST_{name}_BASE"]):
            yield f"the guest {name} base must be canonical"
        if fields[f"GUEST_{name}_LIMIT"] >> 16:
            yield f"bits 31:16 of the guest {name} limit must be 0"
    yield from _flag_rules(fields)
    yield from _non_register_rules(fields)


def _control_register_rules(fields: Fields, capabilities: Capabilities) -> Iterator[str]:
    cr0, cr4 = fields["GUEST_CR0"], fields["GUEST_CR4"]
    fixed = capabilities.cr0_fixed_1
    if _is_set(fields, "unrestricted-guest"):
        fixed &= ~(Cr0.PE | Cr0.PG)
    if fixed & ~cr0:
        names = ", ".join(bit.name for bit in (Cr0.PE, Cr0.NE, Cr0.PG) if fixed & ~cr0 & bit)
        yield f"guest CR0 must have {names} set: VMX operation fixes them to 1"
    if cr0 & Cr0.PG and not cr0 & Cr0.PE:
        yield "if guest CR0.PG is 1, CR0.PE must be 1"
    if capabilities.cr4_fixed_1 & ~cr4:
        yield "guest CR4 must have VMXE set: VMX operation fixes it to 1"
    if cr4 & ~capabilities.cr4_may_be_1:
        yield "guest CR4 must not have bits set that the CPU does not have"
    if _is_long(fields):
        if not cr0 & Cr0.PG:
            yield "guest CR0.PG must be 1 if “IA-32e mode guest” is 1"
        if not cr4 & Cr4.PAE:
            yield "guest CR4.PAE must be 1 if “IA-32e mode guest” is 1"
    for name in ("SYSENTER_ESP", "SYSENTER_EIP"):
        if not is_canonical(fields[f"GUEST_{name}"]):
            yield f"guest IA32_{name} must be canonical"
    if fields["GUEST_CR3"] >> capabilities.physical_bits:
        yield "guest CR3 must be within the physical-address width"
    if _is_set(fields, "load-debug-controls-on-entry"):
        if fields["GUEST_IA32_DEBUGCTL"] & ~0x3:
            yield "reserved bits of the guest IA32_DEBUGCTL must be 0"
        if fields["GUEST_DR7"] >> 32:
            yield "bits 63:32 of guest DR7 must be 0"
    if _is_set(fields, "load-ia32_efer-on-entry"):
        efer = fields["GUEST_IA32_EFER"]
        if efer & ~(Efer.SCE | Efer.LME | Efer.LMA | Efer.NXE):
            yield "reserved bits of the guest IA32_EFER must be 0"
        if bool(efer & Efer.LMA) != _is_long(fields):
            yield "EFER.LMA must equal the “IA-32e mode guest” control"
        if cr0 & Cr0.PG and bool(efer & Efer.LME) != bool(efer & Efer.LMA):
            yield "EFER.LME must equal EFER.LMA while CR0.PG is 1"


def _segment_rules(fields: Fields) -> Iterator[str]:
    is_v86 = bool(fields["GUEST_RFLAGS"] & Eflags.VM)
    is_unrestricted = _is_set(fields, "unrestricted-guest")
    selectors = {name: fields[f"GUEST_{name}_SELECTOR"] for name in SEGMENT_NAMES}
    rights = {name: fields[f"GUEST_{name}_ACCESS_RIGHTS"] for name in SEGMENT_NAMES}
    if selectors["TR"] & 4:
        yield "TI of the guest TR selector must be 0"
    if not rights["LDTR"] & _UNUSABLE and selectors["LDTR"] & 4:
        yield "TI of the guest LDTR selector must be 0"
    if not is_v86 and not is_unrestricted and (selectors["SS"] ^ selectors["CS"]) & 3:
        yield "the RPL of guest SS must equal that of CS"
    if is_v86:
        yield from _v86_rules(fields, selectors, rights)
    else:
        yield from _protected_rules(fields, selectors, rights, is_unrestricted)
    yield from _system_segment_rules(fields, rights)
    yield from _base_rules(fields, rights)


def _base_rules(fields: Fields, rights: Mapping[str, int]) -> Iterator[str]:
    """Bases as a CPU with Intel 64 wants them: 32 bits where a segment has no more, and canonical where it has."""
    for name in ("TR", "FS", "GS", "LDTR"):
        is_used = name != "LDTR" or not rights["LDTR"] & _UNUSABLE
        if is_used and not is_canonical(fields[f"GUEST_{name}_BASE"]):
            yield f"the guest {name} base must be canonical"
    for name in ("CS", "SS", "DS", "ES"):
        is_used = name == "CS" or not rights[name] & _UNUSABLE
        if is_used and fields[f"GUEST_{name}_BASE"] >> 32:
            yield f"bits 63:32 of the guest {name} base must be 0"
    if _is_long(fields) and rights["CS"] & _L and rights["CS"] & _DB:
        yield "D/B of guest CS must be 0 if “IA-32e mode guest” is 1 and L is 1"


def _v86_rules(fields: Fields, selectors: Mapping[str, int], rights: Mapping[str, int]) -> Iterator[str]:
    for name in ("CS", "SS", *_DATA_SEGMENTS):
        if fields[f"GUEST_{name}_BASE"] != selectors[name] << 4:
            yield f"in virtual-8086 mode the guest {name} base must be the selector times 16"
        if fields[f"GUEST_{name}_LIMIT"] != 0xFFFF:
            yield f"in virtual-8086 mode the guest {name} limit must be FFFFh"
        if rights[name] != 0xF3:
            yield f"in virtual-8086 mode the guest {name} access rights must be F3h"


def _protected_rules(
    fields: Fields, selectors: Mapping[str, int], rights: Mapping[str, int], is_unrestricted: bool
) -> Iterator[str]:
    code, stack = rights["CS"], rights["SS"]
    code_type, code_dpl, stack_dpl = code & 15, code >> 5 & 3, stack >> 5 & 3
    if code_type not in _CODE_TYPES and not (is_unrestricted and code_type == 3):
        yield "the type of guest CS must be that of an accessed code segment: 9, 11, 13 or 15"
    if not stack & _UNUSABLE and stack & 15 not in (3, 7):
        yield "the type of guest SS must be that of an accessed, writable data segment: 3 or 7"
    for name in _DATA_SEGMENTS:
        value = rights[name]
        if value & _UNUSABLE:
            continue
        if not value & 1:
            yield f"guest {name} must be accessed"
        if value & 8 and not value & 2:
            yield f"if guest {name} is a code segment, it must be readable"
    for name in ("CS", "SS", *_DATA_SEGMENTS):
        value = rights[name]
        if name != "CS" and value & _UNUSABLE:
            continue
        if not value & 0x10:
            yield f"S of guest {name} must be 1: code or data"
        if not value & 0x80:
            yield f"P of guest {name} must be 1"
        yield from _common_rules(fields, name, value)
    if code_type == 3 and code_dpl:
        yield "the DPL of guest CS must be 0 if its type is 3"
    if code_type in (9, 11) and code_dpl != stack_dpl:
        yield "the DPL of guest CS must equal that of SS if CS is non-conforming"
    if code_type in (13, 15) and code_dpl > stack_dpl:
        yield "the DPL of guest CS must not be greater than that of SS if CS is conforming"
    if not is_unrestricted and stack_dpl != selectors["SS"] & 3:
        yield "the DPL of guest SS must equal its RPL"
    if (code_type == 3 or not fields["GUEST_CR0"] & Cr0.PE) and stack_dpl:
        yield "the DPL of guest SS must be 0 in real mode"
    if not is_unrestricted:
        for name in _DATA_SEGMENTS:
            value = rights[name]
            if not value & _UNUSABLE and value & 15 <= 11 and value >> 5 & 3 < selectors[name] & 3:
                yield f"the DPL of guest {name} must not be less than its RPL"


def _system_segment_rules(fields: Fields, rights: Mapping[str, int]) -> Iterator[str]:
    task = rights["TR"]
    if task & _UNUSABLE:
        yield "guest TR must be usable"
    if task & 15 not in ((11,) if _is_long(fields) else (3, 11)):
        yield "the type of guest TR must be that of a busy TSS: 3 or 11, or 11 alone if “IA-32e mode guest” is 1"
    if task & 0x10:
        yield "S of guest TR must be 0"
    if not task & 0x80:
        yield "P of guest TR must be 1"
    yield from _common_rules(fields, "TR", task & ~_UNUSABLE)
    table = rights["LDTR"]
    if table & _UNUSABLE:
        return
    if table & 15 != 2:
        yield "the type of guest LDTR must be 2"
    if table & 0x10:
        yield "S of guest LDTR must be 0"
    if not table & 0x80:
        yield "P of guest LDTR must be 1"
    yield from _common_rules(fields, "LDTR", table)


def _common_rules(fields: Fields, name: str, rights: int) -> Iterator[str]:
    """Reserved bits, and G against the limit, for any usable segment."""
    limit = fields[f"GUEST_{name}_LIMIT"]
    if rights & 0xF00 or rights >> 17:
        yield f"reserved bits of the guest {name} access rights must be 0"
    if rights & 0x8000:
        if limit & 0xFFF != 0xFFF:
            yield f"G of guest {name} must be 0 if any of bits 11:0 of the limit is 0"
    elif limit >> 20:
        yield f"G of guest {name} must be 1 if any of bits 31:20 of the limit is 1"


def _flag_rules(fields: Fields) -> Iterator[str]:
    flags = fields["GUEST_RFLAGS"]
    if _is_long(fields) and fields["GUEST_CS_ACCESS_RIGHTS"] & _L:
        if not is_canonical(fields["GUEST_RIP"]):
            yield "guest RIP must be canonical in 64-bit mode"
    elif fields["GUEST_RIP"] >> 32:
        yield "bits 63:32 of guest RIP must be 0 outside 64-bit mode"
    if flags >> 22 or flags & 0x8028:
        yield "reserved bits 63:22, 15, 5 and 3 of guest RFLAGS must be 0"
    if not flags & 2:
        yield "bit 1 of guest RFLAGS must be 1"
    if flags & Eflags.VM and _is_long(fields):
        yield "guest RFLAGS.VM must be 0 if “IA-32e mode guest” is 1"
    if flags & Eflags.VM and not fields["GUEST_CR0"] & Cr0.PE:
        yield "guest RFLAGS.VM must be 0 if CR0.PE is 0"
    info = fields["VM_ENTRY_INTR_INFO"]
    is_external = info >> 31 and ENTRY_INTERRUPTION["TYPE"].get(info) == InterruptionType.EXTERNAL_INTERRUPT
    if is_external and not flags & Eflags.IF:
        yield "guest RFLAGS.IF must be 1 to inject an external interrupt"


def _non_register_rules(fields: Fields) -> Iterator[str]:
    activity, blocking = fields["GUEST_ACTIVITY_STATE"], fields["GUEST_INTERRUPTIBILITY_STATE"]
    info = fields["VM_ENTRY_INTR_INFO"]
    kind = ENTRY_INTERRUPTION["TYPE"].get(info) if info >> 31 else None
    if activity > ActivityState.HLT:
        yield "the guest activity state must be one that the CPU supports: active or HLT"
    if activity == ActivityState.HLT and fields["GUEST_SS_ACCESS_RIGHTS"] >> 5 & 3:
        yield "the guest activity state must not be HLT if the DPL of SS is not 0"
    if activity != ActivityState.ACTIVE and blocking & 3:
        yield "the guest activity state must be active while STI or MOV SS blocks"
    if activity == ActivityState.HLT and kind == InterruptionType.HARDWARE_EXCEPTION and info & 0xFF not in (1, 18):
        yield "in the HLT state only #DB and #MC may be injected as hardware exceptions"
    if activity == ActivityState.HLT and kind in (
        InterruptionType.SOFTWARE_INTERRUPT,
        InterruptionType.PRIVILEGED_SOFTWARE_EXCEPTION,
        InterruptionType.SOFTWARE_EXCEPTION,
    ):
        yield "in the HLT state no software interrupt or exception may be injected"
    if blocking >> 4:
        yield "reserved bits 31:4 of the guest interruptibility state must be 0"
    if blocking & 3 == 3:
        yield "blocking by STI and blocking by MOV SS must not both be 1"
    if blocking & 1 and not fields["GUEST_RFLAGS"] & Eflags.IF:
        yield "blocking by STI must be 0 if guest RFLAGS.IF is 0"
    if blocking & 3 and kind == InterruptionType.EXTERNAL_INTERRUPT:
        yield "STI and MOV SS must not block if an external interrupt is injected"
    if blocking & 3 and kind == InterruptionType.NMI:
        # Older editions of the manual name MOV SS only, and leave STI to the processor.
        yield "STI and MOV SS must not block if an NMI is injected"
    if blocking & 4:
        yield "blocking by SMI must be 0 outside system management mode"
    pending = fields["GUEST_PENDING_DEBUG_EXCEPTIONS"]
    if pending & ~0x500F:
        yield "reserved bits of the guest pending debug exceptions must be 0"
    if blocking & 3 or activity == ActivityState.HLT:
        steps = bool(fields["GUEST_RFLAGS"] & Eflags.TF) and not fields["GUEST_IA32_DEBUGCTL"] & 2
        if bool(pending & 1 << 14) != steps:
            yield f"BS of the guest pending debug exceptions must be {int(steps)} here"


def _pdptes_are_bad(fields: Fields) -> bool:
    """With EPT, PAE paging starts from the PDPTEs in the VMCS."""
    uses = _is_set(fields, "enable-ept") and fields["GUEST_CR0"] & Cr0.PG and fields["GUEST_CR4"] & Cr4.PAE
    if not uses or _is_long(fields):
        return False
    entries = [fields[f"GUEST_PDPTE{number}"] for number in range(4)]
    return any(entry & 1 and (entry & 0x1E6 or entry >> PHYSICAL_BITS) for entry in entries)
