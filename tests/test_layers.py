import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEADLESS_LAYERS = ("facts", "guest", "machine", "vmm", "engine", "record", "export", "lessons")

# Imports every module of one layer in a fresh interpreter, then prints which libraries for screens were loaded.
PROBE = """
import importlib, json, pkgutil, sys
layer = importlib.import_module(sys.argv[1])
names = [found.name for found in pkgutil.walk_packages(layer.__path__, layer.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(json.dumps([len(names), sorted({"textual", "rich", "typer"} & set(sys.modules))]))
"""


def test_imports_go_downward_only() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize("layer", HEADLESS_LAYERS)
def test_a_headless_layer_loads_no_library_for_screens(layer: str) -> None:
    command = [sys.executable, "-c", PROBE, f"ringviz.{layer}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    _, loaded = json.loads(result.stdout)
    assert loaded == []


def test_every_package_of_ringviz_is_a_known_layer() -> None:
    packages = {path.parent.name for path in (ROOT / "ringviz").glob("*/__init__.py")}
    assert packages == {*HEADLESS_LAYERS, "ui", "cli"}
