"""A hypervisor around a random guest: it intercepts whatever it is told to, each thing once.

At an exit it clears the bit of the VMCB that has asked for it, whose place the exit code is, and goes on: so the guest
does by itself what it was just kept from. It ends where the guest halts or shuts down, or executes VMRUN.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ringviz.facts.svm import INTERCEPTS
from ringviz.guest import Scenario
from ringviz.machine.state import TableRegister
from tests.vmm import hypervisor_guest, random_kernel
from tests.vmm.guests import make_scenario
from tests.vmm.hypervisor_guest import ALWAYS, l2_state, vmcb_of, wrmsr
from tests.vmm.random_guests import RandomGuest

CODE, VMCB, HOST_SAVE, GDT, IO_MAP, END = 0x3_0000, 0x3_1000, 0x3_2000, 0x3_3000, 0x3_4000, 0x3_9000
MSR_MAP = IO_MAP + 0x3000
_ENDS = (0x78, 0x7F, 0x80, 0xFFFF_FFFF)
"""Exit codes: HLT, SHUTDOWN, VMRUN, and -1."""
_NOT_HERE = frozenset({"INTR", "NMI", "SMI", "INIT", "FERR_FREEZE", "PAUSE", "RSM", "TASK_SWITCH", "VINTR"})
CANDIDATES = tuple(
    name for name, row in INTERCEPTS.items() if name not in _NOT_HERE and not (row.offset == 0x010 and row.bit > 9)
)


def _code() -> bytes:
    code = b"\x0f\x01\x15" + struct.pack("<I", GDT + 0x100) + b"\xbc" + struct.pack("<I", CODE + 0xF00)
    code += wrmsr(0xC000_0080, 0x1000) + wrmsr(0xC001_0117, HOST_SAVE)
    loop = len(code)
    code += b"\xb8" + struct.pack("<I", VMCB) + b"\x0f\x01\xd8"  # mov eax; vmrun
    code += b"\xa1" + struct.pack("<I", VMCB + 0x70)  # mov eax, [EXITCODE]
    end = len(code) + 7 * len(_ENDS) + 9
    for number in _ENDS:  # cmp eax; je end
        code += b"\x3d" + struct.pack("<I", number)
        code += b"\x74" + bytes([end - len(code) - 2])
    code += b"\x0f\xb3\x05" + struct.pack("<I", VMCB)  # btr [VMCB], eax
    code += b"\xeb" + bytes([(loop - len(code) - 2) & 0xFF])  # jmp loop
    return code + b"\xf4"  # end: hlt


def random_intercepts(seed: int) -> frozenset[str]:
    """Choose some of everything that can be intercepted."""
    source = random.Random(seed)
    return frozenset(source.sample(CANDIDATES, source.randint(1, 40)))


def around(guest: RandomGuest, intercepts: Iterable[str], folder: Path, *, limit: int) -> Scenario:
    """Write a random guest and its hypervisor as one scenario."""
    first = guest.image()
    image = bytearray(END - random_kernel.LOAD)
    image[: len(first)] = first

    def put(address: int, data: bytes) -> None:
        image[address - random_kernel.LOAD : address - random_kernel.LOAD + len(data)] = data

    state = l2_state()
    state.eip, state.gdtr, state.idtr = random_kernel.START, TableRegister(0, 0), TableRegister(0, 0)
    put(CODE, _code())
    put(GDT, b"".join(struct.pack("<Q", descriptor) for descriptor in hypervisor_guest.DESCRIPTORS))
    put(GDT + 0x100, struct.pack("<HI", 8 * len(hypervisor_guest.DESCRIPTORS) - 1, GDT))
    put(IO_MAP, b"\xff" * 0x5000)
    fields = {"IOPM_BASE_PA": IO_MAP, "MSRPM_BASE_PA": MSR_MAP}
    put(VMCB, vmcb_of(state, ALWAYS | frozenset(intercepts), fields))
    scenario = make_scenario(
        folder, bytes(image), random_kernel.LOAD, entry=CODE, limit=limit, memory_mib=random_kernel.MEMORY_MIB
    )
    return replace(scenario, guest=replace(scenario.guest, svm=True))
