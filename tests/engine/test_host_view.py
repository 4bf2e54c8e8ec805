"""A host as rows: numbers that add up, and a picture that shows what the events say."""

import pytest

from ringviz.engine.host_view import gantt_rows, machine_rows, unfairness
from ringviz.vmm.host.host import Host, MachineSpec
from ringviz.vmm.host.shares import Share
from tests.vmm.host.guests import busy, ending, sleeper


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    folder = tmp_path_factory.mktemp("guests")
    made = Host("haswell", 128)
    made.add(MachineSpec("busy", busy(folder / "b"), "trap-emulate"))
    made.add(MachineSpec("capped", busy(folder / "b"), "vt-x", share=Share(cap_percent=10)))
    made.add(MachineSpec("sleeper", sleeper(folder / "s"), "vt-x"))
    made.add(MachineSpec("ending", ending(folder / "e", 100_000), "trap-emulate"))
    made.run_until(2 * made.period)
    return made


def test_the_rows_of_a_host_add_up(host: Host) -> None:
    rows = {row.name: row for row in machine_rows(host)}
    assert sum(row.share for row in rows.values()) == pytest.approx(1, abs=0.01)
    assert rows["capped"].share == pytest.approx(0.1, abs=0.02)
    assert rows["ending"].state == "ended"
    assert rows["busy"].stolen_cycles + rows["busy"].running_cycles == host.clock
    assert rows["sleeper"].sleeping_cycles > host.clock // 3
    assert unfairness(host) == max(abs(row.deviation) for row in rows.values())


@pytest.mark.parametrize("cells", [1, 40, 200])
def test_the_picture_shows_who_had_the_cpu(host: Host, cells: int) -> None:
    rows = dict(gantt_rows(host, 0, host.clock, cells))
    assert list(rows) == list(host.names)
    assert {len(row) for row in rows.values()} == {cells}
    if cells == 200:
        assert rows["busy"].count("█") > cells // 3
        assert rows["capped"].count("x") > cells // 2
        assert set(rows["ending"][cells // 2 :]) == {" "}
        assert rows["sleeper"].count(" ") > cells // 10
        for column in zip(*rows.values(), strict=True):
            assert column.count("█") <= 2, "two can have a half each, and no more"


def test_a_part_of_the_picture_is_that_part(host: Host) -> None:
    whole = dict(gantt_rows(host, 0, 200_000, 100))
    half = dict(gantt_rows(host, 100_000, 200_000, 50))
    for name, row in half.items():
        assert row == whole[name][50:]
