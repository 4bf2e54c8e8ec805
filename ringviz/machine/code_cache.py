"""Where a binary translator keeps its code, and what the machine must know of it to count and to protect.

Translated code is real code that the CPU runs, but its instructions are not the guest's: one of the guest's may have
become five, and the jumps between fragments belong to nobody. `weights` says which translated instruction stands for
the beginning of which guest instruction, so that `Machine.retired` goes on counting the guest's own.

On a real CPU the limits of the guest's segments keep it away from these pages. The emulated CPU does not check limits,
so the machine watches the pages instead: the cache may be executed and neither read nor written, and the translator's
private memory may be reached only by those instructions that the translator itself wrote (`allowed`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field

from ringviz.facts.instruction_weights import weight_of

GUEST_INSTRUCTION = 1
"""Weight of a translated instruction with which one of the guest's begins."""
IN_CACHE = 1 << 16
"""Added to the weight where a sensitive instruction is carried out by a sequence in the cache."""
LOOKUP = 1 << 48
"""Added to the weight where the target of an indirect jump is looked up in the cache."""

WORK_SHIFT = 64
"""From this bit on a weight holds what the guest's instruction costs the CPU, in hundredths of a cycle: see
`ringviz.facts.instruction_weights`."""

_TALLY_BITS = 32
_WORK_MASK = (1 << WORK_SHIFT) - 1


def tally_of(weight: int) -> int:
    """What a weight adds to the two counters, packed as `Cpu.tally` is."""
    return (weight & _WORK_MASK) >> 16


def work_of(weight: int) -> int:
    """Hundredths of a cycle in a weight."""
    return weight >> WORK_SHIFT


def row_of(weight: int) -> int:
    """What is left of a weight without them, for the table that native code reads."""
    return weight & _WORK_MASK


def count_of(class_id: str, changed: Mapping[str, int] | None = None) -> int:
    """What an instruction of the guest's counts for where the CPU runs it.

    Args:
        class_id: key of `ringviz.facts.instruction_weights.CLASSES`.
        changed: weights of a CPU that has its own for some classes.
    """
    return GUEST_INSTRUCTION | weight_of(class_id, changed) << WORK_SHIFT


def unpack_tally(tally: int) -> tuple[int, int]:
    """Give the two counters: sequences carried out in the cache, and lookups."""
    return tally & (1 << _TALLY_BITS) - 1, tally >> _TALLY_BITS


@dataclass(slots=True)
class CodeCache:
    """The memory of one binary translator. All addresses are aligned to pages."""

    linear: int
    """Linear address at which translated code runs; its code segment begins at 0."""
    physical: int
    size: int
    private_physical: int
    """The translator's data, right for all of its own instructions and for nobody else."""
    private_size: int
    weights: dict[int, int] = field(default_factory=dict)
    """Linear address of a translated instruction -> what it counts for; 0 is not entered."""
    inside: set[int] = field(default_factory=set)
    """Linear addresses of translated instructions at which none of the guest's begins: no place to stop."""
    gates: set[int] = field(default_factory=set)
    """Linear addresses of translated instructions that let interrupts in: while one waits, the machine stops before.

    A translator would put a test of a word behind such an instruction; here the machine tells it."""
    allowed: ctypes.Array[ctypes.c_uint8] = field(init=False)
    """For each byte of the cache, whether the instruction that starts there may reach the private memory."""

    def __post_init__(self) -> None:
        self.allowed = (ctypes.c_uint8 * self.size)()

    def forget(self) -> None:
        """Take back what was said of every instruction."""
        self.weights.clear()
        self.inside.clear()
        self.gates.clear()
        ctypes.memset(self.allowed, 0, self.size)

    def holds(self, physical: int) -> bool:
        """Tell whether a physical address lies in the cache."""
        return 0 <= physical - self.physical < self.size

    def may_be_mapped(self, physical: int, *, is_fetch: bool, is_write: bool) -> bool:
        """Tell whether an access may have its page: translated code is fetched, private data is read and written.

        Whose accesses to private data these are is for the guard to say.
        """
        if 0 <= physical - self.private_physical < self.private_size:
            return not is_fetch
        return is_fetch and not is_write and self.holds(physical)

    def instructions_in(self, pc: int, length: int) -> tuple[int, ...]:
        """Offsets of the translated instructions that begin in a block."""
        return tuple(offset for offset in range(length) if pc + offset in self.weights)

    def weigh(self, pc: int, offsets: tuple[int, ...]) -> tuple[int, ...]:
        """What the instructions of a block of translated code count for."""
        weights = self.weights
        return tuple([weights.get(pc + offset, 0) for offset in offsets])
