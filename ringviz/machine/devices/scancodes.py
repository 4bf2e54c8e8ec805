"""Scan codes of a PC keyboard with the US layout: which keys make a text, and what each key sends.

A key is named by its code of set 1, that of the first PC, below 80h. When it goes up it sends the same code with bit 7
set. Today's keyboards send set 2, in which a key that goes up sends F0h and its code; the keyboard controller
translates that to set 1, unless it is told not to.

Sources: IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard scan codes" and "Keyboard controller:
scan code translation".
"""

RELEASED = 0x80
"""Set in a code of set 1 when the key goes up."""
RELEASE_PREFIX = 0xF0
"""Comes before a code of set 2 when the key goes up."""

ENTER, TAB, BACKSPACE, ESCAPE, SPACE = 0x1C, 0x0F, 0x0E, 0x01, 0x39
LEFT_SHIFT, LEFT_CONTROL = 0x2A, 0x1D

_ROWS = (
    # code of the first key, what its row gives, what it gives with Shift
    (0x02, "1234567890-=", "!@#$%^&*()_+"),
    (0x10, "qwertyuiop[]", "QWERTYUIOP{}"),
    (0x1E, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (0x2B, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
)
_PLAIN = {char: first + at for first, row, _ in _ROWS for at, char in enumerate(row)} | {
    "\n": ENTER,
    "\t": TAB,
    "\b": BACKSPACE,
    "\x1b": ESCAPE,
    " ": SPACE,
}
_SHIFTED = {char: first + at for first, _, row in _ROWS for at, char in enumerate(row)}
_WITH_CONTROL = {chr(ord(letter) & 0x1F): _PLAIN[letter] for letter in "abcdefghijklmnopqrstuvwxyz"}

# What the controller makes of each code of set 2 below 80h. Those that no key has get a number, too.
_TRANSLATION = bytes.fromhex(
    "ff43413f3d3b3c58644442403e0f2959 65382a701d10025a66712c1f1e11035b"
    "672e2d201205045c68392f211413065d 693130232215075e6a7232241608095f"
    "6b332517180b0a606c34352627190c61 6d7328741a0d626e3a361c1b752b6376"
    "55567778797a0e7b7c4f7d4b477e7f6f 5253504c4d480145574e514a37494654"
)
_TRANSLATED_ABOVE = {0x83: 0x41, 0x84: 0x54}
"""F7, and Alt with Print Screen; every other byte from 80h up passes as it is, answers of the keyboard included."""
_TO_SET_2 = {code: at for at, code in enumerate(_TRANSLATION)} | {0x41: 0x83}


def strokes(text: str) -> bytes:
    """Give the keys that go down and up to type a text, in set 1.

    A line feed is the Enter key; a control character without a key of its own is a letter with Ctrl.

    Raises:
        ValueError: there is no key for a character.
    """
    return b"".join(_strokes(char) for char in text)


def _strokes(char: str) -> bytes:
    if char in _PLAIN:
        return _down_and_up(_PLAIN[char])
    if char in _SHIFTED:
        return _down_and_up(LEFT_SHIFT, _SHIFTED[char])
    if char in _WITH_CONTROL:
        return _down_and_up(LEFT_CONTROL, _WITH_CONTROL[char])
    raise ValueError(f"no key of a US keyboard gives {char!r}")


def _down_and_up(*keys: int) -> bytes:
    """Press keys one after the other and let the last go first."""
    return bytes(keys) + bytes(key | RELEASED for key in reversed(keys))


def in_set_2(code: int) -> bytes:
    """Give what a keyboard sends in set 2 for a code of set 1."""
    key = _TO_SET_2[code & ~RELEASED]
    return bytes((RELEASE_PREFIX, key)) if code & RELEASED else bytes((key,))


def translate(byte: int, is_release: bool) -> int:
    """Give what the controller makes of a byte of set 2 other than the prefix; a prefix before it means a release."""
    code = _TRANSLATION[byte] if byte < len(_TRANSLATION) else _TRANSLATED_ABOVE.get(byte, byte)
    return code | RELEASED if is_release else code
