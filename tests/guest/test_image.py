"""Guest images: where the bytes go, and the one line that a bad image gets."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.errors import ImageError
from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.guest import GuestSpec, ImageFormat, StartState, find_scenario, load_image, load_scenario, long_start
from ringviz.guest.image import parse_image
from ringviz.guest.multiboot import INFO_ADDRESS, INFO_BYTES, MultibootHeader, boot_information, lay_out, parse_header
from ringviz.machine.paging import Access, walk
from tests.guest.folders import LOAD, make_folder, multiboot_image

SECTOR = b"\xf4".ljust(510, b"\0") + b"\x55\xaa"


def spec(
    image_format: ImageFormat,
    memory_mib: int = 16,
    load: int | None = None,
    entry: int | None = None,
    start: str | None = None,
) -> GuestSpec:
    return GuestSpec("guest.asm", "guest.bin", image_format, memory_mib, load, entry, start, paging=False)


MULTIBOOT = spec(ImageFormat.MULTIBOOT)


def test_multiboot_loads_the_whole_file_when_no_end_is_given() -> None:
    content = multiboot_image()
    image = parse_image(content, MULTIBOOT)
    assert image.segments[0] == (LOAD, content)
    assert image.zeroed == ()
    assert (image.entry, image.start) == (LOAD, StartState.MULTIBOOT)


def test_multiboot_tells_who_loaded_it_and_where_the_information_is() -> None:
    image = parse_image(multiboot_image(), MULTIBOOT)
    assert dict(image.registers) == {"eax": 0x2BADB002, "ebx": INFO_ADDRESS}
    assert image.segments[1] == (INFO_ADDRESS, boot_information(16))


def test_multiboot_skips_bytes_before_load_addr_and_behind_load_end_addr() -> None:
    content = multiboot_image(
        header_offset=32, header_addr=LOAD + 8, load_end_addr=LOAD + 100, bss_end_addr=LOAD + 5000
    )
    image = parse_image(content, MULTIBOOT)
    assert image.segments[0] == (LOAD, content[24:124])
    assert image.zeroed == ((LOAD + 100, 4900),)


def test_boot_information_gives_lower_and_upper_memory_in_kib() -> None:
    flags, lower, upper = struct.unpack_from("<3I", boot_information(16))
    assert (flags, lower, upper) == (1, 639, 15 * 1024)
    assert len(boot_information(16)) == INFO_BYTES
    assert lower * 1024 <= INFO_ADDRESS
    assert INFO_ADDRESS + INFO_BYTES <= 640 * 1024


def test_a_boot_sector_starts_in_real_mode_where_firmware_puts_it() -> None:
    image = parse_image(SECTOR, spec(ImageFormat.BOOTSECTOR))
    assert image.segments == ((0x7C00, SECTOR),)
    assert (image.entry, image.start, dict(image.registers)) == (0x7C00, StartState.REAL, {"edx": 0x80})


@pytest.mark.parametrize("start", ["real", "protected", "long"])
def test_a_flat_image_goes_where_its_table_says(start: str) -> None:
    image = parse_image(b"\x90\xf4", spec(ImageFormat.FLAT, load=0x8000, entry=0x8001, start=start))
    assert image.segments[0] == (0x8000, b"\x90\xf4")
    assert (image.entry, image.start.value, image.registers) == (0x8001, start, ())
    assert len(image.segments) == (2 if start == "long" else 1)


def test_an_image_that_starts_in_64_bit_mode_finds_page_tables() -> None:
    image = parse_image(b"\x90\xf4", spec(ImageFormat.FLAT, load=0x8000, entry=0x8001, start="long"))
    memory = dict(image.segments)

    def read(address: int, size: int) -> int:
        tables = memory[long_start.ADDRESS]
        return int.from_bytes(tables[address - long_start.ADDRESS :][:size], "little")

    for linear in (0, 0x8001, 0x3FFF_FFFF):
        done = walk(read, Cr0.PG, long_start.ADDRESS, Cr4.PAE, Efer.LMA, linear, Access(is_write=True))
        assert done.physical == linear
    with pytest.raises(ImageError, match="two parts overlap at 0x9C000"):
        parse_image(b"\x90" * 32, spec(ImageFormat.FLAT, load=0x9BFF0, entry=0x9BFF0, start="long"))


BAD_MULTIBOOT = {
    "no header": (b"\x90" * 64, "no Multiboot header (0x1BADB002)"),
    "shorter than a header": (b"\x90", "no Multiboot header"),
    "header not at a multiple of 4": (multiboot_image(header_offset=18), "no Multiboot header"),
    "header behind the first 8192 bytes": (
        multiboot_image(header_offset=8192, size=9000),
        "no Multiboot header (0x1BADB002) at a multiple of 4 in the first 8,192 bytes",
    ),
    "header across byte 8192": (
        multiboot_image(header_offset=8176, size=9000),
        "Multiboot header at byte 8176: cut off after 16",
    ),
    "wrong checksum": (
        multiboot_image(checksum=1),
        "Multiboot header at byte 16: checksum 0x00000001, expected 0xE4514FFE",
    ),
    "no address fields": (multiboot_image(flags=0), "Multiboot header at byte 16: flags 0x0, expected bit 16"),
    "wants a video mode": (multiboot_image(flags=1 << 16 | 4), "Multiboot header at byte 16: asks for features 0x4"),
    "unknown requirement": (
        multiboot_image(flags=1 << 16 | 1 << 9),
        "Multiboot header at byte 16: asks for features 0x200",
    ),
    "header cut off": (multiboot_image(size=40), "Multiboot header at byte 16: cut off after 24 bytes, expected 32"),
    "load above the header": (
        multiboot_image(header_addr=LOAD - 4),
        "load_addr 0x100000 expected to be at or below header_addr 0xFFFFC",
    ),
    "load before the file": (
        multiboot_image(header_addr=LOAD + 20),
        "header found at byte 16 of the file, expected 20 bytes before it",
    ),
    "truncated": (multiboot_image(load_end_addr=LOAD + 257), "truncated: 256 bytes, expected 257 by load_end_addr"),
    "end before start": (multiboot_image(load_end_addr=LOAD - 1), "load_end_addr 0xFFFFF, expected at least"),
    "zeroes end in the middle of the image": (
        multiboot_image(load_end_addr=LOAD + 100, bss_end_addr=LOAD + 99),
        "bss_end_addr 0x100063, expected 0 or at least 0x100064",
    ),
    "entry before the image": (multiboot_image(entry_addr=LOAD - 1), "entry_addr 0xFFFFF, expected within"),
    "entry behind the image": (multiboot_image(entry_addr=LOAD + 256), "entry_addr 0x100100, expected within"),
    "entry in the zeroes": (
        multiboot_image(bss_end_addr=LOAD + 5000, entry_addr=LOAD + 300),
        "entry_addr 0x10012C, expected within the loaded bytes 0x100000 to 0x100100",
    ),
    "beyond memory": (
        multiboot_image(load_addr=(16 << 20) - 255, entry_addr=(16 << 20) - 255),
        "reaches from 0xFFFF01 to 0x1000001, expected to end within the guest's memory of 16 MiB",
    ),
    "zeroes beyond memory": (multiboot_image(bss_end_addr=0x1000001), "reaches from 0x100100 to 0x1000001"),
    "at the end of the address space": (
        multiboot_image(load_addr=0xFFFFFF00, entry_addr=0xFFFFFF00, header_addr=0xFFFFFF10),
        "reaches from 0xFFFFFF00 to 0x100000000",
    ),
    "in video memory": (
        multiboot_image(load_addr=0xB8000, entry_addr=0xB8000),
        "reaches from 0xB8000 to 0xB8100, where a PC has video memory",
    ),
    "over the boot information": (
        multiboot_image(load_addr=INFO_ADDRESS - 10, entry_addr=INFO_ADDRESS),
        "two parts overlap at 0x9FC00",
    ),
}


@pytest.mark.parametrize(("content", "expected"), BAD_MULTIBOOT.values(), ids=BAD_MULTIBOOT.keys())
def test_a_bad_multiboot_image_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario(make_folder(tmp_path, image=content))
    with pytest.raises(ImageError) as caught:
        load_image(scenario)
    assert str(caught.value).startswith(f"made/guest.bin: {expected}")
    assert str(caught.value).isprintable()


BAD_OTHERS = {
    "short sector": (SECTOR[1:], spec(ImageFormat.BOOTSECTOR), "511 bytes, expected a boot sector of 512"),
    "long sector": (SECTOR * 2, spec(ImageFormat.BOOTSECTOR), "1,024 bytes, expected a boot sector of 512"),
    "unsigned sector": (bytes(512), spec(ImageFormat.BOOTSECTOR), "ends in 00 00, expected the boot signature 55 AA"),
    "entry behind the flat image": (
        b"\xf4",
        spec(ImageFormat.FLAT, load=0x8000, entry=0x8001, start="protected"),
        "guest.entry 0x8001, expected within the image 0x8000 to 0x8001",
    ),
    "real mode above 1 MiB": (
        b"\xf4",
        spec(ImageFormat.FLAT, load=LOAD, entry=LOAD, start="real"),
        "guest.entry 0x100000, expected below 0x100000 for a start in real mode",
    ),
    "flat beyond memory": (
        bytes(2),
        spec(ImageFormat.FLAT, memory_mib=2, load=0x1FFFFF, entry=0x1FFFFF, start="protected"),
        "reaches from 0x1FFFFF to 0x200001, expected to end within the guest's memory of 2 MiB (0x200000)",
    ),
}


@pytest.mark.parametrize(("content", "guest", "expected"), BAD_OTHERS.values(), ids=BAD_OTHERS.keys())
def test_a_bad_boot_sector_or_flat_image_gets_one_line(content: bytes, guest: GuestSpec, expected: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_image(content, guest)
    assert str(caught.value) == expected


def test_an_image_larger_than_memory_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    with (folder / "guest.bin").open("r+b") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(ImageError, match=r"guest\.bin: 16,777,217 bytes, expected no more than the guest's memory"):
        load_image(load_scenario(folder))


def test_an_empty_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"guest\.bin: empty, expected a guest$"):
        load_image(load_scenario(make_folder(tmp_path, image=b"")))


def test_the_shipped_images_load_at_1_mib_with_a_zeroed_stack() -> None:
    image = load_image(find_scenario("rings-tour"))
    assert image.segments[0].address == LOAD
    assert image.entry == LOAD + 0x20
    assert sum(size for _, size in image.zeroed) >= 2 * 4096


addresses = st.integers(0, 0xFFFFFFFF)


@given(st.integers(0, 100), st.integers(0, 0xFFFF), st.tuples(*[addresses] * 5))
def test_a_header_is_found_wherever_it_stands(words: int, optional: int, fields: tuple[int, ...]) -> None:
    flags = 1 << 16 | (optional & 0xFFFE) << 16 | optional & 3
    magic = 0x1BADB002
    header = struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, *fields)
    assert parse_header(b"\x90" * words * 4 + header) == MultibootHeader(words * 4, flags, *fields)


@given(st.integers(1, 0xFFFFFFFF))
def test_any_other_checksum_is_refused(offset: int) -> None:
    right = -(0x1BADB002 + (1 << 16))
    with pytest.raises(ImageError, match=r"checksum 0x[0-9A-F]{8}, expected 0xE4514FFE$"):
        parse_header(multiboot_image(checksum=(right + offset) & 0xFFFFFFFF))


def test_a_magic_number_by_chance_does_not_hide_the_header() -> None:
    content = bytearray(multiboot_image(header_offset=32))
    content[0:4] = struct.pack("<I", 0x1BADB002)
    assert parse_header(bytes(content)).offset == 32


@given(st.binary(max_size=300), st.tuples(*[st.sampled_from([0, LOAD - 4, LOAD, LOAD + 8, LOAD + 90, 0xFFFFFFFF])] * 5))
def test_whatever_the_header_says_the_layout_is_sound_or_refused(tail: bytes, fields: tuple[int, ...]) -> None:
    header = struct.pack("<8I", 0x1BADB002, 1 << 16, 0xE4514FFE, *fields)
    content = header + tail
    try:
        layout = lay_out(content, 16)
    except ImageError:
        return
    address, data = layout.segments[0]
    assert data in content
    assert address <= layout.entry < address + len(data)
    assert all(start == address + len(data) and size > 0 for start, size in layout.zeroed)
