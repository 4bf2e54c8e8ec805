"""Which device answers at which port, and how wide accesses are broken up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.machine.bus import Bus, State
from ringviz.machine.devices import pc_devices

PORTS = st.integers(0, 0xFFFF) | st.sampled_from([0x20, 0x21, 0xA0, 0x70, 0x71, 0xE9, 0xF4, 0xF7, 0x3F8, 0x3FD, 0x3FF])
SIZES = st.sampled_from([1, 2, 4])
VALUES = st.integers(0, 0xFFFF_FFFF)
ACCESS = st.tuples(st.booleans(), PORTS, SIZES, VALUES, st.integers(0, 3_000_000))


class Recorder:
    """A device that remembers how it was reached."""

    def __init__(self, name: str, access_bytes: int, *ports: range) -> None:
        self.name = name
        self.access_bytes = access_bytes
        self.ports = ports
        self.seen: list[tuple[int, ...]] = []

    def read(self, offset: int, size: int, now: int) -> int:
        self.seen.append((offset, size, now))
        return int.from_bytes(bytes(0x10 + offset + i for i in range(size)), "little")

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        self.seen.append((offset, size, value, now))

    def save(self) -> State:
        return (tuple(self.seen),)

    def restore(self, state: State) -> None:
        (seen,) = state
        self.seen = list(seen)


def test_a_byte_wide_device_gets_a_wide_write_as_bytes_at_ascending_ports() -> None:
    device = Recorder("narrow", 1, range(0x100, 0x108))
    Bus([device]).write(0x102, 4, 0x44332211, 9)
    assert device.seen == [(2, 1, 0x11, 9), (3, 1, 0x22, 9), (4, 1, 0x33, 9), (5, 1, 0x44, 9)]


def test_a_byte_wide_device_answers_a_wide_read_least_significant_byte_first() -> None:
    device = Recorder("narrow", 1, range(0x100, 0x108))
    assert Bus([device]).read(0x101, 2, 0) == 0x1211
    assert device.seen == [(1, 1, 0), (2, 1, 0)]


@pytest.mark.parametrize(
    ("access_bytes", "port", "size", "pieces"),
    [
        (4, 0x100, 4, [(0, 4)]),
        (4, 0x100, 2, [(0, 2)]),
        (2, 0x100, 4, [(0, 2), (2, 2)]),
        (4, 0x101, 4, [(1, 1), (2, 2), (4, 1)]),
        (2, 0x101, 2, [(1, 1), (2, 1)]),
        (4, 0x106, 4, [(6, 2)]),
        (4, 0x0FE, 4, [(0, 2)]),
    ],
)
def test_an_access_is_broken_where_width_alignment_or_range_ends(
    access_bytes: int, port: int, size: int, pieces: list[tuple[int, int]]
) -> None:
    device = Recorder("wide", access_bytes, range(0x100, 0x108))
    Bus([device]).read(port, size, 0)
    assert [(offset, piece_size) for offset, piece_size, _ in device.seen] == pieces


def test_an_access_across_two_devices_reaches_both() -> None:
    low, high = Recorder("low", 4, range(0x100, 0x102)), Recorder("high", 4, range(0x102, 0x104))
    assert Bus([low, high]).read(0x100, 4, 0) == 0x11101110
    assert (low.seen, high.seen) == ([(0, 2, 0)], [(0, 2, 0)])


def test_two_ranges_that_are_not_neighbours_are_never_one_piece() -> None:
    device = Recorder("split", 4, range(0x101, 0x102), range(0x100, 0x101))
    assert Bus([device]).read(0x100, 2, 0) == 0x1011
    assert device.seen == [(1, 1, 0), (0, 1, 0)]


def test_offsets_count_on_through_a_devices_ranges() -> None:
    device = Recorder("pair", 1, range(0x20, 0x22), range(0xA0, 0xA2))
    Bus([device]).write(0xA1, 1, 5, 0)
    assert device.seen == [(3, 1, 5, 0)]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_an_unclaimed_port_reads_all_ones_and_keeps_nothing(size: int) -> None:
    bus = Bus([Recorder("elsewhere", 1, range(0x100, 0x101))])
    before = bus.save()
    bus.write(0x300, size, 0, 0)
    assert bus.read(0x300, size, 0) == (1 << 8 * size) - 1
    assert bus.save() == before


def test_the_part_of_an_access_past_the_last_port_floats() -> None:
    bus = Bus([Recorder("last", 1, range(0xFFFF, 0x1_0000)), Recorder("first", 1, range(1))])
    assert bus.read(0xFFFF, 2, 0) == 0xFF10


def test_two_devices_at_one_port_are_refused_by_name_and_port() -> None:
    with pytest.raises(ValueError, match="port 0x103: claimed by a and by b"):
        Bus([Recorder("a", 1, range(0x100, 0x104)), Recorder("b", 1, range(0x103, 0x105))])


def test_two_devices_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two devices are named 'a'"):
        Bus([Recorder("a", 1, range(1)), Recorder("a", 1, range(5, 6))])


def test_device_at_names_who_answers() -> None:
    bus = Bus(pc_devices(1 << 24))
    names = {port: bus.device_at(port) for port in (0x20, 0xA1, 0x71, 0xE9, 0xF4, 0x3F8, 0x3FF, 0x400, 0x1FFFF)}
    assert names == {
        0x20: "pic",
        0xA1: "pic",
        0x71: "cmos",
        0xE9: "debug-console",
        0xF4: "exit",
        0x3F8: "uart",
        0x3FF: "uart",
        0x400: None,
        0x1FFFF: None,
    }


def test_console_is_each_printers_text_whole_and_loses_no_byte() -> None:
    bus = Bus(pc_devices(1 << 24))
    for port, byte in ((0xE9, ord("x")), (0x3F8, ord("H")), (0xE9, 0xE9), (0x3F8, ord("i"))):
        bus.write(port, 1, byte, 0)
    assert bus.console == "Hix\xe9"
    assert (bus.printed("uart"), bus.printed("debug-console"), bus.printed("pic"), bus.printed("?")) == (
        "Hi",
        "x\xe9",
        "",
        "",
    )


def test_a_state_of_other_devices_is_refused() -> None:
    state = Bus([Recorder("a", 1, range(1))]).save()
    with pytest.raises(ValueError, match="this bus has"):
        Bus(pc_devices(1 << 24)).restore(state)


@given(st.lists(ACCESS, max_size=40))
def test_no_access_raises_and_every_read_fits_its_size(accesses: list[tuple[bool, int, int, int, int]]) -> None:
    bus = Bus(pc_devices(1 << 24))
    for is_write, port, size, value, now in accesses:
        if is_write:
            bus.write(port, size, value, now)
        assert 0 <= bus.read(port, size, now) < 1 << 8 * size
