"""All techniques on one scenario, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ringviz.engine.stat import NativeBill, Progress, Stat, ignore, stat, stat_json
from ringviz.errors import UnsupportedError
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import Scenario
from ringviz.vmm.controls import Control, id_of, take
from ringviz.vmm.registry import available, choose, controls_of, understood

_DEFAULT = "native"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs, and the techniques that could not take part, each with the reason."""

    scenario_id: str
    cpu_id: str
    """The profile asked for, or that of bare metal; each run names its own."""
    runs: tuple[Stat, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def failed(self) -> bool:
        """A technique broke its promise: exit code 1.

        One that promises fidelity diverged, or trap-and-emulate diverged at an instruction that is not silent.
        """
        return any(_broke_its_promise(run) for run in self.runs)


def _broke_its_promise(run: Stat) -> bool:
    if run.fidelity is None or run.fidelity.identical:
        return False
    if TECHNIQUES[run.technique].promises_fidelity:
        return True
    return not all(divergence.is_silent for divergence in run.fidelity.divergences)


def compare(
    scenario: Scenario,
    techniques: Sequence[str] | None = None,
    cpu: str | None = None,
    progress: Progress = ignore,
    controls: Sequence[str] = (),
) -> Comparison:
    """Run a scenario under several techniques, each compared with bare metal.

    Args:
        scenario: the guest.
        techniques: ids; None is all that this version has.
        cpu: cost profile for all of them. None gives each technique its default, since no CPU has every feature.
        progress: told how far the runs are.
        controls: settings to change, each for the techniques that have it.

    Raises:
        RingvizError: no technique here has such a control, or a technique that was named does not go with the CPU or
            the scenario. Without names, such a technique is listed in `refused`.
    """
    runs: list[Stat] = []
    refused: list[tuple[str, str]] = []
    natives: dict[str, NativeBill] = {}
    _check_known(techniques or available(), controls)
    for technique in techniques or available():
        try:
            own = understood(technique, controls, cpu=cpu)
            found = stat(scenario, technique, cpu=cpu, fidelity=True, progress=progress, controls=own, natives=natives)
            runs.append(found)
        except UnsupportedError as error:
            if techniques:
                raise
            refused.append((technique, str(error)))
    cpu_id = cpu or choose(_DEFAULT, scenario=scenario).cpu.id
    return Comparison(scenario.id, cpu_id, tuple(runs), tuple(refused))


def _check_known(techniques: Sequence[str], controls: Sequence[str]) -> None:
    """Refuse a control that none of the techniques has."""
    if not controls:
        return
    known: dict[str, Control] = {}
    for technique in techniques:
        known |= controls_of(technique, given=controls)
    for word in controls:
        if id_of(word) not in known:
            take(" and ".join(techniques), [word], known)


def comparison_json(comparison: Comparison) -> dict[str, object]:
    """Give the contract's object."""
    return {
        "schema": 1,
        "scenario": comparison.scenario_id,
        "cpu": comparison.cpu_id,
        "runs": [stat_json(run) for run in comparison.runs],
    }
