"""Hypercalls about page tables and memory: lists of requests, each checked by itself, for the price of one way there.

What is refused ends the list: what came before it stays done, and the guest learns how many requests that were. The
TLB is flushed after every call that may have changed a table, whether it was asked for or not: a CPU may forget a
translation whenever it likes, and a guest that relies on a stale one relies on nothing.

Source: Xen public header xen.h; Xen 3.0, x86-32 (`do_mmu_update`, `do_mmuext_op`, `do_update_va_mapping`).
"""

from __future__ import annotations

from collections.abc import Callable

from ringviz.facts.hypercalls import (
    DOMID_SELF,
    FLUSH_ALL_CPUS,
    FLUSH_TYPES,
    HYPERVISOR_START,
    LIST_GOES_ON,
    MACH2PHYS,
    MACH2PHYS_END,
    Error,
    Flush,
    Memory,
    MmuExt,
    MmuUpdate,
)
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.machine.paging import RW, P
from ringviz.vmm.paravirt import guest_access
from ringviz.vmm.paravirt.answers import Answer, Continuation
from ringviz.vmm.paravirt.descriptor_calls import DescriptorCalls
from ringviz.vmm.paravirt.frames import FrameType
from ringviz.vmm.paravirt.guest_access import Refused

MOST_AT_ONCE = 1024
"""Items of a list that one entry to the hypervisor handles; then the guest's INT 82h is taken again for the rest."""
_MMU_UPDATE_WORDS, _MMUEXT_WORDS = 4, 3
_COMMAND_BITS = 3
_MOST_TOLD = 3


class PagingCalls(DescriptorCalls):
    """Answers `mmu_update`, `mmuext_op`, `update_va_mapping` and `memory_op`."""

    # ---- lists of requests -------------------------------------------------------------------------------------------

    def mmu_update(self, requests: int, count: int, done_at: int, domain: int) -> Answer:
        """Change entries of page tables, at their machine addresses."""
        return self._perform((requests, count, done_at, domain), _MMU_UPDATE_WORDS, self._update)

    def mmuext_op(self, operations: int, count: int, done_at: int, domain: int) -> Answer:
        """Pin tables, load CR3, flush the TLB, load the LDT."""
        return self._perform((operations, count, done_at, domain), _MMUEXT_WORDS, self._operate)

    def _perform(self, arguments: tuple[int, int, int, int], words: int, one: Callable[..., str]) -> Answer:
        at, count, done_at, domain = arguments
        earlier = 0
        if count & LIST_GOES_ON:
            count &= ~LIST_GOES_ON
            earlier = self._word_or_none(done_at) or 0
        told: list[str] = []
        try:
            _check_list(at, 4 * words * count, domain)
            for number in range(count):
                if number == MOST_AT_ONCE:
                    rest = (at, count - number | LIST_GOES_ON, done_at, domain)
                    raise Continuation(rest, f"{_told(told)}, more to come", requests=number)
                told.append(one(*guest_access.read_words(self.memory, at, words)))
                at += 4 * words
        except Refused as refused:
            where = f"request {len(told) + 1} of {count}, " if count > 1 else ""
            raise Refused(
                refused.error, f"{where}{refused}", is_attempt=refused.is_attempt, requests=len(told)
            ) from None
        finally:
            self._settle()
            self._store_done(done_at, earlier + len(told))
        return Answer(_told(told), requests=len(told))

    def _settle(self) -> None:
        """Let the CPU see what has changed."""
        self.refresh_ldt()
        self._machine.flush_tlb()

    def _word_or_none(self, linear: int) -> int | None:
        try:
            return guest_access.read_words(self.memory, linear, 1)[0] if linear else None
        except Refused:
            return None

    def _store_done(self, linear: int, count: int) -> None:
        """Tell the guest how many requests were carried out, if it wants to know and there is a place for it."""
        if linear:
            try:
                guest_access.write_word(self.memory, linear, count)
            except Refused:
                return

    def _update(self, pointer: int, pointer_high: int, value: int, _value_high: int) -> str:
        """Carry out one request of `mmu_update`."""
        command, address = pointer & _COMMAND_BITS, pointer & ~_COMMAND_BITS
        if pointer_high:
            raise Refused(Error.EINVAL, f"there is no machine address {pointer_high:X}_{pointer:08X}h", is_attempt=True)
        match command:
            case MmuUpdate.NORMAL_PT_UPDATE:
                return self.mmu.update(address, value)
            case MmuUpdate.MACHPHYS_UPDATE:
                return self.mmu.update_machine_to_physical(address, value)
            case _:
                raise Refused(Error.EINVAL, f"mmu_update has no command {command}")

    def _operate(self, command: int, one: int, two: int) -> str:
        """Carry out one operation of `mmuext_op`."""
        match command:
            case MmuExt.PIN_L1_TABLE:
                return self.mmu.pin(one, FrameType.L1)
            case MmuExt.PIN_L2_TABLE:
                return self.mmu.pin(one, FrameType.L2)
            case MmuExt.UNPIN_TABLE:
                return self.mmu.unpin(one)
            case MmuExt.NEW_BASEPTR:
                text = self.mmu.new_base(one)
                self.state.cr3 = one << PAGE_SHIFT
                return text
            case MmuExt.SET_LDT:
                return self._set_ldt(one, two)
            case MmuExt.TLB_FLUSH_LOCAL | MmuExt.TLB_FLUSH_ALL:
                return "TLB flushed"
            case MmuExt.INVLPG_LOCAL | MmuExt.INVLPG_ALL:
                return f"{one:08X}h flushed from the TLB"
            case MmuExt.TLB_FLUSH_MULTI | MmuExt.INVLPG_MULTI:
                guest_access.read_words(self.memory, two, 1)  # which CPUs: there is one
                return "TLB flushed" if command == MmuExt.TLB_FLUSH_MULTI else f"{one:08X}h flushed from the TLB"
            case MmuExt.FLUSH_CACHE:
                raise Refused(Error.EINVAL, "a domain without hardware of its own need not flush the cache")
            case MmuExt.PIN_L3_TABLE | MmuExt.PIN_L4_TABLE:
                raise Refused(Error.EINVAL, "page tables have two levels here")
            case _:
                raise Refused(Error.EINVAL, f"mmuext_op has no operation {command}")

    # ---- one entry ---------------------------------------------------------------------------------------------------

    def update_va_mapping(self, address: int, entry: int, flags: int) -> Answer:
        """Change the entry that maps an address."""
        if address >= HYPERVISOR_START:
            raise Refused(Error.EINVAL, f"{address:08X}h is the hypervisor's", is_attempt=True)
        try:
            self.mmu.update_mapping(address, entry)
        finally:
            self._settle()
        cpus = flags & ~FLUSH_TYPES
        if flags & FLUSH_TYPES in (Flush.TLB, Flush.PAGE) and cpus not in (0, FLUSH_ALL_CPUS):
            guest_access.read_words(self.memory, cpus, 1)  # which CPUs: there is one
        return Answer(f"{address >> PAGE_SHIFT << PAGE_SHIFT:08X}h shows {self._shown(address, entry)}")

    def _shown(self, address: int, entry: int) -> str:
        if not entry & P:
            return "nothing"
        page = self.mmu.own(entry >> PAGE_SHIFT)
        rights = ", writable" if entry & RW else ", read-only"
        if page == address >> PAGE_SHIFT:
            return f"its frame{rights}"
        return f"{self.frames.name(page).removeprefix('the ')}{rights}"

    # ---- how much ----------------------------------------------------------------------------------------------------

    def memory_op(self, command: int, argument: int) -> Answer:
        """Say how much memory there is. The domain has got all that it will have, and none is taken back."""
        match command:
            case Memory.MAXIMUM_RAM_PAGE:
                last = (self._machine.ram.size >> PAGE_SHIFT) - 1
                return Answer(f"the machine's last frame is {last:X}h", last)
            case Memory.CURRENT_RESERVATION | Memory.MAXIMUM_RESERVATION:
                domain = int.from_bytes(guest_access.read(self.memory, argument, 2), "little")
                if domain != DOMID_SELF:
                    raise Refused(Error.EPERM, "other domains are not the guest's", is_attempt=True)
                return Answer(f"the guest has {self.frames.pages} pages", self.frames.pages)
            case Memory.MACHPHYS_MAPPING:
                last = (self._machine.ram.size >> PAGE_SHIFT) - 1
                for number, word in enumerate((MACH2PHYS, MACH2PHYS_END, last)):
                    guest_access.write_word(self.memory, argument + 4 * number, word)
                return Answer(f"the machine-to-physical table lies at {MACH2PHYS:08X}h")
            case _:
                raise Refused(Error.ENOSYS, f"memory_op has no command {command}")


def _check_list(at: int, size_bytes: int, domain: int) -> None:
    if domain != DOMID_SELF:
        raise Refused(Error.EINVAL, "tables of other domains are not the guest's", is_attempt=True)
    if not guest_access.may_access(at, size_bytes):
        raise Refused(Error.EFAULT, f"{size_bytes} bytes at {at:08X}h are not the guest's", is_attempt=True)


def _told(told: list[str]) -> str:
    """Say what was done, in full for a few requests, and how many they were."""
    if len(told) < 2:
        return told[0] if told else "nothing to do"
    more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return f"{len(told)} requests: " + "; ".join(told[:_MOST_TOLD]) + more
