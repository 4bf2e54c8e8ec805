"""Machine rooms entered from the home screen: the hosts that come with ringviz, and the user's own machines."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringviz.errors import InputError

if TYPE_CHECKING:
    from ringviz.record.machines.host_lecture import HostLecture
    from ringviz.ui.host_thread import OpenedHost


@dataclass(frozen=True, slots=True)
class HostChoice:
    """One line of the list of hosts."""

    id: str
    """Empty: the user's own machines."""
    title: str
    summary: str
    machines: int


def host_choices() -> tuple[HostChoice, ...]:
    """Give the hosts, the user's own first if there is a machine on it.

    Raises:
        RingvizError: a host's file is broken; one line.
    """
    # Loaded here, because most people do not come by, and the first screen should not wait for it.
    from ringviz.record.machines.host_file import shipped_hosts
    from ringviz.record.machines.store import default_folder, read_content

    shipped = tuple(HostChoice(host.id, host.title, host.summary, len(host.machines)) for host in shipped_hosts())
    own = read_content(default_folder()).get("machines", {})
    if not own:
        return shipped
    summary = "The machines that you keep with `ringviz vm`."
    return (HostChoice("", "Your own machines", summary, len(own)), *shipped)


@contextmanager
def host_opening(host: str) -> "Iterator[OpenedHost]":
    """Open a host to be shown; a shipped one is gone afterwards.

    Raises:
        RingvizError: the host cannot be opened; one line.
    """
    from ringviz.record.machines.host_file import find_host
    from ringviz.record.machines.other_host import opened_host
    from ringviz.record.machines.room import Room
    from ringviz.record.machines.store import default_folder
    from ringviz.ui.host_thread import OpenedHost

    if not host:
        # The clock, or what the environment says instead, as everywhere.
        own = Room(default_folder(), lambda: int(os.environ.get("SOURCE_DATE_EPOCH", "") or time.time()))
        try:
            yield OpenedHost(own)
        finally:
            own.close()
        return
    definition = find_host(host)
    with opened_host(definition) as (room, other):
        peer, there = (None, tuple) if other is None else (other.peer, lambda: other.lines)
        yield OpenedHost(room, definition.automation, definition.cycles, peer, there)


def host_lecture(host: str) -> "HostLecture":
    """Give the lecture that comes with a host.

    Raises:
        RingvizError: it has none, or it is broken; one line.
    """
    from ringviz.record.machines.host_lecture_file import host_lecture_of, load_host_lecture

    path = host_lecture_of(host)
    if path is None:
        raise InputError(f"{host} has no lecture")
    return load_host_lecture(path)
