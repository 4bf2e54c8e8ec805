"""What somebody sees who looks at the fake world's memory."""

from dataclasses import replace

from ringviz.engine.memory_look import ACCESS, LINE, MemoryLook, MemoryMode
from ringviz.engine.memory_touches import MemoryTouch
from ringviz.engine.memory_view import HexRow, MemoryView
from ringviz.engine.table_rows import MemoryRow

WRITTEN = 0x10FFC4


def fake_memory(look: MemoryLook) -> MemoryView:
    """A write of four bytes by the last step; a GDT of which the VMM has its own."""
    base = WRITTEN if look.follow == ACCESS else look.base
    resolved = replace(look, base=base)
    touches = (
        MemoryTouch(WRITTEN, WRITTEN, 4, True, True, 0, 0x202),
        MemoryTouch(0x100200, 0x100200, 1, False, True, None, 0x5B),
    )
    if look.mode is MemoryMode.HEX:
        first = max(0, (base & ~15) - 16 * LINE)
        rows = tuple(_hex_row(first + number * LINE) for number in range(80))
        return MemoryView(resolved, f"{base:08X} [/b]", "", rows, (), touches)
    if look.mode is MemoryMode.STACK:
        stack = tuple(
            MemoryRow(f"{WRITTEN + 4 * n:08X}", f"{n:08X}", is_current=n == 0, is_written=n == 0, is_faint=n < 0)
            for n in range(-8, 60)
        )
        return MemoryView(resolved, "stack of ring 0", "", (), stack, touches)
    table = (
        MemoryRow("0008 CS", "ring 0 code, execute/read", "ring 1 code, execute/read", is_current=True),
        MemoryRow("0010", "ring 0 data, read/write"),
    )
    return MemoryView(resolved, f"{look.mode.value} 00103000", "one [note]", (), table, ())


def _hex_row(address: int) -> HexRow:
    marks = "".join("w" if WRITTEN <= address + i < WRITTEN + 4 else " " for i in range(LINE))
    return HexRow(address, tuple((address + i) & 0xFF for i in range(LINE)), marks, "")
