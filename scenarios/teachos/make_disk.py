"""Writes disk.img, the disk that teachos reads: a table of files and the files, the same bytes every time.

    python scenarios/teachos/make_disk.py

The format is the simplest that can be: sector 0 is a header of 32 bytes ("TEACHOS1", then zeros) and 15 entries of
32 bytes each (name, 16 bytes ending in zeros; first sector, 4 bytes; length in bytes, 4 bytes; zeros). Files lie
behind it, one after the other, each from the start of a sector.
"""

import struct
from pathlib import Path

SECTOR_BYTES = 512
SECTORS = 128
MAGIC = b"TEACHOS1"
MOST_FILES = 15
NAME_BYTES = 16
_HEADER_BYTES = 32
_ENTRY = struct.Struct("<16sII8x")

FILES = {
    "motd": """\
Hello from a disk. A drive has read this sector and raised IRQ 14;
the process that asked for it slept until then.
""",
    "rings": """\
Ring 3: programs. They compute, and ask the kernel for everything else.
Ring 0: the kernel. It owns the page tables, the clock, the devices.

What keeps them apart is small: two bits in CS, one bit in each page-table
entry, a table of gates. INT 80h goes in through a gate, IRET comes back out.
On the way in the CPU takes another stack, which it finds in the TSS.

A virtual machine monitor wants ring 0 for itself. Then this kernel has to go
somewhere else, and the question of the whole course is: does it notice?
With privileged instructions it does not need to: they trap, and the monitor
does what they would have done. But PUSHF shows the interrupt flag to any
ring, and POPF, where it may not change it, says nothing. A kernel that looks
at its own interrupt flag looks at the monitor's.
""",
}


def make_disk(files: dict[str, str] = FILES) -> bytes:
    """Give the bytes of a disk with these files, in this order."""
    table = MAGIC.ljust(_HEADER_BYTES, b"\0")
    data = b""
    for name, text in files.items():
        if len(name) >= NAME_BYTES:
            raise ValueError(f"{name}: does not fit into {NAME_BYTES} bytes with a zero behind it")
        content = text.encode("ascii")
        table += _ENTRY.pack(name.encode("ascii"), 1 + len(data) // SECTOR_BYTES, len(content))
        data += content.ljust(-(-len(content) // SECTOR_BYTES) * SECTOR_BYTES, b"\0")
    disk = table.ljust(SECTOR_BYTES, b"\0") + data
    if len(files) > MOST_FILES or len(disk) > SECTORS * SECTOR_BYTES:
        raise ValueError(f"{len(files)} files with {len(data)} bytes do not fit on a disk of {SECTORS} sectors")
    return disk.ljust(SECTORS * SECTOR_BYTES, b"\0")


if __name__ == "__main__":
    Path(__file__).with_name("disk.img").write_bytes(make_disk())
