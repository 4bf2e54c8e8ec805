"""`ringviz migrate` shows a guest on its way from host to host."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ringviz.cli.main import main
from tests.cli.program import valid_json

WRITER = ("migrate", "migration-writer")


def test_a_migration_that_works_is_told_round_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WRITER, "--auto-converge"]) == 0
    text = capsys.readouterr().out
    assert "Moved: the guest stood still for" in text
    assert "30 %" in text
    assert "those of a run that nobody moved" in text


def test_without_help_the_writer_stays_and_the_help_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WRITER, "--rounds", "5"]) == 1
    text = capsys.readouterr().out
    assert "Not moved, it does not converge" in text
    assert "--auto-converge" in text


def test_the_same_in_json_with_the_link_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WRITER, "--cut", "500000", "--json"]) == 1
    value = valid_json(capsys.readouterr().out, "migrate")
    assert (value["result"], value["runs_at"], value["is_equal"]) == ("link-lost", "source", True)
    assert value["console"].endswith("Every page held what I had left there.\n")


def test_the_numbers_come_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "--numbers"]) == 0
    text = capsys.readouterr().out
    assert "downtime-limit" in text
    assert "QEMU migration" in text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--bandwidth", "0"), "--bandwidth: found 0, expected 1 to 100,000"),
        (("--rules", "none"), "choose one of qemu, xen, clark"),
        (("-t", "native"), "bare metal has no VMM"),
        (("--after", "999999999"), "has ended before the migration began"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    assert main(["migrate", "migration-quiet", *arguments]) == 2
    complained = capsys.readouterr().err
    assert why in complained
    assert complained.count("\n") == 1


def test_a_machine_moves_from_one_process_to_another(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"nobody else knows this")
    common = ["-m", "ringviz", "migrate", "migration-quiet", "--secret", "secret", "--record", "record"]
    with subprocess.Popen(
        [sys.executable, *common, "--listen", "0"], cwd=tmp_path, stdout=subprocess.PIPE, encoding="utf-8"
    ) as destination:
        assert destination.stdout is not None
        port = destination.stdout.readline().split()[-1]
        source = subprocess.run(
            [sys.executable, *common, "--to", port], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
        )
        told = destination.stdout.read()
    assert (source.returncode, destination.returncode) == (0, 0), source.stderr
    assert "Moved: the guest stood still for" in source.stdout
    assert "No tick was lost" in told
    assert "those of a run that nobody moved" in told
    assert (tmp_path / "record").read_text() == "moved"


def test_a_source_that_goes_away_leaves_the_destination_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"nobody else knows this")
    common = [sys.executable, "-m", "ringviz", "migrate", "migration-quiet"]
    options = ["--secret", "secret", "--record", "record", "--listen", "0"]
    with subprocess.Popen([*common, *options], cwd=tmp_path, stdout=subprocess.PIPE, encoding="utf-8") as destination:
        assert destination.stdout is not None
        port = int(destination.stdout.readline().split()[-1])
        with socket.create_connection(("127.0.0.1", port)) as source:
            source.sendall(b"RINGVIZM\2\0" + bytes(16))
        told = destination.stdout.read()
    assert destination.returncode == 1
    assert "Nothing has come: the link was lost while this host waits to hear what machine it is" in told


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--to", "1", "--listen", "2"), "one process is the destination"),
        (("--to", "1"), "--record: expected a file name"),
        (("--to", "1", "--record", "r"), "--secret: expected a file"),
        (("--to", "1", "--record", "r", "--secret", "short"), "found 5 bytes, expected 16"),
        (("--to", "70000"), "port: found 70000"),
        (("--to", "1", "--record", "short", "--secret", "short"), "is there already"),
    ],
)
def test_an_end_that_is_not_set_up_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_bytes(b"short")
    assert main(["migrate", "migration-quiet", *arguments]) == 2
    assert why in capsys.readouterr().err
