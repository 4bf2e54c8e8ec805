"""`stat`, `compare`, `trace` and `walk` with an image of one's own instead of a scenario."""

from pathlib import Path

import pytest

from ringviz.facts.techniques import TECHNIQUES
from tests.cli.program import one_complaint, ringviz, valid_json

# mov si, text / next: lodsb / test al, al / jz end / mov dx, 3F8h / out dx, al / jmp next / end: out F4h, al
SECTOR = bytes.fromhex("be137c ac 84c0 7406 baf803 ee ebf5 e6f4 ebfe").ljust(0x13, b"\x90") + b"Own\n\0"
SECTOR = SECTOR.ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "own.img"
    path.write_bytes(SECTOR + bytes(512 * 7))
    return str(path)


@pytest.mark.parametrize("technique", [name for name in TECHNIQUES if name != "paravirt"])
def test_a_boot_sector_of_ones_own_runs_under_every_technique(image: str, technique: str) -> None:
    result = valid_json(ringviz("stat", image, "-t", technique, "--json").stdout, "stat")
    assert (result["scenario"], result["console"], result["exit_code"]) == ("own.img", "Own\n", 1)


def test_paravirt_refuses_it_in_one_line(image: str) -> None:
    line = one_complaint(ringviz("stat", image, "-t", "paravirt"))
    assert "own.img" in line
    assert "recompiled" in line


def test_compare_and_trace_take_it_too(image: str) -> None:
    comparison = valid_json(ringviz("compare", image, "--json").stdout, "compare")
    assert all(run["fidelity"]["identical"] for run in comparison["runs"])
    assert len(comparison["runs"]) == len(TECHNIQUES) - 1
    assert "own.img" in ringviz("trace", image, "-t", "vt-x").stdout


def test_limit_and_memory_are_taken(image: str) -> None:
    result = valid_json(ringviz("stat", image, "--limit", "5", "--memory", "2", "--json").stdout, "stat")
    assert (result["outcome"], result["retired"]) == ("budget", 5)
    assert "--memory" in one_complaint(ringviz("stat", image, "--memory", "0"))


def test_anything_else_ends_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader")
    line = one_complaint(ringviz("stat", str(path)))
    assert "letter.txt" in line
    assert "Multiboot" in line
