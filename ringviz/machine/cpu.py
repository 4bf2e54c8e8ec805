"""One x86 CPU on Unicorn: enter any ring, run at full speed, stop exactly, and know what has retired.

Everything that is peculiar to the emulator stays in this file and those beside it (`emulator`, `block_scan`, `layout`,
`native_hooks`, `frames`). What comes out is a `RawStop`; `Machine` makes of it what the manuals call it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from unicorn import Uc
from unicorn import x86_const as x86
from unicorn.unicorn_const import (
    UC_CTL_IO_WRITE,
    UC_CTL_TB_FLUSH,
    UC_HOOK_BLOCK,
    UC_HOOK_CODE,
    UC_HOOK_EDGE_GENERATED,
    UC_HOOK_INTR,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MEM_WRITE,
)
from unicorn.unicorn_py3.unicorn import uclib

from ringviz.facts.instruction_weights import CLASSES
from ringviz.facts.registers import EFLAGS_FIXED, Eflags
from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.guest.instruction_weight import class_of
from ringviz.machine import layout
from ringviz.machine.block_scan import BEGINS_A_BLOCK, SHOWS_VM, UNKNOWN_CLASS, BlockScan, scan_block
from ringviz.machine.code_cache import GUEST_INSTRUCTION, CodeCache, count_of, tally_of, work_of
from ringviz.machine.emulator import STUB_IS_NEXT, UNLIMITED, Emulator
from ringviz.machine.memory import PAGE_SHIFT, Ram
from ringviz.machine.native_hooks import NONE, Reason, Slot, TableFullError, block_key
from ringviz.machine.state import CpuState
from ringviz.machine.trace_hooks import TraceHooks

_CALLOUT = "call-far"
"""What a binary translator puts in the place of an instruction that only the VMM can carry out."""
GATES = frozenset({"sti", "popf", "mov-to-sreg", "pop-sreg"})
"""Instructions that may let an interrupt in that waits, or keep it out for one instruction more."""
_PATIENCE = 1_000_000
_FEW_STEPS = 3
"""After so many single steps on end, more of them are expected: see `Cpu._set_pace`."""
_RF = int(Eflags.RF)
_REASONS = tuple(Reason)
_REFUSALS = (Reason.EXIT, Reason.GUARD)
"""Stops at an instruction that cannot be executed as things are."""
_INTERNAL = (Reason.NOTHING, Reason.LIMIT, Reason.UNKNOWN_BLOCK, Reason.LOG_FULL)
"""Stops of the emulator that mean nothing to the guest: look again and go on."""


class RawStop(NamedTuple):
    """Why `Cpu.go` came back."""

    reason: Reason
    number: int
    """EXIT: 0x100 + AMD exit code. POINT: linear address."""


@dataclass(frozen=True, slots=True)
class RefusedAccess:
    """An access that the guard over a translator's memory did not let pass."""

    physical: int
    is_write: bool


class Cpu(Emulator):
    """The emulated CPU, which runs, stops exactly, and knows what has retired."""

    def __init__(
        self, ram: Ram, fetch: Callable[[int, int], tuple[bytes, int]], weights: Mapping[str, int] | None = None
    ) -> None:
        """Make a CPU.

        Args:
            ram: the RAM that lies at physical address 0 of the emulator.
            fetch: bytes at a linear address as the CPU would fetch them, and their RAM address.
            weights: of classes of instructions, where this CPU has its own.
        """
        self._weights = {class_id: count_of(class_id, weights) for class_id in CLASSES}
        self._fetch = fetch
        super().__init__(ram)
        self.hooks.add(UC_HOOK_BLOCK, self.hooks.block)
        self.hooks.add(UC_HOOK_INTR, self.hooks.interrupt)
        self.uc.hook_add(UC_HOOK_EDGE_GENERATED, self._on_new_block)
        self._blocks: dict[int, tuple[bytes, int, BlockScan, tuple[int, ...]]] = {}
        """By key: code, RAM address, what there is to know, and what each instruction counts for."""
        self._cache: CodeCache | None = None
        self._points: dict[int, Any] = {}
        self._watched_points: set[int] = set()
        """Of these, the ones at which somebody asked to stop; at the others the emulator only begins anew."""
        self._gates: dict[int, Any] = {}
        """Stop points that count only while an interrupt waits."""
        self._obscure: dict[int, Any] = {}
        """Stop points on whole blocks whose instructions Capstone and the emulator do not divide alike."""
        self._breakpoints: list[Any] = []
        self._watched: frozenset[str] = frozenset()
        self._rescout: list[tuple[int, int]] = []
        self._must_flush_code = False
        self._steps = 0
        """Single steps on end."""
        self._stepper: Any = None
        """The callback on every instruction, while single steps are taken."""
        self._hook_error: BaseException | None = None
        ram.on_code_written = self._code_was_written
        self._trace: TraceHooks | None = None

    # ---- counting and looking ----------------------------------------------------------------------------------------

    def retire(self, instruction: Instruction | None = None) -> None:
        """Count one instruction that was completed from outside: with it the emulator's own RF ends, if it is set.

        Args:
            instruction: the one, if it is the CPU that has run it; None if a VMM did so.
        """
        self.slots[Slot.RETIRED] += 1
        if instruction is not None:
            self.slots[Slot.WORK] += work_of(self.weigh(instruction))
        self._complete_from_outside()

    def weigh(self, instruction: Instruction) -> int:
        """What one of the guest's instructions counts for where the CPU runs it."""
        return self._weights[class_of(instruction)]

    @property
    def stands_at_gate(self) -> bool:
        """The CPU is about to execute an instruction that it stops before while an interrupt waits.

        One of `GATES` may also have a stop point of the CPU's own, where a block has to begin.
        """
        linear = self.state.linear_eip
        return linear in self._gates and linear not in self._watched_points

    @property
    def stops_at_gates(self) -> bool:
        """Stop with reason POINT before every one of `GATES`: while an interrupt waits."""
        return bool(self.slots[Slot.WAITING])

    @stops_at_gates.setter
    def stops_at_gates(self, value: bool) -> None:
        self.slots[Slot.WAITING] = int(value)

    @property
    def refused_access(self) -> RefusedAccess:
        """The access to a translator's memory that caused the last stop, with a store undone."""
        slots = self.slots
        is_write = slots[Slot.KIND] == UC_MEM_WRITE
        physical, size = slots[Slot.ADDRESS], slots[Slot.LENGTH]
        if is_write:
            self._ram.poke(physical, slots[Slot.OLD].to_bytes(8, "little")[:size])
        return RefusedAccess(physical, is_write)

    def code_here(self) -> bytes | None:
        """Give the code from EIP on as it lies in the block that has just stopped; None if EIP is not in it.

        Only right after `go`: afterwards state and memory may have been changed.
        """
        last, length, here = self.slots[Slot.LAST_PC], self.slots[Slot.LAST_LEN], self._linear_pc()
        if not self._is_within(here, last, length):
            return None
        return self._blocks[block_key(last, length)][0][self._offset(here, last) :]

    def flush_tlb(self) -> None:
        """Forget cached translations of linear and physical pages."""
        if self._rescout:
            # Throwing single blocks away means looking their page up, which may now fault, and then does nothing.
            self._must_flush_code = True
        super().flush_tlb()

    # ---- running -----------------------------------------------------------------------------------------------------

    def watch(self, forms: frozenset[str]) -> None:
        """Stop before every instruction of these forms (ids of `ringviz.facts.instructions`)."""
        if forms != self._watched:
            self._watched = forms
            for points in (self._points, self._gates):
                for handle in points.values():
                    self.hooks.remove(handle)
                points.clear()
            self._watched_points.clear()
            self._forget_obscure()
            self._flush_code()

    def guard(self, cache: CodeCache) -> None:
        """Give the CPU a code cache of a binary translator: it counts there by weight, and keeps the guest out."""
        self._cache = cache
        self.hooks.guard(cache, self._ram.address)
        self._flush_code()

    is_running = False
    """One of the callbacks of `trace` is being called: the CPU is executing."""

    def trace(self, on_block: Callable[[int, int], None], on_access: Callable[[bool, int, int], None]) -> TraceHooks:
        """Call back for what the guest fetches, loads and stores, from now on.

        Args:
            on_block: takes the linear address and the length of each block entered.
            on_access: takes whether it is a store, RAM address and size of each access that is about to succeed.

        Returns:
            With what to say which of them are nothing new.
        """

        def block(linear: int, size: int) -> None:
            if linear == layout.STUB and not self.slots[Slot.LAST_LEN]:
                return  # the way into the guest
            self._guarded(lambda: on_block(linear, size))

        def access(is_write: bool, physical: int, size: int) -> None:
            self._guarded(lambda: on_access(is_write, physical, size))

        self._trace = hooks = TraceHooks(self._ram.size >> PAGE_SHIFT, block, access)
        # After the block hook that counts: a block that it refuses is not entered.
        self.hooks.add(UC_HOOK_BLOCK, hooks.block, context=hooks.context_address)
        self.hooks.add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, hooks.access, context=hooks.context_address)
        self._flush_code()
        return hooks

    @contextmanager
    def telling_accesses(self, on_access: Callable[[bool, int, int], None]) -> Iterator[None]:
        """Call back before each load and store of the code that runs within: is it a store, RAM address, size.

        The emulator builds the calls into the code it translates, so that is thrown away before and after.
        """
        hooks = TraceHooks(
            self._ram.size >> PAGE_SHIFT,
            lambda _linear, _size: None,
            lambda is_write, physical, size: self._guarded(lambda: on_access(is_write, physical, size)),
        )
        handle = self.hooks.add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, hooks.access, context=hooks.context_address)
        self._flush_code()
        try:
            yield
        finally:
            self.hooks.remove(handle)
            self._flush_code()

    def _guarded(self, callback: Callable[[], None]) -> None:
        """Call somebody out of the emulator; an error of theirs is raised when it has stopped."""
        self.is_running = True
        try:
            callback()
        except BaseException as error:
            self._hook_error = error
            self.uc.emu_stop()
        finally:
            self.is_running = False

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Within one of `trace`'s callbacks: `state` is that of the moment, and nothing that is done to it counts."""
        has_rf = self._real_rf
        self._update_context()
        self._state = None
        try:
            yield
        finally:
            self._state, self._real_rf = None, has_rf

    def glance(self) -> tuple[CpuState, bytes]:
        """Within one of `trace`'s callbacks: the registers, but for the flags, and the code of the instruction."""
        self._update_context()
        code = self.code_here()
        state = self._read_state(EFLAGS_FIXED)
        return state, self._fetch(state.linear_eip, 15)[0] if code is None else code[:15]

    def code_replaced(self, linear: int, size: int) -> None:
        """Forget what is known of code in the cache that has been written over."""
        for points in (self._points, self._gates):
            for address in [address for address in points if linear <= address < linear + size]:
                self.hooks.remove(points.pop(address))
                self._watched_points.discard(address)
        if self._view[layout.HFLAGS_AT : layout.HFLAGS_AT + 1][0] & 3 == 3:
            self._rescout.append((linear, linear + size))  # the cache cannot be looked up from here
        else:
            self.uc.ctl_remove_cache(linear, linear + size)

    def set_breakpoints(self, linear: frozenset[int]) -> None:
        """Stop before the instructions at these linear addresses, too, and at no others."""
        while self._breakpoints:
            self.hooks.remove(self._breakpoints.pop())
        self._breakpoints = [self.hooks.add(UC_HOOK_CODE, self.hooks.code, at, at) for at in sorted(linear)]
        self._must_flush_code = True

    def go(self, limit: int, *, skip: bool = False) -> RawStop:
        """Run until `retired` reaches `limit` exactly, or something stops the CPU before.

        Args:
            limit: value of `retired` at which to stop.
            skip: pass the instruction at EIP even if it is of a watched form.
        """
        start = self.retired
        self._set_pace(limit - start)
        is_stepping = self._stepper is not None
        while self.retired < limit or self.is_inside_sequence():
            skip = skip and self.retired == start  # until the instruction has passed, whatever comes between
            raw = self._start(limit, skip=skip)
            if is_stepping:
                if raw.reason is Reason.POINT and self.retired >= limit and self._begins_instruction(raw.number):
                    break  # a stop point on the instruction behind the last
            # At the limit, but inside a sequence: the block also holds what comes after it, and that must wait.
            elif raw.reason is Reason.LIMIT and (self.retired < limit or self.is_inside_sequence()):
                skip = skip and self.retired == start
                raw = self._run_inside_block(limit - self.retired, skip=skip)
                if raw.reason is Reason.LOG_FULL:
                    raw = self._step_through_replay(skip=skip)
            if raw.reason not in _INTERNAL:
                return raw
        return RawStop(Reason.LIMIT, 0)

    def _set_pace(self, distance: int) -> None:
        """Where one single step follows another, have a callback on every instruction stop the CPU behind the next.

        Without it, each step puts a stop point behind its instruction and takes it away again, and the block is
        translated anew twice. All code is translated anew when the callback comes and when it goes.

        Args:
            distance: instructions to run now.
        """
        if distance == 1:
            self._steps += 1
            # Whoever traces is told of every block that is entered, and must not be told of one that is not run.
            if self._steps > _FEW_STEPS and self._stepper is None and self._trace is None:
                self._stepper = self.hooks.add(UC_HOOK_CODE, self.hooks.step)
                self._must_flush_code = True
        elif distance > 1:
            self._steps = 0
            if self._stepper is not None:
                self._stop_stepping()

    def _stop_stepping(self) -> None:
        """Take away the callback on every instruction."""
        # The emulator looks up every page where it was put. Done as the guest, that would mark its page tables.
        self._update_context()
        self.uc.context_restore(self._host)
        self.hooks.remove(self._stepper)
        self._stepper = None
        self.uc.context_restore(self._context)
        self.flush_tlb()
        self._must_flush_code = True

    def _begins_instruction(self, linear: int) -> bool:
        """Tell whether an instruction of the guest's begins where the CPU is about to execute one."""
        cache = self._cache
        if cache is None or not 0 <= linear - cache.linear < cache.size:
            return True
        return bool(cache.weights.get(linear, 0) & GUEST_INSTRUCTION)

    def is_inside_sequence(self) -> bool:
        """Tell whether the CPU stands in translated code where an instruction of the guest's is half done."""
        if self._cache is None:
            return False
        linear = self._linear_pc() if self._state is None else self._state.linear_eip
        return linear in self._cache.inside

    def refetch(self) -> RawStop:
        """Fetch the next instruction once more and stop before it, with reason LIMIT, or say why it cannot be."""
        while True:
            raw = self._start(self.retired)
            if raw.reason is Reason.LIMIT or raw.reason not in _INTERNAL:
                return raw

    def _run_inside_block(self, count: int, *, skip: bool) -> RawStop:
        """Run the first `count` instructions of the block that refused entry; reason NOTHING when that was done."""
        pc, length = self.slots[Slot.ADDRESS], self.slots[Slot.LENGTH]
        _, _, scan, weights = self._blocks[block_key(pc, length)]
        begins = [index for index, weight in enumerate(weights) if weight & GUEST_INSTRUCTION]
        total = len(begins)
        if count >= total:  # replays settled since have made room for the whole block
            return self._step_through_replay(skip=skip) if total == 1 else RawStop(Reason.NOTHING, 0)
        if len(scan.offsets) != len(weights):
            before = self.retired
            raw = self._start(UNLIMITED, skip=skip)  # to the next instruction, wherever that begins
            return RawStop(Reason.NOTHING, 0) if raw.reason is Reason.POINT and self.retired > before else raw
        target = pc + scan.offsets[begins[count]]
        return self._run_to_point(target, pc, length, stop_at_replay=True, skip=skip)

    def _run_to_point(self, target: int, pc: int, length: int, *, stop_at_replay: bool, skip: bool = False) -> RawStop:
        """Run with a temporary stop point at a linear address inside the block at `pc`."""
        # Within a block the emulator counts on beyond the end of the address space; a new block begins below it again.
        places = {target, target & self.address_mask}
        temporary = [self.hooks.add(UC_HOOK_CODE, self.hooks.code, at, at) for at in places if at not in self._points]
        if temporary:
            self.uc.ctl_remove_cache(pc, pc + length)
        saved_logmax = self.slots[Slot.LOGMAX]
        if stop_at_replay:
            self.slots[Slot.LOGMAX] = 0
        begun_at = self.retired
        try:
            while True:
                # The instruction to be passed is the first one, and not the target behind it.
                raw = self._start(UNLIMITED, skip=skip and self.retired == begun_at)
                if raw.reason is not Reason.NOTHING:
                    break
        finally:
            self.slots[Slot.LOGMAX] = saved_logmax
            for handle in temporary:
                self.hooks.remove(handle)
            if temporary:
                self.uc.ctl_remove_cache(pc, pc + length)
        if raw.reason is Reason.POINT and raw.number in places:
            return RawStop(Reason.NOTHING, 0)
        return raw

    def _step_through_replay(self, *, skip: bool) -> RawStop:
        """Execute the one instruction at EIP, which writes over the block that holds it.

        With a stop behind it, so that what comes next is seen as it is then, and no instruction is overrun.
        """
        state = self.state
        pc = state.linear_eip
        code, _ = self._fetch(pc, 15)
        instruction = decode(code, 0, state.code_bits)
        if instruction is None or instruction.is_branch:  # a block of its own: its replay needs no room
            return RawStop(Reason.NOTHING, 0)
        size = instruction.size
        return self._run_to_point(pc + size, pc, size, stop_at_replay=False, skip=skip)

    def _start(self, limit: int, *, skip: bool = False) -> RawStop:
        """Run once until any stop, and bring `retired` to the truth."""
        pc = self._write_back()
        if int.from_bytes(self._view[layout.EFLAGS_AT : layout.EFLAGS_AT + 4], "little") & _RF:
            # IRET has set it, for one instruction; the emulator clears it at the end of a block only, and shows it.
            self._write_register(x86.UC_X86_REG_EFLAGS, self._read_eflags() & ~_RF)
        if self._must_flush_code:
            self._flush_code()
        while self._rescout:  # blocks translated before their stop points were set, by the last run or by VMRUN
            self.uc.ctl_remove_cache(*self._rescout.pop())
        slots = self.slots
        begun = ((self._code_base_and_eip()[0] + pc) & self.address_mask, self.retired)
        flags = self._read_eflags()
        if self._stepper is None:
            slots[Slot.LIMIT] = limit
        else:
            slots[Slot.LIMIT] = UNLIMITED
            slots[Slot.QUOTA], slots[Slot.AGAIN] = max(0, limit - self.retired), 0
        slots[Slot.REASON] = Reason.NOTHING
        slots[Slot.LAST_PC] = slots[Slot.LAST_LEN] = 0
        slots[Slot.REP_PC] = NONE
        slots[Slot.PATIENCE] = _PATIENCE
        slots[Slot.SKIP] = self._linear_pc() if skip else NONE
        status = uclib.uc_emu_start(self._engine, pc, 0, 0, 0)
        if self._hook_error is not None:
            error, self._hook_error = self._hook_error, None
            raise error
        if status != 0:
            raise RuntimeError(f"the emulator stopped with status {status}")
        self._state = None
        self._update_context()
        reason = _REASONS[slots[Slot.REASON]]
        self._settle(reason)
        if reason in _REFUSALS and begun == (self._linear_pc(), self.retired):
            # The instruction has not been executed, though the emulator may have computed its flags.
            self._write_register(x86.UC_X86_REG_EFLAGS, flags)
        if reason is Reason.STEPPED:
            return RawStop(Reason.LIMIT, 0)
        return RawStop(reason, slots[Slot.ADDRESS])

    def _settle(self, reason: Reason) -> None:
        """Correct `retired`: the block at whose middle the CPU stopped was counted whole at its door."""
        slots = self.slots
        self._settle_replays()
        if reason is Reason.PAUSE:
            # The string instruction is not complete, and counts again when it goes on.
            self.take_back(self._blocks[block_key(slots[Slot.LAST_PC], slots[Slot.LAST_LEN])][3][-1])
            return
        if reason is Reason.LOG_FULL:
            self.take_back(self._undone(slots[Slot.LAST_PC], slots[Slot.LAST_LEN], slots[Slot.ADDRESS]))
            return
        if reason not in (Reason.POINT, Reason.EXIT, Reason.GUARD, Reason.STEPPED):
            return
        last, length = slots[Slot.LAST_PC], slots[Slot.LAST_LEN]
        if not length:
            return
        here = self._linear_pc()
        if reason is Reason.EXIT and slots[Slot.ADDRESS] == 0x141 and self._completed_single_step():
            return
        if self._is_within(here, last, length):
            self.take_back(self._remaining(last, length, here))

    def take_back(self, weight: int) -> None:
        """Undo the count of instructions that were counted at their block's door and have not run."""
        self.slots[Slot.RETIRED] -= weight & 0xFFFF
        self.slots[Slot.TALLY] -= tally_of(weight)
        self.slots[Slot.WORK] -= work_of(weight)

    def _completed_single_step(self) -> bool:
        """Tell whether the #DB that stopped the CPU is the trap after an instruction (DR6.BS)."""
        return bool(layout.DEBUG.unpack_from(self._view, layout.DEBUG_AT)[6] & 0x4000)

    def _settle_replays(self) -> None:
        """Take back the count of blocks that the emulator threw away half-way, for they wrote over themselves."""
        for last, length, here in self.hooks.drain_log():
            self.take_back(self._undone(last, length, here))

    def _undone(self, pc: int, length: int, here: int) -> int:
        """Add up the instructions of a block that were thrown away when a replay began at an address in it.

        None if no instruction of it starts there: then it has jumped into itself.
        """
        _, _, scan, weights = self._blocks[block_key(pc, length)]
        if len(scan.offsets) == len(weights) and self._offset(here, pc) not in scan.offsets:
            return 0
        return self._remaining(pc, length, here)

    def _settle_same_block(self, pc: int, length: int) -> None:
        """Take back a block of one instruction that wrote over itself: it is translated anew and replayed."""
        slots = self.slots
        if slots[Slot.LAST_PC] != pc or slots[Slot.LAST_LEN] != length:
            return
        _, _, scan, weights = self._blocks[block_key(pc, length)]
        if slots[Slot.REP_PC] == pc:
            self._update_context()
            if scan_block(self._fetch(pc, length)[0], self._code_bits()).rep_offset is not None:
                return  # it goes on
            slots[Slot.REP_PC] = NONE  # another instruction stands in its place by now
        if scan.may_be_replay:  # a jump to itself comes back here without having written anything
            self.take_back(sum(weights))
            slots[Slot.QUOTA] += 1  # it will begin once more
            slots[Slot.LAST_LEN] = 0

    def _remaining(self, pc: int, length: int, here: int) -> int:
        """Add up what the instructions of a block count for from a linear address in it to its end."""
        _, _, scan, weights = self._blocks[block_key(pc, length)]
        if len(scan.offsets) != len(weights):  # every instruction of it is a stop point: at most one has been executed
            return sum(weights[int(here != pc) :])
        return sum(weights[scan.offsets.index(self._offset(here, pc)) :])

    # ---- scouting ----------------------------------------------------------------------------------------------------

    def _on_new_block(self, _uc: Uc, block: Any, _previous: Any, _data: Any) -> None:
        """Look at a block that has just been translated and is about to run for the first time."""
        try:
            if self.slots[Slot.ENTERING] != STUB_IS_NEXT:
                self._settle_replays()
                self._settle_same_block(block.pc, block.size)
                self._scout(block.pc, block.size, block.icount)
        except BaseException as error:
            self._hook_error = error
            self.uc.emu_stop()

    def _scout(self, pc: int, length: int, count: int) -> None:
        """Enter a block in the table of counts, and put stop points on the instructions that matter."""
        self._update_context()
        code, address = self._fetch(pc, length)
        self._ram.code_pages.update((address >> PAGE_SHIFT, (address + length - 1) >> PAGE_SHIFT))
        scan = scan_block(code, self._code_bits())
        key = block_key(pc, length)
        is_new = False
        cache = self._cache if self._cache is not None and self._cache.holds(address) else None
        if cache is not None and scan.end != length:  # the CPU ends a block within an instruction that must fault
            scan = replace(scan, offsets=cache.instructions_in(pc, length), end=length)
        if len(scan.offsets) != count or scan.end != length:
            # One of its instructions runs at a time: the first.
            unknown = (*scan.classes[:1], *(UNKNOWN_CLASS,) * count)[:count]
            scan = BlockScan((), unknown, (), None, may_be_replay=count == 1, end=0)
            if key not in self._obscure:
                self._obscure[key] = self.hooks.add(UC_HOOK_CODE, self.hooks.code, pc, pc + length - 1)
                is_new = True
        known = self._blocks.get(key)
        if known is not None and known[0] != code and known[1] != address:
            # Other code at the same linear address, in other memory: the old translation may still be alive, and the
            # table can hold one count only. Throw all away; whichever runs next is scouted again.
            self._must_flush_code = True
            self.uc.emu_stop()
        if cache is not None and len(scan.offsets) == count:
            weights = cache.weigh(pc, scan.offsets)
        else:
            weights = tuple([self._weights[class_id] for class_id in scan.classes])
        self._blocks[key] = (code, address, scan, weights)
        if self._cache is not None and 0 <= pc - self._cache.linear < self._cache.size:
            if len(scan.offsets) == count:
                self.hooks.know_beginnings(pc, scan.offsets, weights)
            else:
                self.hooks.know_beginnings(pc, range(length), (GUEST_INSTRUCTION,) * length)
        rep = None if scan.rep_offset is None else pc + scan.rep_offset
        # Translated code never writes over itself.
        may_be_replay = scan.may_be_replay and cache is None
        try:
            self.hooks.know_block(pc, length, sum(weights), rep, may_be_replay=may_be_replay)
        except TableFullError:
            self._must_flush_code = True
            self.uc.emu_stop()
            return
        for offset, form in scan.forms:
            # What is left in translated code is innocuous, but for the calls of the translator's own.
            is_watched = form in self._watched if cache is None else form == _CALLOUT
            is_watched |= form in (BEGINS_A_BLOCK, SHOWS_VM)
            at = pc + offset
            if is_watched and form != BEGINS_A_BLOCK:
                self._watched_points.add(at)
            if is_watched and at not in self._points:
                self._points[at] = self.hooks.add(UC_HOOK_CODE, self.hooks.code, at, at)
                is_new = True
            elif form in GATES and cache is None and not is_watched:
                is_new |= self._put_gate(at)
        if cache is not None:
            for at in cache.gates.intersection(range(pc, pc + length)):
                is_new |= self._put_gate(at)
        if is_new:
            self._rescout.append((pc, pc + length))
            self.uc.emu_stop()

    def _put_gate(self, at: int) -> bool:
        """Stop at a linear address while an interrupt waits; False if that is so already."""
        if at in self._gates:
            return False
        self._gates[at] = self.hooks.add(UC_HOOK_CODE, self.hooks.gate, at, at)
        return True

    def _code_was_written(self) -> None:
        self._must_flush_code = True

    def _flush_code(self) -> None:
        """Throw all translated code away."""
        self.uc.ctl(UC_CTL_TB_FLUSH, UC_CTL_IO_WRITE)
        self._ram.code_pages.clear()
        self.hooks.forget_blocks()
        self._blocks.clear()
        self._rescout.clear()
        self._forget_obscure()
        self._must_flush_code = False

    def _forget_obscure(self) -> None:
        while self._obscure:
            self.hooks.remove(self._obscure.popitem()[1])

    def _offset(self, here: int, start: int) -> int:
        """Distance of two linear addresses; a block may go across the end of the address space."""
        return (here - start) & self.address_mask

    def _is_within(self, here: int, start: int, length: int) -> bool:
        """Tell whether a linear address lies in a block."""
        return (here - start) & self.address_mask < length
