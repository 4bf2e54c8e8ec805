"""What a learner has done is kept, and nothing that is in the file is ever lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.errors import InputError
from ringviz.lessons.progress import Progress


def test_progress_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    progress = Progress.load(tmp_path / "deep" / "progress.json")
    done = progress.of("where-am-i")
    done.page, done.is_read, done.best_percent, done.is_passed = 3, True, 80, True
    done.answers["cpl-place"] = "a"
    progress.save()
    again = Progress.load(progress.path)
    assert again.lessons == progress.lessons
    assert again.complaint == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "lessons": {"x": {"page": "y"}}}'])
def test_a_file_that_makes_no_sense_is_set_aside_with_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "progress.json"
    path.write_text(text, encoding="utf-8")
    progress = Progress.load(path)
    assert progress.lessons == {}
    assert "progress.damaged.json" in progress.complaint
    assert "\n" not in progress.complaint
    assert (tmp_path / "progress.damaged.json").read_text(encoding="utf-8") == text
    progress.save()
    assert Progress.load(path).complaint == ""


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="the progress of lessons, cannot be written"):
        Progress(tmp_path / "file" / "progress.json").save()
