"""The VGA's registers and its text screen against their rules."""

from itertools import pairwise

import pytest

from ringviz.machine.devices import Vga
from ringviz.machine.devices.screen import CHARACTERS, TEXT_BYTES, Screen, read_screen

DISPLAY_OFF, RETRACE = 0x01, 0x08


class Driver:
    """The VGA at its ports."""

    def __init__(self) -> None:
        self.vga = Vga()
        self.now = 0
        self._ports = [port for ports in self.vga.ports for port in ports]

    def get(self, port: int) -> int:
        return self.vga.read(self._ports.index(port), 1, self.now)

    def put(self, port: int, *values: int) -> None:
        for value in values:
            self.vga.write(self._ports.index(port), 1, value, self.now)

    def crtc(self, index: int, value: int) -> None:
        self.put(0x3D4, index)
        self.put(0x3D5, value)

    def screen(self, text: bytes = b"") -> Screen:
        """What a screen shows whose memory begins with characters in attribute 7."""
        memory = b"".join(bytes((char, 7)) for char in text)
        return read_screen(memory.ljust(TEXT_BYTES, b"\0"), self.vga.text_mode)


@pytest.fixture
def chip() -> Driver:
    return Driver()


def test_a_guest_finds_mode_3(chip: Driver) -> None:
    mode = chip.vga.text_mode
    assert (mode.columns, mode.rows, mode.characters_a_row, mode.start, mode.cursor) == (80, 25, 80, 0, 0)
    assert mode.blinks
    assert mode.colours[:8] == (
        (0, 0, 0), (0, 0, 170), (0, 170, 0), (0, 170, 170), (170, 0, 0), (170, 0, 170), (170, 85, 0), (170, 170, 170),
    )  # fmt: skip
    assert mode.colours[8] == (85, 85, 85)
    assert mode.colours[15] == (255, 255, 255)


def test_registers_past_the_last_are_0_and_keep_nothing(chip: Driver) -> None:
    chip.crtc(0x3F, 0x55)
    assert chip.get(0x3D5) == 0
    assert chip.get(0x3CB) == 0xFF


def test_the_timing_of_the_picture_is_protected_until_bit_7_of_11h_is_cleared(chip: Driver) -> None:
    chip.crtc(0x01, 0x27)
    assert chip.vga.text_mode.columns == 80
    chip.crtc(0x07, 0x00)
    assert chip.get(0x3D5) == 0x0F
    chip.crtc(0x11, 0x0E)
    chip.crtc(0x01, 0x27)
    assert chip.vga.text_mode.columns == 40


def test_reading_3dah_makes_the_next_attribute_write_an_index(chip: Driver) -> None:
    chip.put(0x3C0, 0x30)
    chip.get(0x3DA)
    chip.put(0x3C0, 0x30, 0x04)
    assert not chip.vga.text_mode.blinks
    assert (chip.get(0x3C0), chip.get(0x3C1)) == (0x30, 0x04)


def test_a_colour_of_the_palette_is_three_bytes_of_six_bits(chip: Driver) -> None:
    chip.put(0x3C8, 0x07)
    chip.put(0x3C9, 0x3F, 0xFF, 0x00)
    assert chip.vga.text_mode.colours[7] == (255, 255, 0)
    chip.put(0x3C7, 0x07)
    assert [chip.get(0x3C9) for _ in range(6)] == [0x3F, 0x3F, 0x00, 0x00, 0x00, 0x15]
    chip.put(0x3C6, 0x00)
    assert set(chip.vga.text_mode.colours) == {(0, 0, 0)}


def test_the_crt_controller_is_not_at_its_colour_ports_in_monochrome(chip: Driver) -> None:
    chip.put(0x3C2, 0x66)
    chip.crtc(0x0E, 0x12)
    assert (chip.get(0x3D4), chip.get(0x3D5), chip.get(0x3DA)) == (0xFF, 0xFF, 0xFF)
    chip.put(0x3C2, 0x67)
    chip.put(0x3D4, 0x0E)
    assert chip.get(0x3D5) == 0


def test_the_beam_goes_over_the_picture_seventy_times_a_second(chip: Driver) -> None:
    seen = []
    for now in range(100_000):
        chip.now = now
        seen.append(chip.get(0x3DA))
    retraces = [now for now in range(1, len(seen)) if seen[now] & RETRACE and not seen[now - 1] & RETRACE]
    assert len(retraces) == 7
    assert {later - earlier for earlier, later in pairwise(retraces)} <= {14268, 14269}
    assert all(status & DISPLAY_OFF for status in seen if status & RETRACE)
    assert sum(status & DISPLAY_OFF for status in seen[:31]) == 31 - 26  # one line: 25.4 of 31.8 microseconds


# ---- the screen ------------------------------------------------------------------------------------------------------


def test_every_character_code_has_one_picture() -> None:
    assert len(CHARACTERS) == 256
    assert len(set(CHARACTERS)) == 254  # 00h, 20h and FFh are blank
    assert CHARACTERS.isprintable()
    assert (CHARACTERS[1], CHARACTERS[0x41], CHARACTERS[0x7F], CHARACTERS[0xDB]) == ("☺", "A", "⌂", "█")


def test_text_is_read_row_by_row_with_its_attributes(chip: Driver) -> None:
    screen = chip.screen(b"Hello".ljust(80) + b"\xc9\xcd\xbb")
    assert screen.text == "Hello\n╔═╗"
    assert (len(screen.rows), {len(row) for row in screen.rows}) == (25, {80})
    assert screen.attributes[1][:4] == bytes((7, 7, 7, 0))


def test_the_start_address_scrolls_and_text_memory_goes_round(chip: Driver) -> None:
    text = b"first".ljust(80) + b"second"
    chip.crtc(0x0D, 80)
    assert chip.screen(text).rows[0].rstrip() == "second"
    chip.crtc(0x0C, (0x4000 - 80) >> 8)
    chip.crtc(0x0D, (0x4000 - 80) & 0xFF)
    assert chip.screen(text).text == "\nfirst\nsecond"


def test_the_cursor_is_where_the_registers_say_from_the_start_of_the_picture(chip: Driver) -> None:
    chip.crtc(0x0F, 85)
    assert chip.screen().cursor == (1, 5)
    chip.crtc(0x0D, 80)
    assert chip.screen().cursor == (0, 5)
    chip.crtc(0x0D, 160)
    assert chip.screen().cursor is None


@pytest.mark.parametrize(("index", "value"), [(0x0A, 0x2D), (0x0A, 0x0F)])
def test_the_cursor_is_off_by_its_bit_or_by_starting_below_its_end(chip: Driver, index: int, value: int) -> None:
    chip.crtc(index, value)
    assert chip.screen().cursor is None


def test_a_font_of_eight_lines_gives_fifty_rows(chip: Driver) -> None:
    chip.crtc(0x09, 0x47)
    assert len(chip.screen().rows) == 50
