"""`ringviz serve`: the app in a browser, spoken to as the page in the browser does."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aiohttp
import pytest

from tests.cli.program import one_complaint, ringviz

ENOUGH_S = 60
QUIET_S = 1.5
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """It says where it is just before it is there."""
    deadline = time.monotonic() + ENOUGH_S
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)


@contextmanager
def serving() -> Iterator[str]:
    """The server at work; gives its address."""
    port = free_port()
    program = subprocess.Popen(
        [sys.executable, "-m", "ringviz", "serve", "--port", str(port), "--sessions", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert program.stdout is not None
    try:
        assert b"ringviz is at" in program.stdout.readline()
        wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        program.terminate()
        program.wait(ENOUGH_S)


@pytest.fixture
def address() -> Iterator[str]:
    with serving() as there:
        yield there


class Visitor:
    """A page: what it has been sent, and keys that it sends."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._drawn = b""

    async def press(self, keys: str) -> None:
        """Press keys, as people do: when what was drawn has been looked at."""
        with suppress(TimeoutError):
            while True:
                await asyncio.wait_for(self._socket.receive(), QUIET_S)
        self._drawn = b""
        await self._socket.send_json(["stdin", keys])

    async def sees(self, text: str) -> None:
        """Wait until something stands on the screen that was drawn since the last time."""
        async with asyncio.timeout(ENOUGH_S):
            while text.encode() not in ESCAPES.sub(b"", self._drawn):
                message = await self._socket.receive()
                assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
                self._drawn += message.data if isinstance(message.data, bytes) else b""
        self._drawn = b""


async def visit(address: str) -> None:
    where = f"ws://{address}/ws?width=120&height=40"
    async with aiohttp.ClientSession() as client:
        async with client.get(f"http://{address}/") as page:
            assert "ringviz" in await page.text()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await client.ws_connect(where, headers={"Origin": "http://elsewhere.example"})
        async with client.ws_connect(where, headers={"Origin": f"http://{address}"}) as socket:
            visitor = Visitor(socket)
            await visitor.sees("cpuid-loop")
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await client.ws_connect(where)
            await visitor.press("\r")  # this guest, on bare metal
            await visitor.sees("Who runs where")
            await visitor.press(" ")
            await visitor.sees("step 1")
            await visitor.press("m")
            await visitor.sees("AMD-V")


def test_a_page_opens_a_scenario_steps_and_sees_the_techniques(address: str) -> None:
    asyncio.run(visit(address))


def test_a_port_in_use_and_a_wrong_address_end_with_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = one_complaint(ringviz("serve", "--port", str(taken.getsockname()[1])))
        assert "cannot be used" in line
    assert "http:// or https://" in one_complaint(ringviz("serve", "--public-url", "example.org"))
