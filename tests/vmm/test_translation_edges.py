"""Where translated code must stop in time: single steps, a block cut short, a limit reached inside a sequence."""

from __future__ import annotations

from pathlib import Path

from ringviz.guest.scenario import find_scenario
from tests.vmm.guests import kernel_scenario, slots
from tests.vmm.lockstep import Run, assert_lockstep

_TRANSLATION = "binary-translation"
_SET_TF = bytes.fromhex("9c 810c2400010000 9d")  # pushf; or dword [esp], 100h; popf
_NOP = b"\x90"
_SET_TS = bytes.fromhex("0f20c0 0c08 0f22c0")  # mov eax, cr0; or al, 8; mov cr0, eax
_FNOP = bytes.fromhex("d9d0")  # #NM: the emulator ends the block behind the first byte


def test_the_kernel_single_steps_itself_under_translation(tmp_path: Path) -> None:
    code = _SET_TF + 3 * _NOP
    run = assert_lockstep(kernel_scenario(tmp_path, code), _TRANSLATION)
    assert "#DB" in {event.cause for event in run.events}


def test_an_fpu_instruction_with_ts_set_is_counted_and_reflected_under_translation(tmp_path: Path) -> None:
    run = assert_lockstep(kernel_scenario(tmp_path, slots(_SET_TS, _FNOP, _NOP)), _TRANSLATION)
    assert "#NM" in {event.cause for event in run.events}


def test_a_sequence_that_stops_half_way_at_the_limit_is_finished_and_no_more() -> None:
    scenario = find_scenario("popf-hole")
    straight, run = Run(scenario, _TRANSLATION), Run(scenario, _TRANSLATION)
    straight.finish()
    while run.ended is None:
        position = run.position + 1
        run.reach(position)
        assert run.position == position
        run.technique.machine.collect_dirty()  # the next write to each page stops the CPU, in sequences too
    assert run.events == straight.events
