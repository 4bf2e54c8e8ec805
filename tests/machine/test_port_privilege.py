"""Who may use a port: IOPL, then the bitmap in the TSS; and what INS and OUTS do under REP."""

import pytest

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr0, Eflags
from ringviz.facts.segments import SegmentCache
from ringviz.machine.bus import Bus, State
from ringviz.machine.machine import Machine
from ringviz.machine.microcode import Effect
from ringviz.machine.state import EAX, ECX, EDI, EDX, ESI
from ringviz.machine.stops import Fault, PortIo, Stop
from tests.machine.guests import CODE, DATA, RAM_BYTES, TSS, TSS_SELECTOR, flat_state, lay_tables, make_machine, play

BITMAP = 0x68


class Counter:
    """A device whose reads count up and whose writes are kept."""

    name = "counter"
    ports = (range(0x200, 0x204),)
    access_bytes = 4

    def __init__(self) -> None:
        self.count = 0
        self.written: list[int] = []

    def read(self, offset: int, size: int, now: int) -> int:
        self.count += 1
        return self.count

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        self.written.append(value)

    def save(self) -> State:
        return (self.count, tuple(self.written))

    def restore(self, state: State) -> None:
        self.count, written = state
        self.written = list(written)


def machine_with(device: Counter, code: str, ring: int = 0) -> Machine:
    machine = Machine(Bus([device]), RAM_BYTES)
    lay_tables(machine.ram.write)
    machine.ram.write(CODE, bytes.fromhex(code))
    machine.cpu.load(flat_state(ring))
    machine.state.gpr[EDX] = 0x200
    return machine


@pytest.mark.parametrize("ring", [0, 1, 2, 3])
@pytest.mark.parametrize("iopl", [0, 1, 2, 3])
def test_a_ring_within_iopl_may_use_every_port(ring: int, iopl: int) -> None:
    machine = make_machine(bytes.fromhex("40 ec"), ring, eflags=2 | iopl << 12)
    stop = machine.run(100)
    assert isinstance(stop, PortIo) if ring <= iopl else stop == _gp(stop)
    assert (machine.retired, machine.state.eip) == (1, CODE + 1)


def _gp(stop: Stop) -> Fault:
    """The #GP(0) that a refused port is."""
    return Fault(Vector.GP, 0, None, getattr(stop, "instruction", None))


@pytest.mark.parametrize(
    ("code", "port", "free", "limit", "allowed"),
    [
        ("ec", 0x10, {0x10}, 0x1FFF, True),
        ("ec", 0x10, {0x0F, 0x11}, 0x1FFF, False),
        ("66ed", 0x17, {0x17, 0x18}, 0x1FFF, True),  # a word over two bytes of the map
        ("66ed", 0x17, {0x17}, 0x1FFF, False),
        ("66ed", 0x17, {0x18}, 0x1FFF, False),
        ("ed", 0x16, {0x16, 0x17, 0x18, 0x19}, 0x1FFF, True),
        ("ed", 0x16, {0x16, 0x17, 0x18}, 0x1FFF, False),
        ("ec", 0x3F, {0x3F}, BITMAP + 8, True),  # the byte behind the last must be inside the limit
        ("ec", 0x3F, {0x3F}, BITMAP + 7, False),
        ("ec", 0x3F, {0x3F}, BITMAP + 6, False),
        ("ec", 0, {0}, 0x66, False),  # the map's offset itself is cut off
        ("ec", 0, {0}, 0x67, False),
    ],
)
def test_the_bitmap_of_the_task(code: str, port: int, free: set[int], limit: int, allowed: bool) -> None:
    machine = make_machine(bytes.fromhex(code), 3)
    bits = (1 << 512) - 1
    for number in free:
        bits &= ~(1 << number)
    machine.ram.write(TSS + BITMAP, bits.to_bytes(64, "little"))
    machine.state.tr = SegmentCache(TSS_SELECTOR, TSS, limit, 0x8B)
    machine.state.gpr[EDX] = port
    stop = machine.run(100)
    if allowed:
        assert isinstance(stop, PortIo)
        assert (stop.is_input, stop.port, stop.size) == (True, port, {"ec": 1, "66ed": 2, "ed": 4}[code])
    else:
        assert stop == _gp(stop)


def test_a_bitmap_that_begins_beyond_the_limit_forbids_all() -> None:
    machine = make_machine(bytes.fromhex("ec"), 3)
    machine.ram.write_int(TSS + 0x66, 0x2000, 2)
    assert machine.run(100) == _gp(machine.run(100))


def test_a_16_bit_task_has_no_bitmap() -> None:
    machine = make_machine(bytes.fromhex("ec"), 3)
    machine.ram.write(TSS + BITMAP, bytes(64))
    machine.state.tr = SegmentCache(TSS_SELECTOR, TSS, 0x1FFF, 0x83)
    assert machine.run(100) == _gp(machine.run(100))


@pytest.mark.parametrize(("prefix", "size"), [("6c", 1), ("666d", 2), ("6d", 4)])
@pytest.mark.parametrize("direction", [1, -1])
def test_ins_under_rep_fills_memory_in_the_direction_of_df(prefix: str, size: int, direction: int) -> None:
    device = Counter()
    machine = machine_with(device, "f3" + prefix + "f4")
    machine.state.gpr[ECX] = 5
    if direction < 0:
        machine.state.eflags |= Eflags.DF
    assert play(machine) == "halt"
    assert [machine.ram.read_int(DATA + direction * i * size, size) for i in range(5)] == [1, 2, 3, 4, 5]
    assert (machine.state.gpr[ECX], machine.state.gpr[EDI]) == (0, DATA + direction * 5 * size)
    assert machine.retired == 2


def test_outs_under_rep_sends_memory() -> None:
    device = Counter()
    machine = machine_with(device, "f36e f4")
    machine.ram.write(DATA, b"\x05\x06\x07")
    machine.state.gpr[ECX] = 3
    assert play(machine) == "halt"
    assert (device.written, machine.state.gpr[ESI], machine.state.gpr[ECX]) == ([5, 6, 7], DATA + 3, 0)


def test_rep_with_a_count_of_zero_moves_nothing_and_retires() -> None:
    device = Counter()
    machine = machine_with(device, "f36c f36e f4")
    assert play(machine) == "halt"
    assert (device.count, device.written, machine.retired) == (0, [], 3)


def test_a_page_fault_in_the_middle_keeps_what_was_moved_and_loses_nothing_of_the_device() -> None:
    device = Counter()
    machine = machine_with(device, "f36d f4")
    machine.ram.write_int(0x30_0000, 0x30_1007, 4)
    for page in range(1024):
        machine.ram.write_int(0x30_1000 + 4 * page, page << 12 | (0 if page == 0x201 else 7), 4)
    state = machine.state
    state.cr3, state.cr0 = 0x30_0000, state.cr0 | Cr0.PG
    state.gpr[ECX], state.gpr[EDI] = 8, DATA + 0x1000 - 12
    stop = machine.run(100)
    assert isinstance(stop, PortIo)
    machine.complete(stop)
    assert (device.count, machine.state.gpr[ECX], machine.state.gpr[EDI]) == (3, 5, DATA + 0x1000)
    assert (machine.state.cr2, machine.retired) == (DATA + 0x1000, 0)
    assert machine.ram.read_int(machine.state.gpr[4] + 4, 4) == CODE  # the saved EIP: it will go on


def test_a_very_long_string_of_output_gives_way_and_goes_on() -> None:
    device = Counter()
    machine = machine_with(device, "f36e f4")
    machine.state.gpr[ECX] = 20_000
    machine.state.gpr[ESI] = 0
    stop = machine.run(100)
    assert isinstance(stop, PortIo)
    assert machine.complete(stop) is not Effect.DONE
    assert (machine.state.eip, machine.retired) == (CODE, 0)
    assert 0 < machine.state.gpr[ECX] < 20_000
    assert play(machine) == "halt"
    assert (len(device.written), machine.retired) == (20_000, 2)


@pytest.mark.parametrize(("code", "size"), [("e421", 1), ("66e521", 2), ("e521", 4), ("ec", 1), ("ee", 1), ("ef", 4)])
def test_the_stop_stands_at_the_instruction_before_anything_has_happened(code: str, size: int) -> None:
    machine = make_machine(b"\x90" * 5 + bytes.fromhex(code) + b"\xf4")
    machine.state.gpr[EDX] = 0x21
    stop = machine.run(100)
    assert isinstance(stop, PortIo)
    assert (stop.port, stop.size, machine.state.eip, machine.retired) == (0x21, size, CODE + 5, 5)
    machine.complete(stop)
    assert (machine.state.eip, machine.retired) == (CODE + 5 + len(code) // 2, 6)


def test_input_fills_the_part_of_eax_that_it_names() -> None:
    device = Counter()
    machine = machine_with(device, "ec f4")
    machine.state.gpr[EAX] = 0xAABB_CCDD
    assert play(machine) == "halt"
    assert machine.state.gpr[EAX] == 0xAABB_CC01
