"""Where a machine is, is decided once."""

import multiprocessing
from pathlib import Path

import pytest

from ringviz.errors import MigrationError
from ringviz.vmm.migration.decision import Decision, DecisionRecord, FileRecord, MemoryRecord


@pytest.mark.parametrize("first", Decision)
@pytest.mark.parametrize("is_file", [False, True])
def test_the_first_decision_stands(tmp_path: Path, first: Decision, is_file: bool) -> None:
    record: DecisionRecord = FileRecord(tmp_path / "record") if is_file else MemoryRecord()
    assert record.decide(first) is first
    assert {record.decide(second) for second in Decision} == {first}


def test_two_who_decide_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        said = pool.map(_decide, [(tmp_path / "record", decision) for decision in Decision])
    assert len(set(said)) == 1


def _decide(what: tuple[Path, Decision]) -> Decision:
    path, decision = what
    return FileRecord(path).decide(decision)


def test_only_the_record_is_left_in_the_folder(tmp_path: Path) -> None:
    record = FileRecord(tmp_path / "record")
    record.decide(Decision.MOVED)
    record.decide(Decision.STAYS)
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_record_with_something_else_in_it_is_of_no_use(tmp_path: Path) -> None:
    (tmp_path / "record").write_text("perhaps")
    with pytest.raises(MigrationError, match="of no use"):
        FileRecord(tmp_path / "record").decide(Decision.STAYS)
