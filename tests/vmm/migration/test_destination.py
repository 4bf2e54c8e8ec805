"""What a destination does not take: each stream that is not the machine it expects is refused in one line."""

from pathlib import Path

import pytest

from ringviz.engine.migration import new_machine
from ringviz.errors import MigrationError
from ringviz.vmm.migration.decision import MemoryRecord
from ringviz.vmm.migration.destination import Destination
from ringviz.vmm.migration.identity import Identity, check_identity
from ringviz.vmm.migration.loopback import Loopback
from ringviz.vmm.migration.running import RunningGuest
from ringviz.vmm.migration.source import Plan, Result, Source
from ringviz.vmm.migration.stream import GREETING_BYTES
from ringviz.vmm.registry import choose
from tests.cli.guests import needs_nasm
from tests.vmm.disk_guest import SECOND_SECTORS, disk_image, disk_scenario
from tests.vmm.migration.guests import writer

SECRET = b"known to both"


class Pair:
    """A source and a destination, and the wire between them."""

    def __init__(
        self, folder: Path, *, secret: bytes = SECRET, technique: str = "vt-x", work: int = 5, nonce: bytes = b"d" * 16
    ) -> None:
        scenario = writer(folder / "a" / "guest", 40, 4, 50)
        expected = writer(folder / "b" / "guest", 40, 4, 50 if work == 5 else work)
        setup = choose("vt-x", None, "haswell")
        self.record = MemoryRecord()
        self.destination = Destination(
            expected, technique, choose(technique, None, "haswell"), secret, nonce, self.record
        )
        self.wire = Loopback(self.destination)
        self.guest = RunningGuest(new_machine(scenario, "vt-x", setup))
        self.source = Source(self.guest, Plan(100), SECRET, b"s" * 16, self.record, self.wire)


def refused(pair: Pair) -> str:
    """Migrate, and give the line that says why it failed; the machine is where it was."""
    outcome = pair.source.migrate()
    pair.destination.link_lost()
    assert outcome.result is Result.REFUSED
    assert pair.source.has_machine
    assert not pair.destination.is_running
    assert pair.destination.refusal.isprintable()
    return pair.destination.refusal


def test_a_peer_that_does_not_know_the_secret_is_refused(tmp_path: Path) -> None:
    assert "does not know the secret" in refused(Pair(tmp_path, secret=b"guessed"))


def test_a_machine_with_another_image_is_refused(tmp_path: Path) -> None:
    assert "a foreign machine: image sha256 is" in refused(Pair(tmp_path, work=6))


def test_a_machine_under_another_technique_is_refused(tmp_path: Path) -> None:
    line = refused(Pair(tmp_path, technique="binary-translation"))
    assert line == "a foreign machine: technique is 'vt-x', expected 'binary-translation'"


def recorded(folder: Path) -> bytes:
    """A stream that was good once."""
    pair = Pair(folder)
    assert pair.source.migrate().moved
    assert pair.destination.is_running
    return bytes(pair.wire.sent)


def test_a_stream_that_is_played_again_is_refused(tmp_path: Path) -> None:
    stream = recorded(tmp_path)
    later = Pair(tmp_path / "later", nonce=b"e" * 16).destination
    later.receive(stream)
    assert "taken from another stream" in later.refusal


@pytest.mark.parametrize("where", ["greeting", "hello", "pages", "state", "end"])
def test_a_byte_that_is_wrong_is_noticed_wherever_it_is(tmp_path: Path, where: str) -> None:
    stream = bytearray(recorded(tmp_path))
    at = {"greeting": 3, "hello": GREETING_BYTES + 20, "pages": 4000, "state": -600, "end": -80}[where]
    stream[at] ^= 1
    later = Pair(tmp_path / "later").destination
    later.receive(bytes(stream))
    later.link_lost()
    assert later.refusal
    assert not later.is_running


def test_the_same_stream_is_good_in_single_bytes(tmp_path: Path) -> None:
    stream = recorded(tmp_path)
    later = Pair(tmp_path / "later").destination
    for at in range(0, len(stream), 97):
        later.receive(stream[at : at + 97])
    assert later.is_running


def test_a_stream_of_another_version_and_one_that_is_none_are_refused(tmp_path: Path) -> None:
    for number, (data, why) in enumerate(
        ((b"RINGVIZM\1\0", "has version 1, expected 2"), (b"GET / HT", "no migration"))
    ):
        destination = Pair(tmp_path / str(number)).destination
        destination.receive(data.ljust(GREETING_BYTES, b"\0"))
        assert why in destination.refusal


@needs_nasm
def test_a_machine_is_not_let_to_other_disks(tmp_path: Path) -> None:
    scenario, setup = disk_scenario(tmp_path / "guest"), choose("vt-x", None, "haswell")
    before = Identity.of(scenario, "vt-x", setup)
    (tmp_path / "guest" / "second.img").write_bytes(disk_image(SECOND_SECTORS, b"c"))
    with pytest.raises(MigrationError, match="a foreign machine: disks sha256 is"):
        check_identity(Identity.of(scenario, "vt-x", setup), before.encode())
