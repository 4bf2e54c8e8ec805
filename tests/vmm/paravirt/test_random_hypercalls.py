"""Kernels that ask for anything at all: refused or not, the hypervisor stays whole, and two runs are one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringviz.errors import UnsupportedError
from ringviz.facts.hypercalls import FLAT_RING1_CS, FLAT_RING1_DS, FLAT_RING3_CS, HYPERCALLS, HYPERVISOR_START
from ringviz.vmm.paravirt import layout
from tests.vmm.lockstep import Run
from tests.vmm.paravirt.guests import (
    CODE,
    DATA,
    FIRST_FRAME,
    GUEST_BYTES,
    HANDLERS,
    PAGES,
    RING0_CODE,
    RING1_CODE,
    RING1_DATA,
    RING3_CODE,
    STACK_TOP,
    STOP,
    TABLE,
    hypercall,
    le,
    make_kernel,
    technique_of,
    words,
)
from tests.vmm.paravirt.hypervisor_memory import assert_nothing_leads_inward, still

ADDRESSES = (
    0, 8, CODE, DATA, DATA + 0x20, DATA + 0x40, TABLE, TABLE + 8, HANDLERS, STACK_TOP, GUEST_BYTES - 4, GUEST_BYTES,
    HYPERVISOR_START - 8, HYPERVISOR_START, layout.SEGMENT_END - 4, layout.HOLE, layout.GDT_LINEAR + 8,
    layout.IDT_LINEAR, layout.TSS_LINEAR, 0xFFFF_FFF8,
)  # fmt: skip
FRAMES = tuple(FIRST_FRAME + (address >> 12) for address in (CODE, DATA, TABLE, GUEST_BYTES - 4096))
MACHINE = tuple(frame << 12 | low for frame in (*FRAMES, 1, 4, 5, 6, 0x10, 0x20) for low in (0, 1, 5, 7, 8))
SELECTORS = (FLAT_RING1_CS, FLAT_RING1_DS, FLAT_RING3_CS, 0x08, 0x09, 0x0B, 0x11, 0x15, 0xFFC1, 0xFFD1, 0xFFE1, 0xFFF1)
ARGUMENTS = st.one_of(
    st.integers(0, 40),
    st.sampled_from((*ADDRESSES, *FRAMES, FIRST_FRAME + PAGES, *MACHINE, *SELECTORS, 0x7FF0)),
    st.integers(0, 0xFFFF_FFFF),
)
NUMBERS = st.one_of(st.sampled_from(sorted(HYPERCALLS)), st.integers(0, 64))
CALLS = st.lists(st.tuples(NUMBERS, st.lists(ARGUMENTS, min_size=5, max_size=5)), min_size=1, max_size=12)
DESCRIPTORS = st.one_of(
    st.sampled_from((0, RING0_CODE, RING1_CODE, RING1_DATA, RING3_CODE, 0x0000EC0000090000, 0x0000EE00E0190000)),
    st.integers(0, (1 << 64) - 1),
)
MEMORY = st.lists(ARGUMENTS, min_size=24, max_size=24)
FIXED = (
    hypercall(14, TABLE, FRAMES[2] << 12 | 5, 2),
    hypercall(2, DATA + 0x1000, 3),
    hypercall(0, DATA + 0x1010),
    hypercall(4, FLAT_RING1_CS, HANDLERS, FLAT_RING1_CS, HANDLERS),
)
"""Calls that may succeed, so that later ones find something to break."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CALLS, MEMORY, st.lists(DESCRIPTORS, min_size=4, max_size=4), st.integers(0, 4))
def test_no_hypercall_breaks_the_hypervisor(
    calls: list[tuple[int, list[int]]], memory: list[int], table: list[int], fixed: int
) -> None:
    code = b"\xbc" + le(STACK_TOP) + b"".join(FIXED[:fixed])
    code += b"".join(hypercall(number, *arguments) for number, arguments in calls) + STOP
    parts = {
        DATA: words(*memory),
        DATA + 0x1000: words(FRAMES[2]),
        DATA + 0x1010: bytes([13, 0]) + FLAT_RING1_CS.to_bytes(2, "little") + le(HANDLERS) + bytes(8),
        TABLE: b"".join(raw.to_bytes(8, "little") for raw in table),
        HANDLERS: STOP,
    }
    with tempfile.TemporaryDirectory() as folder:
        scenario = make_kernel(Path(folder) / "guest", code, parts, limit=200)
        ends = []
        for _ in range(2):
            run = Run(scenario, "paravirt")
            made = still(technique_of(run))
            ended = ""
            try:
                while run.ended is None and run.position < run.limit:
                    before = run.position
                    run.reach(before + 10)
                    assert still(technique_of(run)) == made
                    if run.position == before:
                        break
            except UnsupportedError as error:  # a return to virtual-8086 mode
                ended = str(error)
                assert "virtual-8086" in ended
            assert_nothing_leads_inward(technique_of(run))
            ends.append((ended, run.ended, run.technique.guest_state(), run.events, run.technique.guest_ram()))
        assert ends[0] == ends[1]
