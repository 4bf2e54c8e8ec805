"""Names and source lines: looking up, writing and reading back, and refusing a file that is out of date."""

from pathlib import Path

import pytest

from ringviz.errors import ScenarioError
from ringviz.guest import SourceLine, SourceMap, find_scenario, load_scenario, load_source_map
from ringviz.guest.source_text import normalized
from ringviz.guest.symbols import LineRange, Section, Symbol, format_symbols, parse_symbols
from tests.guest.folders import make_folder

SOURCE = b"start:\n    nop\n    times 4 hlt\nend:\nnext: ret\n"
MAP = SourceMap(
    sections=(Section(0x100, 0x106, ".text"), Section(0x200, 0x210, ".bss")),
    symbols=(Symbol(0x100, "start"), Symbol(0x105, "end"), Symbol(0x105, "next"), Symbol(0x210, "top")),
    lines=(LineRange(0x100, 1, 2), LineRange(0x101, 4, 3), LineRange(0x105, 1, 5)),
    source=tuple(SOURCE.decode().split("\n")),
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (0x0FF, None),
        (0x100, ("start", 0)),
        (0x104, ("start", 4)),
        (0x105, ("next", 0)),
        (0x106, None),
        (0x1FF, None),
        (0x200, None),
        (0x210, ("top", 0)),
        (0x211, None),
    ],
)
def test_the_nearest_label_reaches_to_the_end_of_its_section(address: int, expected: tuple[str, int] | None) -> None:
    assert MAP.symbol_at(address) == expected


@pytest.mark.parametrize(
    ("address", "expected"), [(0xFF, None), (0x100, 2), (0x101, 3), (0x104, 3), (0x105, 5), (0x106, None)]
)
def test_every_byte_of_a_line_leads_back_to_it(address: int, expected: int | None) -> None:
    line = MAP.line_at(address)
    assert (line.number if line else None) == expected
    if line:
        assert line == SourceLine(line.number, MAP.source[line.number - 1])


def test_labels_lead_to_addresses() -> None:
    assert MAP.address_of("next") == 0x105
    assert MAP.address_of("nowhere") is None


def test_a_local_label_may_be_named_alone_if_there_is_but_one() -> None:
    names = ("start", "start.loop", "start.end", "other", "other.end")
    source = SourceMap((Section(0, 9, ".text"),), tuple(Symbol(i, name) for i, name in enumerate(names)), (), ())
    assert [source.address_of(name) for name in ("loop", ".loop", "start.end", "end", ".end", "")] == [
        1, 1, 2, None, None, None,
    ]  # fmt: skip


def test_an_empty_map_knows_nothing() -> None:
    empty = SourceMap()
    assert (empty.symbol_at(0), empty.line_at(0), empty.address_of("start")) == (None, None, None)


def test_what_is_written_is_read_back() -> None:
    text = format_symbols(MAP, SOURCE, b"image")
    digests, read_back = parse_symbols(text, SOURCE, "guest.sym")
    assert read_back == MAP
    assert set(digests) == {"source", "image"}


@pytest.mark.parametrize(
    "row",
    [
        "symbol 100",
        "symbol xyz start",
        "line 100 1",
        "line 100 1 0",
        "line 100 1 99",
        "line 100 one 1",
        "section 100 200",
        "source md5 00",
        "surprise",
    ],
)
def test_a_broken_row_gets_one_line(row: str) -> None:
    with pytest.raises(ScenarioError, match=r"^guest\.sym: line 2 cannot be used; run `ringviz build`$"):
        parse_symbols(f"# comment\n{row}\n", SOURCE, "guest.sym")


def _folder_with_symbols(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path)
    source, image = (folder / "guest.asm").read_bytes(), (folder / "guest.bin").read_bytes()
    source_map = SourceMap(source=tuple(source.decode().split("\n")))
    (folder / "guest.sym").write_text(format_symbols(source_map, normalized(source), image), encoding="utf-8")
    return folder


def test_a_folder_without_symbols_can_still_be_run(tmp_path: Path) -> None:
    assert load_source_map(load_scenario(make_folder(tmp_path))) == SourceMap()


def test_line_ends_of_another_system_change_nothing(tmp_path: Path) -> None:
    folder = _folder_with_symbols(tmp_path)
    for name in ("guest.asm", "guest.sym"):
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"\n", b"\r\n"))
    assert load_source_map(load_scenario(folder)).source == ("hlt", "")


@pytest.mark.parametrize("name", ["guest.asm", "guest.bin"])
def test_a_file_changed_after_the_build_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = _folder_with_symbols(tmp_path)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(ScenarioError) as caught:
        load_source_map(load_scenario(folder))
    assert str(caught.value) == f"made/{name}: not the file that made/guest.sym was made with; run `ringviz build`"


def test_symbols_that_are_not_text_get_one_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "guest.sym").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match=r"guest\.sym: not UTF-8, expected a file written by `ringviz build`$"):
        load_source_map(load_scenario(folder))


def test_the_tour_knows_its_own_labels_and_lines() -> None:
    source_map = load_source_map(find_scenario("rings-tour"))
    address = source_map.address_of("try_mov_cr0")
    assert address is not None
    assert source_map.symbol_at(address + 2) == ("try_mov_cr0", 2)
    line = source_map.line_at(address)
    assert line is not None
    assert line.text.split(";")[0].strip() == "mov cr0, eax"
    assert source_map.address_of("print_hex.digit") is not None
    assert source_map.address_of("COM1") is None, "a constant is no address"
