"""One ATA hard disk as pure functions: its registers, its commands, its PIO transfers.

A command makes the drive busy (BSY) for a while of device time; then it has an answer, wants data or has failed. Data
go through a buffer of one block: a sector, or several with READ and WRITE MULTIPLE. A read fills it, raises the
interrupt and waits (DRQ) until the guest has taken it all; a write waits until the guest has filled it, is busy with
it, and raises the interrupt. For the first block of a write the buffer is free at once and nothing interrupts, as the
standard has it.

Address and count registers move along: they name the next sector to transfer, so after an error the one that failed.
The standard leaves open what they hold after success; QEMU has the same.

The written sectors are an overlay; the image below is never changed. With or without write cache a sector is written
when its command's interrupt comes, so FLUSH CACHE has nothing to do but to take its time.

How long things take is our choice (see the constants): far less than a real disk of that time, which would let a guest
that polls execute ten thousand instructions for one sector; and long enough that a guest which waits by interrupt has
time for something else.

Source: ATA/ATAPI-6 (T13 1410D), "Protocol" and "Command descriptions". Left open there and answered as QEMU does: what
is written to the registers while BSY or DRQ is 1 is lost, a command too; the data port reads 0 while DRQ is 0; READ and
WRITE MULTIPLE are enabled from power-on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from ringviz.machine.devices.ata_commands import COMMANDS, MOVES_SECTORS, Action, Command, Feature, Power
from ringviz.machine.devices.ata_geometry import Geometry, asked_geometry, default_geometry
from ringviz.machine.devices.ata_identify import MOST_MULTIPLE_SECTORS, identify_page
from ringviz.machine.devices.ata_registers import DIAGNOSTIC_PASSED, Device, Error, Register, Status
from ringviz.machine.devices.device_time import instructions_in_microseconds
from ringviz.machine.devices.disk_overlay import SECTOR_BYTES, Overlay

COMMAND_MICROSECONDS = 20
"""BSY for a command that touches no sector, or that fails."""
SECTOR_MICROSECONDS = 50
"""BSY for each sector that is read, written or verified."""
RESET_MICROSECONDS = 200
"""BSY after the guest has ended a software reset."""

_PIO_MODES = (0, *range(8, 13))
"""Transfer modes that a drive without DMA can be set to: the default, and PIO with flow control, modes 0 to 4."""
_LOW, _BYTE_BITS = 0xFF, 8
_WIDE = 0xFFFF
_READY = int(Status.DRDY | Status.DSC)
_BSY, _DRQ, _ERR = int(Status.BSY), int(Status.DRQ), int(Status.ERR)
_HEAD, _LBA = int(Device.HEAD), int(Device.LBA)


@dataclass(frozen=True, slots=True)
class Medium:
    """What is fixed about a drive: its image and its name."""

    image: bytes
    """Whole sectors, at least one."""
    serial: str
    answers_for_both: bool
    """Raises the interrupt after EXECUTE DEVICE DIAGNOSTIC, as drive 0 does."""

    @property
    def sectors(self) -> int:
        """Size of the drive."""
        return len(self.image) // SECTOR_BYTES

    def sector(self, number: int) -> bytes:
        """Give a sector of the image."""
        return self.image[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]


class Phase(IntEnum):
    """What the drive is at."""

    IDLE = 0
    BUSY = 1
    DATA_IN = 2
    """The guest reads the buffer."""
    DATA_OUT = 3
    """The guest fills the buffer."""
    RESET = 4
    """In software reset, or still recovering from it."""
    ASLEEP = 5
    """After SLEEP: only a reset wakes it."""


class Registers(NamedTuple):
    """The command block; in the low byte of a doubled register what was written last, in the high byte what before."""

    features: int = 0
    sector_count: int = 1
    lba_low: int = 1
    lba_mid: int = 0
    lba_high: int = 0
    device: int = int(Device.ALWAYS_1)


class Settings(NamedTuple):
    """What the guest can change about the drive, until it is switched off."""

    geometry: Geometry
    multiple: int = MOST_MULTIPLE_SECTORS
    """Sectors a block for READ and WRITE MULTIPLE; 0 disables them."""
    has_write_cache: bool = True
    has_look_ahead: bool = True
    reverts_on_reset: bool = False
    power: int = Power.ACTIVE


class Transfer(NamedTuple):
    """How far a command that moves sectors has come."""

    next: int = 0
    """Number of the next sector."""
    remaining: int = 0
    """Sectors that are still to come, those in the buffer not counted on the way in."""
    block: int = 1
    """Sectors a block."""
    buffer: bytes = b""
    """On the way in a block; on the way out what the guest has given of it."""
    position: int = 0
    """Bytes the guest has taken on the way in."""

    @property
    def in_block(self) -> int:
        """Sectors in the next block; the last one may be short."""
        return min(self.block, self.remaining)


class Drive(NamedTuple):
    """Everything one drive remembers."""

    settings: Settings
    registers: Registers = Registers()
    error: int = DIAGNOSTIC_PASSED
    has_failed: bool = False
    phase: Phase = Phase.IDLE
    command: int = 0
    """Code of the last command."""
    due: int | None = None
    """Device time at which BSY ends by itself."""
    transfer: Transfer = Transfer()
    has_interrupt: bool = False
    """An interrupt is pending: INTRQ, while the drive is selected and interrupts are enabled."""
    overlay: Overlay = Overlay()

    @property
    def status(self) -> int:
        """The status register."""
        match self.phase:
            case Phase.RESET:
                return _BSY
            case Phase.BUSY:
                return _READY | _BSY
            case Phase.DATA_IN | Phase.DATA_OUT:
                return _READY | _DRQ
            case _:
                return _READY | (_ERR if self.has_failed else 0)

    @property
    def takes_registers(self) -> bool:
        """The command block can be written to."""
        return self.phase in (Phase.IDLE, Phase.ASLEEP)


# ---- power, reset, registers -----------------------------------------------------------------------------------------


def power_on(medium: Medium) -> Drive:
    """Give the drive as it is when its power-on diagnostics have passed: an empty overlay, the signature in place."""
    return Drive(Settings(default_geometry(medium.sectors)))


def hold_reset(drive: Drive) -> Drive:
    """Enter software reset: whatever the drive was at is dropped."""
    return drive._replace(phase=Phase.RESET, due=None, transfer=Transfer(), has_interrupt=False)


def release_reset(drive: Drive, now: int) -> Drive:
    """Begin to recover from a software reset."""
    return drive._replace(due=now + instructions_in_microseconds(RESET_MICROSECONDS))


def read_register(drive: Drive, register: int, *, is_earlier: bool = False) -> int:
    """Read a register of the command block but for the data; with `is_earlier` the byte written before the last."""
    registers = drive.registers
    match register:
        case Register.ERROR_FEATURES:
            return registers.features >> _BYTE_BITS if is_earlier else drive.error
        case Register.DEVICE:
            return registers.device
        case Register.STATUS_COMMAND:
            return drive.status
        case _:
            value = registers[register - 1]
            return value >> _BYTE_BITS if is_earlier else value & _LOW


def write_register(drive: Drive, register: int, value: int) -> Drive:
    """Write a register of the command block but for data and command; the byte before it is remembered."""
    registers = drive.registers
    if register == Register.DEVICE:
        return drive._replace(registers=registers._replace(device=value | int(Device.ALWAYS_1)))
    field = Registers._fields[register - 1]
    both = (registers[register - 1] << _BYTE_BITS | value) & _WIDE
    return drive._replace(registers=registers._replace(**{field: both}))


def acknowledge(drive: Drive) -> Drive:
    """Read the status register: the pending interrupt is taken notice of."""
    return drive._replace(has_interrupt=False) if drive.has_interrupt else drive


# ---- commands --------------------------------------------------------------------------------------------------------


def start(drive: Drive, medium: Medium, code: int, now: int) -> Drive:
    """Write the command register."""
    if drive.phase is not Phase.IDLE:
        return drive
    drive = drive._replace(command=code, error=0, has_failed=False, has_interrupt=False, transfer=Transfer())
    command = COMMANDS.get(code)
    if command is None:
        return _fail(drive, Error.ABRT, now)
    if command.action in MOVES_SECTORS:
        return _start_moving(drive, medium, command, now)
    return _busy(drive, now, COMMAND_MICROSECONDS)


def advance(drive: Drive, medium: Medium, now: int) -> Drive:
    """Let BSY end, if it is time."""
    if drive.due is None or drive.due > now:
        return drive
    at, drive = drive.due, drive._replace(due=None)
    if drive.phase is Phase.RESET:
        settings = drive.settings
        if settings.reverts_on_reset:
            settings = power_on(medium).settings
        return _signed(drive)._replace(phase=Phase.IDLE, settings=settings._replace(power=Power.ACTIVE))
    if drive.has_failed:
        return drive._replace(phase=Phase.IDLE, has_interrupt=True)
    return _finish(drive, medium, COMMANDS[drive.command], at)


def _busy(drive: Drive, now: int, microseconds: int) -> Drive:
    return drive._replace(phase=Phase.BUSY, due=now + instructions_in_microseconds(microseconds))


def _fail(drive: Drive, error: Error, now: int) -> Drive:
    """Be busy for a while and then say that it has gone wrong; until then BSY hides it."""
    return _busy(drive._replace(error=int(error), has_failed=True, transfer=Transfer()), now, COMMAND_MICROSECONDS)


def _answer(drive: Drive, **changes: object) -> Drive:
    """End a command well, with an interrupt."""
    return drive._replace(phase=Phase.IDLE, has_interrupt=True, **changes)  # type: ignore[arg-type]


def _refuse(drive: Drive, error: Error = Error.ABRT) -> Drive:
    """End a command badly, with an interrupt."""
    return _answer(drive, error=int(error), has_failed=True, transfer=Transfer())


def _signed(drive: Drive) -> Drive:
    """Put the signature of a disk into the registers, as reset and diagnostics do; a passed diagnostic is no error."""
    return drive._replace(registers=Registers(), error=DIAGNOSTIC_PASSED, has_failed=False)


def _finish(drive: Drive, medium: Medium, command: Command, at: int) -> Drive:
    """Do what a command does at the end of BSY."""
    registers, settings = drive.registers, drive.settings
    count = registers.sector_count & _LOW
    match command.action:
        case Action.READ:
            return _offer_block(drive, medium, command)
        case Action.WRITE:
            return _store_block(drive, medium, command, at)
        case Action.VERIFY:
            return _answer(_moved(drive, command, drive.transfer.remaining))
        case Action.IDENTIFY:
            page = identify_page(
                medium.sectors,
                medium.serial,
                default_geometry(medium.sectors),
                settings.geometry,
                multiple=settings.multiple,
                has_write_cache=settings.has_write_cache,
                has_look_ahead=settings.has_look_ahead,
            )
            return drive._replace(phase=Phase.DATA_IN, has_interrupt=True, transfer=Transfer(buffer=page))
        case Action.SEEK:
            return _answer(drive) if _address(drive, medium, command) is not None else _refuse(drive, Error.IDNF)
        case Action.DIAGNOSE:
            return _signed(drive)._replace(phase=Phase.IDLE, has_interrupt=medium.answers_for_both)
        case Action.SET_GEOMETRY:
            geometry = asked_geometry(medium.sectors, (registers.device & _HEAD) + 1, count)
            return _refuse(drive) if geometry is None else _answer(drive, settings=settings._replace(geometry=geometry))
        case Action.SET_MULTIPLE:
            is_good = count <= MOST_MULTIPLE_SECTORS and not count & (count - 1)
            settings = settings._replace(multiple=count if is_good else 0)
            return _answer(drive, settings=settings) if is_good else _refuse(drive._replace(settings=settings))
        case Action.SET_FEATURES:
            changed = _with_feature(settings, registers.features & _LOW, count)
            return _refuse(drive) if changed is None else _answer(drive, settings=changed)
        case Action.BECOME_IDLE:
            return _answer(drive, settings=settings._replace(power=Power.IDLE))
        case Action.STAND_BY:
            return _answer(drive, settings=settings._replace(power=Power.STANDBY))
        case Action.TELL_POWER:
            return _answer(
                drive, registers=registers._replace(sector_count=registers.sector_count & ~_LOW | settings.power)
            )
        case Action.SLEEP:
            return _answer(drive)._replace(phase=Phase.ASLEEP)
        case Action.FLUSH | Action.RECALIBRATE:
            return _answer(drive)


def _with_feature(settings: Settings, feature: int, count: int) -> Settings | None:
    """Give the settings after SET FEATURES; None if the drive has no such feature."""
    match feature:
        case Feature.WRITE_CACHE_ON | Feature.WRITE_CACHE_OFF:
            return settings._replace(has_write_cache=feature == Feature.WRITE_CACHE_ON)
        case Feature.LOOK_AHEAD_ON | Feature.LOOK_AHEAD_OFF:
            return settings._replace(has_look_ahead=feature == Feature.LOOK_AHEAD_ON)
        case Feature.REVERT_SETTINGS_ON_RESET | Feature.KEEP_SETTINGS_ON_RESET:
            return settings._replace(reverts_on_reset=feature == Feature.REVERT_SETTINGS_ON_RESET)
        case Feature.TRANSFER_MODE if count in _PIO_MODES:
            return settings
        case _:
            return None


# ---- addresses -------------------------------------------------------------------------------------------------------


def _address(drive: Drive, medium: Medium, command: Command) -> int | None:
    """Give the number of the sector that the registers name; None if the drive has none there."""
    registers = drive.registers
    low, mid, high = (value & _LOW for value in registers[2:5])
    head = registers.device & _HEAD
    block: int | None
    if command.is_48_bit:
        earlier = [value >> _BYTE_BITS for value in registers[2:5]]
        block = int.from_bytes(bytes((low, mid, high, *earlier)), "little")
    elif registers.device & _LBA:
        block = int.from_bytes(bytes((low, mid, high, head)), "little")
    else:
        block = drive.settings.geometry.block_of(high << _BYTE_BITS | mid, head, low)
    return block if block is not None and block < medium.sectors else None


def _pointed(drive: Drive, command: Command, block: int, remaining: int) -> Registers:
    """Give registers that name a sector and a count."""
    registers = drive.registers
    if command.is_48_bit:
        parts = block.to_bytes(6, "little")
        low, mid, high = (parts[index] | parts[index + 3] << _BYTE_BITS for index in range(3))
        return registers._replace(sector_count=remaining & _WIDE, lba_low=low, lba_mid=mid, lba_high=high)
    if registers.device & _LBA:
        *parts28, head = block.to_bytes(4, "little")
    else:
        cylinder, head, sector = drive.settings.geometry.address_of(block)
        parts28 = [sector, cylinder & _LOW, cylinder >> _BYTE_BITS & _LOW]
    low, mid, high = (old & ~_LOW | new for old, new in zip(registers[2:5], parts28, strict=True))
    return registers._replace(
        sector_count=registers.sector_count & ~_LOW | remaining & _LOW,
        lba_low=low,
        lba_mid=mid,
        lba_high=high,
        device=registers.device & ~_HEAD | head & _HEAD,
    )


# ---- moving sectors --------------------------------------------------------------------------------------------------


def _start_moving(drive: Drive, medium: Medium, command: Command, now: int) -> Drive:
    """Begin READ, WRITE or VERIFY."""
    registers, settings = drive.registers, drive.settings
    if command.is_multiple and not settings.multiple:
        return _fail(drive, Error.ABRT, now)
    if command.is_48_bit and not registers.device & _LBA:
        return _fail(drive, Error.ABRT, now)
    first = _address(drive, medium, command)
    if first is None:
        return _fail(drive, Error.IDNF, now)
    count = registers.sector_count if command.is_48_bit else registers.sector_count & _LOW
    whole = count or (1 << 2 * _BYTE_BITS if command.is_48_bit else 1 << _BYTE_BITS)
    block = settings.multiple if command.is_multiple else 1
    drive = drive._replace(
        transfer=Transfer(first, whole, block), settings=settings._replace(power=Power.ACTIVE), registers=registers
    )
    match command.action:
        case Action.WRITE:
            return _ask_for_block(drive, medium, command, now)
        case Action.VERIFY:
            return _verify(drive, medium, command, now)
        case _:
            return _fetch_block(drive, medium, command, now)


def _moved(drive: Drive, command: Command, sectors: int) -> Drive:
    """Let transfer and registers move on by so many sectors."""
    transfer = drive.transfer
    ahead, remaining = transfer.next + sectors, transfer.remaining - sectors
    return drive._replace(
        transfer=transfer._replace(next=ahead, remaining=remaining),
        registers=_pointed(drive, command, ahead, remaining),
    )


def _has_all(drive: Drive, medium: Medium, command: Command, sectors: int) -> Drive | None:
    """Look for the next sectors: None if they are all there, else the drive pointed at the first that is not."""
    is_chs = not (command.is_48_bit or drive.registers.device & _LBA)
    end = drive.settings.geometry.capacity if is_chs else medium.sectors
    there = end - drive.transfer.next
    return None if sectors <= there else _moved(drive, command, there)


def _verify(drive: Drive, medium: Medium, command: Command, now: int) -> Drive:
    sectors = drive.transfer.remaining
    astray = _has_all(drive, medium, command, sectors)
    return _fail(astray, Error.IDNF, now) if astray else _busy(drive, now, SECTOR_MICROSECONDS * sectors)


def _fetch_block(drive: Drive, medium: Medium, command: Command, now: int) -> Drive:
    """Go for the next block of a read; one that is not whole is not given in part."""
    sectors = drive.transfer.in_block
    astray = _has_all(drive, medium, command, sectors)
    return _fail(astray, Error.IDNF, now) if astray else _busy(drive, now, SECTOR_MICROSECONDS * sectors)


def _offer_block(drive: Drive, medium: Medium, command: Command) -> Drive:
    """Have the block of a read in the buffer."""
    first, sectors = drive.transfer.next, drive.transfer.in_block
    content = b"".join(sector(drive, medium, number) for number in range(first, first + sectors))
    drive = _moved(drive, command, sectors)
    transfer = drive.transfer._replace(buffer=content, position=0)
    return drive._replace(phase=Phase.DATA_IN, has_interrupt=True, transfer=transfer)


def _ask_for_block(drive: Drive, medium: Medium, command: Command, now: int, *, is_first: bool = True) -> Drive:
    """Wait for the guest to fill the buffer with the next block of a write; the first time without an interrupt."""
    astray = _has_all(drive, medium, command, drive.transfer.in_block)
    if astray:
        return _fail(astray, Error.IDNF, now)
    return drive._replace(phase=Phase.DATA_OUT, has_interrupt=not is_first)


def _store_block(drive: Drive, medium: Medium, command: Command, at: int) -> Drive:
    """Write the block in the buffer."""
    transfer, overlay = drive.transfer, drive.overlay
    sectors = transfer.in_block
    for index in range(sectors):
        number = transfer.next + index
        content = transfer.buffer[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES]
        # A sector that is as in the image is not kept: overlays that read alike are equal.
        is_changed = content != medium.sector(number)
        overlay = overlay.plus(number, content) if is_changed else overlay.minus(number)
    drive = _moved(drive._replace(overlay=overlay), command, sectors)
    drive = drive._replace(transfer=drive.transfer._replace(buffer=b""))
    return _ask_for_block(drive, medium, command, at, is_first=False) if drive.transfer.remaining else _answer(drive)


def sector(drive: Drive, medium: Medium, number: int) -> bytes:
    """Give a sector as a guest reads it: what was written to it, or else what the image holds."""
    written = drive.overlay.sector(number)
    return medium.sector(number) if written is None else written


def read_data(drive: Drive, medium: Medium, size: int, now: int) -> tuple[Drive, int]:
    """Read the data port, 2 or 4 bytes at once; what lies behind the end of a block reads as 0."""
    if drive.phase is not Phase.DATA_IN:
        return drive, 0
    transfer = drive.transfer
    end = transfer.position + size
    value = int.from_bytes(transfer.buffer[transfer.position : end], "little")
    if end < len(transfer.buffer):
        # Not by its name: this is done for every word that a guest ever reads from a disk.
        moved = Transfer(transfer.next, transfer.remaining, transfer.block, transfer.buffer, end)
        return drive._replace(transfer=moved), value
    drive = drive._replace(phase=Phase.IDLE, transfer=transfer._replace(buffer=b"", position=0))
    if transfer.remaining:
        drive = _fetch_block(drive, medium, COMMANDS[drive.command], now)
    return drive, value


def write_data(drive: Drive, size: int, value: int, now: int) -> Drive:
    """Write the data port, 2 or 4 bytes at once; what lies behind the end of a block is lost."""
    if drive.phase is not Phase.DATA_OUT:
        return drive
    transfer = drive.transfer
    wanted = transfer.in_block * SECTOR_BYTES
    buffer = (transfer.buffer + value.to_bytes(size, "little"))[:wanted]
    drive = drive._replace(transfer=transfer._replace(buffer=buffer))
    return drive if len(buffer) < wanted else _busy(drive, now, SECTOR_MICROSECONDS * transfer.in_block)


def told(drive: Drive) -> tuple[Any, ...]:
    """Tell a drive in plain values, what was written to it sector by sector: for another process."""
    return (*drive[:-1], tuple(drive.overlay.contents()))


def drive_told(values: Sequence[Any]) -> Drive:
    """Give the drive that `told` has told.

    Raises:
        TypeError, ValueError: the values are not of a drive.
    """
    settings, registers, error, has_failed, phase, command, due, transfer, has_interrupt, sectors = values
    overlay = Overlay()
    for number, content in sectors:
        if len(content) != SECTOR_BYTES:
            raise ValueError(f"sector {number} has {len(content)} bytes, expected {SECTOR_BYTES}")
        overlay = overlay.plus(number, content)
    return Drive(
        Settings(Geometry(*settings[0]), *settings[1:]),
        Registers(*registers),
        error,
        has_failed,
        Phase(phase),
        command,
        due,
        Transfer(*transfer),
        has_interrupt,
        overlay,
    )
