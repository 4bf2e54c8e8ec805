"""What `ringviz doctor` asks the machine."""

import subprocess
import sys

import pytest

from ringviz import machine
from ringviz.machine.machine import Machine
from ringviz.machine.native_hooks import PURE_PYTHON_VARIABLE


def test_every_check_is_good_here_and_can_be_asked_again() -> None:
    for _ in range(2):
        rows = machine.selfcheck()
        assert len({name for name, _, _ in rows}) == len(rows) >= 5
        assert [row for row in rows if not row[1]] == []


def test_it_says_which_callbacks_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PURE_PYTHON_VARIABLE, "1")
    details = {name: detail for name, _, detail in machine.selfcheck()}
    assert "Python" in details["callbacks"]


def test_a_machine_that_cannot_be_made_is_a_row_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Machine, bus: object, ram_bytes: int, *, has_long_mode: bool = False) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(Machine, "__init__", refuse)
    assert all(not is_good and "no room" in detail for _, is_good, detail in machine.selfcheck())


def test_importing_the_package_does_not_load_the_emulator() -> None:
    program = "import sys, ringviz.machine; sys.exit('unicorn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
