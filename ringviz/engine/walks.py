"""Page walks as rows to show: every entry touched, by whom, what it says, where the walk ends, and how many there are.

The figures are those of a CPU that has nothing cached: no TLB entry, no page-walk cache. A real CPU keeps parts of
walks (Bhargava et al. 2008, section 6), and then reads fewer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ringviz.facts.exceptions import PageFaultError
from ringviz.facts.paging import EntryBits, PagingMode, decode_entry, entry_format
from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.machine.paging import NX, RW, US, Access
from ringviz.machine.state import CpuState
from ringviz.vmm import describe
from ringviz.vmm.technique import Technique
from ringviz.vmm.walks import TableRead, Tables, TableWalk, Walker, Walks

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ReadRow:
    """One entry that a walk reads."""

    number: int
    """1 for the first of its walk."""
    tables: str
    """`guest`, `shadow`, `direct` or `nested`."""
    name: str
    """The manual's abbreviation: PML4E, PDPTE, PDE, PTE."""
    table: str
    """The table it stands in, in words."""
    index: int
    """Which entry of that table."""
    gpa: int | None
    """Guest-physical address of the entry; None where it is no memory of the guest's."""
    hpa: int | None
    """Host-physical address of the entry; None where nothing answers, or where no CPU has an address for it."""
    translates: int | None
    """Nested tables: the guest-physical address on its way to a host-physical one."""
    value: int
    size_bytes: int
    bits: EntryBits
    text: str
    """What the entry says, in a few letters."""


@dataclass(frozen=True, slots=True)
class TableWalkView:
    """One walk."""

    walker: str
    """`CPU`, `VMM` or `emulator`."""
    tables: str
    """The tables that the linear address is looked up in."""
    mode: str
    """The manual's name for their format; empty with paging off."""
    dimensions: int
    """0 with paging off and no nested tables, else 1 or 2."""
    root: int
    """CR3; 0 with paging off."""
    nested_mode: str
    """The manual's name for the format of the nested tables; empty where there are none."""
    nested_root: int | None
    reads: tuple[ReadRow, ...]
    arithmetic: str
    """How the number of reads comes about."""
    gpa: int | None
    """Guest-physical address that it ends at."""
    hpa: int | None
    """Host-physical address that it ends at."""
    error_code: int | None
    """Of the page fault that it ends in; else None."""
    refusal: str
    """What the second level raises instead, in its maker's words, or empty."""
    end: str
    """Where it ends, in words."""

    @property
    def count(self) -> int:
        """Entries read."""
        return len(self.reads)


@dataclass(frozen=True, slots=True)
class LevelRow:
    """One level of the guest's tables beside the shadow's."""

    level: int
    table: str
    guest: ReadRow | None
    """None where the guest's walk does not come so far, or needs no such table."""
    shadow: ReadRow | None
    word: str
    """`same`, or what differs."""


@dataclass(frozen=True, slots=True)
class AgreementView:
    """How a shadow stands to the guest's tables."""

    verdict: str
    """`agrees`, `out of date`, `read-only on purpose`, `not to be mapped` or `allows too much`."""
    text: str
    levels: tuple[LevelRow, ...]


@dataclass(frozen=True, slots=True)
class WalkView:
    """One linear address at one moment."""

    position: int
    linear: int
    label: str
    """The symbol there, or empty."""
    access: Access
    walks: tuple[TableWalkView, ...]
    """In the order in which they are made."""
    agreement: AgreementView | None
    """Only with shadow page tables."""
    note: str

    @property
    def references(self) -> int:
        """Entries that the CPU's page walker reads."""
        return sum(walk.count for walk in self.walks if walk.walker == Walker.CPU.value)


def build_walk(technique: Technique, position: int, linear: int, access: Access, label: str = "") -> WalkView:
    """Show how a linear address is translated now.

    Args:
        technique: standing at the moment in question; it is not disturbed.
        position: retired guest instructions.
        linear: the address.
        access: what it is wanted for.
        label: symbol of the address.
    """
    found = technique.walks(linear, access)
    guest, real = technique.guest_state(), technique.machine.state
    views = []
    for walk in found.walks:
        state = real if walk.is_by_cpu else guest
        views.append(_walk_view(walk, state, access))
    return WalkView(position, linear, label, access, tuple(views), _agreement(found, views), found.note)


def _walk_view(walk: TableWalk, state: CpuState, access: Access) -> TableWalkView:
    rows = tuple(_row(number, read, state) for number, read in enumerate(walk.reads, 1))
    has_nested = walk.nested_root is not None
    return TableWalkView(
        walker=walk.walker.value,
        tables=walk.tables.value,
        mode="" if walk.mode is None else walk.mode.value,
        dimensions=(walk.mode is not None) + has_nested,
        root=walk.root,
        nested_mode="" if walk.nested_mode is None else walk.nested_mode.value,
        nested_root=walk.nested_root,
        reads=rows,
        arithmetic=arithmetic(walk),
        gpa=walk.gpa,
        hpa=walk.hpa,
        error_code=walk.done.fault,
        refusal=walk.refusal,
        end=_end(walk, rows, state, access),
    )


def _row(number: int, read: TableRead, state: CpuState) -> ReadRow:
    entry = read.entry
    kind = entry_format(read.mode, entry.level, entry.value, has_large_pages=bool(state.cr4 & Cr4.PSE))
    has_nx = read.tables is not Tables.NESTED and bool(state.efer & Efer.NXE)
    bits = decode_entry(kind, entry.value, has_no_execute=has_nx)
    # A page-directory-pointer table of PAE has four entries, and is aligned to 32 bytes.
    table_bytes = 32 if read.mode is PagingMode.PAE and entry.level == 3 else 4096
    return ReadRow(
        number=number,
        tables=read.tables.value,
        name=kind.name,
        table=kind.title,
        index=entry.address % table_bytes // entry.size_bytes,
        gpa=read.gpa,
        hpa=read.hpa,
        translates=read.translates,
        value=entry.value,
        size_bytes=entry.size_bytes,
        bits=bits,
        text=entry_text(bits, is_ept=read.mode is PagingMode.EPT),
    )


def entry_text(bits: EntryBits, *, is_ept: bool = False) -> str:
    """Say what an entry says: `→ 00200000 P W U A D`, or that it is not present."""
    if not bits.is_present or bits.address is None:
        return "not present"
    letters = ["R" if is_ept else "P"]
    letters += [letter for letter, is_set in (
        ("W", bits.is_writable), ("U", bits.is_user), ("A", bits.is_accessed), ("D", bits.is_dirty),
        ("G", bits.is_global), ("X", is_ept and bits.is_executable), ("NX", not is_ept and bits.is_executable is False),
    ) if is_set]  # fmt: skip
    size = "" if bits.page_bytes is None else f" {size_text(bits.page_bytes)}"
    return f"→ {bits.address:08X} {' '.join(letters)}{size}"


def size_text(size_bytes: int) -> str:
    """`4K`, `2M`, `4M`, `1G`."""
    for letter, unit in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size_bytes >= unit:
            return f"{size_bytes // unit}{letter}"
    return str(size_bytes)


# ---- how many --------------------------------------------------------------------------------------------------------


def arithmetic(walk: TableWalk) -> str:
    """Say how the number of entries read comes about: `2 guest + 3 translations × 4 nested = 14`."""
    total = len(walk.reads)
    if walk.nested_root is None:
        if walk.mode is None:
            return "paging is off: no entry is read"
        return (
            f"{total} of the {walk.mode.levels} levels" if total < walk.mode.levels else f"{total}, one for each level"
        )
    guest = sum(read.tables is not Tables.NESTED for read in walk.reads)
    runs: list[int] = []
    before: int | None = None
    for read in walk.reads:
        if read.tables is not Tables.NESTED:
            before = None
            continue
        if before != read.translates or read.entry.level == 4:
            runs.append(0)
        before = read.translates
        runs[-1] += 1
    if len(set(runs)) == 1:
        times = f"{len(runs)} translation{'s' * (len(runs) != 1)} × {runs[0]} nested"
    else:
        times = f"({' + '.join(map(str, runs))}) nested"
    return f"{guest} guest + {times} = {total}"


# ---- where it ends ---------------------------------------------------------------------------------------------------


def _end(walk: TableWalk, rows: tuple[ReadRow, ...], state: CpuState, access: Access) -> str:
    if walk.refusal:
        refused = walk.refused_gpa or 0
        return f"{walk.refusal}: the nested tables refuse guest-physical {refused:08X}"
    code = walk.done.fault
    if code is not None:
        own = tuple(row for row in rows if row.tables != Tables.NESTED.value)
        why = refusal_reason(own, code, access, has_write_protect=bool(state.cr0 & Cr0.WP))
        return f"#PF, error code {code:X} ({describe.page_fault_text(code)}): {why}"
    physical = walk.done.physical or 0
    if walk.walker is Walker.EMULATOR:
        return f"guest-physical {physical:08X}, somewhere in the emulator's own memory"
    if walk.gpa is not None and walk.gpa == walk.hpa:
        return f"physical {physical:08X}"
    if walk.hpa is None:
        return f"guest-physical {physical:08X}, where there is no memory"
    if walk.gpa is None:
        return f"host-physical {walk.hpa:08X}, which is no memory of the guest's"
    return f"guest-physical {walk.gpa:08X}, host-physical {walk.hpa:08X}"


def refusal_reason(rows: tuple[ReadRow, ...], code: int, access: Access, *, has_write_protect: bool) -> str:
    """Name the entry at which a walk failed, and its bit."""
    last = rows[-1]
    if not code & PageFaultError.P:
        return f"the {last.name} has P = 0"
    if code & PageFaultError.R:
        return f"a reserved bit of the {last.name} is set"
    with_rights = [row for row in rows if row.bits.is_writable is not None]
    if access.is_user:
        closed = [row.name for row in with_rights if not row.value & US]
        if closed:
            return f"U/S = 0 in the {' and the '.join(closed)}: not for ring 3"
    if access.is_write:
        closed = [row.name for row in with_rights if not row.value & RW]
        if closed:
            binds = "" if access.is_user or not has_write_protect else ", and CR0.WP = 1 binds rings 0 to 2 too"
            return f"R/W = 0 in the {' and the '.join(closed)}{binds}"
    closed = [row.name for row in rows if row.value & NX]
    return f"XD = 1 in the {' and the '.join(closed)}: not to be executed"


# ---- the guest's tables beside the shadow ----------------------------------------------------------------------------


def _agreement(found: Walks, views: list[TableWalkView]) -> AgreementView | None:
    if found.agreement is None:
        return None
    guest = next(view for view in views if view.tables == Tables.GUEST.value)
    shadow = next(view for view in views if view.tables == Tables.SHADOW.value)
    return AgreementView(found.agreement.verdict.value, found.agreement.text, tuple(_levels(guest, shadow)))


def _levels(guest: TableWalkView, shadow: TableWalkView) -> list[LevelRow]:
    """Pair the entries of the two walks level by level; both are in the same format, or the guest has paging off."""
    deepest = max(guest.count, shadow.count)
    top = max(mode.levels for mode in PagingMode if mode.value in (guest.mode, shadow.mode))
    rows = []
    for number in range(deepest):
        own = guest.reads[number] if number < guest.count else None
        made = shadow.reads[number] if number < shadow.count else None
        known = own or made
        assert known is not None
        table = known.table
        rows.append(LevelRow(top - number, table, own, made, _word(guest, own, made)))
    return rows


def _word(guest: TableWalkView, own: ReadRow | None, made: ReadRow | None) -> str:
    """Say how one entry of the shadow stands to the guest's."""
    if made is None:
        return "" if own is None else "the shadow has none yet"
    if own is None:
        return "made for a guest without paging" if not guest.mode else _without_own(guest)
    if not own.bits.is_present:
        return "same" if not made.bits.is_present else "the guest's is gone"
    if not made.bits.is_present:
        return "not filled in yet"
    if made.bits.page_bytes is None:
        return "same" if own.bits.page_bytes is None else "the page is cut into small ones"
    if made.gpa is None and own.gpa is None:
        return ""
    less = [
        name
        for name, mine, its in (
            ("W", own.bits.is_writable, made.bits.is_writable),
            ("U", own.bits.is_user, made.bits.is_user),
        )
        if mine and not its
    ]
    return f"without {' and '.join(less)} for now" if less else "same"


def _without_own(guest: TableWalkView) -> str:
    last = guest.reads[-1]
    if last.bits.page_bytes is not None:
        return f"a part of the {size_text(last.bits.page_bytes)} page"
    return "nothing of the guest's stands behind it"


# ---- for scripts -----------------------------------------------------------------------------------------------------


def walk_json(view: WalkView) -> dict[str, object]:
    """Give the fields of `walk --json` that belong to the walk itself."""
    return {
        "position": view.position,
        "linear": view.linear,
        "label": view.label or None,
        "access": {
            "write": view.access.is_write,
            "user": view.access.is_user,
            "fetch": view.access.is_fetch,
        },
        "references": view.references,
        "walks": [_table_walk_json(walk) for walk in view.walks],
        "agreement": None if view.agreement is None else _agreement_json(view.agreement),
        "note": view.note or None,
    }


def _table_walk_json(walk: TableWalkView) -> dict[str, object]:
    return {
        "walker": walk.walker,
        "tables": walk.tables,
        "mode": walk.mode or None,
        "dimensions": walk.dimensions,
        "root": walk.root,
        "nested_mode": walk.nested_mode or None,
        "nested_root": walk.nested_root,
        "count": walk.count,
        "arithmetic": walk.arithmetic,
        "reads": [_read_json(row) for row in walk.reads],
        "guest_physical": walk.gpa,
        "host_physical": walk.hpa,
        "error_code": walk.error_code,
        "refusal": walk.refusal or None,
        "end": walk.end,
    }


def _read_json(row: ReadRow) -> dict[str, object]:
    bits: dict[str, Any] = asdict(row.bits)
    return {
        "number": row.number,
        "tables": row.tables,
        "name": row.name,
        "index": row.index,
        "guest_physical": row.gpa,
        "host_physical": row.hpa,
        "translates": row.translates,
        "value": row.value,
        "size_bytes": row.size_bytes,
        "bits": {name.removeprefix("is_"): value for name, value in bits.items()},
    }


def _agreement_json(agreement: AgreementView) -> dict[str, object]:
    return {
        "verdict": agreement.verdict,
        "text": agreement.text,
        "levels": [
            {
                "level": row.level,
                "table": row.table,
                "guest": None if row.guest is None else row.guest.value,
                "shadow": None if row.shadow is None else row.shadow.value,
                "word": row.word,
            }
            for row in agreement.levels
        ],
    }
