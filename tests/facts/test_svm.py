from collections.abc import Iterable

import pytest

from ringviz.facts import svm
from ringviz.facts.layout import BitField


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x000, "VMEXIT_CR0_READ"),
        (0x013, "VMEXIT_CR3_WRITE"),
        (0x027, "VMEXIT_DR7_READ"),
        (0x037, "VMEXIT_DR7_WRITE"),
        (0x04D, "VMEXIT_EXCP13"),
        (0x04E, "VMEXIT_EXCP14"),
        (0x060, "VMEXIT_INTR"),
        (0x065, "VMEXIT_CR0_SEL_WRITE"),
        (0x066, "VMEXIT_IDTR_READ"),
        (0x06D, "VMEXIT_TR_WRITE"),
        (0x06E, "VMEXIT_RDTSC"),
        (0x070, "VMEXIT_PUSHF"),
        (0x071, "VMEXIT_POPF"),
        (0x072, "VMEXIT_CPUID"),
        (0x074, "VMEXIT_IRET"),
        (0x075, "VMEXIT_SWINT"),
        (0x078, "VMEXIT_HLT"),
        (0x07B, "VMEXIT_IOIO"),
        (0x07C, "VMEXIT_MSR"),
        (0x07F, "VMEXIT_SHUTDOWN"),
        (0x081, "VMEXIT_VMMCALL"),
        (0x089, "VMEXIT_WBINVD"),
        (0x08D, "VMEXIT_XSETBV"),
        (0x400, "VMEXIT_NPF"),
        (-1, "VMEXIT_INVALID"),
        (2**64 - 1, "VMEXIT_INVALID"),
    ],
)
def test_exit_codes_have_amds_numbers_and_names(code: int, name: str) -> None:
    assert svm.svm_exit(code).name == name


def test_an_unknown_exit_code_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        svm.svm_exit(0x200)


def test_exit_codes_have_no_holes_up_to_the_last_instruction() -> None:
    assert [code for code in range(0x8F) if code not in svm.SVM_EXITS] == []
    assert len({row.name for row in svm.SVM_EXITS.values()}) == len(svm.SVM_EXITS)


def test_titles_of_exception_exits_name_the_exception() -> None:
    assert svm.svm_exit(0x04E).title == "Guest raised an exception: #PF, Page Fault"
    assert svm.svm_exit(0x042).title == "Guest raised an exception: NMI Interrupt"
    assert svm.svm_exit(0x054).title == "Guest raised an exception: vector 20"


@pytest.mark.parametrize(
    ("name", "offset", "bit"),
    [
        ("CR0_READ", 0x000, 0),
        ("CR3_WRITE", 0x000, 19),
        ("DR7_READ", 0x004, 7),
        ("DR7_WRITE", 0x004, 23),
        ("EXCP14", 0x008, 14),
        ("IDTR_READ", 0x00C, 6),
        ("GDTR_READ", 0x00C, 7),
        ("RDTSC", 0x00C, 14),
        ("PUSHF", 0x00C, 16),
        ("POPF", 0x00C, 17),
        ("CPUID", 0x00C, 18),
        ("INTN", 0x00C, 21),
        ("HLT", 0x00C, 24),
        ("INVLPG", 0x00C, 25),
        ("MSR_PROT", 0x00C, 28),
        ("SHUTDOWN", 0x00C, 31),
        ("VMRUN", 0x010, 0),
        ("WBINVD", 0x010, 9),
        ("XSETBV", 0x010, 13),
    ],
)
def test_intercept_bits_are_where_the_vmcb_has_them(name: str, offset: int, bit: int) -> None:
    row = svm.INTERCEPTS[name]
    assert (row.offset, row.bit) == (offset, bit)


def test_no_two_intercepts_share_a_bit_or_an_exit_code() -> None:
    rows = list(svm.INTERCEPTS.values())
    assert len({(row.offset, row.bit) for row in rows}) == len(rows)
    codes = [code for row in rows for code in row.exits]
    assert len(set(codes)) == len(codes)
    assert set(codes) <= set(svm.SVM_EXITS)
    assert all(0 <= row.bit < 32 for row in rows)


def test_only_nested_paging_the_virtual_apic_and_a_bad_vmcb_exit_without_an_intercept() -> None:
    codes = {code for row in svm.INTERCEPTS.values() for code in row.exits}
    assert set(svm.SVM_EXITS) - codes == {0x400, 0x401, 0x402, svm.EXIT_INVALID}


def test_intercept_and_exit_order_agree_within_each_word() -> None:
    # In words 3 and 4 the exit code is 60h plus the bit's place, which is how the manual numbers them.
    for row in svm.INTERCEPTS.values():
        if row.offset in (0x00C, 0x010):
            assert row.exits == (0x60 + (row.offset - 0x00C) * 8 + row.bit,), row.name


CONTROL_OFFSETS = {
    "INTERCEPT_CR": 0x000,
    "INTERCEPT_DR": 0x004,
    "INTERCEPT_EXCEPTIONS": 0x008,
    "INTERCEPT_MISC1": 0x00C,
    "INTERCEPT_MISC2": 0x010,
    "PAUSE_FILTER_THRESHOLD": 0x03C,
    "PAUSE_FILTER_COUNT": 0x03E,
    "IOPM_BASE_PA": 0x040,
    "MSRPM_BASE_PA": 0x048,
    "TSC_OFFSET": 0x050,
    "GUEST_ASID": 0x058,
    "TLB_CONTROL": 0x05C,
    "VINTR_CONTROL": 0x060,
    "V_INTR_VECTOR": 0x064,
    "INTERRUPT_SHADOW": 0x068,
    "EXITCODE": 0x070,
    "EXITINFO1": 0x078,
    "EXITINFO2": 0x080,
    "EXITINTINFO": 0x088,
    "NP_CONTROL": 0x090,
    "EVENTINJ": 0x0A8,
    "N_CR3": 0x0B0,
    "LBR_CONTROL": 0x0B8,
    "VMCB_CLEAN": 0x0C0,
    "nRIP": 0x0C8,
}

# Sizes of everything in the save area in order, gaps as None: an independent way to the same offsets.
SAVE_SEQUENCE: list[tuple[str | None, int]] = [
    *[(name, 16) for name in ("ES", "CS", "SS", "DS", "FS", "GS", "GDTR", "LDTR", "IDTR", "TR")],
    (None, 43),
    ("CPL", 1),
    (None, 4),
    ("EFER", 8),
    (None, 112),
    *[(name, 8) for name in ("CR4", "CR3", "CR0", "DR7", "DR6", "RFLAGS", "RIP")],
    (None, 88),
    ("RSP", 8),
    (None, 24),
    *[
        (name, 8)
        for name in (
            *("RAX", "STAR", "LSTAR", "CSTAR", "SFMASK", "KernelGsBase"),
            *("SYSENTER_CS", "SYSENTER_ESP", "SYSENTER_EIP", "CR2"),
        )
    ],
    (None, 32),
    ("G_PAT", 8),
]


def test_control_area_offsets_are_amds() -> None:
    assert {name: field.offset for name, field in svm.VMCB_CONTROL.items()} == CONTROL_OFFSETS


def test_save_area_offsets_follow_from_the_sizes_before_them() -> None:
    offset = svm.SAVE_AREA_OFFSET
    seen: set[str] = set()
    for name, size_bytes in SAVE_SEQUENCE:
        if size_bytes == 16:
            parts = [svm.VMCB_SAVE[f"{name}.{part}"] for part in ("selector", "attrib", "limit", "base")]
            assert [part.offset - offset for part in parts] == [0, 2, 4, 8]
            assert [part.size_bytes for part in parts] == [2, 2, 4, 8]
            seen.update(part.name for part in parts)
        elif name is not None:
            assert svm.VMCB_SAVE[name].offset == offset, name
            assert svm.VMCB_SAVE[name].size_bytes == size_bytes, name
            seen.add(name)
        offset += size_bytes
    assert seen == set(svm.VMCB_SAVE)


def test_vmcb_fields_do_not_overlap_and_stay_in_their_area() -> None:
    for fields, start, end in (
        (svm.VMCB_CONTROL, 0, svm.SAVE_AREA_OFFSET),
        (svm.VMCB_SAVE, svm.SAVE_AREA_OFFSET, svm.VMCB_SIZE_BYTES),
    ):
        at = start
        for field in fields.values():
            assert field.offset >= at, field.name
            at = field.end
        assert at <= end


def assert_disjoint(fields: Iterable[BitField]) -> None:
    union = 0
    for field in fields:
        assert union & field.mask == 0, field.name
        union |= field.mask


def test_an_injected_event_is_packed_as_amd_says() -> None:
    fields = svm.EVENTINJ_FIELDS
    word = 0
    for name, value in (("VECTOR", 13), ("TYPE", svm.EventType.EXCEPTION), ("EV", 1), ("V", 1), ("ERRORCODE", 8)):
        word = fields[name].put(word, value)
    assert word == 0x0000_0008_8000_0B0D
    for table in (
        svm.EVENTINJ_FIELDS,
        svm.VINTR_FIELDS,
        svm.IOIO_EXITINFO1_FIELDS,
        svm.NPF_EXITINFO1_FIELDS,
        svm.CR_EXITINFO1_FIELDS,
    ):
        assert_disjoint(table.values())


def test_a_port_access_is_described_as_amd_says() -> None:
    fields, info = svm.IOIO_EXITINFO1_FIELDS, 0x03F8_0111  # IN AL, 3F8h with 32-bit addresses
    set_fields = {name for name, field in fields.items() if field.get(info)}
    assert set_fields == {"TYPE", "SZ8", "A32", "PORT"}
    assert fields["PORT"].get(info) == 0x3F8
