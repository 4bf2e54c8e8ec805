"""Guests for hosts: one that always wants the CPU, one that sleeps most of the time, one that ends."""

from pathlib import Path

from ringviz.guest import Scenario
from tests.vmm.guests import bare_scenario, make_scenario

FOR_EVER = 10**12


def busy(folder: Path) -> Scenario:
    """inc eax; jmp back."""
    return bare_scenario(folder, bytes.fromhex("40 eb fd"), limit=FOR_EVER)


def ending(folder: Path, loops: int) -> Scenario:
    """mov ecx, loops; loop: dec ecx; jnz loop; mov al, 5; out 0xF4, al; hlt."""
    code = b"\xb9" + loops.to_bytes(4, "little") + bytes.fromhex("49 75 fd b0 05 e6 f4 f4")
    return bare_scenario(folder, code, limit=FOR_EVER)


def sleeper(folder: Path, divisor: int = 11_932) -> Scenario:
    """Sets the 8254 to a hundred interrupts a second, and sleeps in between: sti; hlt; jmp back.

    The table of interrupts stands behind the code, so that the image is all there is.
    """
    load = 0x10_0000
    handler = load + 0x100
    table = load + 0x200
    gate = (handler & 0xFFFF).to_bytes(2, "little") + bytes.fromhex("0800 008e") + (handler >> 16).to_bytes(2, "little")
    gdt = load + 0x600
    code = bytearray(0x700)
    start = b""
    start += bytes.fromhex("0f0115") + (load + 0x690).to_bytes(4, "little")  # lgdt
    start += bytes.fromhex("0f011d") + (load + 0x6A0).to_bytes(4, "little")  # lidt
    start += b"\xbc" + (load + 0x8000).to_bytes(4, "little")  # mov esp
    for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE), (0x43, 0x34)):
        start += bytes((0xB0, value, 0xE6, port))
    for value in (divisor & 0xFF, divisor >> 8):
        start += bytes((0xB0, value, 0xE6, 0x40))
    start += bytes.fromhex("fb f4 ebfc")  # sti; hlt; jmp to sti
    code[: len(start)] = start
    code[0x100:0x10C] = bytes.fromhex("50 b020 e620 58 cf 90909090 90")
    for vector in range(0x21):
        code[0x200 + 8 * vector : 0x208 + 8 * vector] = gate
    code[0x608:0x610] = bytes.fromhex("ffff0000009bcf00")
    code[0x610:0x618] = bytes.fromhex("ffff00000093cf00")
    code[0x690:0x696] = (0x17).to_bytes(2, "little") + gdt.to_bytes(4, "little")
    code[0x6A0:0x6A6] = (0x107).to_bytes(2, "little") + table.to_bytes(4, "little")
    return make_scenario(folder, bytes(code), load, entry=load, limit=FOR_EVER)
