"""Binary translation, as VMware's first products had it: a VMM in ring 0, the guest's kernel in translation in ring 1.

Code of the guest's ring 0 is never run: the VMM translates it on demand, into a cache that the guest cannot see, and
the CPU runs that. So no instruction of it can be silent: what is privileged or sensitive has been replaced. Programs
in ring 3 run directly, as under trap-and-emulate; the VMM looks through their code before it first runs, because there
are silent instructions for programs too. Real-mode code runs directly as well, in virtual-8086 mode, looked through
like a program's.

Where no translation is possible (16-bit code of protected mode, single-stepping, hardware breakpoints, rings 1 and 2
of the guest) the VMM interprets instruction by instruction.

Source: Adams & Agesen 2006, section 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ringviz.facts.exceptions import PageFaultError, Vector
from ringviz.facts.instructions import INSTRUCTIONS, SILENT_IDS, PgClass
from ringviz.facts.registers import Cr0, Cr4, Eflags
from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine import microcode
from ringviz.machine.code_cache import unpack_tally
from ringviz.machine.linear import LinearMemory, PageFault, SpectatorMemory
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.microcode.operands import linear_address
from ringviz.machine.paging import ACCESSED, DIRTY, RW, Access, P
from ringviz.machine.state import CS, EAX, ECX, GS, CpuState
from ringviz.machine.stops import (
    BudgetSpent,
    Fault,
    Paused,
    ProtectedAccess,
    SensitiveInsn,
    Stop,
    Watched,
    has_completed,
)
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.mmu.answers import Elsewhere, Traced
from ringviz.vmm.mmu.let_through import let_through
from ringviz.vmm.mmu.telling import TRACE_FAULT
from ringviz.vmm.outcome import Ended, Outcome
from ringviz.vmm.ring_compression import layout as compression
from ringviz.vmm.ring_compression.monitor import RingCompression, Running
from ringviz.vmm.ring_compression.page_tables import map_in_hole
from ringviz.vmm.setup import Setup
from ringviz.vmm.side import Side
from ringviz.vmm.technique import changes_between
from ringviz.vmm.translation import layout
from ringviz.vmm.translation.fragment import Context, Fragment, Place, Way
from ringviz.vmm.translation.side import cache_side
from ringviz.vmm.translation.store import DISPATCH, Store
from ringviz.vmm.translation.translator import translate, way_of
from ringviz.vmm.verdicts import on_bare_cpu

GUILTY_AFTER = 4
"""Traps of one instruction after which it is translated anew, as a callout: ringviz's choice (Adams & Agesen 2006,
section 3, has the idea, "innocent until proven guilty", and no number)."""
_LARGEST_FRAGMENT = 1024
_RING_1 = 1
_BREAKPOINTS_ON = 0xFF
_PAGING_CR0, _PAGING_CR4 = Cr0.PG | Cr0.WP, Cr4.PSE | Cr4.PAE | Cr4.PGE
SIMULATED = "it trapped too often, so the translator put a call to the VMM in its place"
"""Rule of the callouts that stand for an instruction which kept writing to pages that the VMM watches."""
_CALLOUT_RULES = {
    Way.INTERPRET: "the translator put a call to the VMM in its place",
    Way.IN_PLACE: "it needs what translated code keeps for itself, so the translation calls the VMM",
    Way.SIMULATE: SIMULATED,
}


class BinaryTranslation(RingCompression):
    """The guest's kernel in translation, its programs directly."""

    id: ClassVar[str] = "binary-translation"

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        self._map_cache()
        self._tables.own.update(layout.OWN_DESCRIPTORS)
        self._store = Store(self.machine)
        self.machine.on_callout = self._translate_here
        self.machine.next_instruction = self.instruction_here
        self._traps: Counter[int] = Counter()
        """How often the instruction at a guest address has met a write-protected page."""
        self._guilty: frozenset[int] = frozenset()
        """Guest addresses of instructions that are simulated."""
        self._mapping: tuple[int, ...] = ()
        """What decided at the last look which memory the guest's addresses mean."""

    def _map_cache(self) -> None:
        """Map cache and private data into the VMM's part of the address space: the CPU's pages, not the guest's."""
        for linear, physical, size, bits in (
            (layout.CACHE, layout.CACHE_PHYSICAL, layout.CACHE_SIZE, P | ACCESSED | DIRTY),
            (layout.PRIVATE, layout.PRIVATE_PHYSICAL, layout.PRIVATE_SIZE, P | RW | ACCESSED | DIRTY),
        ):
            for offset in range(0, size, PAGE):
                page = (linear + offset - compression.HOLE) >> PAGE_SHIFT
                map_in_hole(self.machine.ram, page, physical + offset | bits)
        below = self.machine.protected_linear
        assert below is not None

        def linear_of(physical: int) -> int:
            for linear, start, size in (
                (layout.CACHE, layout.CACHE_PHYSICAL, layout.CACHE_SIZE),
                (layout.PRIVATE, layout.PRIVATE_PHYSICAL, layout.PRIVATE_SIZE),
            ):
                if 0 <= physical - start < size:
                    return linear + physical - start
            return below(physical)

        self.machine.protected_linear = linear_of
        own = range(layout.CACHE_PHYSICAL >> PAGE_SHIFT, layout.CACHE_PHYSICAL + layout.CACHE_SIZE >> PAGE_SHIFT)
        self.machine.protected_pages |= frozenset(own)

    # ---- the calls ---------------------------------------------------------------------------------------------------

    def power_on(self, state: CpuState) -> None:
        """Begin at the guest's first instruction, which has no translation yet."""
        super().power_on(state)
        self._enter_cache()

    def handle(self, stop: Stop) -> Outcome:
        """Answer a callout of translated code, or leave the cache and answer as ring compression does."""
        place = self._place_here()
        if place is not None and place.callout is not None and isinstance(stop, (SensitiveInsn, Watched)):
            outcome = self._called(place)
        else:
            if place is not None:
                self._step_out(place)
                stop = self._in_the_guests_words(stop)
            instruction = self.instruction_here() if place is not None and place.is_inside else None
            if instruction is not None and instruction.form in microcode.FORMS:
                # A sequence has met a page that it may not use: the VMM does the whole on the virtual CPU.
                rule = "the sequence in the cache could not use the page"
                outcome = self._carry_out(instruction, "callout", rule, self.machine.state)
            else:
                outcome = super().handle(stop)
        if not isinstance(outcome, Ended):
            self._enter_cache()
        return outcome

    def guest_state(self) -> CpuState:
        """The virtual CPU; in the cache, EIP is recovered from the place in the translation."""
        place = self._place_here()
        if place is None:
            return super().guest_state()
        if place.address == DISPATCH:
            return self._virtual.copy()
        state = super().guest_state()
        state.eip = self.machine.state.gpr[EAX] if place.is_miss else place.eip
        if place.has_saved:
            state.gpr[EAX], state.gpr[ECX] = self._private(layout.SAVED_EAX), self._private(layout.SAVED_ECX)
        state.eflags = state.eflags & ~Eflags.IF | self._private(layout.VIRTUAL_IF)
        return state

    def _has_virtual_if(self) -> bool:
        """Translated code keeps the virtual IF in the VMM's private data."""
        if self._place_here() is None:
            return super()._has_virtual_if()
        return bool(self._private(layout.VIRTUAL_IF))

    def instruction_here(self) -> Instruction | None:
        """The guest's instruction, of which a translation runs."""
        if self._place_here() is None:
            return super().instruction_here()
        state = self.guest_state()
        code = LinearMemory(state, self._space).peek(state.linear_eip, 15)
        return None if code is None else decode(code, state.eip, state.code_bits)

    def on_watched(self, stop: Watched) -> Outcome:
        """Interpret a silent instruction of a program, which was found when its code was looked through."""
        real = self.machine.state
        self._catch_up()
        rule = "the VMM looks through code that runs directly before it first does"
        return self._carry_out(stop.instruction, "looked through", rule, real)

    def tallies(self) -> Mapping[str, int]:
        """What translated code does without a stop, and what it costs."""
        in_cache, lookups = unpack_tally(self.machine.cpu.tally)
        return {**super().tallies(), "translated-cli": in_cache, "translated-indirect": lookups}

    on_fragment: Callable[[Fragment], None] | None = None
    """Told of each new fragment, before it runs."""

    def fragments(self) -> tuple[Fragment, ...]:
        """All fragments that are in the code cache now."""
        return tuple(self._store.fragments.values())

    def stop_before(self, addresses: frozenset[int]) -> None:
        """Stop before guest instructions, wherever their translations are."""
        super().stop_before(addresses)
        self._find_breakpoints()

    def _find_breakpoints(self) -> None:
        """Look up where in the code cache the instructions are now that are to be stopped before."""
        found = (self._store.beginnings_of(address) for address in self.machine.breakpoints)
        self.machine.more_breakpoints = frozenset().union(*found)

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """In ring 0 it is translated; in ring 3 it runs as it is."""
        form = instruction.form
        if cpl == 3 or self._running is not Running.RING:
            word, why = super().verdict(instruction, cpl)
            if word == "silent" or (form in SILENT_IDS and self._running is Running.RING):
                return "traps", "the VMM has looked through code that runs directly, and interprets this one"
            return word, why
        state = self.guest_state()
        if not self._is_translatable(state):
            return "callout", "the VMM interprets this code instruction by instruction"
        way = Way.SIMULATE if instruction.address in self._guilty else way_of(instruction, Context.of(state))
        match way:
            case Way.IDENT:
                return "", ""
            case Way.BRANCH:
                return "", way.value
            case Way.LOOKUP | Way.IN_CACHE:
                return "translated", way.value
            case _:
                if form is not None and on_bare_cpu(form, cpl)[0] == "gate":
                    return "gate", INSTRUCTIONS[form].title
                return "callout", way.value

    def side(self) -> Side | None:
        """The translation beside the original."""
        place = self._place_here()
        return cache_side(self._store, None if place is None else place.address)

    def save_vmm(self) -> Any:
        """The notes about the cache as well."""
        return super().save_vmm(), self._store.save(), self._traps.copy(), self._guilty, self._mapping

    def restore_vmm(self, saved: Any) -> None:
        """Take them back."""
        below, store, traps, self._guilty, self._mapping = saved
        super().restore_vmm(below)
        self._store.restore(store)
        self._traps = traps.copy()
        self._space.touched.clear()

    # ---- in and out of the cache -------------------------------------------------------------------------------------

    def _place_here(self) -> Place | None:
        """The translated instruction that the CPU stands before; None where it runs the guest's own code."""
        real = self.machine.state
        if real.segments[CS] != layout.CODE_SEGMENT:
            return None
        return self._store.place(real.eip)

    def _private(self, offset: int) -> int:
        return self.machine.ram.read_int(layout.PRIVATE_PHYSICAL + offset, 4)

    def _is_translatable(self, state: CpuState) -> bool:
        """Tell whether code in this state runs in translation; if not, it is interpreted."""
        code = state.segments[CS]
        return (
            state.cpl == 0
            and code.db
            and code.base == 0
            and not state.eflags & Eflags.TF
            and not state.dr[7] & _BREAKPOINTS_ON
        )

    def _step_out(self, place: Place) -> None:
        """Leave the cache for the guest instruction that a place belongs to, undoing what has begun of it."""
        if place.is_inside and not place.is_miss:
            self.machine.take_back(place.undo_weight)
        self._virtual = self.guest_state()
        super()._let_go()

    def _enter_cache(self) -> None:
        """Go on in the cache, if the guest's kernel is to run."""
        self._check_sources()
        virtual = self._virtual
        if virtual.cpl == 3 or self._running is not Running.RING:
            return
        self._check_mapping(virtual)
        self._write_private(virtual)
        address: int | None = None
        if self._is_translatable(virtual):
            context = Context.of(virtual)
            self._store.in_context(context)
            address = self._store.entry(context, virtual.eip)
        pushed = self._pushed.copy()
        pushed.segments[CS], pushed.segments[GS] = layout.CODE_SEGMENT, layout.DATA_SEGMENT
        pushed.cpl = _RING_1
        pushed.eip = DISPATCH if address is None else address
        pushed.eflags &= ~Eflags.TF
        self._pushed = pushed
        self.machine.cpu.adopt(pushed.copy())

    def _write_private(self, virtual: CpuState) -> None:
        """Give translated code the registers that it has instead of the real ones."""
        flags = virtual.eflags
        words = (flags & Eflags.IF, flags & Eflags.IOPL, virtual.cr0, virtual.cr2, virtual.cr3, virtual.cr4)
        data = b"".join(int(word).to_bytes(4, "little") for word in words)
        if self.machine.ram.read(layout.PRIVATE_PHYSICAL, len(data)) != data:
            self.machine.ram.poke(layout.PRIVATE_PHYSICAL, data)

    def _check_mapping(self, virtual: CpuState) -> None:
        """Throw translations away where guest addresses come to mean other memory.

        A kernel is mapped alike in all of its address spaces, so a change of CR3 leaves most translations as they are.
        """
        mapping = (virtual.cr0 & _PAGING_CR0, virtual.cr3 if virtual.is_paged else 0, virtual.cr4 & _PAGING_CR4)
        if mapping == self._mapping:
            return
        is_other_space = mapping[::2] == self._mapping[::2]
        self._mapping = mapping
        if is_other_space:
            self._check_addresses()
        elif self._store.fragments:
            self._store.flush()

    def _check_sources(self) -> None:
        """Throw translations away whose guest code the VMM itself has written over on the guest's behalf."""
        touched, self._space.touched = self._space.touched, set()
        for frame in sorted(touched & self._store.source_frames):
            self._invalidate(frame)
        if any(self._shadow.is_page_table(frame) for frame in touched):
            self._check_addresses()

    def _check_addresses(self) -> None:
        """Throw translations away whose guest code is no longer found at its address: page tables have changed."""
        memory = SpectatorMemory(self._virtual, self._space)
        still: dict[int, int | None] = {}
        for number, fragment in list(self._store.fragments.items()):
            linear = fragment.eip
            for gpa, data in fragment.source:
                page = linear >> PAGE_SHIFT
                if page not in still:
                    still[page] = _frame_in_use(memory, self._virtual, linear)
                if still[page] != gpa >> PAGE_SHIFT:
                    self._store.throw_away(number)
                    break
                linear += len(data)

    def _invalidate(self, frame: int) -> int:
        """Throw away the translations of code in a frame that has changed; tell how many."""
        stale = [
            number
            for number in sorted(self._store.made_from(frame))
            if any(
                self._space.read_physical(address, len(data)) != data
                for address, data in self._store.fragments[number].source
            )
        ]
        for number in stale:
            self._store.throw_away(number)
        return len(stale)

    # ---- callouts ----------------------------------------------------------------------------------------------------

    def _called(self, place: Place) -> Outcome:
        """Translated code has called the VMM."""
        assert place.callout is not None
        way, instruction = place.callout.way, place.callout.instruction
        self._step_out(place)
        if way is None:
            if not self._is_translatable(self._virtual):
                return self._interpret_one()
            # It could not be translated: the CPU shall say why.
            return self._run_in_place("there is nothing to translate")
        assert instruction is not None
        if way is Way.INTERPRET:
            return self._carry_out(instruction, "callout", self._rule_of(instruction), self.machine.state)
        return self._run_in_place(_CALLOUT_RULES[way], simulated=instruction if way is Way.SIMULATE else None)

    @staticmethod
    def _rule_of(instruction: Instruction) -> str:
        form = instruction.form
        is_privileged = form is not None and INSTRUCTIONS[form].pg_class is PgClass.PRIVILEGED
        what = "privileged" if is_privileged else "sensitive" if form in SILENT_IDS else "about the machine"
        return f"{what}: {_CALLOUT_RULES[Way.INTERPRET]}"

    def _translate_here(self) -> bool:
        """Translated code has called because it does not know what comes next: translate that, and chain the way there.

        Called while the machine runs: nothing happens that the guest could be told of.
        """
        place = self._place_here()
        if place is None or place.callout is None or place.callout.way is not None:
            return False
        self._virtual = virtual = self.guest_state()
        address: int | None = None
        flushes = self._store.flushes
        if self._is_translatable(virtual):
            context = Context.of(virtual)
            address = self._store.entry(context, virtual.eip) or self._translate(context, virtual.eip)
            if address is not None and place.address != DISPATCH and self._store.flushes == flushes:
                self._chain(place, context, virtual.eip, address)
        if address is None and place.address == DISPATCH:
            return False  # an answer for the guest is needed
        super()._let_go()
        self._enter_cache()
        return True

    def _chain(self, place: Place, context: Context, eip: int, address: int) -> None:
        """Let translated code find its own way to a translation the next time."""
        if place.is_miss:
            self._store.remember_target(context, eip, address)
            return
        fragment = self._store.fragment_at(place.address)
        assert fragment is not None
        self._store.chain(next(exit_ for exit_ in fragment.exits if exit_.stub_at == place.address), address)

    def _translate(self, context: Context, eip: int) -> int | None:
        """Translate a unit and record it; None if there is no code."""
        if not self._store.has_room(_LARGEST_FRAGMENT):
            self._store.flush()
        weigh = self.machine.cpu.weigh
        fragment = translate(self._store.made, context, eip, self._store.room_at, self._fetch, self._guilty, weigh)
        if fragment is None:
            return None
        address = self._store.add(fragment)
        if self.on_fragment is not None:
            self.on_fragment(fragment)
        if self.machine.breakpoints:
            self._find_breakpoints()
        count = len(fragment.units)
        self.events.append(
            self._event(
                fragment.units[0].instruction,
                self._virtual,
                self.machine.state,
                self.machine.retired,
                Kind.TRANSLATE,
                "no translation yet",
                "code of the guest's kernel is translated before it runs, a few instructions at a time",
                action=f"{count} instruction{'s' if count > 1 else ''} → {fragment.size} bytes at {address:08X}",
                charges=("translate-instruction",) * count,
                to_ring=_RING_1,
                resume=eip,
            )
        )
        return address

    def _fetch(self, eip: int) -> tuple[Instruction, tuple[tuple[int, bytes], ...]] | None:
        """Read one instruction of the guest's as the CPU would fetch it."""
        memory = LinearMemory(self._virtual, self._space)
        access = Access(is_fetch=True)
        room = PAGE - (eip & 0xFFF)
        try:
            first = memory.translate(eip, access)
            code = self._space.read_physical(first, min(15, room))
            instruction = decode(code, eip, 32)
            if instruction is not None or room >= 15:
                return None if instruction is None else (instruction, ((first, instruction.raw),))
            second = memory.translate((eip + room) & 0xFFFF_FFFF, access)
        except PageFault:
            return None
        instruction = decode(code + self._space.read_physical(second, 15 - room), eip, 32)
        if instruction is None:
            return None
        return instruction, ((first, instruction.raw[:room]), (second, instruction.raw[room:]))

    def _interpret_one(self) -> Outcome:
        """Interpret the instruction at EIP, which no translation can stand for."""
        instruction = self.instruction_here()
        rule = "this code is not translated: the VMM goes through it instruction by instruction"
        if instruction is not None and instruction.form in microcode.FORMS:
            return self._carry_out(instruction, "interpreted", rule, self.machine.state)
        return self._run_in_place(rule)

    def _carry_out(self, instruction: Instruction, cause: str, rule: str, real: CpuState) -> Outcome:
        """Execute an instruction on the virtual CPU and record the callout."""
        with self.saying_where():
            event, outcome = self._interpret(instruction, cause, rule, real)
        if event is not None:
            kind = Kind.CALLOUT if event.kind is Kind.TRAP else event.kind
            self.events.append(replace(event, kind=kind, charges=("translated-callout",)))
        self._let_go()
        return outcome if isinstance(outcome, Ended) else self.conclude()

    def _run_in_place(self, rule: str, simulated: Instruction | None = None) -> Outcome:
        """Run the guest's own instruction, alone, where it stands: it is innocuous, or it traps and is answered.

        Args:
            rule: why.
            simulated: the instruction, where its writes are known to meet pages that the VMM watches.
        """
        linear = self._virtual.linear_eip
        if linear >= compression.HOLE:
            # The limit of the guest's code segment ends below: it must not get at translated code by a jump.
            return self.handle(ProtectedAccess(linear, False, None))
        before, real, at = self._virtual.copy(), self.machine.state.copy(), self.machine.retired
        instruction = self.instruction_here()
        stop = self._simulate(simulated) if simulated is not None else self.machine.run(at + 1)
        if not has_completed(stop) and not isinstance(stop, Paused):
            return self.handle(stop)
        self._catch_up()
        if has_completed(stop):
            self.events.append(
                self._event(
                    instruction,
                    before,
                    real,
                    at,
                    Kind.CALLOUT,
                    "callout",
                    rule,
                    action="this one instruction run where it stands",
                    charges=("translated-callout" if simulated is None else "translated-simulate",),
                    changes=changes_between(before, self._virtual, is_real=False),
                    to_ring=_RING_1,
                    resume=self._virtual.eip,
                )
            )
        self._let_go()
        return self.conclude() if isinstance(stop, (BudgetSpent, Paused)) else self.handle(stop)

    def _simulate(self, instruction: Instruction) -> Stop:
        """Do at once what the trap of a write to a watched page would have led to."""
        state = self._virtual
        target = next((op for op in instruction.ops if op.kind == "mem" and op.is_written), None)
        if target is None:  # a push, a string instruction: let it trap
            return self.machine.step_over()
        linear = linear_address(state, target, instruction.address_size_bits)
        write = Fault(Vector.PF, int(PageFaultError.P | PageFaultError.W), linear, instruction)
        passage = let_through(self.machine, self._shadow, self._space, state, write, open_bus=compression.OPEN_BUS_PAGE)
        self._look_at_writes(gpa >> PAGE_SHIFT for gpa, _ in passage.written)
        # A page that is not watched after all: the loop has ended before the instruction ran.
        return self.machine.step_over() if passage.inner is write else passage.inner

    # ---- what ring compression does otherwise ------------------------------------------------------------------------

    def _in_the_guests_words(self, stop: Stop) -> Stop:
        """Say of a stop in translated code what instruction of the guest's it belongs to."""
        if isinstance(stop, (Fault, ProtectedAccess)):
            return replace(stop, instruction=super().instruction_here())
        return stop

    def _watched_frames(self) -> set[int]:
        """The guest's descriptor tables, and all code that has been translated."""
        return super()._watched_frames() | self._store.source_frames

    def _repair_fetch(self, stop: Fault) -> bool:
        """In the cache there is nothing to repair: what comes next has been translated."""
        return self._place_here() is None and super()._repair_fetch(stop)

    def _let_through(
        self, stop: Fault | ProtectedAccess, answer: Traced | Elsewhere, real: CpuState
    ) -> tuple[Event | None, Outcome]:
        """Notice writes to translated code, and instructions that keep making them."""
        eip, was_kernel = self._virtual.eip, self._virtual.cpl == 0
        event, outcome = super()._let_through(stop, answer, real)
        if not isinstance(answer, Traced):
            return event, outcome
        frame = answer.gpa >> PAGE_SHIFT
        is_code = frame in self._store.source_frames
        stale = self._look_at_writes((frame, frame + 1))
        if event is not None and is_code and event.cause != TRACE_FAULT:
            what = f"{stale} fragment{'s' if stale != 1 else ''} thrown away" if stale else "no translated byte changed"
            event = replace(event, action=f"the guest writes to a page of code that has been translated: {what}")
        if was_kernel:
            self._suspect(eip)
        return event, outcome

    def _look_at_writes(self, frames: Iterable[int]) -> int:
        """Throw away what was made from frames that the guest has written to; tell how many fragments."""
        stale = 0
        for frame in sorted(set(frames)):
            stale += self._invalidate(frame)
            if self._shadow.is_page_table(frame):
                self._check_addresses()
        return stale

    def _suspect(self, eip: int) -> None:
        """Count a trap against an instruction; after too many, translate it anew as a callout."""
        self._traps[eip] += 1
        if eip in self._guilty or self._traps[eip] < GUILTY_AFTER:
            return
        self._guilty |= {eip}
        for number in [
            number
            for number, fragment in self._store.fragments.items()
            if any(unit.instruction.address == eip for unit in fragment.units)
        ]:
            self._store.throw_away(number)


def _frame_in_use(memory: SpectatorMemory, state: CpuState, linear: int) -> int | None:
    """The guest frame behind an address that has been fetched from since its page-table entry was last changed."""
    try:
        gpa = memory.translate(linear, Access(is_fetch=True))
    except PageFault:
        return None
    if state.is_paged and not memory.is_accessed(linear):
        return None
    return gpa >> PAGE_SHIFT
