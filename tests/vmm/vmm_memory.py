"""Is what belongs to the VMM as the VMM made it? Checked against what its tables must say, entry by entry."""

from __future__ import annotations

from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.machine.memory import PAGE, Ram
from ringviz.machine.paging import ACCESSED, DIRTY, NX, RW, US, Access, walk
from ringviz.vmm.amdv import layout as amdv
from ringviz.vmm.amdv.technique import AmdV
from ringviz.vmm.hardware_paging import HardwarePaging
from ringviz.vmm.ring_compression import layout
from ringviz.vmm.ring_compression.descriptor_tables import shadow_entry
from ringviz.vmm.ring_compression.monitor import RingCompression
from ringviz.vmm.technique import Technique
from ringviz.vmm.vtx import layout as vtx
from ringviz.vmm.vtx.technique import VtX

_ACCESSED_DIRTY = 0x60
_OWN_SELECTORS = (layout.TSS_SELECTOR, layout.VMM_CODE_SELECTOR, layout.LDT_SELECTOR)
_VMCB_INTERCEPTS = 0x14
"""Bytes of intercept words at the start of a VMCB."""
_VMCS_FIELDS = (
    "EXCEPTION_BITMAP", "PAGE_FAULT_ERROR_CODE_MASK", "PAGE_FAULT_ERROR_CODE_MATCH", "CR0_GUEST_HOST_MASK",
    "CR4_GUEST_HOST_MASK", "IO_BITMAP_A", "IO_BITMAP_B", "HOST_CR0", "HOST_CR3", "HOST_CR4", "HOST_RIP", "HOST_RSP",
)  # fmt: skip
_VMCB_BASES = range(0x40, 0x50)


def still(technique: Technique) -> dict[str, bytes]:
    """Give the VMM's memory that must never change while guests run."""
    ram = technique.machine.ram
    if isinstance(technique, RingCompression):
        return {
            "mappings beyond the guest": mappings_beyond(technique, layout.PAGE_DIRECTORY),
            "task state": ram.read(layout.TASK_STATE, PAGE),
            "interrupt table": ram.read(layout.INTERRUPT_TABLE, 0x800),
            "open bus": ram.read(layout.OPEN_BUS_PAGE, PAGE),
            "own descriptors": b"".join(_system_descriptor(ram, selector) for selector in _OWN_SELECTORS),
        }
    if isinstance(technique, AmdV):
        vmcb = amdv.VMCB
        return {
            "intercepts": ram.read(vmcb, _VMCB_INTERCEPTS),
            "bases": ram.read(vmcb + _VMCB_BASES.start, len(_VMCB_BASES)),
            "asid": ram.read(vmcb + 0x58, 4),
            "nested paging": ram.read(vmcb + 0x90, 8) + ram.read(vmcb + 0xB0, 8),
            "I/O map": ram.read(amdv.IO_MAP, amdv.IO_MAP_BYTES),
            "MSR map": ram.read(amdv.MSR_MAP, amdv.MSR_MAP_BYTES),
            "open bus": ram.read(amdv.OPEN_BUS, PAGE),
            "mappings beyond the guest": mappings_beyond(technique, amdv.FLAT_DIRECTORY)
            if technique.nested is None
            else nested_mappings(ram, technique.nested.root),
        }
    if isinstance(technique, VtX):
        fields = technique.vmx.vmcs.fields()
        ept = technique.ept
        return {
            "VMXON region": ram.read(vtx.VMXON_REGION, PAGE),
            "I/O bitmaps": ram.read(vtx.IO_BITMAP_A, 2 * vtx.IO_BITMAP_BYTES),
            "MSR bitmaps": ram.read(vtx.MSR_BITMAP, vtx.MSR_BITMAP_BYTES),
            "open bus": ram.read(vtx.OPEN_BUS, PAGE),
            "host state": repr([item for item in fields.items() if item[0].startswith("HOST_")]).encode(),
            "addresses": repr([fields[name] for name in _VMCS_ADDRESSES]).encode(),
            "mappings beyond the guest": mappings_beyond(technique, vtx.IDENTITY_DIRECTORY)
            if ept is None
            else nested_mappings(ram, ept.root),
        }
    return {}


_VMCS_ADDRESSES = ("IO_BITMAP_A", "IO_BITMAP_B", "MSR_BITMAP", "EPT_POINTER", "VIRTUAL_PROCESSOR_ID")


def _system_descriptor(ram: Ram, selector: int) -> bytes:
    """A descriptor without its limit's low half, which for the LDT follows the guest's."""
    return ram.read(layout.SHADOW_GDT + selector + 2, 6)


def mappings_beyond(technique: Technique, flat_directory: int) -> bytes:
    """Every linear page beyond the guest's RAM that leads somewhere, and where to; accessed and dirty bits apart."""
    ram = technique.machine.ram
    found = bytearray()
    for high in range(1024):
        directory = ram.read_int(flat_directory + 4 * high, 4)
        if not directory:
            continue
        content = ram.read(directory & ~0xFFF, PAGE)
        for low in range(1024):
            page, entry = high << 10 | low, int.from_bytes(content[4 * low : 4 * low + 4], "little")
            if entry and page >= technique.guest_bytes // PAGE:
                found.extend(page.to_bytes(4, "little") + (entry & ~_ACCESSED_DIRTY).to_bytes(4, "little"))
    return bytes(found)


def nested_mappings(ram: Ram, root: int) -> bytes:
    """Every guest-physical page that leads somewhere, and where to; accessed and dirty bits apart."""
    found = bytearray()

    def visit(table: int, shift: int, gpa: int) -> None:
        content = ram.read(table, PAGE)
        for i in range(512):
            entry = int.from_bytes(content[8 * i : 8 * i + 8], "little")
            if entry and shift > 12:
                visit(entry & ~0xFFF, shift - 9, gpa | i << shift)
            elif entry:
                found.extend(
                    (gpa | i << shift).to_bytes(8, "little") + (entry & ~_ACCESSED_DIRTY).to_bytes(8, "little")
                )

    visit(root, 39, 0)
    return bytes(found)


def assert_tables_follow_the_guest(technique: Technique) -> None:
    """What the VMM derives from the guest is what it should derive: shadow descriptors and page mappings."""
    if not isinstance(technique, RingCompression):
        return
    ram, state = technique.machine.ram, technique.guest_state()
    kernel_runs = state.cpl < 3
    memory = technique.guest_memory()
    for selector in range(8, min(state.gdtr.limit + 1, layout.LDT_SELECTOR) - 7, 8):
        shadow = ram.read_int(layout.SHADOW_GDT + selector, 8)
        if selector in technique._tables.own:
            assert shadow == technique._tables.own[selector]
            continue
        raw = memory.peek(state.gdtr.base + selector, 8)
        if raw is None or (state.is_paged and not shadow):  # what is not there, or not marked accessed yet, is left out
            continue
        wanted = shadow_entry(int.from_bytes(raw, "little"), kernel_runs=kernel_runs)
        assert shadow == wanted, f"shadow of {selector:04X}"
    for page in range(technique.guest_bytes // PAGE):
        entry = ram.read_int(layout.GUEST_TABLES + 4 * page, 4)
        assert entry >> 12 == (technique.guest_base >> 12) + page, f"page {page:X} is mapped elsewhere"
        assert entry & 7 in (5, 7), f"page {page:X} is not reachable"


def assert_shadows_follow_the_guest(technique: Technique) -> None:
    """No shadow entry allows what the guest's page tables do not, none leads elsewhere, and none leads to the VMM."""
    assert isinstance(technique, (RingCompression, HardwarePaging))
    shadow, ram, space = technique._shadow, technique.machine.ram, technique._space
    assert shadow is not None

    def read(address: int, size: int) -> int:
        return int.from_bytes(space.read_physical(address, size), "little")

    for key, tables in shadow._spaces.items():
        cr0 = Cr0.PG | Cr0.PE | (Cr0.WP if key.write_protect else 0)
        cr4 = Cr4.PAE if key.format.is_pae else Cr4.PSE if key.large_pages else 0
        efer = Efer.NXE if key.no_execute else 0
        for index in tables.tables:
            for address, entry in tables.present(index):
                number = (address & 0xFFF) // key.format.entry_bytes
                linear = index << key.format.directory_shift | number << 12
                is_writable, is_user = bool(entry & RW), bool(entry & US)
                is_executable = not (key.no_execute and entry & NX)
                frame = (entry & 0xFFFF_F000) - technique.guest_base
                assert 0 <= frame < technique.guest_bytes, f"{linear:08X} leads out of the guest"
                wanted = [Access(is_user=is_user)]
                wanted += [Access(is_write=True, is_user=is_user)] * is_writable
                wanted += [Access(is_user=is_user, is_fetch=True)] * is_executable
                for access in wanted:
                    done = walk(read, cr0, key.cr3, cr4, efer, linear, access)
                    assert done.physical == frame, f"{linear:08X}: {done} and {entry:X}"
                    assert all(step.level == 3 or step.value & ACCESSED for step in done.entries)
                    assert not access.is_write or done.entries[-1].value & DIRTY
                    for step in done.entries:
                        assert step.address >> 12 in shadow._uses or step.address >= technique.guest_bytes
                if is_writable:
                    assert not shadow._is_traced(frame >> 12), f"{linear:08X} is writable, but watched"
    for frame in range(technique.guest_bytes >> 12):
        assert bool(ram.read_int(shadow._flat_entry(frame), 4) & RW) != shadow._is_traced(frame)
    used = [page for tables in shadow._spaces.values() for page in tables.pages()]
    assert len(used) == len(set(used))
    assert set(used).isdisjoint(shadow._pool._free)
