"""Images go to other programs and come back: QEMU and Dissect see in ours what we do, and we in QEMU's."""

import os
import random
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from dissect.hypervisor.disk.vhd import VHD
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.errors import DiskError
from ringviz.facts.vhd import DiskType, geometry_of, whole_geometry_sectors
from ringviz.guest.disk import find_disk, read_disk
from ringviz.guest.disks import open_disk
from ringviz.guest.disks.checking import check_disk, describe_disk
from ringviz.guest.disks.creating import convert_disk, create_disk, new_image, reconnect_disk, snapshot_disk
from ringviz.guest.disks.opening import open_store
from tests.guest.disks.crash_store import CrashStore

QEMU_IMG = shutil.which("qemu-img")
needs_qemu_img = pytest.mark.skipif(QEMU_IMG is None, reason="qemu-img is not installed (apt-get install qemu-utils)")
ID = bytes(range(16))
CREATED = 1_700_000_000
KINDS = ("fixed", "dynamic")


def qemu_img(*arguments: str | Path) -> str:
    result = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A disk with data at both ends and nothing in between, of a size that no geometry has."""
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(1 << 20) + bytes(5 << 20) + b"the end".ljust(1024, b"!"))
    return path


def _content(path: Path) -> bytes:
    disk = open_disk(path)
    try:
        return disk.read(0, disk.sectors)
    finally:
        disk.close()


def _padded(raw: Path) -> bytes:
    return raw.read_bytes().ljust(whole_geometry_sectors(raw.stat().st_size // 512) * 512, b"\0")


@needs_qemu_img
@pytest.mark.parametrize("kind", KINDS)
def test_qemu_reads_what_we_have_written(raw: Path, tmp_path: Path, kind: str) -> None:
    vhd = tmp_path / "ours.vhd"
    convert_disk(raw, vhd, kind, ID, CREATED)
    assert check_disk(vhd) == ()
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", "vpc", raw, vhd)
    qemu_img("convert", "-f", "vpc", "-O", "raw", vhd, tmp_path / "back.img")
    assert (tmp_path / "back.img").read_bytes() == _padded(raw)


@needs_qemu_img
@pytest.mark.parametrize("kind", KINDS)
def test_we_read_what_qemu_has_written_and_qemu_what_we_have_added(raw: Path, tmp_path: Path, kind: str) -> None:
    vhd = tmp_path / "theirs.vhd"
    qemu_img("convert", "-O", "vpc", "-o", f"subformat={kind}", raw, vhd)
    assert describe_disk(vhd).kind == kind
    assert _content(vhd) == _padded(raw)
    disk = open_disk(vhd, is_writable=True)
    disk.write({0: b"first".ljust(512), 6000: b"in a block without a place".ljust(512)})
    disk.flush()
    disk.close()
    qemu_img("convert", "-f", "vpc", "-O", "raw", vhd, tmp_path / "back.img")
    assert (tmp_path / "back.img").read_bytes() == _content(vhd)
    assert not any(finding.is_error for finding in check_disk(vhd))


@needs_qemu_img
@pytest.mark.parametrize("kind", KINDS)
def test_a_size_that_is_forced_upon_qemu_is_the_one_that_holds(raw: Path, tmp_path: Path, kind: str) -> None:
    """Then the geometry says something else, far more, and is not to be believed."""
    vhd = tmp_path / "theirs.vhd"
    qemu_img("convert", "-O", "vpc", "-o", f"subformat={kind},force_size=on", raw, vhd)
    assert describe_disk(vhd).sectors == raw.stat().st_size // 512
    assert _content(vhd) == raw.read_bytes()
    assert not any(finding.is_error for finding in check_disk(vhd))
    convert_disk(vhd, tmp_path / "ours.vhd", kind, ID, CREATED)
    assert "identical" in qemu_img("compare", "-f", "vpc", "-F", "vpc", vhd, tmp_path / "ours.vhd")


@needs_qemu_img
def test_a_disk_has_the_geometry_and_the_size_that_qemu_gives_it(tmp_path: Path) -> None:
    for number, mib in enumerate((1, 3, 17, 60, 127, 504, 1000)):
        vhd = tmp_path / f"{number}.vhd"
        qemu_img("create", "-q", "-f", "vpc", vhd, f"{mib}M")
        theirs = describe_disk(vhd)
        geometry = geometry_of(theirs.sectors)
        assert theirs.geometry == (geometry.cylinders, geometry.heads, geometry.sectors_per_track)
        assert theirs.sectors == whole_geometry_sectors(mib << 11)


@pytest.mark.parametrize("kind", KINDS)
def test_dissect_reads_what_we_have_written(raw: Path, tmp_path: Path, kind: str) -> None:
    vhd = tmp_path / "ours.vhd"
    convert_disk(raw, vhd, kind, ID, CREATED)
    with vhd.open("rb") as file:
        assert VHD(file).read() == _padded(raw)


def test_a_snapshot_holds_what_differs_and_leaves_its_parent_alone(raw: Path, tmp_path: Path) -> None:
    parent, child, grandchild = (tmp_path / f"{name}.vhd" for name in ("parent", "child", "grandchild"))
    convert_disk(raw, parent, "dynamic", ID, CREATED)
    before = parent.read_bytes()
    snapshot_disk(parent, child, ID[::-1], CREATED)
    assert _content(child) == _padded(raw)
    _write(child, {7: b"child".ljust(512), 9000: bytes(512), 0: bytes(512)})
    snapshot_disk(child, grandchild, bytes(16), CREATED)
    _write(grandchild, {8: b"grandchild".ljust(512)})
    expected = bytearray(_padded(raw))
    expected[:512], expected[7 * 512 : 9 * 512] = bytes(512), b"child".ljust(512) + b"grandchild".ljust(512)
    assert _content(grandchild) == expected
    assert parent.read_bytes() == before
    assert (describe_disk(grandchild).own_sectors, describe_disk(grandchild).parent) == (1, "child.vhd")
    flat = tmp_path / "flat.vhd"
    convert_disk(grandchild, flat, "dynamic", ID, CREATED)
    with flat.open("rb") as file:
        assert VHD(file).read() == expected


def test_a_snapshot_is_found_with_its_parent_in_another_place(raw: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "base").mkdir(parents=True)
    convert_disk(raw, here / "base" / "parent.vhd", "fixed", ID, CREATED)
    snapshot_disk(here / "base" / "parent.vhd", here / "child.vhd", ID[::-1], CREATED)
    here.rename(tmp_path / "there")
    assert _content(tmp_path / "there" / "child.vhd") == _padded(raw)


def test_a_parent_that_has_changed_is_refused_until_somebody_vouches_for_it(raw: Path, tmp_path: Path) -> None:
    parent, child = tmp_path / "parent.vhd", tmp_path / "child.vhd"
    convert_disk(raw, parent, "dynamic", ID, CREATED)
    os.utime(parent, (CREATED, CREATED))
    snapshot_disk(parent, child, ID[::-1], CREATED)
    os.utime(parent, (CREATED + 2, CREATED + 2))
    with pytest.raises(DiskError, match=r'child\.vhd: its parent "parent\.vhd" has been written to'):
        open_disk(child)
    reconnect_disk(child)
    assert _content(child) == _padded(raw)
    parent.unlink()
    convert_disk(raw, parent, "dynamic", bytes(16), CREATED)
    for refused in (open_disk, reconnect_disk):
        with pytest.raises(DiskError, match="is another disk"):
            refused(child)
    parent.unlink()
    with pytest.raises(DiskError, match="is not where it says"):
        open_disk(child)


def test_a_disk_is_as_it_was_when_its_scenario_was_loaded_or_refused(raw: Path, tmp_path: Path) -> None:
    parent, child = tmp_path / "parent.vhd", tmp_path / "child.vhd"
    convert_disk(raw, parent, "dynamic", ID, CREATED)
    snapshot_disk(parent, child, ID[::-1], CREATED)
    found = find_disk(child, "--disk", "child.vhd")
    assert found.size_bytes == len(_padded(raw))
    assert read_disk(found) == _padded(raw)
    os.utime(child, ns=(1, 1))
    with pytest.raises(DiskError, match=r"child\.vhd: has changed"):
        read_disk.__wrapped__(found)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[:-512], "the footer at the end is missing"),
        (lambda data: bytes(512) + data[512:], "the footer at the beginning is missing"),
        (lambda data: data[:-1] + b"x", "the footer at the end is another one|checksum"),
        (lambda data: bytes(512) + data[512:-512] + bytes(512), "it has no hard disk footer"),
        (lambda data: data[:600] + b"x" + data[601:], "dynamic disk header is damaged: checksum"),
        (lambda data: data[:1536] + b"\0\0\x90\0" + data[1540:], "block 0 lies beyond the end"),
        (lambda data: data[:1536] + data[1548:1552] + data[1540:], "overlap"),
    ],
    ids=["no end", "no beginning", "bad end", "neither", "header", "block outside", "overlap"],
)
def test_damage_is_found(raw: Path, tmp_path: Path, damage: object, expected: str) -> None:
    vhd = tmp_path / "ours.vhd"
    convert_disk(raw, vhd, "dynamic", ID, CREATED)
    assert callable(damage)
    vhd.write_bytes(damage(vhd.read_bytes()))
    text = " / ".join(finding.text for finding in check_disk(vhd))
    assert any(words in text for words in expected.split("|")), text


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_give_one_line_or_a_disk(data: st.DataObject) -> None:
    store = CrashStore()
    new_image(store, data.draw(st.sampled_from(KINDS)), 136, ID, CREATED, 4096).write({9: b"9" * 512})
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 2100) | st.integers(store.size - 512, store.size - 1)) % store.size
        store.content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del store.content[data.draw(st.integers(0, store.size)) :]
    with suppress(DiskError):
        disk = open_store(store, Path("x.vhd"), is_writable=True)
        assert len(disk.read(0, min(disk.sectors, 1000))) == min(disk.sectors, 1000) * 512


def test_a_footer_of_511_bytes_is_read_and_replaced_by_a_whole_one() -> None:
    store = CrashStore()
    new_image(store, "dynamic", 136, ID, CREATED, 4096)
    store.content = store.content[:-1]
    store.content[:512] = bytes(512)
    disk = open_store(store, Path("x.vhd"), is_writable=True)
    disk.write({9: b"9" * 512})
    assert store.content[:512] == store.content[-512:]
    assert open_store(store, Path("x.vhd"), is_writable=False).read(9, 1) == b"9" * 512


def test_a_new_image_takes_no_name_that_is_taken_or_says_otherwise(tmp_path: Path) -> None:
    create_disk(tmp_path / "a.vhd", "dynamic", 100, ID, CREATED)
    for name, kind, why in (("a.vhd", "fixed", "exists"), ("b.vhd", "raw", "a name"), ("b.img", "fixed", "a name")):
        with pytest.raises(DiskError, match=why):
            create_disk(tmp_path / name, kind, 100, ID, CREATED)
    assert [path.name for path in tmp_path.iterdir()] == ["a.vhd"]
    assert describe_disk(tmp_path / "a.vhd").kind == DiskType.DYNAMIC.name.lower()


def _write(path: Path, contents: dict[int, bytes]) -> None:
    disk = open_disk(path, is_writable=True)
    disk.write(contents)
    disk.flush()
    disk.close()
