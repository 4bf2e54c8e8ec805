"""Decoding: every form from its bytes, and the answers where Capstone's own are not to be trusted."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.facts.instructions import INSTRUCTIONS
from ringviz.guest import Operand, Scenario, load_image, load_source_map
from ringviz.guest.decode import decode
from ringviz.guest.forms import FORMS
from tests.short_scenarios import SHORT

FORM_EXAMPLES = {
    "cli": "fa",
    "sti": "fb",
    "hlt": "f4",
    "lgdt": "0f0110",
    "lidt": "0f011d00100000",
    "lldt": "0f00d0",
    "ltr": "0f00d8",
    "lmsw": "0f01f0",
    "clts": "0f06",
    "mov-to-cr": "0f22c0 0f22d8 0f22e0",
    "mov-from-cr": "0f20c0 0f20d0 0f20d8",
    "mov-to-dr": "0f23f8",
    "mov-from-dr": "0f21f8",
    "invlpg": "0f0138",
    "invd": "0f08",
    "wbinvd": "0f09",
    "rdmsr": "0f32",
    "wrmsr": "0f30",
    "rdpmc": "0f33",
    "rdtsc": "0f31",
    "rdtscp": "0f01f9",
    "in": "e460 e560 ec ed 66ed",
    "out": "e660 e760 ee ef 66ef",
    "ins": "6c 6d 666d f36c f36d",
    "outs": "6e 6f 666f f36e f36f",
    "sysexit": "0f35",
    "sysret": "0f07",
    "rsm": "0faa",
    "monitor": "0f01c8",
    "mwait": "0f01c9",
    "xsetbv": "0f01d1",
    "vmrun": "0f01d8",
    "vmload": "0f01da",
    "vmsave": "0f01db",
    "stgi": "0f01dc",
    "clgi": "0f01dd",
    "skinit": "0f01de",
    "invlpga": "0f01df",
    "vmmcall": "0f01d9",
    "vmcall": "0f01c1",
    "vmxon": "f30fc730",
    "vmxoff": "0f01c4",
    "vmlaunch": "0f01c2",
    "vmresume": "0f01c3",
    "vmread": "0f78c0",
    "vmwrite": "0f79c0",
    "vmclear": "660fc730",
    "vmptrld": "0fc730",
    "vmptrst": "0fc738",
    "sgdt": "0f0100",
    "sidt": "0f0108",
    "sldt": "0f00c0 660f00c0 0f0000",
    "smsw": "0f01e0 660f01e0 0f0120",
    "str": "0f00c8 660f00c8 0f0008",
    "pushf": "9c 669c",
    "popf": "9d 669d",
    "lar": "0f02c3 660f0203",
    "lsl": "0f03c3",
    "verr": "0f00e0 0f0020",
    "verw": "0f00e8",
    "push-sreg": "0e 16 1e 06 0fa0 0fa8 660e",
    "pop-sreg": "17 1f 07 0fa1 0fa9",
    "mov-from-sreg": "8cc8 668cc8 8c18",
    "mov-to-sreg": "8ed8 668ed8 8e18 8ed0",
    "load-far-pointer": "c500 c400 0fb200 0fb400 0fb500",
    "call-far": "9a785634120800 ff18 66ff18",
    "jmp-far": "ea785634120800 ff28 66ff28",
    "ret-far": "cb ca0400 66cb",
    "iret": "cf 66cf",
    "int": "cd80 cd03",
    "int3": "cc",
    "into": "ce",
    "int1": "f1",
    "syscall": "0f05",
    "sysenter": "0f34",
    "cpuid": "0fa2",
    "rdrand": "0fc7f0",
    "rdseed": "0fc7f8",
    "ud2": "0f0b",
}
FORM_EXAMPLES_64 = {
    "swapgs": "0f01f8",
    "clac": "0f01ca",
    "stac": "0f01cb",
    "sysret": "480f07",
    "sysexit": "480f35",
    "iret": "48cf",
    "pushf": "9c",
    "popf": "9d",
    "ret-far": "48cb",
    "jmp-far": "48ff28",
    "mov-to-cr": "440f22c0",
}
EXAMPLES = [
    (form, text, bits)
    for table, bits in ((FORM_EXAMPLES, 32), (FORM_EXAMPLES_64, 64))
    for form, texts in table.items()
    for text in texts.split()
]


@pytest.mark.parametrize(("form", "code", "bits"), EXAMPLES)
def test_a_form_is_told_from_its_bytes(form: str, code: str, bits: int) -> None:
    raw = bytes.fromhex(code)
    instruction = decode(raw + b"\x90" * 4, 0x1000, bits)
    assert instruction is not None
    assert (instruction.form, instruction.raw, instruction.size) == (form, raw, len(raw))


def test_every_form_has_an_example() -> None:
    assert {form for form, _, _ in EXAMPLES} == FORMS


def test_forms_and_facts_use_the_same_ids() -> None:
    assert set(INSTRUCTIONS) == FORMS


@pytest.mark.parametrize(
    "code", ["90", "f390", "8903", "8b03", "50", "58", "e800000000", "ffd0", "ffe0", "c3", "0f01d0", "f00fc70b"]
)
def test_an_ordinary_instruction_has_no_form(code: str) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000)
    assert instruction is not None
    assert instruction.form is None


@pytest.mark.parametrize("code", ["", "ff", "ffff", "0f", "f0fa", "b8000000", "66" * 15 + "90"])
def test_bytes_that_are_no_instruction_give_none(code: str) -> None:
    assert decode(bytes.fromhex(code), 0x1000) is None


def only(code: str, bits: int = 32) -> tuple[Operand, ...]:
    instruction = decode(bytes.fromhex(code), 0x1000, bits)
    assert instruction is not None
    return instruction.ops


def test_port_operands_are_explicit() -> None:
    assert only("e460") == (
        Operand("reg", 1, is_read=False, is_written=True, register="al"),
        Operand("imm", 1, is_read=True, is_written=False, value=0x60),
    )
    assert [(op.register, op.size_bytes, op.is_read, op.is_written) for op in only("66ef")] == [
        ("dx", 2, True, False),
        ("ax", 2, True, False),
    ]


def test_a_memory_operand_has_all_its_parts() -> None:
    assert only("658b848b78563412")[1] == Operand(
        "mem",
        4,
        is_read=True,
        is_written=False,
        segment="gs",
        base="ebx",
        index="ecx",
        scale=4,
        displacement=0x12345678,
    )
    assert only("8b43fc")[1].displacement == -4


@pytest.mark.parametrize(
    ("code", "bits", "segments"),
    [
        ("8b03", 32, ["ds"]),
        ("8b4500", 32, ["ss"]),
        ("8b0424", 32, ["ss"]),
        ("3e8b4500", 32, ["ds"]),
        ("a300100000", 32, ["ds"]),
        ("8b4600", 16, ["ss"]),
        ("8b07", 16, ["ds"]),
        ("a4", 32, ["es", "ds"]),
        ("64a4", 32, ["es", "fs"]),
        ("6e", 32, ["ds"]),
        ("2e0f0110", 32, ["cs"]),
    ],
)
def test_the_segment_of_an_access_is_the_real_one(code: str, bits: int, segments: list[str]) -> None:
    assert [op.segment for op in only(code, bits) if op.kind == "mem"] == segments


@pytest.mark.parametrize(
    ("code", "size_bytes"),
    [("ff18", 6), ("66ff18", 4), ("ff28", 6), ("c500", 6), ("0fb200", 6), ("0f0110", 6), ("0f0100", 6), ("0f0138", 1)],
)
def test_far_pointers_and_table_registers_have_their_true_size(code: str, size_bytes: int) -> None:
    assert [op.size_bytes for op in only(code) if op.kind == "mem"] == [size_bytes]


ACCESSES = {
    "8903": "w",
    "8b03": "r",
    "0103": "rw",
    "3903": "r",
    "8503": "r",
    "f60301": "r",
    "8d03": "",
    "0f1f00": "",
    "0f0138": "",
    "0f1803": "",
    "0f9403": "w",
    "0f9703": "w",
    "0fb10b": "rw",
    "0fc70b": "rw",
    "0fc10b": "rw",
    "870b": "rw",
    "0fa303": "r",
    "0fab03": "rw",
    "ff33": "r",
    "8f03": "w",
    "ff13": "r",
    "ff1b": "r",
    "d103": "rw",
    "0f1103": "w",
    "0f1003": "r",
    "0f2903": "w",
    "0f7f03": "w",
    "660fd603": "w",
    "d913": "w",
    "dd1b": "w",
    "df33": "w",
    "db3b": "w",
    "d93b": "w",
    "d92b": "r",
    "0fae03": "w",
    "0fae0b": "r",
    "0fae1b": "w",
    "0f0103": "w",
    "0f0113": "r",
    "0f0003": "w",
    "0f0123": "w",
    "8c1b": "w",
    "8e1b": "r",
    "6c": "w",
    "6e": "r",
    "aa": "w",
    "ac": "r",
    "ae": "r",
}


@pytest.mark.parametrize(("code", "access"), ACCESSES.items())
def test_what_an_instruction_does_to_its_memory_operand(code: str, access: str) -> None:
    (operand,) = (op for op in only(code) if op.kind == "mem")
    assert ("r" if operand.is_read else "") + ("w" if operand.is_written else "") == access


@pytest.mark.parametrize(
    "code", ["a4", "f3a4", "f3ab", "6c", "50", "6a00", "9c", "0e", "60", "e800000000", "ff18", "c8000000"]
)
def test_stores_to_memory_and_to_the_stack_count_as_writes(code: str) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000)
    assert instruction is not None
    assert instruction.writes_memory


@pytest.mark.parametrize("code", ["90", "8b03", "58", "9d", "c3", "cf", "cd80", "6e", "a6", "ae", "8503", "0f0138"])
def test_reads_and_what_the_cpu_itself_pushes_do_not(code: str) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000)
    assert instruction is not None
    assert not instruction.writes_memory


BRANCHES = "ebfe 74fe e2fe e3fe e800000000 ffd0 ff20 ff18 c3 c20400 cb cf cd80 cc ce f1 f4 0f34 0f35 0f05 0f07 0f0b"


@pytest.mark.parametrize("code", [*BRANCHES.split(), "0f01d8", "0f01d9", "0f01c1", "0faa"])
def test_what_ends_a_block(code: str) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000)
    assert instruction is not None
    assert instruction.is_branch


@pytest.mark.parametrize("code", ["90", "fa", "fb", "ec", "0f22c0", "9d", "f3a4", "0f0138", "8ed0", "0f44c3", "0f94c0"])
def test_what_does_not_end_a_block(code: str) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000)
    assert instruction is not None
    assert not instruction.is_branch


@pytest.mark.parametrize(
    ("code", "rep", "is_string"),
    [
        ("a4", None, True),
        ("f3a4", "rep", True),
        ("f2a5", "repne", True),  # Capstone does not tell this one from MOVSD alone
        ("66f2aa", "repne", True),
        ("f3a6", "rep", True),
        ("f2ae", "repne", True),
        ("f36d", "rep", True),
        ("f3c3", None, False),
        ("f390", None, False),
        ("f20f1003", None, False),
        ("f30fc730", None, False),
    ],
)
def test_a_repeat_prefix_counts_only_on_string_instructions(code: str, rep: str | None, is_string: bool) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000)
    assert instruction is not None
    assert (instruction.rep, instruction.is_string, instruction.is_rep_string) == (rep, is_string, rep is not None)


@pytest.mark.parametrize(
    ("code", "mnemonic"), [("f3a5", "rep movsd"), ("f2a5", "repne movsd"), ("f2a6", "repne cmpsb"), ("a5", "movsd")]
)
def test_a_repeat_prefix_is_always_written_down(code: str, mnemonic: str) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000)
    assert instruction is not None
    assert instruction.mnemonic == mnemonic


@pytest.mark.parametrize(
    ("code", "bits", "operand_size", "address_size"),
    [
        ("9c", 16, 16, 16),
        ("669c", 16, 32, 16),
        ("9c", 32, 32, 32),
        ("669c", 32, 16, 32),
        ("67668907", 32, 16, 16),
        ("48cf", 64, 64, 64),
        ("66482bc0", 64, 64, 64),
    ],
)
def test_operand_and_address_size(code: str, bits: int, operand_size: int, address_size: int) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000, bits)
    assert instruction is not None
    assert (instruction.operand_size_bits, instruction.address_size_bits) == (operand_size, address_size)


@pytest.mark.parametrize(("code", "bits"), [("66a5", 16), ("a5", 32), ("48a5", 64)])
def test_a_string_instruction_may_be_wider_than_the_code_segment(code: str, bits: int) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000, bits)
    assert instruction is not None
    assert instruction.is_string


def test_lock_is_seen_wherever_it_stands() -> None:
    for code, has_lock in (("f0ff00", True), ("66f0870b", True), ("f066870b", True), ("870b", False)):
        instruction = decode(bytes.fromhex(code), 0x1000)
        assert instruction is not None
        assert instruction.has_lock is has_lock


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("0f22c0", "mov cr0, eax"),
        ("ff18", "call far ptr [eax]"),
        ("66ff28", "jmp far ptr [eax]"),
        ("ea785634120800", "jmp 8:0x12345678"),
        ("9a785634120800", "call 8:0x12345678"),
        ("f3a4", "rep movsb byte ptr es:[edi], byte ptr [esi]"),
        ("ebfe", "jmp 0x1000"),
        ("fa", "cli"),
    ],
)
def test_an_instruction_reads_as_intel_writes_it(code: str, text: str) -> None:
    instruction = decode(bytes.fromhex(code), 0x1000)
    assert instruction is not None
    assert instruction.text == text


def test_decoding_the_same_bytes_again_gives_the_same_object() -> None:
    assert decode(b"\x0f\x22\xc0", 0x1234) is decode(b"\x0f\x22\xc0", 0x1234)
    assert decode(b"\x0f\x22\xc0", 0x1234) is not decode(b"\x0f\x22\xc0", 0x1235)


def test_threads_may_decode_at_the_same_time() -> None:
    def decode_all(first_address: int) -> list[str]:
        decoded = (decode(bytes.fromhex(code), first_address + index) for index, (_, code, _) in enumerate(examples))
        return [instruction.form or "" for instruction in decoded if instruction is not None]

    examples = [example for example in EXAMPLES if example[2] == 32] * 20
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(decode_all, range(0x10000, 0x90000, 0x20000)))
    assert results == [[form for form, _, _ in examples]] * 4


@given(st.binary(max_size=20), st.integers(0, 0xFFFFFFFF), st.sampled_from([16, 32, 64]))
def test_any_bytes_decode_to_a_sound_instruction_or_none(code: bytes, address: int, bits: int) -> None:
    instruction = decode(code, address, bits)
    if instruction is None:
        return
    assert 1 <= instruction.size <= 15
    assert code.startswith(instruction.raw)
    assert instruction.next_address == address + instruction.size
    assert instruction.form is None or instruction.form in FORMS
    assert instruction.text.isprintable()
    for operand in instruction.ops:
        assert (operand.register is not None) == (operand.kind == "reg")
        assert (operand.value is not None) == (operand.kind == "imm")
        assert (operand.segment is not None) == (operand.kind == "mem")


NOT_INSTRUCTIONS = {"align", "dd", "%endrep"}
FIRST_DATA_LINE = "align 4096, db 0"


@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.id)
def test_every_code_line_of_a_guest_decodes_to_what_nasm_assembled(scenario: Scenario) -> None:
    source_map = load_source_map(scenario)
    base, content = load_image(scenario).segments[0]
    code_lines = source_map.source[: source_map.source.index(FIRST_DATA_LINE)]
    checked = 0
    macros = {line.split()[1] for line in source_map.source if line.startswith("%macro")}
    for line in source_map.lines:
        if line.number > len(code_lines) or code_lines[line.number - 1].split()[0] in NOT_INSTRUCTIONS | macros:
            continue
        instruction = decode(content[line.address - base :][:15], line.address)
        assert instruction is not None
        assert instruction.size == line.size_bytes, code_lines[line.number - 1]
        checked += 1
    assert checked > 30
