"""`The CPU, twice`: what the guest believes beside what is so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ringviz.engine.view import RegisterRow
from ringviz.facts.registers import Eflags, iopl
from ringviz.facts.techniques import TechniqueFacts
from ringviz.machine.state import CS, DS, SS, CpuState

if TYPE_CHECKING:
    from ringviz.engine.snapshots import Moment

_Show = Callable[[CpuState], str]


def _hex32(value: int) -> str:
    return f"{value >> 16:04x}_{value & 0xFFFF:04x}"


def _table(base: int, limit: int) -> str:
    return f"{_hex32(base)}:{limit:04x}"


_ROWS: tuple[tuple[str, _Show, str], ...] = (
    ("ring", lambda s: str(s.cpl), "the guest's kernel was pushed out of ring 0"),
    (
        "IF",
        lambda s: str(int(bool(s.eflags & Eflags.IF))),
        "the VMM keeps real interrupts on; the guest's IF is virtual",
    ),
    ("IOPL", lambda s: str(iopl(s.eflags)), "IOPL is the VMM's"),
    ("CS", lambda s: f"{s.segments[CS].selector:04x}", "its low two bits are the ring, for anyone to read"),
    ("SS", lambda s: f"{s.segments[SS].selector:04x}", "its low two bits are the ring, for anyone to read"),
    ("DS", lambda s: f"{s.segments[DS].selector:04x}", ""),
    ("CR0", lambda s: _hex32(s.cr0), "the VMM runs with paging; SMSW shows the low half"),
    ("CR2", lambda s: _hex32(s.cr2), "the VMM takes the page faults"),
    ("CR3", lambda s: _hex32(s.cr3), "the CPU walks the VMM's page tables"),
    ("CR4", lambda s: _hex32(s.cr4), "some bits are the VMM's"),
    ("GDTR", lambda s: _table(*s.gdtr), "the CPU uses the VMM's shadow table; SGDT shows it"),
    ("IDTR", lambda s: _table(*s.idtr), "every exception goes to the VMM first; SIDT shows it"),
    ("TR", lambda s: f"{s.tr.selector:04x}", "the VMM's own task-state segment; STR shows it"),
    ("LDTR", lambda s: f"{s.ldtr.selector:04x}", "the VMM's shadow table; SLDT shows it"),
    ("EFLAGS", lambda s: _hex32(s.eflags), "IF and IOPL differ; PUSHF shows the real ones"),
    ("EIP", lambda s: _hex32(s.eip), ""),
    ("ESP", lambda s: _hex32(s.gpr[4]), ""),
    ("EAX", lambda s: _hex32(s.gpr[0]), ""),
    ("EBX", lambda s: _hex32(s.gpr[3]), ""),
    ("ECX", lambda s: _hex32(s.gpr[1]), ""),
    ("EDX", lambda s: _hex32(s.gpr[2]), ""),
    ("EBP", lambda s: _hex32(s.gpr[5]), ""),
    ("ESI", lambda s: _hex32(s.gpr[6]), ""),
    ("EDI", lambda s: _hex32(s.gpr[7]), ""),
)


def build_registers(technique: TechniqueFacts, now: Moment, before: Moment | None) -> tuple[RegisterRow, ...]:
    """Make the rows; the first says which mode the CPU is in, where hardware assistance has two."""
    mode = "guest mode" if technique.vmm_ring == -1 else "—"
    rows = [RegisterRow("mode", "—", None, mode, None, False, "")]
    for name, show, why in _ROWS:
        guest, real = show(now.guest), show(now.real)
        old_guest = show(before.guest) if before is not None else guest
        old_real = show(before.real) if before is not None else real
        rows.append(
            RegisterRow(
                name,
                guest,
                old_guest if old_guest != guest else None,
                real,
                old_real if old_real != real else None,
                guest != real,
                why if guest != real else "",
            )
        )
    return tuple(rows)
