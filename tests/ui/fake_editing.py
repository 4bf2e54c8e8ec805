"""Editing without assembler and emulator: one small source, which is refused where it says `bad`."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ringviz.engine.source_lines import LineBytes, SourceLines
from ringviz.errors import AssemblyError, Complaint, ToolError
from ringviz.guest.scenario import Scenario, load_scenario
from ringviz.record.workbench import Workbench
from ringviz.ui.laboratory import Cancelled, Group, Sitting, Source
from tests.guest.folders import TOML
from tests.ui.fake import FakeGroup, FakeSession

MAIN = "guest.asm"
INNER = "putc.inc"
TEXT = """\
; a guest of a few lines: [ebx] is no markup
bits 32
start:
    mov eax, cr0            ; is protection on?
    mov esi, message
.next:
    lodsb                   ; walks upwards
    call putc
    test al, al
    jnz .next
    hlt
message: db "hello", 10, 0
%include "putc.inc"
"""
INNER_TEXT = "putc:\n    out 0xE9, al\n    ret\n"


def fake_scenario(parent: Path) -> Scenario:
    folder = parent / "popf-hole"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "scenario.toml").write_text(TOML, encoding="utf-8")
        (folder / MAIN).write_text(TEXT, encoding="utf-8")
        (folder / INNER).write_text(INNER_TEXT, encoding="utf-8")
        (folder / "guest.bin").write_bytes(b"\xf4")
    return load_scenario(folder)


class FakeEditing:
    """Remembers what it was asked to run."""

    def __init__(self, parent: Path, *, has_nasm: bool = True) -> None:
        self.scenario = fake_scenario(parent)
        self.edits = parent / "edits"
        self.has_nasm = has_nasm
        self.ran: list[tuple[Mapping[str, str], str | None]] = []

    def source(self, sitting: Sitting) -> Source:
        return Source(Workbench(self.scenario, self.edits), self.lines(sitting))

    def edited(self, sitting: Sitting, bench: Workbench, texts: Mapping[str, str], technique: str | None) -> Sitting:
        if not self.has_nasm:
            raise ToolError("nasm not found; get it with: apt-get install nasm")
        rows = [
            Complaint(name, number, "error: symbol [bad] undefined", True)
            for name, text in texts.items()
            for number, line in enumerate(text.split("\n"), 1)
            if "bad" in line
        ]
        if rows:
            raise AssemblyError(f"{rows[0].file}, line {rows[0].number}: {rows[0].text}", tuple(rows))
        self.ran.append((dict(texts), technique))
        return FakeSession(technique or "trap-emulate")

    def beside(self, sitting: Sitting, edited: Sitting, cancelled: Cancelled) -> Group:
        return cast(Group, FakeGroup(cast(FakeSession, sitting), ("trap-emulate", "trap-emulate"), is_edit=True))

    def lines(self, sitting: Sitting) -> SourceLines:
        texts = {MAIN: tuple(TEXT.split("\n")), INNER: tuple(INNER_TEXT.split("\n"))}
        code = {
            (MAIN, 3): (LineBytes(0x100041, 3),),
            (MAIN, 6): (LineBytes(0x100049, 1),),
            (INNER, 1): (LineBytes(0x100060, 2),),
        }
        return SourceLines(texts, code, (MAIN, 6), is_edited=False)

    def place_name(self, sitting: Sitting) -> str:
        return "popf-hole"
