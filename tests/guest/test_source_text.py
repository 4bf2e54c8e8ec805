"""A source with the files that it includes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.errors import ScenarioError
from ringviz.guest.build import assemble
from ringviz.guest.source_text import Place, place_of, whole_source


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """A guest in a folder beside the one that it includes something from."""
    for name, text in (
        ("guest/guest.asm", 'bits 32\n%include "../shared/kernel.asm" ; all of it\nstart:\n    hlt\n'),
        ("shared/kernel.asm", "kernel:\r\n    nop\r\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path / "guest" / "guest.asm"


def test_an_include_is_replaced_by_the_lines_of_the_file(main: Path) -> None:
    assert whole_source(main) == b"bits 32\nkernel:\n    nop\nstart:\n    hlt\n"


def test_each_line_can_be_found_in_its_file(main: Path) -> None:
    places = [place_of(main, number) for number in range(1, 6)]
    assert places == [
        Place("guest.asm", 1),
        Place("../shared/kernel.asm", 1),
        Place("../shared/kernel.asm", 2),
        Place("guest.asm", 3),
        Place("guest.asm", 4),
    ]
    assert place_of(main, 99) == Place("guest.asm", 99)


def test_what_is_not_there_is_left_to_the_assembler(main: Path) -> None:
    main.write_text('%include "nowhere.asm"\n%include MACRO\n', encoding="ascii")
    assert whole_source(main) == b'%include "nowhere.asm"\n%include MACRO\n'


def test_files_that_include_one_another_come_to_an_end(main: Path) -> None:
    main.write_text('%include "guest.asm"\nnop\n', encoding="ascii")
    assert whole_source(main).endswith(b"\nnop\n")


def test_a_build_has_symbols_and_lines_of_both_files(main: Path) -> None:
    built = assemble(main)
    assert built.image == b"\x90\xf4"
    assert built.source_map.address_of("kernel") == 0
    lines = [built.source_map.line_at(address) for address in (0, 1)]
    assert [line.text.strip() for line in lines if line is not None] == ["nop", "hlt"]


def test_a_complaint_names_the_included_file_and_its_line(main: Path) -> None:
    (main.parent.parent / "shared" / "kernel.asm").write_text("kernel:\n    nonsense eax\n", encoding="ascii")
    with pytest.raises(ScenarioError, match=r"nasm: \.\./shared/kernel\.asm:2:"):
        assemble(main)
    main.write_text("bits 32\n    nonsense eax\n", encoding="ascii")
    with pytest.raises(ScenarioError, match=r"nasm: 2:"):
        assemble(main)
