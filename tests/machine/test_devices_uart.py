"""The 16550A against the rules of its data sheet."""

import pytest

from ringviz.machine.devices import Uart
from ringviz.machine.devices.uart import TERMINAL_LINES

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7
LOOPBACK = 0x10


class Driver:
    """Register access without the arguments that do not matter here."""

    def __init__(self) -> None:
        self.uart = Uart()

    def get(self, register: int) -> int:
        return self.uart.read(register, 1, 0)

    def put(self, register: int, value: int) -> None:
        self.uart.write(register, 1, value, 0)

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
    before = chip.uart.save()
    chip.put(LSR, 0x1F)
    chip.put(MSR, 0xFF)
    assert chip.uart.save() == before


def test_received_bytes_come_out_in_order_one_ready_bit_each(chip: Driver) -> None:
    chip.uart.feed(b"ab")
    assert chip.get(LSR) & 1
    assert chip.get(RBR) == ord("a")
    assert chip.get(LSR) & 1
    assert chip.get(RBR) == ord("b")
    assert not chip.get(LSR) & 1


def test_rbr_without_fifo_keeps_the_last_byte_read(chip: Driver) -> None:
    chip.uart.feed(b"z")
    chip.get(RBR)
    assert chip.get(RBR) == ord("z")


def test_a_flood_from_outside_waits_and_never_overruns(chip: Driver) -> None:
    flood = bytes(range(1, 41))
    chip.put(FCR, 0x01)
    chip.uart.feed(flood)
    assert not chip.get(LSR) & 2
    assert bytes(chip.get(RBR) for _ in flood) == flood
    assert not chip.get(LSR) & 1


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
    chip.uart.feed(b"k")
    assert not chip.get(LSR) & 1
    chip.put(MCR, 0)
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
    chip.uart.feed(b"x")
    assert chip.get(IIR) == 0x04
    chip.get(RBR)
    assert chip.get(IIR) == 0x02


def test_a_source_that_is_not_enabled_is_not_named(chip: Driver) -> None:
    chip.uart.feed(b"x")
    chip.put(IER, 0x0A)
    chip.get(IIR)
    assert chip.get(IIR) == 0x01
