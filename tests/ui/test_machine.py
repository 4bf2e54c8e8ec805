"""The playground: another CPU, other paging, other controls, the same guest at the same instruction."""

import pytest
from textual.widgets import OptionList

from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.machine import MachineDialog
from tests.ui.bench import SIZES, Bench, bench


async def stand_on(b: Bench, option: str) -> None:
    options = b.app.screen.query_one(OptionList)
    options.highlighted = options.get_option_index(option)
    await b.pilot.pause()


@pytest.mark.parametrize("size", SIZES)
async def test_it_lists_cpus_paging_and_controls_as_they_are(size: tuple[int, int]) -> None:
    async with bench(size=size, technique="vt-x") as b:
        await b.press("s")
        text = b.text()
        for part in (
            "The machine under this guest · Intel VT-x",
            "● Intel Core i7 (Nehalem) (2008)",
            "× AMD Opteron (Barcelona) (2007)",
            "● nested",
            "○ shadow",
            "■ on  hlt-exiting",
            "□ off rdtsc-exiting",
            "□ off invlpg-exiting  fixed",
        ):
            assert part in text, part


async def test_space_turns_a_control_over_and_enter_rebuilds_the_guest_where_it_stands() -> None:
    async with bench(technique="vt-x") as b:
        b.laboratory.session.seek(33)
        await b.press("s")
        await stand_on(b, "control rdtsc-exiting")
        await b.press("space")
        assert "■ on  rdtsc-exiting  changed from off" in b.text()
        await stand_on(b, "mmu shadow")
        await b.press("space")
        assert "● shadow" in b.text()
        await b.press("enter")
        assert isinstance(b.app.screen, ExploreScreen)
        assert b.calls[-1] == "swap vt-x on nehalem with shadow +rdtsc-exiting"
        assert b.shown.snapshot.position == 33


async def test_a_control_turned_over_twice_is_as_it_was_and_nothing_is_rebuilt() -> None:
    async with bench(technique="vt-x") as b:
        await b.press("s")
        await stand_on(b, "control hlt-exiting")
        await b.press("space", "space", "enter")
        assert not [call for call in b.calls if call.startswith("swap")]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("option", "rule", "unchanged"),
    [
        ("control invlpg-exiting", "invlpg-exiting: EPT makes [it] pointless", "□ off invlpg-exiting"),
        ("cpu p4-672", "--mmu nested needs nested paging; p4-672 has none", "● Intel Core i7 (Nehalem)"),
        ("cpu barcelona", "vt-x needs a CPU with it; barcelona has none", "● Intel Core i7 (Nehalem)"),
    ],
)
async def test_what_a_rule_forbids_is_refused_by_its_rule_and_changes_nothing(
    size: tuple[int, int], option: str, rule: str, unchanged: str
) -> None:
    async with bench(size=size, technique="vt-x") as b:
        await b.press("s")
        await stand_on(b, option)
        await b.press("space")
        assert f"× {rule}" in b.text()
        assert unchanged in b.text()
        await b.press("enter")
        assert not [call for call in b.calls if call.startswith("swap")]


async def test_a_rule_between_two_controls_is_told_too() -> None:
    async with bench(technique="vt-x") as b:
        await b.press("s")
        await stand_on(b, "control hlt-exiting")
        await b.press("space")
        await stand_on(b, "control rdtsc-exiting")
        await b.press("space")
        assert "× rdtsc-exiting needs hlt-exiting: a made-up rule" in b.text()
        assert "□ off rdtsc-exiting" in b.text()
        assert "□ off hlt-exiting  changed from on" in b.text()


async def test_a_guest_can_be_put_on_another_cpu_once_its_paging_allows() -> None:
    async with bench(technique="vt-x") as b:
        await b.press("s")
        await stand_on(b, "mmu shadow")
        await b.press("space")
        await stand_on(b, "cpu p4-672")
        await b.press("space")
        assert "● Intel Pentium 4 672" in b.text()
        await b.press("enter")
        assert b.calls[-1] == "swap vt-x on p4-672 with shadow"


@pytest.mark.parametrize("key", ["escape", "s"])
async def test_leaving_changes_nothing(key: str) -> None:
    async with bench(technique="vt-x") as b:
        await b.press("s")
        assert isinstance(b.app.screen, MachineDialog)
        await stand_on(b, "control hlt-exiting")
        await b.press("space", key)
        assert isinstance(b.app.screen, ExploreScreen)
        assert not [call for call in b.calls if call.startswith("swap")]


async def test_a_technique_without_controls_still_has_cpus() -> None:
    async with bench(technique="native") as b:
        await b.press("s")
        assert "● Intel Pentium 4 672" in b.text()
        await stand_on(b, "cpu nehalem")
        await b.press("space", "enter")
        assert b.calls[-1] == "swap native on nehalem with none"


async def test_the_cpu_chosen_comes_along_to_the_next_technique_if_it_goes_with_it() -> None:
    async with bench(technique="vt-x") as b:
        await b.press("s")
        await stand_on(b, "mmu shadow")
        await b.press("space")
        await stand_on(b, "cpu p4-672")
        await b.press("space", "enter")
        await b.press("[")
        assert b.calls[-1] == "swap paravirt on p4-672"
        b.laboratory.session.technique = "vt-x"
        await b.press("b", "M")
        assert b.calls[-1] == "swap amd-v"
