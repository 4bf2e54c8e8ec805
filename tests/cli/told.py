"""One run of each short scenario under each technique, for all the tests of a session that read what is told of it."""

import os
from dataclasses import asdict
from typing import Any
from unittest import mock

from ringviz.guest.scenario import Scenario
from tests.cli.digests import Told, run
from tests.shared import once_a_session


def told(scenario: Scenario, technique: str) -> Told:
    """Give what there is to tell of a run, made once a session."""

    def make() -> dict[str, Any]:
        with mock.patch.dict(os.environ, COLUMNS="40", TZ="UTC"):
            return asdict(run(scenario, technique))

    return Told(**once_a_session(f"{scenario.id}.{technique}", make))
