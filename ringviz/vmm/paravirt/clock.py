"""The hypervisor's clock: a real interrupt a hundred times a second, and what a domain learns of it.

A domain that runs is told of every tick, by the virtual interrupt VIRQ_TIMER. One that has blocked is not: it asks to
be woken at a time, by `set_timer_op`. In either case it finds in the shared page how late it was at the last tick, and
how to reckon on from there with RDTSC.

Two things are ours. The clock is started by the first guest that wants to know the time, so that one that does not is
not interrupted; and a time asked for comes with the first tick at or behind it, where Xen's own timers are finer.

Source: Xen 3.0, schedule.c (`t_timer_fn`, `dom_timer_fn`, `do_set_timer_op`) and arch/x86/time.c (`update_dom_time`).
"""

from __future__ import annotations

from ringviz.facts.hypercalls import SharedInfo, Virq
from ringviz.machine.devices.device_time import INSTRUCTIONS_PER_SECOND
from ringviz.machine.devices.i8259a import Icw1, Icw4, Ocw2
from ringviz.machine.devices.pit import PULSES_PER_SECOND
from ringviz.machine.machine import Machine
from ringviz.vmm.paravirt.domain import Channel, Domain
from ringviz.vmm.paravirt.shared_page import SharedPage

TICKS_PER_SECOND = 100
_NS_PER_INSTRUCTION = 1_000_000_000 // INSTRUCTIONS_PER_SECOND
_TSC_SHIFT = 10
_TSC_MULTIPLIER = (_NS_PER_INSTRUCTION << 32) >> _TSC_SHIFT
"""Nanoseconds are (TSC << shift) * multiplier >> 32; the TSC counts device time."""
_PIC, _PIC_2, _PIT, _PIT_CONTROL = 0x20, 0xA0, 0x40, 0x43
_VECTOR, _VECTOR_2 = 0xF0, 0xF8
"""Vectors of the hypervisor's own table, out of the guest's way."""
_RATE_GENERATOR = 0x34
_ALL_BUT_THE_TIMER = 0xFE
_VIRQ_TIMER = Channel("virq", Virq.TIMER)


class Clock:
    """Keeps time by the machine's 8254 and 8259A, which belong to the hypervisor."""

    def __init__(self, machine: Machine, domain: Domain, shared: SharedPage) -> None:
        self._machine = machine
        self._domain = domain
        self._shared = shared

    @property
    def now_ns(self) -> int:
        """System time: nanoseconds since the machine was switched on."""
        return self._machine.now * _NS_PER_INSTRUCTION

    def start(self) -> None:
        """Set the devices up for a hundred interrupts a second, if that has not been done yet."""
        if self._domain.has_clock:
            return
        self._domain.has_clock = True
        # Rounded up: who asks at one tick to be woken ten milliseconds later is to be woken at the next one.
        divisor = -(-PULSES_PER_SECOND // TICKS_PER_SECOND)
        # The timer first: its new mode raises the request line once, which the controller's new start forgets.
        for port, value in (
            (_PIT_CONTROL, _RATE_GENERATOR), (_PIT, divisor & 0xFF), (_PIT, divisor >> 8),
            *((port, int(Icw1.IS_ICW1 | Icw1.ICW4_FOLLOWS)) for port in (_PIC, _PIC_2)),
            (_PIC + 1, _VECTOR), (_PIC_2 + 1, _VECTOR_2),
            (_PIC + 1, 1 << 2), (_PIC_2 + 1, 2),
            *((port + 1, int(Icw4.MODE_8086)) for port in (_PIC, _PIC_2)),
            (_PIC + 1, _ALL_BUT_THE_TIMER), (_PIC_2 + 1, 0xFF),
        ):  # fmt: skip
            self._write(port, value)
        self._tell_time()

    def wake_at(self, time_ns: int) -> str:
        """Remember when the domain wants to be woken; 0 is never. Say so in words."""
        self._domain.wake_at_ns = time_ns or None
        if not time_ns:
            return "no timer any more"
        self.start()
        return f"a timer event in {max(time_ns - self.now_ns, 0) / 1e6:.3g} ms"

    @property
    def can_wake(self) -> bool:
        """A domain that blocks now will be woken by the clock."""
        return self._domain.wake_at_ns is not None and self._port is not None

    def tick(self) -> str:
        """Answer an interrupt of the timer: end it, tell the domain the time, and wake or call it if it is to be.

        Returns:
            What was done, in a few words.
        """
        self._write(_PIC, int(Ocw2.EOI))
        self._tell_time()
        domain, port = self._domain, self._port
        is_due = domain.wake_at_ns is not None and domain.wake_at_ns <= self.now_ns
        if is_due:
            domain.wake_at_ns = None
        if port is None or not (is_due or not domain.is_blocked):
            return "the hypervisor's own clock ticks; the guest is not told"
        self._shared.set_pending(port)
        why = "the time it asked for has come" if is_due else "it runs"
        return f"VIRQ_TIMER on channel {port}: {why}"

    @property
    def _port(self) -> int | None:
        """The channel on which the domain hears of the clock."""
        return next((port for port, channel in self._domain.channels.items() if channel == _VIRQ_TIMER), None)

    def _tell_time(self) -> None:
        """Write into the shared page how late it is, between two changes of its version."""
        shared = self._shared
        version = shared.read(SharedInfo.TIME_VERSION, 4)
        for field, size, value in (
            (SharedInfo.TIME_VERSION, 4, version + 1),
            (SharedInfo.TIME_TSC, 8, self._machine.now),
            (SharedInfo.SYSTEM_TIME, 8, self.now_ns),
            (SharedInfo.TSC_MULTIPLIER, 4, _TSC_MULTIPLIER),
            (SharedInfo.TSC_SHIFT, 1, _TSC_SHIFT),
            (SharedInfo.TIME_VERSION, 4, version + 2),
        ):
            shared.write(field, value & (1 << 8 * size) - 1, size)

    def _write(self, port: int, value: int) -> None:
        self._machine.bus.write(port, 1, value, self._machine.now)
