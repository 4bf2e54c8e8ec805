"""The CPU's side of VMX: VMX operation, the current VMCS, and the VMX instructions with their ways of failing.

Source: Intel SDM Vol. 3C, "VMX Instruction Reference", "VM Instruction Error Numbers", "VMCS Launch State".
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.exceptions import Vector
from ringviz.facts.vmx import ENTRY_FAILURE_BIT, VMCS_FIELDS, FieldType, Reason
from ringviz.machine.memory import PAGE, Ram
from ringviz.vmm.vtx.capabilities import PHYSICAL_BITS, REVISION, Capabilities
from ringviz.vmm.vtx.entry_checks import broken_control_rule, broken_guest_rule, broken_host_rule
from ringviz.vmm.vtx.vmcs import LaunchState, Vmcs

NO_VMCS = (1 << 64) - 1
"""The current-VMCS pointer while no VMCS is current."""


class VmxFault(Exception):  # noqa: N818 - an exception of the VMM's CPU
    """A VMX instruction raised an exception in the VMM instead of failing."""

    def __init__(self, vector: Vector) -> None:
        super().__init__(vector.name)
        self.vector = vector


@dataclass(frozen=True, slots=True)
class Success:
    """VMsucceed: CF and ZF are clear."""

    value: int = 0
    """VMREAD and VMPTRST: what was read."""


@dataclass(frozen=True, slots=True)
class FailInvalid:
    """VMfailInvalid: CF is set, and there is no current VMCS to say why in."""


@dataclass(frozen=True, slots=True)
class FailValid:
    """VMfailValid: ZF is set, and the number is in the current VMCS."""

    number: int
    rule: str = ""
    """VM entries: the check that failed."""


@dataclass(frozen=True, slots=True)
class Entered:
    """VM entry succeeded: the CPU is in VMX non-root operation."""


@dataclass(frozen=True, slots=True)
class EntryFailed:
    """VM entry got as far as the guest state, and came back as a VM exit."""

    reason: int
    """Exit reason, bit 31 set."""
    qualification: int
    rule: str


Result = Success | FailInvalid | FailValid
EntryResult = Entered | FailInvalid | FailValid | EntryFailed


class VmxUnit:
    """What a logical processor keeps about VMX, and the instructions that change it."""

    def __init__(self, ram: Ram, capabilities: Capabilities) -> None:
        self._ram = ram
        self.capabilities = capabilities
        self.vmxon_pointer = NO_VMCS
        """The VMXON region, while the CPU is in VMX operation."""
        self.current = NO_VMCS
        """The current-VMCS pointer."""
        self.reads = self.writes = 0
        """VMREADs and VMWRITEs since the VMM last set these to 0."""
        self.mov_ss_blocking = False
        """The VMM has just loaded SS: a VM entry now fails."""

    def save(self) -> tuple[int, int, int, int]:
        """Give the unit's state; the regions themselves are in memory."""
        return self.vmxon_pointer, self.current, self.reads, self.writes

    def restore(self, saved: tuple[int, int, int, int]) -> None:
        """Take it back."""
        self.vmxon_pointer, self.current, self.reads, self.writes = saved

    @property
    def is_on(self) -> bool:
        """The CPU is in VMX operation."""
        return self.vmxon_pointer != NO_VMCS

    @property
    def vmcs(self) -> Vmcs:
        """The current VMCS.

        Raises:
            ValueError: there is none.
        """
        if self.current == NO_VMCS:
            raise ValueError("no VMCS is current")
        return Vmcs(self._ram, self.current)

    # ---- entering and leaving VMX operation --------------------------------------------------------------------------

    def vmxon(self, address: int) -> Result:
        """Enter VMX operation."""
        if self.is_on:
            return self._fail(15)
        if not _is_good(address) or Vmcs(self._ram, address).revision != REVISION:
            return FailInvalid()
        self.vmxon_pointer, self.current = address, NO_VMCS
        return Success()

    def vmxoff(self) -> Result:
        """Leave VMX operation."""
        self._need_operation()
        self.vmxon_pointer = NO_VMCS
        return Success()

    # ---- choosing a VMCS ---------------------------------------------------------------------------------------------

    def vmclear(self, address: int) -> Result:
        """Make a region's launch state clear, and the region not current."""
        self._need_operation()
        if not _is_good(address):
            return self._fail(2)
        if address == self.vmxon_pointer:
            return self._fail(3)
        Vmcs(self._ram, address).launch_state = LaunchState.CLEAR
        if address == self.current:
            self.current = NO_VMCS
        return Success()

    def vmptrld(self, address: int) -> Result:
        """Make a region the current VMCS."""
        self._need_operation()
        if not _is_good(address):
            return self._fail(9)
        if address == self.vmxon_pointer:
            return self._fail(10)
        # Bit 31 would make it a shadow VMCS, which this CPU does not offer.
        if self._ram.read_int(address, 4) != REVISION:
            return self._fail(11)
        self.current = address
        return Success()

    def vmptrst(self) -> Result:
        """Give the current-VMCS pointer."""
        self._need_operation()
        return Success(self.current)

    # ---- fields ------------------------------------------------------------------------------------------------------

    def vmread(self, encoding: int) -> Result:
        """Read a field of the current VMCS; bit 0 of the encoding asks for the upper half of a 64-bit field."""
        self._need_operation()
        if self.current == NO_VMCS:
            return FailInvalid()
        field = self._field(encoding)
        if field is None:
            return self._fail(12)
        self.reads += 1
        value = self.vmcs.get(field)
        return Success(value >> 32 if encoding & 1 else value)

    def vmwrite(self, encoding: int, value: int) -> Result:
        """Write a field of the current VMCS."""
        self._need_operation()
        if self.current == NO_VMCS:
            return FailInvalid()
        field = self._field(encoding)
        if field is None:
            return self._fail(12)
        if VMCS_FIELDS[encoding & ~1].type is FieldType.READ_ONLY:
            return self._fail(13)
        self.writes += 1
        if encoding & 1:
            value = self.vmcs.get(field) & 0xFFFF_FFFF | (value & 0xFFFF_FFFF) << 32
        self.vmcs.put(field, value)
        return Success()

    def _field(self, encoding: int) -> str | None:
        """Name of a field that this CPU has; None if there is none with that encoding."""
        row = VMCS_FIELDS.get(encoding & ~1)
        if row is None or (encoding & 1 and row.encoding >> 13 & 3 != 1):
            return None
        return row.name if has_field(self.capabilities, row.feature) else None

    # ---- VM entry ----------------------------------------------------------------------------------------------------

    def vmlaunch(self) -> EntryResult:
        """Enter the guest of a VMCS whose launch state is clear; on success it becomes launched."""
        return self._enter(LaunchState.CLEAR, 4)

    def vmresume(self) -> EntryResult:
        """Enter the guest of a VMCS that has been launched."""
        return self._enter(LaunchState.LAUNCHED, 5)

    def _enter(self, wanted: LaunchState, error: int) -> EntryResult:
        """The checks of VM entry, in their order; loading the state is the caller's part.

        Source: Intel SDM Vol. 3C, "VM Entries".
        """
        self._need_operation()
        if self.current == NO_VMCS:
            return FailInvalid()
        if self.mov_ss_blocking:
            return self._fail(26)
        vmcs = self.vmcs
        if vmcs.launch_state is not wanted:
            return self._fail(error)
        fields = vmcs.fields()
        rule = broken_control_rule(fields, self.capabilities)
        if rule is not None:
            return self._fail(7, rule)
        rule = broken_host_rule(fields, self.capabilities)
        if rule is not None:
            return self._fail(8, rule)
        broken = broken_guest_rule(fields, self.capabilities)
        if broken is not None:
            rule, qualification = broken
            reason = Reason.ENTRY_GUEST_STATE | ENTRY_FAILURE_BIT
            vmcs.put("VM_EXIT_REASON", reason)
            vmcs.put("EXIT_QUALIFICATION", qualification)
            return EntryFailed(reason, qualification, rule)
        vmcs.launch_state = LaunchState.LAUNCHED
        return Entered()

    def _need_operation(self) -> None:
        if not self.is_on:
            raise VmxFault(Vector.UD)

    def _fail(self, number: int, rule: str = "") -> FailInvalid | FailValid:
        """VMfail: with a number where there is a VMCS to leave it in."""
        if self.current == NO_VMCS:
            return FailInvalid()
        self.vmcs.put("VM_INSTRUCTION_ERROR", number)
        return FailValid(number, rule)


def has_field(capabilities: Capabilities, feature: str) -> bool:
    """Tell whether a CPU has the fields that depend on a feature."""
    match feature:
        case "":
            return True
        case "secondary":
            return capabilities.allows("activate-secondary-controls", value=True)
        case "efer":
            return capabilities.allows("load-ia32_efer-on-entry", value=True)
        case "msr-bitmaps":
            return capabilities.allows("use-msr-bitmaps", value=True)
        case "ept":
            return capabilities.allows("enable-ept", value=True)
        case _:
            return capabilities.allows("enable-vpid", value=True)


def _is_good(address: int) -> bool:
    """A physical address of a page that the CPU can reach."""
    return address % PAGE == 0 and address < 1 << PHYSICAL_BITS
