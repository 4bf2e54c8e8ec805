"""Whatever bytes a guest consists of, the machine answers with stops: it never raises, and it never hangs."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringviz.facts.registers import EFLAGS_FIXED
from tests.machine.guests import CODE, DATA, HALT, make_machine, play

INSTRUCTIONS = 400
ENDS = {"halt", "shutdown", "exit", "budget", "paused", "TaskGateError", "UnsupportedError"}

INTERESTING = [
    bytes.fromhex(text)
    for text in [
        "0f0103",
        "0f010b",
        "0f0113",
        "0f011b",
        "0f01e0",
        "0f01f0",
        "0f20c0",
        "0f22c0",
        "0f22d8",
        "0f22e0",
        "0f23f8",
        "0f06",
        "0f00d0",
        "0f00d8",
        "0f00c8",
        "0f02c0",
        "0f03c0",
        "0f00e0",
        "0fa2",
        "0f31",
        "0f32",
        "0f30",
        "0f33",
        "0f34",
        "0f35",
        "0f05",
        "0f07",
        "0f08",
        "0f09",
        "0f0b",
        "0f01d8",
        "0f01da",
        "0f01dc",
        "0fc7f0",
        "9c",
        "9d",
        "fa",
        "fb",
        "cc",
        "cf",
        "cb",
        "ce",
        "f1",
        "1e",
        "1f",
        "0e",
        "17",
        "8ed8",
        "8ed0",
        "8ee0",
        "8cc8",
        "ff2b",
        "ff1b",
        "62",
        "c403",
        "c503",
        "0fb203",
        "ec",
        "ef",
        "6c",
        "f36e",
        "f36c",
        "f3aa",
        "f3a4",
        "f2ae",
        "c3",
        "eb",
        "e2",
        "e8",
        "60",
        "61",
        "c8",
        "c9",
        "d9",
        "dd23",
        "0fae03",
        "0f58c1",
        "f0",
        "66",
        "67",
        "f3",
        "880500001000",
        "c60500001000",
        "fe0500001000",
        "cd",
    ]
]
PIECES = st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from(INTERESTING))
POINTERS = st.sampled_from([0, 1, 8, 0x10, 0x3B, CODE, DATA, 0x7FFF_FFFF, 0xF000_3000, 0xFFFF_FFFF])


def survive(pieces: list[bytes], ring: int, eflags: int, registers: list[int], idt_dpl: int) -> str:
    """Run a guest on bare metal; say how it ended."""
    body = b"".join(pieces)
    code = body + b"\xe9" + (-len(body) - 5).to_bytes(4, "little", signed=True)  # over and over
    machine = make_machine(code + HALT * 64, ring, eflags=eflags, idt_dpl=idt_dpl)
    machine.ram.write(DATA, HALT * 4096)
    for number, value in zip((0, 1, 2, 3, 5, 6, 7), registers, strict=True):
        machine.state.gpr[number] = value
    return play(machine, INSTRUCTIONS, most_pauses=2)


GUESTS = (
    st.lists(PIECES, min_size=1, max_size=30),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([EFLAGS_FIXED, 0x3002, 0x3202, 0x0102, 0x4002]),
    st.lists(POINTERS, min_size=7, max_size=7),
    st.sampled_from([0, 3]),
)
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(*GUESTS)
def test_no_guest_makes_the_machine_raise_or_hang(
    pieces: list[bytes], ring: int, eflags: int, registers: list[int], idt_dpl: int
) -> None:
    assert survive(pieces, ring, eflags, registers, idt_dpl) in ENDS


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None, suppress_health_check=QUIET)
@given(*GUESTS)
def test_no_guest_of_very_many_makes_the_machine_raise_or_hang(
    pieces: list[bytes], ring: int, eflags: int, registers: list[int], idt_dpl: int
) -> None:
    assert survive(pieces, ring, eflags, registers, idt_dpl) in ENDS


@pytest.mark.parametrize(
    "code",
    [
        "f0f4",  # LOCK HLT: exits, but is no instruction
        "f0cd80",  # LOCK INT
        "f00fa2",  # LOCK CPUID
        "40f09041f4",  # LOCK NOP: the emulator runs it on
        "0f00d0f06ec6438b",  # such a one behind a fault
        "b9ffffffff f36e",  # four thousand million bytes of output
        "b9ffffffff bf00000080 b0ff f3ae",  # a search through all of nothing
        "0fc7f0",  # RDRAND
        "0fc7f8",  # RDSEED
    ],
)
@pytest.mark.parametrize("ring", [0, 3])
def test_guests_that_once_did(code: str, ring: int) -> None:
    machine = make_machine(bytes.fromhex(code) + HALT * 16, ring, eflags=0x3002, idt_dpl=3)
    assert play(machine, 300, most_pauses=2) in ENDS


@pytest.mark.parametrize("code", ["0fc7f0", "0fc7f8", "660fc7f0"])
def test_a_random_number_instruction_is_not_offered_so_that_a_run_repeats(code: str) -> None:
    endings = set()
    for _ in range(2):
        machine = make_machine(bytes.fromhex(code) + HALT * 16)
        play(machine, 50)
        endings.add(tuple(machine.state.gpr))
    assert len(endings) == 1
