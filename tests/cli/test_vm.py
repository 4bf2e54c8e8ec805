"""`ringviz vm` leads a guest through its whole life, with its process killed in between."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ringviz.cli.main import main
from tests.cli.guests import needs_nasm
from tests.record.machines.guests import writer

pytestmark = needs_nasm


class Room:
    """A folder for machines, and commands about them within this process: each in a process of its own takes long."""

    def __init__(self, folder: Path, output: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._output = output

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = main(["vm", *arguments])
        return code, *self._output.readouterr()

    def __call__(self, *arguments: str) -> str:
        code, printed, complained = self.run(*arguments)
        assert (code, complained) == (0, "")
        return printed

    def complaint(self, *arguments: str) -> str:
        code, printed, complained = self.run(*arguments)
        assert (code, printed) == (2, "")
        assert complained.startswith("ringviz: ")
        assert complained[:-1].isprintable()
        return complained

    def machine(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("show", name, "--json"))
        return found

    def killed(self, *arguments: str, after_s: float) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "ringviz", "vm", *arguments],
            stdout=subprocess.DEVNULL,
        )
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Room:
    writer(tmp_path / "writer")
    text = 'schema = 1\nscenario = "./writer"\ntechnique = "vt-x"\nweight = 128\n'
    (tmp_path / "web.toml").write_text(text)
    monkeypatch.setenv("RINGVIZ_MACHINES", str(tmp_path / "room"))
    monkeypatch.chdir(tmp_path)
    return Room(tmp_path, capsys)


def test_a_machine_goes_through_its_whole_life_with_kills_in_between(room: Room) -> None:
    assert room("define", "web", "web.toml") == "web: stopped\n"
    assert room("start", "web") == "web: running\n"
    room("run", "--for", "600000")
    first = room.machine("web")
    room.killed("run", "--for", "300000000", after_s=1)
    assert room.machine("web") == first
    room("snapshot", "web", "early")
    picture = room("run", "--for", "600000")
    assert "web |" in picture
    assert "Unfairness: 0.00%" in picture
    assert room.machine("web")["retired"] > first["retired"]
    assert room("revert", "web", "early") == "web: running\n"
    assert room.machine("web")["guest_state_sha256"] == first["guest_state_sha256"]
    room("share", "web", "--cap", "50")
    assert room("pause", "web") == "web: paused\n"
    assert room("clone", "web", "twin") == "twin: paused\n"
    room("resume", "web")
    assert room("shutdown", "web") == "web: shutting-down\n"
    room("run")
    web = room.machine("web")
    assert (web["state"], web["console"]) == ("stopped", "!")
    assert room("destroy", "web") == "web: destroyed\n"
    room("stop", "twin")
    assert "twin" in room("list")


def test_what_is_wrong_is_one_line(room: Room) -> None:
    assert "no machine" in room.complaint("start", "web")
    assert "web.tml: cannot be read" in room.complaint("define", "web", "web.tml")
    room("define", "web", "web.toml")
    assert "web is stopped: pause is not possible; possible are start, snapshot" in room.complaint("pause", "web")
    assert 'CPU "i386" is unknown' in room.complaint("host", "--cpu", "i386")
    assert "--for: found 0" in room.complaint("run", "--for", "0")
    assert "memory: found 0" in room.complaint("host", "--memory", "0")
    room("host", "--memory", "36")
    room("start", "web")
    (room.folder / "large.toml").write_text('schema = 1\nscenario = "hello-serial"\ntechnique = "trap-emulate"\n')
    room("define", "large", "large.toml")
    assert "large: needs 32 MiB with its VMM; of the host's 36 MiB, 18 MiB are free" in room.complaint("start", "large")


def test_the_same_machines_print_the_same_json(room: Room) -> None:
    room("define", "a", "web.toml")
    room("define", "b", "web.toml")
    room("host", "--scheduler", "stride")
    for name in "ab":
        room("start", name)
        room("snapshot", name, "on")
    first = room("run", "--for", "500000", "--json")
    for name in "ab":
        room("revert", name, "on")
    again = json.loads(room("run", "--for", "500000", "--json"))
    one = json.loads(first)
    assert [turn[0] for turn in one["turns"]][:2] == ["a", "b"]
    assert (again["turns"], again["machines"]) == (one["turns"], one["machines"])
