"""Virtual-8086 mode as a table: complete for what is sensitive, and cited."""

from __future__ import annotations

from ringviz.facts.instructions import INSTRUCTIONS, SILENT_IDS
from ringviz.facts.virtual_8086 import IN_VIRTUAL_8086, SILENT_IN_VIRTUAL_8086, InVirtual8086


def test_every_silent_instruction_has_a_row_there_and_only_three_stay_silent() -> None:
    assert IN_VIRTUAL_8086.keys() >= SILENT_IDS
    assert IN_VIRTUAL_8086.keys() <= INSTRUCTIONS.keys()
    assert {"smsw", "sgdt", "sidt"} == SILENT_IN_VIRTUAL_8086


def test_the_iopl_sensitive_ones_are_the_manuals_six() -> None:
    sensitive = {row.form for row in IN_VIRTUAL_8086.values() if row.what is InVirtual8086.TRAPS_BY_IOPL}
    assert sensitive == {"cli", "sti", "pushf", "popf", "int", "iret"}


def test_every_row_is_cited() -> None:
    assert all(row.source.section for row in IN_VIRTUAL_8086.values())
