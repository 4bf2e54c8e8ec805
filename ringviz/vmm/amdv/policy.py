"""What this VMM intercepts: its own choice, what the user changed, and what the hardware insists on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ringviz.facts.exceptions import EXCEPTIONS, Vector
from ringviz.facts.svm import INTERCEPTS
from ringviz.machine.memory import Ram
from ringviz.vmm.amdv import layout
from ringviz.vmm.controls import HYPERVISOR_BIT, Control, exception_name, hypervisor_bit, take
from ringviz.vmm.setup import Setup

OWN = frozenset(
    {
        "VMRUN", "VMLOAD", "VMSAVE", "STGI", "CLGI", "SKINIT", "INVLPGA", "VMMCALL",
        "CPUID", "HLT", "IOIO_PROT", "MSR_PROT", "SHUTDOWN", "INVD", "TASK_SWITCH",
        "INTR", "NMI", "SMI", "INIT",
    }
)  # fmt: skip
"""What this VMM lets exit: the SVM instructions, which the guest has through this VMM at best; what belongs to the
whole machine (ports, model-specific registers, caches, external interrupts); and what tells it that the guest is idle
or dead."""
_REGISTERS_OF_PAGING = frozenset(f"{register}_{way}" for register in ("CR0", "CR3", "CR4") for way in ("READ", "WRITE"))
SHADOW = frozenset({*_REGISTERS_OF_PAGING, f"EXCP{Vector.PF.value}", "INVLPG"})
"""What it intercepts besides where the real page tables are its own."""

_SHORT = {"IOIO_PROT": "ioio", "MSR_PROT": "msr"}
_NOT_IN_THIS_MACHINE: Mapping[str, str] = {
    "VINTR": "V_IRQ needs no exit here: the CPU waits for the guest's IF and delivers by itself",
    "FERR_FREEZE": "this machine has no FERR line",
    "RDTSCP": "this machine's CPU has no RDTSCP",
    "MONITOR": "this machine's CPU has no MONITOR and MWAIT",
    "MWAIT": "this machine's CPU has no MONITOR and MWAIT",
    "MWAIT_CONDITIONAL": "this machine's CPU has no MONITOR and MWAIT",
    "XSETBV": "this machine's CPU has no XSETBV",
    "RDPRU": "this machine's CPU has no RDPRU",
    "PAUSE": "this machine does not tell PAUSE from other innocuous instructions",
    "RSM": "RSM raises #UD outside system management mode, before any intercept",
}
_GROUPS = {0x000: "CR intercepts", 0x004: "DR intercepts", 0x00C: "first word of intercepts", 0x010: "second word"}
_REGISTERS_OF_32_BITS = frozenset({"CR0", "CR2", "CR3", "CR4", *(f"DR{number}" for number in range(8))})
_PORT = re.compile(r"[+-](port-([0-9a-f]{1,4}))")
_MSR = re.compile(r"[+-](msr-([0-9a-f]{1,8}))")
_MSR_RANGES = ((0x0000_0000, 0x0000), (0xC000_0000, 0x0800), (0xC001_0000, 0x1000))


class Policy:
    """The choices of one run."""

    def __init__(self, setup: Setup) -> None:
        self._chosen = take("amd-v", setup.controls, controls(setup))
        by_id = {_id_of(name): name for name in INTERCEPTS}
        changed = {by_id[name]: on for name, on in self._chosen.items() if name in by_id}
        self.intercepts = frozenset(
            {*_own(setup), *(n for n, on in changed.items() if on)} - {n for n, on in changed.items() if not on}
        )
        self.shows_itself = self._chosen.get(HYPERVISOR_BIT, False)
        """The guest may know that it is one."""

    def mark_everything(self, ram: Ram) -> None:
        """Fill the permission maps: everything is the VMM's but what the user gave to the guest."""
        ram.write(layout.IO_MAP, b"\xff" * layout.IO_MAP_BYTES)
        ram.write(layout.MSR_MAP, b"\xff" * layout.MSR_MAP_BYTES)
        for name, on in self._chosen.items():
            kind, _, number = name.partition("-")
            if on or kind not in ("port", "msr") or not number:
                continue
            if kind == "port":
                _clear(ram, layout.IO_MAP, int(number, 16))
            for first, offset in _MSR_RANGES if kind == "msr" else ():
                if first <= int(number, 16) < first + 0x2000:
                    for way in (0, 1):  # read, write
                        _clear(ram, layout.MSR_MAP + offset, 2 * (int(number, 16) - first) + way)


def _own(setup: Setup) -> frozenset[str]:
    """The intercepts that this VMM sets of its own accord."""
    return OWN if setup.mmu == "nested" else OWN | SHADOW


def _clear(ram: Ram, permissions: int, bit: int) -> None:
    address = permissions + (bit >> 3)
    ram.write_int(address, ram.read_int(address, 1) & ~(1 << (bit & 7)), 1)


def _id_of(name: str) -> str:
    """The intercept's name as on the command line."""
    if name in _SHORT:
        return _SHORT[name]
    if name.startswith("EXCP"):
        return exception_name(int(name[4:]))
    return name.lower().replace("_", "-")


# ---- what the user may change ----------------------------------------------------------------------------------------


def controls(setup: Setup) -> dict[str, Control]:
    """Every control of this technique."""
    rows = [*_intercept_controls(setup), *_other_controls(setup), *_map_controls(setup), hypervisor_bit()]
    return {row.id: row for row in rows}


def _intercept_controls(setup: Setup) -> Iterator[Control]:
    own = _own(setup)
    for name, row in INTERCEPTS.items():
        register = name.split("_")[0]
        if row.offset in (0x000, 0x004) and register not in _REGISTERS_OF_32_BITS:
            continue  # registers that a 32-bit guest cannot name
        if name.startswith("EXCP"):
            vector = int(name[4:])
            known = EXCEPTIONS.get(vector)
            if known is None or not known.mnemonic.startswith("#") or vector in (Vector.DF, Vector.VE):
                continue
        rule = _NOT_IN_THIS_MACHINE.get(name, "")
        if name == "VMRUN":
            rule = "VMRUN itself must be intercepted, or VMRUN ends with VMEXIT_INVALID"
        elif name in own & _REGISTERS_OF_PAGING:
            rule = "without nested paging the real paging registers are the VMM's"
        elif name in own & SHADOW and name != "INVLPG":
            rule = "page faults of the VMM's own page tables must reach it"
        group = _GROUPS.get(row.offset, "exception intercepts")
        yield Control(_id_of(name), f"{row.title}: exit", group, name in own, rule)


def _other_controls(setup: Setup) -> Iterator[Control]:
    yield Control(
        "npt",
        "NP_ENABLE: guest-physical addresses go through nested page tables",
        "NP_CONTROL",
        setup.mmu == "nested",
        f"--mmu {setup.mmu} decides it; ask for --mmu {'shadow' if setup.mmu == 'nested' else 'nested'}",
    )
    yield Control(
        "asid",
        "GUEST_ASID is not 0",
        "GUEST_ASID",
        True,
        "ASID 0 is the host's: VMRUN ends with VMEXIT_INVALID",
    )


def _map_controls(setup: Setup) -> Iterator[Control]:
    """Ports and MSRs: those that the user names, and one of each to show that they can be named."""
    words = " ".join(setup.controls).lower()
    for kind, pattern, first, needs in (("Port", _PORT, "3f8", "ioio"), ("MSR", _MSR, "174", "msr")):
        for name, number in dict([(f"{kind.lower()}-{first}", first), *pattern.findall(words)]).items():
            rule = "" if f"-{needs}" not in setup.controls else f"without the intercept {needs} the map does not count"
            title = f"{kind} {int(number, 16):X}h exits (any can be named, in hexadecimal)"
            yield Control(name, title, "permission maps", True, rule)
