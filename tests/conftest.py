"""No test reads or changes what the person at this machine has kept, nor what another test has."""

import os
import tempfile
from pathlib import Path

import pytest

_KEPT = Path(tempfile.mkdtemp(prefix="ringviz-tests-"))
os.environ["RINGVIZ_STATE"] = str(_KEPT / "between-tests")


@pytest.fixture(autouse=True)
def _state_of_its_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGVIZ_STATE", str(_KEPT / f"{abs(hash(request.node.nodeid)):x}"))
