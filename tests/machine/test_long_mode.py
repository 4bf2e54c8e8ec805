"""Long mode by the manual: how it is entered and left, its descriptors, gates and stacks, and its system calls."""

from __future__ import annotations

import pytest

from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Cr4, Efer, Eflags
from ringviz.machine.cpuid import profile_cpuid
from ringviz.machine.delivery import Delivered, Interruption, Shutdown
from ringviz.machine.machine import Machine
from ringviz.machine.microcode import Effect, GuestFault, execute
from ringviz.machine.real_environment import RealEnvironment
from ringviz.machine.state import CS, EAX, EBP, EBX, ECX, EDX, ESP, FS, GS, R11, SS, CpuState, is_canonical, segment
from ringviz.machine.stops import BudgetSpent, Fault, SensitiveInsn, SoftInterrupt
from tests.machine.long_guests import (
    CODE,
    CODE_32,
    CODE_64,
    DATA,
    FREE_SELECTOR,
    GDT,
    HIGH,
    IDT,
    IST1,
    KERNEL_CODE,
    LONG,
    RSP0,
    STACK_TOP,
    TASK,
    TSS,
    USER_CODE,
    USER_DATA,
    handler_of,
    long_gate,
    make_long_machine,
)

INTEL = profile_cpuid(CPU_PROFILES["nehalem"], has_long_mode=True)
AMD = profile_cpuid(CPU_PROFILES["barcelona"], has_long_mode=True)
BEYOND = 0x0000_8000_0000_0000
"""The first address that is not canonical."""
EFER = 0xC000_0080


def step(machine: Machine) -> object:
    """Execute one instruction as bare hardware does; give what became of it."""
    stop = machine.run(machine.retired + 1)
    if isinstance(stop, BudgetSpent):
        return stop
    return machine.complete(stop)


def vector_of(done: object) -> int | None:
    return done.vector if isinstance(done, Delivered) else None


def frame(machine: Machine, count: int) -> tuple[int, ...]:
    """The words on the stack, the last pushed first."""
    at = machine.state.gpr[ESP]
    return tuple(machine.ram.read_int(at + 8 * index, 8) for index in range(count))


# ---- registers and addresses -----------------------------------------------------------------------------------------


def test_r15_and_the_upper_halves_are_there_and_32_bit_results_clear_them() -> None:
    machine = make_long_machine(bytes.fromhex("49bf8877665544332211 4c89f8 ffc0"))  # mov r15, ..; mov rax, r15; inc eax
    machine.run(2)
    assert machine.state.gpr[15] == machine.state.gpr[EAX] == 0x1122_3344_5566_7788
    machine.run(3)
    assert machine.state.gpr[EAX] == 0x5566_7789


def test_code_runs_and_is_counted_at_the_top_of_the_address_space() -> None:
    loop = bytes.fromhex("b910270000 48ffc9 75fb f4")  # mov ecx, 10000; dec rcx; jnz $-3; hlt
    machine = make_long_machine(loop, linear=HIGH + CODE)
    stop = machine.run(1 << 30)
    assert isinstance(stop, SensitiveInsn)
    assert (machine.retired, machine.state.eip) == (20_001, HIGH + CODE + 10)


@pytest.mark.parametrize("position", [1, 2, 777, 20_000])
def test_it_stops_at_any_instruction_there(position: int) -> None:
    loop = bytes.fromhex("b910270000 48ffc9 75fb f4")
    machine = make_long_machine(loop, linear=HIGH + CODE)
    assert machine.run(position) == BudgetSpent()
    assert machine.retired == position
    assert machine.state.gpr[ECX] == 10_000 - position // 2


def test_a_page_fault_beyond_4_gib_says_where() -> None:
    machine = make_long_machine(bytes.fromhex("48b80090785634120000 488b00"))  # mov rax, 123456789000h; mov rax, [rax]
    machine.run(1)
    stop = machine.run(2)
    assert isinstance(stop, Fault)
    assert (stop.vector, stop.linear, stop.error_code) == (Vector.PF, 0x1234_5678_9000, 0)
    assert isinstance(machine.complete(stop), Delivered)
    assert machine.state.cr2 == 0x1234_5678_9000


@pytest.mark.parametrize(
    ("code", "register", "vector"),
    [
        ("488b00", EAX, Vector.GP),  # mov rax, [rax]
        ("488b4500", EBP, Vector.SS),  # mov rax, [rbp]
        ("50", ESP, Vector.SS),  # push rax
        ("58", ESP, Vector.SS),  # pop rax
        ("c3", ESP, Vector.SS),  # ret
        ("488903", EBX, Vector.GP),  # mov [rbx], rax
        ("ff30", EAX, Vector.GP),  # push [rax]
        ("48cf", ESP, Vector.SS),  # iretq, by microcode
        ("0f0118", EAX, Vector.GP),  # lidt [rax], by microcode
    ],
)
def test_an_address_that_is_not_canonical_faults_by_the_segment_it_goes_through(
    code: str, register: int, vector: int
) -> None:
    machine = make_long_machine(bytes.fromhex(code))
    machine.state.gpr[register] = BEYOND + 0x1000
    stop = machine.run(1)
    done = machine.complete(stop)
    if isinstance(stop, Fault):
        assert (stop.vector, stop.error_code) == (vector, 0)
    if register == ESP:
        assert isinstance(done, Shutdown) or vector_of(done) == Vector.DF, "the handler's frame has no room either"
    else:
        assert vector_of(done) == vector


def test_fs_and_gs_keep_64_bit_bases_and_the_others_count_for_nothing() -> None:
    machine = make_long_machine(bytes.fromhex("64488b03 65488b0b 488b13"))  # mov rax, fs:[rbx]; rcx, gs:; rdx, [rbx]
    state = machine.state
    for index, base in ((FS, HIGH), (GS, HIGH + 8), (3, 0x1000)):
        state.segments[index] = segment(USER_DATA, base, 0xFFFF_FFFF, 0xCF3)
    machine.ram.write(DATA, (0xAAAA).to_bytes(8, "little") + (0xBBBB).to_bytes(8, "little"))
    machine.run(3)
    assert machine.state.gpr[EAX] == machine.state.gpr[EDX] == 0xAAAA
    assert machine.state.gpr[ECX] == 0xBBBB


# ---- entering and leaving --------------------------------------------------------------------------------------------


def executed(
    code: str, change: object = None, *, cpuid: object = INTEL, is_64bit: bool = True
) -> CpuState | GuestFault:
    """Execute one instruction by microcode on a state of long mode that a function has changed."""
    machine = make_long_machine(bytes.fromhex(code), is_64bit=is_64bit, cpuid=cpuid)  # type: ignore[arg-type]
    state = machine.state
    if callable(change):
        change(state)
    instruction = machine.instruction_here()
    assert instruction is not None
    env = RealEnvironment(machine, state)
    try:
        execute(env, instruction)
    except GuestFault as fault:
        return fault
    return state


def fault_of(result: CpuState | GuestFault) -> tuple[int, int | None]:
    assert isinstance(result, GuestFault), "it did not fault"
    return result.vector, result.error_code


def protected(state: CpuState) -> None:
    """Protected mode without paging, about to switch long mode on: MOV CR0, RAX with PG set."""
    state.segments[CS] = segment(KERNEL_CODE, 0, 0xFFFF_FFFF, CODE_32)
    state.cr0, state.efer = Cr0.PE | Cr0.ET, int(Efer.LME)
    state.gpr[EAX] = Cr0.PE | Cr0.ET | Cr0.PG


def test_paging_switches_long_mode_on_and_off() -> None:
    on = executed("0f22c0", protected)
    assert isinstance(on, CpuState)
    assert on.efer == LONG
    assert on.is_long_active
    assert not on.is_64bit

    def compatible(state: CpuState) -> None:
        state.segments[CS] = segment(KERNEL_CODE, 0, 0xFFFF_FFFF, CODE_32)
        state.gpr[EAX] = Cr0.PE | Cr0.ET

    off = executed("0f22c0", compatible)
    assert isinstance(off, CpuState)
    assert off.efer == Efer.LME | Efer.SCE


def without_pae(state: CpuState) -> None:
    protected(state)
    state.cr4 = 0


def in_a_64bit_segment(state: CpuState) -> None:
    protected(state)
    state.segments[CS] = segment(KERNEL_CODE, 0, 0xFFFF_FFFF, CODE_64)


def with_a_16bit_task(state: CpuState) -> None:
    protected(state)
    state.tr = segment(TASK, TSS, 0x67, 0x83)


@pytest.mark.parametrize("change", [without_pae, in_a_64bit_segment, with_a_16bit_task])
def test_long_mode_cannot_be_switched_on_like_that(change: object) -> None:
    assert fault_of(executed("0f22c0", change)) == (Vector.GP, 0)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("0f22c0", Cr0.PE | Cr0.ET),  # paging off in 64-bit mode
        ("0f22c0", 1 << 32 | Cr0.PE | Cr0.PG),
        ("0f22e0", 0),  # PAE off
        ("0f22e0", 1 << 32 | Cr4.PAE),
        ("0f22d8", 1 << 40),  # CR3 beyond the physical addresses
        ("440f22c0", 0x10),  # CR8 has four bits
        ("0f23f8", 1 << 32),  # DR7
    ],
)
def test_what_control_registers_do_not_take_in_64_bit_mode(code: str, value: int) -> None:
    def change(state: CpuState) -> None:
        state.gpr[EAX] = value

    assert fault_of(executed(code, change)) == (Vector.GP, 0)


def test_cr8_holds_the_task_priority() -> None:
    machine = make_long_machine(
        bytes.fromhex("b80b000000 440f22c0 440f20c3")
    )  # mov eax, 11; mov cr8, rax; mov rbx, cr8
    for _ in range(3):
        step(machine)
    assert machine.state.gpr[EBX] == machine.state.cr8 == 11


def wrmsr(number: int, value: int) -> object:
    def change(state: CpuState) -> None:
        state.gpr[ECX], state.gpr[EAX], state.gpr[EDX] = number | 5 << 32, value & 0xFFFF_FFFF, value >> 32

    return change


@pytest.mark.parametrize(
    ("number", "value", "is_taken"),
    [
        (EFER, Efer.LME | Efer.SCE | Efer.NXE, True),
        (EFER, Efer.SCE, False),  # LME cannot change while paging is on
        (EFER, LONG | 1 << 13, False),
        (0xC000_0082, HIGH, True),
        (0xC000_0082, BEYOND, False),
        (0xC000_0100, HIGH + 0x123, True),
        (0xC000_0101, BEYOND, False),
        (0xC000_0102, BEYOND, False),
        (0xC000_0081, BEYOND, True),  # STAR holds selectors, no address
        (0x176, HIGH, True),
        (0x176, BEYOND, False),
        (0xC000_0105, 0, False),
    ],
)
def test_model_specific_registers_take_what_the_manual_lets_them(number: int, value: int, is_taken: bool) -> None:
    result = executed("0f30", wrmsr(number, value))
    if not is_taken:
        assert fault_of(result) == (Vector.GP, 0)
        return
    assert isinstance(result, CpuState)
    result.gpr[EAX] = result.gpr[EDX] = 0
    again = make_long_machine(bytes.fromhex("0f32"))
    again.cpu.load(result)
    result.eip = CODE
    step(again)
    expected = value | Efer.LMA if number == EFER else value
    assert again.state.gpr[EDX] << 32 | again.state.gpr[EAX] == expected


def test_a_base_that_wrmsr_sets_is_the_base_that_the_cpu_uses() -> None:
    machine = make_long_machine(bytes.fromhex("0f30 64488b042500000000"))  # wrmsr; mov rax, fs:[0]
    machine.ram.write_int(DATA, 0x1234_5678_9ABC_DEF0, 8)
    state = machine.state
    state.gpr[ECX], state.gpr[EAX], state.gpr[EDX] = 0xC000_0100, DATA, HIGH >> 32
    step(machine)
    step(machine)
    assert machine.state.gpr[EAX] == 0x1234_5678_9ABC_DEF0


def test_swapgs_by_the_cpu_and_by_microcode() -> None:
    machine = make_long_machine(bytes.fromhex("0f01f8"))
    state = machine.state
    assert state.long is not None
    state.segments[GS] = segment(USER_DATA, 0x1234_5000, 0xFFFF_FFFF, 0xCF3)
    state.long = state.long._replace(kernel_gs_base=HIGH + 0x9000)
    instruction = machine.instruction_here()
    assert instruction is not None
    other = state.copy()
    execute(RealEnvironment(machine, other), instruction)
    machine.run(1)
    assert machine.state == other
    assert other.segments[GS].base == HIGH + 0x9000
    assert other.long is not None
    assert other.long.kernel_gs_base == 0x1234_5000


@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("is_64bit", [True, False])
def test_swapgs_is_for_ring_0_of_64_bit_mode(ring: int, is_64bit: bool) -> None:
    stop = make_long_machine(bytes.fromhex("0f01f8"), ring, is_64bit=is_64bit).run(1)
    if is_64bit and not ring:
        assert stop == BudgetSpent()
    else:
        assert isinstance(stop, Fault)
        assert stop.vector == (Vector.GP if is_64bit else Vector.UD)


# ---- system calls ----------------------------------------------------------------------------------------------------


def test_syscall_goes_to_lstar_and_sysret_comes_back() -> None:
    machine = make_long_machine(bytes.fromhex("0f05 90"), 3, cpuid=INTEL)
    machine.ram.write(0x5_0000, bytes.fromhex("480f07"))  # sysretq
    machine.state.eflags |= Eflags.IF | Eflags.DF
    step(machine)
    state = machine.state
    assert (state.eip, state.cpl, state.gpr[ECX]) == (HIGH + 0x5_0000, 0, CODE + 2)
    assert state.gpr[R11] == Eflags.IF | Eflags.DF | 2
    assert state.eflags == 2, "SFMASK clears IF and DF"
    assert (state.segments[CS].selector, state.segments[SS].selector) == (0x08, 0x10)
    step(machine)
    state = machine.state
    assert (state.eip, state.cpl, state.eflags) == (CODE + 2, 3, Eflags.IF | Eflags.DF | 2)
    assert (state.segments[CS].selector, state.segments[SS].selector) == (USER_CODE, USER_DATA)
    assert state.is_64bit
    assert machine.retired == 2


def test_sysret_without_rex_leads_to_compatibility_mode() -> None:
    state = executed("0f07", lambda state: state.gpr.__setitem__(ECX, HIGH + CODE))
    assert isinstance(state, CpuState)
    assert (state.eip, state.cpl, state.code_bits) == (CODE, 3, 32)
    assert state.segments[CS].selector == 0x1B


def without_sce(state: CpuState) -> None:
    state.efer &= ~Efer.SCE


def to_beyond(state: CpuState) -> None:
    state.gpr[ECX] = BEYOND


@pytest.mark.parametrize(
    ("code", "change", "cpuid", "is_64bit", "expected"),
    [
        ("0f05", without_sce, INTEL, True, Vector.UD),
        ("480f07", without_sce, AMD, True, Vector.UD),
        ("0f05", None, INTEL, False, Vector.UD),  # Intel has it in 64-bit mode only
        ("0f05", None, AMD, False, None),
        ("480f07", to_beyond, INTEL, True, Vector.GP),  # Intel faults in ring 0, AMD behind it
        ("480f07", to_beyond, AMD, True, None),
        ("0f34", None, AMD, True, Vector.UD),  # AMD has no SYSENTER in long mode
        ("0f34", None, INTEL, True, Vector.GP),  # SYSENTER_CS is null
    ],
)
def test_where_the_vendors_system_calls_differ(
    code: str, change: object, cpuid: object, is_64bit: bool, expected: int | None
) -> None:
    result = executed(code, change, cpuid=cpuid, is_64bit=is_64bit)
    if expected is None:
        assert isinstance(result, CpuState)
    else:
        assert fault_of(result)[0] == expected


def test_sysenter_and_sysexit_have_64_bit_targets() -> None:
    def change(state: CpuState) -> None:
        state.sysenter = [0x08, HIGH + 0x1000, HIGH + 0x2000]

    inside = executed("0f34", change, cpuid=INTEL)
    assert isinstance(inside, CpuState)
    assert (inside.eip, inside.gpr[ESP], inside.is_64bit) == (HIGH + 0x2000, HIGH + 0x1000, True)

    def back(state: CpuState) -> None:
        change(state)
        state.gpr[EDX], state.gpr[ECX] = HIGH + 0x3000, HIGH + 0x4000

    outside = executed("480f35", back, cpuid=INTEL)
    assert isinstance(outside, CpuState)
    assert (outside.eip, outside.gpr[ESP], outside.cpl) == (HIGH + 0x3000, HIGH + 0x4000, 3)
    assert outside.segments[CS].selector == 0x08 + 32 | 3


@pytest.mark.parametrize("cpu", CPU_PROFILES)
def test_every_cpu_says_that_it_has_long_mode_and_in_64_bit_mode_syscall(cpu: str) -> None:
    cpuid = profile_cpuid(CPU_PROFILES[cpu], has_long_mode=True)
    for is_64bit in (True, False):
        state = executed("0fa2", lambda s: s.gpr.__setitem__(EAX, 0x8000_0001), cpuid=cpuid, is_64bit=is_64bit)
        assert isinstance(state, CpuState)
        assert state.gpr[EDX] >> 29 & 1
        assert bool(state.gpr[EDX] >> 11 & 1) == (is_64bit or CPU_PROFILES[cpu].vendor == "amd")
    assert not profile_cpuid(CPU_PROFILES[cpu])(0x8000_0001, 0)[3] >> 29 & 1, "a 32-bit machine does not show it"


# ---- exceptions and interrupts ---------------------------------------------------------------------------------------


def test_a_handler_finds_the_stack_in_its_frame_even_in_its_own_ring() -> None:
    machine = make_long_machine(bytes.fromhex("cd80"), linear=HIGH + CODE)
    machine.state.gpr[ESP] = HIGH + STACK_TOP - 4  # not aligned
    machine.state.eflags |= Eflags.IF
    assert isinstance(step(machine), Delivered)
    state = machine.state
    assert (state.eip, state.cpl, state.segments[SS].selector) == (handler_of(0x80), 0, 0x10)
    assert state.gpr[ESP] == HIGH + (STACK_TOP - 4 & ~15) - 40
    machine.state.gpr[ESP] -= HIGH
    assert frame(machine, 5) == (HIGH + CODE + 2, KERNEL_CODE, Eflags.IF | 2, HIGH + STACK_TOP - 4, 0x10)
    assert not state.eflags & Eflags.IF


def test_an_inner_ring_has_its_stack_in_the_tss_and_a_null_stack_segment() -> None:
    machine = make_long_machine(bytes.fromhex("fa"), 3)  # cli
    assert vector_of(step(machine)) == Vector.GP
    state = machine.state
    assert (state.cpl, state.gpr[ESP]) == (0, RSP0 - 48)
    assert (state.segments[SS].selector, state.segments[SS].is_usable) == (0, False)
    assert frame(machine, 6) == (0, CODE, USER_CODE, 2 | Eflags.RF, STACK_TOP, USER_DATA)


@pytest.mark.parametrize("ring", [0, 3])
def test_the_interrupt_stack_of_a_gate_is_used_in_every_ring(ring: int) -> None:
    machine = make_long_machine(bytes.fromhex("0f0b"), ring)  # ud2
    machine.ram.write(IDT + 16 * Vector.UD, long_gate(handler_of(Vector.UD), ist=1))
    assert vector_of(step(machine)) == Vector.UD
    assert machine.state.gpr[ESP] == IST1 - 40


def test_iretq_returns_to_either_ring_and_takes_the_stack_along() -> None:
    for ring in (0, 3):
        machine = make_long_machine(bytes.fromhex("cd80 90"), ring)
        machine.ram.write(0x6_0000 + 16 * 0x80, bytes.fromhex("48cf"))
        before = machine.state.copy()
        assert isinstance(step(machine), Delivered)
        step(machine)
        before.eip += 2
        assert machine.state == before


def replaced(machine: Machine, vector: int, entry: bytes) -> None:
    machine.ram.write(IDT + 16 * vector, entry)


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (long_gate(handler_of(0x80), dpl=0), 0x80 * 8 + 2),  # INT 80h from ring 3
        (long_gate(handler_of(0x80), type_=5), 0x80 * 8 + 2),  # a task gate
        (long_gate(handler_of(0x80), type_=6), 0x80 * 8 + 2),  # a 16-bit gate
        (long_gate(handler_of(0x80), selector=0), 0),
        (long_gate(handler_of(0x80), selector=0x18), 0x18),  # 32-bit code
        (long_gate(handler_of(0x80), selector=0x10), 0x10),  # data
        (long_gate(BEYOND), 0),
    ],
)
def test_gates_that_long_mode_refuses(entry: bytes, error: int) -> None:
    machine = make_long_machine(bytes.fromhex("cd80"), 3)
    replaced(machine, 0x80, entry)
    stop = machine.run(1)
    assert isinstance(stop, SoftInterrupt)
    done = machine.complete(stop)
    assert vector_of(done) == Vector.GP
    assert machine.ram.read_int(machine.state.gpr[ESP], 8) == error


def test_a_stack_pointer_in_the_tss_must_be_canonical() -> None:
    machine = make_long_machine(bytes.fromhex("cd80"), 3)
    machine.ram.write_int(TSS + 4, BEYOND, 8)
    replaced(machine, Vector.SS, long_gate(handler_of(Vector.SS), ist=1))
    done = machine.complete(machine.run(1))
    assert isinstance(done, Delivered)
    assert done.chain[:2] == (0x80, Vector.SS)


def test_a_device_interrupts_compatibility_mode_into_64_bit_code() -> None:
    machine = make_long_machine(b"\x90", 3, is_64bit=False)
    machine.state.gpr[ESP] = 0x1_2345_0000_8000 & 0xFFFF_FFFF
    assert isinstance(machine.raise_event(Interruption(0x20, is_external=True)), Delivered)
    assert machine.state.is_64bit
    assert frame(machine, 2) == (CODE, 0x1B)


# ---- descriptors -----------------------------------------------------------------------------------------------------


def put_system_descriptor(machine: Machine, low: int, high: int) -> None:
    machine.ram.write_int(GDT + FREE_SELECTOR, low, 8)
    machine.ram.write_int(GDT + FREE_SELECTOR + 8, high, 8)


def test_ltr_reads_sixteen_bytes_and_marks_the_task_busy() -> None:
    machine = make_long_machine(bytes.fromhex("0f00d8"))
    put_system_descriptor(machine, 0x0000_8900_5000_0067, HIGH >> 32)
    machine.state.gpr[EAX] = FREE_SELECTOR
    assert step(machine) is Effect.DONE
    assert (machine.state.tr.base, machine.state.tr.type) == (HIGH + 0x5000, 0xB)
    assert machine.ram.read_int(GDT + FREE_SELECTOR + 5, 1) == 0x8B


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0x0000_8100_5000_0067, 0),  # a 16-bit TSS
        (0x0000_8B00_5000_0067, 0),  # busy
        (0x0000_8900_5000_0067, 0x1F << 40),  # the second half has a type
        (0x0000_8900_5000_0067, BEYOND >> 32),
    ],
)
def test_task_descriptors_that_ltr_refuses(low: int, high: int) -> None:
    machine = make_long_machine(bytes.fromhex("0f00d8"))
    put_system_descriptor(machine, low, high)
    machine.state.gpr[EAX] = FREE_SELECTOR
    assert vector_of(step(machine)) == Vector.GP


def test_tables_have_bases_of_64_bits() -> None:
    # sgdt [rbx]; lgdt [rbx+16]; sidt [rbx+32]
    machine = make_long_machine(bytes.fromhex("0f0103 0f015310 0f014b20"))
    machine.ram.write(DATA + 16, (0x5F).to_bytes(2, "little") + (HIGH + GDT).to_bytes(8, "little"))
    for _ in range(3):
        step(machine)
    assert machine.ram.read(DATA, 10) == (0x5F).to_bytes(2, "little") + GDT.to_bytes(8, "little")
    assert machine.state.gdtr == (HIGH + GDT, 0x5F)
    assert machine.ram.read(DATA + 32, 10) == (0xFFF).to_bytes(2, "little") + IDT.to_bytes(8, "little")


def test_a_code_segment_cannot_be_64_bit_and_32_bit_at_once() -> None:
    machine = make_long_machine(bytes.fromhex("48ff2b"))  # jmp far [rbx]
    machine.ram.write_int(GDT + FREE_SELECTOR, 0x00EF_9B00_0000_FFFF, 8)
    machine.ram.write(DATA, (HIGH + CODE).to_bytes(8, "little") + FREE_SELECTOR.to_bytes(2, "little"))
    assert vector_of(step(machine)) == Vector.GP
    assert machine.ram.read_int(machine.state.gpr[ESP], 8) == FREE_SELECTOR


def test_a_64_bit_call_gate_leads_to_ring_0_and_far_return_back() -> None:
    machine = make_long_machine(bytes.fromhex("ff1b 90"), 3)  # call far [rbx]
    target = HIGH + 0x5_0000
    low = target & 0xFFFF | KERNEL_CODE << 16 | 0xEC << 40 | (target >> 16 & 0xFFFF) << 48
    put_system_descriptor(machine, low, target >> 32)
    machine.ram.write(0x5_0000, bytes.fromhex("48cb"))  # retfq
    machine.ram.write(DATA, bytes(4) + (FREE_SELECTOR | 3).to_bytes(2, "little"))
    before = machine.state.copy()
    assert step(machine) is Effect.DONE
    assert (machine.state.eip, machine.state.cpl, machine.state.gpr[ESP]) == (target, 0, RSP0 - 32)
    assert frame(machine, 4) == (CODE + 2, USER_CODE, STACK_TOP, USER_DATA)
    step(machine)
    before.eip += 2
    assert machine.state == before


def test_system_types_of_32_bits_are_unknown_to_lar() -> None:
    for type_, is_known in (
        (0x1, False),
        (0x2, True),
        (0x4, False),
        (0x5, False),
        (0x9, True),
        (0xB, True),
        (0xC, True),
    ):
        machine = make_long_machine(bytes.fromhex("0f02c8"))  # lar ecx, eax
        put_system_descriptor(machine, (0x80 | type_) << 40, 0)
        machine.state.gpr[EAX] = FREE_SELECTOR
        step(machine)
        assert bool(machine.state.eflags & Eflags.ZF) is is_known, type_


# ---- between the modes -----------------------------------------------------------------------------------------------


def test_compatibility_mode_runs_32_bit_code_below_4_gib() -> None:
    machine = make_long_machine(bytes.fromhex("40 48 a100002000"), 3, is_64bit=False)  # inc eax; dec eax; mov eax, [..]
    machine.ram.write_int(DATA, 0xCAFE, 4)
    assert machine.run(3) == BudgetSpent()
    assert (machine.state.gpr[EAX], machine.state.eip) == (0xCAFE, CODE + 7)


def test_a_far_return_changes_between_them() -> None:
    machine = make_long_machine(bytes.fromhex("cb"), 3)  # retf, 32-bit frame
    machine.ram.write(STACK_TOP, CODE.to_bytes(4, "little") + (0x1B).to_bytes(4, "little"))
    step(machine)
    assert (machine.state.code_bits, machine.state.eip) == (32, CODE)
    assert machine.state.gpr[ESP] == STACK_TOP + 8


@pytest.mark.parametrize(
    ("address", "expected"),
    [(0, True), (BEYOND - 1, True), (BEYOND, False), (HIGH - 1, False), (HIGH, True), ((1 << 64) - 1, True)],
)
def test_canonical_addresses(address: int, expected: bool) -> None:
    assert is_canonical(address) is expected


def test_everything_the_cpu_holds_is_saved_and_restored() -> None:
    code = bytes.fromhex("49ffc7 0f01f8 66450fefff f4")  # inc r15; swapgs; pxor xmm15, xmm15; hlt
    machine = make_long_machine(code, linear=HIGH + CODE)
    machine.state.cr4 |= Cr4.OSFXSR
    machine.run(2)
    state = machine.state
    assert state.long is not None
    state.long = state.long._replace(cr8=7, kernel_gs_base=HIGH + 0x77)
    saved, before, fpu = machine.save(), machine.state.copy(), machine.cpu.fpu_image()
    machine.run(3)
    other = machine.state
    other.gpr[9] = 0x99
    assert other.long is not None
    other.long = other.long._replace(cr8=1)
    machine.cpu.flush_tlb()
    machine.restore(saved)
    assert machine.state == before
    assert machine.cpu.fpu_image() == fpu
    assert machine.run(3) == BudgetSpent()
