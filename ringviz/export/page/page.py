"""The page itself: words, style and script around the data of a run, in one text."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from importlib import resources

from ringviz import __version__
from ringviz.engine.session import Session
from ringviz.export.page.page_data import PageData
from ringviz.facts.glossary import GLOSSARY
from ringviz.facts.residents import RESIDENTS

MOST_STEPS = 20_000
"""Ours: a page that a browser opens at once, and that holds every run of the short scenarios."""

_ABOUT = (
    "A guest program ran here, instruction by instruction, on an emulated x86 processor. The page shows each step of it"
    " under one way of virtualizing a computer: <strong>{title}</strong>. Where the virtual machine monitor (VMM) sits:"
    " {seat}.",
    "An x86 processor runs code in one of four <em>rings</em>. Ring 0 may do everything; ring 3, where programs run,"
    " may not touch the machine. An operating system expects ring 0 for itself, and so does a VMM: who gets it, and"
    " what happens when the other one tries what only ring 0 may do, is what there is to see. {lesson}",
    "Press <kbd>n</kbd> to go to the next event: a moment at which the processor left the guest's code, or should have"
    " and did not. The card says in words what happened, why, and what it costs. A step is one guest instruction;"
    " cycles are modelled, never measured.",
)
_WORDS = (
    *(
        "protection-ring",
        "vmm",
        "virtual-machine",
        "virtualization",
        "cpl",
        "trap",
        "fault",
        "gate",
        "exit",
        "privileged",
    ),
    *("sensitive", "silent-instruction", "trap-and-emulate", "ring-compression", "binary-translation"),
    *("paravirtualization", "hypercall", "intel-vt", "amd-v", "nested-paging", "shadow-structure"),
)
"""Of the glossary: those that the page uses, where it has them."""


def page_of(session: Session, most_steps: int = MOST_STEPS) -> str:
    """Give a run as one HTML page.

    Args:
        session: played from its start; left where the page ends.
        most_steps: steps on the page at most; it says so if the run goes on.
    """
    taken = PageData(session)
    taken.take(most_steps + 1)
    data = taken.data()
    technique, scenario, cpu = session.technique, session.scenario, session.cpu
    lesson = RESIDENTS[technique.id].lesson
    about = "".join(
        f"<p>{text.format(title=_safe(technique.title), seat=_safe(technique.vmm_seat), lesson=_safe(lesson))}</p>"
        for text in _ABOUT
    )
    end = session.snapshot(lambda: True)
    more = f"after {session.position:,} instructions" + (f": {end.outcome}" if end.outcome else ", where the page ends")
    counted = f"{session.event_count():,} events, {end.ledger.overhead_cycles:,} cycles of overhead, {more}."
    parts = {
        "TITLE": _safe(f"{scenario.title} · {technique.title}"),
        "HEADING": _safe(f"{scenario.title} — under {technique.title}"),
        "SUMMARY": _safe(scenario.summary),
        "ABOUT": about,
        "SHORT": _safe(counted),
        "PRICED": _safe(f"Cycles are modelled for {cpu.title} ({cpu.year}); memory virtualization: {session.mmu}."),
        "WORDS": "".join(
            f"<dt>{_safe(term.term)}</dt>"
            f"<dd>{_safe(term.text)} <span class='small'>[{_safe(str(term.source))}]</span></dd>"
            for term in (GLOSSARY[name] for name in _WORDS if name in GLOSSARY)
        ),
        "MADE": _safe(f"Made by ringviz {__version__}: scenario {scenario.id}, technique {technique.id}. {counted}"),
        "STYLE": _resource("page.css"),
        "SCRIPT": _resource("page.js"),
        # Within a script element only `</` could end it, and `<!--` change what it is.
        "DATA": json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c"),
    }
    return _filled(_resource("page.html"), parts)


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """Put the parts in their places; a part is never looked into for places of others."""
    pieces = template.split("@")
    return "".join(parts.get(piece, piece) if number % 2 else piece for number, piece in enumerate(pieces))


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip("\n")


def _safe(text: str) -> str:
    return html.escape(text)
