"""The balloon's registers: what the driver reads, what goes in, what comes out, and what is refused."""

from __future__ import annotations

import pytest

from ringviz.guest.schema import read_orders
from ringviz.machine.devices.balloon import DONE, FIRST_PORT, REFUSED, SIGNATURE, Balloon

PAGES = 256
SIGN, TARGET, COUNT, RESULT, LIST_IN, LIST_OUT = range(0, 24, 4)


class _Guest:
    """A guest's memory, and what a VMM was told."""

    def __init__(self, *orders: tuple[int, int], spared: tuple[int, ...] = ()) -> None:
        self.memory = bytearray(PAGES * 4096)
        self.told: list[str] = []
        self.spared = spared
        self.balloon = Balloon(len(self.memory), orders)
        self.balloon.connect(
            self._give_up,
            lambda page: self.told.append(f"back {page}"),
            lambda at, size: bytes(self.memory[at : at + size]),
        )

    def _give_up(self, page: int) -> bool:
        if page in self.spared:
            return False
        self.told.append(f"up {page}")
        return True

    def write(self, offset: int, value: int, size: int = 4) -> int:
        self.balloon.write(offset, size, value, 0)
        return self.balloon.read(RESULT, 4, 0)

    def list_at(self, address: int, *pages: int, count: int | None = None) -> int:
        words = (len(pages) if count is None else count, *pages)
        for number, word in enumerate(words):
            self.memory[address + 4 * number : address + 4 * number + 4] = word.to_bytes(4, "little")
        return address


def test_the_driver_finds_the_balloon_by_its_sign_and_reads_the_target_of_the_time() -> None:
    guest = _Guest((100, 8), (200, 3))
    balloon = guest.balloon
    assert balloon.ports == (range(FIRST_PORT, FIRST_PORT + 24),)
    assert balloon.read(SIGN, 4, 0) == SIGNATURE == 0x4E4C_4142
    assert bytes(balloon.read(at, 1, 0) for at in range(4)) == b"BALN"
    assert not balloon.has_driver
    assert [balloon.read(TARGET, 4, now) for now in (0, 99, 100, 199, 200, 10**9)] == [0, 0, 8, 8, 3, 3]
    assert balloon.has_driver
    balloon.ask(5)
    assert balloon.read(TARGET, 4, 0) == 5


def test_pages_go_in_and_come_out_one_by_one_or_by_a_list() -> None:
    guest = _Guest()
    assert guest.write(COUNT, 7) == DONE
    assert guest.write(LIST_IN, guest.list_at(0x2000, 9, 200, 255)) == DONE
    assert guest.balloon.read(COUNT, 4, 0) == 4
    assert guest.write(RESULT, 200) == DONE
    assert guest.write(LIST_OUT, guest.list_at(0x2000, 255, 7)) == DONE
    assert guest.balloon.pages == {9}
    assert guest.told == ["up 7", "up 9", "up 200", "up 255", "back 200", "back 255", "back 7"]


@pytest.mark.parametrize("offset", [COUNT, LIST_IN])
def test_what_is_not_the_guests_is_in_already_or_cannot_be_spared_is_refused(offset: int) -> None:
    guest = _Guest(spared=(33,))
    assert guest.write(COUNT, 7) == DONE
    for page in (7, PAGES, 0xFFFF_FFFF, 33):
        assert guest.write(offset, page if offset == COUNT else guest.list_at(0, page)) == REFUSED
    assert guest.write(RESULT, 8) == REFUSED
    assert guest.balloon.pages == {7}


def test_what_stands_behind_a_refused_page_in_a_list_stays_as_it_is() -> None:
    guest = _Guest()
    assert guest.write(LIST_IN, guest.list_at(0, 1, 2, 1, 3)) == REFUSED
    assert guest.balloon.pages == {1, 2}


def test_a_list_beyond_memory_or_too_long_is_refused_and_half_a_register_is_nothing() -> None:
    guest = _Guest()
    end = len(guest.memory)
    for address in (end, end - 3, 0xFFFF_FFFF, guest.list_at(end - 8, 1, count=2), guest.list_at(0, count=1024)):
        assert guest.write(LIST_IN, address) == REFUSED
    assert guest.write(LIST_IN, guest.list_at(0)) == DONE
    guest.write(COUNT, 5, size=2)
    assert not guest.balloon.pages


def test_what_is_saved_comes_back() -> None:
    guest, other = _Guest(), _Guest()
    guest.write(COUNT, 7)
    guest.balloon.read(TARGET, 4, 0)
    guest.balloon.ask(9)
    other.balloon.restore(guest.balloon.save())
    assert other.balloon.save() == guest.balloon.save() == (9, (7,), DONE, True)
    assert not other.told, "the memory is restored by whoever has it"


def test_orders_are_times_and_pages_and_nothing_else() -> None:
    assert read_orders("") == ()
    assert read_orders("20000: 64, 90000:0") == ((20_000, 64), (90_000, 0))
    for wrong in ("64", "1:2:3", "5: 1, 5: 2", "9: 1, 5: 2", "-1: 3", "1: -3", "a: 1", "1: 2,"):
        with pytest.raises(ValueError):  # noqa: PT011 - whoever asks says what was expected
            read_orders(wrong)
