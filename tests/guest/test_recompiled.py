"""What a port of a kernel takes, as lines of source."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.errors import ScenarioError
from ringviz.guest import Variant, list_scenarios, load_image, load_scenario, load_source_map
from ringviz.guest.build import build, verify, write_build
from ringviz.guest.markers import markers_of
from ringviz.guest.recompiled import compare_sources, read_conditions, recompiled
from tests.guest.folders import TOML, make_folder

RECOMPILED = [scenario for scenario in list_scenarios() if scenario.guest.paravirt]
SOURCE = """\
; A kernel.
start:
    mov eax, 1
%ifdef PARAVIRT
    ; asks
    int 0x82
%else
    lgdt [table]

    hlt
%endif
%ifndef PARAVIRT
    cli
%ifdef OTHER
    sti
%endif
%endif
%ifdef OTHER
    nop
%else
    ret
%endif
"""


def texts(lines: tuple[object, ...]) -> list[str]:
    return [line.text.strip() for line in lines]  # type: ignore[attr-defined]


def test_lines_belong_to_both_builds_or_to_one_of_them() -> None:
    port = read_conditions(SOURCE.split("\n"))
    assert [(texts(change.original), texts(change.recompiled)) for change in port.changes] == [
        (["lgdt [table]", "hlt"], ["int 0x82"]),
        (["cli", "sti"], []),
    ]
    assert (port.written, port.dropped, port.lines) == (1, 4, 5)  # start:, mov, int, and the two of another condition
    assert port.percent == 20.0
    assert port.changes[0].original[0].number == 8


def test_two_sources_are_compared_line_by_line_without_their_comments() -> None:
    port = compare_sources(["a ; x", "cli", "b", "", "hlt"], ["a", "; nothing", "int 0x82", "b ; y", "hlt"])
    assert [(texts(change.original), texts(change.recompiled)) for change in port.changes] == [(["cli"], ["int 0x82"])]
    assert (port.written, port.lines) == (1, 4)


def test_a_scenario_with_one_build_has_no_port(tmp_path: Path) -> None:
    assert recompiled(load_scenario(make_folder(tmp_path))) is None


@pytest.mark.parametrize("scenario", RECOMPILED, ids=lambda scenario: scenario.id)
def test_the_ports_of_the_shipped_kernels_change_some_of_their_lines(scenario: object) -> None:
    port = recompiled(scenario)  # type: ignore[arg-type]
    assert port is not None
    assert 0 < port.written < port.lines
    assert 0 < port.percent < 60


# ---- building both -------------------------------------------------------------------------------------------------

BOTH = TOML.replace("memory_mib = 16", "memory_mib = 16\nparavirt = true").replace('format = "multiboot"', FLAT := (
    'format = "flat"\nload = 0x100000\nentry = 0x100000\nstart = "protected"'
))  # fmt: skip
KERNEL = """\
bits 32
org 0x100000
start:
%ifdef PARAVIRT
    int 0x82
%else
    hlt
%endif
.marker_done:
    jmp start
"""


def both(tmp_path: Path, source: str = KERNEL, toml: str = BOTH) -> Path:
    folder = make_folder(tmp_path, toml, b"\x90")
    (folder / "guest.asm").write_text(source, encoding="utf-8")
    return folder


def test_one_source_becomes_two_images_with_symbols_of_their_own(tmp_path: Path) -> None:
    folder = both(tmp_path)
    written = write_build(load_scenario(folder, is_built=False))
    names = ["guest.bin", "guest.paravirt.bin", "guest.paravirt.sym", "guest.sym"]
    assert sorted(path.name for path in written) == names
    scenario = load_scenario(folder)
    assert load_image(scenario).segments[0].data == bytes.fromhex("f4ebfd")
    assert load_image(scenario, Variant.PARAVIRT).segments[0].data == bytes.fromhex("cd82ebfc")
    original, ported = load_source_map(scenario), load_source_map(scenario, Variant.PARAVIRT)
    assert (markers_of(original), markers_of(ported)) == ({0x100001: "marker_done"}, {0x100002: "marker_done"})
    line = ported.line_at(0x100000)
    assert line is not None
    assert line.text.strip() == "int 0x82"
    assert verify(scenario) == ()
    (folder / "guest.paravirt.bin").write_bytes(b"\xf4")
    assert len(verify(scenario)) == 1


def test_a_source_of_its_own_is_taken_where_the_folder_has_one(tmp_path: Path) -> None:
    folder = both(tmp_path)
    (folder / "guest.paravirt.asm").write_text(KERNEL.replace("int 0x82", "nop").replace("hlt", "nop"))
    scenario = load_scenario(folder, is_built=False)
    assert build(scenario, Variant.PARAVIRT).image == bytes.fromhex("90ebfd")
    port = recompiled(scenario)
    assert port is not None
    assert port.written == 2


@pytest.mark.parametrize(
    ("source", "toml", "expected"),
    [
        (KERNEL.replace(".marker_done", ".done"), BOTH, "no label begins with marker_"),
        (
            KERNEL.replace("    hlt\n", "    hlt\n.marker_only:\n    nop\n"), BOTH,
            "marker_only is a label of the original build only, expected it in both",
        ),
        (KERNEL.replace("    jmp", ".marker_also:\n    jmp"), BOTH, "expected names and addresses of their own"),
        (KERNEL, BOTH + '[leftovers]\nmarker_other = ["eax"]\n', "leftovers.marker_other: no such label in guest.asm"),
    ],
)  # fmt: skip
def test_builds_that_cannot_be_compared_are_refused(tmp_path: Path, source: str, toml: str, expected: str) -> None:
    with pytest.raises(ScenarioError, match=expected):
        write_build(load_scenario(both(tmp_path, source, toml), is_built=False))


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        (BOTH, 'guest.paravirt: found "guest.paravirt.bin", expected a file in the same folder'),
        (BOTH + "[leftovers]\neax = 1\n", "leftovers.eax: unknown key, expected a label that starts with marker_"),
        (BOTH + '[leftovers]\nmarker_a = "eax"\n', 'leftovers.marker_a: found "eax", expected a list of eax, ebx'),
        (BOTH + '[leftovers]\nmarker_a = ["rax"]\n', 'leftovers.marker_a: found "rax", expected a list of eax, ebx'),
        ("leftovers = 3\n" + BOTH, r"leftovers: found 3, expected a table: \[leftovers\]"),
    ],
)
def test_a_second_build_that_is_not_declared_well_gets_one_line(tmp_path: Path, toml: str, expected: str) -> None:
    with pytest.raises(ScenarioError, match=expected):
        load_scenario(both(tmp_path, toml=toml))


def test_lines_of_a_macro_belong_to_the_line_that_calls_it_however_long_their_bytes(tmp_path: Path) -> None:
    macro = "%macro twice 0\n    mov dword [0x12345678], 0x9ABCDEF0\n    mov byte [start + 1], 5\n%endmacro\n"
    folder = both(tmp_path, KERNEL.replace("start:\n", macro + "start:\n    twice\n"))
    write_build(load_scenario(folder, is_built=False))
    source_map = load_source_map(load_scenario(folder))
    lines = {source_map.line_at(address) for address in range(0x100000, 0x100011)}
    assert [line.text.strip() for line in lines if line is not None] == ["twice"]
