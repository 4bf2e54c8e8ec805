"""The keyboard controller, its keyboard and whoever types there, against their rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.machine.bus import Bus
from ringviz.machine.devices import Keyboard, PicPair
from ringviz.machine.devices.keyboard import FIRST_KEY_AT, KEY_AFTER_READ, KEY_INTERVAL
from ringviz.machine.devices.scancodes import in_set_2, strokes, translate

ACK, RESEND = 0xFA, 0xFE
OUTPUT_FULL = 0x01


class Driver:
    """The controller at its ports, at a device time that only goes forward."""

    def __init__(self) -> None:
        self.keyboard = Keyboard()
        self.now = 0
        self.edges: list[tuple[int, bool]] = []
        self.keyboard.connect(lambda is_high: self.edges.append((self.now, is_high)))

    def data(self) -> int:
        return self.keyboard.read(0, 1, self.now)

    def status(self) -> int:
        return self.keyboard.read(1, 1, self.now)

    def command(self, command: int, *data: int) -> None:
        self.keyboard.write(1, 1, command, self.now)
        self.tell(*data)

    def tell(self, *values: int) -> None:
        for value in values:
            self.keyboard.write(0, 1, value, self.now)

    def answers(self) -> list[int]:
        """Read until the output buffer is empty."""
        seen = []
        while self.status() & OUTPUT_FULL:
            seen.append(self.data())
        return seen

    def run_to(self, now: int) -> None:
        """Stop at every event, as whoever owns the bus does."""
        while (at := self.keyboard.next_event(self.now)) is not None and at <= now:
            self.now = at
            self.keyboard.advance(at)
        self.now = now

    def take_keys(self, until: int) -> list[int]:
        """Read every byte as soon as it comes."""
        seen: list[int] = []
        while (at := self.keyboard.next_event(self.now)) is not None and at <= until:
            self.now = at
            seen += self.answers()
        return seen


@pytest.fixture
def chip() -> Driver:
    return Driver()


# ---- the controller --------------------------------------------------------------------------------------------------


def test_a_guest_finds_it_tested_and_on_with_nothing_to_read(chip: Driver) -> None:
    assert chip.status() == 0x1C
    chip.command(0x20)
    assert chip.answers() == [0x61]


def test_the_status_says_what_was_written_last_and_whether_there_is_output(chip: Driver) -> None:
    chip.tell(0xEE)
    assert chip.status() == 0x15
    chip.command(0xAA)
    assert chip.status() == 0x1D
    assert chip.answers() == [0xEE, 0x55]


@pytest.mark.parametrize(("command", "answer"), [(0xAA, 0x55), (0xAB, 0x00), (0xA9, 0x00), (0xC0, 0x80), (0xD0, 0xCF)])
def test_commands_that_answer(chip: Driver, command: int, answer: int) -> None:
    chip.command(command)
    assert chip.answers() == [answer]


@pytest.mark.parametrize(("command", "command_byte"), [(0xAD, 0x71), (0xA8, 0x41), (0xA7, 0x61), (0xAE, 0x61)])
def test_commands_that_switch_show_in_the_command_byte(chip: Driver, command: int, command_byte: int) -> None:
    chip.command(command)
    chip.command(0x20)
    assert chip.answers() == [command_byte]


def test_the_command_byte_is_read_as_written(chip: Driver) -> None:
    chip.command(0x60, 0x47)
    chip.command(0x20)
    assert chip.answers() == [0x47]


def test_reading_an_empty_buffer_gives_the_last_byte_again(chip: Driver) -> None:
    chip.command(0xAA)
    assert [chip.data(), chip.data()] == [0x55, 0x55]


def test_a_byte_put_into_the_output_buffer_comes_as_from_the_keyboard(chip: Driver) -> None:
    chip.command(0xD2, 0x1C)
    assert chip.edges == [(0, True)]
    assert chip.answers() == [0x1C]


def test_what_goes_to_the_mouse_is_lost_and_reaches_no_keyboard(chip: Driver) -> None:
    chip.command(0xD4, 0xFF)
    assert not chip.status() & OUTPUT_FULL


def test_an_unknown_command_and_the_data_of_none_do_nothing(chip: Driver) -> None:
    before = chip.keyboard.save()
    chip.command(0x01)
    assert chip.keyboard.save() == before


@pytest.mark.parametrize("switch", ["output port", "commands", "port 92h"])
def test_a20_is_switched_in_three_ways(chip: Driver, switch: str) -> None:
    chip.keyboard.write(2, 1, 0, 0)
    chip.command(0xDD)
    assert not chip.keyboard.a20_is_on
    if switch == "output port":
        chip.command(0xD1, 0xDF)
    elif switch == "commands":
        chip.command(0xDF)
    else:
        chip.keyboard.write(2, 1, 0x02, 0)
    assert chip.keyboard.a20_is_on
    assert chip.keyboard.read(2, 1, 0) == (0x02 if switch == "port 92h" else 0x00)
    chip.command(0xD0)
    assert chip.answers()[0] & 0x02 == (0x00 if switch == "port 92h" else 0x02)
    assert not chip.keyboard.has_reset


@pytest.mark.parametrize("way", ["pulse", "output port", "port 92h"])
def test_a_reset_is_noted_in_each_of_its_three_ways(chip: Driver, way: str) -> None:
    chip.command(0xFF)  # pulses no line
    assert not chip.keyboard.has_reset
    if way == "pulse":
        chip.command(0xFE)
    elif way == "output port":
        chip.command(0xD1, 0xDE)
    else:
        chip.keyboard.write(2, 1, 0x03, 0)
    assert chip.keyboard.has_reset


# ---- the keyboard ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "answers"),
    [
        ([0xFF], [ACK, 0xAA]),
        ([0xEE], [0xEE]),
        ([0xF2], [ACK, 0xAB, 0x41]),
        ([0xED, 0x02], [ACK, ACK]),
        ([0xF3, 0x7F], [ACK, ACK]),
        ([0xF0, 0x01], [ACK, ACK]),
        ([0xF0, 0x03], [ACK, RESEND]),
        ([0xF0, 0x00], [ACK, ACK, 0x41]),
        ([0xF4], [ACK]),
        ([0xF5], [ACK]),
        ([0xF6], [ACK]),
        ([0x12], [RESEND]),
        ([0xEE, 0xFE], [0xEE, 0xEE]),
    ],
)
def test_the_keyboard_answers_through_the_translation(chip: Driver, told: list[int], answers: list[int]) -> None:
    chip.tell(*told)
    assert chip.answers() == answers


def test_without_translation_the_keyboard_is_heard_as_it_speaks(chip: Driver) -> None:
    chip.command(0x60, 0x21)
    chip.tell(0xF2, 0xF0, 0x00)
    assert chip.answers() == [ACK, 0xAB, 0x83, ACK, ACK, 0x02]


def test_a_keyboard_that_is_held_off_still_answers_commands(chip: Driver) -> None:
    chip.command(0xAD)
    chip.tell(0xF4)
    assert chip.answers() == [ACK]


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_shift_goes_down_before_its_key_and_up_after_it() -> None:
    assert strokes("aA\n").hex(" ") == "1e 9e 2a 1e 9e aa 1c 9c"
    assert strokes("\x03").hex(" ") == "1d 2e ae 9d"


def test_a_character_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="no key of a US keyboard gives 'é'"):
        Keyboard().type("caf\xe9")


@given(st.integers(1, 0x7F))
def test_translating_set_2_gives_set_1_back_for_every_key(code: int) -> None:
    assert translate(in_set_2(code)[-1], is_release=False) == code
    prefix, key = in_set_2(code | 0x80)
    assert (prefix, translate(key, is_release=True)) == (0xF0, code | 0x80)


def test_a_keyboard_nobody_types_at_has_no_events(chip: Driver) -> None:
    assert chip.keyboard.next_event(0) is None


def test_typed_keys_come_one_movement_after_the_other(chip: Driver) -> None:
    chip.keyboard.type("aB")
    assert chip.keyboard.next_event(0) == FIRST_KEY_AT
    assert chip.take_keys(FIRST_KEY_AT + KEY_INTERVAL) == [0x1E, 0x9E]
    assert chip.now == FIRST_KEY_AT + KEY_INTERVAL
    assert chip.take_keys(1_000_000) == [0x2A, 0x30, 0xB0, 0xAA]
    assert chip.now == FIRST_KEY_AT + 5 * KEY_INTERVAL
    assert chip.keyboard.next_event(chip.now) is None


def test_whoever_types_waits_for_a_guest_that_is_slow(chip: Driver) -> None:
    chip.keyboard.type("a")
    chip.run_to(900_000)
    assert chip.edges == [(FIRST_KEY_AT, True)]
    assert chip.answers() == [0x1E]
    assert chip.keyboard.next_event(chip.now) == 900_000 + KEY_AFTER_READ
    assert chip.take_keys(1_000_000) == [0x9E]


@pytest.mark.parametrize(("off", "on"), [([0xAD], [0xAE]), ([], [])])
def test_whoever_types_waits_while_the_keyboard_is_off(chip: Driver, off: list[int], on: list[int]) -> None:
    chip.keyboard.type("a")
    if off:
        chip.command(*off)
    else:
        chip.tell(0xF5)
        chip.answers()
    chip.run_to(500_000)
    assert chip.keyboard.next_event(chip.now) is None
    if on:
        chip.command(*on)
    else:
        chip.tell(0xF4)
        chip.answers()
    assert chip.take_keys(600_000) == [0x1E, 0x9E]


def test_keys_come_in_set_2_or_1_as_controller_and_keyboard_are_told(chip: Driver) -> None:
    chip.keyboard.type("aa")
    chip.command(0x60, 0x21)
    assert chip.take_keys(FIRST_KEY_AT + KEY_INTERVAL) == [0x1C, 0xF0, 0x1C]
    chip.tell(0xF0, 0x01)
    assert chip.answers() == [ACK, ACK]
    assert chip.take_keys(1_000_000) == [0x1E, 0x9E]


def test_every_byte_is_an_edge_of_its_own_and_none_without_its_interrupt(chip: Driver) -> None:
    chip.tell(0xF2)
    chip.answers()
    assert [is_high for _, is_high in chip.edges] == [True, False] * 3
    chip.command(0x60, 0x60)
    chip.edges.clear()
    chip.tell(0xF2)
    assert chip.answers() == [ACK, 0xAB, 0x41]
    assert chip.edges == []


def test_how_often_time_is_brought_up_to_date_changes_nothing() -> None:
    often, once = Driver(), Driver()
    for chip in (often, once):
        chip.keyboard.type("text")
    for now in range(0, 200_000, 999):
        often.keyboard.advance(now)
    once.keyboard.advance(199_800)
    assert often.keyboard.save() == once.keyboard.save()


def test_a_key_reaches_the_processor_through_the_interrupt_controller() -> None:
    keyboard = Keyboard()
    keyboard.type("a")
    bus = Bus([PicPair(), keyboard])
    for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, 0x01), (0x21, 0xFD)):
        bus.write(port, 1, value, 0)
    at = bus.next_wake(0)
    assert at == FIRST_KEY_AT
    assert bus.advance(at)
    assert bus.is_requesting
    assert bus.acknowledge() == 0x21
    assert bus.read(0x60, 1, at) == 0x1E
    bus.write(0x20, 1, 0x20, at)
    assert not bus.is_requesting
    assert bus.next_wake(at) == FIRST_KEY_AT + KEY_INTERVAL
