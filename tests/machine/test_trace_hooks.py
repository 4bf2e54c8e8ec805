"""The machine code of a traced run is what its source says, and the tables are read backwards as the MMU reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.facts.registers import Efer
from ringviz.machine import trace_hooks
from ringviz.machine.paging import Access, walk
from ringviz.machine.reverse_map import ReverseMap
from tests.machine.guests import NASM, assemble

SOURCE = Path(trace_hooks.__file__).with_suffix(".asm")


@pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")
def test_the_assembled_source_is_the_bytes_that_run(tmp_path: Path) -> None:
    assert assemble(SOURCE.read_text(encoding="ascii"), tmp_path) == trace_hooks._MACHINE_CODE


@pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")
@pytest.mark.parametrize(
    ("label", "offset"), [("access", trace_hooks.ACCESS_OFFSET), ("block", trace_hooks.BLOCK_OFFSET)]
)
def test_each_callback_begins_where_it_is_called(label: str, offset: int, tmp_path: Path) -> None:
    source = SOURCE.read_text(encoding="ascii") + f"\n dd {label} - $$\n"
    assert assemble(source, tmp_path)[-4:] == offset.to_bytes(4, "little")


@pytest.mark.parametrize("is_pae", [False, True])
def test_a_page_read_backwards_leads_to_the_linear_pages_that_lead_to_it(is_pae: bool) -> None:
    memory = bytearray(0x10 << 12)
    size, shift = (8, 21) if is_pae else (4, 22)

    def put(address: int, value: int) -> None:
        memory[address : address + size] = value.to_bytes(size, "little")

    directory = 0x2000 if is_pae else 0x1000
    if is_pae:
        put(0x1020 + 8, 0x2000 | 1)  # the second gigabyte
    put(directory + 5 * size, 0x3000 | 7)
    put(directory + 6 * size, 0x4000 | 3)
    put(directory + 7 * size, 0x83 | 0x40_0000)
    put(directory + 8 * size, 0x3000)  # not present
    for slot, frame, rights in ((0, 9, 7), (3, 9, 3), (4, 10, 7), (5, 11, 6)):
        put(0x3000 + slot * size, frame << 12 | rights)
    put(0x4000 + 2 * size, 9 << 12 | 7)
    cr3, cr4 = (0x1020, 0x20) if is_pae else (0x1000, 0x10)
    first = 1 << 18 if is_pae else 0
    table = first + (5 << shift - 12)

    reverse = ReverseMap(lambda page: bytes(memory[page << 12 : (page + 1) << 12]))
    found = reverse.linear_pages(cr3, cr4, 9, is_user=False)
    assert found == [table, table + 3, first + (6 << shift - 12) + 2]
    assert reverse.linear_pages(cr3, cr4, 9, is_user=True) == [table]
    assert reverse.linear_pages(cr3, cr4, 11, is_user=False) == []
    large = reverse.linear_pages(cr3, cr4, 0x400 + 17, is_user=False)
    assert large == [first + (7 << shift - 12) + 17]
    for linear, page in [(number, 9) for number in found] + [(large[0], 0x400 + 17)]:
        done = walk(
            lambda at, length: int.from_bytes(memory[at : at + length], "little"), 0x8000_0011, cr3, cr4, 0,
            linear << 12, Access(),
        )  # fmt: skip
        assert done.physical == page << 12
    assert reverse.table_pages >= {1, 3, 4}

    put(0x3000 + 4 * size, 9 << 12 | 7)
    assert table + 4 in reverse.linear_pages(cr3, cr4, 9, is_user=True)


@pytest.mark.parametrize("half", [0, 256])
def test_four_levels_are_read_backwards_in_both_halves_of_the_address_space(half: int) -> None:
    memory = bytearray(0x10 << 12)

    def put(address: int, value: int) -> None:
        memory[address : address + 8] = value.to_bytes(8, "little")

    put(0x1000 + (half + 3) * 8, 0x2000 | 7)
    put(0x1000 + (half + 4) * 8, 0x2000 | 3)  # the same once more, for the kernel alone
    put(0x2000 + 5 * 8, 0x3000 | 7)
    put(0x2000 + 6 * 8, 0x83 | 1 << 30)  # 1 GiB
    put(0x3000 + 1 * 8, 0x4000 | 7)
    put(0x3000 + 2 * 8, 0x87 | 0x20_0000)  # 2 MiB
    put(0x4000 + 9 * 8, 9 << 12 | 7 | 1 << 63)
    high = 0xFFFF << 36 if half else 0
    tops = [high | (half + top) << 27 for top in (3, 4)]
    reverse = ReverseMap(lambda page: bytes(memory[page << 12 : (page + 1) << 12]))

    def found(page: int, *, is_user: bool = False) -> list[int]:
        return reverse.linear_pages(0x1000, 0x20, page, is_user=is_user, is_long=True)

    ways = {
        9: [top | 5 << 18 | 1 << 9 | 9 for top in tops],
        0x200 + 17: [top | 5 << 18 | 2 << 9 | 17 for top in tops],
        (1 << 18) + 0x1_2345: [top | 6 << 18 | 0x1_2345 for top in tops],
    }
    for page, linear_pages in ways.items():
        assert sorted(found(page)) == linear_pages
        for linear in linear_pages:
            done = walk(
                lambda at, length: int.from_bytes(memory[at : at + length], "little"), 0x8000_0011, 0x1000, 0x20,
                Efer.LME | Efer.LMA | Efer.NXE, linear << 12, Access(),
            )  # fmt: skip
            assert done.physical == page << 12
    assert found(9, is_user=True) == ways[9][:1]
    assert found((1 << 18) + 1, is_user=True) == []
    assert found(10) == []
