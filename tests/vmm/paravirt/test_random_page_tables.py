"""Kernels that change their page tables at random and touch memory: the CPU always does what the tables say just now.

What the tables say is worked out by the page walk of ours, from memory as it is before each access; what the CPU does
may depend on nothing else, on no translation that it remembers least of all.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringviz.facts.hypercalls import DOMID_SELF, FLAT_RING1_CS, FLAT_RING1_DS, FLAT_RING3_CS, FLAT_RING3_DS
from ringviz.guest.scenario import Scenario
from ringviz.machine.paging import Access, walk
from ringviz.machine.state import EAX, EDI
from ringviz.vmm.paravirt import layout
from tests.vmm.lockstep import Run
from tests.vmm.paravirt.guests import (
    CODE,
    DATA,
    FIRST_FRAME,
    HANDLERS,
    PAGES,
    STACK_TOP,
    STOP,
    TABLE,
    USER,
    USER_STACK_TOP,
    hypercall,
    le,
    make_kernel,
    technique_of,
    trap,
    words,
)
from tests.vmm.paravirt.hypervisor_memory import assert_nothing_leads_inward, still

DIRECTORY, PAGE_TABLE = 0x7_5000, 0x7_6000
"""Where the domain builder puts them behind an image that ends with page 72h."""
SPARES = (0x7_0000, 0x7_1000, 0x7_2000)
WINDOW = (0x20_0000, 0x20_1FFC)
P, RW, US = 1, 2, 4
LIST = DATA + 0x200
ACCESS_BYTES = 10
SKIP = b"\x47\x83\x44\x24\x04\x0a\x83\xc4\x04\xcf"  # inc edi; add dword [esp + 4], 10; add esp, 4; iretd


def frame(address: int) -> int:
    return FIRST_FRAME + (address >> 12)


FRAMES = (*(frame(a) for a in (*SPARES, TABLE, DIRECTORY, PAGE_TABLE)), layout.SHARED_INFO >> 12, 2, 5)
ENTRIES = st.builds(
    lambda number, flags: number << 12 | flags,
    st.sampled_from((*FRAMES, FIRST_FRAME + PAGES)),
    st.sampled_from((0, P, P | US, P | RW, P | RW | US, P | RW | US, P | RW | US | 0x80)),
)
PLACES = st.sampled_from(WINDOW)
TABLES = st.sampled_from((*SPARES, PAGE_TABLE, DIRECTORY))
MAP = st.tuples(st.just("map"), PLACES, ENTRIES)
UPDATE = st.tuples(st.just("update"), TABLES, st.integers(0, 3), ENTRIES)
HOOK = st.tuples(st.just("hook"), st.sampled_from((1, 2)), TABLES, st.sampled_from((P, P | RW, P | RW | US)))
PIN = st.tuples(st.just("pin"), st.sampled_from((0, 1, 4)), TABLES)
READ = st.tuples(st.just("read"), st.sampled_from((*WINDOW, *WINDOW, *SPARES, 0x40_0000, 0x80_0000)))
WRITE = st.tuples(st.just("write"), st.sampled_from((*WINDOW, *WINDOW, *SPARES, 0x40_0000, PAGE_TABLE)))
ONE = st.one_of(MAP, UPDATE, HOOK, PIN, READ, WRITE).map(lambda operation: (operation,))


def remapped(place: int, first: int, second: int, looks: tuple[str, str]) -> tuple[tuple[object, ...], ...]:
    """Map, look, map otherwise, look: what shows a translation that was kept too long, or a count that was not."""
    return ("map", place, first), (looks[0], place), ("map", place, second), (looks[1], place)


LOOK = st.sampled_from(("write", "read"))
REMAP = st.builds(remapped, PLACES, ENTRIES, ENTRIES, st.tuples(LOOK, LOOK))
OPERATIONS = st.lists(st.one_of(ONE, ONE, REMAP), min_size=4, max_size=12).map(
    lambda groups: [operation for group in groups for operation in group]
)
ACCESSES = st.lists(st.one_of(READ, WRITE), max_size=6)
Operation = tuple[object, ...]


def assembled(operation: Operation, number: int, at: int) -> tuple[bytes, bytes]:
    """Give the code of one operation, and its request in memory if it has one."""
    match operation:
        case ("map", int(place), int(entry)):
            return hypercall(14, place & -4096, entry, 0), b""
        case ("update", int(table), int(slot), int(entry)):
            return hypercall(1, at, 1, 0, DOMID_SELF), words((frame(table) << 12) + 4 * slot, 0, entry, 0)
        case ("hook", int(slot), int(table), int(flags)):
            pointer = (frame(DIRECTORY) << 12) + 4 * slot
            return hypercall(1, at, 1, 0, DOMID_SELF), words(pointer, 0, frame(table) << 12 | flags, 0)
        case ("pin", int(command), int(table)):
            return hypercall(26, at, 1, 0, DOMID_SELF), words(command, frame(table), 0, 0)
        case ("read", int(address)):
            return b"\xa1" + le(address) + b"\x90" * 5, b""  # mov eax, [address]
        case ("write", int(address)):
            return b"\xc7\x05" + le(address) + le(0x0100_0000 | number << 8 | 0x0E), b""  # never a present entry
    raise AssertionError(operation)


def made(folder: Path, operations: list[Operation], program: list[Operation]) -> tuple[Scenario, dict[int, Operation]]:
    """Make the kernel and its program; give the accesses by address, too."""
    code = b"\xbc" + le(STACK_TOP) + hypercall(3, FLAT_RING1_DS, STACK_TOP) + hypercall(0, DATA) + b"\x31\xff"
    requests = b""
    accesses: dict[int, Operation] = {}
    for number, operation in enumerate(operations):
        part, wanted = assembled(operation, number, LIST + len(requests))
        if operation[0] in ("read", "write"):
            accesses[CODE + len(code)] = operation
        code, requests = code + part, requests + wanted
    stack = (FLAT_RING3_DS, USER_STACK_TOP, 0x202, FLAT_RING3_CS, USER, 0)
    code += b"".join(b"\x68" + le(value) for value in stack) + b"\xb8" + le(23) + b"\xcd\x82"
    user = b""
    for number, operation in enumerate(program):
        accesses[USER + len(user)] = operation
        user += assembled(operation, number, 0)[0]
    parts = {
        DATA: trap(14, 0, FLAT_RING1_CS, HANDLERS) + bytes(8),
        LIST: requests or b"\0",
        HANDLERS: SKIP,
        USER: user + STOP,
        **{page: le(page | 2) * 1024 for page in (*SPARES, TABLE)},  # each page looks different, and maps nothing
    }
    assert len(code) < HANDLERS - CODE
    return make_kernel(folder, code, parts, limit=500), accesses


def predicted(run: Run, operation: Operation) -> tuple[int | None, int | None]:
    """Work out where an access leads: the physical address, or the error code of its page fault."""
    state, ram = run.technique.machine.state, run.technique.machine.ram
    access = Access(is_write=operation[0] == "write", is_user=state.cpl == 3)
    address = operation[1]
    assert isinstance(address, int)
    done = walk(ram.read_int, state.cr0, state.cr3, state.cr4, state.efer, address, access)
    return done.physical, done.fault


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS, ACCESSES)
def test_the_cpu_does_what_the_tables_say_now(operations: list[Operation], program: list[Operation]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scenario, accesses = made(Path(folder) / "guest", operations, program)
        run = Run(scenario, "paravirt")
        technique, machine = technique_of(run), run.technique.machine
        before = still(technique)
        while run.ended is None and run.position < run.limit:
            operation = accesses.get(machine.state.eip)
            if operation is None:
                if machine.instruction_here() is None or machine.state.eip == USER + ACCESS_BYTES * len(program):
                    break
                run.reach(run.position + 1)
                continue
            physical, fault = predicted(run, operation)
            number, at = len(run.events), machine.state.eip
            run.reach(run.position + 1)  # of the handler its first instruction, if it comes to that
            if run.ended is not None:  # it has taken its own code or stack away
                break
            if physical is None:
                error = technique.machine.memory.read_int(machine.state.gpr[4], 4)
                assert (machine.state.eip, error) == (HANDLERS + 1, fault), operation
                assert len(run.events) == number + 1
                continue
            assert len(run.events) == number, (operation, run.events[-1])
            if operation[0] == "read":
                assert machine.state.gpr[EAX] == machine.ram.read_int(physical, 4)
                assert machine.state.eip == at + 5
            else:
                assert machine.ram.read_int(physical, 4) & 0xFF == 0x0E
                assert machine.state.eip == at + ACCESS_BYTES
        assert_nothing_leads_inward(technique)
        assert still(technique) == before
        straight = Run(scenario, "paravirt")
        straight.reach(run.position if run.ended is None else run.limit)
        assert straight.ended == run.ended
        assert straight.events == run.events
        assert straight.technique.guest_ram() == run.technique.guest_ram()
        assert straight.technique.machine.state.gpr[EDI] == machine.state.gpr[EDI]
        assert straight.technique.save_vmm() == run.technique.save_vmm()
