"""The tables by which a PC's firmware tells a kernel of its processor and its APICs: one CPU, one I/O APIC, an ISA bus.

A kernel looks for the floating pointer, which begins with "_MP_", in the extended data area, at the end of base memory
and from F0000h to FFFFFh; it gives the address of the configuration table. The bytes of each add up to 0 modulo 256.

Source: Intel MultiProcessor Specification 1.4, "MP Configuration Table"; where the tables lie, what the 8259A and NMI
are said to be wired to, and that the I/O APIC has the ID 0: SeaBIOS.
"""

import struct

POINTER_ADDRESS = 0xF5BA0
TABLE_ADDRESS = POINTER_ADDRESS + 0x10
_REVISION = 4
"""Of the specification: 1.4."""
_LOCAL_APIC, _IO_APIC = 0xFEE0_0000, 0xFEC0_0000
_LOCAL_VERSION, _IO_VERSION = 0x14, 0x11
_CPU_ID = _IO_ID = _ISA_BUS = 0
_EVERY_CPU = 0xFF
_ENABLED, _BOOT_PROCESSOR = 1, 2
_PROCESSOR, _BUS, _IO_APIC_ENTRY, _IO_INTERRUPT, _LOCAL_INTERRUPT = range(5)
_INT, _NMI, _EXTINT = 0, 1, 3
_AS_ITS_BUS = 0
"""Polarity and trigger: as usual on the bus, so edges on ISA."""
_CASCADE, _TIMER_PIN = 2, 2
_CHECKSUM_IN_POINTER, _CHECKSUM_IN_TABLE = 10, 7


def mp_tables(signature: int, features: int) -> tuple[tuple[int, bytes], ...]:
    """Give (physical address, bytes) of the floating pointer with the configuration table behind it.

    Args:
        signature: of the CPU: CPUID leaf 1, EAX.
        features: CPUID leaf 1, EDX.
    """
    # The byte after the type says, with bit 7 clear, that the 8259A reaches the CPU through its local APIC.
    pointer = struct.pack("<4sI4B4x", b"_MP_", TABLE_ADDRESS, 1, _REVISION, 0, 0)
    table = _table(_entries(signature, features))
    return ((POINTER_ADDRESS, _summed(pointer, _CHECKSUM_IN_POINTER) + _summed(table, _CHECKSUM_IN_TABLE)),)


def _entries(signature: int, features: int) -> tuple[bytes, ...]:
    flags = _ENABLED | _BOOT_PROCESSOR
    irqs = (irq for irq in range(16) if irq != _CASCADE)
    return (
        struct.pack("<4B2I8x", _PROCESSOR, _CPU_ID, _LOCAL_VERSION, flags, signature, features),
        struct.pack("<2B6s", _BUS, _ISA_BUS, b"ISA   "),
        struct.pack("<4BI", _IO_APIC_ENTRY, _IO_ID, _IO_VERSION, _ENABLED, _IO_APIC),
        *(_interrupt(_IO_INTERRUPT, _INT, irq, _IO_ID, irq or _TIMER_PIN) for irq in irqs),
        _interrupt(_LOCAL_INTERRUPT, _EXTINT, 0, _CPU_ID, 0),
        _interrupt(_LOCAL_INTERRUPT, _NMI, 0, _EVERY_CPU, 1),
    )


def _interrupt(entry: int, kind: int, irq: int, apic: int, pin: int) -> bytes:
    return struct.pack("<2BH4B", entry, kind, _AS_ITS_BUS, _ISA_BUS, irq, apic, pin)


def _table(entries: tuple[bytes, ...]) -> bytes:
    content = b"".join(entries)
    header = struct.Struct("<4sH2B8s12sIHHII")
    return (
        header.pack(
            b"PCMP", header.size + len(content), _REVISION, 0, b"RINGVIZ ", b"PC".ljust(12),
            0, 0, len(entries), _LOCAL_APIC, 0,
        )
        + content
    )  # fmt: skip


def _summed(content: bytes, at: int) -> bytes:
    """Set the byte that makes the sum of all of them 0."""
    return content[:at] + bytes([-sum(content) & 0xFF]) + content[at + 1 :]
