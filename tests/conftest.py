"""No test reads or changes what the person at this machine has kept, nor what another test has."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests.shared import FOLDER_VARIABLE

# Where an environment forbids Python to keep what it has compiled, each of the many programs that tests start would
# compile all of ringviz anew, and each worker all the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_IS_FIRST = FOLDER_VARIABLE not in os.environ
"""This process is the one that the person has started: the workers come later, and have its environment."""
if _IS_FIRST:
    os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="ringviz-tests-")

_KEPT = Path(tempfile.mkdtemp(dir=os.environ[FOLDER_VARIABLE]))
_FOLDERS = ("RINGVIZ_STATE", "RINGVIZ_MACHINES", "RINGVIZ_CONFIG")
"""Where a person keeps progress and last place, virtual machines, keys of their own."""
os.environ.update({name: str(_KEPT / "between-tests" / name.lower()) for name in _FOLDERS})


@pytest.fixture(autouse=True)
def _state_of_its_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _FOLDERS:
        monkeypatch.setenv(name, str(_KEPT / f"{abs(hash(request.node.nodeid)):x}" / name.lower()))


_DEAR = ("test_readme.py::test_the_", "test_determinism.py", "test_teachos.py::test_every_", "test_macro.py")
"""Parts of the names of the tests that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests: one that is begun last leaves the other processes idle."""
    items.sort(key=lambda item: not any(part in item.nodeid for part in _DEAR))


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    if _IS_FIRST:
        shutil.rmtree(os.environ[FOLDER_VARIABLE], ignore_errors=True)
