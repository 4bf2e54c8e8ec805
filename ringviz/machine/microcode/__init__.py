"""What the sensitive instructions do, one routine each: to the real CPU's state, or to a virtual CPU's.

The emulated CPU executes ordinary code by itself. The instructions that privilege is about are different: bare
hardware must do them by the manual where the emulator does not, and a VMM must do them on a virtual CPU (its
interpreter routines, in Popek and Goldberg's words). Both call `execute`; the privilege checks are part of it and look
at the state given.
"""

from ringviz.machine.microcode.environment import Effect, Environment, GuestFault, UnsupportedError
from ringviz.machine.microcode.single_step import holds_interrupts, owes_step_trap
from ringviz.machine.microcode.table import FORMS, execute

__all__ = [
    "FORMS",
    "Effect",
    "Environment",
    "GuestFault",
    "UnsupportedError",
    "execute",
    "holds_interrupts",
    "owes_step_trap",
]
