"""One run to its end, in numbers: what `ringviz stat` prints and `compare` puts side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ringviz.engine.bill import Bill, bill_at
from ringviz.engine.events import VMM_KINDS
from ringviz.engine.fidelity import Divergence, Fidelity, check_fidelity
from ringviz.engine.ledger import overhead_curve, priced
from ringviz.engine.ledger_view import LedgerView, ledger_json
from ringviz.engine.reasons import Reason, reasons_of
from ringviz.engine.recording import Recording
from ringviz.engine.reference import NATIVE
from ringviz.engine.scorecard import scorecard, scorecard_json
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.engine.strangers import Stranger, strangers
from ringviz.engine.text_screen import text_screen
from ringviz.engine.walk_count import WalkCount, count_json, count_walks
from ringviz.engine.whole_run import Progress as Progress
from ringviz.engine.whole_run import ending_of, play_whole
from ringviz.engine.whole_run import ignore as ignore
from ringviz.facts.costs import CpuProfile, cost_of
from ringviz.guest.scenario import Scenario
from ringviz.vmm.registry import check_fits, choose


@dataclass(frozen=True, slots=True)
class Cycles:
    """Modelled cycles of a run."""

    guest: int
    overhead: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.guest + self.overhead


@dataclass(frozen=True, slots=True)
class EventTotal:
    """One cost cause over the whole run."""

    cause: str
    count: int
    cycles: int


@dataclass(frozen=True, slots=True)
class Safety:
    """Attempts of the guest on what is not its own."""

    attempts: int
    contained: int


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of `stat --json`, by the contract's names."""

    scenario: str
    technique: str
    mmu: str
    cpu: str
    outcome: str
    exit_code: int | None
    console: str
    retired: int
    direct: int
    cycles: Cycles
    slowdown: float | None
    events: tuple[EventTotal, ...]
    guest_state_sha256: str
    fidelity: Fidelity | None
    safety: Safety
    vmm_calls: int = 0
    """How often the guest was left for the VMM: traps, exits, callouts, hypercalls."""
    reasons: tuple[Reason, ...] = ()
    """Why, the most frequent first."""
    strangers: tuple[Stranger, ...] = ()
    """Ports that the guest used and no device has."""
    walks: WalkCount | None = None
    """TLB misses and page-walk references, where they were asked for."""
    ledger: LedgerView | None = None
    """Cycles by cause, with prices, advice and curve."""
    screen: tuple[str, ...] | None = None
    """The rows of the text screen at the end, as far down as something stands on it; None if nothing does."""


@dataclass(frozen=True, slots=True)
class NativeBill:
    """What a run on bare metal comes to."""

    cycles: int
    ending: tuple[str, int | None]
    """As `ending_of` has it."""


def stat(
    scenario: Scenario,
    technique: str,
    mmu: str | None = None,
    cpu: str | None = None,
    fidelity: bool = False,
    progress: Progress = ignore,
    controls: Sequence[str] = (),
    walks: bool = False,
    natives: dict[str, NativeBill] | None = None,
) -> Stat:
    """Run a scenario under a technique to its end.

    Args:
        scenario: the guest.
        technique: id.
        mmu: way of memory virtualization; None is the technique's default.
        cpu: cost profile; None is the technique's default.
        fidelity: run bare metal too, for fidelity and slowdown.
        progress: told every few milliseconds how far the run is.
        controls: settings of the technique to change from its own choice, `+name` or `-name`.
        walks: run it once more to count TLB misses and page-walk references.
        natives: bare metal's bills by CPU, as far as they are known; those that had to be found out are added. Whoever
            compares several techniques on one scenario keeps it between calls.

    Raises:
        RingvizError: the choices do not go together, or the guest cannot be loaded.
    """
    setup = choose(technique, mmu, cpu, controls, scenario)
    profile = setup.cpu
    check_fits(scenario, technique)
    counted = None
    if walks:
        limit = scenario.limits.instructions
        counted = count_walks(scenario, technique, setup, lambda done: progress("counting page walks", done, limit))
    recording = play_whole(scenario, technique, setup, progress)
    bill = _bill(recording, counted)
    slowdown = verdict = None
    if fidelity:
        known = {} if natives is None else natives
        if technique == NATIVE:
            known[profile.id] = NativeBill(bill.total_cycles(profile), ending_of(recording))
        elif profile.id not in known:
            known[profile.id] = _native_bill(scenario, profile, progress, walks=walks)
        slowdown = _slowdown(bill.total_cycles(profile), ending_of(recording), known[profile.id])
        # Bare metal is what the others are compared with: beside itself it would only run twice more.
        is_reference = technique == NATIVE
        verdict = Fidelity(True, None, ()) if is_reference else check_fidelity(scenario, technique, setup, progress)
    assert recording.end is not None
    machine = recording.technique.machine
    log = recording.log
    screen = text_screen(recording.technique)
    attempts = sum(event.is_attempt for event in log.raw)
    return Stat(
        scenario=scenario.id,
        technique=technique,
        mmu=setup.mmu,
        cpu=profile.id,
        outcome=recording.end.outcome,
        exit_code=machine.bus.exit_code,
        console=machine.bus.console,
        screen=None if screen is None else screen.written,
        retired=recording.position,
        direct=bill.direct,
        cycles=Cycles(bill.guest_cycles(profile), bill.overhead_cycles(profile)),
        slowdown=slowdown,
        events=tuple(
            EventTotal(cause, count, count * cost_of(profile, cause).charged_cycles)
            for cause, count in sorted(bill.causes.items())
        ),
        guest_state_sha256=guest_state_sha256(recording.technique),
        fidelity=verdict,
        safety=Safety(attempts, attempts - sum(event.escaped for event in log.raw)),
        vmm_calls=sum(event.kind in VMM_KINDS for event in log.raw),
        reasons=reasons_of(log.raw, log.charged()),
        strangers=strangers(log.raw),
        walks=counted,
        ledger=priced(bill, profile, curve=overhead_curve(log, recording.position, len(log))),
    )


def _bill(recording: Recording, walks: WalkCount | None) -> Bill:
    bill = bill_at(recording)
    return bill if walks is None else bill.with_walks(walks)


def _native_bill(scenario: Scenario, cpu: CpuProfile, progress: Progress, *, walks: bool) -> NativeBill:
    """Run a scenario on bare metal to know what it costs there."""
    below = choose(NATIVE, cpu=cpu.id)
    native = play_whole(scenario, NATIVE, below, progress)
    limit = scenario.limits.instructions
    counted = None
    if walks:
        counted = count_walks(scenario, NATIVE, below, lambda done: progress("counting page walks", done, limit))
    return NativeBill(_bill(native, counted).total_cycles(cpu), ending_of(native))


def _slowdown(cycles: int, ending: tuple[str, int | None], native: NativeBill) -> float | None:
    """Compare the price of a run with bare metal's; None where the two ended otherwise, and did not do the same."""
    if ending != native.ending or not native.cycles:
        return None
    return round(cycles / native.cycles, 6)


def stat_json(result: Stat) -> dict[str, object]:
    """Give the contract's object for one run."""
    return {
        "schema": 1,
        "scenario": result.scenario,
        "technique": result.technique,
        "mmu": result.mmu,
        "cpu": result.cpu,
        "outcome": result.outcome,
        "exit_code": result.exit_code,
        "console": result.console,
        "screen": None if result.screen is None else list(result.screen),
        "retired": result.retired,
        "direct": result.direct,
        "cycles": {
            "guest": result.cycles.guest,
            "overhead": result.cycles.overhead,
            "total": result.cycles.total,
        },
        "slowdown": result.slowdown,
        "events": [{"cause": e.cause, "count": e.count, "cycles": e.cycles} for e in result.events],
        "reasons": [
            {
                "kind": reason.kind.value,
                "cause": reason.cause,
                "form": reason.form or None,
                "count": reason.count,
                "cycles": reason.cycles,
                "least_cycles": reason.least_cycles,
                "most_cycles": reason.most_cycles,
            }
            for reason in result.reasons
        ],
        "unclaimed_ports": [
            {"port": row.port, "address": row.address, "instruction": row.instruction, "count": row.count}
            for row in result.strangers
        ],
        "guest_state_sha256": result.guest_state_sha256,
        "fidelity": None if result.fidelity is None else _fidelity_json(result.fidelity),
        "safety": {"attempts": result.safety.attempts, "contained": result.safety.contained},
        "scorecard": scorecard_json(scorecard(result)),
        "walks": None if result.walks is None else count_json(result.walks),
        "ledger": None if result.ledger is None else ledger_json(result.ledger),
    }


def _fidelity_json(verdict: Fidelity) -> dict[str, object]:
    first = verdict.first_divergence
    return {
        "identical": verdict.identical,
        "first_divergence": None if first is None else _divergence_json(first),
        "closely_until": verdict.closely_until,
    }


def _divergence_json(divergence: Divergence) -> dict[str, object]:
    return {
        "retired": divergence.retired,
        "address": divergence.address,
        "instruction": divergence.instruction,
        "what": divergence.what,
        "native": divergence.native,
        "here": divergence.here,
    }
