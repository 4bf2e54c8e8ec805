"""Where things lie in the memory of the emulator, and where Unicorn keeps the parts of its CPU state.

Unicorn's register interface cannot read the hidden parts of segment registers, the error code of an exception, or
carry the FPU across an entry into another ring. Its saved context can: it is a copy of QEMU's CPU structure. The
offsets below were found by experiment for Unicorn 2.1 and are checked against known values whenever a CPU is made
(`Cpu` refuses to work on a mismatch), so that a changed library is an error message and not a wrong bit.
"""

from __future__ import annotations

import struct

# ---- emulator memory outside every RAM -------------------------------------------------------------------------------

HIDDEN = 0xF000_0000
"""Start of the emulator's own pages. RAM lies below it, and no frame map entry leads a guest here."""
HIDDEN_SIZE = 0x00A0_0000
STUB = 0xF000_1000
"""`vmload; vmrun`, the entry into the guest."""
HOST_GDT = 0xF000_2000
VMCB = 0xF000_3000
HSAVE = 0xF000_4000
MSR_BITMAP = 0xF000_6000
"""Two pages of ones: every RDMSR and WRMSR stops."""
OPEN_BUS = 0xF000_8000
"""A page of ones, shown where nothing answers."""
FRAME_TABLES = 0xF010_0000

# ---- Unicorn's saved context -----------------------------------------------------------------------------------------

HEADER = 40
REGISTERS = struct.Struct("<8Q64xQ")
"""EAX..EDI as 64-bit numbers, eight registers of long mode, EIP."""
LONG_REGISTERS = struct.Struct("<17Q")
"""RAX..R15 and RIP."""
REGISTERS_AT = HEADER
EFLAGS_AT = HEADER + 136
"""EFLAGS without the arithmetic flags and DF, which QEMU keeps elsewhere."""
HFLAGS_AT = HEADER + 176
"""QEMU's hidden flags; bits 1:0 are the CPL."""
INHIBIT_INTERRUPTS = 1 << 3
"""The hidden flag that is set for one instruction after STI or a load of SS."""
CODE_IS_32BIT = 1 << 4
CODE_IS_64BIT = 1 << 15
"""The hidden flags that tell the default sizes of the code segment."""
SEGMENTS = struct.Struct("<" + "I4xQII" * 10)
"""ES CS SS DS FS GS LDTR TR GDTR IDTR: selector, base, limit, flags (descriptor bits 63:32)."""
SEGMENTS_AT = HEADER + 184
SEGMENTS_END = SEGMENTS_AT + SEGMENTS.size
NUMBER = struct.Struct("<Q")
CODE_BASE_AT = SEGMENTS_AT + 32
"""Base of CS, the second of them."""
INSTRUCTION_POINTER_AT = REGISTERS_AT + 128
"""EIP or RIP, the last of `REGISTERS` and of `LONG_REGISTERS`."""
CONTROL = struct.Struct("<5Q")
"""CR0..CR4."""
CONTROL_AT = HEADER + 424
ERROR_CODE_AT = HEADER + 5384
"""Error code of the last intercepted exception, or EXITINFO1 of the last #VMEXIT."""
LONG_MSRS = struct.Struct("<Q8x4Q")
"""STAR, (VM_HSAVE_PA,) LSTAR, CSTAR, SFMASK, KernelGSBase."""
LONG_MSRS_AT = HEADER + 4824
DEBUG = struct.Struct("<8Q")
"""DR0..DR7."""
DEBUG_AT = HEADER + 5400
FPU_AT, FPU_END = HEADER + 604, HEADER + 1848
"""x87, MMX and SSE state, with QEMU's rounding and tag bookkeeping."""
