"""Page faults of shadow tables in words, said the same way by every VMM that has them."""

from __future__ import annotations

from ringviz.vmm import describe
from ringviz.vmm.mmu.answers import Elsewhere, Filled, Traced

HIDDEN_FAULT = "#PF (hidden)"
"""Cause of the events in which the VMM fills a shadow."""
TRACE_FAULT = "#PF (trace)"
"""Cause of the events in which the guest writes to its page tables."""

HIDDEN_RULE = "the guest's page tables allow it; the shadow the CPU walks did not know yet"
TRACE_RULE = "the page holds a page table of the guest's, so the VMM keeps it read-only"
TRACE_ACTION = "the guest writes to its page tables: write carried out, shadow entries made from the old ones dropped"


WITHDRAWN_RULE = "the host has withdrawn this page: its frame is shared, swapped out, in the balloon, or being watched"
WITHDRAWN_READ = "the host has given the page a frame again; the entry leads there"
WITHDRAWN_WRITE = "the host has given the page a frame of its own; the entry leads there and allows writing"


def filled_text(linear: int, filled: Filled) -> str:
    """What was filled in, and why."""
    return f"page {linear >> 12:05X} → guest frame {filled.gpa >> 12:05X}: {filled.why.value}"


def refused_text(error_code: int) -> str:
    """Why a fault is the guest's."""
    return f"the guest's own page tables refuse: {describe.page_fault_text(error_code)}"


DEVICE_RULE = "a device's registers lie there, and no memory"


def words(answer: Filled | Traced | Elsewhere, linear: int, register: str = "") -> tuple[str, str, str]:
    """Tell a fault that is none of the guest's, in a VMM that traces page tables and nothing else.

    Args:
        answer: what the VMM makes of it.
        linear: address of the access.
        register: of a device that is elsewhere, as `describe.register_action` names it; empty if nothing is.

    Returns:
        Cause, rule and action of the event; cause and rule are empty where the technique's own words say it.
    """
    match answer:
        case Filled():
            return HIDDEN_FAULT, HIDDEN_RULE, filled_text(linear, answer)
        case Traced():
            return TRACE_FAULT, TRACE_RULE, TRACE_ACTION
        case Elsewhere() if register:
            return f"#PF at {linear:08X}", DEVICE_RULE, f"virtual {register}"
        case Elsewhere():
            return "", "", f"outside the guest's memory ({answer.gpa:08X}h): nothing answers there"
