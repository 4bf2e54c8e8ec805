"""The code panel's rows: each with the line of the source that it comes from."""

import pytest

from ringviz.engine.session import Session
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import variant_for


@pytest.mark.parametrize(
    ("scenario", "technique", "files"),
    [
        ("hello-serial", "native", {""}),
        (
            "nano-rdtsc",
            "native",
            {
                "",
                "../common/nano_begin.asm",
                "../common/panic.asm",
                "../common/print.asm",
                "../common/print_decimal.asm",
            },
        ),
        (
            "syscall-roundtrip",
            "paravirt",
            {"../common/meet_hypervisor.asm", "../common/print.asm", "../common/print_decimal.asm"},
        ),
    ],
)
def test_a_row_names_the_line_where_it_stands_in_its_own_file(scenario: str, technique: str, files: set[str]) -> None:
    guest = find_scenario(scenario)
    session = Session(guest, technique)
    session.seek(12)
    source = guest.files(variant_for(technique)).source
    rows = [row for row in session.snapshot().code if row.source_line is not None]
    assert {row.source_file for row in rows} == files
    for row in rows:
        file = source.parent / row.source_file if row.source_file else source
        lines = file.read_text(encoding="utf-8").splitlines()
        assert row.source_line is not None
        assert lines[row.source_line - 1] == row.source_text
