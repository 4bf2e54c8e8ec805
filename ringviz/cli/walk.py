"""`ringviz walk`: how one linear address is translated at one moment, entry by entry, and who reads them."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit
from ringviz.cli.options import (
    ConsoleInput,
    Controls,
    Cpu,
    Disk,
    Disk2,
    Json,
    Keys,
    Limit,
    Memory,
    Mmu,
    Scenario,
    Technique,
)
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.errors import InputError

if TYPE_CHECKING:
    from ringviz.engine.session import Session
    from ringviz.engine.walks import AgreementView, ReadRow, TableWalkView, WalkView

_READS = (
    Column("", is_number=True),
    Column("Entry"),
    Column("Guest-phys."),
    Column("Host-phys."),
    Column("Value", is_number=True),
    Column("Says"),
)
_READS_OF_HOST = tuple(column for column in _READS if column.title != "Guest-phys.")
_READS_ON_BARE_METAL = tuple(
    Column("Physical") if column.title == "Host-phys." else column for column in _READS_OF_HOST
)
_LETTERS = (
    "P present, W writable, U for ring 3 too, A accessed, D dirty, G global; 4K, 2M, 4M: the page it maps. "
    "In parentheses: the guest-physical address that nested entries translate."
)
_EPT_LETTERS = " Of EPT: R read, W write, X fetch."
_LEVELS = (
    Column("Level"),
    Column("The guest's own tables"),
    Column("The shadow the CPU walks"),
    Column("Agree?", wraps=True),
)


def walk(
    scenario: Scenario,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Linear address: 0x300000, 300000h, or a symbol of the guest.")
    ],
    technique: Technique = "native",
    mmu: Mmu = None,
    cpu: Cpu = None,
    control: Controls = None,
    disk: Disk = None,
    disk2: Disk2 = None,
    memory: Memory = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="WHEN",
            help="Instructions retired, or the address or symbol to run to; the end of the run if left out.",
        ),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="The access is a write.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="The access is an instruction fetch.")] = False,
    user: Annotated[bool, typer.Option("--user", help="The access comes from ring 3.")] = False,
    json: Json = False,
) -> int:
    """Show which page-table entries translate an address, and who reads them."""
    from ringviz.engine.session import Session
    from ringviz.engine.walks import walk_json
    from ringviz.machine.paging import Access

    if write and fetch:
        raise InputError("--write and --fetch exclude each other; choose one")
    found = chosen(scenario, disk, disk2, memory, limit, console_input, keys)
    session = Session(found, technique, mmu, cpu, control or ())
    linear = _address(session, address)
    _go_to(session, at)
    view = session.walk(linear, Access(is_write=write, is_user=user, is_fetch=fetch))
    if json:
        head = {"schema": 1, "scenario": session.scenario.id, "technique": session.technique.id}
        print_json(head | {"mmu": session.mmu, "cpu": session.cpu.id} | walk_json(view))
    else:
        print_lines(report(session, view))
    return Exit.DONE


def _address(session: "Session", text: str) -> int:
    """Understand a linear address.

    Raises:
        InputError: it is none.
    """
    word = text.strip()
    known = session.source.address_of(word)
    digits = word.removeprefix("0x").removeprefix("0X") if word[:2] in ("0x", "0X") else word[:-1]
    if known is not None:
        return known
    if word[:2] in ("0x", "0X") or word[-1:] in ("h", "H"):
        try:
            value = int(digits, 16)
        except ValueError:
            value = -1
        if _is_linear(session, value):
            return value
    highest = "0xffffffff" if not session.scenario.guest.long else "0xffffffffffffffff and canonical"
    raise InputError(
        f'"{word}" is no linear address: expected 0x0 to {highest}, such as 0x100040 or 100040h, or a symbol of'
        f" {session.scenario.id}"
    )


def _is_linear(session: "Session", value: int) -> bool:
    """Tell whether a number is a linear address of the guest's CPU: of 32 bits, or on a 64-bit one canonical."""
    from ringviz.machine.state import ADDRESS_32, ADDRESS_64, is_canonical

    if session.scenario.guest.long:
        return 0 <= value <= ADDRESS_64 and is_canonical(value)
    return 0 <= value <= ADDRESS_32


def _go_to(session: "Session", text: str | None) -> None:
    """Stand at the moment asked for.

    Raises:
        InputError: the guest never comes there.
    """
    from ringviz.engine.conditions import AtAddress

    if text is None:
        session.run()
        return
    word = text.strip()
    if word.isascii() and word.isdigit():
        session.seek(int(word))
        if session.position < int(word):
            raise InputError(f"--at {word}: the run ends after {session.position:,} instructions")
        return
    place = _address(session, word)
    if session.cpu_state(is_real=False).eip != place and not session.run_to(AtAddress(place)):
        raise InputError(f"--at {word}: the guest never executes {place:08X}h under {session.technique.id}")


# ---- for people ------------------------------------------------------------------------------------------------------


def report(session: "Session", view: "WalkView") -> Iterator[str]:
    """Give one walk as a text for people."""
    access = view.access
    what = "fetched" if access.is_fetch else "written" if access.is_write else "read"
    who = "ring 3" if access.is_user else "the kernel"
    name = f" ({view.label})" if view.label else ""
    yield strong(f"{view.linear:08X}{name}, {what} by {who}")
    technique = session.technique
    yield f"{session.scenario.id} under {technique.title} ({technique.id}), memory: {session.mmu}"
    yield f"after {view.position:,} instructions"
    for number, walked in enumerate(view.walks, 1):
        yield ""
        yield from _walk_lines(walked, number, len(view.walks), is_native=technique.id == "native")
    if view.agreement is not None:
        yield ""
        yield from _agreement_lines(view.agreement)
    if view.note:
        yield ""
        yield from _wrapped(f"{view.note}.")
    yield ""
    yield from _wrapped(_SUM.format(count=view.references) if view.references else _NO_SUM)
    if any(walked.reads for walked in view.walks):
        has_ept = any(walked.nested_mode == "EPT" for walked in view.walks)
        yield from _wrapped(_LETTERS + (_EPT_LETTERS if has_ept else ""))


_SUM = (
    "References of the CPU's page walk: {count}, if the TLB has nothing and no part of the walk is cached. A CPU that"
    " caches parts of walks reads fewer."
)
_NO_SUM = "References of the CPU's page walk in these tables: none."


def _walk_lines(walked: "TableWalkView", number: int, of: int, *, is_native: bool) -> Iterator[str]:
    place = f"{number}. " if of > 1 else ""
    yield strong(f"{place}{_WALKERS[walked.walker]}{_TABLES[walked.tables]}, {walked.mode or 'paging is off'}")
    roots = [f"CR3 {walked.root:08X}"] if walked.mode else []
    if walked.nested_root is not None:
        roots.append(f"each step through the nested tables at {walked.nested_root:08X}")
    if roots:
        yield f"   {', '.join(roots)}"
    if walked.reads:
        is_of_host = all(row.gpa is None or row.gpa == row.hpa for row in walked.reads) and walked.nested_root is None
        columns = _READS if not is_of_host else _READS_ON_BARE_METAL if is_native else _READS_OF_HOST
        yield from table(columns, [_cells(row, is_of_host) for row in walked.reads], width_cells())
    yield from _wrapped(f"   ends: {walked.end}", "         ")
    yield f"   reads: {walked.arithmetic}"


_WALKERS = {"CPU": "The CPU walks ", "VMM": "The VMM walks, to make the shadow: ", "emulator": "The emulator walks "}
_TABLES = {
    "guest": "the guest's own tables",
    "shadow": "the shadow",
    "direct": "the guest's tables, which the hypervisor checks",
}


def _cells(row: "ReadRow", is_of_host: bool) -> tuple[str, ...]:
    """Give one entry: its name, where it is, and what it says."""
    nested = row.tables == "nested"
    name = f"{'  ' if nested else ''}{row.name}[{row.index:X}]"
    gpa = "-" if row.gpa is None else f"{row.gpa:08X}"
    if nested and row.translates is not None:
        gpa = f"({row.translates:08X})"
    hpa = "-" if row.hpa is None else f"{row.hpa:08X}"
    cells = (f"{row.number}", name, gpa, hpa, f"{row.value:08X}", row.text)
    return (*cells[:2], *cells[3:]) if is_of_host else cells


def _agreement_lines(agreement: "AgreementView") -> Iterator[str]:
    yield strong("Side by side")
    rows = [(row.table, _value(row.guest), _value(row.shadow), row.word or "-") for row in agreement.levels]
    if rows:
        yield from table(_LEVELS, rows, width_cells())
    yield from _wrapped(f"{agreement.verdict.upper()}: {agreement.text}.")


def _value(row: "ReadRow | None") -> str:
    return "-" if row is None else row.text


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    """Give a text in lines; spaces that it begins with stay."""
    start = text[: len(text) - len(text.lstrip())]
    yield from textwrap.wrap(
        text.lstrip(), width_cells(), initial_indent=start, subsequent_indent=indent, break_on_hyphens=False
    )
