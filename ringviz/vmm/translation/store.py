"""The code cache: which fragments there are, where they lie, how they are chained, and how they are thrown away."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from ringviz.machine.code_cache import GUEST_INSTRUCTION, CodeCache
from ringviz.machine.machine import Machine
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.vmm.translation import emit, layout
from ringviz.vmm.translation.fragment import Callout, Context, Exit, Fragment, Place, Way

DISPATCH = layout.CACHE
"""A callout that stands for guest code without a translation: `translate what the virtual CPU is to execute next`."""
_FIRST = DISPATCH + 16
_CALLOUTS = (Way.INTERPRET, Way.IN_PLACE, Way.SIMULATE)
_PHYSICAL = layout.CACHE_PHYSICAL - layout.CACHE
_TABLE = layout.PRIVATE_PHYSICAL + layout.LOOKUP_TABLE
_EMPTY_ROW = bytes(8)
_EMPTY_FIRST_ROW = (1).to_bytes(8, "little")
"""All zeros would be the row of EIP 0."""


class Store:
    """Fragments as real bytes in VMM memory, and the translator's notes about them."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._ram = machine.ram
        self._cache = CodeCache(
            layout.CACHE, layout.CACHE_PHYSICAL, layout.CACHE_SIZE, layout.PRIVATE_PHYSICAL, layout.PRIVATE_SIZE
        )
        self.fragments: dict[int, Fragment] = {}
        self.links: dict[int, int] = {}
        """Address of a chained jump -> address it leads to."""
        self.flushes = 0
        self._entries: dict[tuple[Context, int], int] = {}
        self._places: dict[int, Place] = {}
        self._frames: dict[int, frozenset[int]] = {}
        """Guest frame -> numbers of the fragments made from it."""
        self._rows: dict[int, int] = {}
        """Row of the lookup table -> address it leads to."""
        self._row_context: Context | None = None
        self._next = _FIRST
        self.made = 0
        """Fragments made so far; the number of the next one."""
        self._ram.poke(_TABLE, _EMPTY_FIRST_ROW)
        self._write(DISPATCH, emit.callout(0, layout.CALLOUT_SELECTOR))
        self._note(Place(DISPATCH, b"", 0, False, False, GUEST_INSTRUCTION, 0, False, Callout(None, None)))
        machine.guard(self._cache)

    # ---- asking ------------------------------------------------------------------------------------------------------

    def place(self, address: int) -> Place:
        """The translated instruction at an address."""
        return self._places[address]

    def entry(self, context: Context, eip: int) -> int | None:
        """Where the translation of a guest instruction can be entered."""
        return self._entries.get((context, eip))

    @property
    def source_frames(self) -> frozenset[int]:
        """Guest frames that translations were made from."""
        return frozenset(self._frames)

    def made_from(self, frame: int) -> frozenset[int]:
        """Numbers of the fragments made from a frame."""
        return self._frames.get(frame, frozenset())

    def fragment_at(self, address: int) -> Fragment | None:
        """The fragment that an address lies in."""
        starts = sorted((fragment.address, number) for number, fragment in self.fragments.items())
        index = bisect_right(starts, (address, self.made)) - 1
        if index < 0:
            return None
        fragment = self.fragments[starts[index][1]]
        return fragment if address < fragment.address + fragment.size else None

    def beginnings_of(self, eip: int) -> frozenset[int]:
        """Every address at which the translation of a guest instruction begins."""
        return frozenset(
            unit.places[0].address
            for fragment in self.fragments.values()
            for unit in fragment.units
            if unit.instruction.address == eip
        )

    @property
    def used_bytes(self) -> int:
        """Bytes of the cache that hold code."""
        return self._next - _FIRST

    # ---- changing ----------------------------------------------------------------------------------------------------

    @property
    def room_at(self) -> int:
        """Where the next fragment will lie."""
        return self._next

    def has_room(self, size: int) -> bool:
        """Tell whether a fragment of so many bytes fits."""
        return self._next + size <= layout.CACHE + layout.CACHE_SIZE

    def add(self, fragment: Fragment) -> int:
        """Take a fragment that was made for `room_at`; give its address."""
        self.fragments[fragment.number] = fragment
        self.made = fragment.number + 1
        self._write(fragment.address, b"".join(place.raw for place in fragment.places))
        for place in fragment.places:
            self._note(place)
        self._next = fragment.address + fragment.size
        self._entries[fragment.context, fragment.eip] = fragment.address
        before: Way | None = None
        for unit in fragment.units:
            if before in _CALLOUTS:  # here the VMM comes back to
                self._entries.setdefault((fragment.context, unit.instruction.address), unit.places[0].address)
            before = unit.way
        for address, data in fragment.source:
            for frame in range(address >> PAGE_SHIFT, (address + len(data) - 1 >> PAGE_SHIFT) + 1):
                self._frames[frame] = self.made_from(frame) | {fragment.number}
        return fragment.address

    def chain(self, exit_: Exit, address: int) -> None:
        """Let a jump lead to a fragment instead of to its stub."""
        self._aim(exit_, address)
        self.links[exit_.jump_at] = address

    def remember_target(self, context: Context, eip: int, address: int) -> None:
        """Enter a translation in the lookup table, which is for one context at a time."""
        if context != self._row_context:
            self.forget_targets()
            self._row_context = context
        row = eip & layout.LOOKUP_ROWS - 1
        self._rows[row] = address
        self._ram.poke(_TABLE + 8 * row, (-eip & 0xFFFF_FFFF).to_bytes(4, "little") + address.to_bytes(4, "little"))

    def in_context(self, context: Context) -> None:
        """Make sure that the lookup table has no target of another context."""
        if context != self._row_context:
            self.forget_targets()
            self._row_context = context

    def forget_targets(self) -> None:
        """Empty the lookup table."""
        for row in self._rows:
            self._empty_row(row)
        self._rows.clear()

    def throw_away(self, number: int) -> None:
        """Forget a fragment: nothing leads to it any more."""
        gone = self.fragments.pop(number)
        inside = range(gone.address, gone.address + gone.size)
        self._entries = {key: address for key, address in self._entries.items() if address not in inside}
        for fragment in self.fragments.values():
            for exit_ in fragment.exits:
                if self.links.get(exit_.jump_at) in inside:
                    self._aim(exit_, exit_.stub_at)
                    del self.links[exit_.jump_at]
        for exit_ in gone.exits:
            self.links.pop(exit_.jump_at, None)
        for row in [row for row, address in self._rows.items() if address in inside]:
            del self._rows[row]
            self._empty_row(row)
        for place in gone.places:
            del self._places[place.address]
        self._frames = {frame: left for frame, numbers in self._frames.items() if (left := numbers - {number})}

    def flush(self) -> None:
        """Throw everything away and begin at the start of the cache."""
        self.flushes += 1
        self.forget_targets()
        dispatch = self._places[DISPATCH]
        for notes in (self.fragments, self.links, self._entries, self._places, self._frames):
            notes.clear()
        self._machine.cpu.code_replaced(_FIRST, self._next - _FIRST)
        self._next = _FIRST
        self._note_all({DISPATCH: dispatch})

    # ---- saving ------------------------------------------------------------------------------------------------------

    def save(self) -> Any:
        """Give the notes; the code itself is in RAM."""
        return (
            self.fragments.copy(), self.links.copy(), self._entries.copy(), self._places.copy(), self._frames.copy(),
            self._rows.copy(), self._row_context, self._next, self.made, self.flushes,
        )  # fmt: skip

    def restore(self, saved: Any) -> None:
        """Take the notes back; RAM has been restored."""
        fragments, links, entries, places, pages, rows, self._row_context, self._next, self.made, self.flushes = saved
        self.fragments, self.links, self._entries = fragments.copy(), links.copy(), entries.copy()
        self._frames, self._rows = pages.copy(), rows.copy()
        self._note_all(places)

    # ---- within ------------------------------------------------------------------------------------------------------

    def _aim(self, exit_: Exit, target: int) -> None:
        end = exit_.jump_at + exit_.jump_size
        self._write(end - 4, (target - end & 0xFFFF_FFFF).to_bytes(4, "little"))
        self._machine.cpu.code_replaced(exit_.jump_at, exit_.jump_size)

    def _write(self, address: int, data: bytes) -> None:
        self._ram.poke(address + _PHYSICAL, data)

    def _empty_row(self, row: int) -> None:
        self._ram.poke(_TABLE + 8 * row, _EMPTY_ROW if row else _EMPTY_FIRST_ROW)

    def _note(self, place: Place) -> None:
        self._places[place.address] = place
        self._cache.weights[place.address] = place.weight
        if place.is_gate:
            self._cache.gates.add(place.address)
        else:
            self._cache.gates.discard(place.address)
        self._cache.allowed[place.address - layout.CACHE] = place.may_reach
        if place.weight & GUEST_INSTRUCTION:
            self._cache.inside.discard(place.address)
        else:
            self._cache.inside.add(place.address)

    def _note_all(self, places: dict[int, Place]) -> None:
        self._places = {}
        self._cache.forget()
        for place in places.values():
            self._note(place)
