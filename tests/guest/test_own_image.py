"""Images that come without a scenario: what they are taken for, and how an ELF kernel is laid out."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ringviz.errors import DiskError, ImageError, InputError
from ringviz.guest.elf import parse_elf
from ringviz.guest.image import StartState, load_image
from ringviz.guest.multiboot import BOOT_MAGIC, INFO_ADDRESS, INFO_BYTES
from ringviz.guest.scenario import OWN_MEMORY_MIB, ImageFormat, find_scenario, with_limits

CODE = b"\xf4"
MULTIBOOT = struct.pack("<3I", 0x1BADB002, 3, -(0x1BADB002 + 3) & 0xFFFF_FFFF)
SECTOR = CODE.ljust(510, b"\0") + b"\x55\xaa"


def elf(
    body: bytes = MULTIBOOT + CODE,
    *,
    virtual: int = 0xC010_0000,
    physical: int = 0x10_0000,
    entry: int = 0xC010_000C,
    in_memory: int = 0x2000,
    word: int = 1,
    machine: int = 3,
) -> bytes:
    """An ELF file with one program header that loads `body`, and one that loads nothing."""
    ident = b"\x7fELF" + bytes((word, 1, 1)) + bytes(9)
    header = struct.pack("<16sHHIIIIIHHHHHH", ident, 2, machine, 1, entry, 52, 0, 0, 52, 32, 2, 0, 0, 0)
    note = struct.pack("<8I", 4, 0, 0, 0, 0, 0, 0, 0)
    load = struct.pack("<8I", 1, 116, virtual, physical, len(body), in_memory, 5, 0x1000)
    return header + note + load + body


def written(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_an_elf_kernel_lies_at_physical_addresses_and_begins_where_its_code_does(tmp_path: Path) -> None:
    scenario = find_scenario(written(tmp_path, "kernel.elf", elf()))
    assert (scenario.id, scenario.guest.format) == ("kernel.elf", ImageFormat.MULTIBOOT)
    assert "ELF" in scenario.title
    image = load_image(scenario)
    assert image.segments[0] == (0x10_0000, MULTIBOOT + CODE)
    assert image.zeroed == ((0x10_000D, 0x2000 - 13),)
    assert (image.entry, image.start) == (0x10_000C, StartState.MULTIBOOT)
    assert dict(image.registers) == {"eax": BOOT_MAGIC, "ebx": INFO_ADDRESS}


def test_an_elf_kernel_gets_a_memory_map_that_covers_its_memory(tmp_path: Path) -> None:
    image = load_image(find_scenario(written(tmp_path, "kernel.elf", elf())))
    information = image.segments[-1].data
    assert struct.unpack_from("<I", information)[0] == 0x41
    length, address = struct.unpack_from("<2I", information, 44)
    assert address == INFO_ADDRESS + INFO_BYTES
    entries = [struct.unpack_from("<IQQI", information, INFO_BYTES + at) for at in range(0, length, 24)]
    assert all(size == 20 for size, *_ in entries)
    available = [(start, size) for _, start, size, kind in entries if kind == 1]
    assert available == [(0, INFO_ADDRESS), (0x10_0000, (OWN_MEMORY_MIB - 1) << 20)]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (elf(word=2), "64-bit ELF, expected one for the 32-bit x86"),
        (elf(machine=40), "ELF for machine 40"),
        (elf()[:40], "ELF header cut off after 40 bytes"),
        (elf()[:60], "do not lie in the file"),
        (elf()[:120], "loads 13 bytes that are not in the file"),
        (elf(entry=0x5000), "entry 0x5000, expected within the loaded bytes"),
    ],
)
def test_what_is_wrong_with_an_elf_file_is_said_in_one_line(content: bytes, line: str) -> None:
    with pytest.raises(ImageError) as raised:
        parse_elf(content)
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_boot_sector_is_its_own_disk_and_a_disk_brings_its_boot_sector(tmp_path: Path) -> None:
    alone = find_scenario(written(tmp_path, "boot.img", SECTOR))
    disk = find_scenario(written(tmp_path, "disk.img", SECTOR + bytes(512 * 99)))
    for scenario, sectors in ((alone, 1), (disk, 100)):
        assert scenario.guest.format is ImageFormat.BOOTSECTOR
        assert scenario.disks[0] is not None
        assert scenario.disks[0].size_bytes == 512 * sectors
        image = load_image(scenario)
        assert (image.entry, image.start) == (0x7C00, StartState.REAL)
        assert (0x7C00, SECTOR) in image.segments
    assert "boot sector" in alone.title
    assert "disk image" in disk.title


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("nothing.img", b"", "empty, expected a Multiboot kernel"),
        ("letter.txt", b"Dear reader," * 100, "neither a Multiboot kernel"),
        ("zero.img", bytes(1024), "the first 512 bytes do not end in 55 AA"),
        ("program", elf(body=CODE), "an ELF file, but no Multiboot header"),
        ("sum.bin", MULTIBOOT[:8] + bytes(600), "checksum 0x00000000, expected"),
        ("plain.bin", MULTIBOOT + bytes(600), "expected bit 16 (the address fields) or an ELF file"),
    ],
)
def test_anything_else_is_refused_in_one_line_that_names_the_file(
    tmp_path: Path, name: str, content: bytes, line: str
) -> None:
    with pytest.raises(ImageError) as raised:
        find_scenario(written(tmp_path, name, content))
    assert line in str(raised.value)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_disk_of_half_sectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="expected whole sectors"):
        find_scenario(written(tmp_path, "disk.img", SECTOR + b"more"))


def test_memory_and_limit_can_be_others_within_reason(tmp_path: Path) -> None:
    scenario = find_scenario(written(tmp_path, "boot.img", SECTOR))
    other = with_limits(scenario, 8, 1000)
    assert (other.guest.memory_mib, other.limits.instructions) == (8, 1000)
    assert with_limits(scenario, None, None) == scenario
    for memory, limit, line in ((0, None, "--memory: found 0"), (None, 0, "--limit: found 0")):
        with pytest.raises(InputError, match=line):
            with_limits(scenario, memory, limit)
