"""A crash in the middle of any write leaves an image that opens, with nothing lost that was acknowledged."""

import random
from dataclasses import replace

import pytest

from ringviz.errors import DiskError
from ringviz.facts.vhd import DiskType
from ringviz.guest.disks.blocks import BlockDisk
from ringviz.guest.disks.creating import new_image
from ringviz.guest.disks.opening import find_footer
from ringviz.guest.disks.records import decode_header
from ringviz.guest.disks.virtual_disk import SectorRow, VirtualDisk
from tests.guest.disks.crash_store import SECTOR, CrashStore, prefixes, torn

SECTORS = 68
BLOCK = 8 * SECTOR
PARENT = bytes(range(1, 69))
"""What the sectors of the parent are filled with."""

Content = dict[int, bytes]


def _filled(value: int) -> bytes:
    return bytes([value]) * SECTOR


def _parent() -> VirtualDisk:
    return SectorRow(CrashStore(bytearray(b"".join(_filled(value) for value in PARENT))), "fixed", SECTORS)


def _opened(store: CrashStore, *, is_child: bool, is_writable: bool = False) -> BlockDisk:
    footer = find_footer(store)
    disk = BlockDisk(store, footer, decode_header(store.read(512, 1024)), _parent() if is_child else None)
    if is_writable:
        disk.repair()
    return disk


def _new(*, is_child: bool) -> CrashStore:
    store = CrashStore()
    made = new_image(store, "dynamic", SECTORS, bytes(16), 0, BLOCK)
    if is_child:
        assert isinstance(made, BlockDisk)
        footer = replace(made.footer, disk_type=int(DiskType.DIFFERENCING)).encode()
        store.write(0, footer)
        store.write(store.size - SECTOR, footer)
    return store


def _batches(chance: random.Random) -> list[Content]:
    return [
        {chance.randrange(SECTORS): _filled(chance.randrange(256)) for _ in range(chance.choice((1, 3, 12)))}
        for _ in range(6)
    ]


def _contents(disk: BlockDisk) -> list[bytes]:
    data = disk.read(0, SECTORS)
    return [data[i * SECTOR : (i + 1) * SECTOR] for i in range(SECTORS)]


def _check(content: bytes, acknowledged: list[bytes], on_the_way: Content, *, is_child: bool) -> None:
    """Open what a crash has left, look at every sector, and write to it again."""
    store = CrashStore(bytearray(content))
    found = _contents(_opened(store, is_child=is_child))
    for number, data in enumerate(found):
        assert data in (acknowledged[number], on_the_way.get(number)), number
    disk = _opened(store, is_child=is_child, is_writable=True)
    assert _contents(disk) == found
    disk.write({1: _filled(0xAA), 66: _filled(0xBB)})
    disk.flush()
    again = _contents(_opened(CrashStore(store.content), is_child=is_child))
    expected = found.copy()
    expected[1], expected[66] = _filled(0xAA), _filled(0xBB)
    assert again == expected


@pytest.mark.parametrize("is_child", [False, True], ids=["dynamic", "differencing"])
@pytest.mark.parametrize("seed", range(3))
def test_after_every_prefix_of_the_writes_nothing_acknowledged_is_lost(seed: int, is_child: bool) -> None:
    store = _new(is_child=is_child)
    disk = _opened(store, is_child=is_child, is_writable=True)
    acknowledged = _contents(disk)
    cuts = 0
    for batch in _batches(random.Random(seed)):
        before, store.log = bytes(store.content), []
        disk.write(batch)
        disk.flush()
        for done, content in prefixes(before, store.log):
            is_acknowledged = done == len(store.log)
            expected = [batch.get(i, data) for i, data in enumerate(acknowledged)] if is_acknowledged else acknowledged
            _check(content, expected, {} if is_acknowledged else batch, is_child=is_child)
            cuts += 1
        acknowledged = [batch.get(i, data) for i, data in enumerate(acknowledged)]
    assert cuts > 40


@pytest.mark.parametrize("is_child", [False, True], ids=["dynamic", "differencing"])
def test_writes_that_reach_the_drive_in_any_order_lose_nothing_acknowledged(is_child: bool) -> None:
    chance = random.Random(7)
    for _ in range(4):
        store = _new(is_child=is_child)
        disk = _opened(store, is_child=is_child, is_writable=True)
        acknowledged = _contents(disk)
        for batch in _batches(chance):
            before, store.log = bytes(store.content), []
            disk.write(batch)
            disk.flush()
            for number in range(len(store.log)):
                for _ in range(3):
                    _check(torn(before, store.log, number, chance), acknowledged, batch, is_child=is_child)
            acknowledged = [batch.get(i, data) for i, data in enumerate(acknowledged)]


@pytest.mark.parametrize("is_child", [False, True], ids=["dynamic", "differencing"])
def test_a_crash_while_a_crash_is_repaired_does_no_harm_either(is_child: bool) -> None:
    store = _new(is_child=is_child)
    disk = _opened(store, is_child=is_child, is_writable=True)
    disk.write({3: _filled(3), 40: _filled(4)})
    disk.flush()
    acknowledged = _contents(disk)
    crashed = CrashStore(store.content[:-SECTOR] + b"\xee" * 700)
    before = bytes(crashed.content)
    _opened(crashed, is_child=is_child, is_writable=True)
    assert any(verb == "truncate" for verb, _, _ in crashed.log)
    chance = random.Random(1)
    for number in range(len(crashed.log) + 1):
        for _ in range(5):
            _check(torn(before, crashed.log, number, chance), acknowledged, {}, is_child=is_child)


def test_without_the_order_of_writes_a_crash_would_lose_data() -> None:
    """The model can tell: a table entry that is in the file before its block leads to what was never written."""
    store = _new(is_child=False)
    disk = _opened(store, is_child=False, is_writable=True)
    before, store.log = bytes(store.content), []
    disk.write({3: _filled(3)})
    disk.flush()
    unordered = [entry for entry in store.log if entry[0] != "flush"]
    chance = random.Random(1)
    failures = 0
    for _ in range(50):
        try:
            _check(torn(before, unordered, len(unordered), chance), [bytes(SECTOR)] * SECTORS, {3: _filled(3)},
                   is_child=False)  # fmt: skip
        except (AssertionError, DiskError):
            failures += 1
    assert failures
