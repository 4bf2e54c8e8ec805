"""What #VMEXIT tells about an exit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SvmReport:
    """What #VMEXIT writes into the VMCB about one exit, and the intercept that asked for it."""

    exit_name: str
    intercept: str
    info1: int = 0
    info2: int = 0
    exit_int_info: int = 0
