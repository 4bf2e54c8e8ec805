"""What each hypercall does: check what the guest asks for, do it or refuse it with Xen's error number.

Nothing here trusts an argument. What is left out answers -ENOSYS, as a Xen does that was built without it; the table
of facts says which. Source of the checks: Xen 3.0, x86-32.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ringviz.errors import UnsupportedError
from ringviz.facts.hypercalls import (
    DOMID_SELF,
    FIRST_RESERVED_GDT_ENTRY,
    HYPERCALLS,
    ConsoleIo,
    Error,
    MmuExt,
    Sched,
    VmAssist,
    XenVersion,
)
from ringviz.facts.registers import Cr0, Eflags
from ringviz.facts.segments import null_cache
from ringviz.machine.linear import LinearMemory
from ringviz.machine.machine import Machine
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.paging import RW, P
from ringviz.machine.state import ESP, SS, CpuState, segment
from ringviz.vmm.paravirt import descriptors, guest_access, layout
from ringviz.vmm.paravirt.cpu_tables import SYSTEM_CALL_VECTOR, CpuTables
from ringviz.vmm.paravirt.domain import Callback, Domain, DomainCrash, Handler
from ringviz.vmm.paravirt.event_channels import EventChannels
from ringviz.vmm.paravirt.guest_access import Refused
from ringviz.vmm.paravirt.guest_entry import Frame
from ringviz.vmm.paravirt.page_tables import PageTables
from ringviz.vmm.paravirt.shared_page import SharedPage

UART_PORT, EXIT_PORT = 0x3F8, 0xF4
"""The hypervisor's own devices: where the guest's text goes, and how its run ends."""
_LINE_STATUS = 5
"""Offset of the port that says whether the UART has room."""
VERSION = 0x0003_0000
"""Xen 3.0: major version in the upper half."""
_EXTRAVERSION = b".ringviz"
_CAPABILITIES = b"xen-3.0-x86_32"
_MOST_AT_ONCE = 1024
"""Items of a list that one entry to the hypervisor handles; then the guest's INT 82h is taken again for the rest."""
_MOST_BYTES_AT_ONCE = 0x1_0000
_ENTRIES_PER_PAGE = PAGE // 8
_TRAP_INFO = struct.Struct("<BBHI")
_MULTICALL_BYTES = 32
_MMUEXT_WORDS = 3
_PT_FLAGS_REFUSED = 0x180
"""PAT and G of a page-table entry: Xen lets no guest set them."""
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes of a hypercall that was carried out."""

    text: str
    """What was done, in a few words."""
    value: int = 0
    """For EAX."""
    frame: Frame | None = None
    """Where to go on, if not behind the INT."""
    blocks: bool = False
    """The guest waits for an event."""
    ends: bool = False
    """The guest has ended itself."""
    entries: int = 0
    """Calls that a multicall bundled."""


class Continuation(Exception):  # noqa: N818 - control flow, not an error
    """A long hypercall gives way: INT 82h is taken again with these arguments."""

    def __init__(self, arguments: tuple[int, ...], text: str) -> None:
        super().__init__(text)
        self.arguments = arguments


class Hypervisor:
    """Answers hypercalls. Owns what belongs to the hypervisor beside the CPU."""

    def __init__(self, scenario_id: str, machine: Machine, guest_base: int, guest_bytes: int) -> None:
        self._scenario_id = scenario_id
        self._machine = machine
        self.pages = PageTables(machine.ram, guest_base, guest_bytes)
        self.tables = CpuTables(machine.ram)
        self.shared = SharedPage(machine.ram)
        self.domain = Domain()
        self._port_accesses = 0

    @property
    def memory(self) -> LinearMemory:
        """Linear memory, as the CPU sees it."""
        return self._machine.memory

    @property
    def state(self) -> CpuState:
        """The CPU."""
        return self._machine.state

    def call(self, number: int, arguments: tuple[int, ...]) -> Answer:
        """Carry out one hypercall.

        Args:
            number: which.
            arguments: five of them; those that the call does not have are ignored.

        Raises:
            Refused: with Xen's error number.
            Continuation: to be called again for the rest.
            DomainCrash: the guest has left itself no way on.
        """
        routine = _ROUTINES.get(number)
        if routine is None:
            row = HYPERCALLS.get(number)
            raise Refused(Error.ENOSYS, f"{row.name} is not offered" if row is not None else "no such hypercall")
        return routine(self, *arguments[: len(HYPERCALLS[number].arguments)])

    # ---- traps and callbacks -----------------------------------------------------------------------------------------

    def set_trap_table(self, table: int) -> Answer:
        """Register handlers, up to an entry without an address; no table at all clears all."""
        domain = self.domain
        if not table:
            domain.traps.clear()
            self.tables.close_system_call_gate()
            return Answer("no handlers any more")
        for done in range(_MOST_AT_ONCE):
            entry = guest_access.read(self.memory, table, _TRAP_INFO.size)
            vector, flags, selector, offset = _TRAP_INFO.unpack(entry)
            if not offset:
                told = "INT 80h goes straight to the guest" if self.has_own_gate else "INT 80h comes here first"
                is_named = SYSTEM_CALL_VECTOR in domain.traps
                return Answer(f"{done} handlers registered" + (f"; {told}" if is_named else ""))
            if not descriptors.is_valid_code_selector(selector):
                raise Refused(Error.EPERM, f"a handler in {selector:04X} would not be in ring 1")
            domain.traps[vector] = Handler(selector, offset, flags & 3, bool(flags & 4))
            if vector == SYSTEM_CALL_VECTOR:
                self._set_system_call_gate(domain.traps[vector])
            table += _TRAP_INFO.size
        raise Continuation((table,), f"{_MOST_AT_ONCE} handlers registered, more to come")

    @property
    def has_own_gate(self) -> bool:
        """INT 80h goes through a gate of the guest's own."""
        handler = self.domain.traps.get(SYSTEM_CALL_VECTOR)
        return handler is not None and not handler.masks_events

    def _set_system_call_gate(self, handler: Handler) -> None:
        if handler.masks_events:  # the CPU cannot set the event mask on the way
            self.tables.close_system_call_gate()
        else:
            self.tables.open_system_call_gate(handler.selector, handler.offset, handler.dpl)

    def set_callbacks(self, event_cs: int, event_eip: int, failsafe_cs: int, failsafe_eip: int) -> Answer:
        """Register where to call the guest."""
        for selector in (event_cs, failsafe_cs):
            if not descriptors.is_valid_code_selector(selector):
                raise Refused(Error.EPERM, f"a callback in {selector & 0xFFFF:04X} would not be in ring 1")
        self.domain.event = Callback(event_cs, event_eip)
        self.domain.failsafe = Callback(failsafe_cs, failsafe_eip)
        return Answer(f"events are told at {event_eip:08X}, failed returns at {failsafe_eip:08X}")

    def stack_switch(self, selector: int, pointer: int) -> Answer:
        """Take the kernel's stack, for entries from outer rings."""
        if selector & 3 != 1:
            raise Refused(Error.EPERM, f"a stack in {selector & 0xFFFF:04X} would not be ring 1's")
        selector &= 0xFFFF
        self.domain.kernel_ss, self.domain.kernel_esp = selector, pointer
        self.tables.set_kernel_stack(selector, pointer)
        return Answer(f"the kernel's stack is {selector:04X}:{pointer:08X}")

    def iret(self) -> Answer:
        """Return to where the frame on the stack says: EAX, EIP, CS, EFLAGS, and for outer rings ESP and SS."""
        at = self.state.gpr[ESP]
        try:
            eax, eip, cs, eflags = guest_access.read_words(self.memory, at, 4)
            cs &= 0xFFFF
            esp, ss = at + 16, self.state.segments[SS].selector
            if eflags & Eflags.VM:
                raise UnsupportedError(
                    f"{self._scenario_id}: the guest enters virtual-8086 mode; paravirt does not follow it there"
                )
            if not cs & 3:
                raise DomainCrash("it asked to return to ring 0")
            if cs & 3 > 1:
                esp, ss = guest_access.read_words(self.memory, at + 16, 2)
        except Refused as refused:
            raise DomainCrash(f"it asked to return, and {refused}") from None
        is_masked = not eflags & Eflags.IF
        self.shared.is_masked = is_masked
        frame = Frame(cs, eip, eflags & ~Eflags.IOPL | Eflags.IF, ss & 0xFFFF, esp & 0xFFFF_FFFF)
        return Answer(f"back to ring {cs & 3} at {eip:08X}, event mask {int(is_masked)}", eax, frame)

    # ---- descriptors -------------------------------------------------------------------------------------------------

    def set_gdt(self, frames_at: int, entries: int) -> Answer:
        """Have frames checked, entry by entry, and used as the GDT."""
        if entries > FIRST_RESERVED_GDT_ENTRY:
            raise Refused(Error.EINVAL, f"{entries} entries reach into the hypervisor's part of the GDT")
        count = (entries + _ENTRIES_PER_PAGE - 1) // _ENTRIES_PER_PAGE
        pages = []
        for frame in guest_access.read_words(self.memory, frames_at, count):
            page = self.pages.page_of(frame)
            if page is None:
                raise Refused(Error.EINVAL, f"frame {frame:X}h is not the guest's")
            pages.append(page)
        table = self._claim(pages, "GDT", self.domain.ldt_pages)
        self.domain.gdt_pages, self.domain.gdt_entries = tuple(pages), entries
        self.tables.set_gdt(table)
        self.domain.tables_version += 1
        return Answer(f"GDT of {entries} entries checked and in use")

    def _set_ldt(self, linear: int, entries: int) -> Answer:
        """Have pages checked and used as the LDT; no entries is no LDT."""
        domain = self.domain
        if linear % PAGE or entries > 0x2000 or not guest_access.may_access(linear, 8 * entries):
            raise Refused(Error.EINVAL, f"no LDT of {entries} entries can lie at {linear:08X}h")
        first = linear >> PAGE_SHIFT
        pages = list(range(first, first + (8 * entries + PAGE - 1) // PAGE))
        for page in pages:
            if page >= self.pages.pages or self.pages.entry(page) >> PAGE_SHIFT != self.pages.frame_of(page):
                raise Refused(Error.EINVAL, f"the page at {page << PAGE_SHIFT:08X}h is not the guest's")
        table = self._claim(pages, "LDT", domain.gdt_pages)
        domain.ldt_pages, domain.ldt_entries = tuple(pages), entries
        self.tables.set_ldt(table, entries)
        self.state.ldtr = (
            segment(layout.LDT_SELECTOR, layout.LDT_LINEAR, 8 * entries - 1, 0x082) if entries else null_cache()
        )
        domain.tables_version += 1
        return Answer(f"LDT of {entries} entries checked and in use" if entries else "no LDT")

    def _claim(self, pages: list[int], kind: str, others: tuple[int, ...]) -> bytes:
        """Check pages that are to be a descriptor table, and fix their entries up; give the table."""
        tables = []
        for page in pages:
            if self.pages.is_writable(page):
                raise Refused(Error.EINVAL, f"the guest can still write to its {kind} at {page << PAGE_SHIFT:08X}h")
            if page in others:
                raise Refused(Error.EINVAL, "one page cannot be GDT and LDT")
            fixed = []
            content = self._machine.ram.read(self.pages.frame_of(page) << PAGE_SHIFT, PAGE)
            for offset in range(0, PAGE, 8):
                raw = descriptors.checked(int.from_bytes(content[offset : offset + 8], "little"))
                if raw is None:
                    raise Refused(Error.EINVAL, f"the descriptor at {(page << PAGE_SHIFT) + offset:08X}h is refused")
                fixed.append(raw)
            tables.append(struct.pack(f"<{len(fixed)}Q", *fixed))
        for page, table in zip(pages, tables, strict=True):
            self._machine.ram.write(self.pages.frame_of(page) << PAGE_SHIFT, table)
        return b"".join(tables)

    def update_descriptor(self, address_lo: int, address_hi: int, low: int, high: int) -> Answer:
        """Have one descriptor checked and changed, at its machine address."""
        page = self.pages.page_of(address_lo >> PAGE_SHIFT)
        raw = descriptors.checked(high << 32 | low)
        if address_hi or address_lo % 8 or page is None:
            raise Refused(Error.EINVAL, f"no descriptor of the guest's lies at machine address {address_lo:08X}h")
        if raw is None:
            raise Refused(Error.EINVAL, f"descriptor {high:08X}_{low:08X} is refused")
        domain, offset = self.domain, address_lo % PAGE
        self._machine.ram.write_int(address_lo, raw, 8)
        for number in (number for number, other in enumerate(domain.gdt_pages) if other == page):
            self.tables.set_gdt_entry(number, offset, raw)
        for number in (number for number, other in enumerate(domain.ldt_pages) if other == page):
            self.tables.set_ldt_entry(number, offset, raw)
        domain.tables_version += 1
        return Answer(f"descriptor at {(page << PAGE_SHIFT) + offset:08X}h is now {raw:016X}")

    # ---- memory ------------------------------------------------------------------------------------------------------

    def update_va_mapping(self, address: int, entry: int, flags: int) -> Answer:
        """Change the entry of one page: its rights, or to the shared page and back. Moving frames is not offered."""
        del flags  # one CPU, and its TLB is always flushed
        page, frame = address >> PAGE_SHIFT, entry >> PAGE_SHIFT
        if page >= self.pages.pages or entry & _PT_FLAGS_REFUSED:
            raise Refused(Error.EINVAL, f"{address:08X}h cannot be mapped so")
        what = "shared page"
        if not entry & P:
            entry, what = 0, "nothing"
        elif frame != layout.SHARED_INFO >> PAGE_SHIFT:
            own = self.pages.page_of(frame)
            if own is None:
                raise Refused(Error.EINVAL, f"frame {frame:X}h is not the guest's")
            if own != page:
                raise Refused(Error.ENOSYS, "mapping a frame elsewhere is not offered")
            if entry & RW and page in self.domain.table_pages:
                raise Refused(Error.EINVAL, "a descriptor table cannot be mapped writable")
            what = "its frame"
        self.pages.set_entry(page, entry)
        self._machine.cpu.flush_tlb()
        rights = "" if not entry else ", writable" if entry & RW else ", read-only"
        return Answer(f"{page << PAGE_SHIFT:08X}h shows {what}{rights}")

    def mmuext_op(self, operations: int, count: int, done_at: int, domain: int) -> Answer:
        """TLB and LDT; what concerns page tables of the guest's own is not offered."""
        if domain != DOMID_SELF:
            raise Refused(Error.EPERM, "other domains are not the guest's")
        texts: list[str] = []
        for number in range(count):
            if number == _MOST_AT_ONCE:
                raise Continuation((operations, count - number, done_at, domain), f"{number} operations, more to come")
            command, one, two = guest_access.read_words(self.memory, operations, _MMUEXT_WORDS)
            texts.append(self._mmuext(command, one, two))
            operations += 4 * _MMUEXT_WORDS
        if done_at:
            guest_access.write_word(self.memory, done_at, count)
        return Answer(", ".join(texts[:3]) or "nothing to do")

    def _mmuext(self, command: int, one: int, two: int) -> str:
        match command:
            case MmuExt.SET_LDT:
                return self._set_ldt(one, two).text
            case MmuExt.TLB_FLUSH_LOCAL | MmuExt.TLB_FLUSH_ALL:
                self._machine.cpu.flush_tlb()
                return "TLB flushed"
            case MmuExt.INVLPG_LOCAL | MmuExt.INVLPG_ALL:
                self._machine.cpu.flush_tlb()
                return f"{one:08X}h flushed from the TLB"
            case _:
                name = MmuExt(command).name if command in list(MmuExt) else f"operation {command}"
                raise Refused(Error.ENOSYS, f"{name} is not offered")

    # ---- CPU ---------------------------------------------------------------------------------------------------------

    def fpu_taskswitch(self, is_set: int) -> Answer:
        """Set or clear CR0.TS: the next FPU instruction traps, or does not."""
        state = self.state
        state.cr0 = state.cr0 | Cr0.TS if is_set else state.cr0 & ~Cr0.TS
        return Answer(f"CR0.TS {int(bool(is_set))}")

    def set_debugreg(self, number: int, value: int) -> Answer:
        """Write a debug register, within what a guest may watch."""
        match number:
            case 0 | 1 | 2 | 3:
                if not guest_access.may_access(value, 4):
                    raise Refused(Error.EPERM, f"{value:08X}h is not the guest's to watch")
            case 6:
                value = value & 0xFFFF_EFFF | 0xFFFF_0FF0
            case 7:
                is_io = any(value >> shift & 3 == 2 for shift in range(16, 32, 2))
                if value & 1 << 13 or is_io:
                    raise Refused(Error.EPERM, "the guest may not watch ports or the debug registers")
                value = value & 0xFFFF_27FF | 0x400
            case _:
                raise Refused(Error.EINVAL, f"there is no DR{number}")
        self.state.dr[number] = value
        return Answer(f"DR{number} = {value:08X}")

    def get_debugreg(self, number: int) -> Answer:
        """Read a debug register."""
        if number > 7:
            raise Refused(Error.EINVAL, f"there is no DR{number}")
        value = self.state.dr[number]
        return Answer(f"DR{number} is {value:08X}", value)

    # ---- time, events, the end ---------------------------------------------------------------------------------------

    def sched_op_compat(self, command: int, argument: int) -> Answer:
        """Give the CPU away, or end; the reason is the argument itself."""
        match command:
            case Sched.YIELD:
                return Answer("no other guest wants the CPU")
            case Sched.BLOCK:
                self.shared.is_masked = False
                return Answer("waits for an event, event mask 0", blocks=not self.shared.is_pending)
            case Sched.SHUTDOWN:
                return self._shut_down(argument)
            case _:
                raise Refused(Error.ENOSYS, f"sched_op has no command {command}")

    def sched_op(self, command: int, argument: int) -> Answer:
        """The same; the reason for a shutdown lies where the argument points."""
        if command == Sched.SHUTDOWN:
            argument = guest_access.read_words(self.memory, argument, 1)[0]
        return self.sched_op_compat(command, argument)

    def _shut_down(self, reason: int) -> Answer:
        """End the guest: the reason goes to the machine's exit port, as a kernel on bare metal would write it."""
        self._machine.bus.write(EXIT_PORT, 4, reason, self._machine.now)
        self._port_accesses += 1
        return Answer(f"the guest shuts down, reason {reason}", ends=True)

    def event_channel_op(self, command: int, argument: int) -> Answer:
        """Event channels."""
        return Answer(EventChannels(self.domain, self.shared, self.memory).perform(command, argument))

    def event_channel_op_compat(self, operation: int) -> Answer:
        """The same, with the command in front of the argument."""
        command = guest_access.read_words(self.memory, operation, 1)[0]
        return self.event_channel_op(command, operation + 4)

    def vm_assist(self, command: int, kind: int) -> Answer:
        """Switch help on or off. Segments of 4 GiB need none here; page tables that are written to are not offered."""
        if kind > VmAssist.WRITABLE_PAGETABLES:
            raise Refused(Error.EINVAL, f"there is no help {kind}")
        if command > 1 or (command == 0 and kind != VmAssist.FOUR_GB_SEGMENTS):
            raise Refused(Error.ENOSYS, f"help {kind} is not offered")
        self.domain.assists = self.domain.assists - {kind} if command else self.domain.assists | {kind}
        return Answer(f"{VmAssist(kind).name.lower()} {'off' if command else 'on'}")

    # ---- talking -----------------------------------------------------------------------------------------------------

    def xen_version(self, command: int, argument: int) -> Answer:
        """Say which hypervisor this is."""
        answers = {
            XenVersion.EXTRAVERSION: _EXTRAVERSION.ljust(16, b"\0"),
            XenVersion.CAPABILITIES: _CAPABILITIES.ljust(1024, b"\0"),
            XenVersion.PLATFORM_PARAMETERS: layout.HOLE.to_bytes(4, "little"),
        }
        if command == XenVersion.VERSION:
            return Answer("Xen 3.0", VERSION)
        if command == XenVersion.PAGESIZE:
            return Answer("pages of 4096 bytes", PAGE)
        if command == XenVersion.GET_FEATURES:
            (index,) = guest_access.read_words(self.memory, argument, 1)
            if index:
                raise Refused(Error.EINVAL, f"there is no word {index} of features")
            guest_access.write_word(self.memory, argument + 4, 0)
            return Answer("no optional features")
        if command not in answers:
            raise Refused(Error.ENOSYS, f"xen_version has no command {command}")
        guest_access.write(self.memory, argument, answers[XenVersion(command)])
        return Answer(XenVersion(command).name.lower().replace("_", " "))

    def take_port_accesses(self) -> int:
        """How often the hypervisor has gone to a device for the guest since this was last asked."""
        count, self._port_accesses = self._port_accesses, 0
        return count

    def console_io(self, command: int, count: int, buffer: int) -> Answer:
        """Print text on the console; nobody types."""
        match command:
            case ConsoleIo.WRITE:
                return self._print(_signed(count), buffer)
            case ConsoleIo.READ:
                return Answer("nothing was typed")
            case _:
                raise Refused(Error.ENOSYS, f"console_io has no command {command}")

    def _print(self, count: int, buffer: int) -> Answer:
        if count <= 0:
            return Answer("nothing to print")
        text = guest_access.read(self.memory, buffer, min(count, _MOST_BYTES_AT_ONCE))
        bus, now = self._machine.bus, self._machine.now
        for byte in text:
            # As every driver of this device does: see that there is room, then write.
            bus.read(UART_PORT + _LINE_STATUS, 1, now)
            bus.write(UART_PORT, 1, byte, now)
            self._port_accesses += 2
        if count > len(text):
            rest = (ConsoleIo.WRITE, count - len(text), buffer + len(text))
            raise Continuation(rest, f"{len(text):,} bytes to the console, more to come")
        shown = ascii(text.decode("latin-1")[:_SHOWN_CHARS])
        return Answer(f"console ← {shown}{'…' if len(text) > _SHOWN_CHARS else ''}")

    def multicall(self, entries_at: int, count: int) -> Answer:
        """Several hypercalls for the price of one way there and back."""
        told: list[str] = []
        blocks = False
        for number in range(count):
            if number == _MOST_AT_ONCE:
                raise Continuation((entries_at, count - number), f"{number} calls, more to come")
            words = guest_access.read_words(self.memory, entries_at, _MULTICALL_BYTES // 4)
            name = HYPERCALLS[words[0]].name if words[0] in HYPERCALLS else f"number {words[0]}"
            try:
                answer = self._call_of_multicall(words[0], words[2:7])
            except Refused as refused:
                answer = Answer(refused.error.name, -refused.error)
            except Continuation as rest:
                guest_access.write(
                    self.memory, entries_at + 8, struct.pack(f"<{len(rest.arguments)}I", *rest.arguments)
                )
                raise Continuation((entries_at, count - number), f"{name}: {rest}") from None
            blocks = blocks or answer.blocks
            if answer.ends:
                return Answer(answer.text, ends=True, entries=number + 1)
            guest_access.write_word(self.memory, entries_at + 4, answer.value)
            told.append(f"{name} → {answer.text if answer.value < 0 else _shown(answer.value)}")
            entries_at += _MULTICALL_BYTES
        more = f" and {len(told) - 4} more" if len(told) > 4 else ""
        return Answer(f"{count} calls: " + ", ".join(told[:4]) + more, blocks=blocks, entries=count)

    def _call_of_multicall(self, number: int, arguments: tuple[int, ...]) -> Answer:
        if _ROUTINES.get(number) is Hypervisor.multicall:
            raise Refused(Error.EINVAL, "a multicall cannot hold another")
        if _ROUTINES.get(number) is Hypervisor.iret:
            raise Refused(Error.ENOSYS, "iret cannot be one of several")
        return self.call(number, arguments)


def _signed(value: int) -> int:
    return value - 0x1_0000_0000 if value & 0x8000_0000 else value


def _shown(value: int) -> str:
    return str(value) if value < 0x1_0000 else f"{value:08X}h"


_ROUTINES: Mapping[int, Callable[..., Answer]] = MappingProxyType(
    {number: getattr(Hypervisor, row.name) for number, row in HYPERCALLS.items() if row.is_offered}
)
