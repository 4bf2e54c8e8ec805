"""Local APIC and I/O APIC against the rules of their manuals."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.machine.bus import Bus
from ringviz.machine.devices import IoApic, LocalApic, PicPair
from ringviz.machine.devices.local_apic import BASE, divisor

IO = 0xFEC0_0000
ID, VERSION, TPR, APR, PPR, EOI, LDR, DFR, SVR = 0x20, 0x30, 0x80, 0x90, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0
ISR, TMR, IRR, ESR, ICR, ICR_HIGH = 0x100, 0x180, 0x200, 0x280, 0x300, 0x310
TIMER, THERMAL, PERFORMANCE, LINT0, LINT1, ERROR = 0x320, 0x330, 0x340, 0x350, 0x360, 0x370
INITIAL, CURRENT, DIVIDE = 0x380, 0x390, 0x3E0
LVTS = (TIMER, THERMAL, PERFORMANCE, LINT0, LINT1, ERROR)
MASKED, PERIODIC, LEVEL, REMOTE_IRR, LOGICAL, EXTINT = 1 << 16, 1 << 17, 1 << 15, 1 << 14, 1 << 11, 0x700
TO_SELF, TO_ALL, TO_OTHERS = 1 << 18, 2 << 18, 3 << 18
BY_1 = 0xB


class Driver:
    """A bus with the three controllers; nothing but they act on it. 8259A: vectors 20h and 28h."""

    def __init__(self) -> None:
        self.pic, self.io_apic = PicPair(), IoApic()
        self.apic = LocalApic(self.pic, self.io_apic)
        self.bus = Bus([self.apic, self.io_apic, self.pic])
        self.now = 0
        for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2)):
            self.bus.write(port, 1, value, 0)
        self.bus.write(0xA1, 1, 1, 0)
        for port in (0x21, 0xA1):
            self.bus.write(port, 1, 0xFF, 0)

    def get(self, offset: int) -> int:
        return self.bus.read_memory(BASE + offset, 4, self.now)

    def put(self, offset: int, value: int) -> None:
        self.bus.write_memory(BASE + offset, 4, value, self.now)

    def get_io(self, number: int) -> int:
        self.bus.write_memory(IO, 4, number, self.now)
        return self.bus.read_memory(IO + 0x10, 4, self.now)

    def put_io(self, number: int, value: int) -> None:
        self.bus.write_memory(IO, 4, number, self.now)
        self.bus.write_memory(IO + 0x10, 4, value, self.now)

    def entry(self, pin: int) -> int:
        return self.get_io(0x10 + 2 * pin)

    def route(self, pin: int, low: int, destination: int = 0) -> None:
        self.put_io(0x11 + 2 * pin, destination << 24)
        self.put_io(0x10 + 2 * pin, low)

    def line(self, irq: int, *levels: bool) -> None:
        for is_high in levels:
            self.apic.set_line(irq, is_high)

    def pulse(self, irq: int) -> None:
        self.line(irq, True, False)

    def vectors(self, register: int) -> list[int]:
        """Vectors whose bits are set in IRR, ISR or TMR."""
        words = [self.get(register + 0x10 * word) for word in range(8)]
        return [vector for vector in range(256) if words[vector >> 5] >> (vector & 31) & 1]

    def errors(self) -> int:
        self.put(ESR, 0)
        return self.get(ESR)

    def wait(self, until: int) -> None:
        self.now = until
        self.bus.advance(until)


@pytest.fixture
def chips() -> Driver:
    return Driver()


# ---- registers -------------------------------------------------------------------------------------------------------


def test_registers_at_the_start_are_what_a_bios_leaves(chips: Driver) -> None:
    found = {register: chips.get(register) for register in (ID, VERSION, TPR, APR, PPR, LDR, DFR, SVR, ESR, ICR)}
    assert found == {
        ID: 0, VERSION: 0x0005_0014, TPR: 0, APR: 0, PPR: 0, LDR: 0, DFR: 0xFFFF_FFFF, SVR: 0x1FF, ESR: 0, ICR: 0,
    }  # fmt: skip
    assert [chips.get(lvt) for lvt in LVTS] == [MASKED, MASKED, MASKED, 0x8700, 0x8400, MASKED]
    assert [chips.get(timer) for timer in (INITIAL, CURRENT, DIVIDE)] == [0, 0, 0]
    assert chips.vectors(ISR) == chips.vectors(TMR) == chips.vectors(IRR) == []


@pytest.mark.parametrize(
    ("register", "kept"),
    [
        (ID, 0),
        (VERSION, 0x0005_0014),
        (TPR, 0xFF),
        (PPR, 0),
        (LDR, 0xFF00_0000),
        (DFR, 0xFFFF_FFFF),
        (SVR, 0x1FF),
        (ICR_HIGH, 0xFF00_0000),
        (TIMER, 0x3_00FF),
        (THERMAL, 0x1_07FF),
        (PERFORMANCE, 0x1_07FF),
        (LINT0, 0x1_A7FF),
        (LINT1, 0x1_A7FF),
        (ERROR, 0x1_00FF),
        (DIVIDE, 0xB),
        (ISR, 0),
        (IRR, 0),
        (CURRENT, 0),
    ],
)
def test_of_all_ones_a_register_keeps_its_writable_bits(chips: Driver, register: int, kept: int) -> None:
    chips.put(register, 0xFFFF_FFFF)
    assert chips.get(register) == kept


def test_of_zero_the_destination_format_keeps_its_reserved_ones(chips: Driver) -> None:
    chips.put(DFR, 0)
    assert chips.get(DFR) == 0x0FFF_FFFF


def test_the_command_register_reads_back_idle(chips: Driver) -> None:
    chips.put(ICR, 0xFFFF_FFFF)
    assert chips.get(ICR) == 0x000C_CFFF


def test_a_narrow_store_is_lost_and_a_narrow_load_gives_that_byte(chips: Driver) -> None:
    chips.bus.write_memory(BASE + TPR, 1, 0x55, 0)
    assert chips.get(TPR) == 0
    assert chips.bus.read_memory(BASE + VERSION + 2, 1, 0) == 5


def test_the_io_apic_starts_with_all_of_its_24_entries_masked(chips: Driver) -> None:
    assert chips.get_io(1) == 0x0017_0011
    assert [chips.get_io(number) for number in range(0x10, 0x40)] == [MASKED, 0] * 24
    assert chips.get_io(0x40) == chips.get_io(0xFF) == 0


def test_the_io_apic_keeps_its_writable_bits(chips: Driver) -> None:
    chips.put_io(0, 0xFFFF_FFFF)
    chips.put_io(1, 0xFFFF_FFFF)
    chips.route(5, 0xFFFF_FFFF, 0xFF)
    chips.put_io(0x11 + 10, 0xFFFF_FFFF)
    assert [chips.get_io(number) for number in (0, 1, 2)] == [0x0F00_0000, 0x0017_0011, 0x0F00_0000]
    assert [chips.get_io(number) for number in (0x1A, 0x1B)] == [0x0001_AFFF, 0xFF00_0000]
    assert chips.bus.read_memory(IO, 4, 0) == 0x1B


# ---- priorities ------------------------------------------------------------------------------------------------------


def test_the_highest_vector_is_served_first_and_eoi_lets_the_next_one_in(chips: Driver) -> None:
    for vector in (0x31, 0x52, 0x51):
        chips.put(ICR, TO_SELF | vector)
    assert chips.vectors(IRR) == [0x31, 0x51, 0x52]
    assert chips.bus.acknowledge() == 0x52
    assert (chips.vectors(IRR), chips.vectors(ISR), chips.get(PPR)) == ([0x31, 0x51], [0x52], 0x50)
    assert not chips.bus.is_requesting  # 51h is of the class in service
    chips.put(ICR, TO_SELF | 0x60)
    assert chips.bus.acknowledge() == 0x60
    chips.put(EOI, 0)
    assert chips.vectors(ISR) == [0x52]
    chips.put(EOI, 0)
    assert [chips.bus.acknowledge(), chips.get(PPR)] == [0x51, 0x50]
    chips.put(EOI, 0)
    assert chips.bus.acknowledge() == 0x31


@pytest.mark.parametrize(
    ("tpr", "in_service", "ppr"), [(0x35, 0, 0x35), (0x35, 0x41, 0x40), (0x45, 0x31, 0x45), (0x45, 0x41, 0x45)]
)
def test_the_processor_priority_is_the_higher_of_task_and_service(
    chips: Driver, tpr: int, in_service: int, ppr: int
) -> None:
    if in_service:
        chips.put(ICR, TO_SELF | in_service)
        chips.bus.acknowledge()
    chips.put(TPR, tpr)
    assert chips.get(PPR) == ppr


@pytest.mark.parametrize(("vector", "comes"), [(0x2F, False), (0x30, False), (0x3F, False), (0x40, True)])
def test_only_a_class_above_the_task_priority_comes(chips: Driver, vector: int, comes: bool) -> None:
    chips.put(TPR, 0x30)
    chips.put(ICR, TO_SELF | vector)
    assert chips.bus.is_requesting == comes
    chips.put(TPR, 0)
    assert chips.bus.is_requesting


def test_an_end_of_nothing_does_nothing(chips: Driver) -> None:
    chips.put(ICR, TO_SELF | 0x40)
    chips.put(EOI, 0)
    assert (chips.vectors(IRR), chips.vectors(ISR)) == ([0x40], [])


def test_a_request_that_is_gone_when_the_cpu_asks_is_spurious_and_not_in_service(chips: Driver) -> None:
    chips.put(SVR, 0x1EF)
    chips.put(ICR, TO_SELF | 0x40)
    chips.put(TPR, 0x40)
    assert chips.bus.acknowledge() == 0xEF
    assert (chips.vectors(IRR), chips.vectors(ISR)) == ([0x40], [])


def test_to_peek_changes_nothing(chips: Driver) -> None:
    chips.put(ICR, TO_SELF | 0x40)
    before = chips.bus.save()
    assert chips.bus.pending_vector == 0x40
    assert chips.bus.save() == before


# ---- messages to itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "destination", "ldr", "dfr", "comes"),
    [
        (TO_SELF, 7, 0, 0xF, True),
        (TO_ALL, 7, 0, 0xF, True),
        (TO_OTHERS, 0, 0, 0xF, False),
        (0, 0, 0, 0xF, True),
        (0, 0xFF, 0, 0xF, True),
        (0, 1, 0, 0xF, False),
        (LOGICAL, 0x05, 0x04, 0xF, True),
        (LOGICAL, 0x05, 0x02, 0xF, False),
        (LOGICAL, 0xFF, 0x80, 0xF, True),
        (LOGICAL, 0xFF, 0x00, 0xF, False),
        (LOGICAL, 0x23, 0x22, 0x0, True),
        (LOGICAL, 0x21, 0x22, 0x0, False),
        (LOGICAL, 0x33, 0x22, 0x0, False),
        (LOGICAL, 0xF2, 0x22, 0x0, True),
        (0x100 | TO_SELF, 0, 0, 0xF, True),  # lowest priority: there is no one lower
        (0x200 | TO_SELF, 0, 0, 0xF, False),
        (0x400 | TO_SELF, 0, 0, 0xF, False),
        (0x500 | TO_SELF, 0, 0, 0xF, False),
    ],
)
def test_a_message_comes_if_it_is_for_this_cpu(
    chips: Driver, command: int, destination: int, ldr: int, dfr: int, comes: bool
) -> None:
    chips.put(LDR, ldr << 24)
    chips.put(DFR, dfr << 28 | 0x0FFF_FFFF)
    chips.put(ICR_HIGH, destination << 24)
    chips.put(ICR, command | 0x41)
    assert chips.vectors(IRR) == ([0x41] if comes else [])
    chips.route(3, command & 0xF00 | 0x51, destination)
    chips.pulse(3)
    if not command >> 18:
        assert (0x51 in chips.vectors(IRR)) == comes


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shorthand", [TO_SELF, TO_ALL, TO_OTHERS, 0])
def test_to_send_a_vector_below_16_is_an_error_wherever_it_goes(chips: Driver, shorthand: int) -> None:
    chips.put(ICR_HIGH, 0x0500_0000)
    chips.put(ICR, shorthand | 0x0F)
    assert chips.get(ESR) == 0  # a store latches what there was
    assert [chips.errors(), chips.errors()] == [0x20, 0]
    assert chips.vectors(IRR) == []


def test_to_receive_one_is_another_error(chips: Driver) -> None:
    chips.route(3, 0x0F)
    chips.pulse(3)
    assert chips.errors() == 0x40
    chips.put(TIMER, 0x05)
    chips.put(INITIAL, 1)
    chips.wait(10)
    assert chips.errors() == 0x40
    assert chips.vectors(IRR) == []


def test_an_error_interrupts_if_the_guest_wants_that(chips: Driver) -> None:
    chips.put(ICR, TO_SELF | 1)
    assert chips.vectors(IRR) == []
    chips.put(ERROR, 0xFE)
    chips.put(ICR, TO_SELF | 1)
    assert chips.vectors(IRR) == [0xFE]


def test_the_error_of_a_timer_is_an_event(chips: Driver) -> None:
    chips.put(TIMER, 0x05)
    chips.put(INITIAL, 5_000)
    assert chips.bus.next_event() is None
    chips.put(ERROR, 0xFE)
    assert chips.bus.next_event() == 10
    chips.wait(10)
    assert chips.bus.acknowledge() == 0xFE


@pytest.mark.parametrize("register", [0x00, 0x10, 0x40, 0x3A0, 0x3F0, 0xFF0])
def test_a_store_to_a_reserved_register_is_an_error(chips: Driver, register: int) -> None:
    chips.put(register, 1)
    assert chips.errors() == 0x80
    chips.put(VERSION, 1)  # only readable, but there
    assert chips.errors() == 0


# ---- disabled by software --------------------------------------------------------------------------------------------


def test_disabled_by_software_all_local_sources_are_masked_and_stay_so(chips: Driver) -> None:
    for lvt in LVTS:
        chips.put(lvt, 0x40)
    chips.put(SVR, 0xFF)
    assert [chips.get(lvt) for lvt in LVTS] == [0x1_0040] * 6
    for lvt in LVTS:
        chips.put(lvt, 0x41)
    assert [chips.get(lvt) for lvt in LVTS] == [0x1_0041] * 6
    chips.put(SVR, 0x1FF)
    assert [chips.get(lvt) for lvt in LVTS] == [0x1_0041] * 6
    chips.put(LINT0, 0x700)
    assert chips.get(LINT0) == 0x700


def test_disabled_by_software_requests_wait_and_none_is_taken(chips: Driver) -> None:
    chips.put(ICR, TO_SELF | 0x40)
    chips.put(SVR, 0xFF)
    assert not chips.bus.is_requesting
    chips.put(ICR, TO_SELF | 0x50)
    chips.route(3, 0x51)
    chips.pulse(3)
    assert chips.vectors(IRR) == [0x40]
    chips.put(SVR, 0x1FF)
    assert chips.bus.acknowledge() == 0x40


# ---- I/O APIC --------------------------------------------------------------------------------------------------------


def test_the_timer_is_on_input_2_and_every_other_line_on_its_own(chips: Driver) -> None:
    for pin in range(16):
        chips.route(pin, 0x40 + pin)
    for irq in range(16):
        chips.pulse(irq)
    assert chips.vectors(IRR) == list(range(0x41, 0x50))


def test_an_edge_is_one_request_and_a_high_line_no_more(chips: Driver) -> None:
    chips.route(5, 0x45)
    chips.line(5, True, True)
    assert chips.bus.acknowledge() == 0x45
    chips.put(EOI, 0)
    chips.line(5, True)
    assert not chips.bus.is_requesting
    chips.line(5, False, True)
    assert chips.bus.acknowledge() == 0x45
    assert chips.vectors(TMR) == []


def test_an_edge_that_comes_while_its_entry_is_masked_is_lost(chips: Driver) -> None:
    chips.line(5, True)
    chips.route(5, 0x45)
    assert chips.vectors(IRR) == []


def test_a_level_that_comes_while_its_entry_is_masked_waits(chips: Driver) -> None:
    chips.route(5, MASKED | LEVEL | 0x45)
    chips.line(5, True)
    assert chips.vectors(IRR) == []
    chips.route(5, LEVEL | 0x45)
    assert (chips.vectors(IRR), chips.vectors(TMR), chips.entry(5)) == ([0x45], [0x45], LEVEL | REMOTE_IRR | 0x45)


def test_a_level_asks_again_after_its_end_for_as_long_as_it_is_high(chips: Driver) -> None:
    chips.route(5, LEVEL | 0x45)
    chips.line(5, True)
    assert chips.bus.acknowledge() == 0x45
    chips.line(5, False, True)  # not heard: the first is not over
    assert chips.vectors(IRR) == []
    chips.put(EOI, 0)
    assert (chips.bus.acknowledge(), chips.entry(5) & REMOTE_IRR) == (0x45, REMOTE_IRR)
    chips.line(5, False)
    assert chips.entry(5) & REMOTE_IRR
    chips.put(EOI, 0)
    assert (chips.vectors(IRR), chips.entry(5) & REMOTE_IRR) == ([], 0)


def test_the_end_of_an_edge_does_not_reach_a_level_of_the_same_vector(chips: Driver) -> None:
    chips.route(5, LEVEL | 0x45)
    chips.line(5, True)
    chips.put(ICR, TO_SELF | 0x45)
    assert chips.vectors(TMR) == []
    chips.bus.acknowledge()
    chips.put(EOI, 0)
    assert chips.entry(5) & REMOTE_IRR


def test_remote_irr_is_the_chips_own_and_gone_when_the_entry_becomes_an_edge(chips: Driver) -> None:
    chips.route(5, LEVEL | 0x45)
    chips.line(5, True)
    chips.route(5, LEVEL | 0x45)
    assert chips.entry(5) & REMOTE_IRR
    chips.route(5, 0x45)
    assert not chips.entry(5) & REMOTE_IRR
    chips.line(6, False)
    chips.route(6, LEVEL | REMOTE_IRR | 1 << 12 | 0x46)
    assert chips.entry(6) == LEVEL | 0x46


def test_a_level_that_no_one_has_taken_comes_when_somebody_can(chips: Driver) -> None:
    chips.put(SVR, 0xFF)
    chips.route(5, LEVEL | 0x45)
    chips.route(6, LEVEL | LOGICAL | 0x46, 0x02)
    chips.route(7, LEVEL | 0x47, 1)
    for irq in (5, 6, 7):
        chips.line(irq, True)
    assert [chips.entry(pin) & REMOTE_IRR for pin in (5, 6, 7)] == [0, 0, 0]
    chips.put(SVR, 0x1FF)
    assert chips.vectors(IRR) == [0x45]
    chips.put(LDR, 0x0200_0000)
    assert chips.vectors(IRR) == [0x45, 0x46]
    chips.put_io(0x11 + 14, 0)
    assert chips.vectors(IRR) == [0x45, 0x46, 0x47]
    assert [chips.entry(pin) & REMOTE_IRR for pin in (5, 6, 7)] == [REMOTE_IRR] * 3


@pytest.mark.parametrize("irq", [0, 3, 4, 12])
def test_what_would_request_says_is_what_an_edge_does(chips: Driver, irq: int) -> None:
    pin = irq or 2
    assert not chips.apic.would_request(irq)
    chips.route(pin, 0x45)
    chips.put(TPR, 0x40)
    before = chips.bus.save()
    assert not chips.apic.would_request(irq)
    chips.put(TPR, 0x3F)
    assert chips.apic.would_request(irq)
    chips.put(TPR, 0)
    assert chips.bus.save() == (("local-apic", before[0][1]._replace(tpr=0)), *before[1:])
    chips.put(TPR, 0)
    chips.line(irq, True)
    assert chips.bus.is_requesting


# ---- the 8259A behind them -------------------------------------------------------------------------------------------


def test_the_8259a_gets_through_on_lint0_whatever_the_task_priority(chips: Driver) -> None:
    chips.bus.write(0x21, 1, 0, 0)
    chips.put(TPR, 0xFF)
    chips.line(3, True)
    assert chips.bus.acknowledge() == 0x23
    assert chips.vectors(ISR) == []


@pytest.mark.parametrize("entry", [MASKED | EXTINT, 0x400, 0x40])
def test_lint0_masked_or_of_another_mode_keeps_it_out(chips: Driver, entry: int) -> None:
    chips.bus.write(0x21, 1, 0, 0)
    chips.line(3, True)
    chips.put(LINT0, entry)
    assert not chips.bus.is_requesting
    chips.put(LINT0, EXTINT)
    assert chips.bus.is_requesting


def test_the_8259a_gets_through_on_input_0_of_the_io_apic(chips: Driver) -> None:
    chips.bus.write(0x21, 1, 0, 0)
    chips.put(LINT0, MASKED)
    chips.line(3, True)
    chips.route(0, MASKED | EXTINT)
    assert not chips.bus.is_requesting
    chips.route(0, EXTINT, 1)
    assert not chips.bus.is_requesting  # for another CPU
    chips.route(0, EXTINT)
    assert chips.bus.pending_vector == 0x23
    chips.put(SVR, 0xFF)
    assert not chips.bus.is_requesting
    chips.put(SVR, 0x1FF)
    assert chips.bus.acknowledge() == 0x23


def test_the_apics_own_request_is_served_before_the_8259as(chips: Driver) -> None:
    chips.bus.write(0x21, 1, 0, 0)
    chips.line(3, True)
    chips.put(ICR, TO_SELF | 0x12)
    assert [chips.bus.acknowledge(), chips.bus.acknowledge()] == [0x12, 0x23]


# ---- timer -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "by"), [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)])
def test_the_divide_register_divides_the_clock(chips: Driver, code: int, by: int) -> None:
    assert divisor(code) == by
    chips.put(TIMER, 0x40)
    chips.put(DIVIDE, code)
    chips.put(INITIAL, 10_000)
    assert chips.bus.next_event() == 10 * by
    chips.now = by
    assert chips.get(CURRENT) == 9_000


def test_a_one_shot_interrupts_once_and_stays_at_0(chips: Driver) -> None:
    chips.put(DIVIDE, BY_1)
    chips.put(TIMER, 0x40)
    chips.put(INITIAL, 2_500)
    assert [chips.get(INITIAL), chips.get(CURRENT), chips.bus.next_event()] == [2_500, 2_500, 3]
    chips.wait(2)
    assert [chips.get(CURRENT), chips.vectors(IRR)] == [500, []]
    chips.wait(3)
    assert chips.bus.acknowledge() == 0x40
    chips.put(EOI, 0)
    assert [chips.get(CURRENT), chips.get(INITIAL), chips.bus.next_event()] == [0, 2_500, None]
    chips.wait(1_000)
    assert chips.vectors(IRR) == []
    chips.put(INITIAL, 1_000)
    assert chips.bus.next_event() == 1_001


def test_a_periodic_timer_interrupts_again_and_again_until_its_count_is_0(chips: Driver) -> None:
    chips.put(DIVIDE, BY_1)
    chips.put(TIMER, PERIODIC | 0x40)
    chips.put(INITIAL, 2_500)
    times = []
    for _ in range(5):
        at = chips.bus.next_event()
        assert at is not None
        chips.wait(at)
        times.append(at)
        chips.bus.acknowledge()
        chips.put(EOI, 0)
    assert times == [3, 5, 8, 10, 13]
    assert chips.get(CURRENT) == 2_000
    chips.put(INITIAL, 0)
    assert [chips.bus.next_event(), chips.get(CURRENT)] == [None, 0]
    chips.wait(100)
    assert chips.vectors(IRR) == []


def test_a_masked_timer_counts_and_is_silent(chips: Driver) -> None:
    chips.put(DIVIDE, BY_1)
    chips.put(TIMER, MASKED | PERIODIC | 0x40)
    chips.put(INITIAL, 10_000)
    assert chips.bus.next_event() is None
    chips.now = 25
    assert [chips.get(CURRENT), chips.vectors(IRR)] == [5_000, []]
    chips.put(TIMER, PERIODIC | 0x40)
    assert chips.bus.next_event() == 30


def test_a_timer_that_waits_behind_the_task_priority_stops_nobody(chips: Driver) -> None:
    chips.put(TPR, 0x40)
    chips.put(TIMER, PERIODIC | 0x40)
    chips.put(INITIAL, 500)
    assert chips.bus.next_event() is None
    chips.now = 10
    assert chips.vectors(IRR) == [0x40]
    chips.put(TPR, 0)
    assert chips.bus.is_requesting


def test_periodic_made_one_shot_ends_with_its_present_round(chips: Driver) -> None:
    chips.put(DIVIDE, BY_1)
    chips.put(TIMER, PERIODIC | 0x40)
    chips.put(INITIAL, 10_000)
    chips.wait(25)
    chips.put(TIMER, 0x41)
    assert [chips.get(CURRENT), chips.bus.next_event(), chips.vectors(IRR)] == [5_000, 30, [0x40]]
    chips.wait(200)
    assert [chips.get(CURRENT), chips.bus.next_event(), chips.vectors(IRR)] == [0, None, [0x40, 0x41]]


def test_one_shot_made_periodic_goes_on_and_once_over_stands_still(chips: Driver) -> None:
    chips.put(DIVIDE, BY_1)
    for over in (False, True):
        start = chips.now
        chips.put(TIMER, MASKED | 0x40)
        chips.put(INITIAL, 10_000)
        chips.now += 15 if over else 5
        chips.put(TIMER, PERIODIC | 0x40)
        assert chips.bus.next_event() == (None if over else start + 10)
        assert chips.get(CURRENT) == (0 if over else 5_000)
        chips.wait(chips.now + 100)
        assert chips.bus.is_requesting == (not over)
        if not over:
            chips.bus.acknowledge()
            chips.put(EOI, 0)


def test_another_divisor_goes_on_from_the_count_and_wakes_no_timer_that_is_over(chips: Driver) -> None:
    chips.put(DIVIDE, BY_1)
    chips.put(TIMER, 0x40)
    chips.put(INITIAL, 10_000)
    chips.now = 5
    chips.put(DIVIDE, 1)
    assert [chips.get(CURRENT), chips.bus.next_event()] == [5_000, 25]
    chips.wait(25)
    chips.bus.acknowledge()
    chips.put(EOI, 0)
    chips.put(DIVIDE, 10)
    assert [chips.get(CURRENT), chips.bus.next_event()] == [0, None]
    chips.wait(10_000)
    assert chips.vectors(IRR) == []


def test_disabling_by_software_masks_the_timer_and_does_not_stop_it(chips: Driver) -> None:
    chips.put(TIMER, 0x40)
    chips.put(INITIAL, 5_000)
    chips.put(SVR, 0xFF)
    assert chips.bus.next_event() is None
    chips.now = 5
    assert chips.get(CURRENT) == 2_500


# ---- lazy and eager --------------------------------------------------------------------------------------------------

STORES = [
    *((TPR, value) for value in (0, 0x30, 0x40, 0xFF)),
    *((SVR, value) for value in (0x1FF, 0xFF)),
    *((TIMER, flags | vector) for flags in (0, MASKED, PERIODIC) for vector in (0x05, 0x31, 0x40)),
    *((INITIAL, value) for value in (0, 1, 999, 1_500, 20_000, 100_000)),
    *((DIVIDE, value) for value in (0, 1, 3, 10, 11)),
    *((ERROR, value) for value in (MASKED, 0x32)),
    *((ICR, TO_SELF | vector) for vector in (0x05, 0x31, 0x41)),
    *((LDR, value) for value in (0, 0x0100_0000)),
    (EOI, 0),
    (ESR, 0),
]
DEEDS = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.sampled_from([("put", store) for store in STORES])
        | st.tuples(st.just("line"), st.tuples(st.sampled_from([0, 3, 5]), st.booleans()))
        | st.tuples(
            st.just("route"),
            st.tuples(
                st.sampled_from([2, 3, 5]), st.sampled_from([MASKED, 0x36, LEVEL | 0x45, LEVEL | LOGICAL | 0x46])
            ),
        )
        | st.tuples(st.just("get"), st.tuples(st.sampled_from([PPR, CURRENT, IRR + 0x10, ISR + 0x20]), st.just(0))),
    ),
    max_size=40,
)
Deeds = list[tuple[int, tuple[str, tuple[int, int]]]]


def _do(chips: Driver, deed: str, first: int, second: int) -> int:
    match deed:
        case "put":
            chips.put(first, second)
        case "line":
            chips.line(first, bool(second))
        case "route":
            chips.route(first, second, 1 if second & LOGICAL else 0)
        case _:
            return chips.get(first)
    return 0


def _pass_time(chips: Driver, wait: int, *, eager: bool, serves: bool) -> list[tuple[int, int]]:
    """Let time pass, with a stop at every moment or only at events; give when INTR rose and what was served."""
    end, served = chips.now + wait, []
    while True:
        while serves and chips.bus.is_requesting:
            served.append((chips.now, chips.bus.acknowledge()))
        if chips.now == end:
            return served
        due = chips.bus.next_event()
        chips.now = min(end, chips.now + 1 if eager else end if due is None else max(due, chips.now + 1))
        if eager:
            chips.apic.advance(chips.now)
        chips.bus.advance(chips.now)


@settings(deadline=None, max_examples=60)
@given(DEEDS, st.booleans())
def test_to_stop_only_at_events_is_as_good_as_to_look_at_every_moment(deeds: Deeds, serves: bool) -> None:
    lazy, eager = Driver(), Driver()
    for wait, (deed, (first, second)) in deeds:
        assert _pass_time(lazy, wait, eager=False, serves=serves) == _pass_time(eager, wait, eager=True, serves=serves)
        assert lazy.bus.is_requesting == eager.bus.is_requesting
        assert _do(lazy, deed, first, second) == _do(eager, deed, first, second)
    assert lazy.get(VERSION) == eager.get(VERSION)  # to reach a device lets all of them catch up
    assert lazy.bus.save() == eager.bus.save()


@settings(deadline=None, max_examples=40)
@given(DEEDS, DEEDS)
def test_a_restored_pair_goes_on_as_the_saved_one(before: Deeds, after: Deeds) -> None:
    first, second = Driver(), Driver()

    def run(chips: Driver, deeds: Deeds) -> list[object]:
        return [
            (_pass_time(chips, wait, eager=False, serves=True), _do(chips, deed, *operands))
            for wait, (deed, operands) in deeds
        ]

    run(first, before)
    second.bus.restore(first.bus.save())
    second.bus.settled_at, second.now = first.bus.settled_at, first.now
    assert second.bus.save() == first.bus.save()
    assert run(first, after) == run(second, after)
    assert first.bus.save() == second.bus.save()
