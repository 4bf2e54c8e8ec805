"""What this VMM puts into the control fields: its own choice, what the user changed, what the CPU insists on.

Three situations differ. A CPU with the unrestricted guest lets the guest use CR0 and CR3 as it likes. With EPT alone a
guest that has paging off really runs on page tables of the VMM, which then owns CR3; the guest's own tables take over
once it turns paging on. Without EPT the real tables are always the VMM's: shadows of the guest's. In the last two the
guest cannot be in real mode either: see `restricted_guest`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ringviz.facts.exceptions import EXCEPTIONS, Vector
from ringviz.facts.registers import CR0_BITS, CR4_BITS, EFER_MSR, Cr0, Cr4, Efer
from ringviz.facts.vmx import CONTROL_FIELDS, VMX_CONTROLS
from ringviz.machine.state import CpuState
from ringviz.vmm.controls import HYPERVISOR_BIT, Control, exception_name, hypervisor_bit, take
from ringviz.vmm.mmu.shadow import Root
from ringviz.vmm.setup import Setup
from ringviz.vmm.vtx.capabilities import Capabilities, capabilities_of
from ringviz.vmm.vtx.identity import EPT_DIRECTORY_GPA
from ringviz.vmm.vtx.restricted_guest import Held, Running, hold, running_of

_OWN = frozenset({"external-interrupt-exiting", "nmi-exiting", "hlt-exiting", "rdpmc-exiting", "use-io-bitmaps"})
"""What this VMM wants everywhere: interrupts, ports and performance counters belong to the whole machine, and HLT
tells it that the guest is idle. CPUID and INVD exit whether it wants or not, and all MSRs while no bitmap is used."""
_OWN_CR3 = frozenset({"invlpg-exiting", "cr3-load-exiting", "cr3-store-exiting"})
"""While the real CR3 is the VMM's."""
_LONG_MODE = frozenset({"host-address-space-size-on-exit", "cr8-load-exiting", "cr8-store-exiting"})
"""For a 64-bit guest: this VMM is a 64-bit one itself, or no VM entry would lead to long mode, and keeps its CR8."""
_EPT = frozenset({"activate-secondary-controls", "enable-ept"})
_WHERE_OFFERED = ("enable-vpid",)
"""Used on every CPU that has them."""
_WITH_EPT = ("unrestricted-guest", "load-ia32_efer-on-entry", "save-ia32_efer-on-exit")
"""The same, if the second dimension is on."""
_EXECUTION = ("pin", "primary", "secondary")
_GROUPS = {
    "pin": "pin-based controls",
    "primary": "primary processor-based controls",
    "secondary": "secondary processor-based controls",
}
_ALL = 0xFFFF_FFFF
_SHADOW_CR0 = Cr0.WP
"""Without EPT: where the real one is 0, the kernel writes to pages that the VMM keeps read-only."""
_UNPAGED_CR4 = Cr4.PSE | Cr4.PAE | Cr4.PGE
"""They change how page tables are read: the VMM's while it owns CR3."""

_NOT_IN_THIS_MACHINE: Mapping[str, str] = {
    "interrupt-window-exiting": "the VMM sets it itself, while an interrupt waits for the guest to let it in",
    "nmi-window-exiting": "no NMI arrives in this machine",
    "virtual-nmis": "no NMI arrives in this machine",
    "activate-vmx-preemption-timer": "this machine's time goes by instructions, and has no such timer",
    "process-posted-interrupts": "this machine has no APIC",
    "mwait-exiting": "this machine's CPU has no MONITOR and MWAIT",
    "monitor-exiting": "this machine's CPU has no MONITOR and MWAIT",
    "pause-exiting": "this machine does not tell PAUSE from other innocuous instructions",
    "pause-loop-exiting": "this machine does not tell PAUSE from other innocuous instructions",
    "monitor-trap-flag": "ringviz steps a guest by other means",
    "activate-tertiary-controls": "ringviz knows no tertiary controls",
    "cr8-load-exiting": "CR8 is for 64-bit mode",
    "cr8-store-exiting": "CR8 is for 64-bit mode",
    "use-tpr-shadow": "this machine has no APIC",
    "virtualize-apic-accesses": "this machine has no APIC",
    "virtualize-x2apic-mode": "this machine has no APIC",
    "apic-register-virtualization": "this machine has no APIC",
    "virtual-interrupt-delivery": "this machine has no APIC",
    "enable-rdtscp": "this machine's CPU has no RDTSCP",
    "rdrand-exiting": "this machine's CPU has no RDRAND",
    "rdseed-exiting": "this machine's CPU has no RDSEED",
    "enable-invpcid": "this machine's CPU has no INVPCID",
    "enable-vm-functions": "this VMM offers its guest no VMFUNC",
    "vmcs-shadowing": "this VMM does not nest another",
    "enable-pml": "this VMM keeps no log of dirty pages",
    "ept-violation-#ve": "this machine's CPU has no #VE",
    "enable-xsavesxrstors": "this machine's CPU has no XSAVES",
}
_FEATURE_OF: Mapping[str, str] = {
    "monitor-trap-flag": "monitor-trap-flag",
    "activate-vmx-preemption-timer": "preemption-timer",
    "virtual-nmis": "virtual-nmis",
    "vmcs-shadowing": "vmcs-shadowing",
    "enable-vm-functions": "vmfunc",
    "enable-pml": "pml",
    "ept-violation-#ve": "virtualization-exceptions",
}
"""Controls that some profiles are known to have, and others not to."""

_PORT = re.compile(r"[+-](port-([0-9a-f]{1,4}))")
_MSR = re.compile(r"[+-](msr-([0-9a-f]{1,8}))")


@dataclass(frozen=True, slots=True)
class Composition:
    """The real CPU state and the control fields for one state that the guest is to see."""

    real: CpuState
    fields: dict[str, int]
    owns_cr3: bool
    """The real CR3 is the VMM's; the guest's is a value that the VMM remembers."""
    loads_efer: bool
    """The real EFER is the guest's."""
    running: Running
    """Whether VM entry would take the guest like that."""
    held: Held | None
    """What a guest in real mode believes, where the CPU has no real mode for it."""


class Policy:
    """The choices of one run."""

    def __init__(self, setup: Setup, *, has_long_mode: bool = False) -> None:
        self.capabilities = capabilities_of(setup.cpu, has_long_mode=has_long_mode)
        self.uses_ept = setup.mmu == "nested"
        self._chosen = take("vt-x", setup.controls, controls(setup))
        self.is_unrestricted = self.uses_ept and self._is_on(
            "unrestricted-guest", self.capabilities.allows("unrestricted-guest", value=True)
        )
        self.shows_itself = self._is_on(HYPERVISOR_BIT, False)
        """The guest may know that it is one."""

    def _is_on(self, control: str, own_choice: bool) -> bool:
        return self._chosen.get(control, own_choice)

    @property
    def fixed_cr0(self) -> int:
        """CR0 bits that are 1 in non-root operation."""
        fixed = self.capabilities.cr0_fixed_1
        return fixed & ~(Cr0.PE | Cr0.PG) if self.is_unrestricted else fixed

    def ports_of_the_guest(self) -> tuple[int, ...]:
        """Ports that the guest reaches itself."""
        return tuple(int(name[5:], 16) for name, on in self._chosen.items() if name.startswith("port-") and not on)

    def msrs_of_the_guest(self) -> tuple[int, ...]:
        """Model-specific registers that the guest reaches itself."""
        return tuple(int(name[4:], 16) for name, on in self._chosen.items() if name.startswith("msr-") and not on)

    def compose(self, guest: CpuState, shadow: Root | None, *, awaits_window: bool = False) -> Composition:
        """Give the real CPU state for what the guest is to see, and the control fields that go with it.

        Args:
            guest: what it is to see.
            shadow: without EPT: the tables that the CPU is to walk.
            awaits_window: an interrupt waits for the guest to let it in.
        """
        real, held, running = guest.copy(), None, Running.NON_ROOT
        if not self.is_unrestricted:
            running = running_of(guest)
            if not guest.is_protected:
                real, held = hold(guest)
        owns_cr3 = shadow is not None or (not self.is_unrestricted and not guest.cr0 & Cr0.PG)
        wanted = self._controls(owns_cr3=owns_cr3)
        if awaits_window and "external-interrupt-exiting" in wanted:
            wanted |= {"interrupt-window-exiting"}
        cr0_mask, cr4_mask = self._masks(owns_cr3=owns_cr3)
        kept = self.fixed_cr0 | Cr0.CD | Cr0.NW
        real.cr0 = guest.cr0 & ~(kept & cr0_mask) | self.fixed_cr0
        real.cr4 = guest.cr4 & ~(Cr4.VMXE | (_UNPAGED_CR4 if owns_cr3 else 0)) | Cr4.VMXE
        loads_efer = "load-ia32_efer-on-entry" in wanted
        if not loads_efer:
            real.efer = 0
        elif owns_cr3:
            real.efer &= ~Efer.LME  # the real paging is on, and the guest's 32-bit one is not what it believes to use
        if shadow is not None:
            real.cr0 |= _SHADOW_CR0
            real.cr3 = shadow.cr3
            real.cr4 |= Cr4.PAE if shadow.is_pae else 0
            real.efer = int(Efer.NXE) if shadow.no_execute else 0
            if guest.is_long_active:
                real.efer |= guest.efer & (Efer.SCE | Efer.LME | Efer.LMA)
        elif owns_cr3:
            real.cr3 = EPT_DIRECTORY_GPA
            real.cr4 |= Cr4.PSE
        if real.is_long_active:
            wanted |= {"ia-32e-mode-guest-on-entry"}
        fields = {
            name: self.capabilities.adjusted(word, wanted)
            for word, name in CONTROL_FIELDS.items()
            if word != "secondary" or self.capabilities.allows("activate-secondary-controls", value=True)
        }
        fields |= {
            "EXCEPTION_BITMAP": _ALL if held is not None else self._exceptions(guest, owns_cr3=owns_cr3),
            "CR0_GUEST_HOST_MASK": cr0_mask,
            "CR0_READ_SHADOW": guest.cr0,
            "CR4_GUEST_HOST_MASK": cr4_mask,
            "CR4_READ_SHADOW": guest.cr4,
        }
        if loads_efer:
            fields["GUEST_IA32_EFER"] = real.efer
        return Composition(real, fields, owns_cr3, loads_efer, running, held)

    def _controls(self, *, owns_cr3: bool) -> frozenset[str]:
        """The controls to set, by id."""
        wanted = set(_OWN | (_OWN_CR3 if owns_cr3 else frozenset()))
        wanted |= _offered(self.capabilities, uses_ept=self.uses_ept)
        if self.capabilities.allows("activate-secondary-controls", value=True):
            wanted.add("activate-secondary-controls")
        if self.capabilities.has_long_mode:
            wanted |= _LONG_MODE
        for control, value in self._chosen.items():
            if control in VMX_CONTROLS:
                (wanted.add if value else wanted.discard)(control)
        return frozenset(wanted)

    def _masks(self, *, owns_cr3: bool) -> tuple[int, int]:
        """The CR0 and CR4 guest/host masks."""
        cr0 = self.fixed_cr0 | Cr0.CD | Cr0.NW | (0 if self.uses_ept else _SHADOW_CR0)
        cr4 = Cr4.VMXE | (_UNPAGED_CR4 if owns_cr3 else 0)
        for name, value in self._chosen.items():
            register, _, bit = name.partition("-mask-")
            if register == "cr0":
                mask = CR0_BITS[bit.upper()].mask
                cr0 = cr0 | mask if value else cr0 & ~mask
            elif register == "cr4":
                mask = CR4_BITS[bit.upper()].mask
                cr4 = cr4 | mask if value else cr4 & ~mask
        return cr0, cr4

    def _exceptions(self, guest: CpuState, *, owns_cr3: bool) -> int:
        """The exception bitmap."""
        bitmap = 0 if guest.cr0 & Cr0.NE else 1 << Vector.MF
        if owns_cr3 and not self.uses_ept:
            bitmap |= 1 << Vector.PF
        for vector in EXCEPTIONS:
            if self._chosen.get(exception_name(vector)):
                bitmap |= 1 << vector
        return bitmap


# ---- what the user may change ----------------------------------------------------------------------------------------


def controls(setup: Setup) -> dict[str, Control]:
    """Every control of this technique, as it stands on this CPU."""
    capabilities = capabilities_of(setup.cpu)
    rows = [*_vmcs_controls(setup, capabilities), *_exception_controls(setup), *_mask_controls(setup, capabilities)]
    rows += [*_bitmap_controls(setup, capabilities), hypervisor_bit()]
    return {row.id: row for row in rows}


def _has_unrestricted(setup: Setup, capabilities: Capabilities) -> bool:
    """The guest will be unrestricted: the CPU can, and the user did not switch it off."""
    can = setup.mmu == "nested" and capabilities.allows("unrestricted-guest", value=True)
    return can and "-unrestricted-guest" not in setup.controls


def _real_tables(setup: Setup, what: str) -> str:
    """When something about page tables is the VMM's: without EPT always."""
    return f"while the guest has paging off, {what}" if setup.mmu == "nested" else f"without EPT {what}"


def _offered(capabilities: Capabilities, *, uses_ept: bool) -> frozenset[str]:
    """Give the controls that are set because this CPU has them; VPIDs keep TLB entries alive without EPT, too."""
    names = _WHERE_OFFERED + (_WITH_EPT if uses_ept else ())
    offered = {name for name in names if capabilities.allows(name, value=True)}
    return frozenset(offered | (_EPT if uses_ept else frozenset()))


def _vmcs_controls(setup: Setup, capabilities: Capabilities) -> Iterator[Control]:
    uses_ept = setup.mmu == "nested"
    owns_cr3 = not _has_unrestricted(setup, capabilities)
    own = set(_OWN)
    if owns_cr3:
        own |= _OWN_CR3
    own |= _offered(capabilities, uses_ept=uses_ept)
    if capabilities.allows("activate-secondary-controls", value=True):
        own.add("activate-secondary-controls")
    for name, row in VMX_CONTROLS.items():
        if row.word not in _EXECUTION:
            continue
        is_on = name in own
        rule = _missing(name, capabilities) or capabilities.refusal(name, value=not is_on)
        if not rule and name in ("cr3-load-exiting", "cr3-store-exiting") and owns_cr3:
            rule = _real_tables(setup, "the real CR3 is the VMM's")
        elif not rule and name == "enable-ept":
            rule = f"--mmu {setup.mmu} decides it; ask for --mmu {'shadow' if uses_ept else 'nested'}"
        elif not rule and name == "activate-secondary-controls" and uses_ept:
            rule = "“Enable EPT”, which --mmu nested asks for, is one of them"
        elif not rule and name == "unrestricted-guest" and not uses_ept:
            rule = "VM entry fails if “Unrestricted guest” is 1 and “Enable EPT” is 0; ask for --mmu nested"
        yield Control(name, row.title, _GROUPS[row.word], is_on, rule)


def _missing(name: str, capabilities: Capabilities) -> str:
    """Why a control means nothing in this machine; empty if it does, or if the CPU itself does not have it."""
    if name not in _NOT_IN_THIS_MACHINE:
        return ""
    feature = _FEATURE_OF.get(name)
    if feature is not None and feature not in capabilities.features:
        return ""
    return _NOT_IN_THIS_MACHINE[name]


def _exception_controls(setup: Setup) -> Iterator[Control]:
    for vector, row in EXCEPTIONS.items():
        if not row.mnemonic.startswith("#") or vector == Vector.DF:
            continue
        is_on, rule = False, ""
        if vector == Vector.PF and setup.mmu != "nested":
            is_on, rule = True, "page faults of the VMM's own page tables must reach it"
        if vector == Vector.MF:
            is_on, rule = True, "a guest with CR0.NE = 0 expects FERR and not #MF; with NE = 1 the bit is clear"
        yield Control(exception_name(vector), f"{row.mnemonic}, {row.name}, exits", "exception bitmap", is_on, rule)


def _mask_controls(setup: Setup, capabilities: Capabilities) -> Iterator[Control]:
    unrestricted = _has_unrestricted(setup, capabilities)
    fixed = capabilities.cr0_fixed_1 & (~(Cr0.PE | Cr0.PG) if unrestricted else ~0)
    for register, bits, own in (
        ("cr0", CR0_BITS, fixed | Cr0.CD | Cr0.NW | (0 if setup.mmu == "nested" else _SHADOW_CR0)),
        ("cr4", CR4_BITS, Cr4.VMXE | (0 if unrestricted else _UNPAGED_CR4)),
    ):
        for name, bit in bits.items():
            if not bit.is_on_p4 or name == "ET":
                continue
            rule = ""
            if register == "cr0" and name in ("PE", "PG") and not unrestricted:
                rule = "VMX operation fixes the real bit to 1, and the VMM must hear of what the guest wants"
            if register == "cr4" and bit.mask & _UNPAGED_CR4 and not unrestricted:
                rule = _real_tables(setup, "the page tables are the VMM's")
            if register == "cr0" and bit.mask & _SHADOW_CR0 and setup.mmu != "nested":
                rule = "the VMM's read-only pages hold in ring 0 only while the real WP is 1"
            title = f"The VMM owns {register.upper()}.{name}: the guest reads the read shadow, and changes exit"
            yield Control(
                f"{register}-mask-{name.lower()}",
                title,
                f"{register.upper()} guest/host mask",
                bool(bit.mask & own),
                rule,
            )


def _bitmap_controls(setup: Setup, capabilities: Capabilities) -> Iterator[Control]:
    """Ports and MSRs: those that the user names, and one of each to show that they can be named."""
    words = " ".join(setup.controls).lower()
    for name, number in dict([("port-3f8", "3f8"), *_PORT.findall(words)]).items():
        rule = "" if "-use-io-bitmaps" not in setup.controls else "without “Use I/O bitmaps” all ports are alike"
        title = f"Port {int(number, 16):X}h exits (any port can be named, in hexadecimal)"
        yield Control(name, title, "I/O bitmaps", True, rule)
    uses = "+use-msr-bitmaps" in setup.controls and capabilities.allows("use-msr-bitmaps", value=True)
    for name, number in dict([("msr-174", "174"), *_MSR.findall(words)]).items():
        rule = "" if uses else "without “Use MSR bitmaps” all MSRs exit; add +use-msr-bitmaps where the CPU allows it"
        if uses and int(number, 16) == EFER_MSR and setup.mmu != "nested":
            rule = "the real EFER is the VMM's: it says how the shadow page tables are read"
        title = f"MSR {int(number, 16):X}h exits (any MSR can be named, in hexadecimal)"
        yield Control(name, title, "MSR bitmaps", True, rule)
