"""Dynamic and differencing VHDs: disks whose blocks get a place in the file when they are first written to.

The order of writes is what keeps an image whole through a crash. A new block is written behind the last one, with its
bitmap and the footer behind it, and only when all that is in the file for good does the block allocation table name it.
In a block that has its place, the data of a sector come before its bit in the bitmap. So whatever the file holds at any
moment, the table and the bitmaps lead to nothing that was not written out. The footer is the exception: the first
sector of a new block lies where the footer was. A crash there leaves the copy at the beginning of the file, which the
format has for this, and whoever opens the image for writing next puts the footer back.

One assumption: a drive writes a sector of 512 bytes wholly or not at all.

Source: VHD paper, "Block Allocation Table and Data Blocks", "Implementing a Dynamic Disk", "Implementing a Differencing
Hard Disk".
"""

from __future__ import annotations

from collections.abc import Mapping

from ringviz.errors import DiskError
from ringviz.facts.vhd import FOOTER_BYTES, HEADER_BYTES, NO_BLOCK, SECTOR_BYTES, VHD_TYPES
from ringviz.guest.disks.records import DynamicHeader, Footer
from ringviz.guest.disks.store import Store
from ringviz.guest.disks.virtual_disk import VirtualDisk, close_store, runs

_ENTRY_BYTES = 4


class BlockDisk:
    """A dynamic disk, or with a parent a differencing one."""

    def __init__(self, store: Store, footer: Footer, header: DynamicHeader, parent: VirtualDisk | None) -> None:
        """Read the block allocation table.

        Raises:
            DiskError: it does not fit the disk or the file; without the file's name.
        """
        self.store = store
        self.footer = footer
        self.header = header
        self.parent = parent
        self.sectors_per_block = header.block_size // SECTOR_BYTES
        self.bitmap_sectors = -(-self.sectors_per_block // (8 * SECTOR_BYTES))
        self.table = self._read_table()
        self._bitmaps: dict[int, bytearray] = {}
        self._end = 0
        """Where the footer lies, and the next block will; known once the image is made ready for writing."""

    @property
    def kind(self) -> str:
        """`dynamic` or `differencing`."""
        return VHD_TYPES[self.footer.disk_type].name

    @property
    def sectors(self) -> int:
        """How many there are."""
        return self.footer.current_size // SECTOR_BYTES

    @property
    def blocks(self) -> int:
        """How many blocks the disk has."""
        return -(-self.sectors // self.sectors_per_block)

    @property
    def block_room(self) -> int:
        """Sectors that a block takes in the file, its bitmap included."""
        return self.bitmap_sectors + self.sectors_per_block

    @property
    def end_of_blocks(self) -> int:
        """Offset in the file behind the last block, or behind the tables if there is none."""
        ends = [self.footer.data_offset + HEADER_BYTES, self.header.table_offset + len(self.table) * _ENTRY_BYTES]
        ends += (locator.data_offset + locator.data_length for locator in self.header.locators)
        ends += ((entry + self.block_room) * SECTOR_BYTES for entry in self.table if entry != NO_BLOCK)
        return -(-max(ends) // SECTOR_BYTES) * SECTOR_BYTES

    def _read_table(self) -> list[int]:
        blocks = self.blocks
        if self.header.max_table_entries < blocks:
            raise DiskError(f"a table of {self.header.max_table_entries:,} blocks for a disk of {blocks:,}")
        data = self.store.read(self.header.table_offset, blocks * _ENTRY_BYTES)
        if len(data) < blocks * _ENTRY_BYTES:
            raise DiskError("the block allocation table lies beyond the end of the file")
        table = [int.from_bytes(data[at : at + _ENTRY_BYTES], "big") for at in range(0, len(data), _ENTRY_BYTES)]
        size = self.store.size
        for number, entry in enumerate(table):
            if entry != NO_BLOCK and (entry + self.block_room) * SECTOR_BYTES > size:
                raise DiskError(f"block {number:,} lies beyond the end of the file")
        return table

    # ---- reading -----------------------------------------------------------------------------------------------------

    def read(self, sector: int, count: int) -> bytes:
        """Give sectors that follow each other: each from the newest image of the chain that has it."""
        pieces = []
        while count:
            block, first = divmod(sector, self.sectors_per_block)
            here = min(count, self.sectors_per_block - first)
            pieces.append(self._read_in_block(block, first, here))
            sector, count = sector + here, count - here
        return b"".join(pieces)

    def _read_in_block(self, block: int, first: int, count: int) -> bytes:
        sector = block * self.sectors_per_block + first
        if self.table[block] == NO_BLOCK:
            return self._below(sector, count)
        data = self.store.read(self._place(block, first), count * SECTOR_BYTES)
        if self.parent is None:
            # A sector whose bit is clear holds zeros, says the format; some programs do not set bits at all.
            return data
        bitmap = self.bitmap(block)
        if all(has_bit(bitmap, first + i) for i in range(count)):
            return data
        below = self._below(sector, count)
        return b"".join(
            (data if has_bit(bitmap, first + i) else below)[i * SECTOR_BYTES : (i + 1) * SECTOR_BYTES]
            for i in range(count)
        )

    def _below(self, sector: int, count: int) -> bytes:
        """Give what lies under this image; a parent that is smaller ends in zeros."""
        if self.parent is None:
            return bytes(count * SECTOR_BYTES)
        there = max(0, min(count, self.parent.sectors - sector))
        return (self.parent.read(sector, there) if there else b"").ljust(count * SECTOR_BYTES, b"\0")

    def _place(self, block: int, sector_in_block: int) -> int:
        return (self.table[block] + self.bitmap_sectors + sector_in_block) * SECTOR_BYTES

    def bitmap(self, block: int) -> bytearray:
        """Give the bitmap of a block that has its place."""
        if block not in self._bitmaps:
            size = -(-self.sectors_per_block // 8)
            self._bitmaps[block] = bytearray(self.store.read(self.table[block] * SECTOR_BYTES, size))
        return self._bitmaps[block]

    # ---- writing -----------------------------------------------------------------------------------------------------

    def repair(self) -> None:
        """Make ready for writing: find the footer, or put it back where a crash has left none.

        Where it is missing, what lies behind the last block was never reached, and is cut off: the next block is to
        grow from zeros.
        """
        footer = self.footer.encode()
        last = self.store.size - FOOTER_BYTES
        if self.store.read(last, FOOTER_BYTES) == footer and last >= self.end_of_blocks and not last % SECTOR_BYTES:
            self._end = last
        else:
            self._end = self.end_of_blocks
            self.store.truncate(self._end)
            self.store.write(self._end, footer)
            self.store.flush()
        if self.store.read(0, FOOTER_BYTES) != footer:
            self.store.write(0, footer)
            self.store.flush()

    def write(self, contents: Mapping[int, bytes]) -> None:
        """Write whole sectors by number; blocks that have no place yet get one."""
        new, marked = self._write_data(contents)
        if not new and not marked:
            return
        self.store.flush()
        for block in marked:
            bitmap = self._bitmaps[block]
            padded = bytes(bitmap).ljust(self.bitmap_sectors * SECTOR_BYTES, b"\0")
            self.store.write(self.table[block] * SECTOR_BYTES, padded)
        for block in new:
            entry = self.table[block].to_bytes(_ENTRY_BYTES, "big")
            self.store.write(self.header.table_offset + block * _ENTRY_BYTES, entry)

    def _write_data(self, contents: Mapping[int, bytes]) -> tuple[list[int], list[int]]:
        """Write the data, and new blocks whole; give the blocks that are new, and those whose bitmap has changed."""
        new: list[int] = []
        marked: list[int] = []
        for block, wanted in self._by_block(contents).items():
            if self.table[block] == NO_BLOCK:
                if self.parent is None and not any(any(data) for data in wanted.values()):
                    continue  # zeros, where zeros are read already
                self._begin_block(block, wanted)
                new.append(block)
            else:
                bitmap = self.bitmap(block)
                if not all(has_bit(bitmap, number) for number in wanted):
                    marked.append(block)
                    for number in wanted:
                        _set_bit(bitmap, number)
            for first, data in runs(wanted):
                self.store.write(self._place(block, first), data)
        return new, marked

    def _begin_block(self, block: int, wanted: Mapping[int, bytes]) -> None:
        """Let the file grow by a block of zeros with its bitmap, and the footer behind it."""
        start, self._end = self._end, self._end + self.block_room * SECTOR_BYTES
        self.store.write(self._end, self.footer.encode())
        bitmap = bytearray(-(-self.sectors_per_block // 8))
        # All sectors of a dynamic disk's block are valid at once: those that are not written now are zeros.
        for number in range(self.sectors_per_block) if self.parent is None else wanted:
            _set_bit(bitmap, number)
        self.store.write(start, bytes(bitmap).ljust(self.bitmap_sectors * SECTOR_BYTES, b"\0"))
        self._bitmaps[block] = bitmap
        self.table[block] = start // SECTOR_BYTES

    def _by_block(self, contents: Mapping[int, bytes]) -> dict[int, dict[int, bytes]]:
        """Sort sectors into blocks, numbered within them."""
        blocks: dict[int, dict[int, bytes]] = {}
        for number in sorted(contents):
            block, within = divmod(number, self.sectors_per_block)
            blocks.setdefault(block, {})[within] = contents[number]
        return blocks

    def flush(self) -> None:
        """Return when everything written so far will survive a crash."""
        self.store.flush()

    def close(self) -> None:
        """Let go of the files of the whole chain."""
        close_store(self.store)
        if self.parent is not None:
            self.parent.close()


def has_bit(bitmap: bytes | bytearray, number: int) -> bool:
    """Tell whether a sector's bit is set: the most significant bit of the first byte is the first sector's."""
    return bool(bitmap[number >> 3] & 0x80 >> (number & 7))


def _set_bit(bitmap: bytearray, number: int) -> None:
    bitmap[number >> 3] |= 0x80 >> (number & 7)
