"""How fast the app answers: `python -m tests.benchmarks.bench_ui`.

Prints the time from a key to the last change it makes on screen, with a million events in the list, and the time from
the start of a new interpreter to the first full screen of a real session, each against what the project promises.
The terminal is Textual's headless one, so a real terminal's own drawing time comes on top.
"""

import asyncio
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
PROMISED_START_SECONDS = 1.5
QUIET_SECONDS = 0.06
"""So long after the engine has settled, nothing more is drawn for a key."""

_START = """
import asyncio, time
began = time.time()
from ringviz.ui.app import RingvizApp
from ringviz.ui.requests import Settled
async def main():
    shown = asyncio.Event()
    app = RingvizApp("popf-hole", "trap-emulate")
    def hook(message):
        if isinstance(message, Settled):
            shown.set()
    async with app.run_test(size=(120, 40), message_hook=hook) as pilot:
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


def start_to_first_screen() -> float:
    """Seconds from starting an interpreter to the first screen of a real session."""
    began = time.time()
    done = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True)
    return float(done.stdout) - began


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
    start = min(start_to_first_screen() for _ in range(3))
    print(f"start to first screen: {start:.2f} s = {start / PROMISED_START_SECONDS:.2f} of the promised 1.5 s")


if __name__ == "__main__":
    main()
