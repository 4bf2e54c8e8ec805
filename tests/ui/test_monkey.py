"""A monkey at the keyboard: random keys, clicks and sizes raise nothing, and the app still answers at the end.

The seed is in the test's name; the same seed does the same again.
"""

import asyncio
import random
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from textual import events
from textual.binding import Binding
from textual.errors import NoWidget
from textual.message import Message
from textual.pilot import Pilot

from ringviz.ui.app import RingvizApp
from ringviz.ui.commands import EDIT, EXPLORE, GROUP, HOME, LECTURE, LESSON, LESSONS, VENDORS
from ringviz.ui.host_thread import HostSaid
from ringviz.ui.laboratory import Editing, Laboratory
from ringviz.ui.requests import Failed, Refresh, Settled
from ringviz.ui.screens.home import HomeScreen
from ringviz.ui.screens.machine_room import MachineRoomScreen
from tests.ui.fake import FakeLaboratory
from tests.ui.fake_editing import FakeEditing

SIZES = ((60, 18), (80, 24), (97, 31), (120, 40), (132, 43), (200, 60), (70, 60), (250, 20))
ROWS = (EDIT, EXPLORE, GROUP, HOME, LECTURE, LESSON, LESSONS, VENDORS)
ROOM_KEYS = {key for b in MachineRoomScreen.BINDINGS if isinstance(b, Binding) for key in b.key.split(",")}
COMMANDS = sorted(({key for rows in ROWS for c in rows for key in c.keys.split(",")} | ROOM_KEYS) - {"q"})
BEGINNINGS = (
    ((), 4),
    (("enter",), 4),
    (("enter", "e"), 2),
    (("enter", "C"), 2),
    (("enter", "c"), 1),
    (("p",), 2),
    (("l", "enter"), 2),
    (("h", "enter"), 4),
    (("h", "p"), 1),
)
"""Ways from the home screen to where a monkey begins, and how often it takes them: it would hardly find them all."""
LIFE = 250
"""Deeds after which it begins elsewhere."""
OTHERS = (
    *("up", "down", "left", "right", "pageup", "pagedown", "home", "end", "tab", "shift+tab", "enter", "enter"),
    *("escape", "escape", "q", "backspace", "delete", "space", "ctrl+p", "ctrl+w", "ctrl+a", "f5", "ctrl+z", "insert"),
    *("0", "1", "7", "9", "x", "é", "ß", "→", "[", "\\", "€", "minus", "comma", "left_square_bracket", "number_sign"),
)
TEXTS = ("1764", "#12", "0x100046", "popf", "ring 3", "[/b]", "silent if eax == 5", "divergence", "nonsense")
_OURS = ("failed inside", "internal error")
"""What is said of a mistake of ours that has been caught."""
PATIENCE_SECONDS = 120
REST_SECONDS = 2
BREATH_SECONDS = 0.002


@dataclass
class Ear:
    """What the app says to itself."""

    settled: int = 0
    inside: list[str] = field(default_factory=list)
    """Mistakes of ours that a thread has caught."""

    def __call__(self, message: Message) -> None:
        self.settled += isinstance(message, Settled)
        if isinstance(message, (Failed, HostSaid)) and any(word in message.text for word in _OURS):
            self.inside.append(message.text)

    async def hears_rest(self, app: RingvizApp, pilot: Pilot[None], seconds: float) -> bool:
        """Tell whether the engine has done all that it was asked for within so many seconds."""
        # Keys that are still on their way ask for more; what the engine has said before that counts for nothing.
        await pilot.pause()
        before = self.settled
        app.engine.submit(Refresh())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.settled == before:
                    await asyncio.sleep(0.005)
                return True
        return False


@dataclass
class Monkey:
    """What it does is decided by its seed alone."""

    seed: int

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.did: list[str] = []
        """The last deeds, for the message of a test that fails."""

    async def begins(self, pilot: Pilot[None]) -> None:
        """Go from the home screen to where it begins."""
        ways = [way for way, _ in BEGINNINGS]
        for key in self.dice.choices(ways, [often for _, often in BEGINNINGS])[0]:
            self.did.append(key)
            await pilot.press(key)
            await asyncio.sleep(10 * BREATH_SECONDS)

    async def does_something(self, app: RingvizApp, pilot: Pilot[None], ear: Ear) -> int:
        """Press, click or resize; gives the number of deeds."""
        match self.dice.choices(("command", "key", "text", "click", "resize"), (50, 30, 2, 12, 6))[0]:
            case "command":
                return await self.presses(pilot, *self.dice.choices(COMMANDS, k=self.dice.randint(1, 4)))
            case "key":
                return await self.presses(pilot, *self.dice.choices(OTHERS, k=self.dice.randint(1, 4)))
            case "text":
                return await self.presses(pilot, *self.dice.choice(TEXTS))
            case "click":
                place = (self.dice.randrange(app.size.width), self.dice.randrange(app.size.height))
                self.did.append(f"click {place}")
                # A screen that is just being opened has nothing there yet; the app takes that well, the pilot does not.
                with suppress(NoWidget):
                    await pilot.click(offset=place, times=self.dice.choice((1, 1, 2)))
                return 1
            case _:
                return await self.resizes(app, pilot, ear)

    async def presses(self, pilot: Pilot[None], *keys: str) -> int:
        """Press keys one after the other, without looking up; only the way out of the app is not taken."""
        for done, key in enumerate(keys):
            if key == "q" and isinstance(pilot.app.screen, HomeScreen):
                continue
            self.did.append(key)
            # As fast as a terminal sends them: the pilot's own press waits until nothing moves any more.
            pilot.app.post_message(events.Key(*event_of(key)))
            await asyncio.sleep(BREATH_SECONDS)
            if not is_there(pilot.app):
                return done + 1
        return len(keys)

    async def resizes(self, app: RingvizApp, pilot: Pilot[None], ear: Ear) -> int:
        """Give the terminal another size; whatever is shown goes on being shown, where it is."""
        # A host goes on by itself, and what one asks it for comes when it comes.
        rests = await ear.hears_rest(app, pilot, REST_SECONDS) and app.machine_room not in app.screen_stack
        await pilot.pause()
        size = self.dice.choice(SIZES)
        before = place_of(app)
        self.did.append(f"resize {size}")
        await pilot.resize_terminal(*size)
        await pilot.pause()
        # What was under way would have moved without it, too.
        assert not rests or place_of(app) == before
        return 1


def event_of(key: str) -> tuple[str, str | None]:
    """Give Textual's name of a key, and the character that it types."""
    if len(key) == 1:
        named = key if key.isalnum() else unicodedata.name(key).lower().replace("-", "_").replace(" ", "_")
        return {"hyphen_minus": "minus", "solidus": "slash"}.get(named, named), key
    try:
        return key, unicodedata.lookup({"minus": "hyphen-minus", "slash": "solidus"}.get(key, key).replace("_", " "))
    except KeyError:
        return key, None


def place_of(app: RingvizApp) -> tuple[object, ...]:
    """Tell what is shown, and where the guest stands there."""
    shown = app.explore.snapshot
    place = (shown.technique_id, shown.position) if shown is not None else ()
    return (*(type(screen).__name__ for screen in app.screen_stack), *place)


def is_there(app: object) -> bool:
    assert isinstance(app, RingvizApp)
    return app.is_running and not app._exit


async def rampage(seed: int, count: int, world: Callable[[], tuple[Laboratory, Editing]]) -> None:
    """Let a monkey do so many things; now and then, and whenever it has found the way out, the app is started again."""
    monkey, done = Monkey(seed), 0
    while done < count:
        laboratory, editing = world()
        app = RingvizApp(laboratory=laboratory, editing=editing)
        app.animation_level = "none"
        ear = Ear()
        until = min(count, done + LIFE)
        try:
            async with app.run_test(size=(120, 40), message_hook=ear) as pilot:
                await monkey.begins(pilot)
                while done < until and is_there(app):
                    done += await monkey.does_something(app, pilot, ear)
                    assert ear.inside == []
                if is_there(app):
                    await answers(app, pilot, ear)
        except BaseException as error:
            error.add_note(f"seed {seed}, after {done} deeds; the last were {monkey.did[-60:]}")
            raise


async def answers(app: RingvizApp, pilot: Pilot[None], ear: Ear) -> None:
    """See that the app comes to rest when Escape is pressed, and that its keys still do something."""
    await pilot.press("escape", "escape")
    app.engine.cancel()
    assert await ear.hears_rest(app, pilot, PATIENCE_SECONDS)
    theme = app.theme
    app.action_theme_switch()
    await pilot.pause()
    assert app.theme != theme


@pytest.fixture(autouse=True)
def _nothing_is_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(RingvizApp, "deliver_screenshot", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)


World = Callable[[], tuple[Laboratory, Editing]]


@pytest.fixture
def fake(tmp_path: Path) -> World:
    (tmp_path / "fake").mkdir()
    editing = FakeEditing(tmp_path / "fake")
    return lambda: (FakeLaboratory(), editing)


@pytest.fixture
def real(tmp_path: Path) -> World:
    from ringviz.ui.engine_editing import EngineEditing
    from ringviz.ui.engine_laboratory import EngineLaboratory

    def world() -> tuple[Laboratory, Editing]:
        laboratory = EngineLaboratory()
        return laboratory, EngineEditing(laboratory, tmp_path / "edits")

    return world


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_few_hundred_random_deeds_raise_nothing(seed: int, fake: World) -> None:
    await rampage(seed, 150, fake)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 14))
async def test_five_thousand_random_deeds_raise_nothing(seed: int, fake: World) -> None:
    await rampage(seed, 5_000, fake)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20, 23))
async def test_five_thousand_random_deeds_raise_nothing_with_the_real_engine(seed: int, real: World) -> None:
    await rampage(seed, 5_000, real)
