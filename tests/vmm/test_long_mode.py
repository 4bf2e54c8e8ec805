"""A 64-bit guest behaves alike on bare metal, emulated, and under hardware assistance; others refuse it in one line."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from ringviz.engine.recording import Recording
from ringviz.engine.session import Session
from ringviz.engine.walk_count import count_walks
from ringviz.errors import UnsupportedError
from ringviz.facts.svm import SAVE_AREA_OFFSET, VMCB_SAVE
from ringviz.facts.vmx import VMX_CONTROLS
from ringviz.guest import Scenario
from ringviz.guest.scenario import load_scenario
from ringviz.vmm import registry
from ringviz.vmm.amdv import layout as amdv_layout
from ringviz.vmm.events import Kind
from ringviz.vmm.registry import available, choose, power_on
from ringviz.vmm.vtx.technique import VtX
from tests.machine.guests import NASM, assemble
from tests.vmm.lockstep import Run, assert_lockstep, difference

SOURCE = Path(__file__).with_name("long_mode.asm")
QEMU = shutil.which("qemu-system-x86_64")
CONSOLE = "long mode\nxUV"
WAYS = (
    ("emulation", None, None),
    ("vt-x", "nested", "westmere"),
    ("vt-x", "nested", "nehalem"),
    ("amd-v", "nested", None),
    ("vt-x", "shadow", "p4-672"),
    ("amd-v", "shadow", None),
)
"""Technique, way of memory virtualization, CPU. Westmere has the unrestricted guest, and Nehalem has not."""
_TOML = """\
schema = 1
title = "Long mode"
summary = "For the tests."
level = "advanced"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "multiboot"
memory_mib = 4
paging = true
long = true
[limits]
instructions = 100_000
"""

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")


def scenario_of(folder: Path, source: str) -> Scenario:
    """Assemble a guest, and load it."""
    made = folder / "guest"
    made.mkdir()
    (made / "scenario.toml").write_text(_TOML, encoding="utf-8")
    (made / "guest.asm").write_text(source, encoding="ascii")
    (made / "guest.bin").write_bytes(assemble(source, folder))
    return load_scenario(made)


@pytest.fixture
def guest(tmp_path: Path) -> Scenario:
    return scenario_of(tmp_path, SOURCE.read_text(encoding="ascii"))


def test_it_runs_to_its_end_on_bare_metal(guest: Scenario) -> None:
    run = Run(guest, "native")
    run.finish()
    assert run.ended is not None
    assert run.ended.how == "exit"
    assert run.technique.machine.bus.console == CONSOLE


@pytest.mark.skipif(QEMU is None, reason="QEMU is not installed (apt-get install qemu-system-x86)")
def test_qemu_sees_the_same_guest(guest: Scenario) -> None:
    assert QEMU is not None
    command = [QEMU, "-kernel", str(guest.image_path), "-m", "4", "-display", "none", "-no-reboot", "-cpu", "max"]
    command += ["-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.stdout.decode("ascii").replace("\r", "") == CONSOLE
    assert done.returncode == 1


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_every_instruction_leaves_the_same_behind(
    technique: str, mmu: str | None, cpu: str | None, guest: Scenario
) -> None:
    run = assert_lockstep(guest, technique, mmu=mmu, cpu=cpu, times=20)
    assert run.technique.machine.bus.console == CONSOLE


@pytest.mark.parametrize("technique", ["classic", "trap-emulate", "binary-translation", "paravirt"])
def test_the_software_techniques_refuse_it_in_one_line(technique: str, guest: Scenario) -> None:
    with pytest.raises(UnsupportedError) as refused:
        power_on(guest, technique)
    assert "\n" not in str(refused.value)
    if technique != "paravirt":
        assert "64-bit mode has no segment limits" in str(refused.value)


def test_every_technique_runs_it_or_says_why_not() -> None:
    refusing = {name for name in available() if registry._CLASSES[name].no_long_mode}
    assert set(available()) - refusing == {"native", "emulation", "vt-x", "amd-v"}


def test_the_vmcb_holds_what_long_mode_has_besides(guest: Scenario) -> None:
    run = Run(guest, "amd-v")
    run.finish()
    state, ram = run.technique.guest_state(), run.technique.machine.ram
    assert state.long is not None

    def field(name: str) -> int:
        return ram.read_int(amdv_layout.VMCB + VMCB_SAVE[name].offset, 8)

    assert SAVE_AREA_OFFSET
    assert field("EFER") & 0x500 == 0x500
    assert (field("STAR"), field("LSTAR"), field("SFMASK")) == (state.long.star, state.long.lstar, state.long.sfmask)
    assert field("KernelGsBase") == state.long.kernel_gs_base
    assert field("RIP") >> 47 == 0x1FFFF


@pytest.mark.parametrize("cpu", ["westmere", "nehalem"])
def test_the_vmcs_says_that_the_guest_is_in_long_mode(cpu: str, guest: Scenario) -> None:
    run = Run(guest, "vt-x", cpu, mmu="nested")
    control = VMX_CONTROLS["ia-32e-mode-guest-on-entry"].mask
    technique = run.technique
    assert isinstance(technique, VtX)
    assert not technique.vmx.vmcs.get("VM_ENTRY_CONTROLS") & control
    run.finish()
    vmcs = technique.vmx.vmcs
    assert vmcs.get("VM_ENTRY_CONTROLS") & control
    assert vmcs.get("GUEST_IA32_EFER") & 0x500 == 0x500
    assert vmcs.get("VM_EXIT_CONTROLS") & VMX_CONTROLS["host-address-space-size-on-exit"].mask
    assert vmcs.get("GUEST_RIP") >> 47 == 0x1FFFF


def test_cr8_belongs_to_the_vmm_under_vt_x(guest: Scenario) -> None:
    run = Run(guest, "vt-x", "westmere", mmu="nested")
    run.finish()
    exits = [event for event in run.events if event.kind is Kind.EXIT and "cr8" in event.instruction]
    assert len(exits) == 3
    assert all("CR access" in event.cause or "Control-register" in event.cause for event in exits)


@pytest.mark.parametrize("technique", ["native", "amd-v"])
def test_time_travel_is_exact(technique: str, guest: Scenario) -> None:
    tape = Recording(guest, technique, choose(technique))
    tape.play_to_the_end()
    for position in (6000, 5200, 5743, 40, 6100):
        tape.seek(position)
        fresh = Run(guest, technique)
        fresh.reach(position)
        assert tape.technique.guest_state() == fresh.technique.guest_state()
        assert tape.technique.guest_ram() == fresh.technique.guest_ram()


def test_system_calls_are_told_and_priced(guest: Scenario) -> None:
    run = Run(guest, "amd-v")
    run.finish()
    calls = [event for event in run.events if event.cause == "SYSCALL"]
    returns = [event for event in run.events if event.cause == "SYSRETQ"]
    assert (len(calls), len(returns)) == (3, 2)
    assert {(event.from_ring, event.to_ring) for event in calls} == {(3, 0)}
    assert {(event.from_ring, event.to_ring) for event in returns} == {(0, 3)}
    assert calls[0].native_charges == ("native-syscall",)


def test_running_freely_and_stepping_give_the_same(guest: Scenario) -> None:
    free, stepped = Run(guest, "native"), Run(guest, "native")
    free.finish()
    while stepped.ended is None:
        stepped.reach(stepped.position + 1)
    assert difference(free, stepped) is None


def test_views_show_the_registers_at_their_width(guest: Scenario) -> None:
    session = Session(guest, "amd-v")
    session.seek(5750)
    snapshot = session.snapshot()
    rows = {row.name: row.guest for row in snapshot.registers}
    assert rows["RIP"].startswith("ffff8000_")
    assert {"RAX", "R8", "R15", "EFER", "FS base", "RFLAGS"} <= rows.keys()
    assert "EAX" not in rows
    assert any(row.is_current and row.address >> 47 == 0x1FFFF for row in snapshot.code)


_FLAT = _TOML.replace('"multiboot"', '"flat"\nload = 0x8000\nentry = 0x8000\nstart = "long"').replace(
    "long = true\n", ""
)


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_a_flat_image_may_start_in_64_bit_mode(
    technique: str, mmu: str | None, cpu: str | None, tmp_path: Path
) -> None:
    # mov r8, 1122334455667788h; cpuid; mov rax, cr3; mov [rax+8], r8; mov al, '!'; out 0e9h, al; hlt
    code = bytes.fromhex("49b88877665544332211 0fa2 0f20d8 4c894008 b021 e6e9 f4")
    (tmp_path / "scenario.toml").write_text(_FLAT, encoding="utf-8")
    (tmp_path / "guest.asm").write_text("; made by hand\n", encoding="ascii")
    (tmp_path / "guest.bin").write_bytes(code)
    run = assert_lockstep(load_scenario(tmp_path), technique, mmu=mmu, cpu=cpu)
    assert run.ended is not None
    assert run.ended.how == "halted"
    assert run.technique.guest_state().gpr[8] == 0x1122_3344_5566_7788
    assert run.technique.machine.bus.console == "!"


# ---- any code at all -------------------------------------------------------------------------------------------------

_RANDOM_ALU = ("add", "sub", "xor", "and", "or", "adc", "sbb", "cmp", "test", "imul")
_RANDOM_REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")
_RANDOM_SPECIAL = (
    "cpuid", "rdtsc", "pushfq\npopfq", "swapgs\nswapgs", "sgdt [rdi]", "sidt [rdi]", "str ax", "sldt rax", "smsw rax",
    "mov rax, cr0", "mov rax, cr3\nmov cr3, rax", "mov rax, cr4", "mov rax, cr8", "mov ecx, 0xC0000080\nrdmsr",
    "mov ecx, 0xC0000100\nrdmsr\nwrmsr", "mov ax, gs\nmov ax, ds", "in al, 0x64", "mov al, 'r'\nout 0xe9, al",
    "mov rax, dr6", "mov rax, dr7\nmov dr7, rax", "invlpg [rdi]", "wbinvd", "clts", "cli\nsti", "int 0x40", "int3",
    "push fs\npop fs", "lar eax, cx", "verr cx", "lea r8, [rel $]", "rep stosq",
    "cmpxchg8b [rdi]", "bswap rax", "movsxd rax, ecx", "xchg rax, r8",
)  # fmt: skip


def random_body(seed: int, count: int = 120) -> str:
    """Some 64-bit kernel code: arithmetic, memory, and everything that a VMM may have to look at."""
    rng = random.Random(seed)
    lines = ["mov rdi, 0xFFFF800000180000", "mov rcx, 3"]
    for _ in range(count):
        kind = rng.random()
        one, two = rng.choice(_RANDOM_REGISTERS), rng.choice(_RANDOM_REGISTERS)
        if kind < 0.35:
            lines.append(f"{rng.choice(_RANDOM_ALU)} {one}, {two}")
        elif kind < 0.45:
            lines.append(f"mov {one}, {rng.randrange(1 << 64):#x}")
        elif kind < 0.55:
            lines.append(f"mov [rdi+{8 * rng.randrange(64)}], {one}")
        elif kind < 0.65:
            lines.append(f"mov {one}, [rdi+{8 * rng.randrange(64)}]")
        else:
            lines.append(rng.choice(_RANDOM_SPECIAL))
            lines += ["mov rdi, 0xFFFF800000180000", "mov ecx, 3"]
    return "\n".join(lines)


def random_guest(folder: Path, seed: int) -> Scenario:
    """The kernel above, with random code in the place of its own."""
    source = SOURCE.read_text(encoding="ascii")
    begin, end = source.index("    mov rax, cr8\n"), source.index("    ; ring 3\n")
    return scenario_of(folder, source[:begin] + random_body(seed) + "\n" + source[end:])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS[1:])
def test_random_64_bit_kernels_run_alike(
    technique: str, mmu: str | None, cpu: str | None, seed: int, tmp_path: Path
) -> None:
    run = assert_lockstep(random_guest(tmp_path, seed), technique, mmu=mmu, cpu=cpu, times=12)
    assert run.ended is not None
    assert run.ended.how == "exit"


# ---- any page tables at all ------------------------------------------------------------------------------------------

_WINDOW = 0xFFFF_9000_0000_0000
"""A part of the address space with tables of its own."""
_TABLES = (0x19_0000, 0x19_1000, 0x19_2000, 0x19_3000)
_FRAMES = (0x1A_0000, 0x1A_1000, 0x1A_2000, 0x18_0000, 0x20_0000, 0x700_0000)
_FLAGS = (1, 3, 5, 7, 7, 7, 3, 0)
_SHIFTS = (39, 30, 21, 12)


def random_paging(seed: int, rounds: int = 60) -> str:
    """A kernel that writes any entry of any level, forgets its TLB, and reads and writes through what it has made."""
    rng = random.Random(seed)
    lines = ["mov r12, 0xFFFF800000000000", "mov ecx, 0xC0000080\nrdmsr\nor eax, 0x800\nwrmsr"]

    def put(address: int, value: int) -> None:
        lines.append(f"mov rbx, {value:#x}\nmov rsi, {address:#x}\nadd rsi, r12\nmov [rsi], rbx")

    for above, below in zip(("pml4+8*288", *_TABLES[:2]), _TABLES, strict=False):
        lines.append(f"mov rsi, {above}\nadd rsi, r12\nmov rbx, {below | 7:#x}\nmov [rsi], rbx")
    put(_TABLES[2], _FRAMES[0] | 7)
    for _ in range(rounds):
        slots = [rng.choice((0, 0, 0, 1, 511)) for _ in _SHIFTS]
        slots[0] = 0
        linear = _WINDOW + sum(slot << shift for slot, shift in zip(slots, _SHIFTS, strict=True))
        linear += rng.choice((0, 8, 0xFF8, 0xFFC))
        if rng.random() < 0.6:
            level = rng.choice((0, 1, 2, 2))
            target = rng.choice(_FRAMES if level == 2 and rng.random() < 0.9 else _TABLES)
            value = target | rng.choice(_FLAGS) | (rng.random() < 0.1) << 63
            if level < 2 and rng.random() < 0.15:
                value = value & ~0x1FFFFF | rng.choice((0x83, 0x87))
            put(_TABLES[level] + 8 * slots[level + 1], value)
        if rng.random() < 0.1:
            lines.append("mov rsi, pml4+8*288\nadd rsi, r12\nmov rbx, [rsi]\nxor rbx, 1\nmov [rsi], rbx")
        lines.append("mov rax, cr3\nmov cr3, rax")
        lines.append(f"mov rbx, {linear:#x}")
        lines.append(rng.choice(("mov rax, [rbx]", "mov rax, [rbx]", "mov [rbx], rax")))
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS[3:])
def test_random_page_tables_of_four_levels_translate_alike(
    technique: str, mmu: str | None, cpu: str | None, seed: int, tmp_path: Path
) -> None:
    source = SOURCE.read_text(encoding="ascii").replace("add qword [rsp+32], 8", "add qword [rsp+32], 3")
    begin, end = source.index("    mov rax, cr8\n"), source.index("    ; ring 3\n")
    over = "\nmov al, 0\nmov dx, 0xf4\nout dx, al\n"
    guest = scenario_of(tmp_path, source[:begin] + random_paging(seed) + over + source[end:])
    run = assert_lockstep(guest, technique, mmu=mmu, cpu=cpu, times=6)
    assert run.ended is not None
    assert run.ended.how in ("exit", "triple-fault")


def test_its_page_walks_are_counted_in_one_dimension_and_in_two(guest: Scenario) -> None:
    counts = {way: count_walks(guest, way[0], choose(way[0], *way[1:])) for way in (("native", None, None), *WAYS[1:])}
    native = counts["native", None, None]
    assert 3 * native.misses < native.one_dimension <= 4 * native.misses, "pages of 4 KiB, and larger ones"
    assert native.one_dimension < native.references, "walks in vain are in it"
    assert counts["amd-v", "nested", None].one_dimension == native.one_dimension, "its exits do not flush"
    for (_, mmu, _), count in counts.items():
        assert count.unresolved == 0
        assert count.is_nested == (mmu == "nested")
        if mmu == "nested":
            assert count.failed_walks == native.failed_walks
            assert 20 * native.misses < count.two_dimensions <= 24 * count.misses
            assert count.two_dimensions < count.references
        elif mmu == "shadow":
            assert count.failed_walks > native.failed_walks, "those by which the shadow is filled"
