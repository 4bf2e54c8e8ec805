"""Markers: places in a kernel's source that all its builds have, where runs of different code can be compared.

A marker is a label that begins with `marker_`. It may be a local one, so that it does not part the code around it:
`start.marker_printed`. Passing one costs nothing; it is a name for an address, and no instruction.
"""

from collections.abc import Mapping

from ringviz.errors import ScenarioError
from ringviz.guest.scenario import SCENARIO_FILE, Scenario, Variant, shown_path
from ringviz.guest.schema import MARKER_PREFIX
from ringviz.guest.symbols import SourceMap


def markers_of(source_map: SourceMap) -> dict[int, str]:
    """The markers of a build, by address, in its order."""
    return {symbol.address: _short(symbol.name) for symbol in source_map.symbols if _is_marker(symbol.name)}


def check_markers(scenario: Scenario, builds: Mapping[Variant, SourceMap]) -> None:
    """Refuse builds that cannot be compared: each marker must be in each of them, once and alone at its address.

    Raises:
        ScenarioError: one line about the first marker that is not.
    """
    where = shown_path(scenario.source_path)
    names: dict[Variant, set[str]] = {}
    for variant, source_map in builds.items():
        found = [symbol for symbol in source_map.symbols if _is_marker(symbol.name)]
        for number, symbol in enumerate(found):
            for other in found[:number]:
                if other.address == symbol.address or _short(other.name) == _short(symbol.name):
                    raise ScenarioError(
                        f"{where}: {other.name} and {symbol.name}, expected names and addresses of their own"
                    )
        names[variant] = {_short(symbol.name) for symbol in found}
    if len(names) > 1:
        original, recompiled = names[Variant.ORIGINAL], names[Variant.PARAVIRT]
        for name in sorted(original ^ recompiled):
            only = Variant.ORIGINAL if name in original else Variant.PARAVIRT
            raise ScenarioError(f"{where}: {name} is a label of the {only} build only, expected it in both")
        if not original:
            raise ScenarioError(f"{where}: no label begins with {MARKER_PREFIX}, expected one or more to compare at")
    for name, _ in scenario.leftovers:
        if name not in names[Variant.ORIGINAL]:
            place = shown_path(scenario.path / SCENARIO_FILE)
            raise ScenarioError(f"{place}: leftovers.{name}: no such label in {scenario.guest.source}")


def _short(name: str) -> str:
    """A label's name without the one it is local to."""
    return name.rpartition(".")[2]


def _is_marker(name: str) -> bool:
    return _short(name).startswith(MARKER_PREFIX)
