"""A comparison of techniques as a report to hand on: the same tables as Markdown and as one HTML page."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ringviz import __version__
from ringviz.engine.compare import Comparison
from ringviz.engine.divergence import Divergence
from ringviz.engine.scorecard import Score, Verdict, scorecard
from ringviz.engine.stat import Stat
from ringviz.facts.costs import CAUSES, CPU_PROFILES
from ringviz.facts.properties import PROPERTIES
from ringviz.facts.techniques import TECHNIQUES

_MOST_CAUSES = 5
_MODELLED = "Cycles are modelled from published figures, never measured; each run is priced for the CPU that it names."


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the report."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    """Columns whose cells are numbers."""


def report_markdown(comparison: Comparison) -> str:
    """Give the report in Markdown, tables in the form that GitHub introduced."""
    lines = [f"# {_title(comparison)}", ""]
    for paragraph in _opening():
        lines += [_md(paragraph), ""]
    for table in tables_of(comparison):
        lines += [f"## {table.heading}", "", _md_row(table.columns)]
        lines.append(_md_row(tuple("---:" if n in table.numbers else "---" for n in range(len(table.columns)))))
        lines += [_md_row(tuple(_md(cell) for cell in row)) for row in table.rows]
        lines.append("")
    for line in _closing(comparison):
        lines += [_md(line), ""]
    return "\n".join(lines).rstrip() + "\n"


def report_html(comparison: Comparison) -> str:
    """Give the report as one page that needs nothing beside it."""
    parts = [f"<h1>{_safe(_title(comparison))}</h1>"]
    parts += [f"<p>{_safe(paragraph)}</p>" for paragraph in _opening()]
    for table in tables_of(comparison):
        parts.append(f"<h2>{_safe(table.heading)}</h2>\n<table>")
        heads = "".join(f'<th scope="col">{_safe(column)}</th>' for column in table.columns)
        parts.append(f"<tr>{heads}</tr>")
        parts += [f"<tr>{_html_cells(row, table.numbers)}</tr>" for row in table.rows]
        parts.append("</table>")
    parts += [f"<p>{_safe(line)}</p>" for line in _closing(comparison)]
    title, body = _safe(_title(comparison)), "\n".join(parts)
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


REPORTS: Mapping[str, Callable[[Comparison], str]] = MappingProxyType({"html": report_html, "md": report_markdown})
"""By the name that `--format` takes."""


def tables_of(comparison: Comparison) -> Iterator[Table]:
    """Give the tables: the verdicts, their figures, what the cycles went for, and where guests were misled."""
    runs = comparison.runs
    scores = tuple((_named(run), *(_score(score) for score in scorecard(run).scores)) for run in runs)
    yield Table("What makes a virtual machine monitor", ("Technique", "Fidelity", "Performance", "Safety"), scores)
    figures = ("Technique", "CPU", "Memory", "Instructions", "Direct", "VMM calls", "Cycles", "Slowdown", "Ended")
    yield Table("The figures behind it", figures, tuple(_figures(run) for run in runs), frozenset({3, 4, 5, 6, 7}))
    causes = tuple(row for run in runs for row in _causes(run))
    yield Table("Where the cycles went", ("Technique", "Cause", "Count", "Cycles"), causes, frozenset({2, 3}))
    told = tuple(row for run in runs for row in _divergences(run))
    if told:
        columns = ("Technique", "After", "Instruction", "Bare metal gives", "The guest got")
        yield Table("Where the guest sees something else than on bare metal", columns, told, frozenset({1}))
    if comparison.refused:
        yield Table("Not run", ("Technique", "Why"), comparison.refused)


def _title(comparison: Comparison) -> str:
    return f"{comparison.scenario_id}: do the techniques keep what makes a virtual machine monitor?"


def _opening() -> Iterator[str]:
    """Say what is asked of a monitor, in whose words."""
    for row in PROPERTIES.values():
        yield f"{row.title} ({row.classical}): {row.demand} [{row.source}]"


def _closing(comparison: Comparison) -> Iterator[str]:
    yield _MODELLED
    yield f"Made by ringviz {__version__}: ringviz compare {comparison.scenario_id}"


def _named(run: Stat) -> str:
    return f"{TECHNIQUES[run.technique].title} ({run.technique})"


def _score(score: Score) -> str:
    return score.verdict.value if score.verdict is Verdict.UNTRIED else f"{score.verdict.value}: {score.figure}"


def _figures(run: Stat) -> tuple[str, ...]:
    direct = f"{100 * run.direct / run.retired:.1f} %" if run.retired else "-"
    slowdown = "-" if run.slowdown is None else f"{run.slowdown:.2f}×"
    ended = run.outcome if run.exit_code is None else f"exit code {run.exit_code}"
    cpu = CPU_PROFILES[run.cpu].title
    numbers = (f"{run.retired:,}", direct, f"{run.vmm_calls:,}", f"{run.cycles.total:,}")
    return (run.technique, cpu, run.mmu, *numbers, slowdown, ended)


def _causes(run: Stat) -> Iterator[tuple[str, ...]]:
    dearest = sorted(run.events, key=lambda event: (-event.cycles, event.cause))[:_MOST_CAUSES]
    for event in dearest:
        yield run.technique, CAUSES[event.cause].title, f"{event.count:,}", f"{event.cycles:,}"


def _divergences(run: Stat) -> Iterator[tuple[str, ...]]:
    for found in () if run.fidelity is None else run.fidelity.divergences:
        yield run.technique, f"{found.retired:,}", found.instruction, _seen(found, "native"), _seen(found, "here")


def _seen(found: Divergence, side: str) -> str:
    value = getattr(found, side)
    shown = value if isinstance(value, str) else f"{value:X}h"
    return shown if found.what == "answer" else f"{found.what} {shown}"


# ---- writing ---------------------------------------------------------------------------------------------------------


def _md_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md(text: str) -> str:
    """Take from a text what Markdown would take for a sign of its own."""
    line = " ".join(text.split())
    for sign in ("\\", "|", "*", "_", "`", "[", "]", "<", ">", "#"):
        line = line.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return line


def _html_cells(row: tuple[str, ...], numbers: frozenset[int]) -> str:
    return "".join(f"<td{' class=n' if n in numbers else ''}>{_safe(cell)}</td>" for n, cell in enumerate(row))


def _safe(text: str) -> str:
    return html.escape(text)


_STYLE = (
    "body{font:16px/1.45 system-ui,sans-serif;max-width:80rem;margin:0 auto;padding:1rem;color:#1b1f24;background:#fff}"
    "table{border-collapse:collapse;font-size:.9rem;display:block;overflow-x:auto}"
    "td,th{border-bottom:1px solid #c8ced6;padding:.2rem .6rem;text-align:left;vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}"
    "@media(prefers-color-scheme:dark){body{color:#e4e8ec;background:#14181d}}"
)
