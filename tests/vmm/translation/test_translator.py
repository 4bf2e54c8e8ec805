"""One translation unit at a time: what becomes of which instruction, as bytes that decode to what they should be."""

from __future__ import annotations

import pytest

from ringviz.facts.cost_rows import LOOKUP_INSTRUCTIONS, LOOKUP_LOADS
from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.machine.code_cache import GUEST_INSTRUCTION, IN_CACHE, LOOKUP
from ringviz.vmm.translation import layout
from ringviz.vmm.translation.fragment import Context, Fragment, Way
from ringviz.vmm.translation.translator import MOST_INSTRUCTIONS, translate

EIP, CACHE = 0x10_0F00, layout.CACHE + 0x100
KERNEL = Context(cs_selector=0x08, cs_access=0xC9B, has_wide_stack=True)


def translated(code: bytes, eip: int = EIP, *, context: Context = KERNEL, simulated: tuple[int, ...] = ()) -> Fragment:
    def fetch(at: int) -> tuple[Instruction, tuple[tuple[int, bytes], ...]] | None:
        instruction = decode(code[at - eip :], at, 32) if at >= eip else None
        return None if instruction is None else (instruction, ((at, instruction.raw),))

    fragment = translate(0, context, eip, CACHE, fetch, simulated)
    assert fragment is not None
    return fragment


def texts(fragment: Fragment) -> list[str]:
    """The fragment as a disassembler sees it."""
    found = []
    for place in fragment.places:
        instruction = decode(place.raw, place.address, 32)
        assert instruction is not None
        assert instruction.size == len(place.raw)
        found.append(instruction.text)
    return found


def one_way(code: str) -> Way:
    return translated(bytes.fromhex(code)).units[0].way


@pytest.mark.parametrize(
    ("code", "way"),
    [
        ("01c8", Way.IDENT),  # add eax, ecx
        ("f3a4", Way.IDENT),  # rep movsb
        ("f00fb10b", Way.IDENT),  # lock cmpxchg [ebx], ecx
        ("eb10", Way.BRANCH),
        ("e900000000", Way.BRANCH),
        ("7510", Way.BRANCH),
        ("0f8500000000", Way.BRANCH),
        ("e2fe", Way.BRANCH),  # loop
        ("e800000000", Way.BRANCH),
        ("c3", Way.LOOKUP),
        ("c20800", Way.LOOKUP),
        ("ffe0", Way.LOOKUP),  # jmp eax
        ("ff1403", Way.LOOKUP),  # call [ebx + eax]
        ("fa", Way.IN_CACHE),
        ("fb", Way.IN_CACHE),
        ("9c", Way.IN_CACHE),
        ("0f20c0", Way.IN_CACHE),  # mov eax, cr0
        ("0f01e0", Way.IN_CACHE),  # smsw eax
        ("8cc8", Way.IN_CACHE),  # mov eax, cs
        ("669c", Way.INTERPRET),  # pushfw
        ("9d", Way.INTERPRET),
        ("0f22c0", Way.INTERPRET),  # mov cr0, eax
        ("8ed8", Way.INTERPRET),  # mov ds, eax
        ("cf", Way.INTERPRET),
        ("ee", Way.INTERPRET),
        ("0fa2", Way.INTERPRET),
        ("cd80", Way.IN_PLACE),
        ("65a100000000", Way.IN_PLACE),  # mov eax, gs:[0]
        ("66e90000", Way.IN_PLACE),  # a jump with 16-bit EIP
    ],
)
def test_every_instruction_is_translated_in_its_way(code: str, way: Way) -> None:
    assert one_way(code) is way


def test_innocuous_code_is_translated_identically() -> None:
    code = bytes.fromhex("01c8 31c2 8903 0fb60b c3")
    fragment = translated(code)
    assert b"".join(place.raw for unit in fragment.units[:-1] for place in unit.places) == code[:-1]


def test_a_unit_ends_after_twelve_instructions() -> None:
    fragment = translated(b"\x40" * 40)
    assert len(fragment.units) == MOST_INSTRUCTIONS == 12
    assert texts(fragment)[12:] == [f"jmp {fragment.exits[0].stub_at:#x}", f"call 0xffa1:{EIP + 12:#x}"]


def test_a_unit_does_not_leave_its_page() -> None:
    eip = 0x10_0FFD
    fragment = translated(b"\x40" * 12, eip)
    assert [unit.instruction.address for unit in fragment.units] == [eip, eip + 1, eip + 2]
    assert fragment.exits[0].eip == 0x10_1000


def test_cli_becomes_a_store_to_the_virtual_if() -> None:
    unit = translated(b"\xfa").units[0]
    assert [place.raw for place in unit.places] == [bytes.fromhex("65c705 00000000 00000000")]
    assert unit.places[0].may_reach
    assert unit.places[0].weight == GUEST_INSTRUCTION + IN_CACHE


def test_a_conditional_jump_leads_to_two_stubs_until_it_is_chained() -> None:
    fragment = translated(bytes.fromhex("7510"))  # jne +10h
    taken, straight = fragment.exits
    assert (taken.eip, straight.eip) == (EIP + 0x12, EIP + 2)
    assert texts(fragment) == [
        f"jne {taken.stub_at:#x}",
        f"jmp {straight.stub_at:#x}",
        f"call 0xffa1:{taken.eip:#x}",
        f"call 0xffa1:{straight.eip:#x}",
    ]


def test_a_loop_jumps_over_one_jump_to_another() -> None:
    fragment = translated(bytes.fromhex("e2fe"))
    loop, over, back = fragment.places[:3]
    instruction = decode(loop.raw, loop.address, 32)
    assert instruction is not None
    assert instruction.ops[0].value == back.address
    assert (over.eip, back.eip) == (EIP + 2, EIP)


def test_a_call_pushes_the_guests_return_address_and_not_the_cache_s() -> None:
    fragment = translated(bytes.fromhex("e810000000"))
    assert texts(fragment)[0] == f"push {EIP + 5:#x}"
    assert fragment.exits[0].eip == EIP + 0x15


def test_a_return_looks_its_target_up_without_touching_a_flag() -> None:
    fragment = translated(b"\xc3")
    mnemonics = {text.split()[0] for text in texts(fragment)}
    assert mnemonics == {"mov", "pop", "movzx", "lea", "jecxz", "call", "jmp"}
    assert fragment.units[0].places[0].weight == GUEST_INSTRUCTION + LOOKUP
    assert sum(place.weight for place in fragment.places) == GUEST_INSTRUCTION + LOOKUP


def test_every_guest_instruction_is_counted_once() -> None:
    fragment = translated(bytes.fromhex("01c8 fa 9c 0f20c0 ff2403"))
    assert sum(place.weight & 0xFFFF for place in fragment.places) == len(fragment.units) == 5
    for unit in fragment.units:
        assert unit.places[0].weight & GUEST_INSTRUCTION
        assert not any(place.weight for place in unit.places[1:])


def test_only_the_translators_own_instructions_may_reach_its_memory() -> None:
    fragment = translated(bytes.fromhex("01c8 8b03 9c ff2403"))
    for place in fragment.places:
        assert place.may_reach is place.raw.startswith((b"\x65", b"\x66\x65"))


def test_an_instruction_that_kept_trapping_becomes_a_callout() -> None:
    fragment = translated(bytes.fromhex("8903 40"), simulated=(EIP,))
    assert [unit.way for unit in fragment.units] == [Way.SIMULATE, Way.IDENT]


def test_a_narrow_stack_is_left_to_the_vmm() -> None:
    narrow = Context(0x08, 0xC9B, has_wide_stack=False)
    assert translated(b"\x9c", context=narrow).units[0].way is Way.INTERPRET
    assert translated(bytes.fromhex("c20800"), context=narrow).units[0].way is Way.IN_PLACE


def test_nothing_comes_of_what_is_no_instruction() -> None:
    assert translate(0, KERNEL, EIP, CACHE, lambda at: None, ()) is None


def test_a_return_is_looked_up_by_as_many_instructions_and_loads_as_its_price_counts() -> None:
    (unit,) = translated(b"\xc3").units
    run = [decode(place.raw, place.address, 32) for place in unit.places if not place.is_miss]
    assert len(run) == LOOKUP_INSTRUCTIONS
    loads = [
        one
        for one in run
        if one is not None
        and (one.mnemonic == "pop" or (one.mnemonic != "lea" and any(o.kind == "mem" and o.is_read for o in one.ops)))
    ]
    assert len(loads) == LOOKUP_LOADS
