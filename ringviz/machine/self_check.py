"""Does the emulated CPU do here what ringviz builds on? A few small guests find out, for `ringviz doctor`."""

from __future__ import annotations

from collections.abc import Callable

import unicorn

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.facts.segments import SegmentCache, null_cache
from ringviz.machine.bus import Bus
from ringviz.machine.machine import Machine
from ringviz.machine.state import CS, CpuState, LongRegisters, TableRegister
from ringviz.machine.stops import Fault, NestedFault, SensitiveInsn, Stop

Check = tuple[str, bool, str]
"""Name, whether it is as it should be, and what was found."""
Finding = tuple[bool, str]

_CODE, _STACK_TOP, _RAM_BYTES = 0x1000, 0x8000, 1 << 16
_RESULT_AT = 0x4000
_LOOP = bytes.fromhex("b939300000 49 75fd 8cc8 a300400000 f4")
"""mov ecx, 12345; dec ecx; jnz $-1; mov eax, cs; mov [4000h], eax; hlt"""
_LOOP_INSTRUCTIONS = 1 + 2 * 12345 + 2
_READS_TWO_PAGES = bytes.fromhex("a100200000 8b1500300000")
"""mov eax, [2000h]; mov edx, [3000h]"""
_PATTERN = 0x600D_F00D
_FOREVER = 1 << 40
_LONG_LOOP = bytes.fromhex("49b88877665544332211 b939300000 48ffc9 75fb f4")
"""mov r8, 1122334455667788h; mov ecx, 12345; dec rcx; jnz $-3; hlt"""
_LONG_INSTRUCTIONS = 2 + 2 * 12345
_LONG_PATTERN = 0x1122_3344_5566_7788
_LONG_TABLES = (0x9000, 0xA000, 0xB000)
"""Page tables that map the first 2 MiB to themselves, and once more at `_HIGH`."""
_HIGH = 0xFFFF_8000_0000_0000


def self_check() -> list[Check]:
    """Try the machine out; rows of name, whether it is good, and what was found."""
    rows: list[Check] = []
    for name, check in _CHECKS:
        try:
            rows.append((name, *check()))
        except Exception as error:  # whatever goes wrong in the emulator, the user is to read it in a row
            rows.append((name, False, f"{type(error).__name__}: {error}"))
    return rows


def _check_layout() -> Finding:
    """Unicorn's saved context holds the CPU state where `layout` says; `Machine` refuses to be made if not."""
    _machine(_LOOP, ring=0)
    return True, f"Unicorn {unicorn.__version__} keeps it where it is looked for"


def _check_ring() -> Finding:
    """VMRUN enters ring 3, and HLT faults there."""
    machine = _machine(_LOOP, ring=3)
    stop = machine.run(_FOREVER)
    ring = machine.ram.read_int(_RESULT_AT, 4) & 3
    is_good = isinstance(stop, Fault) and stop.vector == Vector.GP and ring == 3
    return is_good, f"the guest saw itself in ring {ring}; its HLT came back as {_named(stop)}"


def _check_exit() -> Finding:
    """An intercepted instruction arrives as #VMEXIT, and what ran before it is counted."""
    machine = _machine(_LOOP, ring=0)
    stop = machine.run(_FOREVER)
    is_good = isinstance(stop, SensitiveInsn) and stop.form == "hlt" and machine.retired == _LOOP_INSTRUCTIONS
    return is_good, f"{_named(stop)} after {machine.retired} instructions of {_LOOP_INSTRUCTIONS}"


class _Moved:
    """Second-level paging under which guest page 2 lies in page 5, and there is no page 3."""

    def translate(self, gpa: int, *, is_write: bool, is_fetch: bool) -> int | NestedFault:
        """Give the host-physical address, or the fault."""
        if gpa >> 12 == 3:
            return NestedFault(gpa, is_write, is_fetch, is_table_walk=False, is_present=False, instruction=None)
        return gpa + 0x3000 if gpa >> 12 == 2 else gpa


def _check_nested_paging() -> Finding:
    """A guest reads where the second level says, and a hole in it exits."""
    machine = _machine(_READS_TWO_PAGES, ring=0)
    machine.second_level = _Moved()
    machine.ram.write_int(0x5000, _PATTERN, 4)
    stop = machine.run(_FOREVER)
    value = machine.state.gpr[0]
    is_good = isinstance(stop, NestedFault) and stop.gpa == 0x3000 and value == _PATTERN
    return is_good, f"the guest read {value:08X}h through it, then {_named(stop)}"


def _check_long_mode() -> Finding:
    """A CPU with long mode runs 64-bit code at the top of the address space, and counts it."""
    machine = Machine(Bus(()), _RAM_BYTES, has_long_mode=True)
    machine.ram.write(_CODE, _LONG_LOOP)
    for address, entry in zip(_LONG_TABLES, (*_LONG_TABLES[1:], 0x80), strict=True):
        for slot in (0, 256, 510, 511):
            machine.ram.write_int(address + 8 * slot, entry | 3, 8)
    state = _flat_state(ring=0)
    state.gpr += [0] * 8
    state.long, state.efer = LongRegisters(), Efer.LME | Efer.LMA
    state.cr0, state.cr3, state.cr4 = state.cr0 | Cr0.PG, _LONG_TABLES[0], int(Cr4.PAE)
    state.segments[CS] = SegmentCache(0x08, 0, 0xFFFF_FFFF, 0xA9B)
    state.eip = _HIGH + _CODE
    machine.cpu.load(state)
    stop = machine.run(_FOREVER)
    is_right = isinstance(stop, SensitiveInsn) and machine.state.gpr[8] == _LONG_PATTERN
    is_good = is_right and machine.retired == _LONG_INSTRUCTIONS
    return is_good, f"R8 was {machine.state.gpr[8]:X}h after {machine.retired} instructions of {_LONG_INSTRUCTIONS}"


def _check_callbacks() -> Finding:
    """Which callbacks count instructions: either kind is good, they differ in speed only."""
    if _machine(_LOOP, ring=0).cpu.hooks.is_native:
        return True, "native: exact counts at near the emulator's own speed"
    return True, "in Python: exact counts, but much slower; the native ones are for Linux on x86-64"


_CHECKS: tuple[tuple[str, Callable[[], Finding]], ...] = (
    ("CPU state", _check_layout),
    ("rings by VMRUN", _check_ring),
    ("#VMEXIT", _check_exit),
    ("nested paging", _check_nested_paging),
    ("long mode", _check_long_mode),
    ("callbacks", _check_callbacks),
)


def _machine(code: bytes, ring: int) -> Machine:
    """Make a machine about to run `code` in flat segments of a ring."""
    machine = Machine(Bus(()), _RAM_BYTES)
    machine.ram.write(_CODE, code)
    machine.cpu.load(_flat_state(ring))
    return machine


def _flat_state(ring: int) -> CpuState:
    """Give the CPU in flat segments of a ring, about to run what lies at `_CODE`."""
    data = SegmentCache(0x10 | ring, 0, 0xFFFF_FFFF, 0xC93 | ring << 5)
    segments = [data] * 6
    segments[CS] = SegmentCache(0x08 | ring, 0, 0xFFFF_FFFF, 0xC9B | ring << 5)
    return CpuState(
        gpr=[0, 0, 0, 0, _STACK_TOP, 0, 0, 0],
        eip=_CODE,
        eflags=2,
        segments=segments,
        ldtr=null_cache(),
        tr=SegmentCache(0, 0, 0xFFFF, 0x8B),
        gdtr=TableRegister(0, 0),
        idtr=TableRegister(0, 0),
        cr0=0x11,
        cr2=0,
        cr3=0,
        cr4=0,
        cpl=ring,
        dr=[0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400],
        efer=0,
        sysenter=[0, 0, 0],
    )


def _named(stop: Stop) -> str:
    """A stop in a few words."""
    match stop:
        case Fault():
            return f"exception {stop.vector}"
        case SensitiveInsn():
            return f"#VMEXIT for {stop.form.upper()}"
        case NestedFault():
            return f"#VMEXIT for guest-physical {stop.gpa:X}h"
        case _:
            return type(stop).__name__
