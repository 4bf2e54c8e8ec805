"""While an interrupt waits, the CPU stops before what may let it in, and goes on where nothing comes of it."""

from __future__ import annotations

import pytest

from ringviz.machine.machine import Machine
from ringviz.machine.state import ECX, SS
from ringviz.machine.stops import BudgetSpent, Stop
from tests.machine.guests import data_selector, make_machine

_PIC_READY = ((0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, 0x01), (0x21, 0x00))
_TICK_EVERY_100 = ((0x43, 0x34), (0x40, 100), (0x40, 0))
_MOST_TRIES = 1000


def test_a_load_of_ss_that_is_begun_anew_for_its_flags_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    # mov ecx, 10h; mov ss, ecx; inc ecx: the load stands in the middle of a block, where the emulator begins anew
    code = b"\x90" * 200 + bytes.fromhex("b910000000 8ed1 41")
    machine = make_machine(code)
    for port, value in (*_PIC_READY, *_TICK_EVERY_100):
        machine.bus.write(port, 1, value, 0)
    tries = 0
    once = Machine._run

    def counted(self: Machine, limit: int, *, skip: bool) -> Stop:
        nonlocal tries
        tries += 1
        assert tries < _MOST_TRIES, "the CPU stands still"
        return once(self, limit, skip=skip)

    monkeypatch.setattr(Machine, "_run", counted)
    assert machine.run(203) == BudgetSpent()
    assert machine.bus.is_requesting
    assert (machine.state.gpr[ECX], machine.state.segments[SS].selector) == (0x11, data_selector(0))
