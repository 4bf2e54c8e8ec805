"""What each hypercall does: check what the guest asks for, do it or refuse it with Xen's error number.

Nothing here trusts an argument. What is left out answers -ENOSYS, as a Xen does that was built without it; the table
of facts says which. Source of the checks: Xen 3.0, x86-32.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ringviz.errors import UnsupportedError
from ringviz.facts.hypercalls import HYPERCALLS, HYPERVISOR_START, ConsoleIo, Error, Sched, Virq, VmAssist, XenVersion
from ringviz.facts.registers import Cr0, Eflags
from ringviz.machine.machine import Machine
from ringviz.machine.memory import PAGE
from ringviz.machine.state import ESP, SS
from ringviz.vmm.paravirt import descriptors, guest_access
from ringviz.vmm.paravirt.answers import Answer, Continuation
from ringviz.vmm.paravirt.cpu_tables import SYSTEM_CALL_VECTOR
from ringviz.vmm.paravirt.domain import Callback, Channel, DomainCrash, Handler
from ringviz.vmm.paravirt.event_channels import EventChannels
from ringviz.vmm.paravirt.guest_access import Refused
from ringviz.vmm.paravirt.guest_entry import Frame
from ringviz.vmm.paravirt.paging_calls import MOST_AT_ONCE, PagingCalls

UART_PORT, EXIT_PORT = 0x3F8, 0xF4
"""The hypervisor's own devices: where the guest's text goes, and how its run ends."""
_LINE_STATUS = 5
"""Offset of the port that says whether the UART has room, or a byte for us."""
_DATA_READY = 0x01
VERSION = 0x0003_0000
"""Xen 3.0: major version in the upper half."""
_EXTRAVERSION = b".ringviz"
_CAPABILITIES = b"xen-3.0-x86_32"
_MOST_BYTES_AT_ONCE = 0x1_0000
_TRAP_INFO = struct.Struct("<BBHI")
_MULTICALL_BYTES = 32
_SHOWN_CHARS = 40
_TOLD_IN_FULL = frozenset({"mmu_update", "mmuext_op", "update_va_mapping"})
"""Calls of which a multicall tells more than the number they answer: what was validated."""


class Hypervisor(PagingCalls):
    """Answers hypercalls. Owns what belongs to the hypervisor beside the CPU."""

    def __init__(self, scenario_id: str, machine: Machine, guest_base: int, guest_bytes: int) -> None:
        super().__init__(scenario_id, machine, guest_base, guest_bytes)
        self._port_accesses = 0

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
        for done in range(MOST_AT_ONCE):
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
        raise Continuation((table,), f"{MOST_AT_ONCE} handlers registered, more to come")

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

    def set_timer_op(self, time_lo: int, time_hi: int) -> Answer:
        """Ask to be told when it is so late, in nanoseconds of system time."""
        return Answer(self.clock.wake_at(time_hi << 32 | time_lo))

    def event_channel_op(self, command: int, argument: int) -> Answer:
        """Event channels; the hypervisor's clock starts with the first channel for it."""
        text = EventChannels(self.domain, self.shared, self.memory).perform(command, argument)
        if Channel("virq", Virq.TIMER) in self.domain.channels.values():
            self.clock.start()
        return Answer(text)

    def event_channel_op_compat(self, operation: int) -> Answer:
        """The same, with the command in front of the argument."""
        command = guest_access.read_words(self.memory, operation, 1)[0]
        return self.event_channel_op(command, operation + 4)

    def vm_assist(self, command: int, kind: int) -> Answer:
        """Switch help on or off. Segments of 4 GiB need none here; page tables that are written to are not offered."""
        if kind > VmAssist.WRITABLE_PAGETABLES:
            raise Refused(Error.EINVAL, f"there is no help {kind}")
        if command == 0 and kind == VmAssist.WRITABLE_PAGETABLES:
            raise Refused(Error.ENOSYS, "page tables stay read-only: changes are asked for")
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
            XenVersion.PLATFORM_PARAMETERS: HYPERVISOR_START.to_bytes(4, "little"),
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
        """Print text on the console, or read what was typed."""
        match command:
            case ConsoleIo.WRITE:
                return self._print(_signed(count), buffer)
            case ConsoleIo.READ:
                return self._read_console(_signed(count), buffer)
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

    def _read_console(self, count: int, buffer: int) -> Answer:
        bus, now = self._machine.bus, self._machine.now
        typed = b""
        while len(typed) < count and bus.read(UART_PORT + _LINE_STATUS, 1, now) & _DATA_READY:
            typed += bytes((bus.read(UART_PORT, 1, now),))
            self._port_accesses += 2
        guest_access.write(self.memory, buffer, typed)
        return Answer(f"console → {typed.decode('latin-1')!a}" if typed else "nothing was typed", len(typed))

    def multicall(self, entries_at: int, count: int) -> Answer:
        """Several hypercalls for the price of one way there and back."""
        told: list[str] = []
        blocks = is_attempt = False
        requests = 0
        for number in range(count):
            if number == MOST_AT_ONCE:
                raise Continuation((entries_at, count - number), f"{number} calls, more to come", requests=requests)
            words = guest_access.read_words(self.memory, entries_at, _MULTICALL_BYTES // 4)
            name = HYPERCALLS[words[0]].name if words[0] in HYPERCALLS else f"number {words[0]}"
            try:
                answer = self._call_of_multicall(words[0], words[2:7])
            except Refused as refused:
                why = f"{refused.error.name} ({refused})" if name in _TOLD_IN_FULL else refused.error.name
                answer = Answer(why, -refused.error, requests=refused.requests, is_attempt=refused.is_attempt)
            except Continuation as rest:
                guest_access.write(
                    self.memory, entries_at + 8, struct.pack(f"<{len(rest.arguments)}I", *rest.arguments)
                )
                again = (entries_at, count - number)
                raise Continuation(again, f"{name}: {rest}", requests=requests + rest.requests) from None
            blocks, is_attempt = blocks or answer.blocks, is_attempt or answer.is_attempt
            requests += answer.requests
            if answer.ends:
                return Answer(answer.text, ends=True, entries=number + 1, requests=requests, is_attempt=is_attempt)
            guest_access.write_word(self.memory, entries_at + 4, answer.value)
            is_in_full = answer.value < 0 or name in _TOLD_IN_FULL
            told.append(f"{name} → {answer.text if is_in_full else _shown(answer.value)}")
            entries_at += _MULTICALL_BYTES
        more = f" and {len(told) - 4} more" if len(told) > 4 else ""
        text = f"{count} calls: " + ", ".join(told[:4]) + more
        return Answer(text, blocks=blocks, entries=count, requests=requests, is_attempt=is_attempt)

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
