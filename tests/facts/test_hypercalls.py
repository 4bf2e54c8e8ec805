from ringviz.facts.hypercalls import (
    ARGUMENT_REGISTERS,
    ERRORS,
    FIRST_HYPERVISOR_SLOT,
    FIRST_RESERVED_GDT_ENTRY,
    FLAT_RING1_CS,
    FLAT_RING1_DS,
    FLAT_RING3_CS,
    FLAT_RING3_DS,
    HYPERCALLS,
    HYPERVISOR_START,
    MACH2PHYS,
    MACH2PHYS_END,
    SHARED_FIELDS,
    VECTOR,
    Error,
    Flush,
    Memory,
    MmuExt,
    MmuUpdate,
    SharedInfo,
    StartInfo,
)
from ringviz.facts.segments import Selector

AS_IN_XENS_HEADER = {
    0: "set_trap_table", 1: "mmu_update", 2: "set_gdt", 3: "stack_switch", 4: "set_callbacks", 5: "fpu_taskswitch",
    6: "sched_op_compat", 7: "dom0_op", 8: "set_debugreg", 9: "get_debugreg", 10: "update_descriptor", 12: "memory_op",
    13: "multicall", 14: "update_va_mapping", 15: "set_timer_op", 16: "event_channel_op_compat", 17: "xen_version",
    18: "console_io", 20: "grant_table_op", 21: "vm_assist", 23: "iret", 24: "vcpu_op", 26: "mmuext_op",
    29: "sched_op", 32: "event_channel_op",
}  # fmt: skip


def test_numbers_and_names_are_xens() -> None:
    assert VECTOR == 0x82
    for number, name in AS_IN_XENS_HEADER.items():
        assert HYPERCALLS[number].name == name
    assert 11 not in HYPERCALLS


def test_a_call_has_no_more_arguments_than_registers() -> None:
    assert ARGUMENT_REGISTERS == ("ebx", "ecx", "edx", "esi", "edi")
    for row in HYPERCALLS.values():
        assert len(row.arguments) <= len(ARGUMENT_REGISTERS), row.name
        assert len(set(row.arguments)) == len(row.arguments), row.name


def test_what_ported_kernels_replace_is_covered_by_calls_that_are_offered() -> None:
    offered = " ".join(row.replaces for row in HYPERCALLS.values() if row.is_offered)
    for word in ("LIDT", "LGDT", "LTR", "CLTS", "HLT", "MOV to DR", "INVLPG", "LLDT", "IRET", "OUT to the serial port"):
        assert word in offered, word
    left_out = {row.name for row in HYPERCALLS.values() if not row.is_offered}
    assert {"grant_table_op", "vcpu_op", "physdev_op"} <= left_out
    assert not {"mmu_update", "mmuext_op", "update_va_mapping", "memory_op", "set_timer_op"} & left_out


def test_every_error_has_a_row() -> None:
    assert {error.name for error in Error} == set(ERRORS)
    assert (Error.EPERM, Error.EFAULT, Error.EINVAL, Error.ENOSYS) == (1, 14, 22, 38)


def test_mmu_operations_are_numbered_as_in_xens_header() -> None:
    assert (MmuExt.NEW_BASEPTR, MmuExt.TLB_FLUSH_LOCAL, MmuExt.INVLPG_LOCAL, MmuExt.SET_LDT) == (5, 6, 7, 13)
    assert (MmuExt.PIN_L1_TABLE, MmuExt.PIN_L4_TABLE, MmuExt.UNPIN_TABLE) == (0, 3, 4)
    assert (MmuExt.TLB_FLUSH_MULTI, MmuExt.INVLPG_ALL, MmuExt.FLUSH_CACHE) == (8, 11, 12)
    assert (MmuUpdate.NORMAL_PT_UPDATE, MmuUpdate.MACHPHYS_UPDATE) == (0, 1)
    assert (Flush.NONE, Flush.TLB, Flush.PAGE) == (0, 1, 2)
    assert (Memory.MAXIMUM_RAM_PAGE, Memory.CURRENT_RESERVATION, Memory.MACHPHYS_MAPPING) == (2, 3, 12)


def test_the_hypervisor_has_the_top_64_mib_and_lends_the_first_four_for_reading() -> None:
    assert (1 << 32) - HYPERVISOR_START == 64 << 20
    assert (MACH2PHYS, MACH2PHYS_END - MACH2PHYS) == (HYPERVISOR_START, 4 << 20)
    assert FIRST_HYPERVISOR_SLOT == 1024 - 16


def test_shared_fields_lie_where_the_structures_put_them() -> None:
    vcpu_info_bytes, vcpus, long_bytes = 64, 32, 4
    assert vcpu_info_bytes * vcpus == SharedInfo.EVENTS_PENDING
    assert SharedInfo.EVENTS_PENDING + 32 * long_bytes == SharedInfo.EVENTS_MASK
    assert set(SHARED_FIELDS) == set(SharedInfo)
    assert 32 + long_bytes == StartInfo.SHARED_INFO
    assert 3 * long_bytes == StartInfo.CMD_LINE - StartInfo.MFN_LIST


def test_flat_segments_lie_in_the_hypervisors_part_and_say_their_ring() -> None:
    rings = {FLAT_RING1_CS: 1, FLAT_RING1_DS: 1, FLAT_RING3_CS: 3, FLAT_RING3_DS: 3}
    for value, ring in rings.items():
        assert Selector(value).rpl == ring
        assert Selector(value).index >= FIRST_RESERVED_GDT_ENTRY
