"""`ringviz vm pages`, `ringviz vm set` and hosts that overcommit: machines are reclaimed from, and found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ringviz.cli.main import main
from ringviz.errors import InputError
from ringviz.record.machines.host_file import read_host


class Program:
    def __init__(self, output: pytest.CaptureFixture[str]) -> None:
        self._output = output

    def __call__(self, *arguments: str) -> str:
        assert main(["vm", *arguments]) == 0
        return self._output.readouterr().out

    def json(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*arguments, "--json"))
        return found

    def complaint(self, *arguments: str) -> str:
        assert main(["vm", *arguments]) == 2
        printed, complained = self._output.readouterr()
        assert not printed
        assert complained[:-1].isprintable()
        return complained.removeprefix("ringviz: ")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    monkeypatch.setenv("RINGVIZ_MACHINES", str(tmp_path / "room"))
    monkeypatch.chdir(tmp_path)
    return Program(capsys)


@pytest.fixture
def crowd(program: Program, tmp_path: Path) -> Program:
    """A host of one mebibyte with two machines of four."""
    program("host", "--memory", "1", "--overcommit", "--sharing", "--idle-tax", "50")
    for name, technique in (("a", "vt-x"), ("b", "trap-emulate")):
        (tmp_path / f"{name}.toml").write_text(f'schema = 1\nscenario = "balloon"\ntechnique = "{technique}"\n')
        program("define", name, f"{name}.toml")
        program("start", name)
    return program


def test_machines_on_a_crowded_host_are_found_again_and_do_with_less_memory_when_told(crowd: Program) -> None:
    assert "1 MiB (overcommitted, idle tax 50 %; pages shared), scheduler credit" in crowd("host")
    crowd("run", "--for", "3000000")
    assert crowd("set", "a", "memory=3", "weight=300") == "a: running\n"
    crowd("run", "--for", "3000000")  # begins with the machines led to where they stood
    shown = crowd.json("show", "a")
    assert (shown["memory_max_mib"], shown["weight"]) == (3, 300)
    pages = {guest["machine"]: guest for guest in crowd.json("pages")["guests"]}
    assert pages["a"]["balloon_target"] >= 256
    assert pages["a"]["ballooned"] > 100
    assert pages["b"]["ballooned"] < pages["a"]["ballooned"]


def test_the_map_is_told_in_words_and_pictures(program: Program, tmp_path: Path) -> None:
    (tmp_path / "h.toml").write_text(
        'schema = 1\ntitle = "t"\ncycles = 9\nmemory_mib = 32\n[machines.a]\nscenario = "balloon"\ntechnique = "vt-x"\n'
    )
    text = program("pages", "h.toml", "--at", "1000000", "--frames")
    assert "8,192 frames of 4 KiB" in text
    assert "Enough is free: nothing is reclaimed." in text
    assert "a, as its guest sees its memory from page 0 on:" in text
    assert "vmm: a" in text
    assert "private: a" in text


def test_what_cannot_be_set_is_refused_in_one_line(crowd: Program) -> None:
    assert crowd.complaint("set", "a", "mem=3").startswith(
        "mem=3: expected one of memory=, weight=, cap=; did you mean"
    )
    assert crowd.complaint("set", "a", "memory=lots").startswith("memory: found 'lots', expected a whole number")
    assert crowd.complaint("set", "a", "memory=5").startswith("a: memory_max_mib: found 5, expected a number from 1 to")
    assert crowd.complaint("set", "c", "memory=1").startswith('no machine "c"; there are a, b')
    assert crowd.complaint("host", "--idle-tax", "100").startswith("the host cannot change while machines are on")
    assert crowd.complaint("pages", "--at", "5").startswith("--at: found 5, expected at least 1, and a host to run")


def test_a_hosts_file_says_how_it_goes_about_its_memory(tmp_path: Path) -> None:
    text = (
        'schema = 1\ntitle = "t"\ncycles = 1\novercommit = true\nsharing = true\nidle_tax_percent = 30\n'
        '[machines.a]\nscenario = "balloon"\ntechnique = "vt-x"\nmemory_min_mib = 1\nmemory_shares = 7\n'
    )
    host = read_host(text, "h.toml", tmp_path)
    assert (host.memory_rules.overcommits, host.memory_rules.shares_pages, host.memory_rules.tax_percent) == (
        True,
        True,
        30,
    )
    assert (host.machines["a"].allotment.min_mib, host.machines["a"].allotment.shares) == (1, 7)
    for wrong, why in (
        (text.replace("= 30", "= 100"), "h.toml: idle_tax_percent: found 100, expected a number from 0 to 99"),
        (text.replace("sharing = true", "sharing = 1"), "h.toml: sharing: found 1, expected true or false"),
        (text.replace("min_mib = 1", "min_mib = 9"), "h.toml: machines.a: memory_min_mib: found 9, expected a number"),
        (text.replace("shares = 7", "shares = 0"), "h.toml: machines.a: memory_shares: found 0, expected a number"),
        (text.replace("overcommit", "overcomit"), "h.toml: overcomit: unknown key"),
    ):
        with pytest.raises(InputError, match=why):
            read_host(wrong, "h.toml", tmp_path)
