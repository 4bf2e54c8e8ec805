"""Nested virtualization: the guest is a hypervisor (L1) with a guest of its own (L2), and this VMM (L0) serves both.

The CPU knows one level of guests. So L1's VMRUN exits, and L0 makes a third VMCB of two: of VMCB01, with which it runs
L1, and VMCB12, which L1 has written for L2. This VMCB02 intercepts what either of them does. When L2 exits, L0 asks
VMCB12: what L1 intercepts, L0 reflects as a #VMEXIT into L1, by writing VMCB12 as the CPU would; the rest is L0's own.
L1 has the CPU of L0 only through L0: each SVM instruction of its exit handler exits as well, and so one exit of L2
becomes many.

Source: AMD APM Vol. 2, "Secure Virtual Machine"; Ben-Yehuda et al., "The Turtles Project" (OSDI 2010), for the names.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from ringviz.facts.svm import SAVE_AREA_OFFSET
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine.linear import PhysicalSpace
from ringviz.machine.memory import PAGE
from ringviz.machine.state import CpuState
from ringviz.machine.stops import Stop
from ringviz.machine.svm.exits import exit_for
from ringviz.machine.svm.registers import GuestMode
from ringviz.machine.svm.report import SvmReport
from ringviz.machine.svm.world_switch import leave
from ringviz.vmm.amdv import layout
from ringviz.vmm.amdv.control_block import ControlBlock
from ringviz.vmm.amdv.panel import Images
from ringviz.vmm.amdv.world_switch import WorldSwitch
from ringviz.vmm.events import Event
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.setup import Setup

_ASID_OF_L2 = 2
_COPIED = ("NP_CONTROL", "N_CR3")
"""Fields that VMCB02 takes from VMCB01: L2's physical addresses are L1's."""
_REFLECTED = "reflected into L1"


class ReflectedError(Exception):
    """An exception on the way to a handler of L2's is one that L1 intercepts."""

    def __init__(self, report: SvmReport) -> None:
        super().__init__(report.exit_name)
        self.report = report


class Levels(WorldSwitch):
    """Tells whose exit one is, and goes between the levels."""

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        self._vmcb01 = self.vmcb

    @property
    def _l2(self) -> GuestMode | None:
        """What L1's VMRUN has read, while L2 runs; None while L1 runs."""
        return self.machine.guest_mode

    @property
    def _physical(self) -> PhysicalSpace:
        """Memory as L1 sees it: VMCB12 and its maps lie there."""
        return self.machine if self._shadow is None else self._space

    @property
    def _maps(self) -> tuple[int, int]:
        """Host-physical addresses of the I/O and MSR permission maps that the CPU looks at just now."""
        if self._l2 is None:
            return layout.IO_MAP, layout.MSR_MAP
        return layout.IO_MAP_02, layout.MSR_MAP_02

    def _wanted_by_l1(self, stop: Stop) -> SvmReport | None:
        """Give what #VMEXIT tells L1 about a stop of L2's; None if L1 does not intercept it, or L1 itself ran."""
        l2 = self._l2
        return None if l2 is None else exit_for(stop, self.guest_state(), l2, self._byte_of_l1)

    def _byte_of_l1(self, address: int) -> int:
        return self._physical.read_physical(address, 1)[0]

    # ---- VMRUN of L1's -----------------------------------------------------------------------------------------------

    def _enter_l2(self, l2: GuestMode) -> None:
        """Make VMCB02 of VMCB01 and VMCB12, and use it from now on."""
        ram = self.machine.ram
        ram.write(layout.VMCB_02, bytes(SAVE_AREA_OFFSET))
        self.vmcb = self._block_for(l2)
        for name in _COPIED:
            self.vmcb.put(name, self._vmcb01.get(name))
        self.vmcb.put("IOPM_BASE_PA", layout.IO_MAP_02)
        self.vmcb.put("MSRPM_BASE_PA", layout.MSR_MAP_02)
        self.vmcb.put("TSC_OFFSET", l2.tsc_offset)
        self._merge_map("IOIO_PROT", layout.IO_MAP, layout.IO_MAP_02, layout.IO_MAP_BYTES, l2.io_map)
        self._merge_map("MSR_PROT", layout.MSR_MAP, layout.MSR_MAP_02, layout.MSR_MAP_BYTES, l2.msr_map)
        self.vmcb.store_guest(self.machine.state)
        image = self.vmcb.image()
        self._images = Images(image, image)

    def _block_for(self, l2: GuestMode) -> ControlBlock:
        """Give VMCB02, in which everything is intercepted that either VMCB intercepts."""
        block = ControlBlock(self.machine.ram, layout.VMCB_02, self._vmcb01.intercepts | l2.intercepts)
        block.put("GUEST_ASID", _ASID_OF_L2)
        return block

    def _merge_map(self, intercept: str, own: int, merged: int, size_bytes: int, of_l1: int) -> None:
        """Mark in the map of VMCB02 what is marked in either map; a map without its intercept marks nothing."""
        ram, l2 = self.machine.ram, self._l2
        bits = int.from_bytes(ram.read(own, size_bytes), "little") if intercept in self._vmcb01.intercepts else 0
        if l2 is not None and intercept in l2.intercepts:
            pages = [self._physical.read_physical(of_l1 + at, PAGE) for at in range(0, size_bytes, PAGE)]
            bits |= int.from_bytes(b"".join(pages), "little")
        ram.write(merged, bits.to_bytes(size_bytes, "little"))

    # ---- #VMEXIT into L1 ---------------------------------------------------------------------------------------------

    def _reflect_into_l1(self, event: Event, report: SvmReport, before: CpuState) -> Outcome:
        """Do for L1 what the CPU would do at #VMEXIT, and enter L1 where its VMRUN ends.

        Args:
            event: the exit of L2's, as `_exit` started it.
            report: what L1 is told.
            before: the CPU at the exit.
        """
        machine = self.machine
        old = self.guest_state()
        attempt = self.guest_state()
        is_up = leave(attempt, self._physical, report, interrupt_shadow=machine.has_interrupt_shadow)
        self.vmcb = self._vmcb01
        machine.cpu.adopt(self._compose(attempt))
        machine.is_halted = machine.step_trap_due = False
        machine.flush_tlb()
        action = f"{_REFLECTED}, whose VMCB intercepts {report.intercept}: on behind its VMRUN at {attempt.eip:08X}"
        self._tell(replace(event, rule=_rule(report)), action, before, old=old)
        return RESUME if is_up else self._shutdown(None)

    @abstractmethod
    def _shutdown(self, instruction: Instruction | None) -> Outcome:
        """The guest is dead; `exceptions` has what follows."""

    def restore_vmm(self, saved: object) -> None:
        """Take up the VMCB of the level that was running."""
        super().restore_vmm(saved)
        l2 = self._l2
        self.vmcb = self._vmcb01 if l2 is None else self._block_for(l2)


def _rule(report: SvmReport) -> str:
    return f"VMCB02 intercepts it, and so does L1's own VMCB: {report.intercept}"
