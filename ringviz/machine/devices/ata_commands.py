"""The commands that the drive knows: a row each.

It is a drive without DMA, so READ DMA and its kin are among the commands it aborts, with those of packet devices.

Source: ATA/ATAPI-6 (T13 1410D), "Command descriptions"; INITIALIZE DEVICE PARAMETERS, RECALIBRATE, the second codes
of READ, WRITE and VERIFY (without retries) and of the power commands: ATA-3.
"""

from dataclasses import dataclass
from enum import Enum, auto

from ringviz.facts.source import by


class Action(Enum):
    """What the drive does; several commands may do one thing."""

    IDENTIFY = auto()
    READ = auto()
    WRITE = auto()
    VERIFY = auto()
    SEEK = auto()
    FLUSH = auto()
    DIAGNOSE = auto()
    SET_GEOMETRY = auto()
    SET_MULTIPLE = auto()
    SET_FEATURES = auto()
    BECOME_IDLE = auto()
    STAND_BY = auto()
    SLEEP = auto()
    TELL_POWER = auto()
    RECALIBRATE = auto()


MOVES_SECTORS = frozenset({Action.READ, Action.WRITE, Action.VERIFY})
"""Actions on a number of sectors from an address on."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    code: int
    name: str
    """The standard's spelling."""
    action: Action
    is_48_bit: bool = False
    """Address and count are two bytes a register, written one after the other."""
    is_multiple: bool = False
    """Data come in blocks of as many sectors as SET MULTIPLE MODE said, not one by one."""


EXECUTE_DEVICE_DIAGNOSTIC = 0x90
"""The one command for both drives."""

COMMANDS = by(
    "code",
    Command(0x10, "RECALIBRATE", Action.RECALIBRATE),
    Command(0x20, "READ SECTOR(S)", Action.READ),
    Command(0x21, "READ SECTOR(S)", Action.READ),
    Command(0x24, "READ SECTOR(S) EXT", Action.READ, is_48_bit=True),
    Command(0x29, "READ MULTIPLE EXT", Action.READ, is_48_bit=True, is_multiple=True),
    Command(0x30, "WRITE SECTOR(S)", Action.WRITE),
    Command(0x31, "WRITE SECTOR(S)", Action.WRITE),
    Command(0x34, "WRITE SECTOR(S) EXT", Action.WRITE, is_48_bit=True),
    Command(0x39, "WRITE MULTIPLE EXT", Action.WRITE, is_48_bit=True, is_multiple=True),
    Command(0x40, "READ VERIFY SECTOR(S)", Action.VERIFY),
    Command(0x41, "READ VERIFY SECTOR(S)", Action.VERIFY),
    Command(0x42, "READ VERIFY SECTOR(S) EXT", Action.VERIFY, is_48_bit=True),
    Command(0x70, "SEEK", Action.SEEK),
    Command(EXECUTE_DEVICE_DIAGNOSTIC, "EXECUTE DEVICE DIAGNOSTIC", Action.DIAGNOSE),
    Command(0x91, "INITIALIZE DEVICE PARAMETERS", Action.SET_GEOMETRY),
    Command(0x94, "STANDBY IMMEDIATE", Action.STAND_BY),
    Command(0x95, "IDLE IMMEDIATE", Action.BECOME_IDLE),
    Command(0x96, "STANDBY", Action.STAND_BY),
    Command(0x97, "IDLE", Action.BECOME_IDLE),
    Command(0x98, "CHECK POWER MODE", Action.TELL_POWER),
    Command(0x99, "SLEEP", Action.SLEEP),
    Command(0xC4, "READ MULTIPLE", Action.READ, is_multiple=True),
    Command(0xC5, "WRITE MULTIPLE", Action.WRITE, is_multiple=True),
    Command(0xC6, "SET MULTIPLE MODE", Action.SET_MULTIPLE),
    Command(0xE0, "STANDBY IMMEDIATE", Action.STAND_BY),
    Command(0xE1, "IDLE IMMEDIATE", Action.BECOME_IDLE),
    Command(0xE2, "STANDBY", Action.STAND_BY),
    Command(0xE3, "IDLE", Action.BECOME_IDLE),
    Command(0xE5, "CHECK POWER MODE", Action.TELL_POWER),
    Command(0xE6, "SLEEP", Action.SLEEP),
    Command(0xE7, "FLUSH CACHE", Action.FLUSH),
    Command(0xEA, "FLUSH CACHE EXT", Action.FLUSH),
    Command(0xEC, "IDENTIFY DEVICE", Action.IDENTIFY),
    Command(0xEF, "SET FEATURES", Action.SET_FEATURES),
)


class Feature:
    """What SET FEATURES is asked for, by the features register."""

    WRITE_CACHE_ON = 0x02
    TRANSFER_MODE = 0x03
    LOOK_AHEAD_OFF = 0x55
    KEEP_SETTINGS_ON_RESET = 0x66
    WRITE_CACHE_OFF = 0x82
    LOOK_AHEAD_ON = 0xAA
    REVERT_SETTINGS_ON_RESET = 0xCC


class Power:
    """What CHECK POWER MODE puts into the sector count."""

    STANDBY = 0x00
    IDLE = 0x80
    ACTIVE = 0xFF
