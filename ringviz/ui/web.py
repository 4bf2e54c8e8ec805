"""The app in a browser: one process of the app for each visitor, no more visitors than asked for, on this machine only.

A visitor's process is the same program with the same rights, so nothing but the loopback interface is listened on, and
a page of another site may not open a session. Whoever wants to let others in puts a server with a log-in in front, and
names the address under which that one is reached.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

_PAGE = Path(__file__).parent / "web_page"
"""Our own page: the one that comes with textual-serve has a font sent by a third party, and waits for a click."""
LOOPBACK = "127.0.0.1"


class AppServer(Server):
    """Serves the app; `textual-serve` does the work."""

    def __init__(self, arguments: Sequence[str], port: int, sessions: int, public_url: str | None = None) -> None:
        """Prepare to serve.

        Args:
            arguments: of the program, for each visitor.
            port: TCP port on the loopback interface.
            sessions: how many visitors at once.
            public_url: where a server in front of this one is reached; None: there is none.
        """
        command = shlex.join([sys.executable, "-m", "ringviz", *arguments])
        super().__init__(command, LOOPBACK, port, "ringviz", public_url, templates_path=_PAGE)
        self._most = sessions
        self._open = 0

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Open a session, unless the page is another site's or there are enough of them."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != urlsplit(self.public_url).netloc:
            raise web.HTTPForbidden(text="this page may not open a session here")
        if self._open >= self._most:
            raise web.HTTPServiceUnavailable(text=f"all {self._most} sessions are taken")
        self._open += 1
        try:
            return await super().handle_websocket(request)
        finally:
            self._open -= 1

    async def on_startup(self, app: web.Application) -> None:
        """Say where."""
        del app
        self.console.print(
            f"ringviz is at {self.public_url} (at most {self._most} at once; Ctrl+C ends it)", markup=False
        )
