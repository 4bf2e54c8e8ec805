"""Guests that turn paging on: a kernel that notes every page fault and goes on, page tables of any shape beneath it.

The body runs in slots as in `guests`; it may change rings with `TO_RING_3` and `TO_RING_0`. Code that jumps away
names in EBP where to go on: the page-fault handler and the landing places go there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ringviz.facts.registers import Cr0
from ringviz.guest import Scenario
from tests.machine.guests import HANDLERS, IDT, STACK_TOP, code_selector, data_selector, gate
from tests.vmm.guests import BODY as FIRST_BODY
from tests.vmm.guests import END, GUEST_BYTES, SLOT, kernel_scenario
from tests.vmm.lockstep import Run

BODY = 0xA000
"""Where the paged part of a guest begins; rounded to slots."""
DIRECTORY, LOW_TABLE, TABLE = 0x2_0000, 0x2_1000, 0x2_2000
"""Page directory, the table that maps the first 4 MiB to themselves, and the table behind `WINDOW`."""
OTHER_DIRECTORY, OTHER_TABLE = 0x2_3000, 0x2_4000
POINTERS, PAE_DIRECTORIES, PAE_LOW_TABLES, PAE_TABLE = 0x2_8020, 0x2_9000, 0x2_D000, 0x2_F000
"""PAE: the four pointers, four directories, two tables for the first 4 MiB, and the one behind `WINDOW`."""
WINDOW = 0x0040_0000
"""Linear addresses that the test's own entries map."""
FRAMES = 0x20_0000
"""Memory to map there."""
LOG = 0x5_0000
"""Pointer to the end of the list of page faults, which follows it: error code, CR2, EIP."""
_FAULT_HANDLER, _ENTER_RING_0 = 0x7200, 0x7300

P, W, U, A, D, PS, NX = 1, 2, 4, 0x20, 0x40, 0x80, 1 << 63
PSE, PAE = 0x10, 0x20
WP, PG = int(Cr0.WP), int(Cr0.PG)
PAGED = PG | 0x11


def le(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


def read(address: int) -> bytes:
    """mov eax, [address]"""
    return b"\xa1" + le(address)


def write(address: int, value: int = 0x1234_5678) -> bytes:
    """mov dword [address], value"""
    return b"\xc7\x05" + le(address) + le(value)


def change(address: int) -> bytes:
    """inc dword [address]"""
    return b"\xff\x05" + le(address)


def invlpg(address: int) -> bytes:
    """invlpg [address]"""
    return b"\x0f\x01\x3d" + le(address)


def set_cr(number: int, value: int) -> bytes:
    """mov eax, value; mov crN, eax"""
    return b"\xb8" + le(value) + bytes((0x0F, 0x22, 0xC0 | number << 3))


RELOAD_CR3 = bytes.fromhex("0f20d8 0f22d8")  # mov eax, cr3; mov cr3, eax
LAND = b"\xff\xe5"  # jmp ebp
TO_RING_0 = bytes.fromhex("cd41 9090")  # int 41h


def rights(ring: int) -> bytes:
    """Load DS and ES for a ring."""
    return b"\x66\xb8" + le(data_selector(ring), 2) + bytes.fromhex("8ed8 8ec0")


class Body:
    """A row of slots whose addresses are known while it grows."""

    def __init__(self) -> None:
        self.code = bytearray()

    def slot(self, *codes: bytes) -> Body:
        """Add pieces of code, each in slots of its own."""
        for code in codes:
            room = -len(code) % SLOT
            over = bytes((0xEB, room - 2)) if room > 2 else b""  # jmp over the rest
            self.code += code + over + b"\x90" * (room - len(over))
        return self

    @property
    def here(self) -> int:
        return BODY + len(self.code)

    def fetch(self, address: int) -> Body:
        """mov ebp, next slot; mov eax, address; jmp eax"""
        return self.slot(b"\xbd" + le(self.here + SLOT) + b"\xb8" + le(address) + b"\xff\xe0")

    def to_ring_3(self, eflags: int = 2) -> Body:
        """Go on in ring 3, with its data segments."""
        frame = (data_selector(3), STACK_TOP - 0x1000, eflags, code_selector(3), self.here + 3 * SLOT)
        self.slot(rights(3))
        return self.slot(b"".join(b"\x68" + le(value) for value in frame) + b"\xcf")

    def to_ring_0(self) -> Body:
        """Go on in ring 0."""
        return self.slot(TO_RING_0)


def two_level(
    entries: Mapping[int, int] = {},
    *,
    directory: Mapping[int, int] = {},
    low: Mapping[int, int] = {},
    low_rights: int = P | W | U,
) -> list[tuple[int, bytes]]:
    """Page tables without PAE: the first 4 MiB map themselves, `entries` are those of `TABLE` behind `WINDOW`."""
    tables = {LOW_TABLE + 4 * i: i << 12 | low_rights for i in range(1024)}
    tables |= {LOW_TABLE + 4 * i: value for i, value in low.items()}
    tables |= {DIRECTORY: LOW_TABLE | P | W | U, DIRECTORY + 4: TABLE | P | W | U}
    tables |= {DIRECTORY + 4 * i: value for i, value in directory.items()}
    tables |= {TABLE + 4 * i: value for i, value in entries.items()}
    return [_page_of(tables, page, 4) for page in sorted({address & ~0xFFF for address in tables})]


def with_pae(
    entries: Mapping[int, int] = {},
    *,
    directory: Mapping[int, int] = {},
    pointers: Mapping[int, int] = {},
) -> list[tuple[int, bytes]]:
    """The same with PAE; `directory` is the first of the four."""
    tables = {PAE_LOW_TABLES + 8 * i: i << 12 | P | W | U for i in range(1024)}
    tables |= {POINTERS + 8 * i: PAE_DIRECTORIES + (i << 12) | P for i in range(4)}
    tables |= {POINTERS + 8 * i: value for i, value in pointers.items()}
    tables |= {PAE_DIRECTORIES + 8 * i: PAE_LOW_TABLES + (i << 12) | P | W | U for i in range(2)}
    tables |= {PAE_DIRECTORIES + 16: PAE_TABLE | P | W | U}
    tables |= {PAE_DIRECTORIES + 8 * i: value for i, value in directory.items()}
    tables |= {PAE_TABLE + 8 * i: value for i, value in entries.items()}
    return [_page_of(tables, page, 8) for page in sorted({address & ~0xFFF for address in tables})]


def _page_of(tables: Mapping[int, int], page: int, size: int) -> tuple[int, bytes]:
    content = bytearray(4096)
    for address, value in tables.items():
        if address & ~0xFFF == page:
            content[address & 0xFFF : (address & 0xFFF) + size] = le(value, size)
    return page, bytes(content)


def paged_scenario(
    folder: Path,
    body: Body | Sequence[bytes],
    tables: Sequence[tuple[int, bytes]],
    *,
    cr0: int = PAGED | WP,
    cr3: int = DIRECTORY,
    cr4: int = 0,
    nxe: bool = False,
    ring: int = 0,
    limit: int = 10_000,
    extra: Sequence[tuple[int, bytes]] = (),
    before: bytes = b"",
) -> Scenario:
    """A guest whose kernel turns paging on and goes to the body.

    Args:
        folder: where to write the scenario.
        body: slots, at `BODY`; the end is put behind them.
        tables: page tables and other content, by address.
        cr0: the value that turns paging on.
        cr3: base of the tables.
        cr4: written before.
        nxe: set EFER.NXE, too.
        ring: where the body starts.
        limit: instructions.
        extra: more content, by address, written last.
        before: code that runs while paging is still off.
    """
    row = body if isinstance(body, Body) else Body()
    if not isinstance(body, Body):
        if ring == 3:
            row.to_ring_3()
        row.slot(*body)
    start = before
    if nxe:  # mov ecx, EFER; xor edx, edx; mov eax, NXE; wrmsr
        start += b"\xb9" + le(0xC000_0080) + bytes.fromhex("31d2") + b"\xb8" + le(0x800) + bytes.fromhex("0f30")
    if cr4:
        start += set_cr(4, cr4)
    start += set_cr(3, cr3) + set_cr(0, cr0)
    start += b"\xe9" + le(BODY - (FIRST_BODY + len(start) + 5))
    log = le(LOG)
    handler = bytes.fromhex("5051 8b0d") + log  # push eax; push ecx; mov ecx, [LOG]
    handler += bytes.fromhex("8b442408 8901 0f20d0 894104 8b44240c 894108 83c10c")
    # mov eax, [esp+8]; mov [ecx], eax; mov eax, cr2; mov [ecx+4], eax; mov eax, [esp+12]; mov [ecx+8], eax; add ecx, 12
    handler += bytes.fromhex("890d") + log + bytes.fromhex("5958 83c404")  # mov [LOG], ecx; pop ecx, eax; add esp, 4
    handler += bytes.fromhex("85ed 7406 892c24 31ed cf")  # test ebp, ebp; jz; mov [esp], ebp; xor ebp, ebp; iret
    handler += bytes.fromhex("83042410 832424f0 cf")  # add dword [esp], 16; and dword [esp], -16; iret
    jump = b"\xe9" + le(_FAULT_HANDLER - (HANDLERS + 16 * 14 + 5))
    content = [
        (HANDLERS + 16 * 14, jump),
        (_FAULT_HANDLER, handler),
        (IDT + 8 * 0x41, le(gate(code_selector(0), _ENTER_RING_0, 0xE, 3), 8)),
        (_ENTER_RING_0, bytes.fromhex("58 83c410 ffe0")),  # pop eax; add esp, 16; jmp eax
        (BODY, bytes(row.code) + END),
        (LOG, le(LOG + 16)),
        *tables,
        *extra,
    ]
    return kernel_scenario(folder, start, limit=limit, extra=content)


def faults(run: Run) -> list[tuple[int, int]]:
    """The page faults that the guest's handler noted: error code and CR2."""
    technique = run.technique
    memory = technique.guest_ram()
    end = int.from_bytes(memory[LOG : LOG + 4], "little")
    assert end < GUEST_BYTES
    found = []
    for at in range(LOG + 16, end, 12):
        code, cr2 = (int.from_bytes(memory[at + i : at + i + 4], "little") for i in (0, 4))
        found.append((code, cr2))
    return found


def entry(run: Run, address: int, size: int = 4) -> int:
    """A page-table entry, or any number, in guest memory at the end."""
    return int.from_bytes(run.technique.guest_ram()[address : address + size], "little")
