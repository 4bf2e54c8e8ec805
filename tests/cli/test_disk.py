"""`--disk` and `--disk2` put disks into the machine; a wrong one is one line and exit code 2."""

from pathlib import Path

import pytest

from tests.cli.guests import assembled, from_bytes, needs_nasm
from tests.cli.program import one_complaint, ringviz, valid_json

SOURCE = """
bits 32
org 0x100000
%macro first_byte 1
        mov dx, 0x1F6
        mov al, %1
        out dx, al
        mov dx, 0x1F2
        mov al, 1
        out dx, al
        inc dx
        mov al, 0
        out dx, al
        inc dx
        out dx, al
        inc dx
        out dx, al
        mov dx, 0x1F7
        mov al, 0x20
        out dx, al
%%busy: in al, dx
        test al, 0x80
        jnz %%busy
        mov dx, 0x1F0
        mov edi, 0x200000
        mov ecx, 256
        rep insw
        mov al, [0x200000]
        out 0xE9, al
%endmacro
        first_byte 0xE0
        first_byte 0xF0
        mov al, 0
        out 0xF4, al
        jmp $
"""


@pytest.fixture
def reader(tmp_path: Path) -> str:
    folder = tmp_path / "reader"
    folder.mkdir()
    for letter in "ab":
        (folder / f"{letter}.img").write_bytes(letter.encode() * 512)
    return assembled(folder, SOURCE)


@needs_nasm
def test_the_guest_reads_the_disks_it_is_given(reader: str) -> None:
    disks = ("--disk", f"{reader}/a.img", "--disk2", f"{reader}/b.img")
    stat = valid_json(ringviz("stat", reader, "--json", *disks).stdout, "stat")
    assert (stat["console"], stat["exit_code"]) == ("ab", 1)
    swapped = ("--disk2", f"{reader}/a.img", "--disk", f"{reader}/b.img")
    assert valid_json(ringviz("stat", reader, "--json", *swapped).stdout, "stat")["console"] == "ba"


@needs_nasm
def test_no_path_of_a_disk_gets_into_the_output(reader: str, tmp_path: Path) -> None:
    same = tmp_path / "same.img"
    same.write_bytes((Path(reader) / "a.img").read_bytes())
    one, other = (ringviz("trace", reader, "--disk", disk) for disk in (f"{reader}/a.img", str(same)))
    assert (one.returncode, one.stdout) == (0, other.stdout)


@needs_nasm
def test_all_techniques_agree_on_a_disk(reader: str) -> None:
    result = ringviz("compare", reader, "--disk", f"{reader}/a.img", "--disk2", f"{reader}/b.img", "--json")
    runs = valid_json(result.stdout, "compare")["runs"]
    assert {run["console"] for run in runs} == {"ab"}
    assert {run["fidelity"]["identical"] for run in runs} == {True}
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("command", "option", "name", "expected"),
    [
        ("stat", "--disk", "nothing.img", "No such file"),
        ("compare", "--disk2", "odd.img", "of 700 bytes, expected whole sectors of 512"),
        ("trace", "--disk", "odd.img", "of 700 bytes, expected whole sectors of 512"),
        ("check", "guest.disk", "odd.img", "of 700 bytes, expected whole sectors of 512"),
    ],
)
def test_a_disk_that_is_none_is_one_line(tmp_path: Path, command: str, option: str, name: str, expected: str) -> None:
    folder = Path(from_bytes(tmp_path, "f4"))
    (folder / "odd.img").write_bytes(bytes(700))
    if command == "check":
        toml = (folder / "scenario.toml").read_text()
        (folder / "scenario.toml").write_text(toml.replace("[guest]", f'[guest]\ndisk = "{name}"'))
        result = ringviz("check", str(folder))
    else:
        result = ringviz(command, str(folder), option, str(folder / name))
    complaint = one_complaint(result)
    assert f"{option}: found" in complaint
    assert expected in complaint
