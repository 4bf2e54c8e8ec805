"""The rings and the registers, for techniques whose picture is a special one."""

from dataclasses import replace

import pytest

from ringviz.engine.register_rows import build_registers
from ringviz.engine.rings import build_rings
from ringviz.engine.snapshots import Moment
from ringviz.engine.view import RegisterRow
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.image import load_image
from ringviz.guest.scenario import find_scenario
from ringviz.machine.state import CpuState, TableRegister
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.technique import initial_state


@pytest.fixture
def power_on() -> CpuState:
    return initial_state(load_image(find_scenario("rings-tour")))


def in_ring(state: CpuState, ring: int) -> CpuState:
    moved = state.copy()
    moved.cpl = ring
    return moved


def rows(technique: str, guest: CpuState, real: CpuState) -> dict[str, RegisterRow]:
    made = build_registers(TECHNIQUES[technique], Moment(guest, real, None), None)
    return {row.name: row for row in made}


GATE = Event(7, 0x100000, "int 0x80", "int", Kind.GATE, "INT 80h", "", "the CPU", "", from_ring=3, to_ring=0)


def test_an_emulated_guest_has_no_ring_of_the_cpu(power_on: CpuState) -> None:
    view = build_rings(TECHNIQUES["emulation"], power_on, power_on, [replace(GATE, from_ring=3, to_ring=3)])
    assert (view.real, view.believed, view.is_data) == (3, 0, True)
    assert view.crossing is None, "the CPU stays in ring 3"
    assert {seat.ring: seat.resident for seat in view.seats if seat.resident} == {0: "host OS", 3: "emulator"}


@pytest.mark.parametrize(
    ("technique", "residents"),
    [
        ("native", {0: "guest OS", 3: "applications"}),
        ("classic", {0: "VMM", 1: "guest OS", 3: "applications"}),
        ("binary-translation", {0: "VMM", 1: "translated OS", 3: "applications"}),
        ("paravirt", {0: "VMM", 1: "ported OS", 3: "applications"}),
        ("vt-x", {-1: "VMM", 0: "guest OS", 3: "applications"}),
    ],
)
def test_who_sits_where(technique: str, residents: dict[int, str], power_on: CpuState) -> None:
    view = build_rings(TECHNIQUES[technique], power_on, power_on, [])
    assert {seat.ring: seat.resident for seat in view.seats if seat.resident} == residents
    assert [seat.ring for seat in view.seats] == sorted({0, 1, 2, 3, *residents})
    assert not view.is_data
    assert view.lesson


def test_each_vendor_has_its_own_words_for_the_two_modes(power_on: CpuState) -> None:
    words = {}
    for technique in ("vt-x", "amd-v"):
        view = build_rings(TECHNIQUES[technique], power_on, power_on, [])
        mode = rows(technique, power_on, power_on)["mode"]
        assert mode.real == view.real_mode
        words[technique] = (view.real_mode, view.vmm_mode)
    assert words == {"vt-x": ("VMX non-root", "VMX root"), "amd-v": ("guest mode", "host mode")}


def test_the_registers_of_an_emulated_guest_are_in_memory_and_the_cpu_is_in_ring_3(power_on: CpuState) -> None:
    table = rows("emulation", power_on, power_on)
    assert (table["ring"].guest, table["ring"].real, table["ring"].differs) == ("0", "3", True)
    assert {row.real for name, row in table.items() if name not in ("mode", "ring")} == {"in memory"}
    assert [name for name, row in table.items() if row.differs] == ["mode", "ring"]
    user = in_ring(power_on, 3)
    assert not rows("emulation", user, user)["ring"].differs


def test_only_where_a_promise_is_broken_can_the_guest_see_the_difference(power_on: CpuState) -> None:
    real = in_ring(power_on, 1)
    real.idtr = TableRegister(0xFFC0_4000, 0x7FF)
    assert "SIDT shows it" in rows("trap-emulate", power_on, real)["IDTR"].note
    for technique in ("classic", "binary-translation"):
        note = rows(technique, power_on, real)["IDTR"].note
        assert note
        assert "SIDT" not in note


def test_a_real_eip_elsewhere_is_the_translation(power_on: CpuState) -> None:
    real = in_ring(power_on, 1)
    real.eip = 0xFFD0_0010
    row = rows("binary-translation", power_on, real)["EIP"]
    assert row.differs
    assert "code cache" in row.note
