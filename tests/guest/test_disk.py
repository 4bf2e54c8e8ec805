"""Disk images as files: which are taken, which are refused with one line, and what a scenario remembers of them."""

import os
from pathlib import Path

import pytest

from ringviz.errors import DiskError, ScenarioError
from ringviz.guest.disk import MAX_DISK_MIB, find_disk, read_disk
from ringviz.guest.scenario import load_scenario, with_disks
from tests.guest.folders import TOML, make_folder


def _with_keys(*keys: str) -> str:
    return TOML.replace("memory_mib = 16\n", "memory_mib = 16\n" + "".join(f"{key}\n" for key in keys))


def _sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_a_scenario_has_the_disks_it_names(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, _with_keys('disk = "a.img"', 'disk2 = "b.img"'))
    (folder / "a.img").write_bytes(b"a" * 512)
    (folder / "b.img").write_bytes(b"b" * 1024)
    scenario = load_scenario(folder)
    assert (scenario.guest.disk, scenario.guest.disk2) == ("a.img", "b.img")
    contents = [read_disk(disk) for disk in scenario.disks if disk]
    assert contents == [b"a" * 512, b"b" * 1024]


def test_a_scenario_without_disks_has_none(tmp_path: Path) -> None:
    scenario = load_scenario(make_folder(tmp_path))
    assert (scenario.guest.disk, scenario.disks) == (None, (None, None))


def test_a_scenario_that_is_still_to_be_built_may_lack_its_disk(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, _with_keys('disk = "a.img"'))
    assert load_scenario(folder, is_built=False).disks == (None, None)


@pytest.mark.parametrize(
    ("key", "size", "expected"),
    [
        ('disk = "a.img"', None, 'guest.disk: found "a.img", expected a file in the same folder'),
        ('disk2 = "a.img"', None, 'guest.disk2: found "a.img", expected a file in the same folder'),
        ('disk = "a.img"', 0, 'guest.disk: found "a.img" of 0 bytes, expected whole sectors of 512 bytes'),
        ('disk2 = "a.img"', 700, 'guest.disk2: found "a.img" of 700 bytes, expected whole sectors of 512 bytes'),
        ('disk = "a.img"', (MAX_DISK_MIB << 20) + 512, "guest.disk: found"),
        ('disk = "../a.img"', None, "guest.disk: found"),
        ("disk = 7", None, "guest.disk: found 7, expected a text in quotes"),
        ('disc = "a.img"', None, 'did you mean "disk"'),
    ],
)
def test_a_disk_that_is_none_gets_one_line_with_file_key_and_what_was_expected(
    tmp_path: Path, key: str, size: int | None, expected: str
) -> None:
    folder = make_folder(tmp_path, _with_keys(key))
    if size is not None:
        _sparse(folder / "a.img", size)
    with pytest.raises(ScenarioError) as complaint:
        load_scenario(folder)
    assert "scenario.toml: " in str(complaint.value)
    assert expected in str(complaint.value)
    assert "\n" not in str(complaint.value)


def test_the_largest_disk_is_taken(tmp_path: Path) -> None:
    disk = find_disk(_sparse(tmp_path / "a.img", MAX_DISK_MIB << 20), "--disk", "a.img")
    assert disk.size_bytes == MAX_DISK_MIB << 20


def test_other_disks_can_be_put_in_one_by_one(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, _with_keys('disk = "a.img"'))
    for name in ("a.img", "c.img"):
        (folder / name).write_bytes(name.encode() * 512)
    scenario = load_scenario(folder)
    other = str(folder / "c.img")
    assert with_disks(scenario, None, None) == scenario
    assert with_disks(scenario, None, other).disks == (scenario.disks[0], with_disks(scenario, other, None).disks[0])


@pytest.mark.parametrize("name", ["nothing.img", "", ".", "a\0b", "x" * 5000])
def test_a_path_that_is_no_disk_image_gets_one_line(tmp_path: Path, name: str) -> None:
    scenario = load_scenario(make_folder(tmp_path))
    for disks, option in (((name, None), "--disk"), ((None, name), "--disk2")):
        with pytest.raises(DiskError, match=rf"^{option}: found ") as complaint:
            with_disks(scenario, *disks)
        assert len(str(complaint.value)) < 300
        assert str(complaint.value).isprintable()


def test_a_changed_disk_makes_another_scenario(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, _with_keys('disk = "a.img"'))
    (folder / "a.img").write_bytes(bytes(512))
    before = load_scenario(folder)
    assert load_scenario(folder) == before
    os.utime(folder / "a.img", ns=(0, 12345))
    assert load_scenario(folder) != before
    assert hash(load_scenario(folder)) != hash(before)


@pytest.mark.parametrize("change", ["longer", "shorter", "later", "gone"])
def test_a_disk_is_read_as_it_was_found_or_not_at_all(tmp_path: Path, change: str) -> None:
    file = tmp_path / "a.img"
    file.write_bytes(bytes(1024))
    disk = find_disk(file, "--disk", "a.img")
    match change:
        case "longer" | "shorter":
            file.write_bytes(bytes(2048 if change == "longer" else 512))
            os.utime(file, ns=(disk.modified_ns, disk.modified_ns))
        case "later":
            os.utime(file, ns=(0, disk.modified_ns + 1))
        case _:
            file.unlink()
    with pytest.raises(DiskError, match=r"^a\.img: "):
        read_disk(disk)
