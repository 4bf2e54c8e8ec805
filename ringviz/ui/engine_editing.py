"""Changing real guests: from the source on the screen to the guest that runs beside the original."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ringviz.engine.edited import EditedGroup, on_the_same_machine
from ringviz.engine.session import Session
from ringviz.engine.source_lines import SourceLines, source_lines
from ringviz.record.workbench import Workbench, origin_of
from ringviz.ui.engine_laboratory import EngineLaboratory
from ringviz.ui.laboratory import Cancelled, Group, Sitting, Source


class EngineEditing:
    """Builds and runs what somebody writes.

    Args:
        laboratory: where the guests come from.
        edits: folder in which what is written is kept; None keeps it nowhere.
    """

    def __init__(self, laboratory: EngineLaboratory, edits: Path | None = None) -> None:
        self._laboratory = laboratory
        self._edits = edits
        self._benches: dict[str, Workbench] = {}
        """Whose texts an edited guest was made of, by the path of its folder."""

    def source(self, sitting: Sitting) -> Source:
        """Give the source of a guest, with what the user has changed in it before."""
        session = _session(sitting)
        origin = origin_of(session.scenario)
        original = session.scenario if origin is None else self._laboratory.found(origin)
        bench = Workbench(original, self._edits)
        return Source(bench, source_lines(session, None if origin is None else bench.names_in_builds()))

    def edited(self, sitting: Sitting, bench: Workbench, texts: Mapping[str, str], technique: str | None) -> Sitting:
        """Assemble texts, and power the guest on."""
        built = bench.build(texts)
        self._benches[str(built.path)] = bench
        self._laboratory.take_in(built)
        return on_the_same_machine(_session(sitting), built, technique)

    def beside(self, sitting: Sitting, edited: Sitting, cancelled: Cancelled) -> Group:
        """Put an edited guest beside the original."""
        new = _session(edited)
        # A session of its own, so that the one on the screen still stands where it stood when the group is left.
        old = on_the_same_machine(new, self._benches[str(new.scenario.path)].scenario)
        old.seek(sitting.position, cancelled)
        return EditedGroup(old, new, cancelled)

    def lines(self, sitting: Sitting) -> SourceLines:
        """Give which line of the source became which bytes."""
        session = _session(sitting)
        bench = self._benches.get(str(session.scenario.path))
        return source_lines(session, None if bench is None else bench.names_in_builds())

    def place_name(self, sitting: Sitting) -> str:
        """Give the id or path by which the guest of a sitting is opened."""
        scenario = _session(sitting).scenario
        return str(scenario.path) if str(scenario.path) in self._benches else scenario.id


def _session(sitting: Sitting) -> Session:
    return cast(Session, sitting)
