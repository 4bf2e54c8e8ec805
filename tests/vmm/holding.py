"""Techniques held to bare metal, instruction by instruction, on one guest: all of them beside one native run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ringviz.errors import UnsupportedError
from ringviz.facts.instructions import SILENT_IDS
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest import Scenario
from ringviz.guest.instruction import Instruction
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.microcode.operands import linear_address
from ringviz.machine.state import CpuState
from ringviz.vmm.events import Kind
from ringviz.vmm.registry import choose
from tests.vmm.lockstep import Run, difference, fpu_difference, heal, unnoticed_difference
from tests.vmm.random_guests import RandomGuest
from tests.vmm.random_kernel import prologue_instructions
from tests.vmm.vmm_memory import assert_tables_follow_the_guest, still


@dataclass
class Report:
    """What became of one guest."""

    retired: int = 0
    ended: str = ""
    """How bare metal ended, `refused` or `stuck`, or why the comparison ended before."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why, by technique; `native` if bare metal cannot run it."""
    silent: dict[str, int] = field(default_factory=dict)
    """By form, divergences of techniques that promise no fidelity."""


class DivergenceError(AssertionError):
    """A technique is not bare metal, or ringviz itself failed; the message has the guest's listing."""


def hold(guest: RandomGuest, folder: Path, techniques: Sequence[str], *, limit: int, restore_at: int = 0) -> Report:
    """Run a guest under techniques and on bare metal, and compare after every instruction.

    Bare metal has the CPU that a technique needs: what CPUID says is part of what is compared.

    Args:
        guest: the guest.
        folder: where to write its scenario.
        techniques: those in question.
        limit: instructions, the kernel's prologue not counted.
        restore_at: after so many instructions of the body the techniques are saved, and run again from there at the
            end; 0 for not at all.

    Raises:
        DivergenceError: at the first difference, with all that is needed to see it again.
    """
    scenario = guest.scenario(folder, limit=limit + prologue_instructions())
    by_cpu: dict[str, list[str]] = {}
    for technique in techniques:
        by_cpu.setdefault(choose(technique).cpu.id, []).append(technique)
    first = next(iter(by_cpu))
    try:
        return _hold(guest, scenario, {first: techniques}, restore_at, any_cpu=len(by_cpu) == 1)
    except _AsksCpuidError:
        return _hold(guest, scenario, by_cpu, restore_at, any_cpu=True)


class _AsksCpuidError(Exception):
    """The guest is about to ask which CPU it runs on: one native run does not stand for all CPUs."""


def _hold(
    guest: RandomGuest, scenario: Scenario, by_cpu: Mapping[str, Sequence[str]], restore_at: int, *, any_cpu: bool
) -> Report:
    """Hold techniques to one native run for each CPU.

    Args:
        guest: the guest.
        scenario: what it was written as.
        by_cpu: the techniques for each of these native runs.
        restore_at: as for `hold`.
        any_cpu: the guest may ask which CPU it has.
    """
    report = Report()
    for cpu, names in by_cpu.items():
        holding = _Holding(scenario, names, cpu, report, any_cpu=any_cpu)
        try:
            holding.go(restore_at)
            holding.check_the_end()
        except DivergenceError as error:
            raise DivergenceError(f"{error}\n{guest.listing()}") from error.__cause__
        except _AsksCpuidError:
            raise
        except UnsupportedError as error:
            report.refused[holding.doing] = str(error)
            report.ended = "refused"
        except Exception as error:
            where = f"{holding.doing}, instruction {holding.native.position}: {type(error).__name__}: {error}"
            raise DivergenceError(f"{where}\n{guest.listing()}") from error
    return report


_MOST_STOPS = 60
"""So many stops at one instruction are enough to say that a guest goes round in circles."""


class _Holding:
    """One guest, natively and under techniques."""

    def __init__(
        self, scenario: Scenario, techniques: Sequence[str], cpu: str, report: Report, *, any_cpu: bool
    ) -> None:
        self.scenario = scenario
        self.any_cpu = any_cpu
        self.report = report
        report.ended = ""
        self.doing = "native"
        self.native = Run(scenario, "native", cpu)
        self.runs = {technique: Run(scenario, technique) for technique in techniques}
        for run in (self.native, *self.runs.values()):
            run.most_stops = _MOST_STOPS
        self.made = {technique: still(run.technique) for technique, run in self.runs.items()}
        self.begun: dict[str, _Saved] = {}
        """Where the body begins: from there everything is run once more, freely."""
        self.saved: dict[str, _Saved] = {}
        self.healed: set[str] = set()
        self.weight = 0
        """Of the last instruction on bare metal."""

    def go(self, restore_at: int) -> None:
        """Go to the end of the comparison."""
        start = prologue_instructions()
        for run in (self.native, *self.runs.values()):
            run.reach(start)
        native = self.native
        self.begun = {name: _save(run) for name, run in self.runs.items()}
        while native.ended is None and native.position < native.limit and self.runs:
            if restore_at and native.position == start + restore_at:
                self.saved = {name: _save(run) for name, run in self.runs.items()}
            position, state = native.position, native.technique.guest_state()
            instruction = native.technique.machine.instruction_here()
            if instruction is not None and instruction.form == "cpuid" and not self.any_cpu:
                raise _AsksCpuidError
            if instruction is not None and is_beyond_the_emulator(instruction, state):
                self.report.ended = "beyond the emulator"
                break
            self.doing = "native"
            weighed = _weighed(native)
            native.reach(position + 1)
            self.weight = _weighed(native)[0] - weighed[0]
            for name in list(self.runs):
                self.step(name, position, instruction)
            if native.ended is None and native.position == position:
                self.report.ended = "stuck"
                break
        self.report.retired = native.position - start
        if native.ended is not None:
            self.report.ended = native.ended.how
        elif not self.report.ended:
            self.report.ended = "budget"

    def step(self, name: str, position: int, instruction: Instruction | None) -> None:
        """Let one technique follow by one instruction."""
        self.doing = name
        run = self.runs[name]
        weight, by_vmm = _weighed(run)
        replaced = run.technique.machine.cpu.tally
        try:
            run.reach(position + 1)
        except UnsupportedError as error:
            self.report.refused[name] = str(error)
            del self.runs[name]
            return
        if self.native.ended is None and self.native.position == position and run.position == position:
            return  # both go from fault to fault: what that does to memory is a matter of when one looks
        found = difference(self.native, run)
        if found is None and (self.native.ended and self.native.ended.how) != (run.ended and run.ended.how):
            found = f"ended: {self.native.ended} and {run.ended}"
        form = instruction.form if instruction is not None else None
        told = [event for event in run.events if event.at == position and event.is_divergence]
        if found is None:
            assert not told, f"nothing differs, but it says: {told[-1].action}"
            self.check_weight(run, position, weight, by_vmm, replaced)
            return
        text = instruction.text if instruction is not None else "(no instruction)"
        at = instruction.address if instruction is not None else -1
        where = f"{name} is not bare metal after instruction {position} at {at:08X}, {text}: {found}"
        if TECHNIQUES[name].promises_fidelity or form not in SILENT_IDS:
            raise DivergenceError(where)
        if not told or told[-1].kind is not Kind.SILENT:
            raise DivergenceError(f"{where}\nand nothing was told of it")
        self.report.silent[form] = self.report.silent.get(form, 0) + 1
        heal(self.native, run)
        self.healed.add(name)
        run.ended = self.native.ended
        found = difference(self.native, run)
        assert found is None, f"{where}; healed, there is still {found}"

    def check_weight(self, run: Run, position: int, weight: int, by_vmm: int, replaced: int) -> None:
        """Check that an instruction the CPU has run weighs what it does on bare metal, and any other one nothing.

        Others are completed by the VMM, or by the sequence that a translator has put in their place.
        """
        if run.position != position + 1:
            return
        weight, by_vmm = _weighed(run)[0] - weight, _weighed(run)[1] - by_vmm
        expected = 0 if by_vmm or run.technique.machine.cpu.tally != replaced else self.weight
        if weight != expected:
            raise DivergenceError(f"{self.doing}: instruction {position} weighs {weight} and not {expected}")

    def check_the_end(self) -> None:
        """Check what cannot be checked after every instruction: FPU, the VMM's memory, a free run, a restored one."""
        for name, run in self.runs.items():
            self.doing = f"{name}, at the end"
            found = fpu_difference(self.native, run) or unnoticed_difference(self.native, run)
            if found is not None:
                raise DivergenceError(f"{name} is not bare metal at the end: {found}")
            for what, content in still(run.technique).items():
                assert content == self.made[name][what], f"{what}: changed by the guest"
            assert_tables_follow_the_guest(run.technique)
            if name in self.healed or self.report.ended == "stuck":
                continue
            end = run.position + (run.ended is not None)  # what ends a run need not retire
            self.doing = f"{name}, running freely"
            weighed = _weighed(run)
            is_fresh = name in self.saved
            free = Run(self.scenario, name) if is_fresh else _restored(run, self.begun[name])
            free.most_stops = _MOST_STOPS
            free.reach(end)
            _assert_same(self.native, free, f"bare metal and {name}, run freely,")
            if _weighed(free) != weighed:
                raise DivergenceError(
                    f"{name}: stepped {weighed}, run freely {_weighed(free)}: weight, done by the VMM"
                )
            if is_fresh:
                self.doing = f"{name}, saved and restored"
                again = _restored(run, self.saved[name])
                again.reach(end)
                _assert_same(free, again, f"{name} run freely and restored")
                assert _weighed(again) == weighed


def _weighed(run: Run) -> tuple[int, int]:
    """Weight of the instructions that the CPU has run, and how many the VMM has completed."""
    return run.technique.guest_weight(), run.technique.completed_by_vmm()


def _assert_same(one: Run, other: Run, what: str) -> None:
    found = difference(one, other) or fpu_difference(one, other)
    if found is None and (one.ended and one.ended.how) != (other.ended and other.ended.how):
        found = f"ended: {one.ended} and {other.ended}"
    if found is not None:
        raise DivergenceError(f"{what} differ at {one.position}: {found}")


@dataclass(frozen=True)
class _Saved:
    """A run at some point, for `_restored`."""

    state: Any
    pages: Mapping[int, bytes]
    """Contents of the pages written until then; all others were empty."""


def _save(run: Run) -> _Saved:
    ram = run.technique.machine.ram
    return _Saved(run.technique.save(), {page: ram.page(page) for page in ram.dirty})


_EMPTY = bytes(PAGE)


def _restored(run: Run, saved: _Saved) -> Run:
    """Take a run back to where it was saved, with no code translated yet."""
    machine = run.technique.machine
    for page in sorted(machine.ram.dirty):
        content = saved.pages.get(page, _EMPTY)
        if machine.ram.page(page) != content:
            machine.ram.write(page << PAGE_SHIFT, content)
    run.technique.restore(saved.state)
    machine.cpu.set_breakpoints(frozenset())  # forgets all translated code
    run.ended = None
    run.events.clear()
    return run


def is_beyond_the_emulator(instruction: Instruction, state: CpuState) -> bool:
    """Tell whether the emulator is known to get an instruction wrong, depending on what it did before.

    An unaligned read-modify-write across the start of its own running block is done twice.
    """
    target = next((op for op in instruction.ops if op.kind == "mem" and op.is_written), None)
    if target is None or not target.is_read:
        return False
    address = linear_address(state, target, instruction.address_size_bits)
    if address % target.size_bytes == 0:
        return False
    # Blocks do not cross pages: only code of this page can be the running block.
    return address >> 12 == state.linear_eip >> 12 or (address + target.size_bytes - 1) >> 12 == state.linear_eip >> 12
