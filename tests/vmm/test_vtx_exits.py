"""Which instructions and exceptions exit, under which controls, and what they report: the manual's rules one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Cr4
from ringviz.facts.vmx import DEFAULT1, VMX_CONTROLS, Reason
from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Interruption
from ringviz.machine.linear import LinearMemory
from ringviz.machine.memory import Ram
from ringviz.machine.state import EAX, EBX, ECX, EDX, CpuState
from ringviz.machine.stops import PortIo
from ringviz.vmm.guest_space import GuestSpace
from ringviz.vmm.vtx.exits import Controls, VmExit, exception_exit, instruction_exit
from tests.machine.guests import flat_state

IO_A, IO_B, MSRS = 0x3000, 0x4000, 0x5000


def controls(*names: str, **more: object) -> Controls:
    """Controls with these set, and nothing that is not asked for."""
    words: dict[str, int] = {"pin": 0, "primary": 0, "secondary": 0, "exit": 0, "entry": 0}
    for name in names:
        row = VMX_CONTROLS[name]
        words[row.word] |= row.mask
        if row.word == "secondary":
            words["primary"] |= VMX_CONTROLS["activate-secondary-controls"].mask
    plain = Controls(dict(words), 0, 0, 0, 0, 0, 0, 0, (), (IO_A, IO_B), MSRS)
    return replace(plain, **more)  # type: ignore[arg-type]


def code(text: str) -> Instruction:
    instruction = decode(bytes.fromhex(text), 0x1000, 32)
    assert instruction is not None
    return instruction


def ask(
    settings: Controls, text: str, state: CpuState | None = None, ring: int = 0, ram: Ram | None = None
) -> VmExit | None:
    """Put one instruction to the rules."""
    instruction, guest, ram = code(text), state or flat_state(ring, 0x1000), ram or Ram(1 << 20)
    port = None
    if instruction.form in ("in", "out", "ins", "outs"):
        operand = instruction.ops[1 if instruction.form in ("in", "ins") else 0]
        number = operand.value if operand.kind == "imm" else guest.gpr[EDX] & 0xFFFF
        data = instruction.ops[0 if instruction.form in ("in", "ins") else 1]
        port = PortIo(instruction.form in ("in", "ins"), number or 0, data.size_bytes, instruction)
    memory = LinearMemory(guest, GuestSpace(ram, 0, ram.size))
    return instruction_exit(settings, instruction, guest, memory, port, lambda address: ram.read_int(address, 1))


UNCONDITIONAL = {"0fa2": 10, "0f08": 13, "0f01c1": 18, "0f01c2": 20, "0f01c3": 24, "0f01c4": 26, "0f78c3": 23}


@pytest.mark.parametrize(("text", "reason"), UNCONDITIONAL.items())
def test_some_instructions_always_exit(text: str, reason: int) -> None:
    found = ask(controls(), text)
    assert found is not None
    assert (found.reason, found.rule, found.length) == (reason, "unconditional", len(bytes.fromhex(text)))


BY_CONTROL = {
    "f4": ("hlt-exiting", 12),
    "0f013b": ("invlpg-exiting", 14),
    "0f33": ("rdpmc-exiting", 15),
    "0f31": ("rdtsc-exiting", 16),
    "0f09": ("wbinvd-exiting", 54),
    "0f21c0": ("mov-dr-exiting", 29),
    "0f20d8": ("cr3-store-exiting", 28),
    "0f22d8": ("cr3-load-exiting", 28),
    "0f0113": ("descriptor-table-exiting", 46),
    "0f0103": ("descriptor-table-exiting", 46),
    "0f00c0": ("descriptor-table-exiting", 47),
    "0f00d8": ("descriptor-table-exiting", 47),
}


@pytest.mark.parametrize("text", BY_CONTROL)
def test_others_exit_while_their_control_is_set(text: str) -> None:
    name, reason = BY_CONTROL[text]
    found = ask(controls(name), text)
    assert found is not None
    assert found.reason == reason
    assert VMX_CONTROLS[name].name in found.rule
    assert ask(controls(), text) is None


def test_secondary_controls_count_only_while_they_are_activated() -> None:
    settings = controls("wbinvd-exiting")
    settings.words["primary"] = 0
    assert ask(settings, "0f09") is None


ALL = tuple(VMX_CONTROLS)
NEVER = ("9c", "9d", "fa", "fb", "cf", "cd80", "0f34", "0f01e0", "0f02c3", "0f03c3", "0f00e0", "0f00e8", "8ed8", "8cc8")


@pytest.mark.parametrize("text", [*NEVER, "ea001000000800", "cb"])
def test_whatever_the_controls_these_never_exit(text: str) -> None:
    everything = controls(*ALL, cr0_mask=0xFFFF_FFFF, cr4_mask=0xFFFF_FFFF)
    assert ask(everything, text) is None


@pytest.mark.parametrize("text", ["f4", "0f08", "0f013b", "0f30", "0f32", "0f22d8", "0f06", "0f0113", "0f00d8", "0f09"])
def test_the_privilege_check_comes_first(text: str) -> None:
    everything = controls(*(name for name in ALL if name != "use-msr-bitmaps"), cr0_mask=0xFFFF_FFFF, cr0_shadow=8)
    assert ask(everything, text) is not None
    assert ask(everything, text, ring=3) is None


def test_mov_dr_exits_before_the_privilege_check() -> None:
    found = ask(controls("mov-dr-exiting"), "0f23fb", ring=3)  # mov dr7, ebx
    assert found is not None
    assert found.qualification == 7 | 3 << 8


def test_vmx_instructions_exit_from_every_ring() -> None:
    assert ask(controls(), "0f01c1", ring=3) is not None


def test_rdtsc_faults_before_the_exit_where_tsd_keeps_it_for_ring_0() -> None:
    state = flat_state(3, 0x1000)
    state.cr4 = int(Cr4.TSD)
    assert ask(controls("rdtsc-exiting"), "0f31", state) is None
    assert ask(controls("rdtsc-exiting"), "0f31", ring=3) is not None


def test_rdpmc_faults_before_the_exit_unless_pce_opens_it() -> None:
    state = flat_state(3, 0x1000)
    assert ask(controls("rdpmc-exiting"), "0f33", state) is None
    state.cr4 = int(Cr4.PCE)
    assert ask(controls("rdpmc-exiting"), "0f33", state) is not None


# ---- control registers -----------------------------------------------------------------------------------------------


def with_eax(value: int) -> CpuState:
    state = flat_state(0, 0x1000)
    state.gpr[EAX] = value
    return state


@pytest.mark.parametrize(
    ("mask", "shadow", "value", "exits"),
    [(0x1, 0x1, 0x1, False), (0x1, 0x1, 0x0, True), (0x8, 0x0, 0x8, True), (0x8, 0x8, 0x9, False), (0, 0, 0x3F, False)],
)
def test_mov_to_cr0_exits_where_a_masked_bit_differs_from_the_shadow(
    mask: int, shadow: int, value: int, exits: bool
) -> None:
    found = ask(controls(cr0_mask=mask, cr0_shadow=shadow), "0f22c0", with_eax(value))
    assert (found is not None) is exits
    if found is not None:
        assert (found.reason, found.qualification) == (Reason.CR_ACCESS, 0)


def test_mov_to_cr4_likewise() -> None:
    found = ask(controls(cr4_mask=0x2000, cr4_shadow=0), "0f22e3", _with(EBX, 0x2000))
    assert found is not None
    assert found.qualification == 4 | 3 << 8
    assert ask(controls(cr4_mask=0x2000, cr4_shadow=0), "0f22e3", _with(EBX, 0x10)) is None


def _with(register: int, value: int) -> CpuState:
    state = flat_state(0, 0x1000)
    state.gpr[register] = value
    return state


def test_mov_from_cr0_and_cr4_never_exits() -> None:
    everything = controls(*ALL, cr0_mask=0xFFFF_FFFF, cr4_mask=0xFFFF_FFFF)
    assert ask(everything, "0f20c0") is None
    assert ask(everything, "0f20e0") is None


def test_cr3_target_values_spare_the_exit() -> None:
    settings = controls("cr3-load-exiting", cr3_targets=(0x1000, 0x2000))
    assert ask(settings, "0f22d8", with_eax(0x2000)) is None
    found = ask(settings, "0f22d8", with_eax(0x3000))
    assert found is not None
    assert "CR3-target" in found.rule


def test_clts_exits_where_ts_is_set_in_mask_and_shadow() -> None:
    for mask, shadow, exits in ((8, 8, True), (8, 0, False), (0, 8, False)):
        found = ask(controls(cr0_mask=mask, cr0_shadow=shadow), "0f06")
        assert (found is not None) is exits
        assert found is None or found.qualification == 2 << 4


@pytest.mark.parametrize(
    ("mask", "shadow", "value", "exits"),
    [
        (Cr0.PE, 0, 1, True),
        (Cr0.PE, 1, 0, False),  # LMSW cannot clear PE
        (Cr0.PE, 1, 1, False),
        (Cr0.TS, 0, 8, True),
        (Cr0.TS, 8, 8, False),
        (0x21, 0x1, 0x10, False),  # NE is beyond what LMSW loads
    ],
)
def test_lmsw_exits_by_its_own_rule(mask: int, shadow: int, value: int, exits: bool) -> None:
    found = ask(controls(cr0_mask=mask, cr0_shadow=shadow), "0f01f0", with_eax(value))
    assert (found is not None) is exits
    if found is not None:
        assert found.qualification == 3 << 4 | value << 16


def test_lmsw_from_memory_reports_the_operands_address() -> None:
    ram = Ram(1 << 20)
    ram.write_int(0x8000, 9, 2)
    found = ask(controls(cr0_mask=8), "0f0133", ram=ram, state=_with(EBX, 0x8000))  # lmsw [ebx]
    assert found is not None
    assert (found.linear, found.qualification) == (0x8000, 3 << 4 | 1 << 6 | 9 << 16)


# ---- ports and MSRs --------------------------------------------------------------------------------------------------


def test_ports_exit_unconditionally_or_by_the_bitmaps_which_override() -> None:
    ram = Ram(1 << 20)
    assert ask(controls(), "e480", ram=ram) is None
    assert ask(controls("unconditional-io-exiting"), "e480", ram=ram) is not None
    both = controls("unconditional-io-exiting", "use-io-bitmaps")
    assert ask(both, "e480", ram=ram) is None
    ram.write_int(IO_A + 0x10, 1, 1)
    found = ask(both, "e480", ram=ram)
    assert found is not None
    assert "80h" in found.rule


@pytest.mark.parametrize(
    ("text", "port", "qualification"),
    [
        ("e480", 0x80, 0x0080_0048),  # in al, 80h
        ("e680", 0x80, 0x0080_0040),  # out 80h, al
        ("ed", 0x3F8, 0x03F8_000B),  # in eax, dx
        ("66ef", 0x3F8, 0x03F8_0001),  # out dx, ax
        ("6c", 0x1F0, 0x01F0_0018),  # insb
        ("f36f", 0x1F0, 0x01F0_0033),  # rep outsd
    ],
)
def test_the_qualification_of_port_io(text: str, port: int, qualification: int) -> None:
    found = ask(controls("unconditional-io-exiting"), text, _with(EDX, port))
    assert found is not None
    assert found.qualification == qualification


def test_the_upper_half_of_the_ports_is_in_bitmap_b_and_wide_accesses_ask_for_each() -> None:
    ram = Ram(1 << 20)
    ram.write_int(IO_B, 1 << 3, 1)  # port 8003h
    used = controls("use-io-bitmaps")
    assert ask(used, "ec", _with(EDX, 0x8003), ram=ram) is not None
    assert ask(used, "ec", _with(EDX, 0x8002), ram=ram) is None
    assert ask(used, "ed", _with(EDX, 0x8000), ram=ram) is not None
    assert ask(used, "ed", _with(EDX, 0xFFFE), ram=ram) is not None, "runs over the last port"


def test_string_io_reports_registers_and_address() -> None:
    state = flat_state(0, 0x1000)
    state.gpr[EDX], state.gpr[ECX] = 0x1F0, 5
    found = ask(controls("unconditional-io-exiting"), "f36e", state)
    assert found is not None
    assert found.io_registers == (5, state.gpr[6], state.gpr[7], 0x1000)
    assert found.linear == state.gpr[6]
    assert found.instruction_information == 1 << 7 | 3 << 15


@pytest.mark.parametrize(
    ("number", "is_write", "at"),
    [(0x174, False, 0x02E), (0xC000_0080, False, 0x410), (0x174, True, 0x82E), (0xC000_0080, True, 0xC10)],
)
def test_msrs_have_four_bitmaps(number: int, is_write: bool, at: int) -> None:
    ram, text = Ram(1 << 20), "0f30" if is_write else "0f32"
    used = controls("use-msr-bitmaps")
    assert ask(used, text, _with(ECX, number), ram=ram) is None
    ram.write_int(MSRS + at, 1 << (number & 7), 1)
    assert ask(used, text, _with(ECX, number), ram=ram) is not None
    assert ask(used, "0f32" if is_write else "0f30", _with(ECX, number), ram=ram) is None
    assert ask(controls(), text, _with(ECX, number)) is not None, "without bitmaps every MSR exits"


def test_msrs_in_neither_range_always_exit() -> None:
    assert ask(controls("use-msr-bitmaps"), "0f32", _with(ECX, 0x2000)) is not None
    assert ask(controls("use-msr-bitmaps"), "0f32", _with(ECX, 0xC000_2000)) is not None


def test_lgdt_describes_its_operand() -> None:
    found = ask(controls("descriptor-table-exiting"), "0f0154b308")  # lgdt [ebx + esi*4 + 8]
    assert found is not None
    assert found.qualification == 8
    assert found.instruction_information == 2 | 1 << 7 | 1 << 11 | 3 << 15 | 6 << 18 | 3 << 23 | 2 << 28


# ---- exceptions ------------------------------------------------------------------------------------------------------


def test_an_exception_exits_by_its_bit() -> None:
    event = Interruption(Vector.GP, 0x18)
    assert exception_exit(controls(), event) is None
    found = exception_exit(controls(exception_bitmap=1 << 13), event)
    assert found is not None
    assert (found.interruption, found.error_code) == (0x8000_0B0D, 0x18)


@pytest.mark.parametrize(
    ("bit", "mask", "match", "code", "exits"),
    [
        (1, 0, 0, 5, True),
        (1, 0, 0xFFFF_FFFF, 5, False),
        (0, 0, 0, 5, False),
        (0, 0, 0xFFFF_FFFF, 5, True),  # the bit's meaning is turned round where the error code does not match
        (1, 1, 1, 5, True),
        (1, 1, 1, 4, False),
        (0, 1, 1, 4, True),
    ],
)
def test_page_faults_go_through_mask_and_match(bit: int, mask: int, match: int, code: int, exits: bool) -> None:
    settings = controls(exception_bitmap=bit << 14, page_fault_mask=mask, page_fault_match=match)
    found = exception_exit(settings, Interruption(Vector.PF, code, 0x1234))
    assert (found is not None) is exits
    if found is not None:
        assert (found.qualification, found.error_code) == (0x1234, code)


def test_int_n_never_exits_and_int3_does_as_a_software_exception() -> None:
    everything = controls(exception_bitmap=0xFFFF_FFFF)
    assert exception_exit(everything, Interruption(13, is_software=True, next_eip=2)) is None
    found = exception_exit(everything, Interruption(Vector.BP, is_software=True, next_eip=1), length=1)
    assert found is not None
    assert (found.interruption, found.length) == (0x8000_0603, 1)


def test_what_was_being_delivered_is_reported() -> None:
    event = Interruption(Vector.NP, 0x42)
    found = exception_exit(controls(exception_bitmap=1 << 11), event, during=Interruption(Vector.GP, 8))
    assert found is not None
    assert (found.idt_vectoring, found.idt_error_code) == (0x8000_0B0D, 8)


def test_a_debug_exception_reports_its_conditions() -> None:
    found = exception_exit(controls(exception_bitmap=2), Interruption(Vector.DB), dr6=0xFFFF_4FF1)
    assert found is not None
    assert found.qualification == 0x4001


def test_the_default1_class_holds_no_control_that_would_surprise() -> None:
    assert not DEFAULT1["primary"] & VMX_CONTROLS["rdtsc-exiting"].mask
