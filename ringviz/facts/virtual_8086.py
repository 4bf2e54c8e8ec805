"""Virtual-8086 mode: what the CPU does there with the instructions that privilege is about, one row a form.

A VMM in ring 0 can let a guest's real-mode code run in this mode: addresses are formed as in real mode, the CPL is 3,
and with IOPL 0 nearly everything that the VMM must hear of traps. A form without a row raises #GP(0) there, for it is
privileged and the CPL is 3.

Source: Intel SDM Vol. 3B, "8086 Emulation"; checked on the emulated CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ringviz.facts.source import Source, by
from ringviz.facts.sources import SDM2, SDM3B


class InVirtual8086(Enum):
    """What becomes of an instruction; the value is a sentence for a learner."""

    TRAPS_BY_IOPL = "In virtual-8086 mode it raises #GP(0) while IOPL < 3."
    TRAPS_BY_PORT_MAP = "In virtual-8086 mode the TSS's I/O map alone decides; without one, every port raises #GP(0)."
    TRAPS_BY_PRIVILEGE = "In virtual-8086 mode the CPL is 3, so it raises #GP(0)."
    ENTERS_VMM = "In virtual-8086 mode it goes through the table of protected mode, which is the VMM's."
    REFUSED = "Real mode refuses it; virtual-8086 mode does so too where the VMM has set no entry point."
    UNDEFINED = "Virtual-8086 mode does not know it, nor does real mode: #UD."
    REVEALS = "In virtual-8086 mode it runs without a trap and shows the real machine's state."
    SAME = "In virtual-8086 mode it does what it does in real mode."


@dataclass(frozen=True, slots=True)
class Virtual8086Row:
    """One form of `ringviz.facts.instructions` in virtual-8086 mode."""

    form: str
    what: InVirtual8086
    source: Source


_SENSITIVE = SDM3B.at("8086 Emulation, Sensitive Instructions")
_PORTS = SDM3B.at("8086 Emulation, I/O-Port-Mapped I/O")
_LOADS = SDM3B.at("8086 Emulation, Instruction Set Available to Virtual-8086 Mode Tasks")
_INTERRUPTS = SDM3B.at("8086 Emulation, Interrupt and Exception Handling in Virtual-8086 Mode")
_PAGES = SDM2.at("the instructions' pages, Virtual-8086 Mode Exceptions")

IN_VIRTUAL_8086: Mapping[str, Virtual8086Row] = by(
    "form",
    *(
        Virtual8086Row(form, InVirtual8086.TRAPS_BY_IOPL, _SENSITIVE)
        for form in ("cli", "sti", "pushf", "popf", "int", "iret")
    ),
    *(Virtual8086Row(form, InVirtual8086.TRAPS_BY_PORT_MAP, _PORTS) for form in ("in", "ins", "out", "outs")),
    *(
        Virtual8086Row(form, InVirtual8086.UNDEFINED, _PAGES)
        for form in ("lldt", "ltr", "sldt", "str", "lar", "lsl", "verr", "verw")
    ),
    *(Virtual8086Row(form, InVirtual8086.ENTERS_VMM, _INTERRUPTS) for form in ("int1", "int3", "into")),
    Virtual8086Row("sysenter", InVirtual8086.REFUSED, _PAGES),
    *(Virtual8086Row(form, InVirtual8086.REVEALS, _PAGES) for form in ("smsw", "sgdt", "sidt")),
    *(
        Virtual8086Row(form, InVirtual8086.SAME, _LOADS)
        for form in (
            "mov-to-sreg", "mov-from-sreg", "push-sreg", "pop-sreg", "load-far-pointer",
            "jmp-far", "call-far", "ret-far", "cpuid", "rdtsc",
        )
    ),
)  # fmt: skip

SILENT_IN_VIRTUAL_8086: frozenset[str] = frozenset(
    row.form for row in IN_VIRTUAL_8086.values() if row.what is InVirtual8086.REVEALS
)
"""All that a VMM does not hear of there, and would have to."""
