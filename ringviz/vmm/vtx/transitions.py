"""VMX transitions: the VMM takes up VMX operation, and each VM exit and VM entry goes through its VMCS.

What the guest sees of the control registers is the CPU behind masks and read shadows; what the VMM keeps to itself is
here as well. Why a VM exit happens, and what the VMM does about it, are the files around this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ringviz.facts.registers import Cr0
from ringviz.facts.virtual_8086 import SILENT_IN_VIRTUAL_8086
from ringviz.facts.vmx import (
    EXIT_REASONS,
    FIELDS_BY_NAME,
    INSTRUCTION_EXITS,
)
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine import microcode
from ringviz.machine.cpuid import hypervisor_cpuid
from ringviz.machine.delivery import Interruption
from ringviz.machine.linear import LinearMemory
from ringviz.machine.memory import PAGE
from ringviz.machine.state import CpuState
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.hardware import RETURNS
from ringviz.vmm.hardware_paging import HardwarePaging
from ringviz.vmm.mmu.shadow import Places
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import changes_between, text_of
from ringviz.vmm.vtx import layout
from ringviz.vmm.vtx.ept import ExtendedTables
from ringviz.vmm.vtx.exit_report import MORE_READS, READS, exit_detail, write_exit
from ringviz.vmm.vtx.exits import Controls, VmExit, interruption_information
from ringviz.vmm.vtx.guest_area import guest_fields
from ringviz.vmm.vtx.identity import EPT_DIRECTORY_GPA, build_ept_directory
from ringviz.vmm.vtx.interruptibility import blocking_of
from ringviz.vmm.vtx.noting_space import NotingSpace
from ringviz.vmm.vtx.operation import Entered, Success, VmxUnit
from ringviz.vmm.vtx.panel import Images
from ringviz.vmm.vtx.policy import Composition, Policy
from ringviz.vmm.vtx.preparation import fixed_fields, mark_everything, put_msr_load_list
from ringviz.vmm.vtx.restricted_guest import Held, Running
from ringviz.vmm.vtx.vmcs import Vmcs

_ROOT = -1
_HANDLER = "VMM in VMX root (“ring −1”)"
VIEWED = frozenset({"mov-to-cr", "mov-from-cr", "smsw"})
"""Forms executed under masks and read shadows, which the emulated CPU has not: microcode does it."""
_STOPS_BY_ITSELF = frozenset(
    {"cpuid", "hlt", "rdtsc", "rdpmc", "rdmsr", "wrmsr", "clts", "lmsw", "ltr", "in", "out", "ins", "outs"}
)
"""The machine stops at these in any case; to watch them would be to pass them."""
_WATCHED_TO_EMULATE = frozenset(microcode.FORMS)


class Transitions(HardwarePaging):
    """The VMM's own part: the VMCS, and the way out of the guest and back."""

    mmus: ClassVar[tuple[str, ...]] = ("nested", "shadow")
    guest_base: ClassVar[int] = layout.GUEST_BASE
    open_bus = layout.OPEN_BUS
    handler: ClassVar[str] = _HANDLER

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        ram = self.machine.ram
        self.policy = Policy(setup, has_long_mode=scenario.guest.long)
        self._cpuid = hypervisor_cpuid(self.machine.cpuid) if self.policy.shows_itself else self.machine.cpuid
        self._space: NotingSpace = NotingSpace(ram, self.guest_base, self.guest_bytes)
        ram.write(layout.OPEN_BUS, b"\xff" * PAGE)
        mark_everything(ram, self.policy)
        self.ept: ExtendedTables | None = None
        if self.policy.uses_ept:
            self.ept = ExtendedTables(ram, layout.EPT_TABLES, self.guest_base, self.guest_bytes)
            self.machine.second_level = self.ept
            if not self.policy.is_unrestricted:
                build_ept_directory(ram)
                self.ept.map(EPT_DIRECTORY_GPA, None)  # the tables on the way are made now, once
        else:
            places = Places(layout.IDENTITY_DIRECTORY, layout.IDENTITY_TABLES, layout.SHADOW_POOL, {})
            self._use_shadows(places, layout.TABLE_PAGES)
        self._virtual_cr3 = self._virtual_efer = 0
        """Registers of the guest that the VMM keeps to itself while the real ones hold something else."""
        self._owns_cr3 = self._loads_efer = False
        self._holds_fpu_error = False
        """While the VMM carries an instruction out for which a pending FPU error must not become #MF."""
        self._running = Running.NON_ROOT
        self._held: Held | None = None
        self._emulated_from = 0
        """Count of retired instructions up to which the emulated ones have been counted."""
        self._weight_from = 0
        """Weight up to which it has been counted."""
        self._emulated_alone = 0
        """Innocuous instructions emulated, which come without an event."""
        self._images = Images(b"", b"")
        self.vmx = VmxUnit(ram, self.policy.capabilities)
        self._prepare()

    no_svm: ClassVar[str] = "VT-x runs on Intel's CPUs, and these have no AMD-V to lend on"

    def power_on(self, state: CpuState) -> None:
        """Write the guest's state into the VMCS, and launch it."""
        made = self._compose(state)
        assert made.running is not Running.EMULATED, "at power-on nothing is left over"
        for name, value in (made.fields | guest_fields(made.real)).items():
            self._write(name, value)
        entered = self.vmx.vmlaunch()
        assert isinstance(entered, Entered), entered
        self.machine.cpu.load(made.real)
        self._take_up_controls()
        image = self.vmx.vmcs.image()
        self._images = Images(image, image)

    @property
    def is_entangled(self) -> bool:
        """A guest that cannot be entered is emulated until it can: no VM entry could begin there."""
        return self._running is Running.EMULATED

    def guest_state(self) -> CpuState:
        """The CPU with the read shadows in place of what the masks hide."""
        real, controls = self.machine.state, self._controls
        guest = real.copy() if self._held is None else self._held.believed(real)
        guest.cr0 = real.cr0 & ~controls.cr0_mask | controls.cr0_shadow & controls.cr0_mask
        guest.cr4 = real.cr4 & ~controls.cr4_mask | controls.cr4_shadow & controls.cr4_mask
        if self._owns_cr3:
            guest.cr3 = self._virtual_cr3
        if not self._loads_efer or self._owns_cr3:
            guest.efer = self._virtual_efer
        return guest

    def guest_memory(self) -> LinearMemory:
        """Guest-physical memory under the guest's own control registers."""
        return LinearMemory(self.guest_state(), self._space)

    def save_vmm(self) -> Any:
        """What is not in memory."""
        tables = None if self.ept is None else self.ept.next_table
        if self._shadow is not None:
            tables = self._shadow.save()
        held = None if self._held is None else self._held.copy()
        running = self._running, held, self._emulated_from, self._weight_from, self._emulated_alone
        return self.vmx.save(), self._virtual_cr3, self._virtual_efer, self._owns_cr3, self._images, tables, running

    def restore_vmm(self, saved: Any) -> None:
        """Take it back; the controls are in the VMCS, which is in memory."""
        vmx, self._virtual_cr3, self._virtual_efer, self._owns_cr3, self._images, tables, running = saved
        self._running, held, self._emulated_from, self._weight_from, self._emulated_alone = running
        self._held = None if held is None else held.copy()
        self.vmx.restore(vmx)
        if self.ept is not None:
            self.ept.next_table = tables
        if self._shadow is not None:
            self._shadow.restore(tables)
        self._take_up_controls()

    # ---- setting up --------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Enter VMX operation, and make the VMCS current with everything that does not depend on the guest."""
        ram = self.machine.ram
        for region in (layout.VMXON_REGION, layout.VMCS_REGION):
            Vmcs(ram, region).revision = 1
        self._must(self.vmx.vmxon(layout.VMXON_REGION))
        self._must(self.vmx.vmclear(layout.VMCS_REGION))
        self._must(self.vmx.vmptrld(layout.VMCS_REGION))
        eptp = None if self.ept is None else self.ept.pointer
        for name, value in fixed_fields(self.policy.capabilities, eptp).items():
            self._write(name, value)

    def _compose(self, guest: CpuState) -> Composition:
        """Settle what is real, and remember of the guest's registers what is not."""
        shadow = None if self._shadow is None else self._shadow.enter(guest)
        made = self.policy.compose(guest, shadow, awaits_window=self.machine.bus.is_requesting)
        if not made.loads_efer:
            put_msr_load_list(self.machine.ram, made.real.efer)
        self._running, self._held = made.running, made.held
        self._emulated_from, self._weight_from = self.machine.retired, self.machine.weight
        self._owns_cr3 = made.owns_cr3
        if made.owns_cr3:
            self._virtual_cr3 = guest.cr3
        self._virtual_efer = guest.efer
        if self.ept is not None and not self.policy.is_unrestricted:
            self.ept.show(EPT_DIRECTORY_GPA, layout.IDENTITY_DIRECTORY if made.owns_cr3 else None)
        return made

    def _take_up_controls(self) -> None:
        """Read the controls out of the VMCS, as the CPU does at a VM entry."""
        fields = self.vmx.vmcs.fields()
        self._controls = controls = Controls.of(fields)
        self._loads_efer = controls.has("load-ia32_efer-on-entry")
        forms = RETURNS | VIEWED | {"invd"}
        for row in INSTRUCTION_EXITS.values():
            if row.control is not None and controls.has(row.control) and row.form not in _STOPS_BY_ITSELF:
                forms |= {row.form}
        if self._running is Running.VIRTUAL_8086:  # all else that is sensitive raises #GP before it could exit
            forms &= SILENT_IN_VIRTUAL_8086
        self.machine.watch(_WATCHED_TO_EMULATE if self._running is Running.EMULATED else forms)
        self.machine.reports_devices = controls.has("external-interrupt-exiting")

    # ---- where the guest cannot be entered ---------------------------------------------------------------------------

    def completed_by_vmm(self) -> int:
        """Those emulated after an exit, and those of a guest that cannot be entered, up to now."""
        return self.emulated + self._emulated_since()

    def tallies(self) -> Mapping[str, int]:
        """Emulated instructions that are nothing special."""
        return {"interpreted-instruction": self._emulated_alone + self._emulated_since()}

    def _emulated_since(self) -> int:
        return self.machine.retired - self._emulated_from if self._running is Running.EMULATED else 0

    def guest_weight(self) -> int:
        """Without what has been emulated up to now."""
        since = self.machine.weight - self._weight_from if self._running is Running.EMULATED else 0
        return super().guest_weight() - since

    def _count_emulated(self) -> None:
        """Account for the instructions emulated since the last time."""
        alone = self._emulated_since()
        self.emulated += alone
        self._emulated_alone += alone
        if self._running is Running.EMULATED:
            self._ran_for_vmm(self._weight_from)
        self._emulated_from, self._weight_from = self.machine.retired, self.machine.weight

    def _ran_for_the_guest(self, weight_before: int) -> None:
        """In a stretch that is emulated every instruction is counted anyway."""
        if self._running is not Running.EMULATED:
            super()._ran_for_the_guest(weight_before)

    def _why_emulated(self) -> str:
        if self._held is not None:
            return "VM entry fails: virtual-8086 mode has no base or limit left over from protected mode"
        return "VM entry fails: a selector left over from real mode has no RPL that would fit the ring"

    # ---- VM exit and VM entry ----------------------------------------------------------------------------------------

    def _leave(self, leaves: VmExit, instruction: Instruction | None) -> Event:
        """Do the hardware's part of a VM exit, let the VMM read what it needs, and start the record of it.

        A guest that is emulated is not in non-root operation, and leaves nothing.
        """
        state, vmcs = self.machine.state, self.vmx.vmcs
        if self._running is Running.EMULATED:
            self._count_emulated()
            self.vmx.reads = self.vmx.writes = 0
            return Event(
                at=self.machine.retired,
                address=state.eip,
                instruction=text_of(instruction),
                form=instruction.form if instruction is not None else None,
                kind=Kind.TRAP,
                cause="emulated",
                rule=self._why_emulated(),
                handler=_HANDLER,
                action="",
                charges=("interpreted-instruction",),
                from_ring=state.cpl,
                via_ring=_ROOT,
            )
        if not self._controls.has("enable-vpid"):
            self.machine.lose_translations()
        before = vmcs.image()
        write_exit(
            vmcs,
            leaves,
            state,
            self._blocking(),
            saves_efer=self._controls.has("save-ia32_efer-on-exit"),
            is_unrestricted=self.policy.is_unrestricted,
        )
        self._images = Images(before, vmcs.image())
        self.vmx.reads = self.vmx.writes = 0
        for name in (*READS, *MORE_READS.get(leaves.reason, ())):
            self._read(name)
        row = EXIT_REASONS[leaves.reason]
        return Event(
            at=self.machine.retired,
            address=state.eip,
            instruction=text_of(instruction),
            form=instruction.form if instruction is not None else None,
            kind=Kind.EXIT,
            cause=f"VM exit {row.number}, {row.name}",
            rule=leaves.rule,
            handler=_HANDLER,
            action="",
            charges=("exit", "vmm-work"),
            from_ring=state.cpl,
            via_ring=_ROOT,
            detail=exit_detail(leaves),
        )

    def _put_event(self, what: Interruption, before: CpuState) -> None:
        """Write the VM-entry interruption information; a guest in real mode gets its frame from the VMM instead."""
        if self._running is not Running.NON_ROOT:
            return
        self._write("VM_ENTRY_INTR_INFO", interruption_information(what))
        if what.error_code is not None:
            self._write("VM_ENTRY_EXCEPTION_ERROR_CODE", what.error_code)
        if what.next_eip is not None:
            self._write("VM_ENTRY_INSTRUCTION_LENGTH", (what.next_eip - before.eip) & 0xF)

    def _resume(self, guest: CpuState) -> None:
        """Write what the VMM changed, and enter the guest again, unless VM entry would fail."""
        was = self._running
        made = self._compose(guest)
        now = self.vmx.vmcs.fields()
        wanted = made.fields | guest_fields(made.real)
        changed = {name: value for name, value in wanted.items() if now[name] != value}
        for name, value in changed.items():
            self._write(name, value)
        if made.running is not Running.EMULATED:
            entered = self.vmx.vmresume()
            assert isinstance(entered, Entered), entered
        if self._holds_fpu_error:
            made.real.cr0 &= ~Cr0.NE
        self.machine.cpu.adopt(made.real)
        if self.ept is not None and self.ept.must_invalidate:
            self.machine.forget_translations()
            self.ept.must_invalidate = False
        if changed.keys() & made.fields.keys() or was is not made.running:
            self._take_up_controls()

    def _tell(self, event: Event, action: str, before: CpuState, old_guest: CpuState, place: int | None = None) -> None:
        """Complete the record of an exit: what was done, what it changed, what it read and wrote.

        Args:
            event: as `_leave` started it.
            action: what the VMM did.
            before: the real CPU at the exit.
            old_guest: what the guest saw then.
            place: among the events not taken out yet; the last by default.
        """
        after = self.machine.state
        changes = changes_between(before, after, is_real=True)
        told = {change.name for change in changes}
        guest_changes = changes_between(old_guest, self.guest_state(), is_real=False)
        changes += tuple(change for change in guest_changes if change.name not in told)
        counts = (("VMREADs", str(self.vmx.reads)), ("VMWRITEs", str(self.vmx.writes)))
        told_event = replace(
            event,
            action=action,
            to_ring=after.cpl,
            resume=after.eip,
            changes=changes,
            charges=event.charges + self._accesses(event),
            detail=event.detail + counts,
        )
        self.events.insert(len(self.events) if place is None else place, told_event)

    def _accesses(self, event: Event) -> tuple[str, ...]:
        """What the VMM's accesses to the VMCS are charged as; a guest that is emulated had no exit to ask about."""
        is_exit = event.kind is not Kind.TRAP
        return ("vmread",) * self.vmx.reads + ("vmwrite",) * self.vmx.writes if is_exit else ()

    def _blocking(self) -> int:
        """The guest interruptibility state: is the last instruction one after which interrupts wait for one more."""
        return blocking_of(self.machine)

    def _read(self, name: str) -> int:
        """VMREAD, which must not fail."""
        result = self.vmx.vmread(FIELDS_BY_NAME[name].encoding)
        assert isinstance(result, Success), f"VMREAD of {name}: {result}"
        return result.value

    def _write(self, name: str, value: int) -> None:
        """VMWRITE, which must not fail."""
        result = self.vmx.vmwrite(FIELDS_BY_NAME[name].encoding, value)
        assert isinstance(result, Success), f"VMWRITE of {name}: {result}"

    @staticmethod
    def _must(result: object) -> None:
        assert isinstance(result, Success), result
