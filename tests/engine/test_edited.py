"""An edited guest beside the original: where they part is found to the instruction."""

from pathlib import Path

import pytest

from ringviz.engine.edited import EditedGroup, on_the_same_machine
from ringviz.engine.session import Session
from ringviz.engine.source_lines import source_lines
from ringviz.guest.scenario import find_scenario
from ringviz.record.workbench import Workbench
from tests.guest.test_build import needs_nasm

pytestmark = needs_nasm


def group(tmp_path: Path, scenario: str, old: str, new: str, technique: str = "native", at: int = 0) -> EditedGroup:
    mine = Workbench(find_scenario(scenario), tmp_path)
    text = mine.originals["guest.asm"]
    assert old in text
    session = Session(mine.scenario, technique)
    session.seek(at)
    return EditedGroup(session, on_the_same_machine(session, mine.build({"guest.asm": text.replace(old, new, 1)})))


def quiet(what: str, done: int, limit: int | None) -> None:
    """Hear of nothing."""


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "paravirt"])
def test_they_part_at_the_first_letter_that_is_read_then_in_print(tmp_path: Path, technique: str) -> None:
    moved = group(tmp_path, "popf-hole", "What a kernel sees", "What a Kernel sees", technique)
    assert moved.view().divergence == ""
    assert moved.next_divergence(quiet)
    view = moved.view()
    assert "in your edit" in view.divergence
    assert "4B" in view.divergence
    assert {r.name for r in view.columns[1].registers if r.differs} == {"EAX"}
    first = moved.position
    moved.back()
    assert moved.view().columns[1].differences == 0
    moved.step()
    assert moved.next_divergence(quiet)
    assert moved.position > first
    assert moved.view().divergence == "your edit prints 'Kernel sees ', where the original prints 'kernel sees '"
    assert moved.view().columns[1].console_differs
    moved.back()
    assert not moved.view().columns[1].console_differs
    # Behind the last place comes the first again.
    moved.step()
    assert moved.next_divergence(quiet)
    assert moved.position == first


def test_an_instruction_more_is_where_they_part_and_one_step_more_to_the_end(tmp_path: Path) -> None:
    moved = group(tmp_path, "hello-serial", "start:\n", "start:\n    nop\n", at=30)
    assert moved.next_divergence(quiet)
    assert moved.position == 0
    assert moved.view().divergence.startswith("next comes nop at 00100020 in your edit, mov esp, 0x104000 at 00100020")
    moved.next_divergence(quiet)
    alone = Session(find_scenario("hello-serial"))
    alone.run()
    assert alone.end is not None
    assert moved.position == alone.end
    assert f"your edit at step {alone.end + 1:,} (exit)" in moved.view().divergence


def test_a_comment_changes_nothing(tmp_path: Path) -> None:
    moved = group(tmp_path, "hello-serial", "start:\n", "start: ; here\n")
    assert not moved.next_divergence(quiet)
    assert moved.view().is_edit
    assert [column.title.split(" · ")[0] for column in moved.view().columns] == ["The original", "Your edit"]


def test_in_a_long_run_a_difference_that_leaves_no_trace_is_found_all_the_same(tmp_path: Path) -> None:
    # Far behind the stretch that is compared step by step, EDX is another for two instructions.
    old = "; ---- "
    mine = Workbench(find_scenario("hello-serial"), tmp_path)
    assert old in mine.originals["guest.asm"]
    loop = "start:\n    mov ecx, {count}\n.wait:\n    dec ecx\n    jnz .wait\n    mov edx, {value}\n    xor edx, edx\n"
    texts = [
        {"guest.asm": mine.originals["guest.asm"].replace("start:\n", loop.format(count=6_000, value=value), 1)}
        for value in (1, 2)
    ]
    one, other = (mine.build(text) for text in texts)
    session = Session(one)
    moved = EditedGroup(session, on_the_same_machine(session, other))
    assert moved.next_divergence(quiet)
    assert moved.position == 1 + 2 * 6_000
    assert "mov edx, 2" in moved.view().divergence


def test_lines_of_the_source_are_told_file_by_file(tmp_path: Path) -> None:
    mine = Workbench(find_scenario("forkwait"), tmp_path)
    session = Session(mine.scenario)
    lines = source_lines(session)
    assert set(lines.texts) == {"guest.asm", "../teachos/guest.asm"}
    assert lines.current is not None
    file, row = lines.current
    assert file == "../teachos/guest.asm"
    assert [part.address for part in lines.code[file, row]] == [session.cpu_state(is_real=False).eip]
    assert "\n".join(lines.texts[file]) == mine.originals[file].rstrip("\n")
    edited = source_lines(Session(mine.build()), mine.names_in_builds())
    assert (edited.current, edited.code) == (lines.current, lines.code)
    assert edited.is_edited
