"""Building guests with NASM: the committed files are what a build gives, and every failure is one line."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from ringviz.errors import ScenarioError, ToolError
from ringviz.guest import Scenario, list_scenarios, load_scenario, load_source_map
from ringviz.guest.build import assemble, build, verify, write_build
from ringviz.guest.listing import read_listing
from ringviz.guest.symbols import parse_symbols
from tests.guest.folders import make_folder

SHIPPED = list_scenarios()

needs_nasm = pytest.mark.skipif(
    shutil.which("nasm") is None, reason="NASM is not installed (apt-get install nasm, brew install nasm)"
)


@needs_nasm
@pytest.mark.parametrize("scenario", SHIPPED, ids=lambda scenario: scenario.id)
def test_committed_image_and_symbols_are_what_a_build_gives(scenario: Scenario) -> None:
    assert verify(scenario) == ()


SOURCE = """\
bits 32
org 0x100000
%macro twice 1
    push %1
    push %1
%endmacro
SIZE equ 0x123
section .text
start:
    mov eax, table              ; an address in another section
    twice eax
.loop:
    times 300 nop
%rep 2
    inc eax
%endrep
    jmp .loop
%include "extra.inc"
section .data align=4096 follows=.text
table: dd 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, start
    mov eax, \\
        SIZE
section .bss align=4096 nobits
stack: resb SIZE
stack_top:
"""


@needs_nasm
def test_every_label_and_line_is_found_through_macros_sections_and_includes(tmp_path: Path) -> None:
    (tmp_path / "some guest.asm").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "extra.inc").write_text("extra: cli\n sti\n", encoding="utf-8")
    built = assemble(tmp_path / "some guest.asm")
    whole = SOURCE.replace('%include "extra.inc"', "extra: cli\n sti")
    _, source_map = parse_symbols(built.symbols, whole.encode(), "x")
    assert {symbol.name: symbol.address for symbol in source_map.symbols} == {
        "start": 0x100000,
        "start.loop": 0x100007,
        "extra": 0x10013A,
        "table": 0x101000,
        "stack": 0x102000,
        "stack_top": 0x102123,
    }
    texts = whole.split("\n")
    assert {(line.address, line.size_bytes): texts[line.number - 1].strip() for line in source_map.lines} == {
        (0x100000, 5): "mov eax, table              ; an address in another section",
        (0x100005, 2): "twice eax",
        (0x100007, 300): "times 300 nop",
        (0x100133, 2): "%endrep",
        (0x100135, 5): "jmp .loop",
        (0x10013A, 1): "extra: cli",
        (0x10013B, 1): "sti",
        (0x101000, 44): "table: dd 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, start",
        (0x10102C, 5): "mov eax, \\",
    }
    assert [section.name for section in source_map.sections] == [".text", ".data", ".bss"]


@needs_nasm
def test_a_build_writes_image_and_symbols_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    scenario = load_scenario(folder)
    assert {path.name for path in write_build(scenario)} == {"guest.bin", "guest.sym"}
    assert (folder / "guest.bin").read_bytes() == b"\xf4"
    assert write_build(scenario) == ()
    assert verify(scenario) == ()
    line = load_source_map(scenario).line_at(0)
    assert line is not None
    assert line.text == "hlt"


@needs_nasm
def test_the_same_source_gives_the_same_bytes_whatever_the_folder_and_line_ends(tmp_path: Path) -> None:
    one = tmp_path / "one.asm"
    other = tmp_path / "other folder [x]" / "other.asm"
    other.parent.mkdir()
    one.write_bytes(b"start: nop\n jmp start\n")
    other.write_bytes(one.read_bytes().replace(b"\n", b"\r\n"))
    assert assemble(one) == assemble(other)


@needs_nasm
def test_the_options_a_user_gave_nasm_do_not_reach_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path)
    monkeypatch.setenv("NASMENV", "-f elf32")
    assert build(load_scenario(folder)).image == b"\xf4"


@needs_nasm
def test_verify_names_each_file_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario(make_folder(tmp_path, image=b"\x90"))
    assert verify(scenario) == (
        "made/guest.bin: byte 0x0 is 90, a fresh build has F4",
        "made/guest.sym: missing",
    )
    write_build(scenario)
    scenario.image_path.write_bytes(b"\xf4\xf4")
    scenario.symbols_path.write_text("x", encoding="utf-8")
    assert verify(scenario) == (
        "made/guest.bin: 2 bytes, a fresh build has 1",
        "made/guest.sym: differs from a fresh build of guest.asm",
    )


@needs_nasm
def test_a_folder_that_cannot_be_written_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario(make_folder(tmp_path))

    def refuse(path: Path, content: bytes) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    built = build(scenario)
    monkeypatch.setattr("ringviz.guest.build.build", lambda *_: built)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(ScenarioError, match=r"^made/guest\.bin: cannot be written: Permission denied$"):
        write_build(scenario)


@needs_nasm
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nop\nfoo bar\n", "2: error: "),
        ('%include "nowhere.inc"\n', "1: error: unable to open include file"),
        ("; nothing\n", "assembles to nothing, expected a guest"),
    ],
)
def test_a_source_that_nasm_refuses_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guest.asm").write_text(source, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        assemble(Path("guest.asm"))
    message = str(caught.value).replace("nasm: ", "")
    assert message.startswith(f"guest.asm: {expected}")
    assert "\n" not in message


def test_a_missing_nasm_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"^nasm not found; get it with: apt-get install nasm, brew install nasm"):
        assemble(tmp_path / "guest.asm")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for NASM is a shell script")
def test_a_nasm_that_writes_nothing_is_an_error_of_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nasm"
    fake.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "guest.asm").write_text("hlt\n", encoding="utf-8")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ToolError, match=r"^nasm has written no \.bin file"):
        assemble(tmp_path / "guest.asm")


NASM_MAP = """
-- Program origin -----

00007C00

-- Sections (summary) -----

Vstart            Start             Stop              Length    Class     Name
            7C00              7C00              7C02  00000002  progbits  .text

-- Symbols -----

---- Section .text -----

Real              Virtual           Name
            7C00              7C00  a
"""
LISTING = "     1 00000000 90                      a: nop\n     2 00000001 F4                      hlt\n"


def test_a_listing_that_agrees_with_image_and_source_is_believed() -> None:
    source_map = read_listing(LISTING, NASM_MAP, "a: nop\nhlt\n", b"\x90\xf4")
    assert [tuple(line) for line in source_map.lines] == [(0x7C00, 1, 1), (0x7C01, 1, 2)]
    assert source_map.address_of("a") == 0x7C00


@pytest.mark.parametrize(
    ("listing", "nasm_map", "source", "image", "complaint"),
    [
        (LISTING, NASM_MAP, "a: nop\nhlt\n", b"\x90\x90", "listing and image differ at line 2"),
        (LISTING, NASM_MAP, "a: nop\nhlt\n", b"\x90", "listing and image differ at line 2"),
        (LISTING, NASM_MAP, "a: nop\nret\n", b"\x90\xf4", "quotes line 2 differently"),
        (LISTING, "", "a: nop\nhlt\n", b"\x90\xf4", "names no program origin"),
        (LISTING, NASM_MAP.replace(".text", ".code"), "a: nop\nhlt\n", b"\x90\xf4", 'bytes in section ".text"'),
    ],
)
def test_a_listing_that_tells_another_story_is_not(
    listing: str, nasm_map: str, source: str, image: bytes, complaint: str
) -> None:
    with pytest.raises(ToolError, match=complaint):
        read_listing(listing, nasm_map, source, image)
