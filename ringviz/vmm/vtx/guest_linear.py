"""From a guest-physical address that EPT refused back to the linear address that led there.

The CPU knows it and puts it into the VMCS. The emulated one does not say; but an instruction has only a few addresses:
its operands, its stack, itself. The one whose translation ends at the refused page, or passes through it, is meant.
"""

from __future__ import annotations

from collections.abc import Iterator

from ringviz.guest.instruction import Instruction
from ringviz.machine.microcode.operands import linear_address, segment_base
from ringviz.machine.paging import Access, walk
from ringviz.machine.state import DS, EDI, ES, ESI, ESP, SS, CpuState, is_canonical
from ringviz.machine.stops import NestedFault
from ringviz.vmm.guest_space import GuestSpace


def linear_behind(guest: CpuState, space: GuestSpace, stop: NestedFault) -> tuple[int, bool] | None:
    """Give the linear address of an access, and whether the access was to one of the tables on the way.

    None if no address of the instruction leads there.

    Args:
        guest: the CPU as the guest sees it, with paging on.
        space: guest memory.
        stop: what EPT refused.
    """

    def read(address: int, size: int) -> int:
        return int.from_bytes(space.read_physical(address, size), "little")

    page = stop.gpa >> 12
    for found in _addresses(guest, stop.instruction, is_fetch=stop.is_fetch):
        linear = found & guest.address_mask
        if guest.is_long_active and not is_canonical(linear):
            continue
        done = walk(read, guest.cr0, guest.cr3, guest.cr4, guest.efer, linear, Access())
        if any(entry.address >> 12 == page for entry in done.entries):
            return linear, True
        if done.physical is not None and done.physical >> 12 == page:
            return linear & ~0xFFF | stop.gpa & 0xFFF, False
    return None


def _addresses(guest: CpuState, instruction: Instruction | None, *, is_fetch: bool) -> Iterator[int]:
    """Linear addresses that an instruction may touch, the likeliest first."""
    if is_fetch or instruction is None:
        yield guest.linear_eip
        yield guest.linear_eip + 15
        return
    for operand in instruction.ops:
        if operand.kind == "mem":
            first = linear_address(guest, operand, instruction.address_size_bits)
            yield first
            yield first + max(1, operand.size_bytes) - 1
    if instruction.is_string:
        yield segment_base(guest, ES) + guest.gpr[EDI]
        yield segment_base(guest, DS) + guest.gpr[ESI]
    stack = segment_base(guest, SS) + guest.gpr[ESP]
    word = 8 if guest.is_64bit else 4
    for offset in (-word, 0, -1, -2 * word, word):
        yield stack + offset
    yield guest.linear_eip
