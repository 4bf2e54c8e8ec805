"""A command line within the process of a test gives what it gives as a process of its own."""

from pathlib import Path

import pytest

from tests.cli.program import as_process, ringviz


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("stat", "--help"),
        ("list",),
        ("stat", "rings-tour", "-t", "trap-emulate"),
        ("compare", "hello-serial", "-t", "native", "-t", "emulation", "--json"),
        ("trace", "rings-tour", "-t", "amd-v", "--format", "jsonl"),
        ("check", "broken"),
        ("stat", "rings-tour", "--tecnique", "native"),
        ("stat", "no\x1b[31m-such"),
        ("run", "rings-tour"),
    ],
)
def test_a_command_is_the_same_within_a_test_and_as_a_process(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "scenario.toml").write_text("schema = 7\n")
    within, apart = ringviz(*arguments, cwd=tmp_path), as_process(*arguments, cwd=tmp_path)
    assert (within.returncode, within.stdout, within.stderr) == (apart.returncode, apart.stdout, apart.stderr)


def test_what_is_typed_is_read_in_the_same_way(tmp_path: Path) -> None:
    lesson = ("learn", "where-am-i")
    within, apart = (
        run(*lesson, typed="z\n\nq\n", RINGVIZ_STATE=str(tmp_path / name))
        for run, name in ((ringviz, "one"), (as_process, "other"))
    )
    assert "Expected one letter" in within.stdout
    assert (within.returncode, within.stdout, within.stderr) == (apart.returncode, apart.stdout, apart.stderr)
