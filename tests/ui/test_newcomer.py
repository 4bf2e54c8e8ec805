"""The way of somebody who has never seen ringviz, by keys that stand on the screen: with the real engine."""

import asyncio
import re
from collections.abc import Callable

import pytest
from textual.message import Message

from ringviz.guest.scenario import Scenario
from ringviz.ui.app import RingvizApp
from ringviz.ui.laboratory import Laboratory
from tests.ui.bench import Bench
from tests.ui.fake import FakeLaboratory

WIDTH, HEIGHT = 120, 40


def real_laboratory(monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    """The engine; three techniques are compared instead of all eight, for the time it takes."""
    from ringviz.engine import compare
    from ringviz.ui.engine_laboratory import EngineLaboratory

    all_of_them = compare.compare

    def three(scenario: Scenario, _all: None, cpu: str | None, progress: Callable[..., None]) -> compare.Comparison:
        return all_of_them(scenario, ("native", "trap-emulate", "amd-v"), cpu, progress)

    monkeypatch.setattr(compare, "compare", three)
    return EngineLaboratory()


class Newcomer:
    """Presses only what is offered on the screen at that moment."""

    def __init__(self, b: Bench) -> None:
        self._b = b

    async def presses(self, key: str, shown_as: str, *, textual: str = "") -> None:
        """Press a key that the screen names, with what it is said to do."""
        text = self._b.text()
        assert re.search(rf"(?<!\w){re.escape(key)} {re.escape(shown_as)}", text), f"{key} {shown_as}: not in\n{text}"
        await self._b.press(textual or key)

    async def types(self, *keys: str) -> None:
        await self._b.press(*keys)

    async def sees(self, *words: str) -> None:
        text = self._b.text()
        for word in words:
            assert word in text, f"{word}: not in\n{text}"


async def walk(newcomer: Newcomer) -> None:
    await newcomer.sees("1 · The guest", "2 · Who runs it", "/ finds a guest by a word, such as popf")
    await newcomer.presses("/", "find", textual="slash")
    await newcomer.types(*"popf")
    await newcomer.sees("enter opens popf-hole under Bare metal")
    await newcomer.presses("tab", "or → for the other list")
    # Who runs it: trap-and-emulate is the fourth line, told about where the highlight stands.
    for _ in range(3):
        await newcomer.types("down")
    await newcomer.presses("enter", "opens popf-hole under Trap-and-emulate on real x86")
    await newcomer.sees("popf-hole", "Trap-and-emulate on real x86", "step 0")

    await newcomer.presses("d", "goes wrong")
    await newcomer.sees("pushfd", "no trap", "got 00000246", "a CPU of its own gives 00000046", "1 764")
    await newcomer.presses("b", "back")
    await newcomer.sees("step 1 763", "►0010007f pushfd          ◆ silent")

    await newcomer.presses("m", "technique")
    await newcomer.sees("The same guest, at this instruction, under", "enter choose")
    await newcomer.types("end", "enter")
    await newcomer.sees("AMD-V", "step 1 763", "►0010007f pushfd", "ring 0 of guest mode")
    # The same step is right here.
    await newcomer.presses("space", "step")
    await newcomer.sees("step 1 764", "allowed", "run by the CPU itself")
    await newcomer.presses("b", "back")

    await newcomer.presses("c", "compare")
    await newcomer.sees("Fidelity", "slowdown", "esc back")
    await newcomer.types("down")
    await newcomer.sees("≠ Fidelity fails.", "step 1 763: pushfd gave 246; bare metal gives 46", "amd-v")


async def test_the_way_from_the_home_screen_to_the_comparison_is_found_by_what_stands_on_the_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = RingvizApp(laboratory=real_laboratory(monkeypatch))
    app.animation_level = "none"
    messages: list[Message] = []
    async with app.run_test(size=(WIDTH, HEIGHT), message_hook=messages.append) as pilot:
        b = Bench(app, pilot, FakeLaboratory(), messages, patience_seconds=120)
        async with asyncio.timeout(300):
            await b.settle()
            await walk(Newcomer(b))
