"""The primary IDE channel: up to two ATA disks behind ports 0x1F0 to 0x1F7 and 0x3F6, with interrupt request 14.

Both drives hear every write to the command block; the selected one takes commands and data and drives the interrupt
line. Where drive 1 is missing, drive 0 answers for it: with its own registers, and with status 0. Where nobody answers,
the host's pull-down on data line 7 is all that is seen: 7Fh, "not busy", so that a guest that waits for BSY goes on.

The data port is 16 bits wide, and gives two words to an access of 32 bits, as PCI controllers do; a byte read from it
is half of a word that is then gone, and a byte written to it is lost. All other registers are bytes: a wider access is
broken up as ISA does.

Source: ATA/ATAPI-6 (T13 1410D), "Device 0 only configurations" and the pull-down in "Driver types and required
termination"; for the single byte of the data port, which the standard does not define, QEMU.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ringviz.machine.bus import State
from ringviz.machine.devices import ata_drive
from ringviz.machine.devices.ata_commands import EXECUTE_DEVICE_DIAGNOSTIC
from ringviz.machine.devices.ata_drive import Drive, Medium, Phase
from ringviz.machine.devices.ata_registers import Control, Device, Register

DRIVES = 2
_CONTROL = 8
"""Offset of the device control register, which reads as the alternate status."""
_NOBODY = 0x7F
_NOBODY_WIDE = 0xFF
"""The same for the upper data lines, which are pulled up."""
_DATA = int(Register.DATA)
_NIEN, _SRST, _HOB = int(Control.NIEN), int(Control.SRST), int(Control.HOB)
_DEV = int(Device.DEV)


class IdeState(NamedTuple):
    """Both drives and what the channel itself remembers."""

    drives: tuple[Drive | None, ...]
    selected: int = 0
    control: int = 0


class Ide:
    """A channel with the disks that are given: images of whole sectors, None for a drive that is not there."""

    name = "ide"
    ports = (range(0x1F0, 0x1F8), range(0x3F6, 0x3F7))
    access_bytes = 4
    irq = 14

    def __init__(self, disks: Sequence[bytes | None] = ()) -> None:
        images = [*disks, None, None][:DRIVES]
        self._media = tuple(
            None if image is None else Medium(image, f"RINGVIZ-{number}", answers_for_both=number == 0)
            for number, image in enumerate(images)
        )
        self._drive_line: Callable[[bool], None] = lambda is_high: None
        self._is_high = False
        self._drives: list[Drive | None]
        self._selected: int
        self._control: int
        self._take(_power_on(self._media))

    def connect(self, drive: Callable[[bool], None]) -> None:
        """Take the wire to the interrupt controller."""
        self._drive_line = drive

    def power_on(self) -> None:
        """Switch off and on again: what was written is forgotten, the disks are as their images."""
        self._take(_power_on(self._media))
        self._settle()

    def written(self, number: int) -> dict[int, bytes]:
        """Give the sectors of a disk that differ from its image, by number; none where there is no disk."""
        drive = self._drives[number]
        return {} if drive is None else dict(drive.overlay.contents())

    def next_event(self, now: int) -> int | None:
        """Give the time at which a drive ceases to be busy."""
        return min((max(drive.due, now + 1) for _, drive in self._present() if drive.due is not None), default=None)

    def advance(self, now: int) -> None:
        """Let drives cease to be busy."""
        for number, drive in enumerate(self._drives):
            if drive is not None and drive.due is not None and drive.due <= now:
                self._change(number, ata_drive.advance(drive, self._medium(number), now))

    def read(self, offset: int, size: int, now: int) -> int:
        """Read data, a register, or the alternate status, which alone does not acknowledge an interrupt."""
        self.advance(now)
        if offset == _DATA and size > 1:
            return self._read_data(size, now)
        if size == 1:
            return self._read_byte(offset, now)
        return sum(self._read_byte(offset + index, now) << 8 * index for index in range(size))

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Write data, a register, a command or the device control."""
        self.advance(now)
        if offset == _DATA and size > 1:
            drive = self._drives[self._selected]
            if drive is not None:
                self._drives[self._selected] = ata_drive.write_data(drive, size, value, now)
            return
        for index in range(size):
            self._write_byte(offset + index, value >> 8 * index & 0xFF, now)

    def save(self) -> State:
        """Give both drives, with what was written to them."""
        return IdeState(tuple(self._drives), self._selected, self._control)

    def told(self) -> State:
        """Give what `save` gives in plain values, for another process."""
        drives = tuple(None if drive is None else ata_drive.told(drive) for drive in self._drives)
        return drives, self._selected, self._control

    def restore_told(self, state: State) -> None:
        """Become what `told` gave.

        Raises:
            TypeError, ValueError: it is not of this channel, or of one with other drives.
        """
        drives, selected, control = state
        made = tuple(None if drive is None else ata_drive.drive_told(drive) for drive in drives)
        if [drive is None for drive in made] != [drive is None for drive in self._drives]:
            raise ValueError("the state is of other drives")
        self.restore(IdeState(made, selected, control))

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        self._take(IdeState(*state))
        self._is_high = self._line

    def _take(self, state: IdeState) -> None:
        drives, self._selected, self._control = state
        self._drives = list(drives)

    # ---- registers ---------------------------------------------------------------------------------------------------

    def _read_data(self, size: int, now: int) -> int:
        selected = self._selected
        drive = self._drives[selected]
        if drive is None:
            is_answered = self._answering() is not None
            return 0 if is_answered else int.from_bytes(bytes((_NOBODY, _NOBODY_WIDE) * (size // 2)), "little")
        self._drives[selected], value = ata_drive.read_data(drive, self._medium(selected), size, now)
        return value

    def _read_byte(self, offset: int, now: int) -> int:
        if offset == _DATA:
            return self._read_data(2, now) & 0xFF
        number = self._answering()
        if number is None:
            return _NOBODY
        drive = self._drive(number)
        is_status = offset in (Register.STATUS_COMMAND, _CONTROL)
        if is_status and number != self._selected:
            return 0
        if offset == _CONTROL:
            return drive.status
        value = ata_drive.read_register(drive, offset, is_earlier=bool(self._control & _HOB))
        if is_status:
            self._change(number, ata_drive.acknowledge(drive))
        return value

    def _write_byte(self, offset: int, value: int, now: int) -> None:
        if offset == _DATA:
            return
        if offset == _CONTROL:
            self._write_control(value, now)
            return
        self._control &= ~_HOB
        if offset == Register.STATUS_COMMAND:
            self._command(value, now)
            return
        answering = self._answering()
        if answering is not None and not self._drive(answering).takes_registers:
            return
        for number, drive in self._present():
            self._change(number, ata_drive.write_register(drive, offset, value))
        if offset == Register.DEVICE:
            self._select(value)

    def _select(self, value: int) -> None:
        self._selected = 1 if value & _DEV else 0
        self._settle()

    def _command(self, code: int, now: int) -> None:
        """Give a command to the selected drive, or the one command that is for both."""
        if code != EXECUTE_DEVICE_DIAGNOSTIC:
            if self._media[self._selected] is not None:
                self._start(self._selected, code, now)
            return
        answering = self._answering()
        if answering is None or self._drive(answering).phase is not Phase.IDLE:
            return
        for number, _ in self._present():
            self._start(number, code, now)
        self._select(0)

    def _start(self, number: int, code: int, now: int) -> None:
        self._change(number, ata_drive.start(self._drive(number), self._medium(number), code, now))

    def _write_control(self, value: int, now: int) -> None:
        was_reset, is_reset = self._control & _SRST, value & _SRST
        self._control = value
        if is_reset and not was_reset:
            self._selected = 0
            for number, drive in self._present():
                self._drives[number] = ata_drive.hold_reset(drive)
        elif was_reset and not is_reset:
            for number, drive in self._present():
                self._drives[number] = ata_drive.release_reset(drive, now)
        self._settle()

    # ---- drives and the line -----------------------------------------------------------------------------------------

    def _answering(self) -> int | None:
        """Give the number of the drive that answers: the selected one, or drive 0 for a missing drive 1."""
        selected = self._selected
        if self._media[selected] is not None:
            return selected
        return 0 if self._media[0] is not None else None

    def _present(self) -> list[tuple[int, Drive]]:
        return [(number, drive) for number, drive in enumerate(self._drives) if drive is not None]

    def _drive(self, number: int) -> Drive:
        drive = self._drives[number]
        assert drive is not None
        return drive

    def _medium(self, number: int) -> Medium:
        medium = self._media[number]
        assert medium is not None
        return medium

    def _change(self, number: int, drive: Drive) -> None:
        self._drives[number] = drive
        self._settle()

    @property
    def _line(self) -> bool:
        """INTRQ of the selected drive, unless interrupts are disabled."""
        drive = self._drives[self._selected]
        return drive is not None and drive.has_interrupt and not self._control & _NIEN

    def _settle(self) -> None:
        """Carry the interrupt line to where it is now."""
        is_high = self._line
        if is_high != self._is_high:
            self._is_high = is_high
            self._drive_line(is_high)


def _power_on(media: Sequence[Medium | None]) -> IdeState:
    return IdeState(tuple(None if medium is None else ata_drive.power_on(medium) for medium in media))
