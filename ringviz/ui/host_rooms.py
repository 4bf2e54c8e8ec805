"""Machine rooms entered from the home screen: the hosts that come with ringviz, and the user's own machines."""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


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


def open_host_room(host: str) -> None:
    """Open a host's machine room in this terminal until the user leaves it; a shipped host is gone afterwards.

    Raises:
        RingvizError: the host cannot be opened; one line.
    """
    from ringviz.record.machines.host_file import find_host, open_host
    from ringviz.record.machines.room import Room
    from ringviz.record.machines.store import default_folder
    from ringviz.ui.machine_room import MachineRoomApp

    if not host:
        # The clock, or what the environment says instead, as everywhere.
        own = Room(default_folder(), lambda: int(os.environ.get("SOURCE_DATE_EPOCH", "") or time.time()))
        try:
            MachineRoomApp(own).run()
        finally:
            own.close()
        return
    definition = find_host(host)
    with tempfile.TemporaryDirectory(prefix="ringviz-", ignore_cleanup_errors=True) as folder:
        room = open_host(definition, Path(folder), lambda: 0)
        try:
            MachineRoomApp(room, definition.automation, definition.title, definition.cycles).run()
        finally:
            room.close()
