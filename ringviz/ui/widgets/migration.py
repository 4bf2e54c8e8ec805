"""A migration as lines of text: how far its round is, what each round left to send, hot pages, and the downtime."""

from collections.abc import Iterator, Sequence

from textual.content import Content

from ringviz.facts.migration import STOP_RULES, number
from ringviz.machine.memory import PAGE
from ringviz.record.machines.leaving import MigrationView
from ringviz.vmm.migration.rounds import BYTES_PER_MBIT, CYCLES_PER_SECOND, Round

_FULL, _EMPTY, _PART = "█", "░", "▌"
_MOST_ROUNDS, _MOST_AFTERWARDS = 9, 6
"""Rounds in the chart, the first and the latest; and on a small screen when it is over."""
_NUMBERS_CELLS = 34
_MOST_BAR = 60


def migration_lines(
    view: MigrationView, width: int, there: Sequence[str] = (), *, is_short: bool = False, has_keys: bool = True
) -> Iterator[Content]:
    """Draw a migration.

    Args:
        view: at one moment.
        width: cells that there are.
        there: what the other host has said.
        has_keys: whoever looks on can slow the guest down by key.
        is_short: there is not much room; when it is over the last rounds are to be seen without scrolling.
    """
    yield Content.assemble((f"{view.machine} moves to another host", "bold"), (f", {_state(view)}", _look(view)))
    rules = STOP_RULES[view.rules].title
    yield Content.assemble((f"{view.mbit} Mbit/s, rules of {rules}; {view.sent_bytes:,} bytes sent", "$dim"))
    if view.outcome is None:
        yield _progress(view, width)
        yield _help(view, has_keys=has_keys)
    yield from _outcome(view)
    yield from _chart(view, width, _MOST_AFTERWARDS if is_short and view.outcome is not None else _MOST_ROUNDS)
    if view.hot_pages:
        yield _hot(view, width)
    for line in there:
        yield Content.assemble(("The other host: ", "$dim"), line)


def _state(view: MigrationView) -> str:
    if view.outcome is not None:
        return "it is there" if view.outcome.moved else "it stays here"
    if view.is_at_rest:
        return "last round: it stands still"
    return f"round {len(view.rounds) + 1}"


def _look(view: MigrationView) -> str:
    if view.outcome is not None:
        return "bold $kind-gate" if view.outcome.moved else "bold $kind-violation"
    return "bold $kind-trap" if view.is_at_rest else "bold $kind-exit"


def _progress(view: MigrationView, width: int) -> Content:
    done, due, look = view.progress.done_pages, view.progress.due_pages, "$kind-gate"
    text = f" {done:,} of {due:,} pages of this round"
    if view.is_at_rest:  # what goes now is not told page by page
        left = view.rounds[-1].dirtied_pages if view.rounds else view.memory_pages
        done, due, look, text = 1, 1, "$kind-trap", f" {left:,} pages go while it stands still"
    cells = max(8, min(_MOST_BAR, width - len(text)))
    filled = 0 if not due else done * cells // due
    return Content.assemble((_FULL * filled, look), (_EMPTY * (cells - filled), "$dim"), text)


def _help(view: MigrationView, *, has_keys: bool) -> Content:
    if not view.has_help and not has_keys:
        return Content("Auto-converge is off")
    if not view.has_help:
        return Content.assemble("Auto-converge is off", (": h slows the guest down if it writes too fast", "$dim"))
    if not view.throttle_percent:
        return Content("Auto-converge is on, and keeps nothing from the guest")
    return Content.assemble(
        "Auto-converge keeps ", (f"{view.throttle_percent} %", "bold $kind-trap"), " of the CPU from the guest"
    )


def _chart(view: MigrationView, width: int, room: int) -> Iterator[Content]:
    """Draw what each round sent, and say what could go while the guest stands still."""
    if not view.rounds:
        return
    yield Content.assemble((f"{'round':>6}{'pages':>9}{'ms':>9}{'kept':>7}", "bold"))
    rounds = view.rounds
    shown = rounds if len(rounds) <= room else (rounds[0], *rounds[1 - room :])
    most = max(done.sent_pages for done in rounds)
    cells = max(6, min(_MOST_BAR, width - _NUMBERS_CELLS))
    before = 0
    for done in shown:
        if before and done.number != before + 1:
            yield Content.assemble((f"{'…':>6}", "$dim"))
        before = done.number
        yield _bar(done, most, cells)
    limit = number("downtime-limit")
    pages = limit * view.mbit * BYTES_PER_MBIT // CYCLES_PER_SECOND // PAGE
    empty = sum(done.zero_pages for done in rounds)
    told = f"; {empty:,} empty pages went by their number" if empty else ""
    yield Content.assemble((f"the last round may take {limit // 1000} ms: {pages:,} pages{told}", "$dim"))


def _bar(done: Round, most: int, cells: int) -> Content:
    name = "last" if done.is_last else str(done.number)
    kept = "still" if done.is_last else f"{done.throttle_percent} %" if done.throttle_percent else "-"
    length = done.sent_pages * 2 * cells // max(1, most)
    bar = _FULL * (length // 2) + (_PART if length % 2 else "")
    look = "$kind-trap" if done.is_last else "$kind-exit" if done.throttle_percent else "$kind-gate"
    numbers = f"{name:>6}{done.sent_pages:>9,}{done.cycles / 1000:>9,.1f}{kept:>7}  "
    return Content.assemble(numbers, (bar or "▏", look))


def _hot(view: MigrationView, width: int) -> Content:
    text = "Hot pages, and rounds that found them changed:"
    for page, times in view.hot_pages:
        more = f" {page:X}h×{times}"
        if len(text) + len(more) > width:
            break
        text += more
    return Content.assemble((text, "$dim"))


def _outcome(view: MigrationView) -> Iterator[Content]:
    outcome = view.outcome
    if outcome is None:
        return
    if outcome.moved:
        yield Content.assemble(
            ("It stood still for ", ""), (f"{outcome.downtime_cycles / 1000:,.1f} ms", "bold $kind-gate"),
            f" of {outcome.total_cycles / 1000:,.1f} ms, modelled",
        )  # fmt: skip
    yield Content.assemble((f"Because {outcome.why}" if outcome.moved else f"Not moved: {outcome.why}", "$dim"))
