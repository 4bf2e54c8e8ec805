"""The registers of a VGA in colour text mode, at ports 0x3C0 to 0x3CF, 0x3D4, 0x3D5 and 0x3DA.

A guest finds them as a VGA BIOS leaves them after setting mode 3: 80 columns, 25 rows of 16 scan lines. All registers
can be read and written by the rules of the VGA, palette included, and keep what they hold; the ones that text shows
depend on are in `TextMode`. The text itself is plain memory at B8000h: see `screen`. There are no graphics modes.

Port 0x3DA tells where the beam is, by device time and the timing of mode 3: 28.322 million dots a second, 900 to a
line, 449 lines to a picture. While the miscellaneous output register puts the CRT controller at its monochrome ports,
nobody answers at 0x3D4, 0x3D5 and 0x3DA.

Sources: IBM Personal System/2 Hardware Interface Technical Reference, "Video subsystem"; QEMU's VGA BIOS for the state
at the start.
"""

from enum import IntFlag
from typing import NamedTuple

from ringviz.machine.bus import OPEN_BUS_BYTE, State
from ringviz.machine.devices.device_time import INSTRUCTIONS_PER_SECOND


class InputStatus(IntFlag):
    """Port 0x3DA."""

    NOT_DISPLAYING = 0x01
    """The beam is beside the picture, on its way back to the left or to the top."""
    VERTICAL_RETRACE = 0x08


class TextMode(NamedTuple):
    """What the registers say of how text is shown; places count in characters from the start of text memory."""

    columns: int
    rows: int
    characters_a_row: int
    """How far each row starts after the one before."""
    start: int
    cursor: int | None
    """Where the cursor is; None while it is off."""
    blinks: bool
    """Bit 7 of an attribute makes a character blink; otherwise its background is bright."""
    colours: tuple[tuple[int, int, int], ...]
    """Red, green and blue of the sixteen colours, 0 to 255 each."""


_DOTS_PER_SECOND = 28_322_000
_DOTS_PER_LINE, _DOTS_SHOWN = 900, 720
_LINES, _LINES_SHOWN = 449, 400
_RETRACE_LINES = range(412, 414)

_CRTC = bytes.fromhex("5f4f50825581bf1f 004f0d0e00000000 9c8e8f281f96b9a3 ff")
_SEQUENCER = bytes.fromhex("0300030002")
_GRAPHICS = bytes.fromhex("0000000000100e0fff")
_ATTRIBUTES = bytes.fromhex("000102030405140738393a3b3c3d3e3f 0c000f0800")
_MISC = 0x67
_COLOUR_PORTS = 0x01
_DAC_BYTES = 3 * 256

_VERTICAL_TOTAL_OVERFLOW, _MAX_SCAN_LINE = 0x07, 0x09
_CURSOR_START, _CURSOR_END = 0x0A, 0x0B
_START, _CURSOR = 0x0C, 0x0E
_RETRACE_END, _DISPLAY_END, _OFFSET = 0x11, 0x12, 0x13
_PROTECT = 0x80
_PROTECTED = range(8)
_LINE_COMPARE_BIT_8 = 0x10
_CURSOR_OFF = 0x20
_BLINK = 0x08
_MODE_CONTROL, _COLOUR_SELECT = 0x10, 0x14
_PALETTE_BITS_5_4_FROM_SELECT = 0x80


def _text_palette() -> bytes:
    """The first 64 colours of text mode: two bits each for red, green and blue, weighing two thirds and one."""
    dac = bytearray(_DAC_BYTES)
    for colour in range(64):
        for at, (strong, weak) in enumerate(((4, 32), (2, 16), (1, 8))):
            dac[3 * colour + at] = (42 if colour & strong else 0) + (21 if colour & weak else 0)
    return bytes(dac)


class Indexed(NamedTuple):
    """Registers behind an index port and a data port."""

    registers: bytes
    selected: int = 0
    """What the index port holds."""

    @property
    def value(self) -> int:
        """The register the index names; there is nothing past the last."""
        return self.registers[self.selected] if self.selected < len(self.registers) else 0

    def with_value(self, value: int) -> "Indexed":
        """Give this with the register that the index names changed."""
        if self.selected >= len(self.registers):
            return self
        return self._replace(
            registers=self.registers[: self.selected] + bytes((value,)) + self.registers[self.selected + 1 :]
        )


class Dac(NamedTuple):
    """The palette: 256 colours of three times six bits, read and written one byte after the other."""

    colours: bytes = _text_palette()
    mask: int = 0xFF
    position: int = 0
    """The byte that comes next: three for each colour."""
    reads: bool = False
    """What the index port was last written for."""


class VgaState(NamedTuple):
    """All registers."""

    misc: int = _MISC
    crtc: Indexed = Indexed(_CRTC)
    sequencer: Indexed = Indexed(_SEQUENCER)
    graphics: Indexed = Indexed(_GRAPHICS)
    attributes: Indexed = Indexed(_ATTRIBUTES, 0x20)
    attribute_takes_data: bool = False
    """The next write to port 0x3C0 is data; reading port 0x3DA makes it an index again."""
    dac: Dac = Dac()


class Vga:
    """A VGA as far as text needs one."""

    name = "vga"
    ports = (range(0x3C0, 0x3D0), range(0x3D4, 0x3D6), range(0x3DA, 0x3DB))
    access_bytes = 1

    def __init__(self) -> None:
        self._state = VgaState()

    @property
    def text_mode(self) -> TextMode:
        """How text is shown."""
        return _text_mode(self._state)

    def read(self, offset: int, size: int, now: int) -> int:
        """Read a register."""
        state = self._state
        match self._port(offset):
            case 0x3C0:
                return state.attributes.selected
            case 0x3C1:
                return state.attributes._replace(selected=state.attributes.selected & 0x1F).value
            case 0x3C2 | 0x3CA:
                return 0  # no interrupt of its own, no switches; the feature control register
            case 0x3C4:
                return state.sequencer.selected
            case 0x3C5:
                return state.sequencer.value
            case 0x3C6:
                return state.dac.mask
            case 0x3C7:
                return 3 if state.dac.reads else 0
            case 0x3C8:
                return state.dac.position // 3
            case 0x3C9:
                position = state.dac.position
                self._state = state._replace(dac=state.dac._replace(position=(position + 1) % _DAC_BYTES))
                return state.dac.colours[position]
            case 0x3CC:
                return state.misc
            case 0x3CE:
                return state.graphics.selected
            case 0x3CF:
                return state.graphics.value
            case 0x3D4:
                return state.crtc.selected
            case 0x3D5:
                return state.crtc.value
            case 0x3DA:
                self._state = state._replace(attribute_takes_data=False)
                return _input_status(now)
        return OPEN_BUS_BYTE

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Write a register."""
        state = self._state
        match self._port(offset):
            case 0x3C0:
                state = _write_attribute(state, value)
            case 0x3C2:
                state = state._replace(misc=value)
            case 0x3C4:
                state = state._replace(sequencer=state.sequencer._replace(selected=value & 0x07))
            case 0x3C5:
                state = state._replace(sequencer=state.sequencer.with_value(value))
            case 0x3C6:
                state = state._replace(dac=state.dac._replace(mask=value))
            case 0x3C7 | 0x3C8 as port:
                state = state._replace(dac=state.dac._replace(position=3 * value, reads=port == 0x3C7))
            case 0x3C9:
                state = state._replace(dac=_write_colour(state.dac, value & 0x3F))
            case 0x3CE:
                state = state._replace(graphics=state.graphics._replace(selected=value & 0x0F))
            case 0x3CF:
                state = state._replace(graphics=state.graphics.with_value(value))
            case 0x3D4:
                state = state._replace(crtc=state.crtc._replace(selected=value & 0x3F))
            case 0x3D5:
                state = state._replace(crtc=_write_crtc(state.crtc, value))
        self._state = state

    def save(self) -> State:
        """Give all registers."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        restored = VgaState(*state)
        self._state = restored._replace(
            crtc=Indexed(*restored.crtc),
            sequencer=Indexed(*restored.sequencer),
            graphics=Indexed(*restored.graphics),
            attributes=Indexed(*restored.attributes),
            dac=Dac(*restored.dac),
        )

    def _port(self, offset: int) -> int | None:
        """Give the port at an offset, or None where it does not answer now."""
        if offset < 0x10:
            return 0x3C0 + offset
        if not self._state.misc & _COLOUR_PORTS:
            return None
        return 0x3D4 + offset - 0x10 if offset < 0x12 else 0x3DA


def _input_status(now: int) -> int:
    dots = now * _DOTS_PER_SECOND // INSTRUCTIONS_PER_SECOND
    line, dot = dots // _DOTS_PER_LINE % _LINES, dots % _DOTS_PER_LINE
    status = InputStatus(0)
    if line >= _LINES_SHOWN or dot >= _DOTS_SHOWN:
        status |= InputStatus.NOT_DISPLAYING
    if line in _RETRACE_LINES:
        status |= InputStatus.VERTICAL_RETRACE
    return int(status)


def _write_attribute(state: VgaState, value: int) -> VgaState:
    attributes = state.attributes
    if state.attribute_takes_data:
        data = value & 0x3F if attributes.selected & 0x1F < _MODE_CONTROL else value
        written = attributes._replace(selected=attributes.selected & 0x1F).with_value(data)
        attributes = written._replace(selected=attributes.selected)
    else:
        attributes = attributes._replace(selected=value & 0x3F)
    return state._replace(attributes=attributes, attribute_takes_data=not state.attribute_takes_data)


def _write_crtc(crtc: Indexed, value: int) -> Indexed:
    """Write a register; the timing of a picture is guarded against old programs that would set it for other screens."""
    if crtc.selected in _PROTECTED and crtc.registers[_RETRACE_END] & _PROTECT:
        if crtc.selected != _VERTICAL_TOTAL_OVERFLOW:
            return crtc
        value = crtc.value & ~_LINE_COMPARE_BIT_8 | value & _LINE_COMPARE_BIT_8
    return crtc.with_value(value)


def _write_colour(dac: Dac, value: int) -> Dac:
    colours = dac.colours[: dac.position] + bytes((value,)) + dac.colours[dac.position + 1 :]
    return dac._replace(colours=colours, position=(dac.position + 1) % _DAC_BYTES)


def _text_mode(state: VgaState) -> TextMode:
    crtc = state.crtc.registers
    overflow = crtc[_VERTICAL_TOTAL_OVERFLOW]
    lines = (crtc[_DISPLAY_END] | (overflow & 0x02) << 7 | (overflow & 0x40) << 3) + 1
    is_cursor_on = not crtc[_CURSOR_START] & _CURSOR_OFF and crtc[_CURSOR_START] & 0x1F <= crtc[_CURSOR_END] & 0x1F
    return TextMode(
        columns=crtc[0x01] + 1,
        rows=lines // ((crtc[_MAX_SCAN_LINE] & 0x1F) + 1),
        characters_a_row=2 * crtc[_OFFSET],
        start=crtc[_START] << 8 | crtc[_START + 1],
        cursor=crtc[_CURSOR] << 8 | crtc[_CURSOR + 1] if is_cursor_on else None,
        blinks=bool(state.attributes.registers[_MODE_CONTROL] & _BLINK),
        colours=tuple(_colour(state, number) for number in range(16)),
    )


def _colour(state: VgaState, number: int) -> tuple[int, int, int]:
    """Give one of the sixteen colours: by way of the attribute controller's palette to the DAC's."""
    attributes = state.attributes.registers
    palette, select = attributes[number], attributes[_COLOUR_SELECT]
    if attributes[_MODE_CONTROL] & _PALETTE_BITS_5_4_FROM_SELECT:
        palette = palette & 0x0F | (select & 0x03) << 4
    at = 3 * (((select & 0x0C) << 4 | palette) & state.dac.mask)
    red, green, blue = (level << 2 | level >> 4 for level in state.dac.colours[at : at + 3])
    return red, green, blue
