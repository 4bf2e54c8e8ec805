"""Memory as rows, and what the last step did to it."""

import pytest

from ringviz.engine.looks import Looks, WalkLook
from ringviz.engine.memory_look import MemoryLook, MemoryMode
from ringviz.engine.memory_view import MemoryView
from ringviz.engine.places import resolve_look
from ringviz.engine.session import Session
from ringviz.errors import InputError
from ringviz.guest.scenario import find_scenario

SAME_CODE = ("native", "emulation", "classic", "trap-emulate", "binary-translation", "vt-x", "amd-v")


def looked(session: Session, mode: MemoryMode = MemoryMode.HEX, follow: str = "access", base: int = 0) -> MemoryView:
    view = session.snapshot(looks=Looks(memory=MemoryLook(mode, follow, base))).memory
    assert view is not None
    return view


def accesses(session: Session, steps: int) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for _ in range(steps):
        found.append(tuple((t.linear, t.size_bytes, t.is_write, t.old, t.new) for t in looked(session).touches))
        session.step()
    return found


@pytest.mark.parametrize("technique", SAME_CODE)
def test_the_same_code_accesses_the_same_memory_under_every_technique(technique: str) -> None:
    session = Session(find_scenario("rings-tour"), technique)
    session.seek(700)
    found = accesses(session, 13)
    assert found[0] == ((0x106FBC, 4, True, 0, 0),)  # push edx
    assert found[6] == ((0x106FB8, 4, False, None, 0x2BAD0020),)  # pop eax
    assert found[12] == ((0x102047, 1, False, None, 0x20),)  # lodsb


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "binary-translation", "vt-x"])
def test_looking_on_changes_nothing_of_the_run(technique: str) -> None:
    plain, watched = (Session(find_scenario("popf-hole"), technique) for _ in range(2))
    for _ in range(120):
        plain.step()
        watched.step()
        looked(watched)
    assert watched.position == plain.position
    for a, b in ((plain, watched), (watched, plain)):
        assert a.snapshot().registers == b.snapshot().registers
        assert list(a.snapshot().events) == list(b.snapshot().events)
    machines = [session._recording.technique.machine for session in (plain, watched)]
    assert machines[0].ram.read(0, machines[0].ram.size) == machines[1].ram.read(0, machines[1].ram.size)


def test_every_byte_that_a_step_changes_is_marked_as_written() -> None:
    session = Session(find_scenario("rings-tour"), "native")
    session.seek(640)
    looked(session)
    ram = session._recording.technique.machine.ram
    for _ in range(60):
        before = ram.read(0, ram.size)
        session.step()
        marked = {
            touch.gpa + offset
            for touch in looked(session).touches
            if touch.is_write
            for offset in range(touch.size_bytes)
        }
        after = ram.read(0, ram.size)
        assert {at for at in range(0x100000, 0x110000) if before[at] != after[at]} <= marked


def test_the_frame_that_an_exception_pushes_is_written_on_the_instructions_behalf() -> None:
    session = Session(find_scenario("rings-tour"), "native")
    session.seek(0)
    while session.next_event():
        if session.snapshot().card.kind.value == "fault":
            break
    stack = looked(session, MemoryMode.STACK)
    pushed = [touch for touch in stack.touches if touch.is_write and not touch.is_by_code and touch.size_bytes == 4]
    # SS, ESP, EFLAGS, CS, EIP and the error code, for the fault comes from ring 3.
    assert len({touch.linear for touch in pushed}) >= 6
    assert any(row.is_written for row in stack.rows)


def test_descriptor_tables_show_the_real_one_beside_the_guests_where_the_vmm_has_its_own() -> None:
    session = Session(find_scenario("rings-tour"), "trap-emulate")
    session.seek(700)
    code = next(row for row in looked(session, MemoryMode.GDT).rows if row.place.startswith("0008"))
    assert code.value.startswith("ring 0 code")
    assert code.beside.startswith("ring 1 code")
    gate = looked(session, MemoryMode.IDT).rows[0x0D]
    assert gate.value.endswith("0008:00100078")
    assert gate.note == "general_protection"
    assert ":FFC0" in gate.beside
    native = Session(find_scenario("rings-tour"), "native")
    native.seek(700)
    assert not any(row.beside for row in looked(native, MemoryMode.GDT).rows)


def test_page_tables_are_stretches_that_agree_with_the_walk_of_each_end() -> None:
    session = Session(find_scenario("teachos"), "trap-emulate")
    session.seek(200_000)
    rows = looked(session, MemoryMode.PAGES).rows
    assert [row.value[:5] for row in rows if row.is_heading] == ["the g", "the s"]
    own = rows[1 : next(i for i, row in enumerate(rows) if row.is_heading and i)]
    assert own
    for row in own[:6]:
        first, last = (int(part, 16) for part in row.place.split("-"))
        start = int(row.value.split()[1], 16)
        for linear in (first, last):
            walks = session.walk(linear).walks
            guest = next(walk for walk in walks if walk.tables == "guest")
            assert guest.gpa == start + linear - first


def test_a_register_is_followed_and_an_address_stays() -> None:
    session = Session(find_scenario("rings-tour"), "vt-x")
    session.seek(700)
    assert resolve_look(session, "ESP") == ("esp", 0)
    assert resolve_look(session, "0x102047") == ("", 0x102047)
    with pytest.raises(InputError, match="no register"):
        resolve_look(session, "nonsense")
    assert looked(session, follow="esp").look.base == 0x106FBC
    assert looked(session, follow="", base=0x102047).look.base == 0x102047
    walk = session.snapshot(looks=Looks(walk=WalkLook())).walk
    assert walk is not None
    assert (walk.linear, walk.access.is_write) == (0x106FBC, True)
