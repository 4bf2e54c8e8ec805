import pytest

from ringviz.engine.conditions import OnEvent, OnKind, OnNth, StopCondition
from ringviz.engine.session import Session
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.events import Kind


@pytest.mark.parametrize(
    ("stop", "instruction", "at"),
    [
        (OnKind(Kind.FAULT), "vmcall", 635),
        (OnNth(Kind.FAULT, count=2), "vmmcall", 1550),
        (OnNth(None, "vmmcall"), "vmmcall", 1550),
        (OnNth(Kind.GATE, "int", 64), "int 0x82", 4887),
        (OnEvent(), "out 0x21, al", 11),
    ],
)
def test_a_run_to_an_event_stands_behind_it_also_where_no_instruction_completed(
    stop: StopCondition, instruction: str, at: int
) -> None:
    session = Session(find_scenario("hypercall-ping"))
    assert session.run_to(stop)
    event = session.events[session.event_count() - 1]
    assert (event.instruction, event.at) == (instruction, at)
    assert session.position == at + 1
    assert session.events[session.event_count() - 1].kind is not Kind.END


def test_there_is_no_fifth_of_four() -> None:
    session = Session(find_scenario("hypercall-ping"))
    assert not session.run_to(OnNth(Kind.FAULT, count=3))
    assert session.is_over
