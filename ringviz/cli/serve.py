"""`ringviz serve`: the app in a browser on this machine."""

import socket
from typing import Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.errors import InputError


def serve(
    port: Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="TCP port.")] = 8000,
    sessions: Annotated[
        int, typer.Option("--sessions", metavar="N", min=1, max=64, help="How many visitors at once.")
    ] = 4,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="Where a server in front of this one is reached."),
    ] = None,
) -> int:
    """Serve the app to browsers on this machine.

    It listens on the loopback interface only: each visitor runs the program with your rights. To let others in, put a
    server that asks who they are in front of it, pass its WebSockets on, and name its address with --public-url.
    """
    from ringviz.ui.web import LOOPBACK, AppServer

    if public_url is not None and not public_url.startswith(("http://", "https://")):
        raise InputError(f"--public-url: found {public_url}, expected an address that begins with http:// or https://")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise InputError(f"--port: {port} cannot be used: {error.strerror}") from None
    AppServer([], port, sessions, None if public_url is None else public_url.rstrip("/")).serve()
    return Exit.DONE
