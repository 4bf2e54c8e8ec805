"""Interruptions by name: a vector's number alone does not say what it is."""

import pytest

from ringviz.machine.bus import Bus
from ringviz.machine.delivery import Interruption
from ringviz.machine.devices.pic import PicPair
from ringviz.machine.devices.pit import Pit
from ringviz.vmm.describe import interrupt_request, interruption_name


@pytest.fixture
def bus() -> Bus:
    """Interrupt controllers as a BIOS leaves them, at vectors 08h and 70h, with the timer's request let through."""
    bus = Bus([PicPair(), Pit()])
    bus.write(0x21, 1, 0xFE, 0)
    return bus


def test_a_vector_that_an_exception_has_too_is_named_for_what_it_is(bus: Bus) -> None:
    assert interruption_name(Interruption(0x10), bus) == "#MF"
    assert interruption_name(Interruption(0x10, is_software=True), bus) == "INT 10h"
    assert interruption_name(Interruption(3, is_software=True), bus) == "#BP"
    assert interruption_name(Interruption(8, 0), bus) == "#DF"
    assert interruption_name(Interruption(8, is_external=True), bus) == "interrupt 08h"


def test_an_interrupt_in_service_has_its_devices_name(bus: Bus) -> None:
    pic = bus.find(PicPair)
    assert pic is not None
    pic.set_line(0, True)
    vector = bus.acknowledge()
    assert vector == 8
    assert interrupt_request(vector, bus) == "interrupt 08h (timer)"
    assert interrupt_request(0x70, bus) == "interrupt 70h"
    bus.write(0x20, 1, 0x20, 0)
    assert interrupt_request(vector, bus) == "interrupt 08h"
