"""Every guest image boots in QEMU and says there what the committed expectation says.

QEMU is the independent oracle: the expectations are what it printed, and ringviz is compared with the same
files; lines about the machine itself are cut off first (`tests.consoles`). After a deliberate change of a guest,
`python -m tests.test_scenarios_qemu` writes them anew; read the diff.
"""

import shutil
import subprocess
import tomllib
from dataclasses import dataclass

import pytest

from ringviz.guest import ImageFormat, Scenario, list_scenarios
from tests.consoles import GOLDEN, comparable

EXIT_CODES = GOLDEN / "exit_codes.toml"
QEMU = shutil.which("qemu-system-i386")
QEMU_64 = shutil.which("qemu-system-x86_64")
TIMEOUT_S = 60
SCENARIOS = [scenario for scenario in list_scenarios() if scenario.guest.format is ImageFormat.MULTIBOOT]


@dataclass(frozen=True)
class Ending:
    console: bytes
    exit_code: int


def boot_in_qemu(scenario: Scenario) -> Ending:
    """Boot the image and wait for it to write to the exit port."""
    qemu = QEMU_64 if scenario.guest.long or scenario.guest.svm else QEMU
    assert qemu is not None
    command = [qemu, "-kernel", str(scenario.image_path), "-m", str(scenario.guest.memory_mib)]
    command += ["-accel", "tcg", "-display", "none", "-serial", "stdio", "-no-reboot", "-net", "none"]
    command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"]
    if scenario.guest.svm:
        command += ["-cpu", "qemu64,+svm"]
    for number, disk in enumerate(scenario.disks):
        if disk is not None:  # what a guest writes goes to a snapshot, which ends with the run
            command += ["-drive", f"file={disk.path},format=raw,if=ide,index={number},snapshot=on"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert not result.stderr, result.stderr
    return Ending(comparable(scenario.id, result.stdout), result.returncode)


def expected_ending(scenario: Scenario) -> Ending:
    """The committed expectation."""
    exit_codes = tomllib.loads(EXIT_CODES.read_text(encoding="utf-8"))
    return Ending((GOLDEN / f"{scenario.id}.console.txt").read_bytes(), exit_codes[scenario.id])


@pytest.mark.qemu
@pytest.mark.skipif(None in (QEMU, QEMU_64), reason="QEMU is not installed (apt-get install qemu-system-x86)")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_a_guest_says_in_qemu_what_is_expected(scenario: Scenario) -> None:
    assert boot_in_qemu(scenario) == expected_ending(scenario)


def test_there_is_an_expectation_for_every_scenario_and_no_other() -> None:
    ids = {scenario.id for scenario in SCENARIOS}
    assert {path.name.removesuffix(".console.txt") for path in GOLDEN.glob("*.console.txt")} == ids
    assert set(tomllib.loads(EXIT_CODES.read_text(encoding="utf-8"))) == ids


def write_expectations() -> None:
    """Run everything in QEMU and keep what it says."""
    GOLDEN.mkdir(exist_ok=True)
    rows = []
    for scenario in sorted(SCENARIOS, key=lambda scenario: scenario.id):
        ending = boot_in_qemu(scenario)
        (GOLDEN / f"{scenario.id}.console.txt").write_bytes(ending.console)
        rows.append(f"{scenario.id} = {ending.exit_code}\n")
    EXIT_CODES.write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    write_expectations()
