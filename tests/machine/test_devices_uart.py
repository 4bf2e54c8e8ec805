"""The 16550A against the rules of its data sheet, its request line, and what is typed at the other end."""

import pytest

from ringviz.machine.bus import Bus
from ringviz.machine.devices import PicPair, Uart
from ringviz.machine.devices.uart import TERMINAL_LINES, UartState, character_time

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7
OUT2, LOOPBACK = 0x08, 0x10
CHARACTER = character_time(UartState())


class Driver:
    """Register access without the arguments that do not matter here."""

    def __init__(self) -> None:
        self.uart = Uart()
        self.now = 0
        self.edges: list[bool] = []
        self.uart.connect(self.edges.append)

    def get(self, register: int) -> int:
        return self.uart.read(register, 1, self.now)

    def put(self, register: int, value: int) -> None:
        self.uart.write(register, 1, value, self.now)

    def wait(self, microseconds: int = CHARACTER) -> None:
        """Let time pass as whoever owns the bus does, with a stop at every event."""
        end = self.now + microseconds
        while (at := self.uart.next_event(self.now)) is not None and at <= end:
            self.now = at
            self.uart.advance(at)
        self.now = end

    def type(self, text: bytes) -> None:
        """Let one character arrive, and the next ones follow."""
        self.get(SCR)
        self.uart.feed(text, self.now)
        self.wait()

    def send(self, text: bytes) -> None:
        for byte in text:
            self.put(THR, byte)


@pytest.fixture
def chip() -> Driver:
    return Driver()


def test_reset_values(chip: Driver) -> None:
    assert [chip.get(register) for register in (IER, IIR, LCR, MCR, LSR, MSR)] == [0, 1, 0, 0, 0x60, TERMINAL_LINES]


def test_what_is_sent_is_printed_and_the_transmitter_is_empty_at_once(chip: Driver) -> None:
    chip.send(b"Hi\n")
    assert chip.uart.printed == b"Hi\n"
    assert chip.get(LSR) == 0x60


def test_dlab_shows_the_divisor_latches_in_place_of_data_and_ier(chip: Driver) -> None:
    chip.put(IER, 0x05)
    chip.put(LCR, 0x83)
    chip.put(DLL, 0x34)
    chip.put(DLM, 0x12)
    assert (chip.get(DLL), chip.get(DLM)) == (0x34, 0x12)
    chip.put(LCR, 0x03)
    assert chip.get(IER) == 0x05
    assert chip.uart.printed == b""
    chip.put(LCR, 0x80)
    assert (chip.get(DLL), chip.get(DLM)) == (0x34, 0x12)


@pytest.mark.parametrize(("register", "kept"), [(IER, 0x0F), (LCR, 0xFF), (MCR, 0x1F), (SCR, 0xFF)])
def test_only_bits_that_exist_are_kept(chip: Driver, register: int, kept: int) -> None:
    chip.put(register, 0xFF)
    assert chip.get(register) == kept


def test_status_registers_cannot_be_written(chip: Driver) -> None:
    chip.get(SCR)
    before = chip.uart.save()
    chip.put(LSR, 0x1F)
    chip.put(MSR, 0xFF)
    assert chip.uart.save() == before


def test_received_bytes_come_out_in_order_one_ready_bit_each(chip: Driver) -> None:
    chip.type(b"ab")
    assert chip.get(LSR) & 1
    assert chip.get(RBR) == ord("a")
    assert not chip.get(LSR) & 1
    chip.wait()
    assert chip.get(LSR) & 1
    assert chip.get(RBR) == ord("b")
    assert not chip.get(LSR) & 1


def test_rbr_without_fifo_keeps_the_last_byte_read(chip: Driver) -> None:
    chip.type(b"z")
    chip.get(RBR)
    assert chip.get(RBR) == ord("z")


def test_a_flood_from_outside_waits_and_never_overruns(chip: Driver) -> None:
    flood = bytes(range(1, 41))
    chip.put(FCR, 0x01)
    chip.type(flood)
    chip.wait(100 * CHARACTER)
    assert not chip.get(LSR) & 2
    seen = b""
    while chip.get(LSR) & 1:
        seen += bytes((chip.get(RBR),))
        chip.wait()
    assert seen == flood


def test_fifos_show_in_iir_and_go_away_again(chip: Driver) -> None:
    chip.put(FCR, 0x01)
    assert chip.get(IIR) == 0xC1
    chip.put(FCR, 0x00)
    assert chip.get(IIR) == 0x01


def test_fcr_bits_are_taken_only_together_with_enable(chip: Driver) -> None:
    chip.put(FCR, 0xC1)
    chip.put(FCR, 0x00)
    chip.put(FCR, 0xC0)
    chip.put(FCR, 0x01)
    chip.put(IER, 0x01)
    chip.put(MCR, LOOPBACK)
    chip.send(b"x")
    assert chip.get(IIR) == 0xC4  # a trigger level of 14 would say time-out


def test_resetting_the_receiver_drops_what_it_holds(chip: Driver) -> None:
    chip.put(FCR, 0x01)
    chip.put(MCR, LOOPBACK)
    chip.send(b"abc")
    chip.put(FCR, 0x03)
    assert chip.get(LSR) == 0x60


def test_switching_the_fifos_drops_what_the_receiver_holds(chip: Driver) -> None:
    chip.put(MCR, LOOPBACK)
    chip.send(b"a")
    chip.put(FCR, 0x01)
    assert chip.get(LSR) == 0x60
    chip.send(b"ab")
    chip.put(FCR, 0x00)
    assert chip.get(LSR) == 0x60


@pytest.mark.parametrize(("fcr", "trigger"), [(0x01, 1), (0x41, 4), (0x81, 8), (0xC1, 14)])
def test_below_the_trigger_level_the_time_out_speaks_and_from_it_on_received_data(
    chip: Driver, fcr: int, trigger: int
) -> None:
    chip.put(FCR, fcr)
    chip.put(IER, 0x01)
    chip.put(MCR, LOOPBACK)
    for count in range(1, 17):
        chip.send(b"x")
        assert chip.get(IIR) == (0xC4 if count >= trigger else 0xCC)


def test_loopback_feeds_the_receiver_and_prints_nothing(chip: Driver) -> None:
    chip.put(MCR, LOOPBACK)
    chip.send(b"\xae")
    assert chip.get(LSR) == 0x61
    assert chip.get(RBR) == 0xAE
    assert chip.uart.printed == b""


def test_loopback_shuts_the_outside_out_until_it_ends(chip: Driver) -> None:
    chip.put(MCR, LOOPBACK)
    chip.type(b"k")
    assert not chip.get(LSR) & 1
    chip.put(MCR, 0)
    chip.wait()
    assert chip.get(RBR) == ord("k")


def test_an_overrun_without_fifo_keeps_the_newcomer(chip: Driver) -> None:
    chip.put(MCR, LOOPBACK)
    chip.send(b"ab")
    assert chip.get(LSR) == 0x63
    assert chip.get(LSR) == 0x61  # reading cleared the error
    assert chip.get(RBR) == ord("b")


def test_an_overrun_with_fifo_keeps_what_was_there(chip: Driver) -> None:
    chip.put(FCR, 0x01)
    chip.put(MCR, LOOPBACK)
    chip.send(bytes(range(17)))
    assert chip.get(LSR) & 2
    assert [chip.get(RBR) for _ in range(16)] == list(range(16))
    assert not chip.get(LSR) & 1


@pytest.mark.parametrize(("mcr", "msr"), [(0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80), (0x0F, 0xF0)])
def test_in_loopback_each_output_drives_its_input(chip: Driver, mcr: int, msr: int) -> None:
    chip.put(MCR, LOOPBACK | mcr)
    assert chip.get(MSR) & 0xF0 == msr


def test_a_line_that_moves_leaves_a_delta_until_msr_is_read(chip: Driver) -> None:
    chip.put(MCR, LOOPBACK)
    chip.get(MSR)
    chip.put(MCR, LOOPBACK | 0x02)
    chip.put(MCR, LOOPBACK)
    assert chip.get(MSR) == 0x01  # CTS came and went: the delta stays
    assert chip.get(MSR) == 0x00


def test_ring_counts_only_when_it_ends(chip: Driver) -> None:
    chip.put(MCR, LOOPBACK)
    chip.get(MSR)
    chip.put(MCR, LOOPBACK | 0x04)
    assert chip.get(MSR) == 0x40
    chip.put(MCR, LOOPBACK)
    assert chip.get(MSR) == 0x04


def test_enabling_the_transmitter_interrupt_makes_it_pending_until_iir_is_read(chip: Driver) -> None:
    chip.put(IER, 0x02)
    assert chip.get(IIR) == 0x02
    assert chip.get(IIR) == 0x01
    chip.send(b"x")
    assert chip.get(IIR) == 0x02


def test_interrupts_are_named_in_order_of_urgency(chip: Driver) -> None:
    chip.put(MCR, LOOPBACK)  # the terminal's lines fall: modem status
    chip.send(b"ab")  # data, overrun and an empty transmitter
    chip.put(IER, 0x0F)
    assert chip.get(IIR) == 0x06
    chip.get(LSR)
    assert chip.get(IIR) == 0x04
    chip.get(RBR)
    assert chip.get(IIR) == 0x02
    assert chip.get(IIR) == 0x00
    chip.get(MSR)
    assert chip.get(IIR) == 0x01


def test_reading_iir_leaves_the_transmitters_news_while_something_more_urgent_shows(chip: Driver) -> None:
    chip.put(IER, 0x03)
    chip.type(b"x")
    assert chip.get(IIR) == 0x04
    chip.get(RBR)
    assert chip.get(IIR) == 0x02


def test_a_source_that_is_not_enabled_is_not_named(chip: Driver) -> None:
    chip.type(b"x")
    chip.put(IER, 0x0A)
    chip.get(IIR)
    assert chip.get(IIR) == 0x01


# ---- the request line ------------------------------------------------------------------------------------------------


def test_received_data_raises_the_line_until_it_is_read(chip: Driver) -> None:
    chip.put(IER, 0x01)
    chip.put(MCR, OUT2)
    chip.type(b"ab")
    assert chip.edges == [True]
    chip.get(RBR)
    assert chip.edges == [True, False]
    chip.wait()
    assert chip.edges == [True, False, True]


def test_the_line_needs_out2_which_loopback_takes_off_the_pin(chip: Driver) -> None:
    chip.put(IER, 0x01)
    chip.type(b"a")
    assert chip.edges == []
    chip.put(MCR, OUT2)
    assert chip.edges == [True]
    chip.put(MCR, OUT2 | LOOPBACK)
    assert chip.edges == [True, False]
    chip.put(MCR, 0)
    assert chip.edges == [True, False]


def test_an_empty_transmitter_requests_when_it_is_enabled_and_after_every_byte(chip: Driver) -> None:
    chip.put(MCR, OUT2)
    chip.put(IER, 0x02)
    assert chip.edges == [True]
    chip.send(b"x")
    assert chip.edges == [True, False, True]  # a new edge, for the next byte
    chip.get(IIR)
    assert chip.edges == [True, False, True, False]
    chip.send(b"y")
    assert chip.edges[4:] == [True]


def test_a_byte_sent_makes_no_edge_while_something_else_requests(chip: Driver) -> None:
    chip.put(MCR, OUT2)
    chip.put(IER, 0x03)
    chip.type(b"a")
    chip.edges.clear()
    chip.send(b"x")
    assert chip.edges == []


def test_an_overrun_requests_until_line_status_is_read(chip: Driver) -> None:
    chip.put(IER, 0x04)
    chip.put(MCR, LOOPBACK)
    chip.send(b"ab")
    chip.put(MCR, OUT2)
    assert chip.edges == [True]
    chip.get(LSR)
    assert chip.edges == [True, False]


def test_modem_lines_that_moved_request_until_modem_status_is_read(chip: Driver) -> None:
    chip.put(IER, 0x08)
    chip.put(MCR, LOOPBACK)
    chip.put(MCR, OUT2)
    assert chip.edges == [True]
    chip.get(MSR)
    assert chip.edges == [True, False]


# ---- what is typed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lcr", "divisor", "microseconds"),
    [(0x03, 12, 1042), (0x03, 1, 87), (0x1B, 12, 1146), (0x07, 12, 1146), (0x00, 12, 730), (0x04, 12, 782)],
)
def test_a_character_takes_as_long_as_rate_and_format_say(lcr: int, divisor: int, microseconds: int) -> None:
    assert character_time(UartState(lcr=lcr, divisor=divisor)) == microseconds


def test_nothing_is_typed_before_the_guest_is_there(chip: Driver) -> None:
    chip.uart.feed(b"a")
    assert chip.uart.next_event(0) is None
    chip.wait(1_000_000)
    assert not chip.get(LSR) & 1
    assert chip.uart.next_event(chip.now) == chip.now + CHARACTER
    chip.wait(CHARACTER - 1)
    assert not chip.get(LSR) & 1
    chip.wait(1)
    assert chip.get(LSR) & 1


def test_setting_the_line_up_loses_nothing_that_is_typed(chip: Driver) -> None:
    chip.uart.feed(b"hi")
    for register, value in ((FCR, 0x07), (LCR, 0x80), (DLL, 0x01), (DLM, 0x00), (LCR, 0x03), (FCR, 0xC7), (MCR, OUT2)):
        chip.put(register, value)
        chip.now += 20
    assert chip.get(RBR) == 0
    chip.wait(2 * 87)
    assert [chip.get(RBR), chip.get(RBR)] == [ord("h"), ord("i")]


def test_how_often_time_is_brought_up_to_date_changes_nothing() -> None:
    often, once = Driver(), Driver()
    for chip in (often, once):
        chip.put(FCR, 0x01)
        chip.uart.feed(b"a script of some length", chip.now)
    for now in range(0, 10_000, 7):
        often.uart.advance(now)
    once.uart.advance(9_996)
    assert often.uart.save() == once.uart.save()


def test_a_typed_character_reaches_the_processor_through_the_interrupt_controller() -> None:
    uart = Uart()
    bus = Bus([uart, PicPair()])
    uart.feed(b"!")
    for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, 0x01), (0x21, 0xEF)):
        bus.write(port, 1, value, 0)
    bus.write(0x3F9, 1, 0x01, 0)
    bus.write(0x3FC, 1, 0x0B, 0)
    at = bus.next_wake(0)
    assert at == CHARACTER
    assert bus.advance(at)
    assert bus.is_requesting
    assert bus.acknowledge() == 0x24
    assert bus.read(0x3F8, 1, at) == ord("!")
    bus.write(0x20, 1, 0x20, at)
    assert not bus.is_requesting
