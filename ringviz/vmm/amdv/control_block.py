"""The VMCB of this VMM: which events exit, and what the hardware reported last. Real bytes in VMM memory.

Source: AMD APM Vol. 2, "Layout of VMCB", "SVM Intercept Exit Codes".
"""

from __future__ import annotations

from collections.abc import Iterable

from ringviz.facts.svm import INTERCEPTS, SAVE_AREA_OFFSET, SVM_EXITS, VINTR_FIELDS, VMCB_CONTROL
from ringviz.machine.memory import Ram
from ringviz.machine.state import CpuState
from ringviz.machine.svm.report import SvmReport
from ringviz.machine.vmcb import SAVE_AREA_BYTES, encode_save_area

_ASID = 1
_EXIT_CODES = {row.name: code for code, row in SVM_EXITS.items()}


class ControlBlock:
    """One VMCB."""

    def __init__(self, ram: Ram, address: int, intercepts: Iterable[str]) -> None:
        """Lay out the control area.

        Args:
            ram: the machine's memory.
            address: host-physical address of the VMCB, page-aligned.
            intercepts: names from `ringviz.facts.svm.INTERCEPTS`.
        """
        self._ram = ram
        self.address = address
        self.intercepts = frozenset(intercepts)
        for name in self.intercepts:
            row = INTERCEPTS[name]
            word = ram.read_int(address + row.offset, 4)
            ram.write_int(address + row.offset, word | 1 << row.bit, 4)
        self.put("GUEST_ASID", _ASID)

    def put(self, field: str, value: int) -> None:
        """Write a field of the control area."""
        row = VMCB_CONTROL[field]
        self._ram.write_int(self.address + row.offset, value, row.size_bytes)

    def get(self, field: str) -> int:
        """Read a field of the control area."""
        row = VMCB_CONTROL[field]
        return self._ram.read_int(self.address + row.offset, row.size_bytes)

    @property
    def has_virtual_interrupt(self) -> bool:
        """V_IRQ: a virtual interrupt waits for the guest's IF."""
        return bool(VINTR_FIELDS["V_IRQ"].get(self.get("VINTR_CONTROL")))

    def image(self) -> bytes:
        """Control area and state save area as they lie in memory."""
        return self._ram.read(self.address, SAVE_AREA_OFFSET + SAVE_AREA_BYTES)

    def report(self, exit_: SvmReport, state: CpuState, *, interrupt_shadow: bool) -> None:
        """Do what #VMEXIT does: store the reason and the guest's state, and forget the event injected last.

        Source: AMD APM Vol. 3, "VMRUN": upon #VMEXIT the processor clears EVENTINJ; all of it, as the Linux commit
        69b721a86d0d quotes and does.
        """
        self.put("EXITCODE", _EXIT_CODES[exit_.exit_name])
        self.put("EXITINFO1", exit_.info1)
        self.put("EXITINFO2", exit_.info2)
        self.put("EXITINTINFO", exit_.exit_int_info)
        self.put("EVENTINJ", 0)
        self.put("INTERRUPT_SHADOW", int(interrupt_shadow))
        self.store_guest(state)

    def store_guest(self, state: CpuState) -> None:
        """Write the state save area."""
        self._ram.write(self.address + SAVE_AREA_OFFSET, encode_save_area(state))
