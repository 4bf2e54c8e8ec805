import json
import subprocess
import sys

import pytest

# Runs one command line in a fresh interpreter, then prints which of the libraries for screens were loaded.
PROBE = """
import contextlib, io, json, sys
from ringviz.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    code = main(sys.argv[1:])
print(json.dumps([code, sorted({"textual", "rich"} & set(sys.modules))]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--json"],
        ["cpus"],
        ["stat", "hello-serial", "-t", "trap-emulate"],
        ["compare", "hello-serial"],
        ["trace", "hello-serial", "-t", "amd-v"],
        ["check", "scenarios/hello-serial"],
        ["doctor"],
    ],
)
def test_headless_commands_load_nothing_of_the_app(arguments: list[str], shipped: str) -> None:
    given = [shipped if argument == "scenarios" else argument for argument in arguments]
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *given], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [0, []]


@pytest.fixture
def shipped() -> str:
    """Give the folder of the shipped scenarios."""
    from ringviz.guest.scenario import find_scenario

    return str(find_scenario("hello-serial").path.parent)
