"""Under VT-x the guest keeps what it has on bare metal, instruction by instruction, on three generations of CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.errors import UnsupportedError
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.events import Kind
from ringviz.vmm.registry import choose, power_on
from ringviz.vmm.vtx.technique import VtX
from tests.vmm.guests import SCRATCH, bare_scenario, kernel_scenario, make_scenario, slots
from tests.vmm.lockstep import Run, assert_lockstep

GENERATIONS = {"p4-672": "shadow tables", "nehalem": "identity tables under EPT", "westmere": "unrestricted guest"}


@pytest.mark.parametrize("cpu", ["nehalem", "westmere"])
def test_a_guest_with_paging_is_bare_metal_under_ept(cpu: str) -> None:
    run = assert_lockstep(find_scenario("paging-tour"), "vt-x", cpu=cpu)
    assert run.ended is not None
    assert run.ended.how == "exit"


def every_kind_of_instruction() -> bytes:
    """Sensitive instructions of ring 0, each in a slot of its own, with what they answer stored at EDI."""
    return slots(
        bytes.fromhex("0f20c0 ab"),  # mov eax, cr0; stosd
        bytes.fromhex("0f20d8 ab"),  # mov eax, cr3
        bytes.fromhex("0f20e0 ab"),  # mov eax, cr4
        bytes.fromhex("0f01e0 ab"),  # smsw eax
        bytes.fromhex("b83b000000 0f22c0 0f20c0 ab"),  # mov eax, 3Bh; mov cr0, eax: TS, NE, MP
        bytes.fromhex("0f06 0f20c0 ab"),  # clts
        bytes.fromhex("66b80f00 0f01f0 0f20c0 ab"),  # mov ax, 0Fh; lmsw ax
        bytes.fromhex("b811000060 0f22c0 0f20c0 ab"),  # CD and NW
        bytes.fromhex("b811000020 0f22c0 ab"),  # NW without CD: #GP
        bytes.fromhex("b811000000 0f22c0 0f20c0 ab"),
        bytes.fromhex("b800304000 0f22d8 0f20d8 ab"),  # mov cr3, 403000h
        bytes.fromhex("b890000000 0f22e0 0f20e0 ab"),  # PSE and PGE
        bytes.fromhex("b820000000 0f22e0 0f20e0 ab"),  # PAE
        bytes.fromhex("b800200000 0f22e0 0f20e0 ab"),  # VMXE
        bytes.fromhex("b800000080 0f22e0 ab"),  # a reserved bit: #GP
        bytes.fromhex("b804000000 0f22e0 0f20e0 ab"),  # TSD
        bytes.fromhex("31c0 0f22e0"),
        bytes.fromhex("0f23c0 0f21c0 ab"),  # mov dr0, eax
        bytes.fromhex("b8ff0f0000 0f23f0 0f21f0 ab"),  # DR6
        bytes.fromhex("0f31 ab 89d0 ab"),  # rdtsc
        bytes.fromhex("0f33"),  # rdpmc: #GP
        bytes.fromhex("31c0 0fa2 93 ab"),  # cpuid
        bytes.fromhex("b974010000 b808000000 31d2 0f30"),  # wrmsr SYSENTER_CS
        bytes.fromhex("b974010000 0f32 ab"),
        bytes.fromhex("b9800000c0 b800080000 31d2 0f30"),  # EFER.NXE
        bytes.fromhex("b9800000c0 0f32 ab"),
        bytes.fromhex("b900123400 0f32"),  # no such MSR: #GP
        bytes.fromhex("0f013b"),  # invlpg [ebx]
        bytes.fromhex("0f08"),  # invd
        bytes.fromhex("0f09"),  # wbinvd
        bytes.fromhex("0f0103 0f014b08"),  # sgdt, sidt
        bytes.fromhex("0f00c0 ab 0f00c8 ab"),  # sldt, str
        bytes.fromhex("9c 58 ab 50 9d"),  # pushf; pop eax; stosd; push eax; popf
        bytes.fromhex("fa fb f3 90"),  # cli; sti; pause
        bytes.fromhex("0f01c1"),  # vmcall: #UD
        bytes.fromhex("0f01c4"),  # vmxoff
        bytes.fromhex("0f78c3"),  # vmread ebx, eax
        bytes.fromhex("0fc733"),  # vmptrld [ebx]
        bytes.fromhex("0f01d9"),  # vmmcall
        bytes.fromhex("e680 e480 ab"),  # out 80h; in
        bytes.fromhex("66ba8000 b903000000 f36c"),  # rep insb
        bytes.fromhex("66ba8000 b903000000 f36e"),  # rep outsb
        bytes.fromhex("31c9 f7f1"),  # div ecx: #DE
        bytes.fromhex("cc ce f1"),  # int3; into; int1
        bytes.fromhex("0f0b"),  # ud2
        bytes.fromhex("cd30 cd50"),  # int 30h; int 50h: no gate
        bytes.fromhex("668cd8 8ed8 8ec0"),  # segment loads
    )


@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("cpu", GENERATIONS)
def test_every_kind_of_instruction_is_that_of_bare_metal(tmp_path: Path, cpu: str, ring: int) -> None:
    run = assert_lockstep(kernel_scenario(tmp_path / "guest", every_kind_of_instruction(), ring=ring), "vt-x", cpu=cpu)
    assert run.ended is not None
    assert run.ended.how == "halted"
    assert run.technique.guest_bytes > SCRATCH


def test_an_fpu_error_without_ne_passes_as_on_bare_metal(tmp_path: Path) -> None:
    # fninit; mask off divide-by-zero; fldz; fld1; fdiv; fwait; nop
    body = slots(bytes.fromhex("dbe3 66c7037b03 d92b d9ee d9e8 def1 9b 90 d9eb 9b"))
    run = assert_lockstep(kernel_scenario(tmp_path / "guest", body), "vt-x")
    told = [event for event in run.events if "FERR" in event.action]
    assert told
    assert dict(told[0].detail)["VM_EXIT_INTR_INFO"] == "80000310h"


def test_while_a_guest_believes_paging_to_be_off_the_p4_really_runs_with_it_on() -> None:
    run = Run(find_scenario("hello-serial"), "vt-x")
    run.reach(40)
    guest, real = run.technique.guest_state(), run.technique.real_state()
    assert (guest.cr0 >> 31, real.cr0 >> 31) == (0, 1)
    assert (guest.cr3, real.cr3) == (0, 0x8000)
    assert guest.cpl == real.cpl == 0
    memory = run.technique.machine.memory
    assert memory.peek(0x10_0000, 64) == run.technique.guest_memory().peek(0x10_0000, 64)
    assert memory.peek(run.technique.guest_bytes, 1) is None


def test_an_unrestricted_guest_needs_no_page_tables_of_the_vmm() -> None:
    run = Run(find_scenario("hello-serial"), "vt-x", "westmere")
    run.reach(40)
    assert run.technique.real_state().cr0 >> 31 == 0


def real_mode_guest(folder: Path) -> bytes:
    """Real mode: write to memory, then an interrupt through the vector table, then halt."""
    del folder
    return bytes.fromhex("31c0 8ed8 8ed0 bc0070 c7068400 0080 c70686000000 cd21 b83412 a30005 0f01e0 f4")


def real_mode_scenario(folder: Path) -> object:
    image = bytearray(0x200)
    code = real_mode_guest(folder)
    image[: len(code)] = code
    image[0x100] = 0xCF
    return make_scenario(folder, bytes(image), 0x7F00, entry=0x7F00, limit=100)


@pytest.mark.parametrize("cpu", ["p4-672", "nehalem", "westmere"])
def test_a_guest_that_leaves_protected_mode_goes_on_without_and_with_the_unrestricted_guest(
    tmp_path: Path, cpu: str
) -> None:
    scenario = bare_scenario(tmp_path / "guest", bytes.fromhex("0f20c0 24fe 0f22c0 90 90 f4"))  # CR0.PE off
    run = assert_lockstep(scenario, "vt-x", cpu=cpu)
    # What protected mode left in the segment registers fits no virtual-8086 mode: emulated, where there is no other.
    assert bool(run.technique.tallies()["interpreted-instruction"]) == (cpu != "westmere")


def test_the_default_memory_is_what_the_cpu_has() -> None:
    assert choose("vt-x").cpu.id == "p4-672"
    assert choose("vt-x").mmu == "shadow"
    assert choose("vt-x", cpu="nehalem").mmu == "nested"
    assert choose("vt-x", mmu="nested").cpu.id == "nehalem"
    with pytest.raises(UnsupportedError, match="nested paging; p4-672"):
        choose("vt-x", mmu="nested", cpu="p4-672")


def test_what_is_unconditional_exits_and_what_has_no_control_never_does(tmp_path: Path) -> None:
    body = slots(bytes.fromhex("31c0 0fa2 0f08 9c 9d fa fb 0f01c1 cd30 0f31"))
    run = Run(kernel_scenario(tmp_path / "guest", body), "vt-x")
    run.finish()
    exits = [event.form for event in run.events if event.kind is Kind.EXIT]
    assert exits == ["cpuid", "invd", "vmcall", "hlt"]
    assert isinstance(power_on(find_scenario("hello-serial"), "vt-x"), VtX)
