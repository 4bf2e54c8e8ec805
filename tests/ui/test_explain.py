"""Understanding on demand."""

import pytest

from ringviz.facts.glossary import GLOSSARY
from ringviz.facts.registers import Eflags
from ringviz.ui.screens.explain import ExplainScreen
from ringviz.ui.subjects import all_subjects, found, paragraph, subjects_of
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.twice import TwicePanel
from tests.ui.bench import SIZES, bench
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
