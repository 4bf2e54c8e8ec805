"""How fast the app answers: `python -m tests.benchmarks.bench_ui`.

Prints the time from a key to the last change it makes on screen, with a million events in the list; the time of a step
of four techniques side by side; and the time from the start of a new interpreter to the home screen, and to the first
full screen of a real session, each against what the project promises. The terminal is Textual's headless one, so a real
terminal's own drawing time comes on top. CPU time is said besides: on a machine that has other things to do, it is what
tells.
"""

import asyncio
import resource
import statistics
import subprocess
import sys
import time

from textual import events

from ringviz.ui.app import RingvizApp
from ringviz.ui.requests import Settled
from tests.ui.fake import FakeLaboratory, FakeSession

MILLION = 1_000_000
KEYS = 200
PROMISED_KEY_SECONDS = 0.050
PROMISED_START_SECONDS = 1.0
PROMISED_GROUP_SECONDS = 0.050
SIDE_BY_SIDE = ("native", "trap-emulate", "binary-translation", "vt-x")
QUIET_SECONDS = 0.06
"""So long after the engine has settled, nothing more is drawn for a key."""

_START = """
import asyncio, time
began = time.time()
from ringviz.ui.app import RingvizApp
from ringviz.ui.requests import Settled
async def main():
    shown = asyncio.Event()
    app = RingvizApp({arguments})
    def hook(message):
        if isinstance(message, Settled):
            shown.set()
    async with app.run_test(size=(120, 40), message_hook=hook) as pilot:
        if {arguments!r}:
            await shown.wait()
        await pilot.pause()
        print(time.time())
asyncio.run(main())
"""


class TimedApp(RingvizApp):
    """Remembers when it last drew anything."""

    drawn = 0.0

    def _display(self, screen, renderable) -> None:  # type: ignore[no-untyped-def]
        super()._display(screen, renderable)
        self.drawn = time.perf_counter()


async def key_to_repaint(key: str, size: tuple[int, int]) -> list[float]:
    """Seconds from each press to the last drawing it caused."""
    laboratory = FakeLaboratory(FakeSession(end=5 * MILLION, end_known=True))
    settled = asyncio.Event()
    app = TimedApp("popf-hole", "trap-emulate", laboratory=laboratory)
    seconds = []
    async with app.run_test(
        size=size, message_hook=lambda m: settled.set() if isinstance(m, Settled) else None
    ) as pilot:
        laboratory.session.seek(4 * MILLION)
        await pilot.pause(0.3)
        for _ in range(KEYS):
            settled.clear()
            pressed = time.perf_counter()
            app.post_message(events.Key(key, None))
            await settled.wait()
            await asyncio.sleep(QUIET_SECONDS)
            seconds.append(app.drawn - pressed)
    return seconds


def start_to_first_screen(arguments: str) -> tuple[float, float]:
    """Seconds from starting an interpreter to the first screen, and seconds of CPU until it has left again."""
    began, used = time.time(), _cpu_of_children()
    code = _START.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout) - began, _cpu_of_children() - used


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def group_steps(count: int = 30) -> dict[str, list[float]]:
    """CPU seconds of a step, and of a step back, of four techniques side by side, with all that the screen shows."""
    from ringviz.ui.engine_laboratory import EngineLaboratory

    laboratory = EngineLaboratory()
    sitting = laboratory.open("popf-hole", "trap-emulate", None, None)
    sitting.seek(3000)
    group = laboratory.group(sitting, SIDE_BY_SIDE, bool)
    group.view()
    seconds: dict[str, list[float]] = {"step": [], "back": []}
    for name, move in (("step", group.step), ("back", group.back)):
        for _ in range(count):
            began = time.process_time()
            move()
            group.view()
            seconds[name].append(time.process_time() - began)
    return seconds


def main() -> None:
    """Print one line a measurement."""
    for key in ("space", "b"):
        for size in ((80, 24), (120, 40), (200, 60)):
            seconds = asyncio.run(key_to_repaint(key, size))
            p95 = statistics.quantiles(seconds, n=20)[-1]
            share = p95 / PROMISED_KEY_SECONDS
            print(
                f"key {key:<6} {size[0]}x{size[1]}: median {statistics.median(seconds) * 1000:5.1f} ms, "
                f"p95 {p95 * 1000:5.1f} ms = {share:.2f} of the promised {PROMISED_KEY_SECONDS * 1000:.0f} ms"
            )
    for name, seconds in group_steps().items():
        best, p95 = min(seconds), statistics.quantiles(seconds, n=20)[-1]
        print(
            f"{name} of four techniques side by side: best {best * 1000:5.1f} ms, p95 {p95 * 1000:5.1f} ms of CPU "
            f"= {p95 / PROMISED_GROUP_SECONDS:.2f} of the promised {PROMISED_GROUP_SECONDS * 1000:.0f} ms"
        )
    for what, arguments in (("the home screen", ""), ("the first screen of a guest", '"popf-hole", "trap-emulate"')):
        wall, cpu = min(start_to_first_screen(arguments) for _ in range(3))
        share = wall / PROMISED_START_SECONDS
        print(f"start to {what}: {wall:.2f} s = {share:.2f} of the promised 1.0 s; {cpu:.2f} s of CPU in all")


if __name__ == "__main__":
    main()
