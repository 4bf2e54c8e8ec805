"""Hypothesis strategies for the values that many tests need."""

from __future__ import annotations

from hypothesis import strategies as st

from ringviz.facts.registers import EFLAGS_FIXED, Cr0, Cr4, Eflags
from ringviz.facts.segments import SegmentCache, null_cache
from ringviz.machine.state import CS, SS, CpuState, TableRegister

WORDS = st.integers(0, 0xFFFF_FFFF)
SELECTORS = st.integers(0, 0xFFFF)
RINGS = st.integers(0, 3)

_FREE_FLAGS = (
    Eflags.CF | Eflags.PF | Eflags.AF | Eflags.ZF | Eflags.SF | Eflags.IF | Eflags.DF | Eflags.OF | Eflags.IOPL
    | Eflags.NT | Eflags.AC | Eflags.ID
)  # fmt: skip
_DATA_TYPES, _CODE_TYPES = (1, 3, 5, 7), (9, 11, 13, 15)


@st.composite
def eflags(draw: st.DrawFn) -> int:
    """EFLAGS of protected mode, but for TF and VM, which change what the next instruction does."""
    return draw(WORDS) & _FREE_FLAGS | EFLAGS_FIXED


@st.composite
def limits(draw: st.DrawFn) -> tuple[int, int]:
    """A limit in bytes and the G bit, in its place in `access`, that a descriptor could have given."""
    units = draw(st.integers(0, 0xF_FFFF))
    return (units << 12 | 0xFFF, 0x800) if draw(st.booleans()) else (units, 0)


@st.composite
def segment_caches(draw: st.DrawFn, types: tuple[int, ...], dpl: int, rpl: int, bits: int = 0x400) -> SegmentCache:
    """A present code or data segment."""
    limit, granularity = draw(limits())
    access = draw(st.sampled_from(types)) | 0x90 | dpl << 5 | draw(st.sampled_from([0, 0x100])) | bits | granularity
    return SegmentCache(draw(SELECTORS) & ~3 | rpl, draw(WORDS), limit, access)


@st.composite
def cpu_states(draw: st.DrawFn) -> CpuState:
    """A CPU in protected mode without paging, in any ring, its hidden parts unlike any table."""
    ring = draw(RINGS)
    data = st.one_of(st.just(null_cache()), segment_caches(_DATA_TYPES + _CODE_TYPES, 3, draw(RINGS)))
    segments = [draw(data) for _ in range(6)]
    segments[CS] = draw(segment_caches(_CODE_TYPES[:2], ring, ring))
    segments[SS] = draw(segment_caches((3, 7), ring, ring, draw(st.sampled_from([0, 0x400]))))
    ldt_limit, tss_limit = draw(st.integers(0, 0xFFFF)), draw(st.integers(0x67, 0xFFFF))
    return CpuState(
        gpr=[draw(WORDS) for _ in range(8)],
        eip=draw(WORDS),
        eflags=draw(eflags()),
        segments=segments,
        ldtr=SegmentCache(draw(SELECTORS) & ~7 | 8, draw(WORDS), ldt_limit, 0x82),  # with a null selector it has no LDT
        tr=SegmentCache(draw(SELECTORS) & ~7, draw(WORDS), tss_limit, 0x8B),
        gdtr=TableRegister(draw(WORDS), draw(SELECTORS)),
        idtr=TableRegister(draw(WORDS), draw(SELECTORS)),
        cr0=Cr0.PE | Cr0.ET | draw(WORDS) & (Cr0.MP | Cr0.TS | Cr0.NE | Cr0.WP | Cr0.AM),
        cr2=draw(WORDS),
        cr3=draw(WORDS) & ~0xFFF,
        cr4=draw(WORDS) & (Cr4.TSD | Cr4.DE | Cr4.PSE | Cr4.PGE | Cr4.OSFXSR | Cr4.OSXMMEXCPT),
        cpl=ring,
        dr=[draw(WORDS), draw(WORDS), draw(WORDS), draw(WORDS), 0, 0, 0xFFFF_0FF0, 0x400],
        efer=0,
        sysenter=[draw(SELECTORS), draw(WORDS), draw(WORDS)],
    )
