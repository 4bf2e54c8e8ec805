"""What guests print, and which of their lines may tell honest machines apart.

The expectations in `golden` are what QEMU printed. Some answers are about the machine itself, though: who made the CPU,
what an address gives where nothing answers. There QEMU is another machine and no oracle, so those lines are compared
up to their label only; what ringviz prints behind it is tested by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
_CUT = b"..."
_FLOATS = "a bus on which nobody answers reads as ones; QEMU gives zeros"
_NO_SUCH_MSR = "#GP by the manual on a CPU without it; QEMU answers 0 and forgets what is written"

MACHINE_DEPENDENT: Mapping[str, Mapping[str, str]] = {
    "cpuid-loop": {
        "Vendor ": "names the CPU, its highest leaf and its signature",
    },
    "hypercall-ping": {
        "CPUID 1, ECX bit 31 -> ": "QEMU is a hypervisor that says so; bare metal has none, another VMM may keep quiet",
        "CPUID 40000000 -> ": "the hypervisor's name: QEMU has one to give",
    },
    "msr-and-cr": {
        "CR0  NW without CD              ": "#GP by the manual; QEMU does not check it",
        "MSR  DEAD read                  ": _NO_SUCH_MSR,
        "MSR  DEAD written               ": _NO_SUCH_MSR,
    },
    "escape-attempts": {
        "  read 01000000 ": _FLOATS,
        "  read 00FFFFFE ": _FLOATS,
        "  read 80000000 ": _FLOATS,
        "  read FFC00000 ": _FLOATS,
        "  read FFC04000 ": _FLOATS,
        "  read FFC10000 ": _FLOATS,
        "  copy to 0100000F ": _FLOATS,
        "  read VM_HSAVE_PA ": _NO_SUCH_MSR,
        "  write VM_HSAVE_PA ": _NO_SUCH_MSR,
        "  set EFER.SVME ": _NO_SUCH_MSR,
        "  read FEATURE_CONTROL ": _NO_SUCH_MSR,
        "  read VMX_BASIC ": _NO_SUCH_MSR,
    },
    "teachos64": {
        "[stack: ": "an address that is not canonical, by way of RSP: #SS by the manual; QEMU raises #GP for any",
    },
}
"""By scenario: the label that a line starts with, and why machines may differ behind it."""


def comparable(scenario_id: str, console: bytes) -> bytes:
    """The console with every machine-dependent line cut off behind its label."""
    labels = tuple(label.encode() for label in MACHINE_DEPENDENT.get(scenario_id, {}))
    return b"\n".join(_cut(line, labels) for line in console.split(b"\n"))


def _cut(line: bytes, labels: tuple[bytes, ...]) -> bytes:
    label = next((label for label in labels if line.startswith(label)), None)
    return line if label is None else label + _CUT


def behind(console: str, label: str) -> str:
    """What the one line with this label says behind it."""
    (line,) = (line for line in console.splitlines() if line.startswith(label))
    return line.removeprefix(label)
