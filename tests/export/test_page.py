import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ringviz.engine.session import Session
from ringviz.export.page import page_of
from ringviz.guest.scenario import find_scenario

STEPS = 5_000
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(find_scenario("popf-hole"), "trap-emulate")


@pytest.fixture(scope="module")
def page(session: Session) -> str:
    return page_of(session, STEPS)


def _data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_of_five_thousand_steps_is_small_whole_and_needs_no_network(page: str) -> None:
    assert len(page.encode()) < 2_000_000
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.links == []
    assert len(set(tags.ids)) == len(tags.ids)
    assert "http" not in re.sub(r'"http://www.w3.org/2000/svg"', "", page.split("</style>")[1].split('id="data"')[0])


def test_the_page_explains_itself(page: str) -> None:
    for words in ("What is this page?", "Ring 0 may do everything", "modelled, never measured", "Keys:", "<noscript>"):
        assert words in page
    assert "ring 0, guest kernel in ring 1" in page


def test_every_step_of_the_page_is_that_of_the_run(page: str, session: Session) -> None:
    data = _data(page)
    film, texts = data["film"], data["texts"]
    assert {len(column) for column in film.values()} == {STEPS + 1}
    totals = dict.fromkeys(("events", "console", "guest", "overhead"), 0)
    shown = [list(row) for row in data["registers"]]
    for step in range(2_317):
        for name in totals:
            totals[name] += film[name][step]
        for row, *values in film["changes"][step]:
            shown[row][1:] = values
    session.seek(2_316)
    snapshot = session.snapshot(lambda: True)
    assert film["ring"][2_316] == snapshot.rings.real == 1
    assert film["believed"][2_316] == snapshot.rings.believed == 0
    row = next(row for row in snapshot.code if row.is_current)
    assert data["code"][film["address"][2_316]][0] == f"{row.address:08X}"
    assert texts[film["text"][2_316]] == f"{row.mnemonic} {row.operands}".strip()
    assert totals["events"] == len(snapshot.events)
    assert data["console"][: totals["console"]] == snapshot.console
    assert (totals["guest"], totals["overhead"]) == (snapshot.ledger.guest_cycles, snapshot.ledger.overhead_cycles)
    rows = [[texts[name], texts[guest], texts[real], bool(differs)] for name, guest, real, differs, _ in shown]
    assert rows == [[row.name, row.guest, row.real, row.differs] for row in snapshot.registers]
    parts, why, cycles, _ = data["cards"][film["card"][2_316]]
    assert [texts[text] for text, _ in parts] == [part.text for part in snapshot.card.parts]
    assert (texts[why], cycles) == (snapshot.card.why, snapshot.card.cycles)


def test_an_address_of_sixty_four_bits_is_whole() -> None:
    session = Session(find_scenario("teachos64"), "native")
    data = _data(page_of(session, 300))
    assert data["more"]
    shown = data["code"][data["film"]["address"][300]][0]
    assert int(shown, 16) == session.cpu_state(is_real=False).eip > 0xFFFF_FFFF


def test_what_a_guest_prints_cannot_end_the_page(page: str) -> None:
    inside = page.split('id="data">')[1].split("</script>")[0]
    assert "<" not in inside


def _shown_by_a_browser(page: str, folder: Path, fragment: str = "") -> str:
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run(
        [*command, "--dump-dom", path.as_uri() + fragment],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_a_browser_shows_the_step_that_was_asked_for(page: str, tmp_path: Path) -> None:
    shown = _shown_by_a_browser(page, tmp_path, "#step=2316")
    assert 'data-ready="yes"' in shown
    assert "The CPU is in ring 1; the guest believes to be in ring 0." in shown
    assert "got IF 0; a CPU of its own gives IF 1" in shown


_PRESSES = """<script>
for (const key of ["n", "n", "ArrowRight", "b", "p", "End", "ArrowRight", "Home"]) {
  document.dispatchEvent(new KeyboardEvent("keydown", { key }));
  document.title += " " + document.getElementById("number").value;
}
</script></body>"""


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_the_keys_move_along_the_run(page: str, tmp_path: Path) -> None:
    shown = _shown_by_a_browser(page.replace("</body>", _PRESSES), tmp_path)
    title = re.search("<title>(.*?)</title>", shown)
    assert title is not None
    assert title[1].endswith(f" 3 8 9 8 3 {STEPS} {STEPS} 0")
