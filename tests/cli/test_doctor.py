from pathlib import Path

import pytest

from ringviz.cli import doctor
from tests.cli.program import ringviz


def test_doctor_finds_all_that_ringviz_needs() -> None:
    result = ringviz("doctor")
    assert result.returncode == 0, result.stdout
    for name in ("Python", "textual", "typer", "capstone", "unicorn", "nasm", "qemu-system-i386"):
        assert any(line.startswith(name) for line in result.stdout.splitlines())
    assert "ringviz is ready." in result.stdout


def test_a_missing_program_is_optional_and_doctor_says_how_to_get_it(tmp_path: Path) -> None:
    result = ringviz("doctor", PATH=str(tmp_path))
    assert result.returncode == 0
    assert "apt install nasm" in " ".join(result.stdout.split())


def test_something_needed_that_is_missing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "PYTHONS", ((4, 0), (4, 1)))
    assert doctor.doctor() == 1
    text = capsys.readouterr().out
    assert "MISSING" in text
    assert "cannot work" in text
