"""Over real sockets too, a link that is cut leaves exactly one machine."""

import socket
import threading
from pathlib import Path

import pytest

from ringviz.engine.migration import ending_of, new_machine
from ringviz.errors import MigrationError
from ringviz.guest import Scenario
from ringviz.vmm.migration import tcp
from ringviz.vmm.migration.decision import FileRecord
from ringviz.vmm.migration.destination import Destination
from ringviz.vmm.migration.running import RunningGuest
from ringviz.vmm.migration.source import LinkLostError, Plan, Source
from ringviz.vmm.registry import choose
from ringviz.vmm.setup import Setup
from tests.vmm.migration.guests import writer

SECRET = b"known to both"


class CutWire(tcp.SocketWire):
    """The source's end of a link that is cut after so many bytes from the source."""

    def __init__(self, connection: socket.socket, cut_after: int) -> None:
        super().__init__(connection)
        self._left = cut_after

    def send(self, data: bytes) -> None:
        super().send(data[: self._left])
        self._left -= len(data)
        if self._left < 0:
            self._socket.close()
            raise LinkLostError


@pytest.mark.parametrize(("back", "moves"), [(0, True), (1, True), (37, True), (38, False), (9_000, False)])
def test_one_machine_is_left_wherever_the_link_is_cut(tmp_path: Path, back: int, moves: bool) -> None:
    scenario, setup = writer(tmp_path / "guest", 6, 3, 20), choose("vt-x", None, "haswell")
    whole = _migrate(tmp_path / "whole", scenario, setup, 1 << 30)[2]
    source, destination, _ = _migrate(tmp_path / "cut", scenario, setup, whole - back)
    assert (source.has_machine, destination.is_running) == (not moves, moves)
    machine = destination.machine if moves else source.guest.machine
    assert machine is not None
    assert ending_of(machine) == ending_of(new_machine(scenario, "vt-x", setup))


def _migrate(record: Path, scenario: Scenario, setup: Setup, cut_after: int) -> tuple[Source, Destination, int]:
    ours, theirs = socket.socketpair()
    destination = Destination(scenario, "vt-x", setup, SECRET, b"d" * 16, FileRecord(record))
    thread = threading.Thread(target=tcp.serve, args=(destination, theirs))
    thread.start()
    with ours:
        guest = RunningGuest(new_machine(scenario, "vt-x", setup))
        source = Source(guest, Plan(1000), SECRET, b"s" * 16, FileRecord(record), CutWire(ours, cut_after))
        guest.pass_time(500)
        outcome = source.migrate()
    thread.join()
    return source, destination, outcome.sent_bytes


def test_a_port_at_which_nobody_listens_is_told_in_one_line() -> None:
    with socket.create_server((tcp.LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(MigrationError, match=f"port {port}: no destination answers"):
        tcp.connect(port)
