"""The bus makes up for what nobody could notice: a guest sees no difference to devices that act at every event."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.machine.bus import Bus, Device, Timed
from ringviz.machine.devices import PicPair, Pit, Vga, pc_devices
from ringviz.machine.devices.pit import time_of_pulse

PIC_SETUP = (
    (0x20, 0x11),
    (0x21, 0x20),
    (0x21, 0x04),
    (0x21, 0x01),
    (0xA0, 0x11),
    (0xA1, 0x28),
    (0xA1, 0x02),
    (0xA1, 1),
)
COMMANDS = [
    *((0x21, mask) for mask in (0x00, 0xFF, 0xFE, 0xFD, 0xFB, 0xEE, 0xE8)),
    *((0xA1, mask) for mask in (0x00, 0xFE, 0xFF)),
    *((port, command) for port in (0x20, 0xA0) for command in (0x20, 0x0A, 0x0B, 0x60, 0x68, 0xC3)),
    *((0x43, control) for control in (0x30, 0x34, 0x36, 0x14, 0x16, 0x38)),
    *((0x40, count) for count in (0x00, 0x01, 0x02, 0x60)),
    *((0x70, index) for index in (0x0A, 0x0B, 0x0C)),
    *((0x71, value) for value in (0x23, 0x26, 0x42, 0x72, 0x02)),
    *((0x3F9, ier) for ier in (0x00, 0x01, 0x03)),
    *((0x3FC, mcr) for mcr in (0x00, 0x08)),
    *((0x3F8, byte) for byte in b"ab"),
    *((0x64, command) for command in (0x20, 0xAD, 0xAE, 0xD2)),
    (0x60, 0xF4),
    (0x1F7, 0xEC),
]
READS = [0x20, 0x21, 0xA0, 0xA1, 0x40, 0x60, 0x64, 0x71, 0x3F8, 0x3FA, 0x3FD, 0x1F7]
DEEDS = st.lists(
    st.tuples(
        st.integers(0, 400) | st.integers(0, 40_000), st.sampled_from([*COMMANDS, *((port, None) for port in READS)])
    ),
    max_size=40,
)
WAITS_FOR_ACKNOWLEDGE = st.integers(0, 30)


class Watched:
    """A PC on a bus, with every change of INTR on record; a request is acknowledged after so many microseconds."""

    def __init__(self, patience: int | None) -> None:
        self.devices: tuple[Device, ...] = pc_devices(1 << 24, (b"\0" * 512,), console_input=b"words", keys="Words")
        self.bus = Bus(self.devices)
        self.now = 0
        self.patience = patience
        self.record: list[tuple[int, object]] = []
        self.is_high = False
        for port, value in PIC_SETUP:
            self.bus.write(port, 1, value, 0)

    def next_event(self) -> int | None:
        return self.bus.next_event()

    def advance(self, now: int) -> None:
        self.bus.advance(now)

    def run_to(self, end: int) -> None:
        while True:
            at = self.next_event()
            answers_at = None if self.patience is None or not self.is_high else self.raised_at + self.patience
            moments = [moment for moment in (at, answers_at) if moment is not None and moment <= end]
            if not moments:
                break
            self.now = max(min(moments), self.now)
            self.advance(self.now)
            self.look()
            if self.is_high and self.patience is not None and self.now >= self.raised_at + self.patience:
                self.record.append((self.now, self.bus.acknowledge()))
                self.look()
        self.now = end
        self.advance(end)
        self.look()

    def look(self) -> None:
        if self.bus.is_requesting is not self.is_high:
            self.is_high = not self.is_high
            self.raised_at = self.now
            self.record.append((self.now, self.is_high))

    def do(self, port: int, value: int | None) -> None:
        if value is None:
            self.record.append((self.now, self.bus.read(port, 1, self.now)))
        else:
            self.bus.write(port, 1, value, self.now)
        self.look()


class Eager(Watched):
    """The same with every device acting at each of its events, noticed or not."""

    def next_event(self) -> int | None:
        times = (device.next_event(self.now) for device in self.devices if isinstance(device, Timed))
        return min((at for at in times if at is not None), default=None)

    def advance(self, now: int) -> None:
        for device in self.devices:
            if isinstance(device, Timed):
                device.advance(now)


@settings(deadline=None)
@given(DEEDS, st.none() | WAITS_FOR_ACKNOWLEDGE)
def test_a_guest_notices_no_event_that_was_made_up_for(
    deeds: list[tuple[int, tuple[int, int | None]]], patience: int | None
) -> None:
    lazy, eager = Watched(patience), Eager(patience)
    for wait, (port, value) in deeds:
        # A few hundred ticks of the fastest timer are enough: an eager bus takes each of them.
        for bus in (lazy, eager):
            bus.run_to(bus.now + min(wait, 400) if value == 0x01 or value == 0x02 else bus.now + wait)
            bus.do(port, value)
    for bus in (lazy, eager):
        bus.run_to(bus.now + 300)
        for port in (0x21, 0x20):
            bus.do(port, 0x0A)
            bus.do(port, None)
    assert lazy.record == eager.record


def _timer(imr: int) -> Bus:
    bus = Bus([PicPair(), Pit()])
    for port, value in (*PIC_SETUP, (0x21, imr), (0x43, 0x34), (0x40, 0x64), (0x40, 0x00)):
        bus.write(port, 1, value, 0)
    return bus


def test_a_masked_timer_stops_nobody_and_its_tick_waits_in_irr() -> None:
    bus = _timer(imr=0xFF)
    assert bus.next_event() is None
    assert not bus.advance(5_000)
    assert bus.read(0x20, 1, 5_000) == 0x01
    bus.write(0x21, 1, 0xFE, 5_000)
    assert bus.is_requesting


def test_the_tick_that_irr_shows_is_gone_while_the_output_is_low() -> None:
    bus = _timer(imr=0xFF)
    tick = time_of_pulse(101)
    assert [bus.read(0x20, 1, at) for at in (tick - 2, tick, tick + 1, time_of_pulse(200))] == [1, 1, 1, 0]


def test_a_line_in_service_is_heard_again_after_its_end_of_interrupt() -> None:
    bus = _timer(imr=0xFE)
    at = bus.next_event()
    while not bus.is_requesting:
        assert at is not None
        bus.advance(at)
        at = bus.next_event()
    assert at is not None
    assert bus.acknowledge() == 0x20
    assert bus.next_event() is None
    later = at + 1_000
    bus.write(0x20, 1, 0x20, later)
    assert bus.is_requesting  # of the ticks that came meanwhile, one has been kept
    assert bus.next_event() is not None


def test_an_interrupt_whose_line_falls_before_it_is_acknowledged_is_spurious() -> None:
    bus = _timer(imr=0xFE)
    low = time_of_pulse(200)
    at = bus.next_event()
    while at is not None and at <= low:
        bus.advance(at)
        at = bus.next_event()
    assert not bus.is_requesting
    assert bus.acknowledge() == 0x27
    bus.write(0x20, 1, 0x0B, low)
    assert bus.read(0x20, 1, low) == 0x00  # a spurious answer puts nothing in service


def test_a_device_is_found_by_its_class() -> None:
    bus = Bus(pc_devices(1 << 24))
    vga = bus.find(Vga)
    assert vga is not None
    assert vga.text_mode.columns == 80
    assert _timer(0xFF).find(Vga) is None
