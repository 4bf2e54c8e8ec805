"""Memory as the CPU's own accesses reach it in a guest on shadow tables: descriptors, stacks, gates.

Such an access meets the shadows as any other does. What they do not allow yet is a page fault that the VMM hears of.
"""

from __future__ import annotations

from collections.abc import Callable

from ringviz.machine.linear import LinearMemory
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState
from ringviz.vmm.guest_space import GuestSpace
from ringviz.vmm.mmu.shadow import ShadowPaging

Missed = Callable[[int, Access, int], None]
"""(linear address, access, error code of the real page fault): called before the guest's own tables are asked."""


class ShadowedMemory(LinearMemory):
    """Linear memory of a guest; a miss in the shadow is told, once for every page and way of access."""

    def __init__(
        self,
        state: CpuState,
        space: GuestSpace,
        shadow: ShadowPaging,
        missed: Missed,
        seen: Callable[[int, Access], None] | None = None,
    ) -> None:
        super().__init__(state, space, seen)
        self._shadow = shadow
        self._missed = missed
        self._told: set[tuple[int, Access]] = set()

    def translate(self, linear: int, access: Access, *, touch: bool = True) -> int:
        """Give the guest-physical address, or raise the guest's own page fault."""
        if touch and not self.is_beyond(linear) and (linear >> 12, access) not in self._told:
            error_code = self._shadow.refusal(linear, access)
            if error_code is not None:
                self._told.add((linear >> 12, access))
                self._missed(linear, access, error_code)
        return super().translate(linear, access, touch=touch)
