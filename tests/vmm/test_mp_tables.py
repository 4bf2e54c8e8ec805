"""What a kernel that looks for its processors and APICs finds in memory, the way xv6 looks for it."""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from ringviz.guest import Scenario, firmware
from ringviz.guest.mp_tables import TABLE_ADDRESS, mp_tables
from ringviz.guest.scenario import find_scenario
from tests.machine.test_devices_against_qemu import QEMU
from tests.vmm.guests import make_scenario
from tests.vmm.lockstep import Run

MULTIBOOT_AT = 0x10_0000
DUMP = """
bits 32
org 0x100000
header: dd 0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000), header, header, image_end, image_end, start
start:  mov edx, 0xE9
        xor esi, esi
        mov ecx, 0x100000
        rep outsb
        xor eax, eax
        out 0xF4, al
        jmp $
image_end:
"""


class Interrupt(NamedTuple):
    """One entry of type 3 or 4."""

    kind: int
    flags: int
    bus: str
    irq: int
    apic: int
    pin: int


class Found(NamedTuple):
    """What the configuration table says."""

    local_apic: int
    processors: list[tuple[int, int, int, int, int]]
    buses: dict[int, str]
    io_apics: list[tuple[int, int, int, int]]
    interrupts: list[Interrupt]
    local_interrupts: list[Interrupt]


def _search_in(ram: bytes, start: int, size: int) -> int | None:
    places = range(start, start + size, 16)
    return next((at for at in places if ram[at : at + 4] == b"_MP_" and not sum(ram[at : at + 16]) & 0xFF), None)


def _search(ram: bytes) -> int | None:
    """Look in the extended data area, or else at the end of base memory, and in the ROM."""
    extended, base_kib = struct.unpack_from("<H", ram, 0x40E)[0] << 4, struct.unpack_from("<H", ram, 0x413)[0]
    first = _search_in(ram, extended or (base_kib << 10) - 1024, 1024)
    return _search_in(ram, 0xF0000, 0x10000) if first is None else first


def _config(ram: bytes) -> Found:
    at = _search(ram)
    assert at is not None
    table, length, revision, _, feature, imcr = struct.unpack_from("<I5B", ram, at + 4)
    assert (length, revision, feature, imcr) == (1, 4, 0, 0)
    signature, size, revision, _, _, _, _, _, count, local_apic = struct.unpack_from("<4sH2B8s12sIHHI", ram, table)
    assert (signature, revision, sum(ram[table : table + size]) & 0xFF) == (b"PCMP", 4, 0)
    found = Found(local_apic, [], {}, [], [], [])
    place = table + 44
    for _ in range(count):
        match ram[place]:
            case 0:
                found.processors.append(struct.unpack_from("<x3B2I", ram, place))
            case 1:
                found.buses[ram[place + 1]] = ram[place + 2 : place + 8].decode("ascii").rstrip()
            case 2:
                found.io_apics.append(struct.unpack_from("<x3BI", ram, place))
            case kind:
                assert kind in (3, 4)
                what, flags, bus, irq, apic, pin = struct.unpack_from("<xBH4B", ram, place)
                entries = found.interrupts if kind == 3 else found.local_interrupts
                entries.append(Interrupt(what, flags, found.buses[bus], irq, apic, pin))
        place += 20 if ram[place] == 0 else 8
    assert place == table + size
    return found


def _boot_sector(folder: Path) -> Scenario:
    folder.mkdir(exist_ok=True)
    (folder / "own.img").write_bytes(b"\xf4".ljust(510, b"\0") + b"\x55\xaa")
    return find_scenario(str(folder / "own.img"))


def _multiboot(folder: Path, code: bytes = b"\xf4") -> Scenario:
    folder.mkdir(exist_ok=True)
    fields = (0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000) & 0xFFFF_FFFF, *[MULTIBOOT_AT] * 2, 0, 0, MULTIBOOT_AT + 32)
    (folder / "own.bin").write_bytes(struct.pack("<8I", *fields) + code)
    return find_scenario(str(folder / "own.bin"))


@pytest.mark.parametrize("make", [_boot_sector, _multiboot])
@pytest.mark.parametrize(("technique", "cpu"), [("native", None), ("vt-x", "p4-672"), ("amd-v", None)])
def test_a_kernel_finds_one_cpu_its_apics_and_their_inputs(
    make: type, technique: str, cpu: str | None, tmp_path: Path
) -> None:
    run = Run(make(tmp_path), technique, cpu)
    found = _config(run.technique.guest_ram())
    assert found.local_apic == 0xFEE0_0000
    signature, _, _, features = run.technique.machine.cpuid(1, 0)
    assert found.processors == [(0, 0x14, 3, signature, features)]
    assert found.buses == {0: "ISA"}
    assert found.io_apics == [(0, 0x11, 1, 0xFEC0_0000)]
    assert found.interrupts == [
        Interrupt(0, 0, "ISA", irq, 0, 2 if irq == 0 else irq) for irq in range(16) if irq != 2
    ]  # fmt: skip
    assert found.local_interrupts == [Interrupt(3, 0, "ISA", 0, 0, 0), Interrupt(1, 0, "ISA", 0, 0xFF, 1)]


def test_what_the_tables_say_is_what_the_chips_say(tmp_path: Path) -> None:
    run = Run(_multiboot(tmp_path), "native")
    found, bus = _config(run.technique.guest_ram()), run.technique.machine.bus
    _, version, _, _, _ = found.processors[0]
    assert bus.read_memory(found.local_apic + 0x30, 4, 0) & 0xFF == version
    io_id, io_version, _, io_apic = found.io_apics[0]
    assert bus.read_memory(io_apic + 0x10, 4, 0) >> 24 == io_id
    bus.write_memory(io_apic, 4, 1, 0)
    assert bus.read_memory(io_apic + 0x10, 4, 0) & 0xFF == io_version


def test_every_kernel_finds_where_base_memory_ends(tmp_path: Path) -> None:
    for number, scenario in enumerate((_boot_sector(tmp_path / "a"), _multiboot(tmp_path / "b"))):
        ram = Run(scenario, "native").technique.guest_ram()
        assert struct.unpack_from("<H", ram, 0x40E)[0] << 4 == firmware.EBDA_ADDRESS, number
        assert struct.unpack_from("<H", ram, 0x413)[0] == 639


def test_a_flat_image_has_had_no_firmware(tmp_path: Path) -> None:
    ram = Run(make_scenario(tmp_path, b"\xf4", 0x1000, entry=0x1000, limit=10), "native").technique.guest_ram()
    assert not any(ram[0x400:0x500])
    assert not any(ram[0xF0000:0x100000])


def test_the_tables_lie_beside_the_services(tmp_path: Path) -> None:
    ((address, content),) = mp_tables(0, 0)
    assert address % 16 == 0
    assert TABLE_ADDRESS + len(content) <= firmware.ROM_ADDRESS


@pytest.mark.qemu
@pytest.mark.skipif(not (shutil.which("qemu-system-i386") and shutil.which("nasm")), reason="needs QEMU and NASM")
def test_seabios_says_the_same_of_the_same_parts(tmp_path: Path) -> None:
    (tmp_path / "guest.asm").write_text(DUMP)
    subprocess.run(["nasm", "-f", "bin", "-o", "guest.bin", "guest.asm"], cwd=tmp_path, check=True)
    command = [*QEMU, "-monitor", "none"]
    assert subprocess.run(command, cwd=tmp_path, timeout=60, check=False, capture_output=True).returncode == 1
    ram = (tmp_path / "answers").read_bytes()[-0x10_0000:]
    theirs = _config(ram)
    own_ram = Run(_multiboot(tmp_path / "own"), "native").technique.guest_ram()
    ours = _config(own_ram)
    assert _search(ram) == _search(own_ram)
    for offset in (0x40E, 0x413):
        assert ram[offset : offset + 2] == own_ram[offset : offset + 2]
    assert (theirs.local_apic, theirs.io_apics) == (ours.local_apic, ours.io_apics)
    assert theirs.processors[0][:3] == ours.processors[0][:3]
    on_isa = [entry for entry in theirs.interrupts if entry.bus == "ISA"]
    assert len(on_isa) > 8  # the others are for its PCI bus
    assert [entry for entry in on_isa if entry not in ours.interrupts] == []
    assert theirs.local_interrupts == ours.local_interrupts
