"""The callbacks' machine code is what its source says."""

from pathlib import Path

import pytest

from ringviz.machine import native_hooks
from tests.machine.guests import NASM, assemble

SOURCE = Path(native_hooks.__file__).with_suffix(".asm")


@pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")
def test_the_assembled_source_is_the_bytes_that_run(tmp_path: Path) -> None:
    assert assemble(SOURCE.read_text(encoding="ascii"), tmp_path) == native_hooks._MACHINE_CODE


@pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")
@pytest.mark.parametrize(
    ("label", "offset"),
    [
        ("block", native_hooks.BLOCK_OFFSET),
        ("code", native_hooks.CODE_OFFSET),
        ("interrupt", native_hooks.INTERRUPT_OFFSET),
        ("memory", native_hooks.MEMORY_OFFSET),
        ("gate", native_hooks.GATE_OFFSET),
        ("step", native_hooks.STEP_OFFSET),
    ],
)
def test_each_callback_begins_where_it_is_called(label: str, offset: int, tmp_path: Path) -> None:
    source = SOURCE.read_text(encoding="ascii") + f"\n dd {label} - $$\n"
    assert assemble(source, tmp_path)[-4:] == offset.to_bytes(4, "little")
