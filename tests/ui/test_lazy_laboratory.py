"""The home screen does not wait for the engine."""

import subprocess
import sys

from ringviz.ui.engine_laboratory import EngineLaboratory
from ringviz.ui.lazy_laboratory import LazyLaboratory

HEAVY = ("unicorn", "capstone", "ringviz.vmm.registry", "ringviz.machine.cpu", "ringviz.engine.session")


def test_the_home_screen_needs_neither_emulator_nor_techniques() -> None:
    loaded = f"[module for module in {HEAVY} if module in sys.modules]"
    code = f"import sys; from ringviz.ui.app import RingvizApp; RingvizApp(); print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_offers_what_the_engine_offers_and_passes_on_the_rest() -> None:
    lazy, real = LazyLaboratory(), EngineLaboratory()
    assert lazy.scenarios() == real.scenarios()
    assert lazy.techniques() == real.techniques()
    lazy.load()
    sitting = lazy.open("rings-tour", "native", None, None)  # type: ignore[operator]
    assert sitting.position == 0
