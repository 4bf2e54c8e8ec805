"""What a hypervisor is made of, for the hypercalls to work on."""

from __future__ import annotations

from ringviz.machine.linear import LinearMemory
from ringviz.machine.machine import Machine
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.machine.state import CpuState
from ringviz.vmm.paravirt.clock import Clock
from ringviz.vmm.paravirt.cpu_tables import CpuTables
from ringviz.vmm.paravirt.direct_mmu import DirectMmu
from ringviz.vmm.paravirt.domain import Domain
from ringviz.vmm.paravirt.frames import Frames, FrameType, FrameUse
from ringviz.vmm.paravirt.own_slots import make_own_tables, set_machine_to_physical
from ringviz.vmm.paravirt.shared_page import SharedPage


class Parts:
    """Owns what belongs to the hypervisor beside the CPU."""

    def __init__(self, scenario_id: str, machine: Machine, guest_base: int, guest_bytes: int) -> None:
        self._scenario_id = scenario_id
        self._machine = machine
        self.frames = Frames(guest_base, guest_bytes)
        self.tables = CpuTables(machine.ram)
        self.shared = SharedPage(machine.ram)
        self.domain = Domain(use=FrameUse.unused(self.frames.pages))
        make_own_tables(machine.ram)

    @property
    def memory(self) -> LinearMemory:
        """Linear memory, as the CPU sees it."""
        return self._machine.memory

    @property
    def state(self) -> CpuState:
        """The CPU."""
        return self._machine.state

    @property
    def mmu(self) -> DirectMmu:
        """The domain's page tables."""
        return DirectMmu(self._machine.ram, self.frames, self.domain)

    @property
    def clock(self) -> Clock:
        """The hypervisor's clock, and what the domain hears of it."""
        return Clock(self._machine, self.domain, self.shared)

    @property
    def base_address(self) -> int:
        """Machine address of the page directory that the domain lives on: what CR3 must hold."""
        return self.frames.frame_of(self.domain.base_page or 0) << PAGE_SHIFT

    def start_domain(self, directory: int) -> None:
        """Take over the page tables that the domain builder has made: pinned, and the CPU's from now on.

        Args:
            directory: where the page directory lies in the guest's memory.
        """
        # The frames of a guest lie one behind the other.
        set_machine_to_physical(self._machine.ram, self.frames.frame_of(0), *range(self.frames.pages))
        frame = self.frames.frame_of(directory >> PAGE_SHIFT)
        self.mmu.pin(frame, FrameType.L2)
        self.mmu.new_base(frame)
