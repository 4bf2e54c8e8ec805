"""Understanding on demand."""

import pytest
from textual.geometry import Offset
from textual.widgets import Static

from ringviz.engine.session import Session
from ringviz.facts.explanations import EXPLANATIONS
from ringviz.facts.glossary import GLOSSARY
from ringviz.facts.registers import Eflags
from ringviz.facts.residents import RESIDENTS
from ringviz.guest.scenario import find_scenario
from ringviz.ui.glyphs import KIND_LOOKS, grouped
from ringviz.ui.memory_subjects import walk_subject
from ringviz.ui.screens.explain import ExplainScreen
from ringviz.ui.subjects import all_subjects, found, paragraph, subjects_of
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.discs import lay_out
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.memory import MemoryPanel
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.side import SidePanel
from ringviz.ui.widgets.timeline import TimelinePanel
from ringviz.ui.widgets.twice import TwicePanel
from tests.ui.bench import SIZES, Bench, bench
from tests.ui.fake import make_snapshot
from tests.ui.grid import assert_as_on_file


@pytest.mark.parametrize("size", SIZES)
async def test_it_begins_with_the_focused_panel_and_what_is_in_it(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        b.app.screen.query_one(TwicePanel).focus()
        await b.press("?")
        assert isinstance(b.app.screen, ExplainScreen)
        assert "The CPU, twice" in b.text()
        await b.press("down", "down", "down", "down")
        assert "IF, the interrupt flag" in b.text()
        assert "really it is" in " ".join(b.text().split())


@pytest.mark.parametrize("size", SIZES)
async def test_typing_searches_everything_that_has_a_name(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await b.press("?", *"vmcb")
        text = " ".join(b.text().split())
        assert "Virtual machine control block" in text
        assert "Lesson: exits" in text
        await b.press(*"xyz")
        assert "Nothing here has that name." in b.text()
        await b.press("escape")
        assert not isinstance(b.app.screen, ExplainScreen)


async def test_why_the_next_instruction_traps_is_derived_step_by_step() -> None:
    async with bench() as b:
        await b.press("i")
        text = b.text()
        for part in ("Why? cli", "1. What is CLI? Keep [interrupts] out", "CPL 1 > IOPL 0 → #GP(0)", "The VMM."):
            assert part in text, part


@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_is_the_one_on_file(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await b.press("i")
        assert_as_on_file(b, "explain", size)


async def test_the_keys_and_signs_are_one_of_the_subjects() -> None:
    async with bench() as b:
        await b.press("?", *"keys and signs")
        assert "Execute one guest instruction." in b.text()


async def test_home_has_the_words_alone() -> None:
    async with bench(scenario=None) as b:
        await b.press("w", *"ring compression")
        assert "Ring compression" in b.text()
        assert "Why" not in b.text()


def test_every_word_register_flag_and_ring_is_found_by_its_name() -> None:
    subjects = all_subjects()
    for name in (*(term.term for term in GLOSSARY.values()), "IF", "IOPL", "CR3", "Ring 1", "POPF", "#GP", "hypercall"):
        assert name.lower() in found(subjects, name)[0].title.lower(), name
    assert len({subject.title for subject in subjects}) > 150
    assert Eflags.IF


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "vt-x", "amd-v", "emulation"])
def test_what_is_in_a_panel_is_told_with_what_it_is_now(technique: str) -> None:
    moment = make_snapshot(technique, 42)
    for panel, least in ((TwicePanel(), len(moment.registers)), (RingsPanel(), len(moment.rings.seats))):
        subjects = subjects_of(panel, moment)[1:]
        assert len(subjects) == least
        for subject in subjects:
            assert subject.now, subject.title
            assert subject.text, subject.title
            assert subject.source, subject.title
            assert subject.title in paragraph(subject).plain
    assert subjects_of(OverheadPanel(), moment)[1].title == "Cycles, modelled"
    assert subjects_of(None, moment) == ()


async def said(b: Bench) -> str:
    """Open the explanation and give its paragraph; close it again."""
    await b.press("question_mark")
    text = str(b.app.screen.query_one("#said", Static).render())
    await b.press("escape")
    return " ".join(text.split())


async def test_a_register_that_is_pointed_at_is_explained_first_and_stays_pointed_at() -> None:
    async with bench() as b:
        panel = b.app.screen.query_one(TwicePanel)
        panel.focus()
        assert (await said(b)).startswith("The CPU, twice")
        await b.press("down", "down")
        assert panel.pointed == "IF"
        assert "really it is 1." in await said(b)
        assert (await said(b)).startswith("IF, the interrupt flag")
        await b.press("space", "n")
        assert panel.pointed == "IF"
        await b.press("up", "up")
        assert panel.pointed is None
        assert (await said(b)).startswith("The CPU, twice")


async def test_an_instruction_that_is_pointed_at_is_told_in_its_place() -> None:
    async with bench() as b:
        panel = b.app.screen.query_one(CodePanel)
        await b.press("down")
        assert panel.pointed == 0x100046
        text = await said(b)
        assert "Next: cli (90). Will fault into the VMM. CLI faults when CPL is above IOPL." in text
        await b.press("down")
        text = await said(b)
        assert text.startswith("mov eax, [ebx]")
        assert "Runs directly; nobody notices." in text
        assert GLOSSARY["innocuous"].text in text


async def test_lists_with_a_cursor_of_their_own_explain_what_it_stands_on() -> None:
    async with bench(technique="vt-x") as b:
        b.laboratory.session.seek(42)
        await b.settle()
        events = b.app.screen.query_one(EventsPanel)
        events.focus()
        await b.press("up")
        assert (await said(b)).startswith(f"{KIND_LOOKS[b.shown.snapshot.events[8].kind].glyph} ")
        assert "Step 35" in await said(b)
        await b.press("v", "down", "down")
        side = b.app.screen.query_one(SidePanel)
        assert side.looked_at is not None
        assert (await said(b)).startswith(side.looked_at[1])
        b.app.screen.query_one(TimelinePanel).focus()
        text = await said(b)
        assert text.startswith("Step 42")
        assert "10 events up to here" in text
        assert "The last event:" in text


async def test_a_row_of_memory_and_a_click_are_pointed_at_too() -> None:
    async with bench() as b:
        await b.press("x", "shift+down")
        memory = b.app.screen.query_one(MemoryPanel)
        assert isinstance(memory.pointed, int)
        text = await said(b)
        assert text.startswith(f"{memory.pointed:08X}h")
        assert "As 32-bit numbers" in text
        await b.press("right", "shift+down")
        assert (await said(b)).startswith("stack: ")
        code = b.app.screen.query_one(CodePanel)
        await b.pilot.click(code, offset=(5, 3))
        assert isinstance(code.pointed, int)


@pytest.mark.parametrize("size", SIZES)
async def test_the_rings_and_the_lines_beneath_them_are_pointed_at_and_explained(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        b.laboratory.session.seek(12)
        await b.settle()
        rings = b.app.screen.query_one(RingsPanel)
        rings.focus()
        told = []
        for _ in rings.pointable():
            await b.press("down")
            told.append(await said(b))
        assert [text[:6] for text in told[:4]] == ["Ring 3", "Ring 2", "Ring 1", "Ring 0"]
        assert any(text.startswith("The last crossing") for text in told)
        await b.press("down")
        assert rings.pointed is None
        await b.press("down", "down", "down")
        assert "[► 1 guest OS]" in b.text()
        text = await said(b)
        assert "Who lives here: guest OS." in text
        assert GLOSSARY["ring-compression"].term in text


async def test_a_click_on_a_disc_points_at_its_ring() -> None:
    async with bench(size=(120, 40)) as b:
        rings = b.app.screen.query_one(RingsPanel)
        for ring in (seat.ring for seat in b.shown.snapshot.rings.seats):
            discs = lay_out(b.shown.snapshot.rings.seats, rings.content_size.width, rings._picture_height)
            x, y = discs.column_right_of_centre(ring), int(discs.centre_y) // 2
            await b.pilot.click(offset=rings.content_region.offset + Offset(x, y))
            assert rings.pointed == ring


async def test_each_line_of_the_bill_is_pointed_at_and_explained() -> None:
    async with bench(size=(120, 40)) as b:
        b.laboratory.session.seek(40)
        await b.settle()
        panel = b.app.screen.query_one(OverheadPanel)
        panel.focus()
        assert (await said(b)).startswith("Overhead so far")
        await b.press("down")
        text = await said(b)
        assert text.startswith("Cycles, modelled")
        ledger = b.shown.snapshot.ledger
        assert f"{grouped(ledger.total_cycles)} cycles for" in text
        await b.press("down")
        assert f"{grouped(ledger.rows[0].cycles)} cycles together" in await said(b)
        await b.press("up", "up", "up")
        assert (await said(b)).startswith("Overhead over steps")


def test_every_resident_of_a_ring_is_explained() -> None:
    for picture in RESIDENTS.values():
        for resident in picture.rings.values():
            assert f"resident {resident}" in EXPLANATIONS


def test_every_read_of_a_walk_says_whose_entry_it_is_and_what_its_bits_mean() -> None:
    session = Session(find_scenario("paging-tour"), "amd-v")
    while not session.cpu_state(is_real=False).is_paged:
        assert session.next_event()
    walk = session.walk(session.cpu_state(is_real=False).eip)
    reads = [(number, row.number) for number, walked in enumerate(walk.walks) for row in walked.reads]
    assert len(reads) > 10
    for key in reads:
        subject = walk_subject(walk, key)
        assert subject is not None
        assert "It leads to" in subject.text
        assert subject.source
    assert walk_subject(walk, (7, 1)) is None
    assert walk_subject(walk, None) is None
