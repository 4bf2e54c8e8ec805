"""The registers of an ATA drive and what their bits mean.

Source: ATA/ATAPI-6 (T13 1410D), "Register definitions and descriptions"; DSC as in ATA-3, which later became "command
dependent".
"""

from enum import IntEnum, IntFlag


class Register(IntEnum):
    """Offsets from the first command block port; two have other names when written."""

    DATA = 0
    ERROR_FEATURES = 1
    SECTOR_COUNT = 2
    LBA_LOW = 3
    LBA_MID = 4
    LBA_HIGH = 5
    DEVICE = 6
    STATUS_COMMAND = 7


class Status(IntFlag):
    """Status; while BSY is 1 the other bits mean nothing."""

    ERR = 0x01
    DRQ = 0x08
    """The drive is ready to transfer a word."""
    DSC = 0x10
    """Seek complete."""
    DF = 0x20
    """Device fault; this drive has none."""
    DRDY = 0x40
    BSY = 0x80


class Error(IntFlag):
    """What went wrong, where Status.ERR is 1."""

    ABRT = 0x04
    """The command is unknown, or its parameters make no sense."""
    IDNF = 0x10
    """There is no such sector."""


DIAGNOSTIC_PASSED = 0x01
"""What the error register holds after a reset or EXECUTE DEVICE DIAGNOSTIC, with ERR 0."""


class Device(IntFlag):
    """Device register; bits 3:0 are the head, or bits 27:24 of the LBA."""

    HEAD = 0x0F
    DEV = 0x10
    """Which drive is selected."""
    LBA = 0x40
    """The address is a logical block address, not cylinder, head and sector."""
    ALWAYS_1 = 0xA0
    """Bits of the first ATA standards, which drives still give as ones."""


class Control(IntFlag):
    """Device control, at the control block's port."""

    NIEN = 0x02
    """Interrupts are disabled."""
    SRST = 0x04
    """Both drives are in reset."""
    HOB = 0x80
    """The next reads of doubled registers give the earlier of the two bytes written."""
