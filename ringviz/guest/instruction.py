"""A decoded instruction, as the machine and the techniques need it: no trace of the decoder that made it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand, in Intel's order: destination first."""

    kind: Literal["reg", "imm", "mem"]
    size_bytes: int
    is_read: bool
    is_written: bool
    register: str | None = None
    """Register operands: the name, such as "eax", "cs" or "cr0"."""
    value: int | None = None
    """Immediate operands: the value; for jumps and calls the address of the target."""
    segment: str | None = None
    """Memory operands: the segment register the access goes through, the default if none is written."""
    base: str | None = None
    index: str | None = None
    scale: int = 1
    displacement: int = 0
    """Signed; the address is base + index * scale + displacement, cut to the address size.

    Where it is relative to RIP: the address behind the instruction is in it, and there is no base.
    """


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction at its address."""

    address: int
    raw: bytes
    mnemonic: str
    """With prefixes, in lower case: "rep movsb"."""
    operands: str
    """Operands as text, in Intel's syntax."""
    form: str | None
    """Which of the instructions that matter to a VMM this is, as in `forms.py`; None for all others."""
    ops: tuple[Operand, ...]
    rep: Literal["rep", "repne"] | None
    """The repeat prefix of a string instruction; REPE counts as "rep"."""
    has_lock: bool
    operand_size_bits: int
    address_size_bits: int
    is_branch: bool
    """The next instruction may not be the one behind it: jumps, calls, returns, INT, IRET, HLT, ... end a block."""
    writes_memory: bool
    """It may store to memory itself; what the CPU pushes when it delivers an exception or INT does not count."""
    is_string: bool
    """MOVS, STOS, LODS, CMPS, SCAS, INS or OUTS."""

    @property
    def size(self) -> int:
        """Length in bytes, 1 to 15."""
        return len(self.raw)

    @property
    def next_address(self) -> int:
        """The address behind it."""
        return self.address + len(self.raw)

    @property
    def is_rep_string(self) -> bool:
        """A string instruction under REP: it may be interrupted between two rounds."""
        return self.rep is not None

    @property
    def text(self) -> str:
        """Mnemonic and operands."""
        return f"{self.mnemonic} {self.operands}" if self.operands else self.mnemonic
