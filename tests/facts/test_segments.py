import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.facts.layout import BitField, ByteField
from ringviz.facts.segments import (
    DESCRIPTOR_FIELDS,
    GATE_FIELDS,
    SEGMENT_TYPES,
    SELECTOR_FIELDS,
    SYSTEM_TYPES,
    TSS16_FIELDS,
    TSS16_MIN_LIMIT,
    TSS32_FIELDS,
    TSS32_MIN_LIMIT,
    Descriptor,
    Gate,
    SegmentCache,
    Selector,
    decode_descriptor,
    decode_gate,
    encode_descriptor,
    encode_gate,
    load_cache,
    null_cache,
)

RAW = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("raw", "base", "limit", "access"),
    [
        (0x00CF_9B00_0000_FFFF, 0, 0xFFFF_FFFF, 0xC9B),  # flat ring-0 code
        (0x00CF_9300_0000_FFFF, 0, 0xFFFF_FFFF, 0xC93),  # flat ring-0 data
        (0x00CF_FA00_0000_FFFF, 0, 0xFFFF_FFFF, 0xCFA),  # flat ring-3 code
        (0x0000_9B00_0000_FFFF, 0, 0xFFFF, 0x09B),  # 16-bit code
        (0x1200_8934_5678_0067, 0x1234_5678, 0x67, 0x089),  # available 32-bit TSS
        (0, 0, 0, 0),
    ],
)
def test_well_known_descriptors_decode_as_their_authors_meant(raw: int, base: int, limit: int, access: int) -> None:
    assert decode_descriptor(raw) == Descriptor(base, limit, access)


@given(RAW)
def test_every_descriptor_survives_decoding_and_encoding(raw: int) -> None:
    assert encode_descriptor(decode_descriptor(raw)) == raw


@given(RAW)
def test_the_decoder_agrees_with_the_field_table(raw: int) -> None:
    descriptor, field = decode_descriptor(raw), DESCRIPTOR_FIELDS
    assert descriptor.base == field["Base 31:24"].get(raw) << 24 | field["Base 23:00"].get(raw)
    units = field["Limit 19:16"].get(raw) << 16 | field["Limit 15:00"].get(raw)
    assert descriptor.limit == (units * 4096 + 4095 if field["G"].get(raw) else units)
    assert descriptor.type == field["Type"].get(raw)
    assert descriptor.s == field["S"].get(raw)
    assert descriptor.dpl == field["DPL"].get(raw)
    assert descriptor.present == field["P"].get(raw)
    assert descriptor.avl == field["AVL"].get(raw)
    assert descriptor.l == field["L"].get(raw)
    assert descriptor.db == field["D/B"].get(raw)
    assert descriptor.g == field["G"].get(raw)


@pytest.mark.parametrize(
    ("descriptor", "message"),
    [
        (Descriptor(1 << 32, 0, 0x93), "base has 32 bits"),
        (Descriptor(0, 0x10_0000, 0x93), "does not fit a descriptor with G 0"),
        (Descriptor(0, 0x1000, 0x893), "ends in FFF"),
        (Descriptor(0, 0x1_0000_0FFF, 0x893), "does not fit a descriptor with G 1"),
        (Descriptor(0, 0, 0x1000), "12 bits"),
    ],
)
def test_a_descriptor_that_cannot_be_written_is_refused(descriptor: Descriptor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_descriptor(descriptor)


def test_properties_name_what_a_segment_may_be_used_for() -> None:
    code = decode_descriptor(0x00CF_9B00_0000_FFFF)
    assert (code.is_code, code.readable, code.writable, code.conforming) == (True, True, False, False)
    assert (code.dpl, code.present, code.db, code.g, code.l) == (0, True, True, True, False)
    data = decode_descriptor(0x00CF_F300_0000_FFFF)
    assert (data.is_code, data.is_data, data.readable, data.writable, data.dpl) == (False, True, True, True, 3)
    execute_only = Descriptor(0, 0, 0x98)
    assert not execute_only.readable
    assert Descriptor(0, 0, 0x9E).conforming
    assert not Descriptor(0, 0, 0x92).expand_down
    assert Descriptor(0, 0, 0x96).expand_down
    tss = decode_descriptor(0x1200_8934_5678_0067)
    assert (tss.s, tss.is_code, tss.is_data, tss.writable) == (False, False, False, False)
    assert SYSTEM_TYPES[tss.type].name == "32-bit TSS (Available)"


def test_limits_hold_for_the_last_byte_of_an_access() -> None:
    up = Descriptor(0, 0xFFF, 0x493)
    assert up.allows(0xFFC, 4)
    assert not up.allows(0xFFD, 4)
    down32, down16 = Descriptor(0, 0xFFF, 0x497), Descriptor(0, 0xFFF, 0x097)
    assert not down32.allows(0xFFF, 1)
    assert down32.allows(0x1000, 4)
    assert down32.allows(0xFFFF_FFFC, 4)
    assert not down32.allows(0xFFFF_FFFD, 4)
    assert down16.allows(0xFFFC, 4)
    assert not down16.allows(0xFFFD, 4)


def test_a_cache_keeps_the_selector_beside_the_descriptor() -> None:
    cache = load_cache(0x1B, decode_descriptor(0x00CF_FA00_0000_FFFF))
    assert cache == SegmentCache(0x1B, 0, 0xFFFF_FFFF, 0xCFA)
    assert (cache.rpl, cache.dpl, cache.is_usable) == (3, 3, True)
    assert not null_cache(3).is_usable
    assert null_cache(3).rpl == 3


@given(st.integers(0, 0xFFFF))
def test_a_selector_comes_apart_as_the_field_table_says(value: int) -> None:
    selector = Selector(value)
    assert selector.index == SELECTOR_FIELDS["Index"].get(value)
    assert selector.ti == SELECTOR_FIELDS["TI"].get(value)
    assert selector.rpl == SELECTOR_FIELDS["RPL"].get(value)
    assert selector.offset == selector.index * 8
    assert selector.with_rpl(2).value == selector.offset + 4 * selector.ti + 2
    assert selector.is_null == (value in (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("raw", "gate"),
    [
        # A kernel's handler in ring 0, and the door for INT 80h that ring 3 may use.
        (0x0010_8E00_0008_1234, Gate(0x0010_1234, 0x08, 0xE, 0, True)),
        (0xC010_EF00_0060_5678, Gate(0xC010_5678, 0x60, 0xF, 3, True)),
        (0x0000_8500_0028_0000, Gate(0, 0x28, 0x5, 0, True)),
        (0x0000_8600_0008_FFEE, Gate(0xFFEE, 0x08, 0x6, 0, True)),
        (0x0012_EC03_0008_3456, Gate(0x0012_3456, 0x08, 0xC, 3, True, param_count=3)),
    ],
)
def test_well_known_gates_decode_and_encode(raw: int, gate: Gate) -> None:
    assert decode_gate(raw) == gate
    assert encode_gate(gate) == raw


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    type_ = draw(st.sampled_from([number for number, row in SYSTEM_TYPES.items() if row.is_gate]))
    widest = {0: 0, 16: 0xFFFF, 32: 0xFFFF_FFFF}[SYSTEM_TYPES[type_].size_bits]
    return Gate(
        offset=draw(st.integers(0, widest)),
        selector=draw(st.integers(0, 0xFFFF)),
        type=type_,
        dpl=draw(st.integers(0, 3)),
        present=draw(st.booleans()),
        param_count=draw(st.integers(0, 31)) if "Call" in SYSTEM_TYPES[type_].name else 0,
    )


@given(gates())
def test_every_gate_survives_encoding_and_decoding(gate: Gate) -> None:
    raw = encode_gate(gate)
    assert decode_gate(raw) == gate
    assert gate.kind is SYSTEM_TYPES[gate.type]
    assert gate.is_32bit == (SYSTEM_TYPES[gate.type].size_bits == 32)
    kinds = [gate.is_interrupt_gate, gate.is_trap_gate, gate.is_task_gate, gate.is_call_gate]
    assert kinds.count(True) == 1
    assert GATE_FIELDS["Type"].get(raw) == gate.type
    assert GATE_FIELDS["DPL"].get(raw) == gate.dpl
    assert GATE_FIELDS["P"].get(raw) == gate.present
    assert GATE_FIELDS["Segment Selector"].get(raw) == gate.selector


@given(RAW)
def test_decoding_a_gate_never_fails_and_knows_what_is_none(raw: int) -> None:
    gate = decode_gate(raw)
    is_gate = not raw >> 44 & 1 and raw >> 40 & 0xF in (4, 5, 6, 7, 0xC, 0xE, 0xF)
    assert (gate.kind is not None) == is_gate


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (Gate(0x1_0000, 8, 0x6, 0, True), "no room"),
        (Gate(1, 8, 0x5, 0, True), "no room"),
        (Gate(0, 8, 0xE, 0, True, param_count=1), "parameters"),
        (Gate(0, 0x1_0000, 0xE, 0, True), "out of range"),
        (Gate(0, 8, 0xE, 4, True), "out of range"),
    ],
)
def test_a_gate_that_cannot_be_written_is_refused(gate: Gate, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_gate(gate)


def test_system_types_are_the_manuals() -> None:
    assert sorted(SYSTEM_TYPES) == [1, 2, 3, 4, 5, 6, 7, 9, 0xB, 0xC, 0xE, 0xF]
    assert sorted(number for number, row in SYSTEM_TYPES.items() if row.is_gate) == [4, 5, 6, 7, 0xC, 0xE, 0xF]
    for number, row in SYSTEM_TYPES.items():
        if row.size_bits:
            assert (row.size_bits == 32) == bool(number & 8)
            assert row.name.startswith(f"{row.size_bits}-bit")


def test_segment_types_agree_with_the_properties() -> None:
    for number, row in SEGMENT_TYPES.items():
        segment = Descriptor(0, 0, 0x90 | number)
        assert row.name.startswith("code" if segment.is_code else "data")
        assert ("conforming" in row.name) == segment.conforming
        assert ("expand-down" in row.name) == segment.expand_down
        assert ("write" in row.name) == segment.writable
        assert ("execute-only" in row.name) == (segment.is_code and not segment.readable)


def covered(fields: Iterable[BitField]) -> int:
    union = 0
    for field in fields:
        assert union & field.mask == 0, field.name
        union |= field.mask
    return union


def test_layouts_of_entries_leave_only_reserved_bits_out() -> None:
    assert covered(DESCRIPTOR_FIELDS.values()) == 2**64 - 1
    assert covered(GATE_FIELDS.values()) == (2**64 - 1) & ~(7 << 37)
    assert covered(SELECTOR_FIELDS.values()) == 0xFFFF


def assert_in_order(fields: Iterable[ByteField]) -> int:
    end = 0
    for field in fields:
        assert field.offset >= end, field.name
        assert field.offset % field.size_bytes == 0, field.name
        end = field.end
    return end


def test_task_state_segments_end_at_their_smallest_limit() -> None:
    assert assert_in_order(TSS32_FIELDS.values()) == TSS32_MIN_LIMIT + 1 == 104
    assert assert_in_order(TSS16_FIELDS.values()) == TSS16_MIN_LIMIT + 1 == 44


def test_task_state_layout_matches_an_independent_structure() -> None:
    # 26 doublewords, of which selectors use the low half; then T and the I/O map base share the last one.
    assert struct.calcsize("<26I") == TSS32_MIN_LIMIT + 1
    doublewords = [field.offset // 4 for field in TSS32_FIELDS.values() if field.name != "I/O Map Base Address"]
    assert doublewords == list(range(26))
    assert [field.offset // 2 for field in TSS16_FIELDS.values()] == list(range(22))
    assert TSS32_FIELDS["ESP0"].offset == 4
    assert TSS32_FIELDS["SS0"].offset == 8
    assert TSS32_FIELDS["CR3"].offset == 0x1C
    assert TSS32_FIELDS["I/O Map Base Address"].offset == 0x66
    assert TSS16_FIELDS["SP0"].offset == 2
