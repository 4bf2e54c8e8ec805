"""`ringviz migrate` shows a guest on its way from host to host."""

import json

import pytest

from ringviz.cli.main import main

WRITER = ("migrate", "migration-writer", "--cpu", "haswell")


def test_a_migration_that_works_is_told_round_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WRITER, "--auto-converge"]) == 0
    text = capsys.readouterr().out
    assert "Moved: the guest stood still for" in text
    assert "30 %" in text
    assert "those of a run that nobody moved" in text


def test_the_same_in_json_with_the_link_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WRITER, "--cut", "500000", "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
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
    technique = () if "-t" in arguments else ("--cpu", "haswell")
    assert main(["migrate", "migration-quiet", *technique, *arguments]) == 2
    complained = capsys.readouterr().err
    assert why in complained
    assert complained.count("\n") == 1
