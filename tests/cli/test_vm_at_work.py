"""`ringviz vm` at a second terminal, while `ringviz vm run` at a first one has the machines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringviz.cli.main import main
from ringviz.record.machines.store import InUseError, Store
from tests.cli.guests import needs_nasm
from tests.record.machines.guests import writer
from tests.vmm.host.guests import busy

pytestmark = needs_nasm
_FOR_EVER = "1000000000000"
_PATIENCE_S = 60


class Terminals:
    """A host at work in a process of its own, and commands here."""

    def __init__(self, folder: Path, output: pytest.CaptureFixture[str]) -> None:
        self.folder, self._output = folder, output
        self._host: subprocess.Popen[bytes] | None = None

    def __call__(self, *arguments: str) -> str:
        code = main(["vm", *arguments])
        printed, complained = self._output.readouterr()
        assert (code, complained) == (0, "")
        return printed

    def complaint(self, *arguments: str) -> str:
        code = main(["vm", *arguments])
        printed, complained = self._output.readouterr()
        assert (code, printed) == (2, "")
        return complained

    def begin(self) -> None:
        """Let the host run, and wait until it has the machines."""
        command = [sys.executable, "-m", "ringviz", "vm", "run", "--for", _FOR_EVER]
        self._host = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            try:
                Store(self.folder).close()
            except InUseError:
                return
            time.sleep(0.05)
        raise AssertionError("the host does not begin")

    def kill(self) -> None:
        if self._host is not None:
            self._host.send_signal(signal.SIGKILL)
            self._host.wait()
            self._host = None

    def hold(self, held: bool) -> None:
        assert self._host is not None
        self._host.send_signal(signal.SIGSTOP if held else signal.SIGCONT)


@pytest.fixture
def vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Terminals]:
    """With two machines that are on: a host at work is done when none is."""
    writer(tmp_path / "writer")
    (tmp_path / "web.toml").write_text('schema = 1\nscenario = "./writer"\ntechnique = "vt-x"\n')
    monkeypatch.setenv("RINGVIZ_MACHINES", str(tmp_path / "room"))
    monkeypatch.chdir(tmp_path)
    terminals = Terminals(tmp_path / "room", capsys)
    busy(tmp_path / "busy")
    (tmp_path / "other.toml").write_text('schema = 1\nscenario = "./busy"\ntechnique = "vt-x"\nweight = 1024\n')
    for name in ("other", "web"):
        terminals("define", name, f"{name}.toml")
        terminals("start", name)
    yield terminals
    terminals.kill()


LIFE = (
    (("pause", "web"), "web: paused"),
    (("snapshot", "web", "here"), "web: paused"),
    (("clone", "web", "twin"), "twin: paused"),
    (("resume", "web"), "web: running"),
    (("share", "web", "--cap", "50"), "web: running"),
    (("reset", "web"), "web: running"),
    (("revert", "web", "here"), "web: paused"),
    (("stop", "twin"), "twin: stopped"),
    (("destroy", "twin"), "twin: destroyed"),
    (("resume", "web"), "web: running"),
    (("shutdown", "web"), "web: shutting-down"),
)


def test_every_operation_reaches_a_host_at_work_and_outlives_it(vm: Terminals) -> None:
    """The host is killed after every third one; whatever was answered is so when it comes back."""
    for number, (arguments, answer) in enumerate(LIFE):
        if number % 3 == 0:
            vm.begin()
        told = vm(*arguments, "--wait", str(_PATIENCE_S))
        assert told.startswith(f"{answer}; the host has taken the order at "), arguments
        if number % 3 == 2:
            vm.kill()
            if answer != "twin: destroyed":
                name, _, state = answer.partition(": ")
                assert json.loads(vm("show", name, "--json"))["state"] == state
    vm.kill()
    assert [entry["what"] for entry in json.loads(vm("audit", "--json"))["audit"]][:4] == [
        "pause web", "snapshot web as here", "clone web as twin", "resume web",
    ]  # fmt: skip
    vm("stop", "other")
    vm("run", "--for", "6000000")
    web = json.loads(vm("show", "web", "--json"))
    assert (web["state"], web["console"], web["snapshots"]) == ("stopped", "!", {"here": "paused"})


def test_a_host_that_refuses_or_is_held_or_goes_away_is_told_apart(vm: Terminals) -> None:
    vm.begin()
    wait = ("--wait", str(_PATIENCE_S))
    assert "web is running: resume is not possible; possible are pause" in vm.complaint("resume", "web", *wait)
    assert vm("list").startswith("The host is at work: this is how all stood when it was kept last")
    assert json.loads(vm("list", "--json"))["is_at_work"] is True
    assert "web: running" in vm("show", "web")
    assert "resume web" in vm("audit")
    vm.hold(True)
    held = vm.complaint("pause", "web", "--wait", "0.3")
    assert "has not come to the end of an accounting period within 0.3 s; the order is withdrawn" in held
    assert "takes the order when" in vm("pause", "web", "--wait", "0")
    vm.kill()  # now the order waits for whoever opens the folder next: that is the asker of another one
    assert vm("clone", "web", "twin") == "twin: paused\n"
    assert vm("show", "web").startswith("web: paused")
    assert json.loads(vm("show", "web", "--json"))["is_at_work"] is False


def test_a_machine_moves_to_a_host_that_runs_its_own(
    vm: Terminals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two processes; the one that receives is at work all the time, and is killed when it has the machine."""
    assert "--listen and --shared: whoever lets machines come needs both" in vm.complaint("run", "--listen", "0")
    vm("snapshot", "web", "here")
    monkeypatch.setenv("RINGVIZ_MACHINES", str(tmp_path / "there"))
    vm("define", "own", "other.toml")
    vm("start", "own")
    receiving = [sys.executable, "-m", "ringviz", "vm", "run", "--for", _FOR_EVER, "--listen", "0", "--shared", "both"]
    with subprocess.Popen(receiving, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as there:
        try:
            assert there.stderr is not None
            port = there.stderr.readline().split()[-1]
            monkeypatch.setenv("RINGVIZ_MACHINES", str(tmp_path / "room"))
            told = vm("migrate", "web", "--to", port, "--shared", "both", "--bandwidth", "1000", "--after", "100000")
            assert "web is at the other host, and not here any more" in told
            assert "no machine" in vm.complaint("show", "web")
            monkeypatch.setenv("RINGVIZ_MACHINES", str(tmp_path / "there"))
            assert "web: paused; the host has taken the order" in vm("pause", "web", "--wait", str(_PATIENCE_S))
        finally:
            there.kill()
    web = json.loads(vm("show", "web", "--json"))
    assert (web["state"], web["snapshots"]) == ("paused", {"here": "running"})
    assert [entry["what"] for entry in json.loads(vm("audit", "--json"))["audit"]] == ["let web come", "pause web"]
    vm("resume", "web")
    vm("run", "--for", "100000")
