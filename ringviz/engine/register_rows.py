"""`The CPU, twice`: what the guest believes beside what is so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ringviz.engine.rings import plays_real_mode
from ringviz.engine.view import RegisterRow
from ringviz.facts.registers import GPR_NAMES, GPR_NAMES_64, Eflags, iopl
from ringviz.facts.residents import RESIDENTS, Residents
from ringviz.facts.techniques import TechniqueFacts
from ringviz.machine.state import CS, DS, FS, GS, SS, CpuState

if TYPE_CHECKING:
    from ringviz.engine.snapshots import Moment

_Show = Callable[[CpuState], str]


def _hex32(value: int) -> str:
    return f"{value >> 16:04x}_{value & 0xFFFF:04x}"


def _hex64(value: int) -> str:
    return f"{value >> 32:08x}_{value & 0xFFFF_FFFF:08x}"


def _table(base: int, limit: int) -> str:
    return f"{_hex32(base)}:{limit:04x}"


_ROWS: tuple[tuple[str, _Show, str, str], ...] = (
    ("ring", lambda s: str(s.cpl), "the guest's kernel was pushed out of ring 0", ""),
    (
        "IF",
        lambda s: str(int(bool(s.eflags & Eflags.IF))),
        "the VMM keeps real interrupts on; the guest's IF is virtual",
        "PUSHF shows the real one",
    ),
    ("IOPL", lambda s: str(iopl(s.eflags)), "IOPL is the VMM's", "PUSHF shows it"),
    ("CS", lambda s: f"{s.segments[CS].selector:04x}", "its low two bits are the ring", "anyone can read them"),
    ("SS", lambda s: f"{s.segments[SS].selector:04x}", "its low two bits are the ring", "anyone can read them"),
    ("DS", lambda s: f"{s.segments[DS].selector:04x}", "", ""),
    ("CR0", lambda s: _hex32(s.cr0), "the VMM runs with paging", "SMSW shows the low half"),
    ("CR2", lambda s: _hex32(s.cr2), "the VMM takes the page faults", ""),
    ("CR3", lambda s: _hex32(s.cr3), "the CPU walks the VMM's page tables", ""),
    ("CR4", lambda s: _hex32(s.cr4), "some bits are the VMM's", ""),
    ("GDTR", lambda s: _table(*s.gdtr), "the CPU uses the VMM's shadow table", "SGDT shows it"),
    ("IDTR", lambda s: _table(*s.idtr), "every exception goes to the VMM first", "SIDT shows it"),
    ("TR", lambda s: f"{s.tr.selector:04x}", "the VMM's own task-state segment", "STR shows it"),
    ("LDTR", lambda s: f"{s.ldtr.selector:04x}", "the VMM's shadow table", "SLDT shows it"),
    ("EFLAGS", lambda s: _hex32(s.eflags), "IF and IOPL are the VMM's", "PUSHF shows them"),
    ("EIP", lambda s: _hex32(s.eip), "the CPU runs the translation, in the code cache", ""),
    ("ESP", lambda s: _hex32(s.gpr[4]), "", ""),
    ("EAX", lambda s: _hex32(s.gpr[0]), "", ""),
    ("EBX", lambda s: _hex32(s.gpr[3]), "", ""),
    ("ECX", lambda s: _hex32(s.gpr[1]), "", ""),
    ("EDX", lambda s: _hex32(s.gpr[2]), "", ""),
    ("EBP", lambda s: _hex32(s.gpr[5]), "", ""),
    ("ESI", lambda s: _hex32(s.gpr[6]), "", ""),
    ("EDI", lambda s: _hex32(s.gpr[7]), "", ""),
)
"""Name, how it is written, why belief and truth may differ, and who can see it where a technique breaks its promise."""


def _general(number: int) -> _Show:
    return lambda state: _hex64(state.gpr[number])


_WIDE: Mapping[str, tuple[str, _Show]] = {
    "CR2": ("CR2", lambda s: _hex64(s.cr2)),
    "CR3": ("CR3", lambda s: _hex64(s.cr3)),
    "GDTR": ("GDTR", lambda s: f"{_hex64(s.gdtr.base)}:{s.gdtr.limit:04x}"),
    "IDTR": ("IDTR", lambda s: f"{_hex64(s.idtr.base)}:{s.idtr.limit:04x}"),
    "EFLAGS": ("RFLAGS", lambda s: _hex32(s.eflags)),
    "EIP": ("RIP", lambda s: _hex64(s.eip)),
    **{name.upper(): (GPR_NAMES_64[number].upper(), _general(number)) for number, name in enumerate(GPR_NAMES)},
}
"""By name of a row above: what it is called and how it is written on a CPU with long mode."""

_LONG_ROWS: tuple[tuple[str, _Show, str, str], ...] = (
    *((*_WIDE.get(name, (name, show)), why, leak) for name, show, why, leak in _ROWS),
    *((GPR_NAMES_64[number].upper(), _general(number), "", "") for number in range(8, 16)),
    ("EFER", lambda s: _hex32(s.efer), "some bits are the VMM's", ""),
    ("CR8", lambda s: f"{s.cr8:x}", "", ""),
    ("FS base", lambda s: _hex64(s.segments[FS].base), "", ""),
    ("GS base", lambda s: _hex64(s.segments[GS].base), "", ""),
)
"""The rows of a CPU with long mode."""


def _vmcb(state: CpuState) -> str:
    return "none" if state.svm is None or state.svm.guest is None else _hex32(state.svm.guest.vmcb)


_SVM_ROWS: tuple[tuple[str, _Show, str, str], ...] = (
    *_ROWS,
    ("EFER", lambda s: _hex32(s.efer), "some bits are the VMM's", ""),
    ("GIF", lambda s: str(int(s.svm is not None and s.svm.gif)), "", ""),
    ("VMCB", _vmcb, "", ""),
)
"""The rows of a CPU that a hypervisor finds AMD-V on; VMCB is the one that its VMRUN has taken."""


def _rows_of(state: CpuState) -> tuple[tuple[str, _Show, str, str], ...]:
    if state.svm is not None:
        return _SVM_ROWS
    return _ROWS if state.long is None else _LONG_ROWS


_IN_MEMORY = "in memory"

_TOLD = {
    "IF": "the guest's IF is a byte in the page it shares with the VMM",
    "GDTR": "the guest had its table checked; the CPU uses the VMM's, which holds it",
    "IDTR": "the guest gave the VMM a list of handlers; it has no IDT",
    "TR": "the guest told the VMM its kernel stack; it has no task",
    "LDTR": "the guest had its table checked; the CPU uses the VMM's, which holds it",
    "EFLAGS": "IF differs: the guest's is a byte in the page it shares with the VMM",
}
"""What a difference means where the guest knows of it."""


def build_registers(technique: TechniqueFacts, now: Moment, before: Moment | None) -> tuple[RegisterRow, ...]:
    """Make the rows; the first says which mode the CPU is in, where hardware assistance has two."""
    picture = RESIDENTS[technique.id]
    if picture.guest_is_data:
        return _data_rows(picture, now, before)
    rows = [_mode_row(technique, picture, now)]
    for name, show, why, leak in _rows_of(now.guest):
        if technique.alignment == "marker":
            why = _TOLD.get(name, why)
        guest, real = show(now.guest), show(now.real)
        old_guest = show(before.guest) if before is not None else guest
        old_real = show(before.real) if before is not None else real
        # Who can see the difference is news only where nothing stops the guest from looking.
        note = f"{why}; {leak}" if leak and not technique.promises_fidelity else why
        rows.append(
            RegisterRow(
                name,
                guest,
                old_guest if old_guest != guest else None,
                real,
                old_real if old_real != real else None,
                guest != real,
                note if guest != real else "",
            )
        )
    return tuple(rows)


def _mode_row(technique: TechniqueFacts, picture: Residents, now: Moment) -> RegisterRow:
    """Say which mode the guest believes its CPU to be in, where that is not the usual one, and which it is really."""
    guest = "—" if now.guest.is_protected else "real mode"
    if not plays_real_mode(technique, now.guest, now.real):
        return RegisterRow("mode", guest, None, picture.guest_mode or guest, None, False, "")
    why = "virtual-8086 mode looks like real mode, but is ring 3 of a CPU in protected mode"
    # Under VT-x the other mode is the news; the bit VM of EFLAGS tells this one.
    return RegisterRow("mode", guest, None, picture.guest_mode or "virtual-8086", None, True, why)


def _data_rows(picture: Residents, now: Moment, before: Moment | None) -> tuple[RegisterRow, ...]:
    """Make the rows of a guest whose CPU is data: the real CPU runs the program that owns them."""
    ring = str(picture.always_in)
    rows = [RegisterRow("mode", "a CPU", None, "a program", None, True, "the guest's whole CPU is a program's data")]
    for name, show, _, _ in _rows_of(now.guest):
        guest = show(now.guest)
        old = show(before.guest) if before is not None else guest
        is_ring = name == "ring"
        rows.append(
            RegisterRow(
                name,
                guest,
                old if old != guest else None,
                ring if is_ring else _IN_MEMORY,
                None,
                is_ring and guest != ring,
                "the real CPU runs the emulator, in the ring of any program" if is_ring and guest != ring else "",
            )
        )
    return tuple(rows)
