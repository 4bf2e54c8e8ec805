"""What every short guest must keep to, so that a VMM can shadow its tables page by page; teachos has its own tests."""

import pytest

from ringviz.guest import Scenario, SourceMap, load_image, load_source_map
from ringviz.guest.decode import decode
from tests.short_scenarios import SHORT

PAGE_BYTES = 4096
DESCRIPTOR_BYTES = 8
TABLES = ("gdt", "idt", "tss")
GUESTS = [scenario for scenario in SHORT if load_source_map(scenario).address_of("gdt") is not None]
every_guest = pytest.mark.parametrize("guest", GUESTS, ids=lambda scenario: scenario.id)


def page_of(address: int) -> int:
    return address // PAGE_BYTES


def line_pages(source_map: SourceMap, is_code: bool) -> set[int]:
    """Pages that hold lines of code, or everything else but padding."""
    first_data_line = source_map.source.index("align 4096, db 0") + 1
    return {
        page_of(line.address)
        for line in source_map.lines
        if (line.number < first_data_line) is is_code and not source_map.source[line.number - 1].startswith("align")
    }


@every_guest
def test_code_and_data_never_share_a_page(guest: Scenario) -> None:
    source_map = load_source_map(guest)
    code, data = line_pages(source_map, is_code=True), line_pages(source_map, is_code=False)
    assert code
    assert data
    assert not code & data


@every_guest
def test_each_table_has_a_page_of_its_own(guest: Scenario) -> None:
    source_map = load_source_map(guest)
    for name in TABLES:
        address = source_map.address_of(name)
        if address is None:
            continue
        assert address % PAGE_BYTES == 0
        labels = {symbol.name for symbol in source_map.symbols if page_of(symbol.address) == page_of(address)}
        assert labels <= {name, f"{name}_end", "image_end"}


@every_guest
def test_every_segment_descriptor_has_been_accessed_already(guest: Scenario) -> None:
    source_map = load_source_map(guest)
    base, content = load_image(guest).segments[0]
    start, end = source_map.address_of("gdt"), source_map.address_of("gdt_end")
    assert start is not None
    assert end is not None
    kinds = set()
    for address in range(start, end, DESCRIPTOR_BYTES):
        access_byte = content[address - base + 5]
        is_code_or_data = access_byte & 0x10
        if is_code_or_data:
            assert access_byte & 1, f"descriptor 0x{address - start:02X}"
            kinds.add(access_byte)
    assert {0x9B, 0x93} <= kinds


@every_guest
def test_stacks_lie_in_zeroed_memory_away_from_the_image(guest: Scenario) -> None:
    source_map = load_source_map(guest)
    (zeroed_from, size), *_ = load_image(guest).zeroed
    tops = [symbol.address for symbol in source_map.symbols if symbol.name.endswith("stack_top")]
    assert tops
    for top in tops:
        assert page_of(zeroed_from) < page_of(top - 1)
        assert top <= zeroed_from + size


@every_guest
def test_the_entry_is_the_label_start(guest: Scenario) -> None:
    assert load_source_map(guest).symbol_at(load_image(guest).entry) == ("start", 0)


def _forms(guest: Scenario) -> set[str]:
    source_map = load_source_map(guest)
    base, content = load_image(guest).segments[0]
    code = [line for line in source_map.lines if page_of(line.address) in line_pages(source_map, is_code=True)]
    decoded = (decode(content[line.address - base :][:15], line.address) for line in code)
    return {instruction.form for instruction in decoded if instruction is not None and instruction.form is not None}


@pytest.mark.parametrize(
    ("guest_id", "forms"),
    [
        ("hello-serial", {"in", "out", "lgdt", "jmp-far"}),
        ("rings-tour", {"cli", "hlt", "in", "mov-to-cr", "lgdt", "int", "iret", "ltr"}),
        ("syscall-roundtrip", {"int", "iret", "ltr"}),
        (
            "popf-hole",
            {"pushf", "popf", "cli", "sti", "sidt", "sgdt", "smsw", "sldt", "str", "mov-from-sreg", "push-sreg"}
            | {"lar", "lsl", "verr", "verw"},
        ),
        (
            "sensitive-17",
            {"sgdt", "sidt", "sldt", "smsw", "pushf", "popf", "lar", "lsl", "verr", "verw", "pop-sreg", "push-sreg"}
            | {"call-far", "jmp-far", "int", "ret-far", "str", "mov-from-sreg", "mov-to-sreg"},
        ),
        ("cpuid-loop", {"cpuid"}),
        ("hypercall-ping", {"vmcall", "vmmcall", "cpuid", "int", "iret"}),
        ("self-modifying", {"int", "iret"}),
        ("escape-attempts", {"in", "out", "rdmsr", "wrmsr", "vmxon", "vmlaunch", "vmrun", "clgi", "sidt", "sgdt"}),
        ("divzero-and-friends", {"int", "int3", "into", "mov-to-sreg", "pushf", "popf", "iret", "cli"}),
        (
            "msr-and-cr",
            {"mov-to-cr", "mov-from-cr", "clts", "lmsw", "smsw", "mov-to-dr", "mov-from-dr", "rdmsr", "wrmsr", "rdtsc"},
        ),
        ("paging-tour", {"mov-to-cr", "mov-from-cr", "invlpg", "int", "iret"}),
        ("nano-syscall", {"sysenter", "sysexit", "wrmsr"}),
        ("nano-in", {"in"}),
        ("nano-cr8wr", {"cli", "sti"}),
        ("nano-rdtsc", {"rdtsc"}),
        ("nano-divzero", {"iret", "int"}),
        ("nano-pgfault", {"iret", "int", "mov-from-cr"}),
        ("nano-ptemod", {"mov-to-cr"}),
    ],
)
def test_a_guest_executes_the_instructions_it_is_about(guest_id: str, forms: set[str]) -> None:
    (guest,) = (scenario for scenario in GUESTS if scenario.id == guest_id)
    assert forms <= _forms(guest)
