"""The debug console and the exit port."""

import pytest

from ringviz.machine.bus import Bus
from ringviz.machine.devices import DebugConsole, ExitPort


def test_the_debug_console_reads_as_its_own_port_number() -> None:
    assert Bus([DebugConsole()]).read(0xE9, 1, 0) == 0xE9


def test_the_debug_console_prints_every_byte() -> None:
    console = DebugConsole()
    bus = Bus([console])
    for byte in b"\x00ok\xff":
        bus.write(0xE9, 1, byte, 0)
    assert console.printed == b"\x00ok\xff"


@pytest.mark.parametrize(
    ("size", "value", "exit_code"), [(1, 0, 1), (1, 0x10, 0x21), (2, 0x1234, 0x2469), (4, 0xFFFF_FFFF, 0x1_FFFF_FFFF)]
)
def test_writing_v_ends_the_run_with_twice_v_plus_one(size: int, value: int, exit_code: int) -> None:
    bus = Bus([ExitPort()])
    assert bus.exit_code is None
    bus.write(0xF4, size, value, 0)
    assert bus.exit_code == exit_code


def test_only_the_first_exit_counts() -> None:
    bus = Bus([ExitPort()])
    bus.write(0xF4, 1, 0, 0)
    bus.write(0xF4, 1, 7, 1)
    assert bus.exit_code == 1


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_exit_port_reads_zero_and_does_not_end_the_run(size: int) -> None:
    bus = Bus([ExitPort()])
    assert bus.read(0xF4, size, 0) == 0
    assert bus.exit_code is None
