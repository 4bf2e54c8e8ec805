"""The microcode and the emulated CPU do the same, for every form that the CPU executes by itself.

Each case is executed twice on equal machines: by `Machine.run`, and by `microcode.execute` on a copy of the state.
State, memory, or vector and error code must agree. SMSW into a 32-bit register follows the CPU: the manual leaves its
upper half undefined. Far calls and jumps never reach the CPU, which aborts at call gates.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Eflags
from ringviz.facts.segments import Descriptor, null_cache
from ringviz.machine.linear import PageFault
from ringviz.machine.machine import Machine
from ringviz.machine.microcode import GuestFault, UnsupportedError, execute
from ringviz.machine.real_environment import RealEnvironment
from ringviz.machine.state import EAX, EBX, ECX, ESP, SS, CpuState, TableRegister, fields_of
from ringviz.machine.stops import BudgetSpent, Fault, SensitiveInsn
from tests.machine.guests import (
    CODE,
    CODE_ACCESS,
    DATA,
    DATA_ACCESS,
    FREE_SELECTOR,
    LDT,
    LDT_SELECTOR,
    TSS_SELECTOR,
    answer,
    code_selector,
    data_selector,
    flat_state,
    gate,
    make_machine,
    put_descriptor,
)
from tests.strategies import WORDS

FORMS = {
    "pushf": "9c",
    "pushf16": "669c",
    "popf": "9d",
    "popf16": "669d",
    "cli": "fa",
    "sti": "fb",
    "sgdt": "0f0103",
    "sidt": "0f010b",
    "sldt": "0f00c1",
    "sldt mem": "0f0003",
    "str": "0f00c9",
    "str mem": "0f000b",
    "smsw": "0f01e1",
    "smsw16": "660f01e1",
    "smsw mem": "0f0123",
    "lar": "0f02c8",
    "lar16": "660f02c8",
    "lsl": "0f03c8",
    "lsl16": "660f03c8",
    "verr": "0f00e0",
    "verw": "0f00e8",
    "mov ecx, cs": "8cc9",
    "mov ecx, ss": "8cd1",
    "mov [ebx], ds": "8c1b",
    "mov cx, es": "668cc1",
    "push cs": "0e",
    "push ds": "1e",
    "push fs": "0fa0",
    "mov ds, eax": "8ed8",
    "mov es, eax": "8ec0",
    "mov ss, eax": "8ed0",
    "mov gs, [ebx]": "8e2b",
    "pop ds": "1f",
    "pop es": "07",
    "pop ss": "17",
    "pop gs": "0fa9",
    "lds": "c50b",
    "les": "c40b",
    "lss": "0fb20b",
    "lfs16": "660fb40b",
    "lgs": "0fb50b",
    "clts": "0f06",
    "mov ecx, cr0": "0f20c1",
    "mov ecx, cr2": "0f20d1",
    "mov ecx, cr3": "0f20d9",
    "mov ecx, cr4": "0f20e1",
    "mov ecx, dr0": "0f21c1",
    "mov ecx, dr6": "0f21f1",
    "mov ecx, dr7": "0f21f9",
    "mov dr1, ecx": "0f23c9",
    "ltr": "0f00d8",
    "lldt": "0f00d0",
    "lgdt": "0f0113",
    "lidt": "0f011b",
    "invlpg": "0f013b",
    "invd": "0f08",
    "wbinvd": "0f09",
    "iret": "cf",
    "retf": "cb",
    "retf 8": "ca0800",
    "jmp far [ebx]": "ff2b",
    "call far [ebx]": "ff1b",
}

RAM_BYTES = DATA + 0x1_0000
"""No more than is used: all of it is compared."""
LDT_ENTRY = 0x0C
GATE32, GATE16, ABSENT_GATE, GATE_WITH_PARAMS = 0x60, 0x68, 0x70, 0x78
CONFORMING, READ_ONLY, EXECUTE_ONLY, ABSENT, TSS_FREE, DATA16, EXPAND_DOWN = 0x80, 0x88, 0x90, 0x98, 0xA0, 0xA8, 0xB0
SELECTORS = st.sampled_from(
    (
        *(
            0,
            3,
            0x7F8,
            TSS_SELECTOR,
            LDT_SELECTOR,
            FREE_SELECTOR,
            LDT_ENTRY,
            LDT_ENTRY | 3,
            DATA16,
            EXPAND_DOWN,
            TSS_FREE,
        ),
        *(code_selector(ring) for ring in range(4)),
        *(data_selector(ring) for ring in range(4)),
        *(code_selector(3) & ~3, data_selector(3) & ~3, data_selector(0) | 3, EXECUTE_ONLY),
        *(GATE32, GATE32 | 3, GATE16, ABSENT_GATE, GATE_WITH_PARAMS),
        *(CONFORMING, CONFORMING | 3, READ_ONLY, READ_ONLY | 3, ABSENT, ABSENT | 3),
    )
)
FLAG_IMAGES = st.sampled_from([0x2, 0x246, 0x3202, 0x1AD7, 0x20_0ED7, 0x4_0002])


def prepare(case: Case) -> Machine:
    """A machine about to execute the case's instruction."""
    code = bytes.fromhex(FORMS[case.form]) + b"\xf4" * 16
    machine = make_machine(code, case.ring, eflags=case.eflags, ram_bytes=RAM_BYTES)
    write = machine.ram.write

    def put(selector: int, access: int, limit: int = 0xFFFF_FFFF) -> None:
        put_descriptor(write, selector, Descriptor(0, limit, access))

    put(LDT_ENTRY, DATA_ACCESS | 3 << 5)
    put(CONFORMING, CODE_ACCESS | 4)
    put(READ_ONLY, DATA_ACCESS & ~2 | 3 << 5)
    put(EXECUTE_ONLY, CODE_ACCESS & ~2)
    put(ABSENT, DATA_ACCESS & ~0x80 | 3 << 5)
    put(TSS_FREE, 0x089, 0x67)
    put(DATA16, 0x093, 0xFFFF)
    put(EXPAND_DOWN, 0x497, 0x1FFF)
    put_descriptor(write, GATE32, gate(code_selector(0), CODE + 8, 0xC, 3))
    put_descriptor(write, GATE16, gate(code_selector(0), 0x1234, 0x4, 3))
    put_descriptor(write, ABSENT_GATE, gate(code_selector(0), CODE + 8, 0xC, 3, present=False))
    put_descriptor(write, GATE_WITH_PARAMS, gate(code_selector(0), CODE + 8, 0xC, 3, params=2))
    state = machine.state
    state.ldtr = null_cache() if case.without_ldt else flat_state().ldtr.__class__(LDT_SELECTOR, LDT, 0xFF, 0x82)
    state.gpr[EAX], state.gpr[ECX], state.cr2 = case.selector, case.word, case.word
    state.dr[0] = case.word
    state.cr0 |= Cr0.TS | Cr0.MP
    # What the instruction finds at EBX and on the stack: a far pointer or pseudo-descriptor, and a frame.
    offset = CODE + 4
    if case.form in ("mov gs, [ebx]", "lgdt", "lidt"):
        write(DATA, case.selector.to_bytes(2, "little") + case.word.to_bytes(4, "little"))
    elif case.form == "lfs16":
        write(DATA, (offset & 0xFFFF).to_bytes(2, "little") + case.selector.to_bytes(2, "little"))
    else:
        write(DATA, offset.to_bytes(4, "little") + case.selector.to_bytes(2, "little"))
    frame = [case.flags_image] if case.form.startswith("popf") else [case.selector]
    if case.form == "iret":
        frame = [offset, case.selector, case.flags_image, DATA + 0x800, case.stack_selector]
    elif case.form.startswith("retf"):
        frame = [offset, case.selector, *([7, 8] if "8" in case.form else []), DATA + 0x800, case.stack_selector]
    for index, value in enumerate(frame):
        machine.ram.write_int(state.gpr[ESP] + 4 * index, value, 4)
    return machine


@dataclass(frozen=True)
class Case:
    """One instruction in one situation."""

    form: str
    ring: int
    eflags: int
    selector: int
    stack_selector: int
    flags_image: int
    word: int
    without_ldt: bool


CASES = st.builds(
    Case,
    st.sampled_from(sorted(FORMS)),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([0x2, 0x202, 0x1046, 0x3002, 0x3246, 0xED7]),
    SELECTORS,
    st.one_of(SELECTORS, st.sampled_from([data_selector(ring) for ring in range(4)])),
    FLAG_IMAGES,
    WORDS,
    st.booleans(),
)

Result = tuple[str, dict[str, int], bytes] | tuple[str, int, int | None]


def by_cpu(case: Case) -> Result | None:
    machine = prepare(case)
    stop = machine.run(1)
    if isinstance(stop, SensitiveInsn):
        return None  # the machine has this one executed by microcode anyway
    if isinstance(stop, Fault):
        return "fault", stop.vector, stop.error_code
    assert stop == BudgetSpent()
    return "done", visible(machine.state), machine.ram.read(0, machine.ram.size)


def by_microcode(case: Case) -> Result | None:
    machine = prepare(case)
    instruction = machine.instruction_here()
    assert instruction is not None
    env = RealEnvironment(machine, machine.state.copy())
    try:
        execute(env, instruction)
    except GuestFault as fault:
        return "fault", fault.vector, fault.error_code
    except PageFault as fault:
        return "fault", Vector.PF, fault.error_code
    except UnsupportedError:
        return None  # hardware task switches: not for comparison
    return "done", visible(env.state), machine.ram.read(0, machine.ram.size)


def visible(state: CpuState) -> dict[str, int]:
    """What a program can find out of a state: unusable segments have no base, limit or rights; RF is gone at once."""
    fields = fields_of(state) | {"eflags": state.eflags & ~Eflags.RF}
    for name in ("es", "ds", "fs", "gs", "ldtr"):
        if not fields[f"{name}.access"] & 0x80:
            fields |= {f"{name}.base": 0, f"{name}.limit": 0, f"{name}.access": 0}
    return fields


@settings(max_examples=400, deadline=None)
@given(CASES)
def test_microcode_and_cpu_do_the_same(case: Case) -> None:
    cpu, own = by_cpu(case), by_microcode(case)
    if cpu is not None and own is not None:
        assert own == cpu


def test_a_call_gate_to_an_inner_ring_works_with_the_busy_task_that_every_cpu_has() -> None:
    machine = make_machine(bytes.fromhex("ff1b") + b"\xf4" * 16, 3)
    put_descriptor(machine.ram.write, GATE32, gate(code_selector(0), CODE + 8, 0xC, 3))
    machine.ram.write(DATA, bytes(4) + GATE32.to_bytes(2, "little"))
    while machine.retired < 1:  # left to the emulator, it would end this process
        assert answer(machine, machine.run(1)) is None
    assert (machine.state.cpl, machine.state.eip, machine.state.tr.type) == (0, CODE + 8, 0xB)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ring", [0, 1, 3])
def test_every_form_in_every_ring(form: str, ring: int) -> None:
    for selector in (data_selector(ring), code_selector(ring), data_selector(3), 0, ABSENT | ring, GATE32 | ring):
        case = Case(form, ring, 0x202, selector, data_selector(ring), 0x246, 0x1234_5678, False)
        cpu, own = by_cpu(case), by_microcode(case)
        if cpu is not None and own is not None:
            assert own == cpu, case


def test_table_registers_are_stored_as_they_are() -> None:
    machine = make_machine(bytes.fromhex("0f0103 0f014b08"))  # sgdt [ebx]; sidt [ebx+8]
    machine.state.gdtr, machine.state.idtr = TableRegister(0x1234_5678, 0x9ABC), TableRegister(0xFEDC_BA98, 0x7654)
    machine.run(2)
    assert machine.ram.read(DATA, 6) == bytes.fromhex("bc9a 78563412")
    assert machine.ram.read(DATA + 8, 6) == bytes.fromhex("5476 98badcfe")
    assert machine.state.gpr[EBX] == DATA
    assert machine.state.segments[SS].dpl == 0
