"""One x86 CPU on Unicorn: enter any ring, run at full speed, stop exactly, and know what has retired.

Everything that is peculiar to the emulator stays in this file and the three beside it (`layout`, `native_hooks`,
`frames`). What comes out is a `RawStop`; `Machine` makes of it what the manuals call it.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn import x86_const as x86
from unicorn.unicorn_const import (
    UC_CTL_IO_WRITE,
    UC_CTL_TB_FLUSH,
    UC_CTL_TLB_FLUSH,
    UC_HOOK_BLOCK,
    UC_HOOK_CODE,
    UC_HOOK_EDGE_GENERATED,
    UC_HOOK_INTR,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MEM_WRITE,
    UC_PROT_ALL,
)
from unicorn.unicorn_py3.unicorn import uclib

from ringviz.facts.instruction_weights import CLASSES
from ringviz.facts.registers import EFLAGS_FIXED, Efer, Eflags
from ringviz.facts.segments import SegmentCache, null_cache
from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.guest.instruction_weight import class_of
from ringviz.machine import layout
from ringviz.machine.code_cache import (
    GUEST_INSTRUCTION,
    CodeCache,
    count_of,
    tally_of,
    work_of,
)
from ringviz.machine.frames import FrameMap
from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.machine.native_hooks import NONE, Hooks, Reason, Slot, TableFullError, block_key
from ringviz.machine.state import ADDRESS_32, CS, EAX, CpuState, TableRegister, same_but_plain, segment
from ringviz.machine.svm.registers import SvmRegisters
from ringviz.machine.trace_hooks import TraceHooks
from ringviz.machine.vmcb import encode_save_area

_CALLOUT = "call-far"
"""What a binary translator puts in the place of an instruction that only the VMM can carry out."""
_NEEDS_FLAGS_SETTLED = frozenset({"loope", "loopne", "bt", "bts", "btr", "btc", "cmpxchg8b", "cmpxchg16b"})
"""Where an instruction before them in the same block has set the flags, the emulator loses them in LOOPE and LOOPNE
when ECX becomes 0 and in CMPXCHG8B and CMPXCHG16B, and lets what the bit tests leave undefined depend on that
instruction, and so on where a block begins."""
_FLAGS_BEFORE_STORE = ("set", "rcl", "rcr")
"""The emulator computes their flags before they store: begun anew, they leave the flags as they were where the store is
refused."""
GATES = frozenset({"sti", "popf", "mov-to-sreg", "pop-sreg"})
"""Instructions that may let an interrupt in that waits, or keep it out for one instruction more."""
_FLAGS_BEFORE_LOAD = frozenset({"mov-to-sreg", "pop-sreg", "load-far-pointer"})
"""Where an instruction before them in the same block has set the flags, the emulator loses them if they fault."""
_BEGINS_A_BLOCK = "begins a block"
"""No form, but stopped at like one: begun anew, in a block of their own, these instructions are right."""
_SHOWS_VM = "shows VM"
"""No form either. PUSHFD in 16-bit code: in virtual-8086 mode the emulator stores VM, which the CPU stores as 0."""
_RF = int(Eflags.RF)
_FPU_CONTROL = (x86.UC_X86_REG_FPCW, x86.UC_X86_REG_FPSW, x86.UC_X86_REG_FPTAG, x86.UC_X86_REG_MXCSR)
_X87 = range(x86.UC_X86_REG_FP0, x86.UC_X86_REG_FP0 + 8)
"""By their place in the CPU, not from the top of the stack."""
_UNKNOWN = "simple"
"""Class of an instruction that Capstone does not read as the emulator does."""
_EFER_MSR, _HSAVE_MSR = 0xC000_0080, 0xC001_0117
_PATIENCE = 1_000_000
_FEW_STEPS = 3
"""After so many single steps on end, more of them are expected: see `Cpu._set_pace`."""
_UNLIMITED = NONE >> 1
_STUB_IS_NEXT = 2
"""Of `Slot.ENTERING`: the host is about to begin the stub that enters the guest."""
_REASONS = tuple(Reason)
_REFUSALS = (Reason.EXIT, Reason.GUARD)
"""Stops at an instruction that cannot be executed as things are."""
_INTERNAL = (Reason.NOTHING, Reason.LIMIT, Reason.UNKNOWN_BLOCK, Reason.LOG_FULL)
"""Stops of the emulator that mean nothing to the guest: look again and go on."""

# VMCB: what always stops, because the emulator's own answer is not the machine's (see `Machine.run`).
INTERCEPT_CR = 1 << 16 | 1 << 20  # writes of CR0 (LMSW and CLTS too) and CR4: it does not check reserved bits
_INTERCEPT_1 = 1 << 13 | 1 << 14 | 1 << 18 | 1 << 21 | 1 << 24 | 1 << 26 | 1 << 28 | 1 << 31
# LTR (the emulator forgets to cache the busy bit), RDTSC, CPUID, INTn, HLT, INVLPGA, MSR, SHUTDOWN
_INTERCEPT_2 = 0b1111_1101  # VMRUN, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, RDTSCP; VMMCALL raises #UD by itself


@dataclass(frozen=True, slots=True)
class RawStop:
    """Why `Cpu.go` came back."""

    reason: Reason
    number: int
    """EXIT: 0x100 + AMD exit code. POINT: linear address."""


@dataclass(frozen=True, slots=True)
class RefusedAccess:
    """An access that the guard over a translator's memory did not let pass."""

    physical: int
    is_write: bool


@dataclass(frozen=True, slots=True)
class _Scan:
    """What there is to know of a block of code, whatever its address."""

    offsets: tuple[int, ...]
    classes: tuple[str, ...]
    """What each instruction is to `ringviz.facts.instruction_weights`."""
    forms: tuple[tuple[int, str], ...]
    rep_offset: int | None
    may_be_replay: bool
    end: int
    """Offset behind the last instruction that could be decoded."""


def _begins_a_block(instruction: Instruction, *, is_first: bool) -> bool:
    """Tell whether the emulator must stop before an instruction, to begin anew with the flags settled.

    Args:
        instruction: the instruction.
        is_first: it begins a block as it is.
    """
    name = instruction.mnemonic.rsplit(" ", 1)[-1]
    if name in _NEEDS_FLAGS_SETTLED or instruction.form in _FLAGS_BEFORE_LOAD:
        return not is_first
    return instruction.writes_memory and name.startswith(_FLAGS_BEFORE_STORE)


@lru_cache(maxsize=65536)
def _scan(code: bytes, bits: int) -> _Scan:
    """Decode a translated block once: where its instructions start, and which of them matter."""
    offsets: list[int] = []
    classes: list[str] = []
    forms: list[tuple[int, str]] = []
    offset, last = 0, None
    while offset < len(code):
        offsets.append(offset)
        last = decode(code[offset : offset + 15], 0, bits)
        if last is None:  # the CPU will raise #UD here
            classes.append(_UNKNOWN)
            break
        classes.append(class_of(last))
        if last.form is not None:
            forms.append((offset, last.form))
            if bits == 16 and last.form == "pushf" and last.operand_size_bits == 32:
                forms.append((offset, _SHOWS_VM))
        if _begins_a_block(last, is_first=not offset):
            forms.append((offset, _BEGINS_A_BLOCK))
        offset += last.size
    is_single = len(offsets) == 1
    return _Scan(
        tuple(offsets),
        tuple(classes),
        tuple(forms),
        offsets[-1] if last is not None and last.is_rep_string else None,
        is_single and last is not None and (last.writes_memory or not last.is_branch),
        offset,
    )


@lru_cache(maxsize=4096)
def _cache(selector: int, base: int, limit: int, flags: int) -> SegmentCache:
    """Make a segment cache of QEMU's fields."""
    return segment(selector & 0xFFFF, base & 0xFFFF_FFFF, limit, flags >> 8 & 0xFF | flags >> 12 & 0xF00)


@lru_cache(maxsize=4096)
def _segments(
    saved: bytes,
) -> tuple[tuple[SegmentCache, ...], SegmentCache, SegmentCache, TableRegister, TableRegister]:
    """Decode the saved segment registers, LDTR, TR, GDTR and IDTR, which seldom change."""
    fields = layout.SEGMENTS.unpack(saved)
    caches = [_cache(*fields[i : i + 4]) for i in range(0, 32, 4)]
    return (
        tuple(caches[:6]),
        caches[6] if caches[6].selector & ~3 else null_cache(caches[6].selector),
        caches[7],
        TableRegister(fields[33] & 0xFFFF_FFFF, fields[34]),
        TableRegister(fields[37] & 0xFFFF_FFFF, fields[38]),
    )


class CpuLayoutError(RuntimeError):
    """Unicorn keeps its state elsewhere than `layout` says."""


class Cpu:
    """The emulated CPU. `state` is its architectural state; change it freely, it is written back before running.

    This one has no long mode; `long_cpu` has the other.
    """

    _mode = UC_MODE_32
    _frame_map: type[FrameMap] = FrameMap
    _registers: Sequence[int] = (
        x86.UC_X86_REG_EAX,
        x86.UC_X86_REG_ECX,
        x86.UC_X86_REG_EDX,
        x86.UC_X86_REG_EBX,
        x86.UC_X86_REG_ESP,
        x86.UC_X86_REG_EBP,
        x86.UC_X86_REG_ESI,
        x86.UC_X86_REG_EDI,
    )
    _instruction_pointer: int = x86.UC_X86_REG_EIP
    _xmm_count = 8
    _intercept_cr = INTERCEPT_CR
    address_mask = ADDRESS_32
    """Linear addresses of the running program, their highest included."""

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
        self._ram = ram
        self.uc = uc = Uc(UC_ARCH_X86, self._mode)
        uc.ctl_set_cpu_model(x86.UC_CPU_X86_EPYC)  # the default model has no SVM
        uc.ctl_exits_enabled(True)  # an `until` address would be probed as code and disturb CR2
        uc.ctl_set_exits([])
        uc.mem_map_ptr(0, ram.size, UC_PROT_ALL, ram.address)
        uc.mem_map(layout.HIDDEN, layout.HIDDEN_SIZE)
        self._engine = uc._uch
        self._number = ctypes.c_uint64()
        self._number_reference = ctypes.byref(self._number)
        self._prepare_host()
        self.frames = self._frame_map(uc, layout.FRAME_TABLES)
        self._context = uc.context_save()
        self._view = (ctypes.c_char * self._context.size).from_address(self._context.context.value)
        self._host = uc.context_save()
        self._host_view = (ctypes.c_char * self._host.size).from_address(self._host.context.value)
        self.hooks = Hooks(self._engine)
        self.slots = self.hooks.slots
        self.hooks.add(UC_HOOK_BLOCK, self.hooks.block)
        self.hooks.add(UC_HOOK_INTR, self.hooks.interrupt)
        uc.hook_add(UC_HOOK_EDGE_GENERATED, self._on_new_block)
        self._blocks: dict[int, tuple[bytes, int, _Scan, tuple[int, ...]]] = {}
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
        self._state: CpuState | None = None
        self._clean: CpuState | None = None
        self._must_clear_rf = False
        self._completed_outside = -1
        """Count of retired instructions right after one was completed from outside: the emulator's one-instruction
        states are over by then, though it does not know."""
        self._efer, self._sysenter = 0, [0, 0, 0]
        self._svm: SvmRegisters | None = None
        """The emulator's own guest mode is something else: this machine is always in it."""
        self._trace: TraceHooks | None = None
        self._real_rf = False
        """RF as the emulator held it when the state was read."""

    # ---- state -------------------------------------------------------------------------------------------------------

    @property
    def retired(self) -> int:
        """Guest instructions completed since power-on."""
        return self.slots[Slot.RETIRED]

    @retired.setter
    def retired(self, value: int) -> None:
        self.slots[Slot.RETIRED] = value

    @property
    def work(self) -> int:
        """Hundredths of a cycle of the instructions that the CPU has run by itself since power-on."""
        return self.slots[Slot.WORK]

    def retire(self, instruction: Instruction | None = None) -> None:
        """Count one instruction that was completed from outside: with it the emulator's own RF ends, if it is set.

        Args:
            instruction: the one, if it is the CPU that has run it; None if a VMM did so.
        """
        self.slots[Slot.RETIRED] += 1
        if instruction is not None:
            self.slots[Slot.WORK] += work_of(self.weigh(instruction))
        self._must_clear_rf = True
        self._real_rf = bool(self.state.eflags & _RF)
        self._completed_outside = self.retired

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
    def tally(self) -> int:
        """What translated code did on the quiet since power-on: see `code_cache.unpack_tally`."""
        return self.slots[Slot.TALLY]

    @property
    def refused_access(self) -> RefusedAccess:
        """The access to a translator's memory that caused the last stop, with a store undone."""
        slots = self.slots
        is_write = slots[Slot.KIND] == UC_MEM_WRITE
        physical, size = slots[Slot.ADDRESS], slots[Slot.LENGTH]
        if is_write:
            self._ram.poke(physical, slots[Slot.OLD].to_bytes(8, "little")[:size])
        return RefusedAccess(physical, is_write)

    @property
    def state(self) -> CpuState:
        """The architectural state; the same object until the CPU runs again."""
        if self._state is None:
            self._state = self._read_state()
            self._clean = self._state.copy()
        return self._state

    @property
    def svm(self) -> SvmRegisters | None:
        """The registers of SVM; None without AMD-V."""
        return self._svm if self._state is None else self._state.svm

    def load(self, state: CpuState) -> None:
        """Put the CPU into a state, whatever it was before."""
        self._state, self._clean = state, None

    def code_here(self) -> bytes | None:
        """Give the code from EIP on as it lies in the block that has just stopped; None if EIP is not in it.

        Only right after `go`: afterwards state and memory may have been changed.
        """
        last, length, here = self.slots[Slot.LAST_PC], self.slots[Slot.LAST_LEN], self._linear_pc()
        if not self._is_within(here, last, length):
            return None
        return self._blocks[block_key(last, length)][0][self._offset(here, last) :]

    def adopt(self, state: CpuState) -> None:
        """Make a changed copy of `state` the state."""
        current = self.state
        for name in CpuState.__slots__:
            setattr(current, name, getattr(state, name))

    @property
    def has_resume_flag(self) -> bool:
        """RF is set: by an IRET just now, for the next instruction only. No state shows it."""
        return bool(self.state.eflags & _RF) or self._real_rf

    def clear_resume_flag(self) -> None:
        """Clear RF now: the emulator does so at the end of a block only, and PUSHF would store it until then."""
        state = self.state
        state.eflags &= ~_RF
        self._real_rf = False
        self.uc.reg_write(x86.UC_X86_REG_EFLAGS, state.eflags)
        if self._clean is not None:
            self._clean.eflags = state.eflags

    def paging_registers(self) -> tuple[int, int, int, int]:
        """CR0, CR3, CR4 and EFER as the emulator holds them, current inside callbacks too."""
        cr0, _, _, cr3, cr4 = layout.CONTROL.unpack_from(self._view, layout.CONTROL_AT)
        return cr0 & 0xFFFF_FFFF, cr3 & 0xFFFF_FFFF, cr4 & 0xFFFF_FFFF, self._efer

    @property
    def error_code(self) -> int:
        """Error code of the exception, or EXITINFO1 of the #VMEXIT, that caused the last stop."""
        return int.from_bytes(self._view[layout.ERROR_CODE_AT : layout.ERROR_CODE_AT + 4], "little")

    @property
    def exit_info_2(self) -> int:
        """EXITINFO2 of the last stop: guest-physical address of a nested fault, linear address of a #PF."""
        return int.from_bytes(self.uc.mem_read(layout.VMCB + 0x80, 8), "little")

    @property
    def interrupt_shadow(self) -> bool:
        """The last instruction, STI or a load of SS, keeps interrupts out until the next one has completed."""
        inhibited = self._view[layout.HFLAGS_AT : layout.HFLAGS_AT + 1][0] & layout.INHIBIT_INTERRUPTS
        return bool(inhibited) and self.retired != self._completed_outside

    def fpu_image(self) -> tuple[int, ...]:
        """Give the x87 and SSE registers a guest can see: FCW, FSW, tags, MXCSR, ST0..7, XMM0..7 or to XMM15."""
        self._write_back()
        read = self.uc.reg_read
        control = (x86.UC_X86_REG_FPCW, x86.UC_X86_REG_FPSW, x86.UC_X86_REG_FPTAG, x86.UC_X86_REG_MXCSR)
        stack = range(x86.UC_X86_REG_ST0, x86.UC_X86_REG_ST0 + 8)
        vector = range(x86.UC_X86_REG_XMM0, x86.UC_X86_REG_XMM0 + self._xmm_count)
        return tuple(int(read(register)) for register in (*control, *stack, *vector))

    def fpu_registers(self) -> tuple[int, ...]:
        """Give FCW, FSW, tags, MXCSR, the eight x87 registers in two parts each, and XMM0 on, as they are loaded."""
        self._write_back()
        read = self.uc.reg_read
        parts = [int(read(register)) for register in _FPU_CONTROL]
        for register in _X87:
            parts += read(register)
        return (*parts, *(int(read(x86.UC_X86_REG_XMM0 + number)) for number in range(self._xmm_count)))

    def load_fpu_registers(self, registers: Sequence[int]) -> None:
        """Let the x87 and SSE registers hold what `fpu_registers` gave, in this process or another.

        Raises:
            ValueError: there are not as many as this CPU has.
        """
        expected = len(_FPU_CONTROL) + 2 * len(_X87) + self._xmm_count
        if len(registers) != expected:
            raise ValueError(f"found {len(registers)} parts of FPU registers, expected {expected}")
        self._write_back()
        write = self.uc.reg_write
        for register, value in zip(_FPU_CONTROL, registers, strict=False):
            write(register, value)
        rest = list(registers[len(_FPU_CONTROL) :])
        for number, register in enumerate(_X87):
            write(register, (rest[2 * number], rest[2 * number + 1]))
        for number, value in enumerate(rest[2 * len(_X87) :]):
            write(x86.UC_X86_REG_XMM0 + number, value)
        # Loading a register marks it as in use: the tags come last.
        write(x86.UC_X86_REG_FPTAG, registers[_FPU_CONTROL.index(x86.UC_X86_REG_FPTAG)])

    def save(self) -> tuple[bytes, int, int, int, int, tuple[int, ...], int, SvmRegisters | None]:
        """Give everything the emulated CPU holds, to the last hidden bit; only for `restore` in this process."""
        self._write_back()
        self._update_context()
        sysenter = tuple(self._sysenter)
        counts = self.retired, self.tally, self.work
        return bytes(self._view), *counts, self._efer, sysenter, self._completed_outside, self._svm

    def restore(self, saved: tuple[bytes, int, int, int, int, tuple[int, ...], int, SvmRegisters | None]) -> None:
        """Return to a saved state. Memory is the caller's to restore."""
        image, *counts, self._efer, sysenter, self._completed_outside, self._svm = saved
        self.retired, self.slots[Slot.TALLY], self.slots[Slot.WORK] = counts
        self._sysenter = list(sysenter)
        # The header holds pointers of this engine; only what follows it is CPU state.
        size = len(image) - layout.HEADER
        ctypes.memmove(ctypes.addressof(self._view) + layout.HEADER, bytes(image[layout.HEADER :]), size)
        self.uc.context_restore(self._context)
        self.flush_tlb()
        self._state = self._clean = None

    def flush_tlb(self) -> None:
        """Forget cached translations of linear and physical pages."""
        if self._rescout:
            # Throwing single blocks away means looking their page up, which may now fault, and then does nothing.
            self._must_flush_code = True
        self.uc.ctl(UC_CTL_TLB_FLUSH, UC_CTL_IO_WRITE)

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

    def control_registers(self) -> tuple[int, int, int, int]:
        """CR0, CR3, CR4 and EFER, current at the beginning of every block: all but CR3 change at stops only."""
        cr0, _, _, _, cr4 = layout.CONTROL.unpack_from(self._view, layout.CONTROL_AT)
        return cr0 & 0xFFFF_FFFF, self.uc.reg_read(x86.UC_X86_REG_CR3), cr4 & 0xFFFF_FFFF, self._efer

    @property
    def entered_ring(self) -> int:
        """The CPL in which the CPU was let go last: all that changes it is a stop."""
        return int(self._view[layout.HFLAGS_AT : layout.HFLAGS_AT + 1][0]) & 3

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
            raw = self._start(_UNLIMITED, skip=skip)  # to the next instruction, wherever that begins
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
                raw = self._start(_UNLIMITED, skip=skip and self.retired == begun_at)
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
            self.uc.reg_write(x86.UC_X86_REG_EFLAGS, self._read_eflags() & ~_RF)
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
            slots[Slot.LIMIT] = _UNLIMITED
            slots[Slot.QUOTA], slots[Slot.AGAIN] = max(0, limit - self.retired), 0
        slots[Slot.REASON] = Reason.NOTHING
        slots[Slot.LAST_PC] = slots[Slot.LAST_LEN] = 0
        slots[Slot.REP_PC] = NONE
        slots[Slot.PATIENCE] = _PATIENCE
        slots[Slot.SKIP] = self._linear_pc() if skip else NONE
        status = uclib.uc_emu_start(
            self._engine, ctypes.c_uint64(pc), ctypes.c_uint64(0), ctypes.c_uint64(0), ctypes.c_size_t(0)
        )
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
            self.uc.reg_write(x86.UC_X86_REG_EFLAGS, flags)
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
        if slots[Slot.LAST_PC] != pc or slots[Slot.LAST_LEN] != length or slots[Slot.REP_PC] == pc:
            return
        _, _, scan, weights = self._blocks[block_key(pc, length)]
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
            if self.slots[Slot.ENTERING] != _STUB_IS_NEXT:
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
        scan = _scan(code, self._code_bits())
        key = block_key(pc, length)
        is_new = False
        cache = self._cache if self._cache is not None and self._cache.holds(address) else None
        if cache is not None and scan.end != length:  # the CPU ends a block within an instruction that must fault
            scan = replace(scan, offsets=cache.instructions_in(pc, length), end=length)
        if len(scan.offsets) != count or scan.end != length:
            # One of its instructions runs at a time: the first.
            unknown = (*scan.classes[:1], *(_UNKNOWN,) * count)[:count]
            scan = _Scan((), unknown, (), None, may_be_replay=count == 1, end=0)
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
            is_watched |= form in (_BEGINS_A_BLOCK, _SHOWS_VM)
            at = pc + offset
            if is_watched and form != _BEGINS_A_BLOCK:
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

    # ---- reading and writing the emulator ----------------------------------------------------------------------------

    def _update_context(self) -> None:
        uclib.uc_context_save(self._engine, self._context.context)

    def _read_eflags(self) -> int:
        """Read EFLAGS whole: the saved context has the arithmetic flags in pieces only."""
        uclib.uc_reg_read(self._engine, x86.UC_X86_REG_EFLAGS, self._number_reference)
        return self._number.value

    def _linear_pc(self) -> int:
        base, eip = self._code_base_and_eip()
        return (base + eip) & self.address_mask

    def _offset(self, here: int, start: int) -> int:
        """Distance of two linear addresses; a block may go across the end of the address space."""
        return (here - start) & self.address_mask

    def _is_within(self, here: int, start: int, length: int) -> bool:
        """Tell whether a linear address lies in a block."""
        return (here - start) & self.address_mask < length

    def _code_bits(self) -> int:
        """Default size of the code that has just been translated."""
        return 32 if self._view[layout.HFLAGS_AT : layout.HFLAGS_AT + 1][0] & layout.CODE_IS_32BIT else 16

    def _code_base_and_eip(self) -> tuple[int, int]:
        unpack, view = layout.NUMBER.unpack_from, self._view
        return unpack(view, layout.CODE_BASE_AT)[0], unpack(view, layout.INSTRUCTION_POINTER_AT)[0]

    def _read_state(self, eflags: int | None = None) -> CpuState:
        """Read the whole architectural state out of the saved context; EFLAGS take long, and may be given."""
        view = self._view
        *gpr, eip = layout.REGISTERS.unpack_from(view, layout.REGISTERS_AT)
        segments, ldtr, tr, gdtr, idtr = _segments(view[layout.SEGMENTS_AT : layout.SEGMENTS_END])
        cr0, _, cr2, cr3, cr4 = layout.CONTROL.unpack_from(view, layout.CONTROL_AT)
        dr = list(layout.DEBUG.unpack_from(view, layout.DEBUG_AT))
        dr[4] = dr[5] = 0
        if eflags is None:
            eflags = self._read_eflags()
            self._real_rf = bool(eflags & _RF)
        return CpuState(
            [value & 0xFFFF_FFFF for value in gpr],
            eip & 0xFFFF_FFFF,
            eflags & ~_RF,
            list(segments),
            ldtr,
            tr,
            gdtr,
            idtr,
            cr0 & 0xFFFF_FFFF,
            cr2 & 0xFFFF_FFFF,
            cr3 & 0xFFFF_FFFF,
            cr4 & 0xFFFF_FFFF,
            view[layout.HFLAGS_AT : layout.HFLAGS_AT + 1][0] & 3,
            dr,
            self._efer,
            self._sysenter.copy(),
            None,
            self._svm,
        )

    def _write_back(self) -> int:
        """Bring the emulator to `state`, by a new VMRUN where more than plain registers changed; give EIP."""
        state, clean = self._state, self._clean
        if state is None:
            return self._code_base_and_eip()[1] & self.address_mask
        if state == clean and not self._must_clear_rf:
            return state.eip
        if clean is None or not same_but_plain(state, clean):
            self._enter(state)
        else:
            write = self.uc.reg_write
            if state.gpr != clean.gpr:
                for number, value in enumerate(state.gpr):
                    if value != clean.gpr[number]:
                        write(self._registers[number], value)
            if state.eflags != clean.eflags or self._must_clear_rf:
                write(x86.UC_X86_REG_EFLAGS, state.eflags)
            if state.cr2 != clean.cr2:
                write(x86.UC_X86_REG_CR2, state.cr2)
            if state.eip != clean.eip:
                write(self._instruction_pointer, state.eip)
        self._clean = state.copy()
        self._must_clear_rf = False
        return state.eip

    def _enter(self, state: CpuState) -> None:
        """Load a whole state with VMRUN, executing nothing of the guest.

        The one clean way into any ring: it loads hidden segment parts and CPL unchecked, as a VMM's entry does.
        General registers, FPU and debug address registers are not in the VMCB: they ride along in the host context.
        """
        self._update_context()
        host, view = self._host_view, self._view
        host[layout.FPU_AT : layout.FPU_END] = view[layout.FPU_AT : layout.FPU_END]
        layout.DEBUG.pack_into(host, layout.DEBUG_AT, *state.dr)
        gpr = state.gpr.copy()
        gpr[EAX] = layout.VMCB
        self._pack_registers(host, gpr)
        self.uc.mem_write(layout.VMCB + 0x400, encode_save_area(state))
        self._efer, self._sysenter, self._svm = state.efer, state.sysenter.copy(), state.svm
        self.uc.context_restore(self._host)
        self.flush_tlb()
        slots = self.slots
        slots[Slot.LIMIT] = slots[Slot.RETIRED]  # no guest block may start
        slots[Slot.QUOTA], slots[Slot.AGAIN] = _UNLIMITED, 0
        slots[Slot.LAST_PC] = slots[Slot.LAST_LEN] = 0  # or the block of the last stop would pass as its own replay
        slots[Slot.REP_PC] = NONE
        slots[Slot.ENTERING] = _STUB_IS_NEXT
        status = uclib.uc_emu_start(
            self._engine, ctypes.c_uint64(layout.STUB), ctypes.c_uint64(0), ctypes.c_uint64(0), ctypes.c_size_t(0)
        )
        if status != 0:
            raise RuntimeError(f"VMRUN failed: the emulator stopped with status {status}")
        slots[Slot.ENTERING] = 0  # or the guest's first fetch has failed, and no block of its has begun
        self._update_context()

    def _pack_registers(self, host: Any, gpr: list[int]) -> None:
        """Put general registers into the host's context, about to run the entry stub."""
        layout.REGISTERS.pack_into(host, layout.REGISTERS_AT, *gpr, layout.STUB)

    def _prepare_host_segments(self) -> None:
        """Make the emulator's host run in flat segments, in protected mode."""
        uc = self.uc
        gdt = struct.pack("<QQQ", 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)
        uc.mem_write(layout.HOST_GDT, gdt)
        uc.reg_write(x86.UC_X86_REG_GDTR, (0, layout.HOST_GDT, len(gdt) - 1, 0))
        uc.reg_write(x86.UC_X86_REG_CR0, 0x11)
        for register, selector in (
            (x86.UC_X86_REG_CS, 8),
            (x86.UC_X86_REG_SS, 16),
            (x86.UC_X86_REG_DS, 16),
            (x86.UC_X86_REG_ES, 16),
        ):
            uc.reg_write(register, selector)

    def _prepare_host(self) -> None:
        """Set up the emulator's host side: flat segments, SVM on, the entry stub, and a VMCB that intercepts."""
        uc = self.uc
        self._prepare_host_segments()
        uc.msr_write(_EFER_MSR, uc.msr_read(_EFER_MSR) | Efer.SVME)
        uc.msr_write(_HSAVE_MSR, layout.HSAVE)
        uc.mem_write(layout.STUB, b"\x0f\x01\xda\x0f\x01\xd8")  # vmload; vmrun
        uc.mem_write(layout.MSR_BITMAP, b"\xff" * 2 * PAGE)
        uc.mem_write(layout.OPEN_BUS, b"\xff" * PAGE)
        control = bytearray(0x400)
        pack = struct.pack_into
        pack("<I", control, 0x00, self._intercept_cr)
        pack("<I", control, 0x04, 0xFFFF_FFFF)  # debug registers: it knows neither general detect nor DR6's fixed bits
        pack("<I", control, 0x08, 0xFFFF_FFFF)  # all exceptions: one that is not intercepted is never marked delivered
        pack("<II", control, 0x0C, _INTERCEPT_1, _INTERCEPT_2)
        pack("<Q", control, 0x48, layout.MSR_BITMAP)
        pack("<II", control, 0x58, 1, 1)  # ASID 1, flush its TLB at every entry
        pack("<Q", control, 0x90, 1)
        pack("<Q", control, 0xB0, layout.FRAME_TABLES)
        uc.mem_write(layout.VMCB, bytes(control))

    def check_layout(self) -> None:
        """Make sure the emulator keeps its state where `layout` says: load a telling state and read it back.

        Raises:
            CpuLayoutError: it does not.
        """
        telling = self._telling_state()
        before = telling.copy()
        self.load(telling)
        self._write_back()
        self._state = None
        if self._read_state() != before:
            raise CpuLayoutError("this build of Unicorn keeps its CPU state in another layout; ringviz needs 2.1.4")

    def _telling_state(self) -> CpuState:
        """Give a state in which no two parts are alike."""
        telling = CpuState(
            [0x1111_1111 * (i + 1) for i in range(8)],
            0x1234,
            0x0000_3202,
            [SegmentCache(8 * i | 3, 0x10_0000 * (i + 1), 0xF_0FFF + 0x1000_0000 * i, 0xCF3) for i in range(6)],
            SegmentCache(0x50, 0x55_0000, 0x7F, 0x082),
            SegmentCache(0x58, 0x66_0000, 0x67, 0x08B),
            TableRegister(0x77_0000, 0x3F),
            TableRegister(0x88_0000, 0x7FF),
            0x0000_0011,
            0xAABB_C000,
            0x00CC_D000,
            0x0000_0210,
            3,
            [0x1000, 0x2000, 0x3000, 0x4000, 0, 0, 0xFFFF_0FF0, 0x400],
            0,
            [0x10, 0x20, 0x30],
        )
        telling.segments[CS] = SegmentCache(0x0B, 0x0030_0000, 0xFFFF_FFFF, 0xCFB)
        return telling
