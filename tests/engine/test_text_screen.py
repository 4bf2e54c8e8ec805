"""The text screen as views and stat give it."""

from pathlib import Path

import pytest

from ringviz.engine.session import Session
from ringviz.engine.stat import stat, stat_json
from ringviz.guest.scenario import find_scenario
from tests.machine.guests import NASM
from tests.vmm.test_bios import boot_sector

WRITES = """
        mov ax, 0xB800
        mov es, ax
        mov word [es:2 * 80 * 3 + 8], 0x1F00 + 'A'
        mov al, 0
        out 0xF4, al
"""


@pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")
@pytest.mark.parametrize("technique", ["native", "trap-emulate", "vt-x"])
def test_what_the_guest_writes_to_text_memory_is_on_the_screen_from_that_instruction_on(
    tmp_path: Path, technique: str
) -> None:
    session = Session(boot_sector(tmp_path, WRITES), technique)
    session.seek(2)
    assert session.snapshot().screen is None
    session.step()
    screen = session.snapshot().screen
    assert screen is not None
    assert screen.written == ("", "", "", "    A")
    assert (len(screen.rows), {len(row) for row in screen.rows}) == (25, {80})
    session.back()
    assert session.snapshot().screen is None


@pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")
def test_stat_gives_the_rows_of_the_screen_or_null(tmp_path: Path) -> None:
    assert stat_json(stat(boot_sector(tmp_path, WRITES), "native"))["screen"] == ["", "", "", "    A"]
    assert stat_json(stat(find_scenario("hello-serial"), "native"))["screen"] is None


@pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")
def test_real_mode_under_ring_compression_is_shown_as_virtual_8086_mode_in_ring_3(tmp_path: Path) -> None:
    session = Session(boot_sector(tmp_path, f"cli\n{WRITES}"), "trap-emulate")
    session.step()
    snapshot = session.snapshot()
    seats = {seat.ring: seat.resident for seat in snapshot.rings.seats}
    assert (seats[0], seats[1], seats[3]) == ("VMM", "", "guest OS")
    assert (snapshot.rings.real, snapshot.rings.real_mode) == (3, "virtual-8086 mode")
    mode = snapshot.registers[0]
    assert (mode.name, mode.guest, mode.real, mode.differs) == ("mode", "real mode", "virtual-8086", True)
    assert "virtual-8086 mode" in snapshot.card.why
    assert "ring 1" not in snapshot.card.why
