"""The 8259A pair against the rules of its data sheet."""

import pytest

from ringviz.machine.devices import PicPair

MASTER, MASTER_ODD, SLAVE, SLAVE_ODD = 0, 1, 2, 3
READ_IRR, READ_ISR, POLL = 0x0A, 0x0B, 0x0C
EOI = 0x20


class Driver:
    """Ports and wires of the pair, programmed as a PC does it: vectors 20h and 28h, nothing masked."""

    def __init__(self, master_icw4: int = 0x01, slave_icw4: int = 0x01, icw1: int = 0x11) -> None:
        self.pic = PicPair()
        for offset, base, icw3, icw4 in ((MASTER, 0x20, 0x04, master_icw4), (SLAVE, 0x28, 0x02, slave_icw4)):
            self.put(offset, icw1)
            for word in (base, icw3, icw4):
                self.put(offset + 1, word)

    def get(self, offset: int) -> int:
        return self.pic.read(offset, 1, 0)

    def put(self, offset: int, value: int) -> None:
        self.pic.write(offset, 1, value, 0)

    def raise_irqs(self, *irqs: int) -> None:
        for irq in irqs:
            self.pic.set_line(irq, True)

    def irr(self, offset: int) -> int:
        self.put(offset, READ_IRR)
        return self.get(offset)

    def isr(self, offset: int) -> int:
        self.put(offset, READ_ISR)
        return self.get(offset)


@pytest.fixture
def pair() -> Driver:
    return Driver()


def test_at_power_on_everything_is_masked_as_a_bios_leaves_it() -> None:
    pic = PicPair()
    assert (pic.read(MASTER_ODD, 1, 0), pic.read(SLAVE_ODD, 1, 0)) == (0xFF, 0xFF)
    pic.set_line(0, True)
    assert not pic.is_requesting
    pic.write(MASTER_ODD, 1, 0xFE, 0)
    assert pic.is_requesting
    assert pic.acknowledge() == 0x08


@pytest.mark.parametrize("offset", [MASTER_ODD, SLAVE_ODD])
def test_the_mask_reads_back_as_written(pair: Driver, offset: int) -> None:
    for mask in (0xFF, 0x5A, 0x00):
        pair.put(offset, mask)
        assert pair.get(offset) == mask


def test_icw1_clears_the_mask_and_the_words_after_it_are_not_masks(pair: Driver) -> None:
    pair.put(MASTER_ODD, 0xFF)
    pair.put(MASTER, 0x11)
    for word in (0x40, 0x04, 0x01):
        assert pair.get(MASTER_ODD) == 0x00
        pair.put(MASTER_ODD, word)
    pair.put(MASTER_ODD, 0xAA)
    assert pair.get(MASTER_ODD) == 0xAA


@pytest.mark.parametrize(("icw1", "words"), [(0x10, 2), (0x11, 3), (0x12, 1), (0x13, 2)])
def test_icw1_says_how_many_words_follow(pair: Driver, icw1: int, words: int) -> None:
    pair.put(MASTER, icw1)
    for _ in range(words):
        pair.put(MASTER_ODD, 0x08)
        assert pair.get(MASTER_ODD) == 0x00
    pair.put(MASTER_ODD, 0x77)
    assert pair.get(MASTER_ODD) == 0x77


def test_icw1_forgets_what_is_in_service_and_reads_irr_next(pair: Driver) -> None:
    pair.raise_irqs(3)
    pair.pic.acknowledge()
    assert pair.isr(MASTER) == 0x08
    pair.put(MASTER, 0x11)
    assert pair.get(MASTER) == 0
    assert pair.isr(MASTER) == 0


def test_acknowledging_moves_a_request_from_irr_to_isr_and_eoi_ends_it(pair: Driver) -> None:
    pair.raise_irqs(4)
    assert (pair.irr(MASTER), pair.isr(MASTER)) == (0x10, 0)
    assert pair.pic.acknowledge() == 0x24
    assert (pair.irr(MASTER), pair.isr(MASTER)) == (0, 0x10)
    pair.put(MASTER, EOI)
    assert pair.isr(MASTER) == 0


def test_the_register_to_read_stays_chosen(pair: Driver) -> None:
    pair.raise_irqs(1)
    pair.put(MASTER, READ_ISR)
    pair.pic.acknowledge()
    assert [pair.get(MASTER) for _ in range(3)] == [2, 2, 2]


def test_a_masked_request_shows_in_irr_and_waits(pair: Driver) -> None:
    pair.put(MASTER_ODD, 0x02)
    pair.raise_irqs(1)
    assert pair.irr(MASTER) == 0x02
    assert not pair.pic.is_requesting
    pair.put(MASTER_ODD, 0x00)
    assert pair.pic.is_requesting


def test_only_a_higher_priority_interrupts_one_in_service(pair: Driver) -> None:
    pair.raise_irqs(4)
    pair.pic.acknowledge()
    pair.raise_irqs(5)
    assert not pair.pic.is_requesting
    pair.raise_irqs(1)
    assert pair.pic.acknowledge() == 0x21
    assert pair.isr(MASTER) == 0x12
    pair.put(MASTER, EOI)
    assert pair.isr(MASTER) == 0x10  # an EOI without a level ends the highest
    pair.put(MASTER, EOI)
    assert pair.pic.acknowledge() == 0x25


def test_an_edge_counts_once_and_a_level_as_long_as_it_lasts() -> None:
    for icw1, comes_again in ((0x11, False), (0x19, True)):
        pair = Driver(icw1=icw1)
        pair.raise_irqs(3)
        pair.pic.acknowledge()
        pair.put(MASTER, EOI)
        assert pair.pic.is_requesting is comes_again


def test_a_request_withdrawn_before_the_acknowledge_is_spurious(pair: Driver) -> None:
    pair.raise_irqs(3)
    pair.pic.set_line(3, False)
    assert pair.pic.acknowledge() == 0x27
    assert pair.isr(MASTER) == 0


def test_a_slave_request_goes_through_the_master_and_needs_two_eois(pair: Driver) -> None:
    pair.raise_irqs(14)
    assert (pair.irr(MASTER), pair.irr(SLAVE)) == (0x04, 0x40)
    assert pair.pic.acknowledge() == 0x2E
    assert (pair.isr(MASTER), pair.isr(SLAVE)) == (0x04, 0x40)
    pair.put(SLAVE, EOI)
    pair.put(MASTER, EOI)
    assert (pair.isr(MASTER), pair.isr(SLAVE)) == (0, 0)


def test_the_second_of_two_slave_requests_follows_the_first(pair: Driver) -> None:
    pair.raise_irqs(8, 9)
    assert pair.pic.acknowledge() == 0x28
    pair.put(SLAVE, EOI)
    pair.put(MASTER, EOI)
    assert pair.pic.acknowledge() == 0x29


def test_a_slave_that_ends_by_itself_still_delivers_both_requests() -> None:
    pair = Driver(master_icw4=0x03, slave_icw4=0x03)
    pair.raise_irqs(8, 9)
    assert [pair.pic.acknowledge(), pair.pic.acknowledge()] == [0x28, 0x29]
    assert not pair.pic.is_requesting


def test_a_slave_masked_between_request_and_acknowledge_is_spurious(pair: Driver) -> None:
    pair.raise_irqs(9)
    pair.put(SLAVE_ODD, 0xFF)
    assert not pair.pic.is_requesting
    assert pair.pic.acknowledge() == 0x27


def test_a_slave_with_another_number_than_the_masters_input_leaves_the_bus_open(pair: Driver) -> None:
    pair.put(SLAVE, 0x11)
    for word in (0x28, 0x05, 0x01):
        pair.put(SLAVE_ODD, word)
    pair.raise_irqs(9)
    assert pair.pic.acknowledge() == 0xFF


def test_special_fully_nested_mode_lets_a_more_urgent_slave_request_through() -> None:
    for icw4, goes_through in ((0x01, False), (0x11, True)):
        pair = Driver(master_icw4=icw4)
        pair.raise_irqs(12)
        pair.pic.acknowledge()
        pair.raise_irqs(9)
        assert pair.pic.is_requesting is goes_through


def test_auto_eoi_leaves_nothing_in_service() -> None:
    pair = Driver(master_icw4=0x03)
    pair.raise_irqs(3)
    assert pair.pic.acknowledge() == 0x23
    assert pair.isr(MASTER) == 0


@pytest.mark.parametrize(("command", "next_level"), [(0x80, 4), (0x00, 3)])
def test_rotation_on_auto_eoi_can_be_switched(command: int, next_level: int) -> None:
    pair = Driver(master_icw4=0x03)
    pair.put(MASTER, 0x80)
    pair.put(MASTER, command)
    pair.raise_irqs(3, 4)
    pair.pic.acknowledge()
    pair.pic.set_line(3, False)
    pair.raise_irqs(3)
    assert pair.pic.acknowledge() == 0x20 + next_level


def test_specific_eoi_ends_the_level_it_names(pair: Driver) -> None:
    pair.raise_irqs(5)
    pair.pic.acknowledge()
    pair.raise_irqs(1)
    pair.pic.acknowledge()
    pair.put(MASTER, 0x60 | 5)
    assert pair.isr(MASTER) == 0x02


def test_set_priority_puts_the_next_level_round_first(pair: Driver) -> None:
    pair.put(MASTER, 0xC0 | 4)
    pair.raise_irqs(0, 4, 6)
    assert pair.pic.acknowledge() == 0x26


@pytest.mark.parametrize("command", [0xA0, 0xE0 | 3])
def test_an_eoi_with_rotation_makes_the_ended_level_the_last(pair: Driver, command: int) -> None:
    pair.raise_irqs(3)
    pair.pic.acknowledge()
    pair.put(MASTER, command)
    pair.pic.set_line(3, False)
    pair.raise_irqs(3, 6)
    assert pair.pic.acknowledge() == 0x26


def test_the_no_operation_word_changes_nothing(pair: Driver) -> None:
    pair.raise_irqs(3)
    pair.pic.acknowledge()
    before = pair.pic.save()
    pair.put(MASTER, 0x43)
    assert pair.pic.save() == before


def test_special_mask_mode_lets_lower_levels_through_a_masked_one_in_service(pair: Driver) -> None:
    pair.raise_irqs(3)
    pair.pic.acknowledge()
    pair.raise_irqs(6)
    pair.put(MASTER_ODD, 0x08)
    assert not pair.pic.is_requesting
    pair.put(MASTER, 0x68)
    assert pair.pic.is_requesting
    pair.put(MASTER, EOI)
    assert pair.isr(MASTER) == 0x08  # a masked level is not ended without its name in this mode
    pair.put(MASTER, 0x48)
    assert not pair.pic.is_requesting


@pytest.mark.parametrize("odd", [0, 1])
def test_a_poll_is_answered_by_the_next_read_of_either_port_and_acknowledges(pair: Driver, odd: int) -> None:
    pair.raise_irqs(6)
    pair.put(MASTER, POLL)
    assert pair.get(MASTER + odd) == 0x86
    assert pair.isr(MASTER) == 0x40
    pair.put(MASTER, POLL)
    assert pair.get(MASTER + odd) == 0
