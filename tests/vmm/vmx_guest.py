"""A VMCS that passes every check, for tests that break one rule at a time."""

from __future__ import annotations

from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.registers import EFLAGS_FIXED
from ringviz.machine.memory import Ram
from ringviz.machine.state import CpuState
from ringviz.vmm.mmu.shadow import Root
from ringviz.vmm.setup import Setup
from ringviz.vmm.vtx import layout
from ringviz.vmm.vtx.capabilities import capabilities_of
from ringviz.vmm.vtx.guest_area import guest_fields
from ringviz.vmm.vtx.operation import Success, VmxUnit
from ringviz.vmm.vtx.policy import Policy
from ringviz.vmm.vtx.preparation import fixed_fields
from ringviz.vmm.vtx.vmcs import Vmcs
from tests.machine.guests import flat_state

RAM_BYTES = 1 << 20


def setup_of(cpu: str) -> Setup:
    profile = CPU_PROFILES[cpu]
    return Setup("nested" if "ept" in profile.features else "shadow", profile)


def good_fields(cpu: str, guest: CpuState | None = None) -> dict[str, int]:
    """The fields that the VMM writes for a flat guest in ring 0."""
    setup = setup_of(cpu)
    policy = Policy(setup)
    flat = Root(layout.IDENTITY_DIRECTORY, is_pae=False, no_execute=False)
    guest = guest or flat_state(0, 0x1000, eflags=EFLAGS_FIXED)
    made = policy.compose(guest, None if policy.uses_ept else flat)
    eptp = layout.EPT_TABLES | 6 | 3 << 3 if policy.uses_ept else None
    empty = Vmcs(Ram(RAM_BYTES), layout.VMCS_REGION).fields()
    return empty | fixed_fields(policy.capabilities, eptp) | made.fields | guest_fields(made.real)


def unit_in_operation(cpu: str = "p4-672") -> VmxUnit:
    """A CPU in VMX operation with a clear, current VMCS."""
    unit = VmxUnit(Ram(RAM_BYTES), capabilities_of(CPU_PROFILES[cpu]))
    for region in (layout.VMXON_REGION, layout.VMCS_REGION):
        Vmcs(unit._ram, region).revision = 1
    assert unit.vmxon(layout.VMXON_REGION) == Success()
    assert unit.vmclear(layout.VMCS_REGION) == Success()
    assert unit.vmptrld(layout.VMCS_REGION) == Success()
    return unit


def fill(unit: VmxUnit, fields: dict[str, int]) -> None:
    """Put fields into the current VMCS, whatever the CPU thinks of it."""
    for name, value in fields.items():
        unit.vmcs.put(name, value)
