"""Real-mode guests, in lockstep with bare metal under every technique that runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine.guests import NASM
from tests.vmm.lockstep import assert_lockstep
from tests.vmm.real_mode_guests import EVERYDAY, THERE_AND_BACK, UNREAL, VIRTUAL_8086, real_mode_scenario

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")

GUESTS = {"everyday": EVERYDAY, "there and back": THERE_AND_BACK, "unreal": UNREAL, "virtual 8086": VIRTUAL_8086}
FAITHFUL = ("classic", "binary-translation")


@pytest.mark.parametrize("technique", FAITHFUL)
@pytest.mark.parametrize("guest", GUESTS)
def test_a_real_mode_guest_is_the_same_at_every_instruction(tmp_path: Path, guest: str, technique: str) -> None:
    run = assert_lockstep(real_mode_scenario(tmp_path / "guest", GUESTS[guest]), technique)
    assert run.ended is not None
    assert run.ended.how == "halted"
