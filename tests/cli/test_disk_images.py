"""`ringviz disk` makes, shows, checks and copies images; `--disk` takes them."""

import json
from pathlib import Path

from tests.cli.guests import assembled, needs_nasm
from tests.cli.program import one_complaint, ringviz
from tests.cli.test_disk import SOURCE


def _done(*arguments: str, cwd: Path) -> str:
    result = ringviz("disk", *arguments, cwd=cwd)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_a_disk_goes_through_its_commands(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(b"a" * 512 + bytes(1 << 20))
    assert "2,108 sectors" in _done("convert", "a.img", "a.vhd", cwd=tmp_path)
    assert "differs from a.vhd in nothing yet" in _done("snapshot", "a.vhd", "b.vhd", cwd=tmp_path)
    assert "from a.vhd" in _done("info", "b.vhd", cwd=tmp_path)
    info = json.loads(_done("info", "a.vhd", "--json", cwd=tmp_path))
    assert (info["kind"], info["creator"], info["allocated_blocks"]) == ("dynamic", "ringviz", 1)
    assert _done("check", "b.vhd", cwd=tmp_path) == "b.vhd: good\n"
    _done("create", "c.vhd", "--size", "3M", "--kind", "fixed", cwd=tmp_path)
    assert "Kind: fixed" in _done("info", "c.vhd", cwd=tmp_path)
    _done("convert", "b.vhd", "back.img", cwd=tmp_path)
    assert (tmp_path / "back.img").read_bytes() == (tmp_path / "a.img").read_bytes().ljust(2108 * 512, b"\0")


def test_a_damaged_disk_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "bad.vhd").write_bytes(bytes(4096))
    result = ringviz("disk", "check", "bad.vhd", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.endswith("bad.vhd: damaged\n")
    complaint = one_complaint(ringviz("disk", "info", "bad.vhd", cwd=tmp_path))
    assert "bad.vhd: no VHD: it has no hard disk footer" in complaint


def test_a_wrong_size_or_kind_is_one_line(tmp_path: Path) -> None:
    for arguments, why in (
        (("create", "x.vhd", "--size", "700"), "expected whole sectors"),
        (("create", "x.vhd", "--size", "2G"), "expected no more than 1,024 MiB"),
        (("create", "x.vhd", "--size", "-1M"), "expected a number of bytes"),
        (("create", "x.vhd", "--size", "1M", "--kind", "thin"), "expected one of raw, fixed, dynamic"),
        (("snapshot", "nothing.vhd", "x.vhd"), "No such file"),
    ):
        assert why in one_complaint(ringviz("disk", *arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


@needs_nasm
def test_a_guest_reads_a_virtual_hard_disk_and_a_snapshot_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    reader = assembled(folder, SOURCE)
    for letter in "ab":
        (tmp_path / f"{letter}.img").write_bytes(letter.encode() * 512)
        _done("convert", f"{letter}.img", f"{letter}.vhd", cwd=tmp_path)
    _done("snapshot", "b.vhd", "child.vhd", cwd=tmp_path)
    result = ringviz("stat", reader, "--json", "--disk", "a.vhd", "--disk2", "child.vhd", cwd=tmp_path)
    assert json.loads(result.stdout)["console"] == "ab"
    (tmp_path / "b.vhd").unlink()
    result = ringviz("stat", reader, "--disk", "child.vhd", cwd=tmp_path)
    assert '--disk: child.vhd: its parent "b.vhd" is not where it says' in one_complaint(result)
