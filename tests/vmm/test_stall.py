"""When a guest is taken to go round in circles."""

from ringviz.vmm.events import Event, Kind
from ringviz.vmm.mmu.telling import HIDDEN_FAULT
from ringviz.vmm.stall import MOST_EVENTS_WITHOUT_PROGRESS, Stall

FAULT = Event(0, 0x1000, "ud2", "ud2", Kind.FAULT, "#UD", "", "guest kernel", "")
HIDDEN = Event(0, 0x1000, "rep movsb", None, Kind.TRAP, HIDDEN_FAULT, "", "VMM", "")


def test_a_guest_is_stuck_only_behind_so_many_stops_in_a_row_without_an_instruction() -> None:
    stall = Stall()
    for _ in range(MOST_EVENTS_WITHOUT_PROGRESS):
        assert not stall.note([FAULT], has_completed=False)
    assert not stall.note([FAULT], has_completed=True)
    for _ in range(MOST_EVENTS_WITHOUT_PROGRESS):
        assert not stall.note([], has_completed=False)
    assert stall.note([], has_completed=False)
    stall.clear()
    assert not stall.is_stuck


def test_faults_of_the_vmms_own_are_no_sign_of_it_however_many_one_instruction_needs() -> None:
    stall = Stall()
    for _ in range(3 * MOST_EVENTS_WITHOUT_PROGRESS):
        assert not stall.note([HIDDEN], has_completed=False)
    for _ in range(MOST_EVENTS_WITHOUT_PROGRESS):
        stall.note([HIDDEN, FAULT], has_completed=False)
    assert stall.note([FAULT], has_completed=False)
