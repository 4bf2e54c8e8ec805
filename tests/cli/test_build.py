import shutil
from pathlib import Path

import pytest

from ringviz.guest.scenario import find_scenario
from tests.cli.guests import needs_nasm
from tests.cli.program import one_complaint, ringviz


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Give a scenario folder that a test may change."""
    return Path(shutil.copytree(find_scenario("hello-serial").path, tmp_path / "mine"))


@needs_nasm
def test_all_shipped_images_are_what_their_sources_say() -> None:
    result = ringviz("build", "--verify", str(find_scenario("hello-serial").path.parent))
    assert (result.returncode, result.stderr) == (0, "")
    assert "hello-serial: same as a fresh build" in result.stdout


@needs_nasm
def test_verify_finds_a_changed_image_writes_nothing_and_fails(copied: Path) -> None:
    image = copied / "guest.bin"
    changed = bytearray(image.read_bytes())
    changed[-1] ^= 0xFF
    image.write_bytes(changed)
    complaint = one_complaint(ringviz("build", "--verify", str(copied)), exit_code=1)
    assert "guest.bin: byte 0x" in complaint
    assert image.read_bytes() == changed


@needs_nasm
def test_build_writes_what_verify_then_finds_good(copied: Path) -> None:
    (copied / "guest.bin").write_bytes(b"old")
    assert "guest.bin" in ringviz("build", str(copied)).stdout
    assert ringviz("build", "--verify", str(copied)).returncode == 0
    assert "nothing has changed" in ringviz("build", str(copied)).stdout


@needs_nasm
def test_a_new_guest_without_image_can_be_built_and_then_runs(copied: Path) -> None:
    for name in ("guest.bin", "guest.sym"):
        (copied / name).unlink()
    assert "guest.image" in one_complaint(ringviz("build", "--verify", str(copied)))
    built = ringviz("build", str(copied))
    assert (built.returncode, built.stderr) == (0, "")
    assert "guest.bin and guest.sym written" in built.stdout
    ran = ringviz("stat", str(copied))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Hello from ring 0." in ran.stdout


@needs_nasm
def test_a_source_that_nasm_refuses_is_one_line_with_the_place(copied: Path) -> None:
    (copied / "guest.asm").write_text("bits 32\n  mov eax, [[\n")
    assert "guest.asm: nasm: 2:" in one_complaint(ringviz("build", str(copied)))


def test_a_missing_nasm_is_one_line_that_says_how_to_get_it(copied: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "nasm not found; get it with" in one_complaint(ringviz("build", str(copied), PATH=str(empty)))


@needs_nasm
def test_an_image_that_cannot_be_written_is_one_line(copied: Path) -> None:
    (copied / "guest.bin").unlink()
    (copied / "guest.bin").mkdir()
    assert "guest.bin: cannot be written: " in one_complaint(ringviz("build", str(copied)))


def test_diff_shows_what_a_recompiled_kernel_changes_and_writes_nothing(copied: Path) -> None:
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    result = ringviz("build", "--diff", str(copied))
    assert (result.returncode, result.stderr) == (0, "")
    assert "49 of 107 source lines were written for the VMM (45.8 %), 47 left out" in result.stdout
    assert any(line.startswith("-") and line.endswith("lgdt [gdt_pointer]") for line in result.stdout.splitlines())
    assert any(line.startswith("+") and line.endswith("mov eax, SET_GDT") for line in result.stdout.splitlines())
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before


def test_diff_of_a_guest_with_one_build_says_so() -> None:
    result = ringviz("build", "--diff", str(find_scenario("msr-and-cr").path))
    assert result.stdout.endswith("msr-and-cr: one build only; nothing is recompiled\n")


def test_verify_and_diff_exclude_each_other(copied: Path) -> None:
    assert "choose one of them" in one_complaint(ringviz("build", "--verify", "--diff", str(copied)))
