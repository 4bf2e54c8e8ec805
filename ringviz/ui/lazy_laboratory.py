"""The real world below the app, with the engine loaded only when something needs it: the home screen does not."""

import gc
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import Scenario, list_scenarios
from ringviz.ui.laboratory import ScenarioChoice, TechniqueChoice

if TYPE_CHECKING:
    from ringviz.ui.engine_editing import EngineEditing
    from ringviz.ui.engine_laboratory import EngineLaboratory


def scenario_choices() -> Sequence[ScenarioChoice]:
    """Give the scenarios that are well formed; a broken folder must not keep the others from a learner."""
    found = list_scenarios(on_error=lambda error: None)
    return [ScenarioChoice(s.id, s.title, str(s.level), s.summary) for s in found]


class LazyLaboratory:
    """Answers what the home screen asks; everything else is the engine's laboratory, which is loaded for it.

    Args:
        controls: as `EngineLaboratory` has it.
        prepared: as `EngineLaboratory` has it.
    """

    def __init__(self, controls: Sequence[str] = (), prepared: Scenario | None = None) -> None:
        self._controls = controls
        self._prepared = prepared

    def scenarios(self) -> Sequence[ScenarioChoice]:
        """Give all scenarios that are well formed."""
        return scenario_choices()

    def techniques(self) -> Sequence[TechniqueChoice]:
        """Give the techniques, bare metal first; all that there are facts about are implemented."""
        return [TechniqueChoice(row.id, row.title, row.vmm_seat) for row in TECHNIQUES.values()]

    def load(self) -> None:
        """Load the engine now, on any thread: before somebody waits for it."""
        _ = self.engine

    @cached_property
    def engine(self) -> "EngineLaboratory":
        """The engine's laboratory."""
        from ringviz.ui.engine_laboratory import EngineLaboratory

        # As in `RingvizApp.on_mount`: what has just been loaded stays for good, and need not be looked through again.
        gc.freeze()
        return EngineLaboratory(self._controls, self._prepared)

    def __getattr__(self, name: str) -> object:
        return getattr(self.engine, name)


class LazyEditing:
    """Changes guests; loaded with the engine.

    Args:
        laboratory: where the guests come from.
        edits: as `EngineEditing` has it.
    """

    def __init__(self, laboratory: LazyLaboratory, edits: Path) -> None:
        self._laboratory = laboratory
        self._edits = edits

    @cached_property
    def _editing(self) -> "EngineEditing":
        from ringviz.ui.engine_editing import EngineEditing

        return EngineEditing(self._laboratory.engine, self._edits)

    def __getattr__(self, name: str) -> object:
        return getattr(self._editing, name)
