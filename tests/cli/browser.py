"""A browser without a window, driven through the protocol of its developer tools."""

import asyncio
import base64
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
ENOUGH_S = 90
PATIENCE_S = 0.05

# The page keeps its terminal to itself. It is stored as an attribute of that name: whoever sits there first sees it.
_KEEP_TERMINAL = """
Object.defineProperty(Object.prototype, "terminal", {
    configurable: true,
    set(value) {
        window.drawn = value;
        Object.defineProperty(this, "terminal", { value, writable: true, configurable: true });
    },
});
"""
_READ = """
(() => {
    if (!window.drawn) return "";
    const buffer = window.drawn.buffer.active, lines = [];
    for (let y = 0; y < window.drawn.rows; y++) lines.push(buffer.getLine(y)?.translateToString() ?? "");
    return lines.join("\\n");
})()
"""
_NAMED = {
    "enter": ("Enter", 13, "\r"),
    "escape": ("Escape", 27, ""),
    "up": ("ArrowUp", 38, ""),
    "down": ("ArrowDown", 40, ""),
    "tab": ("Tab", 9, ""),
    "end": ("End", 35, ""),
}


class Page:
    """One page: keys go in, what its terminal shows comes out."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.failures: list[str] = []
        """What the page's own script has complained about."""
        self.asked: list[str] = []
        """Addresses that the page has asked for."""

    async def send(self, method: str, **parameters: object) -> Any:
        """Have the browser do something, and wait for its answer."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        async with asyncio.timeout(ENOUGH_S):
            while True:
                message = await self._socket.receive_json()
                if message.get("method") == "Runtime.exceptionThrown":
                    self.failures.append(str(message["params"]["exceptionDetails"]))
                elif message.get("method") == "Network.requestWillBeSent":
                    self.asked.append(message["params"]["request"]["url"])
                elif message.get("id") == self._number:
                    assert "error" not in message, message
                    return message["result"]

    async def open(self, url: str, width: int, height: int) -> None:
        """Go to an address, in a window of so many pixels."""
        await self.send("Runtime.enable")
        await self.send("Network.enable")
        await self.send("Page.enable")
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=_KEEP_TERMINAL)
        await self.resize(width, height)
        await self.send("Page.navigate", url=url)

    async def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def press(self, *keys: str) -> None:
        """Press keys: letters, or the names of others."""
        for key in keys:
            name, code, text = _NAMED.get(key, (key, ord(key.upper()[0]), key))
            pressed = {"key": name, "windowsVirtualKeyCode": code} | ({"text": text} if text else {})
            await self.send("Input.dispatchKeyEvent", type="keyDown", **pressed)
            await self.send("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    async def text(self) -> str:
        """Give what the terminal shows, line by line."""
        answer = await self.send("Runtime.evaluate", expression=_READ, returnByValue=True)
        return str(answer["result"].get("value", ""))

    async def sees(self, *words: str, gone: str = "") -> str:
        """Wait until all words stand on the screen, and another one does no longer; give the screen."""
        text = ""
        try:
            async with asyncio.timeout(ENOUGH_S):
                while not all(word in text for word in words) or (gone and gone in text) or not text:
                    await asyncio.sleep(PATIENCE_S)
                    text = await self.text()
        except TimeoutError:
            raise AssertionError(f"{words} (without “{gone}”) never came; there is\n{text}") from None
        return text

    async def picture(self) -> bytes:
        """Give the page as a PNG file."""
        answer = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A browser of its own, which can reach nothing but this machine.

    Args:
        folder: for what it keeps.
    """
    program = subprocess.Popen(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-extensions", "--disable-background-networking", "--hide-scrollbars", "--remote-debugging-port=0",
            f"--user-data-dir={folder}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | {"HOME": str(folder)},
    )  # fmt: skip
    assert program.stderr is not None
    try:
        port = await asyncio.wait_for(asyncio.to_thread(_port_of, program), ENOUGH_S)
        async with aiohttp.ClientSession() as client:
            async with client.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [page for page in await answer.json() if page["type"] == "page"]
            async with client.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        program.terminate()
        with suppress(subprocess.TimeoutExpired):
            program.wait(10)
        program.kill()
        program.stderr.close()


def _port_of(program: subprocess.Popen[bytes]) -> int:
    """Read where it listens."""
    assert program.stderr is not None
    for line in program.stderr:
        found = re.search(rb"DevTools listening on ws://[^:]*:(\d+)/", line)
        if found is not None:
            return int(found[1])
    raise AssertionError("the browser ended before it listened")
