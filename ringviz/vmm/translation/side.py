"""The code cache as a panel: the guest's instructions of a fragment, and under each what it has become."""

from __future__ import annotations

from dataclasses import replace

from ringviz.guest.decode import decode
from ringviz.vmm.side import Mark, Side, SideRow
from ringviz.vmm.translation.fragment import Exit, Fragment, Place, Unit, Way
from ringviz.vmm.translation.store import Store

_TITLE = "Code cache"
_NOTES = {
    Way.LOOKUP: "the target is looked up by its low half; a miss calls the VMM",
    Way.IN_CACHE: "done to the virtual CPU in the VMM's memory, which GS leads to",
}


CHAINED, NOT_CHAINED = "═►", "┄►"
"""Between a jump out of a fragment and the guest address that it stands for."""


def cache_side(store: Store, here: int | None) -> Side:
    """Show the fragment that the CPU is in.

    Args:
        store: the code cache.
        here: address of the translated instruction about to run; None while the guest's own code runs.
    """
    fragment = None if here is None else store.fragment_at(here)
    total = f"{len(store.fragments)} fragments, {store.used_bytes:,} bytes"
    if fragment is None:
        what = "the program runs directly" if here is None else "what comes next has no translation yet"
        return Side(_TITLE, f"{what}; {total} in the cache", ())
    rows = [row for unit in fragment.units for row in _rows_of(unit, store, fragment, here)]
    rows += [_row(place, "jump", store, fragment, here, None) for place in fragment.tail]
    chained = sum(exit_.jump_at in store.links for exit_ in fragment.exits)
    exits = f"{chained} of {len(fragment.exits)} ways out chained; " if fragment.exits else ""
    what = f"fragment {fragment.number + 1} of {total}; {exits}guest {fragment.eip:08X}"
    return Side(_TITLE, what, tuple(rows))


def _rows_of(unit: Unit, store: Store, fragment: Fragment, here: int | None) -> list[SideRow]:
    """One guest instruction's translation; the first row says how it was translated."""
    origin = unit.instruction.address
    note = _NOTES.get(unit.way, unit.way.value)
    return [
        replace(
            _row(place, note if number == 0 else "", store, fragment, here, origin),
            original=unit.instruction.text if number == 0 else "",
        )
        for number, place in enumerate(unit.places)
    ]


def _row(place: Place, note: str, store: Store, fragment: Fragment, here: int | None, origin: int | None) -> SideRow:
    text, more = _text_of(place, store, fragment)
    return SideRow(
        place=f"{place.address:08x}",
        name=text,
        mark=Mark.CURRENT if place.address == here else Mark.NONE,
        note=more or note,
        origin=origin,
    )


def _text_of(place: Place, store: Store, fragment: Fragment) -> tuple[str, str]:
    """The instruction as it lies in the cache now, and a note where its target tells more than its operand."""
    if place.callout is not None:
        if place.callout.way is None:
            what = "the lookup missed" if place.is_miss else f"translate {place.eip:08X}"
            return f"callout: {what}", "a far call through the VMM's gate, into ring 0"
        instruction = place.callout.instruction
        return f"callout: {instruction.text if instruction is not None else ''}", ""
    exit_ = next((exit_ for exit_ in fragment.exits if exit_.jump_at == place.address), None)
    decoded = decode(place.raw, place.address, 32)
    assert decoded is not None
    if exit_ is None:
        return decoded.text, ""
    target, note = _target_of(exit_, store)
    sign = CHAINED if exit_.jump_at in store.links else NOT_CHAINED
    return f"{decoded.mnemonic} {target:#x} {sign} {exit_.eip:x}", note


def _target_of(exit_: Exit, store: Store) -> tuple[int, str]:
    """Where a jump leads now: to another fragment, once that has been chained."""
    chained = store.links.get(exit_.jump_at)
    if chained is None:
        return exit_.stub_at, f"to its stub: guest {exit_.eip:08X} has not been reached from here yet"
    return chained, f"chained to the translation of guest {exit_.eip:08X}"
