from html.parser import HTMLParser

import pytest

from ringviz.engine.compare import Comparison, compare
from ringviz.export.comparison_report import REPORTS, tables_of
from ringviz.guest.scenario import find_scenario


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(find_scenario("rings-tour"), ["native", "trap-emulate"])


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._in_cell = tag in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False


def test_both_reports_have_every_cell_of_every_table(comparison: Comparison) -> None:
    tables = list(tables_of(comparison))
    wanted = [list(row) for table in tables for row in (table.columns, *table.rows)]
    page = _Cells()
    page.feed(REPORTS["html"](comparison))
    assert page.rows == wanted
    markdown = REPORTS["md"](comparison)
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) == len(wanted) + len(tables)  # a line of dashes for each


def test_the_report_says_what_the_runs_say(comparison: Comparison) -> None:
    native, trapped = comparison.runs
    for text in (REPORTS["html"](comparison), REPORTS["md"](comparison)):
        assert f"{trapped.cycles.total:,}" in text
        assert f"{native.retired:,}" in text
        assert "modelled" in text
        assert "Popek" in text


def test_signs_of_a_guest_are_not_taken_for_markup(comparison: Comparison) -> None:
    odd = Comparison("a|b<c>", comparison.cpu_id, (), (("vt-x", "no [x] | *y* & <z>"),))
    assert "no \\[x\\] \\| \\*y\\* & &lt;z&gt;" in REPORTS["md"](odd)
    assert "no [x] | *y* &amp; &lt;z&gt;" in REPORTS["html"](odd)
