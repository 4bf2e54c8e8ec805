"""The clock inside the RTC as pure functions on its ten time bytes.

The bytes are seconds, seconds alarm, minutes, minutes alarm, hours, hours alarm, day of week (1 = Sunday), day of
month, month, year in the century; in BCD or binary, with 12 or 24 hours, as status register B says. The chip knows no
century: a year is a leap year if 4 divides it, and 99 is followed by 00.

Source: Motorola MC146818A data sheet, "Time, calendar, and alarm locations".
"""

from datetime import datetime, timedelta
from enum import IntEnum


class TimeByte(IntEnum):
    """Where each field is."""

    SECONDS = 0
    SECONDS_ALARM = 1
    MINUTES = 2
    MINUTES_ALARM = 3
    HOURS = 4
    HOURS_ALARM = 5
    DAY_OF_WEEK = 6
    DAY_OF_MONTH = 7
    MONTH = 8
    YEAR = 9


class StatusB(IntEnum):
    """Status register B. Daylight saving is kept and has no effect: the rule it follows was long out of use."""

    DAYLIGHT_SAVING = 0x01
    HOURS_24 = 0x02
    BINARY = 0x04
    SQUARE_WAVE = 0x08
    UPDATE_ENDED_INTERRUPT = 0x10
    ALARM_INTERRUPT = 0x20
    PERIODIC_INTERRUPT = 0x40
    SET = 0x80


TIME_BYTES = 10
SECONDS_PER_DAY = 86_400

_PM = 0x80
_ALARM_ANY = 0xC0
"""An alarm byte with both high bits set matches every value."""

# Between 2000 and 2099 the calendar's own leap years are just those that 4 divides, so this century can stand for all.
_CENTURY_START = datetime(2000, 1, 1)
_CENTURY_SECONDS = (datetime(2100, 1, 1) - _CENTURY_START) // timedelta(seconds=1)


def encode(moment: datetime, status_b: int) -> bytes:
    """Give the ten time bytes at `moment`, with alarms at 00:00:00."""
    time = bytearray(TIME_BYTES)
    _put_moment(time, moment, status_b)
    time[TimeByte.HOURS_ALARM] = encode_hours(0, status_b)
    time[TimeByte.DAY_OF_WEEK] = moment.isoweekday() % 7 + 1
    return bytes(time)


def decode(time: bytes, status_b: int) -> datetime | None:
    """Give the moment the time bytes name, with a year of 2000 to 2099; None if they name none."""
    fields = [decode_byte(time[at], status_b) for at in (TimeByte.YEAR, TimeByte.MONTH, TimeByte.DAY_OF_MONTH)]
    fields.append(decode_hours(time[TimeByte.HOURS], status_b))
    fields += [decode_byte(time[at], status_b) for at in (TimeByte.MINUTES, TimeByte.SECONDS)]
    year, month, day, hours, minutes, seconds = (-1 if field is None else field for field in fields)
    if not 0 <= year <= 99:
        return None
    try:
        return datetime(2000 + year, month, day, hours, minutes, seconds)
    except ValueError:
        return None


def advance(time: bytes, seconds: int, status_b: int) -> bytes:
    """Give the time bytes after so many one-second updates; bytes that name no moment stand still."""
    before = decode(time, status_b)
    if before is None or seconds == 0:
        return time
    elapsed = (before - _CENTURY_START) // timedelta(seconds=1) + seconds
    after = _CENTURY_START + timedelta(seconds=elapsed % _CENTURY_SECONDS)
    midnights = elapsed // SECONDS_PER_DAY - (before - _CENTURY_START).days
    advanced = bytearray(time)
    _put_moment(advanced, after, status_b)
    weekday = time[TimeByte.DAY_OF_WEEK]
    if 1 <= weekday <= 7:
        # A counter of its own, never worked out from the date: a guest that set it wrong keeps it wrong.
        advanced[TimeByte.DAY_OF_WEEK] = (weekday - 1 + midnights) % 7 + 1
    return bytes(advanced)


def alarm_passes(time: bytes, seconds: int, status_b: int) -> bool:
    """Whether the alarm matches at one of so many updates that follow `time`."""
    after = updates_to_alarm(time, status_b)
    return after is not None and after <= seconds


def updates_to_alarm(time: bytes, status_b: int) -> int | None:
    """Give how many updates after `time` the alarm next matches, 1 to those of a day; None if it never does."""
    start = decode(time, status_b)
    hours = _matching(24, time[TimeByte.HOURS_ALARM], decode_hours(time[TimeByte.HOURS_ALARM], status_b))
    minutes = _matching(60, time[TimeByte.MINUTES_ALARM], decode_byte(time[TimeByte.MINUTES_ALARM], status_b))
    seconds = _matching(60, time[TimeByte.SECONDS_ALARM], decode_byte(time[TimeByte.SECONDS_ALARM], status_b))
    if start is None or not (hours and minutes and seconds):
        return None
    now = (start.hour * 60 + start.minute) * 60 + start.second
    at = now + 1
    # Each pass goes on to the first moment at which one more field matches; it may carry into the fields above.
    while True:
        hour, minute, second = at // 3600 % 24, at // 60 % 60, at % 60
        if hour not in hours:
            at += (hours[0] - hour) % 24 * 3600 - minute * 60 - second
        elif minute not in minutes:
            at += (minutes[0] - minute) % 60 * 60 - second
        elif second not in seconds:
            at += (seconds[0] - second) % 60
        else:
            return at - now


def encode_byte(value: int, status_b: int) -> int:
    """Give a number below 100 as the chip would store it."""
    return value if status_b & StatusB.BINARY else value // 10 << 4 | value % 10


def decode_byte(stored: int, status_b: int) -> int | None:
    """Give the number a stored byte stands for; None if it is not BCD where it should be."""
    if status_b & StatusB.BINARY:
        return stored
    tens, ones = stored >> 4, stored & 0xF
    return tens * 10 + ones if tens <= 9 and ones <= 9 else None


def encode_hours(hours: int, status_b: int) -> int:
    """Give an hour of 0 to 23 as the chip would store it: with 12 hours, 12 comes before 1 and bit 7 means p.m."""
    if status_b & StatusB.HOURS_24:
        return encode_byte(hours, status_b)
    return encode_byte((hours + 11) % 12 + 1, status_b) | (_PM if hours >= 12 else 0)


def decode_hours(stored: int, status_b: int) -> int | None:
    """Give the hour of 0 to 23 a stored byte stands for, or None."""
    if status_b & StatusB.HOURS_24:
        hours = decode_byte(stored, status_b)
        return hours if hours is not None and hours <= 23 else None
    hours = decode_byte(stored & ~_PM, status_b)
    if hours is None or not 1 <= hours <= 12:
        return None
    return hours % 12 + (12 if stored & _PM else 0)


def _matching(count: int, stored: int, value: int | None) -> range:
    """Give the values below `count` that an alarm byte matches; none if it stands for no value."""
    if stored & _ALARM_ANY == _ALARM_ANY:
        return range(count)
    return range(0) if value is None or value >= count else range(value, value + 1)


def _put_moment(time: bytearray, moment: datetime, status_b: int) -> None:
    time[TimeByte.SECONDS] = encode_byte(moment.second, status_b)
    time[TimeByte.MINUTES] = encode_byte(moment.minute, status_b)
    time[TimeByte.HOURS] = encode_hours(moment.hour, status_b)
    time[TimeByte.DAY_OF_MONTH] = encode_byte(moment.day, status_b)
    time[TimeByte.MONTH] = encode_byte(moment.month, status_b)
    time[TimeByte.YEAR] = encode_byte(moment.year % 100, status_b)
