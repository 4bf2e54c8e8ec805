"""Who has which frame of a host, and what has become of every page of its guests: as rows, and as pictures of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from string import ascii_lowercase

from ringviz.facts.host_memory import PAGE_STATES
from ringviz.vmm.host.host import Host
from ringviz.vmm.host.physical_map import PhysicalMap

_PRIVATE, _SHARED, _VMM, _FREE = "private", "shared", "vmm", "free"
_LETTERS = ascii_lowercase.replace("o", "").replace("s", "")
"""A machine's frames are shown by its letter; two letters are page states."""


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Frames in a row of which the same is to be said."""

    first: int
    count: int
    state: str
    """Id of `facts.host_memory.PAGE_STATES`: vmm, private, shared or free."""
    owners: tuple[str, ...]
    """The machines whose pages they stand behind; nobody's if they are free."""
    uses: int
    """Pages that each of them stands behind."""

    @property
    def text(self) -> str:
        """In words: `shared (3): a, b`."""
        word = f"{self.state} ({self.uses})" if self.state == _SHARED else self.state
        return f"{word}: {', '.join(self.owners)}" if self.owners else word


@dataclass(frozen=True, slots=True)
class GuestPages:
    """One machine's memory."""

    machine: str
    letter: str
    """Which stands for it in a picture."""
    pages: int
    """That its guest believes to have."""
    private: int
    shared: int
    ballooned: int
    """Pages in the balloon that have no frame; one that the guest uses all the same has one."""
    swapped: int
    untouched: int
    vmm_frames: int
    frames: float
    """Of the host, that the guest takes up: one behind several pages counts for a part of it."""
    target: int | None
    """Frames that it is to have; None where memory is not divided."""
    balloon_target: int | None
    """Pages that are to be in its balloon; None where it has none."""
    active_percent: float | None
    """Part of its memory that it is estimated to use; None before the first sample."""
    copied: int
    swapped_in: int
    swapped_out: int
    touched_in_balloon: int
    scanned: int
    cycles: int
    """What the host's work with its pages has cost it."""
    runs: tuple[tuple[str, int], ...]
    """The guest's pages, from 0 on: state and how many in a row."""


@dataclass(frozen=True, slots=True)
class HostPages:
    """The host's memory."""

    frames: int
    free: int
    state: str
    """Id of `facts.host_memory.RECLAIM_STATES`."""
    saved_by_sharing: int
    hints: int
    swap_pages: int
    runs: tuple[FrameRun, ...]
    guests: tuple[GuestPages, ...]


def host_pages(host: Host) -> HostPages:
    """Give all of it, as it is now."""
    memory = host.memory
    return HostPages(
        memory.frames.total,
        memory.frames.free,
        memory.state.id,
        memory.sharing.saved_frames,
        memory.sharing.hints,
        memory.swap.used,
        frame_runs(host),
        tuple(_guest(host, name, letter) for name, letter in letters(host.names).items()),
    )


def letters(machines: Iterable[str]) -> dict[str, str]:
    """Give each machine a letter; with very many, some have the same."""
    return {name: _LETTERS[number % len(_LETTERS)] for number, name in enumerate(machines)}


def frame_runs(host: Host) -> tuple[FrameRun, ...]:
    """Give all frames, in order, those of which the same is to be said together."""
    memory = host.memory
    found: list[FrameRun] = []
    at = 0
    for number in sorted(memory.frames.in_use):
        frame = memory.frames.in_use[number]
        (owner, page), *_ = frame.uses
        state = _SHARED if len(frame.uses) > 1 else _VMM if page < owner.first_guest_page else _PRIVATE
        if number > at:
            found.append(FrameRun(at, number - at, _FREE, (), 0))
        run = FrameRun(number, 1, state, memory.owners_of(number), len(frame.uses))
        last = found[-1] if found else None
        if last is not None and (last.state, last.owners, last.uses) == (run.state, run.owners, run.uses):
            found[-1] = FrameRun(last.first, last.count + 1, last.state, last.owners, last.uses)
        else:
            found.append(run)
        at = number + 1
    if at < memory.frames.total:
        found.append(FrameRun(at, memory.frames.total - at, _FREE, (), 0))
    return tuple(found)


def page_states(pages: PhysicalMap) -> Iterator[str]:
    """Give the state of every page of a guest, in order."""
    for page in range(pages.first_guest_page, pages.pages):
        frame = pages.frames.get(page)
        if frame is not None:
            yield _SHARED if len(frame.uses) > 1 else _PRIVATE
        elif page in pages.slots:
            yield "swapped"
        else:
            yield "ballooned" if page in pages.balloon else "untouched"


def frame_cells(shown: HostPages, cells: int) -> str:
    """Draw the host's frames in so many cells: each shows what most of its frames are.

    A letter is a machine's own, see `letters`; for the others see `facts.host_memory.PAGE_STATES`.
    """
    of = {guest.machine: guest.letter for guest in shown.guests}
    counts = [Counter[str]() for _ in range(cells)]
    for run in shown.runs:
        glyph = of[run.owners[0]] if run.state == _PRIVATE else PAGE_STATES[run.state].glyph
        for cell, count in _spread(run.first, run.count, shown.frames, cells):
            counts[cell][glyph] += count
    return "".join(_most(count) for count in counts)


def guest_cells(guest: GuestPages, cells: int) -> str:
    """Draw a guest's pages in so many cells: each shows what most of its pages are, of those that were ever used."""
    counts = [Counter[str]() for _ in range(cells)]
    at = 0
    for state, length in guest.runs:
        if state != "untouched":
            for cell, count in _spread(at, length, guest.pages, cells):
                counts[cell][PAGE_STATES[state].glyph] += count
        at += length
    return "".join(_most(count) if count else PAGE_STATES["untouched"].glyph for count in counts)


def legend(guests: Iterable[GuestPages]) -> str:
    """Say what the glyphs of both pictures mean."""
    owners = ", ".join(f"{guest.letter} {guest.machine}" for guest in guests)
    states = "; ".join(
        f"{state.glyph if state.glyph.strip() else 'blank'} {state.title}" for state in PAGE_STATES.values()
    )
    return f"{owners}; {states}" if owners else states


def _guest(host: Host, name: str, letter: str) -> GuestPages:
    memory, machine = host.memory, host.machine(name)
    pages = machine.pages
    states = list(page_states(pages))
    counts, done = Counter(states), pages.counts
    return GuestPages(
        name,
        letter,
        pages.guest_pages,
        counts.get(_PRIVATE, 0),
        counts.get(_SHARED, 0),
        counts.get("ballooned", 0),
        counts.get("swapped", 0),
        counts.get("untouched", 0),
        pages.vmm_frames,
        float(pages.consumed),
        memory.targets.get(name),
        None if machine.technique.balloon is None else machine.technique.balloon.asked or 0,
        100 * float(pages.working_set.active) if pages.working_set.samples else None,
        done.copied,
        done.swapped_in,
        done.swapped_out,
        done.touched_in_balloon,
        done.scanned,
        done.cycles,
        tuple((state, len(list(row))) for state, row in groupby(states)),
    )


def _spread(first: int, count: int, total: int, cells: int) -> Iterator[tuple[int, int]]:
    """Divide frames in a row among the cells in which they lie."""
    at, end = first, first + count
    while at < end:
        cell = at * cells // total
        border = -(-(cell + 1) * total // cells)
        step = min(end, max(border, at + 1)) - at
        yield cell, step
        at += step


def _most(counts: Counter[str]) -> str:
    return max(sorted(counts), key=lambda glyph: counts[glyph]) if counts else PAGE_STATES[_FREE].glyph
