"""The emulator's state: what Unicorn holds of the CPU, read whole, written back, saved, and entered by VMRUN.

Nothing here runs a guest: `cpu` does.
"""

from __future__ import annotations

import ctypes
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn import x86_const as x86
from unicorn.unicorn_const import UC_CTL_IO_WRITE, UC_CTL_TLB_FLUSH, UC_PROT_ALL
from unicorn.unicorn_py3.unicorn import uclib

from ringviz.facts.registers import Efer, Eflags
from ringviz.facts.segments import SegmentCache, null_cache
from ringviz.machine import layout
from ringviz.machine.frames import FrameMap
from ringviz.machine.memory import PAGE, Ram
from ringviz.machine.native_hooks import NONE, Hooks, Slot
from ringviz.machine.state import ADDRESS_32, EAX, CpuState, TableRegister, same_but_plain, segment
from ringviz.machine.svm.registers import SvmRegisters
from ringviz.machine.telling_state import telling_state
from ringviz.machine.vmcb import encode_save_area

Saved = tuple[bytes, int, int, int, int, tuple[int, ...], int, SvmRegisters | None]
"""What `Emulator.save` gives: the emulator's image; counts of instructions, of translated code's doings and of work;
EFER; the SYSENTER registers; where an instruction was completed from outside; the registers of SVM."""
UNLIMITED = NONE >> 1
"""A count that is never reached."""
STUB_IS_NEXT = 2
"""Of `Slot.ENTERING`: the host is about to begin the stub that enters the guest."""
_RF = int(Eflags.RF)
_FPU_CONTROL = (x86.UC_X86_REG_FPCW, x86.UC_X86_REG_FPSW, x86.UC_X86_REG_FPTAG, x86.UC_X86_REG_MXCSR)
_X87 = range(x86.UC_X86_REG_FP0, x86.UC_X86_REG_FP0 + 8)
"""By their place in the CPU, not from the top of the stack."""
_EFER_MSR, _HSAVE_MSR = 0xC000_0080, 0xC001_0117

# VMCB: what always stops, because the emulator's own answer is not the machine's (see `Machine.run`).
INTERCEPT_CR = 1 << 16 | 1 << 20  # writes of CR0 (LMSW and CLTS too) and CR4: it does not check reserved bits
_INTERCEPT_1 = 1 << 13 | 1 << 14 | 1 << 18 | 1 << 21 | 1 << 24 | 1 << 26 | 1 << 28 | 1 << 31
# LTR (the emulator forgets to cache the busy bit), RDTSC, CPUID, INTn, HLT, INVLPGA, MSR, SHUTDOWN
_INTERCEPT_2 = 0b1111_1101  # VMRUN, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, RDTSCP; VMMCALL raises #UD by itself


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


class Emulator:
    """One CPU of Unicorn's. `state` is its architectural state; change it freely, it is written back before running.

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
    _telling_state = staticmethod(telling_state)

    def __init__(self, ram: Ram) -> None:
        """Make an emulator.

        Args:
            ram: the RAM that lies at physical address 0.
        """
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
        self._value = ctypes.c_uint64()
        """What is written into a register; not the one that is read into, for a read may leave its upper half."""
        self._value_reference = ctypes.byref(self._value)
        self._prepare_host()
        self.frames = self._frame_map(uc, layout.FRAME_TABLES)
        self._context = uc.context_save()
        self._view = (ctypes.c_char * self._context.size).from_address(self._context.context.value)
        self._host = uc.context_save()
        self._host_view = (ctypes.c_char * self._host.size).from_address(self._host.context.value)
        self.hooks = Hooks(self._engine)
        self.slots = self.hooks.slots
        self._state: CpuState | None = None
        self._clean: CpuState | None = None
        self._must_clear_rf = False
        self._completed_outside = -1
        """Count of retired instructions right after one was completed from outside: the emulator's one-instruction
        states are over by then, though it does not know."""
        self._efer, self._sysenter = 0, [0, 0, 0]
        self._svm: SvmRegisters | None = None
        """The emulator's own guest mode is something else: this machine is always in it."""
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

    @property
    def tally(self) -> int:
        """What translated code did on the quiet since power-on: see `code_cache.unpack_tally`."""
        return self.slots[Slot.TALLY]

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

    def adopt(self, state: CpuState) -> None:
        """Make a changed copy of `state` the state."""
        current = self.state
        for name in CpuState.__slots__:
            setattr(current, name, getattr(state, name))

    @property
    def has_resume_flag(self) -> bool:
        """RF is set: by an IRET just now, for the next instruction only. No state shows it."""
        return bool(self.state.eflags & _RF) or self._real_rf

    def _complete_from_outside(self) -> None:
        """Note that one instruction has been, and counted: with it the emulator's own RF ends, if it is set."""
        self._must_clear_rf = True
        self._real_rf = bool(self.state.eflags & _RF)
        self._completed_outside = self.retired

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

    def control_registers(self) -> tuple[int, int, int, int]:
        """CR0, CR3, CR4 and EFER, current at the beginning of every block: all but CR3 change at stops only."""
        cr0, _, _, _, cr4 = layout.CONTROL.unpack_from(self._view, layout.CONTROL_AT)
        return cr0 & 0xFFFF_FFFF, self.uc.reg_read(x86.UC_X86_REG_CR3), cr4 & 0xFFFF_FFFF, self._efer

    @property
    def entered_ring(self) -> int:
        """The CPL in which the CPU was let go last: all that changes it is a stop."""
        return int(self._view[layout.HFLAGS_AT : layout.HFLAGS_AT + 1][0]) & 3

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

    def save(self) -> Saved:
        """Give everything the emulated CPU holds, to the last hidden bit; only for `restore` in this process."""
        self._write_back()
        self._update_context()
        sysenter = tuple(self._sysenter)
        counts = self.retired, self.tally, self.work
        # A long run has thousands of these, and most of one is zeros.
        image = zlib.compress(bytes(self._view), 1)
        return image, *counts, self._efer, sysenter, self._completed_outside, self._svm

    def restore(self, saved: Saved) -> None:
        """Return to a saved state. Memory is the caller's to restore."""
        packed, *counts, self._efer, sysenter, self._completed_outside, self._svm = saved
        image = zlib.decompress(packed)
        self.retired, self.slots[Slot.TALLY], self.slots[Slot.WORK] = counts
        self._sysenter = list(sysenter)
        # The header holds pointers of this engine; only what follows it is CPU state.
        size = len(image) - layout.HEADER
        ctypes.memmove(ctypes.addressof(self._view) + layout.HEADER, image[layout.HEADER :], size)
        self.uc.context_restore(self._context)
        self.flush_tlb()
        self._state = self._clean = None

    def flush_tlb(self) -> None:
        """Forget cached translations of linear and physical pages."""
        self.uc.ctl(UC_CTL_TLB_FLUSH, UC_CTL_IO_WRITE)

    # ---- reading and writing the emulator ----------------------------------------------------------------------------

    def _update_context(self) -> None:
        uclib.uc_context_save(self._engine, self._context.context)

    def _read_eflags(self) -> int:
        """Read EFLAGS whole: the saved context has the arithmetic flags in pieces only."""
        uclib.uc_reg_read(self._engine, x86.UC_X86_REG_EFLAGS, self._number_reference)
        return self._number.value

    def _write_register(self, register: int, value: int) -> None:
        """Write a register of at most 64 bits, without asking which kind of register it is."""
        self._value.value = value
        status = uclib.uc_reg_write(self._engine, register, self._value_reference)
        if status != 0:
            raise RuntimeError(f"writing a register failed with status {status}")

    def _linear_pc(self) -> int:
        base, eip = self._code_base_and_eip()
        return (base + eip) & self.address_mask

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
            write = self._write_register
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
        slots[Slot.QUOTA], slots[Slot.AGAIN] = UNLIMITED, 0
        slots[Slot.LAST_PC] = slots[Slot.LAST_LEN] = 0  # or the block of the last stop would pass as its own replay
        slots[Slot.REP_PC] = NONE
        slots[Slot.ENTERING] = STUB_IS_NEXT
        status = uclib.uc_emu_start(self._engine, layout.STUB, 0, 0, 0)
        if status != 0:
            raise RuntimeError(f"VMRUN failed: the emulator stopped with status {status}")
        slots[Slot.ENTERING] = 0  # or the guest's first fetch has failed, and no block of its has begun
        self._update_context()

    def _pack_registers(self, host: Any, gpr: list[int]) -> None:
        """Put general registers into the host's context, about to run the entry stub."""
        layout.REGISTERS.pack_into(host, layout.REGISTERS_AT, *gpr, layout.STUB)

    # ---- its host ----------------------------------------------------------------------------------------------------

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
