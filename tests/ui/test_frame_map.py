"""The page map as a panel: every line fits, and every sign is there without colour."""

from functools import lru_cache

import pytest
from textual.app import App, ComposeResult

from ringviz.engine.frame_map import HostPages, frame_cells, host_pages
from ringviz.guest import find_scenario
from ringviz.ui.widgets.frame_map import FrameMapPanel, frame_map_lines
from ringviz.vmm.host.allotment import MemoryRules
from ringviz.vmm.host.host import Host, MachineSpec


@lru_cache(maxsize=1)
def crowded() -> HostPages:
    host = Host("haswell", 1, memory_rules=MemoryRules(overcommits=True, shares_pages=True))
    for name, technique in (("reader", "vt-x"), ("other", "trap-emulate")):
        host.add(MachineSpec(name, find_scenario("balloon"), technique))
    host.run(12_000_000)
    return host_pages(host)


@pytest.mark.parametrize("width", [30, 78, 118, 198])
def test_no_line_is_wider_than_the_panel_and_every_state_is_to_be_seen(width: int) -> None:
    pages = crowded()
    lines = [line.plain for line in frame_map_lines(pages, width)]
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    if width > 60:
        for sign in ("a reader", "b other", "= shared", "o balloon", "s swapped", ". free", "swap file"):
            assert sign in text, sign
    picture = "".join(lines[1:]).replace("\n", "")
    assert {"V", "a", "b", "=", "o", "s"} <= set(picture)


def test_a_frame_is_one_sign_where_there_is_room() -> None:
    pages = crowded()
    cells = frame_cells(pages, pages.frames)
    assert cells.count(".") == pages.free
    assert cells.count("V") == sum(guest.vmm_frames for guest in pages.guests)
    shared = sum(run.count for run in pages.runs if run.state == "shared")
    assert cells.count("=") == shared
    assert sum(guest.shared for guest in pages.guests) == shared + pages.saved_by_sharing


class _Room(App[None]):
    def compose(self) -> ComposeResult:
        yield FrameMapPanel(id="map")


async def test_the_panel_is_as_high_as_what_it_shows() -> None:
    app = _Room()
    async with app.run_test(size=(80, 40)) as pilot:
        panel = app.query_one(FrameMapPanel)
        panel.show(crowded())
        await pilot.pause()
        assert panel.size.height == len(list(frame_map_lines(crowded(), panel.size.width)))
        assert "Memory: 256 frames" in panel.render().plain
