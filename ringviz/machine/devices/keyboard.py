"""The 8042 keyboard controller at ports 0x60 and 0x64 with a keyboard at it, and system control port A at 0x92.

A guest finds them as QEMU's BIOS leaves them: self-test passed, keyboard on, its interrupt (request 1) on, translation
to scan code set 1 on, no mouse. Commands are carried out, and answered, before the next instruction: a wait would cost
instructions and teach nothing. So the input buffer is never full. The keyboard answers a command even while the
controller holds it off from sending keys.

Keys come in device time. Three numbers are our choice: the person at the keyboard waits 100 milliseconds for the guest
to start, takes 5 from one movement of a key to the next, and goes on only when the guest has taken the last one, a
millisecond (about what a byte takes on the cable) after it was read. So a guest that is slow loses nothing.

Address line 20 can be switched off here, and reads so; memory does not follow, its line is always on. A reset, by
command FEh, bit 0 of the output port or bit 0 of port 0x92, is noted in `has_reset`,
and the VMM ends the run.

Sources: IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard controller" and "Keyboard commands";
`scancodes` for the codes; QEMU for the state at the start and for commands DDh and DFh.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from ringviz.machine.bus import State
from ringviz.machine.devices.device_time import instructions_in_microseconds
from ringviz.machine.devices.scancodes import RELEASE_PREFIX, in_set_2, strokes, translate


class Status(IntEnum):
    """What port 0x64 reads as."""

    OUTPUT_FULL = 0x01
    INPUT_FULL = 0x02
    SELF_TEST_PASSED = 0x04
    LAST_WRITE_WAS_COMMAND = 0x08
    NOT_LOCKED = 0x10


class CommandByte(IntEnum):
    """The controller's settings."""

    KEYBOARD_INTERRUPT = 0x01
    MOUSE_INTERRUPT = 0x02
    SYSTEM_FLAG = 0x04
    KEYBOARD_OFF = 0x10
    MOUSE_OFF = 0x20
    TRANSLATE = 0x40


class Command(IntEnum):
    """What is written to port 0x64."""

    READ_COMMAND_BYTE = 0x20
    WRITE_COMMAND_BYTE = 0x60
    MOUSE_OFF = 0xA7
    MOUSE_ON = 0xA8
    TEST_MOUSE_LINES = 0xA9
    SELF_TEST = 0xAA
    TEST_KEYBOARD_LINES = 0xAB
    KEYBOARD_OFF = 0xAD
    KEYBOARD_ON = 0xAE
    READ_INPUT_PORT = 0xC0
    READ_OUTPUT_PORT = 0xD0
    WRITE_OUTPUT_PORT = 0xD1
    WRITE_OUTPUT_BUFFER = 0xD2
    WRITE_MOUSE_BUFFER = 0xD3
    WRITE_TO_MOUSE = 0xD4
    A20_OFF = 0xDD
    A20_ON = 0xDF
    PULSE_OUTPUT_PORT = 0xF0
    """To FFh: each of the low four bits that is 0 pulses its line low."""


class KeyboardCommand(IntEnum):
    """What is written to port 0x60 when no command waits for it."""

    SET_LEDS = 0xED
    ECHO = 0xEE
    SCAN_CODE_SET = 0xF0
    IDENTIFY = 0xF2
    SET_RATE = 0xF3
    ENABLE = 0xF4
    DISABLE = 0xF5
    SET_DEFAULTS = 0xF6
    RESEND = 0xFE
    RESET = 0xFF


class Answer(IntEnum):
    """What the two of them say."""

    CONTROLLER_PASSED = 0x55
    LINES_PASSED = 0x00
    KEYBOARD_PASSED = 0xAA
    ACKNOWLEDGE = 0xFA
    RESEND = 0xFE


IDENTITY = bytes((0xAB, 0x83))
"""A keyboard with 101 or 102 keys."""

FIRST_KEY_AT = instructions_in_microseconds(100_000)
KEY_INTERVAL = instructions_in_microseconds(5_000)
KEY_AFTER_READ = instructions_in_microseconds(1_000)

_A20 = 0x02
_NOT_IN_RESET = 0x01
_OUTPUT_PORT_INTERRUPT = 0x10
_INPUT_PORT = 0x80
_PORT_92_BITS = 0x03
_PORT_92_RESET = 0x01
_SUPPORTED_SETS = (1, 2)
_TAKES_DATA = (
    Command.WRITE_COMMAND_BYTE,
    Command.WRITE_OUTPUT_PORT,
    Command.WRITE_OUTPUT_BUFFER,
    Command.WRITE_MOUSE_BUFFER,
    Command.WRITE_TO_MOUSE,
)
_KEYBOARD_TAKES_DATA = (KeyboardCommand.SET_LEDS, KeyboardCommand.SCAN_CODE_SET, KeyboardCommand.SET_RATE)


class KeyboardState(NamedTuple):
    """The controller, the keyboard, and the person at it."""

    command_byte: int = int(CommandByte.KEYBOARD_INTERRUPT | CommandByte.MOUSE_OFF | CommandByte.TRANSLATE)
    output: bytes = b""
    """The output buffer, and the answers that wait to get there."""
    last_read: int = 0
    awaits: int = 0
    """The controller command that the next byte at port 0x60 belongs to; 0 for none."""
    last_write_was_command: bool = True
    output_port: int = 0xCF
    port_92: int = _A20
    has_reset: bool = False

    keyboard_awaits: int = 0
    """The keyboard command that the next byte to the keyboard belongs to; 0 for none."""
    scan_code_set: int = 2
    is_scanning: bool = True
    leds: int = 0
    sending: bytes = b""
    """The rest of a key's code that did not fit into the output buffer."""
    last_sent: int = 0

    strokes: bytes = b""
    """Keys still to move, in set 1."""
    next_stroke_at: int = FIRST_KEY_AT

    @property
    def can_type(self) -> bool:
        """A key that moves now gets through."""
        is_held_off = bool(self.command_byte & CommandByte.KEYBOARD_OFF)
        return bool(self.strokes) and self.is_scanning and not (is_held_off or self.output or self.sending)

    @property
    def requests_interrupt(self) -> bool:
        """The output buffer is full, and says so to the interrupt controller."""
        return bool(self.output) and bool(self.command_byte & CommandByte.KEYBOARD_INTERRUPT)


class Keyboard:
    """A keyboard behind its controller."""

    name = "keyboard"
    ports = (range(0x60, 0x61), range(0x64, 0x65), range(0x92, 0x93))
    access_bytes = 1
    irq = 1

    def __init__(self) -> None:
        self._state = KeyboardState()
        self._drive: Callable[[bool], None] = lambda _is_high: None

    @property
    def has_reset(self) -> bool:
        """The guest has asked for the processor to be reset."""
        return self._state.has_reset

    @property
    def a20_is_on(self) -> bool:
        """What the two switches of address line 20 say together; the memory here does not ask them."""
        return bool((self._state.output_port | self._state.port_92) & _A20)

    def type(self, text: str, now: int = 0) -> None:
        """Let somebody type a text, after what is being typed already.

        Raises:
            ValueError: there is no key for a character.
        """
        self._become(_keep_typing(self._state._replace(strokes=self._state.strokes + strokes(text)), now))

    def connect(self, drive: Callable[[bool], None]) -> None:
        """Take the wire of request line 1."""
        self._drive = drive

    def next_event(self, now: int) -> int | None:
        """Give when the next key moves."""
        return max(self._state.next_stroke_at, now + 1) if self._state.can_type else None

    def advance(self, now: int) -> None:
        """Move the keys that are due: at most one, for the guest has to take it before the next."""
        state = self._state
        if state.can_type and state.next_stroke_at <= now:
            self._become(_stroke(state))

    def read(self, offset: int, size: int, now: int) -> int:
        """Read the output buffer, the status or port 0x92."""
        self.advance(now)
        match offset:
            case 0:
                return self._read_output(now)
            case 1:
                return _status(self._state)
            case _:
                return self._state.port_92

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Write a command, its data, a byte to the keyboard, or port 0x92."""
        self.advance(now)
        state = self._state._replace(last_write_was_command=offset == 1) if offset < 2 else self._state
        match offset:
            case 0 if state.awaits:
                state = _take_data(state._replace(awaits=0), state.awaits, value)
            case 0:
                state = _tell_keyboard(state, value)
            case 1:
                state = _command(state, value)
            case _:
                resets = bool(value & _PORT_92_RESET)
                state = state._replace(port_92=value & _PORT_92_BITS, has_reset=state.has_reset or resets)
        self._become(_keep_typing(_fill(state), now))

    def save(self) -> State:
        """Give controller, keyboard and what is still to be typed."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        self._state = KeyboardState(*state)

    def _read_output(self, now: int) -> int:
        state = self._state
        if not state.output:
            return state.last_read
        # The request ends with the read; what moves up behind it is a new one.
        empty = state._replace(output=b"", last_read=state.output[0])
        self._become(empty)
        self._become(_keep_typing(_fill(empty._replace(output=state.output[1:])), now))
        return empty.last_read

    def _become(self, state: KeyboardState) -> None:
        """Take on a state, and drive the request line where it moves."""
        requested, self._state = self._state.requests_interrupt, state
        if state.requests_interrupt is not requested:
            self._drive(state.requests_interrupt)


def _status(state: KeyboardState) -> int:
    status = Status.SELF_TEST_PASSED | Status.NOT_LOCKED
    if state.output:
        status |= Status.OUTPUT_FULL
    if state.last_write_was_command:
        status |= Status.LAST_WRITE_WAS_COMMAND
    return int(status)


# ---- the controller --------------------------------------------------------------------------------------------------


def _command(state: KeyboardState, command: int) -> KeyboardState:
    """Carry out what was written to port 0x64; a command that the controller does not know does nothing."""
    state = state._replace(awaits=command if command in _TAKES_DATA else 0)
    match command:
        case Command.READ_COMMAND_BYTE:
            return _answer(state, state.command_byte)
        case Command.SELF_TEST:
            return _answer(state, Answer.CONTROLLER_PASSED)
        case Command.TEST_KEYBOARD_LINES | Command.TEST_MOUSE_LINES:
            return _answer(state, Answer.LINES_PASSED)
        case Command.KEYBOARD_OFF:
            return state._replace(command_byte=state.command_byte | int(CommandByte.KEYBOARD_OFF))
        case Command.KEYBOARD_ON:
            return state._replace(command_byte=state.command_byte & ~int(CommandByte.KEYBOARD_OFF))
        case Command.MOUSE_OFF:
            return state._replace(command_byte=state.command_byte | int(CommandByte.MOUSE_OFF))
        case Command.MOUSE_ON:
            return state._replace(command_byte=state.command_byte & ~int(CommandByte.MOUSE_OFF))
        case Command.READ_INPUT_PORT:
            return _answer(state, _INPUT_PORT)
        case Command.READ_OUTPUT_PORT:
            interrupt = _OUTPUT_PORT_INTERRUPT if state.output else 0
            return _answer(state, state.output_port & ~_OUTPUT_PORT_INTERRUPT | interrupt)
        case Command.A20_OFF:
            return state._replace(output_port=state.output_port & ~_A20)
        case Command.A20_ON:
            return state._replace(output_port=state.output_port | _A20)
    if command >= Command.PULSE_OUTPUT_PORT and not command & _NOT_IN_RESET:
        return state._replace(has_reset=True)
    return state


def _take_data(state: KeyboardState, command: int, data: int) -> KeyboardState:
    """Carry out a controller command whose data has come; what goes to a mouse gets lost."""
    match command:
        case Command.WRITE_COMMAND_BYTE:
            return state._replace(command_byte=data)
        case Command.WRITE_OUTPUT_PORT:
            return state._replace(output_port=data, has_reset=state.has_reset or not data & _NOT_IN_RESET)
        case Command.WRITE_OUTPUT_BUFFER:
            return _answer(state, data)
    return state


def _answer(state: KeyboardState, byte: int) -> KeyboardState:
    return state._replace(output=state.output + bytes((byte,)))


def _pass_on(state: KeyboardState, sent: bytes) -> KeyboardState:
    """Take over bytes from the keyboard: one code of a key, or answers."""
    if not state.command_byte & CommandByte.TRANSLATE:
        return state._replace(output=state.output + sent)
    is_release = sent[0] == RELEASE_PREFIX
    codes = sent[1:] if is_release else sent
    return state._replace(output=state.output + bytes(translate(code, is_release) for code in codes))


def _fill(state: KeyboardState) -> KeyboardState:
    """Let the rest of a key's code follow as soon as there is room and the keyboard may send."""
    if not state.sending or state.output or state.command_byte & CommandByte.KEYBOARD_OFF:
        return state
    return state._replace(output=state.sending[:1], sending=state.sending[1:])


# ---- the keyboard ----------------------------------------------------------------------------------------------------


def _tell_keyboard(state: KeyboardState, byte: int) -> KeyboardState:
    """Carry out a command of the keyboard's, or take its data; it asks for a byte it does not know to be sent again."""
    if state.keyboard_awaits:
        return _take_keyboard_data(state._replace(keyboard_awaits=0), state.keyboard_awaits, byte)
    if byte in _KEYBOARD_TAKES_DATA:
        return _say(state._replace(keyboard_awaits=byte), Answer.ACKNOWLEDGE)
    match byte:
        case KeyboardCommand.ECHO:
            return _say(state, KeyboardCommand.ECHO)
        case KeyboardCommand.IDENTIFY:
            return _say(state, Answer.ACKNOWLEDGE, *IDENTITY)
        case KeyboardCommand.ENABLE:
            return _say(state._replace(is_scanning=True), Answer.ACKNOWLEDGE)
        case KeyboardCommand.DISABLE:
            return _say(_with_defaults(state)._replace(is_scanning=False), Answer.ACKNOWLEDGE)
        case KeyboardCommand.SET_DEFAULTS:
            return _say(_with_defaults(state), Answer.ACKNOWLEDGE)
        case KeyboardCommand.RESEND:
            return _say(state, state.last_sent)
        case KeyboardCommand.RESET:
            return _say(_with_defaults(state), Answer.ACKNOWLEDGE, Answer.KEYBOARD_PASSED)
    return _say(state, Answer.RESEND)


def _take_keyboard_data(state: KeyboardState, command: int, data: int) -> KeyboardState:
    if command == KeyboardCommand.SET_LEDS:
        return _say(state._replace(leds=data), Answer.ACKNOWLEDGE)
    if command == KeyboardCommand.SCAN_CODE_SET and data == 0:
        return _say(state, Answer.ACKNOWLEDGE, state.scan_code_set)
    if command == KeyboardCommand.SCAN_CODE_SET and data not in _SUPPORTED_SETS:
        return _say(state, Answer.RESEND)
    if command == KeyboardCommand.SCAN_CODE_SET:
        state = state._replace(scan_code_set=data)
    return _say(state, Answer.ACKNOWLEDGE)


def _with_defaults(state: KeyboardState) -> KeyboardState:
    return state._replace(scan_code_set=2, is_scanning=True, leds=0, sending=b"")


def _say(state: KeyboardState, *answer: int) -> KeyboardState:
    return _pass_on(state._replace(last_sent=answer[-1]), bytes(answer))


def _stroke(state: KeyboardState) -> KeyboardState:
    """Move the next key of what is to be typed."""
    code = state.strokes[0]
    sent = in_set_2(code) if state.scan_code_set == 2 else bytes((code,))
    done = state._replace(
        strokes=state.strokes[1:], next_stroke_at=state.next_stroke_at + KEY_INTERVAL, last_sent=sent[-1]
    )
    passed = _pass_on(done, sent)
    return passed._replace(output=passed.output[:1], sending=passed.output[1:])


def _keep_typing(state: KeyboardState, now: int) -> KeyboardState:
    """See to it that a key that could not move when it was due moves a little after it can."""
    if state.can_type and state.next_stroke_at <= now:
        return state._replace(next_stroke_at=now + KEY_AFTER_READ)
    return state
