"""The ledger as rows to show: cycles by cause, all of them modelled."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.source import Status
from ringviz.vmm.events import Kind


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One cause."""

    cause: str
    label: str
    count: int
    cycles: int
    kind: Kind
    each: int | None = 0
    """What one costs; None: no figure and nothing charged, or no one price."""
    low: int | None = 0
    high: int | None = 0
    """The range that the sources leave open for one."""
    status: Status = Status.COMPUTED
    """How far the price may be trusted."""
    advice: str = ""
    """What would make it cheaper, in one line."""
    is_weighed: bool = False
    """Each is charged by its class, so that there is no one price; the weights are ringviz's model."""

    @property
    def is_unknown(self) -> bool:
        """There is no figure: the count is right, and the cycles are not all."""
        return self.each is None and not self.is_weighed


@dataclass(frozen=True, slots=True)
class LedgerView:
    """All causes of a stretch of a run."""

    rows: tuple[LedgerRow, ...]
    """Largest first; the guest's own work is among them."""
    guest_cycles: int
    overhead_cycles: int
    native_cycles: int | None
    """What bare metal would have paid up to the same instruction, if known."""
    curve: tuple[int, ...]
    """Cumulative overhead cycles at equal distances of retired instructions from 0 to here; up to 64 values."""
    retired: int = 0
    """Guest instructions completed."""

    @property
    def total_cycles(self) -> int:
        """Guest work and overhead together."""
        return self.guest_cycles + self.overhead_cycles

    @property
    def slowdown(self) -> float | None:
        """Total over bare metal's total, or None if that is not known."""
        return self.total_cycles / self.native_cycles if self.native_cycles else None

    def per_thousand(self, cycles: int) -> int | None:
        """Give cycles per 1,000 guest instructions, rounded; None if none was completed."""
        return (2000 * cycles + self.retired) // (2 * self.retired) if self.retired else None


def ledger_json(view: LedgerView) -> dict[str, object]:
    """Give the field `ledger` of `stat --json`."""
    return {
        "rows": [
            {
                "cause": row.cause,
                "count": row.count,
                "each": row.each,
                "low": row.low,
                "high": row.high,
                "status": "unknown" if row.is_unknown else row.status.value,
                "cycles": row.cycles,
                "cycles_per_1000": view.per_thousand(row.cycles),
                "advice": row.advice or None,
            }
            for row in view.rows
        ],
        "overhead_curve": list(view.curve),
    }
