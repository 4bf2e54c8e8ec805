"""The app's real world: sessions of the engine behind the app's protocols."""

from pathlib import Path

import pytest
from textual.message import Message

from ringviz.engine.scorecard import Verdict
from ringviz.engine.session import Session
from ringviz.engine.view import Snapshot
from ringviz.errors import InputError, UnsupportedError
from ringviz.guest.scenario import find_scenario, with_disks
from ringviz.ui.app import RingvizApp
from ringviz.ui.engine_laboratory import EngineLaboratory
from ringviz.ui.requests import Seek
from tests.ui.bench import Bench
from tests.ui.fake import FakeLaboratory

GENERAL = ("EIP", "ESP", "EAX", "EBX", "ECX", "EDX", "ESI", "EDI", "EBP")


@pytest.fixture
def laboratory() -> EngineLaboratory:
    return EngineLaboratory()


def never() -> bool:
    return False


def guest_view(snapshot: Snapshot) -> dict[str, str]:
    return {row.name: row.guest for row in snapshot.registers if row.name in GENERAL}


def test_it_offers_the_scenarios_and_the_techniques_that_are_built(laboratory: EngineLaboratory) -> None:
    assert {"popf-hole", "syscall-roundtrip"} <= {scenario.id for scenario in laboratory.scenarios()}
    assert next(technique.id for technique in laboratory.techniques()) == "native"


@pytest.mark.parametrize("technique", ["native", "amd-v"])
def test_a_swap_keeps_the_instruction_and_the_guest_registers(laboratory: EngineLaboratory, technique: str) -> None:
    here = laboratory.open("syscall-roundtrip", "trap-emulate", None, None)
    here.seek(500, never)
    there = laboratory.swapped(here, technique, None, None, (), never)
    assert there.position == 500
    assert guest_view(there.snapshot()) == guest_view(here.snapshot())
    assert len(guest_view(here.snapshot())) == len(GENERAL)
    current = [[row.address for row in s.snapshot().code if row.is_current] for s in (here, there)]
    assert current[0] == current[1] != []


def test_a_disk_from_the_command_line_stays_in_its_scenario_and_in_no_other(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(512))
    prepared = with_disks(find_scenario("hello-serial"), str(tmp_path / "disk.img"), None)
    laboratory = EngineLaboratory(prepared=prepared)

    def disks(scenario: str, technique: str) -> tuple[bool, bool]:
        sitting = laboratory.open(scenario, technique, None, None)
        assert isinstance(sitting, Session)
        first, second = sitting.scenario.disks
        return first is not None, second is not None

    assert disks("hello-serial", "native") == disks(str(prepared.path), "amd-v") == (True, False)
    assert disks("rings-tour", "native") == (False, False)


def test_an_address_is_run_to_and_an_unknown_symbol_refused(laboratory: EngineLaboratory) -> None:
    sitting = laboratory.open("syscall-roundtrip", "native", None, None)
    sitting.seek(500, never)
    address = next(row.address for row in sitting.snapshot().code if row.is_current)
    sitting.seek(0, never)
    assert laboratory.run_to_place(sitting, f"0x{address:x}", never)
    assert [row.address for row in sitting.snapshot().code if row.is_current] == [address]
    with pytest.raises(InputError, match="nowhere-at-all"):
        laboratory.run_to_place(sitting, "nowhere-at-all", never)


def test_what_does_not_go_together_is_refused(laboratory: EngineLaboratory) -> None:
    with pytest.raises(UnsupportedError):
        laboratory.open("popf-hole", "vt-x", None, "barcelona")
    with pytest.raises(InputError):
        laboratory.open("nonsense", "native", None, None)


def test_a_comparison_tells_who_keeps_the_promise(laboratory: EngineLaboratory) -> None:
    told: list[str] = []
    runs = laboratory.compare("popf-hole", None, lambda what, done, limit: told.append(what))
    faithful = {run.technique: run.card.score("fidelity").verdict is Verdict.HOLDS for run in runs.runs}
    assert [technique for technique, is_faithful in faithful.items() if not is_faithful] == ["trap-emulate"]
    assert {"native", "emulation", "classic", "binary-translation", "amd-v"} <= set(faithful)
    efficient = {run.technique for run in runs.runs if run.card.score("performance").verdict is Verdict.HOLDS}
    assert efficient == set(faithful) - {"emulation"}
    assert "pushf" in next(run.card.score("fidelity").words for run in runs.runs if run.technique == "trap-emulate")
    assert told


async def test_back_thrice_and_on_again_gives_the_same_screen_for_real(laboratory: EngineLaboratory) -> None:
    app = RingvizApp("syscall-roundtrip", "trap-emulate", laboratory=laboratory)
    messages: list[Message] = []
    async with app.run_test(size=(120, 40), message_hook=messages.append) as pilot:
        b = Bench(app, pilot, FakeLaboratory(), messages)
        await b.settle()
        app.engine.submit(Seek(499))
        await b.settle()
        await b.press("n")
        before, position = b.grid(), b.shown.snapshot.position
        await b.press("b", "b", "b")
        assert b.shown.snapshot.position == position - 3
        await b.press("n")
        assert b.shown.snapshot.position == position
        assert b.grid() == before


def test_a_machine_is_settled_by_the_registrys_rules(laboratory: EngineLaboratory) -> None:
    machine = laboratory.machine("amd-v", "nested", "barcelona", ())
    assert (machine.cpu, machine.mmu) == ("barcelona", "nested")
    refused = {cpu.id: cpu.refusal for cpu in machine.cpus}
    assert refused["barcelona"] == ""
    assert "amd-v needs a CPU with it" in refused["p4-672"]
    assert "nested paging" in refused["k8-revf"]
    assert "nested" in machine.mmus
    with pytest.raises(UnsupportedError):
        laboratory.machine("amd-v", "nested", "k8-revf", ())
    assert laboratory.machine("native", "none", "nehalem", ()).cpu == "nehalem"


def test_controls_from_the_command_line_go_along_until_the_user_chooses_others() -> None:
    laboratory = EngineLaboratory(("+rdtsc-exiting",))
    native = laboratory.open("rings-tour", "native", None, None)
    assert native.snapshot().controls == ()
    assisted = laboratory.swapped(native, "vt-x", None, None, None, never)
    assert assisted.snapshot().controls == ("+rdtsc-exiting",)
    assert laboratory.swapped(assisted, "vt-x", None, None, (), never).snapshot().controls == ()


def test_a_control_turned_over_changes_what_exits_at_the_same_instruction(laboratory: EngineLaboratory) -> None:
    machine = laboratory.machine("vt-x", None, None, ())
    assert {"hlt-exiting", "rdtsc-exiting"} <= {control.id for control in machine.controls}
    changed = laboratory.machine("vt-x", machine.mmu, machine.cpu, ("+rdtsc-exiting",))
    assert changed.changed == ("+rdtsc-exiting",)
    fixed = next(control for control in machine.controls if control.rule)
    word = f"{'-' if fixed.is_on else '+'}{fixed.id}"
    with pytest.raises(UnsupportedError, match="not possible"):
        laboratory.machine("vt-x", machine.mmu, machine.cpu, (word,))
