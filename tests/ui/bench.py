"""Driving the app in tests: start it on a fake world, wait for the engine thread, read the screen as text."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

from ringviz.ui.app import RingvizApp
from ringviz.ui.breakpoints import Breakpoints
from ringviz.ui.laboratory import Editing
from ringviz.ui.requests import OpenLesson, Refresh, Settled, Shown
from tests.ui.fake import FakeLaboratory

SIZES = ((80, 24), (120, 40), (200, 60))


@dataclass
class Bench:
    app: RingvizApp
    pilot: Pilot[None]
    laboratory: FakeLaboratory
    messages: list[Message] = field(default_factory=list)
    patience_seconds: float = 10

    @property
    def calls(self) -> list[str]:
        return self.laboratory.session.calls

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def settle(self) -> None:
        """Until the engine thread has done all it was asked, and the screen shows it."""
        seen = len(self.of(Settled))
        self.app.engine.submit(Refresh())
        await self.until(lambda: len(self.of(Settled)) > seen)
        await self.pilot.pause()

    async def until(self, condition: "object") -> None:
        assert callable(condition)
        async with asyncio.timeout(self.patience_seconds):
            while not condition():
                await asyncio.sleep(0.002)

    def of(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def shown(self) -> Shown:
        shown = [message for message in self.messages if isinstance(message, Shown)]
        return shown[-1]

    def grid(self) -> list[str]:
        return ["".join(segment.text for segment in strip) for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        return "\n".join(self.grid())


@asynccontextmanager
async def bench(
    laboratory: FakeLaboratory | None = None,
    size: tuple[int, int] = (120, 40),
    scenario: str | None = "popf-hole",
    technique: str = "trap-emulate",
    lesson: OpenLesson | None = None,
    editing: Editing | None = None,
    breakpoints: Breakpoints | None = None,
) -> AsyncIterator[Bench]:
    world = laboratory or FakeLaboratory()
    app = RingvizApp(scenario, technique, laboratory=world, lesson=lesson, editing=editing, breakpoints=breakpoints)
    app.animation_level = "none"
    messages: list[Message] = []
    async with app.run_test(size=size, message_hook=messages.append) as pilot:
        running = Bench(app, pilot, world, messages)
        await running.settle()
        yield running


def content_lines(widget: Widget) -> list[str]:
    """The widget's content region as text, one string a row."""
    region = widget.content_region
    strips = widget.screen._compositor.render_strips()
    rows = ["".join(segment.text for segment in strip) for strip in strips]
    return [row[region.x : region.right] for row in rows[region.y : region.bottom]]
