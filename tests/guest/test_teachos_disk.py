"""The disk of teachos is made by the script beside it, and holds what its table says."""

import runpy
import struct
from pathlib import Path

import pytest

from ringviz.guest import find_scenario

FOLDER: Path = find_scenario("teachos").path
SCRIPT = runpy.run_path(str(FOLDER / "make_disk.py"))
SECTOR = 512


def files_on(disk: bytes) -> dict[str, str]:
    """Read a disk as the kernel does."""
    assert disk[:8] == b"TEACHOS1"
    found = {}
    for offset in range(32, SECTOR, 32):
        name, start, size = struct.unpack_from("<16sII", disk, offset)
        if name[0]:
            found[name.rstrip(b"\0").decode()] = disk[start * SECTOR : start * SECTOR + size].decode()
    return found


def test_the_committed_disk_is_what_the_script_makes() -> None:
    assert (FOLDER / "disk.img").read_bytes() == SCRIPT["make_disk"]()


def test_the_table_leads_to_every_file() -> None:
    assert files_on(SCRIPT["make_disk"]()) == SCRIPT["FILES"]


def test_a_file_may_end_with_its_sector_or_be_empty() -> None:
    files = {"full": "x" * SECTOR, "none": "", "more": "y" * (SECTOR + 1)}
    assert files_on(SCRIPT["make_disk"](files)) == files


@pytest.mark.parametrize("files", [{"big": "x" * 65536}, {f"f{n}": "" for n in range(16)}, {"a name of 16 byt": ""}])
def test_what_does_not_fit_is_refused(files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="fit"):
        SCRIPT["make_disk"](files)
