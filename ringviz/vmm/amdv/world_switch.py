"""The world switch: the VMCB, and each #VMEXIT and VMRUN through it.

Under nested paging the guest sees the CPU itself; what the VMM keeps from it under shadow page tables is here as well.
Why a #VMEXIT happens, and what the VMM does about it, are the files around this one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.facts.svm import VINTR_FIELDS
from ringviz.guest.image import Image
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine.cpuid import hypervisor_cpuid
from ringviz.machine.linear import LinearMemory
from ringviz.machine.memory import PAGE
from ringviz.machine.state import CpuState
from ringviz.machine.svm.intercepts import watched_forms
from ringviz.machine.svm.report import SvmReport
from ringviz.vmm.amdv import layout
from ringviz.vmm.amdv.control_block import ControlBlock
from ringviz.vmm.amdv.nested_tables import NestedTables
from ringviz.vmm.amdv.panel import Images
from ringviz.vmm.amdv.policy import Policy
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.hardware import RETURNS
from ringviz.vmm.hardware_paging import HardwarePaging
from ringviz.vmm.mmu.shadow import Places
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import changes_between, text_of

_HOST = -1
_HANDLER = "VMM in host mode (“ring −1”)"


class PagingRegisters(NamedTuple):
    """Control registers of the guest that the VMM keeps to itself."""

    cr0: int
    cr3: int
    cr4: int
    efer: int


class WorldSwitch(HardwarePaging):
    """The VMM's own part: the VMCB, and the way out of the guest and back."""

    mmus: ClassVar[tuple[str, ...]] = ("nested", "shadow")
    guest_base: ClassVar[int] = layout.GUEST_BASE
    open_bus = layout.OPEN_BUS

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        ram = self.machine.ram
        policy = Policy(setup)
        self.vmcb = ControlBlock(ram, layout.VMCB, policy.intercepts)
        policy.mark_everything(ram)
        ram.write(layout.OPEN_BUS, b"\xff" * PAGE)
        self.nested: NestedTables | None = None
        self._paging = PagingRegisters(0, 0, 0, 0)
        """With shadow page tables: what the guest believes to have written there."""
        self.vmcb.put("IOPM_BASE_PA", layout.IO_MAP)
        self.vmcb.put("MSRPM_BASE_PA", layout.MSR_MAP)
        if setup.mmu == "nested":
            self.nested = NestedTables(ram, layout.NESTED_TABLES, self.guest_base, self.guest_bytes)
            self.vmcb.put("NP_CONTROL", 1)
            self.vmcb.put("N_CR3", self.nested.root)
            self.machine.second_level = self.nested
        else:
            places = Places(layout.FLAT_DIRECTORY, layout.FLAT_TABLES, layout.SHADOW_POOL, {})
            self._use_shadows(places, layout.TABLE_PAGES)
        if policy.shows_itself and "CPUID" in policy.intercepts:
            self.machine.cpuid = hypervisor_cpuid(self.machine.cpuid)
        self.machine.reports_devices = "INTR" in policy.intercepts
        self.machine.watch(RETURNS | watched_forms(policy.intercepts))
        self._images = Images(b"", b"")

    def boot(self, image: Image) -> None:
        """Put the guest into memory and enter it with VMRUN."""
        super().boot(image)
        self.vmcb.store_guest(self.machine.state)
        vmcb = self.vmcb.image()
        self._images = Images(vmcb, vmcb)

    def power_on(self, state: CpuState) -> None:
        """The state save area decides where the guest starts."""
        self.machine.cpu.load(self._compose(state))

    def guest_state(self) -> CpuState:
        """With nested paging the CPU is what the guest believes it to be: that is the point."""
        state = self.machine.state.copy()
        if self._shadow is not None:
            state.cr0, state.cr3, state.cr4, state.efer = self._paging
        return state

    def guest_memory(self) -> LinearMemory:
        """Guest-physical memory, with nested paging or the VMM behind it."""
        return self.machine.memory if self._shadow is None else LinearMemory(self.guest_state(), self._space)

    def _compose(self, guest: CpuState) -> CpuState:
        """Settle what is real, and remember of the guest's registers what is not.

        A guest that has paging off runs on page tables all the same: even in real mode, where AMD-V allows it.

        Source: AMD APM Vol. 2, "Paged Real Mode".
        """
        if self._shadow is None:
            return guest
        root = self._shadow.enter(guest)
        self._paging = PagingRegisters(guest.cr0, guest.cr3, guest.cr4, guest.efer)
        real = guest.copy()
        real.cr0 |= Cr0.PG | Cr0.WP
        real.cr3 = root.cr3
        if not guest.is_long_active:
            real.efer &= ~Efer.LME  # the real paging is on, and the tables are 32-bit ones
        real.cr4 = guest.cr4 & ~(Cr4.PSE | Cr4.PAE | Cr4.PGE) | (Cr4.PAE if root.is_pae else 0)
        return real

    def save_vmm(self) -> Any:
        """How far the tables reach, and what the last exit found; the rest is in memory."""
        tables = None if self._shadow is None else self._shadow.save()
        return tables if self.nested is None else self.nested.next_table, self._paging, self._images

    def restore_vmm(self, saved: Any) -> None:
        """Take it back, or tables built since would be built elsewhere the next time."""
        tables, self._paging, self._images = saved
        if self.nested is not None:
            self.nested.next_table = tables
        if self._shadow is not None:
            self._shadow.restore(tables)

    def _byte(self, address: int) -> int:
        return self.machine.ram.read_int(address, 1)

    # ---- #VMEXIT and VMRUN -------------------------------------------------------------------------------------------

    def _exit(self, report: SvmReport, instruction: Instruction | None) -> Event:
        """Do the hardware's part of #VMEXIT, and start the record of it."""
        state = self.machine.state
        before = self.vmcb.image()
        if state.long is not None:  # with V_INTR_MASKING the guest's CR8 is the virtual TPR
            self.vmcb.put("VINTR_CONTROL", VINTR_FIELDS["V_TPR"].put(self.vmcb.get("VINTR_CONTROL"), state.cr8))
        self.vmcb.report(report, state, interrupt_shadow=self.machine.cpu.interrupt_shadow)
        self._images = Images(before, self.vmcb.image())
        code = self.vmcb.get("EXITCODE")
        detail = [
            ("EXITCODE", f"{code:03X}h"),
            ("EXITINFO1", f"{report.info1:X}h"),
            ("EXITINFO2", f"{report.info2:X}h"),
        ]
        if report.exit_int_info:
            detail.append(("EXITINTINFO", f"{report.exit_int_info:X}h"))
        return Event(
            at=self.machine.retired,
            address=state.eip,
            instruction=text_of(instruction),
            form=instruction.form if instruction is not None else None,
            kind=Kind.EXIT,
            cause=report.exit_name,
            rule=f"{'VMCB02' if state.is_guest_mode else 'the VMCB'} intercepts it: {report.intercept}",
            handler=_HANDLER,
            action="",
            charges=("exit", "vmm-work"),
            from_ring=state.cpl,
            via_ring=_HOST,
            detail=tuple(detail),
        )

    def _tell(
        self,
        event: Event,
        action: str,
        before: CpuState,
        place: int | None = None,
        *,
        old: CpuState | None = None,
        stores: bool = True,
    ) -> None:
        """Complete the record and let the guest go on: VMRUN loads the state save area.

        Args:
            event: as `_exit` started it.
            action: what the VMM did.
            before: the CPU at the exit.
            place: among the events not taken out yet; the last by default.
            old: what the guest saw at the exit, where it may see something else now.
            stores: the state is the one to enter; False where the CPU has gone on by itself since.
        """
        after = self.machine.state
        if stores:
            self.vmcb.store_guest(after)
        changes = changes_between(before, after, is_real=True)
        if old is not None and self._shadow is not None:
            names = {change.name for change in changes}
            guest_changes = changes_between(old, self.guest_state(), is_real=False)
            changes += tuple(change for change in guest_changes if change.name not in names)
        told = replace(event, action=action, to_ring=after.cpl, resume=after.eip, changes=changes)
        self.events.insert(len(self.events) if place is None else place, told)
