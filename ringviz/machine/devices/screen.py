"""The text screen as a person sees it: rows of characters and attributes, read from memory as the VGA reads it.

Text memory is the 32 KiB at B8000h: for each place a character of code page 437 and an attribute, whose bits 3:0 are
the colour and bits 6:4 that of the background. Rows that run past its end go on at its beginning.

Source: IBM Personal System/2 Hardware Interface Technical Reference, "Alphanumeric modes"; code page 437 for the
characters, with the pictures that a text screen shows in place of control characters.
"""

from dataclasses import dataclass

from ringviz.machine.devices.vga import TextMode

TEXT_ADDRESS = 0xB8000
TEXT_BYTES = 0x8000

_PLACES = TEXT_BYTES // 2
_BELOW_SPACE = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
CHARACTERS = (
    _BELOW_SPACE + bytes(range(0x20, 0x7F)).decode("cp437") + "⌂" + bytes(range(0x80, 0xFF)).decode("cp437") + " "
)
"""What each character code looks like; 0 and FFh are blank."""


@dataclass(frozen=True, slots=True)
class Screen:
    """One picture of the text screen."""

    rows: tuple[str, ...]
    """Each row whole, blanks at its end included."""
    attributes: tuple[bytes, ...]
    """One attribute for each character of each row."""
    cursor: tuple[int, int] | None
    """Row and column of the cursor, from 0; None if it is off or outside the picture."""
    blinks: bool
    """Bit 7 of an attribute makes a character blink; otherwise its background is bright."""
    colours: tuple[tuple[int, int, int], ...]
    """Red, green and blue of the sixteen colours."""

    @property
    def text(self) -> str:
        """The characters alone, without blanks at the end of rows and without empty rows at the end."""
        return "\n".join(row.rstrip() for row in self.rows).rstrip("\n")


def read_screen(text_memory: bytes, mode: TextMode) -> Screen:
    """Give what is on the screen.

    Args:
        text_memory: the TEXT_BYTES bytes at TEXT_ADDRESS.
        mode: how the VGA's registers have text shown.
    """
    rows, attributes = [], []
    for number in range(mode.rows):
        first = mode.start + number * mode.characters_a_row
        at = [2 * ((first + column) % _PLACES) for column in range(mode.columns)]
        rows.append("".join(CHARACTERS[text_memory[place]] for place in at))
        attributes.append(bytes(text_memory[place + 1] for place in at))
    return Screen(tuple(rows), tuple(attributes), _cursor(mode), mode.blinks, mode.colours)


def _cursor(mode: TextMode) -> tuple[int, int] | None:
    if mode.cursor is None or not mode.characters_a_row:
        return None
    row, column = divmod(mode.cursor - mode.start, mode.characters_a_row)
    return (row, column) if 0 <= row < mode.rows and column < mode.columns else None
