"""Whole hosts are read from files; what is wrong with one is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.errors import InputError
from ringviz.record.machines.host_file import find_host, host_ids, read_host

GOOD = """
schema = 1
title = "Two"
cycles = 1_000_000
[machines.a]
scenario = "hello-serial"
technique = "vt-x"
"""


@pytest.mark.parametrize("host", host_ids())
def test_every_host_that_comes_with_ringviz_is_understood(host: str) -> None:
    definition = find_host(host)
    assert definition.title.startswith(f"{host}: ")
    assert definition.automation.orders
    for machine in definition.machines.values():
        assert machine.load().id == machine.scenario


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("schema = 1", "schema = 2", "schema: found 2, expected 1"),
        ("title", "titel", "titel: unknown key, expected schema, title"),
        ('title = "Two"', "", "title: missing, expected a line of text"),
        ("1_000_000", "0", "cycles: found 0, expected cycles to run for, 1 to 1,000,000,000"),
        ("[machines.a]", "[machines.A]", 'name: found "A"'),
        ("[machines.a]", "[machines.a]\nis_off = 1", "machines.a: is_off: found 1, expected true or false"),
        ("[machines.a]", "[machines.a]\nweigth = 1", "machines.a: weigth: unknown key"),
        ("[machines.a]", '[[orders]]\nat = 1\nmachine = "b"\ndo = "stop"\n[machines.a]', 'machine "b": is not there'),
        ("[machines.a]", "[machines]\na = 1\n[machines.b]", "machines.a: found 1, expected a table"),
    ],
)
def test_a_host_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert read_host(GOOD, "host.toml", tmp_path).id == "host"
    with pytest.raises(InputError) as error:
        read_host(GOOD.replace(old, new, 1), "host.toml", tmp_path)
    assert complaint in str(error.value)
    assert str(error.value).isprintable()


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(
        InputError, match=r'host "noisy-neighbor" unknown; choose one of .*did you mean "noisy-neighbour"'
    ):
        find_host("noisy-neighbor")
