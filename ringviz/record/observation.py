"""What a replay may expect of a moment: one row for each thing that can be looked at, and the look itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ringviz.engine.events import Event, Kind
from ringviz.engine.fidelity import check_fidelity
from ringviz.engine.places import resolve_address
from ringviz.engine.session import Session
from ringviz.engine.view import Card, RegisterRow, Snapshot
from ringviz.facts.costs import CAUSES
from ringviz.facts.registers import GPR_NAMES, GPR_NAMES_64, Eflags
from ringviz.facts.residents import RESIDENTS
from ringviz.guest.schema import did_you_mean
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState, fields_of, flags_name
from ringviz.record.played import Value
from ringviz.vmm.registry import available, choose

_FLAGS = tuple(flag.name for flag in Eflags if flag is not Eflags.IOPL)
_NONE = "(none)"


class Observed:
    """A session at one moment, looked at as far as somebody asks. It may not move meanwhile."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @cached_property
    def snapshot(self) -> Snapshot:
        """What the screen shows, without what bare metal would have paid."""
        return self.session.snapshot(lambda: True)

    @cached_property
    def event(self) -> Event | None:
        """The last event up to here."""
        count = self.session.event_count()
        return self.session.events[count - 1] if count else None

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Events up to here by kind."""
        counts = dict.fromkeys((kind.value for kind in Kind), 0)
        for raw in self.session.events.raw[: self.session.event_count()]:
            counts[raw.kind.value] += 1
        return counts

    def state(self, is_real: bool) -> CpuState:
        """One of the two CPUs: the guest's as it believes it to be, or the real one."""
        return self.session.cpu_state(is_real=is_real)

    def row(self, name: str) -> RegisterRow | None:
        """A row of `The CPU, twice`."""
        return next((row for row in self.snapshot.registers if row.name.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Look:
    """One thing, or one family of things, that can be looked at."""

    name: str
    """Its key; a family's ends in a dot, and the rest of the key says which."""
    kind: type
    """`int`, `float`, `str` or `bool`."""
    title: str
    found: Callable[[Observed, str], Value]
    """Given the rest of the key, which is empty but for families."""
    members: Callable[[str], bool] = bool
    """Whether a family has such a member."""
    example: str = ""
    """A member, for messages."""


def _of_event(read: Callable[[Event], Value], none: Value) -> Callable[[Observed, str], Value]:
    def found(seen: Observed, _: str) -> Value:
        return none if seen.event is None else read(seen.event)

    return found


def _register(is_real: bool) -> Callable[[Observed, str], Value]:
    def found(seen: Observed, name: str) -> Value:
        if is_real and RESIDENTS[seen.session.technique.id].guest_is_data:
            return "in memory"  # the real CPU runs the emulator, whose registers say nothing
        state = seen.state(is_real)
        fields = fields_of(state)
        if name in _FLAGS:
            return int(bool(fields[flags_name(state)] & Eflags[name]))
        if name == "IOPL":
            return (fields[flags_name(state)] & Eflags.IOPL) >> 12
        key = name.lower()
        if key in fields:
            return fields[key]
        if key in GPR_NAMES and state.long is not None:
            return state.gpr[GPR_NAMES.index(key)] & 0xFFFF_FFFF
        return {"eip": state.eip, "eflags": state.eflags}.get(key, _NONE)

    return found


_REGISTERS = (
    *GPR_NAMES,
    *GPR_NAMES_64,
    *("eip", "rip", "eflags", "rflags", "gdtr.base", "gdtr.limit", "idtr.base", "idtr.limit"),
    *("cr0", "cr2", "cr3", "cr4", "cr8", "cpl", "efer", "dr0", "dr1", "dr2", "dr3", "dr6", "dr7"),
    *("sysenter_cs", "sysenter_esp", "sysenter_eip", "star", "lstar", "cstar", "sfmask", "kernel_gs_base"),
    *(
        f"{segment}{part}"
        for segment in ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
        for part in ("", ".base", ".limit", ".access")
    ),
)


def _is_register(name: str) -> bool:
    return name in _FLAGS or name == "IOPL" or name.lower() in _REGISTERS


def _memory(seen: Observed, place: str) -> Value:
    address = resolve_address(seen.session, place)
    return seen.session.bytes_at(address, _MEMORY_BYTES).hex(" ").upper()


_MEMORY_BYTES = 16


def _fidelity(seen: Observed, technique: str) -> Value:
    session = seen.session
    own = session.setup if technique == session.technique.id else choose(technique, scenario=session.scenario)
    return check_fidelity(session.scenario, technique, own).identical


def _translates(seen: Observed, place: str) -> Value:
    view = seen.session.walk(resolve_address(seen.session, place), Access())
    return "; ".join(walked.end for walked in view.walks)


def _card_text(card: Card) -> str:
    return f"{' → '.join(part.text for part in card.parts)} {card.why}"


def _next(read: str) -> Callable[[Observed, str], Value]:
    def found(seen: Observed, _: str) -> Value:
        row = next((row for row in seen.snapshot.code if row.is_current), None)
        if row is None:
            return _NONE
        match read:
            case "instruction":
                return f"{row.mnemonic} {row.operands}".strip()
            case "address":
                return row.address
            case "label":
                return row.label
            case "source":
                return row.source_text.strip()
            case _:
                return row.verdict.value

    return found


def _slowdown(seen: Observed, _: str) -> Value:
    return seen.session.ledger().slowdown or 0.0


_ROWS = (
    Look("position", int, "guest instructions retired", lambda seen, _: seen.session.position),
    Look("ring", int, "ring in which the CPU really is", lambda seen, _: seen.snapshot.rings.real),
    Look("believed", int, "ring in which the guest believes to be", lambda seen, _: seen.snapshot.rings.believed),
    Look("technique", str, "id of the technique", lambda seen, _: seen.session.technique.id),
    Look("outcome", str, "how the run ended: exit, halted, …; empty before", lambda seen, _: _outcome(seen)),
    Look("exit_code", int, "the guest's exit code; -1 before", lambda seen, _: seen.session.exit_code),
    Look("console", str, "what the guest has printed", lambda seen, _: seen.snapshot.console),
    Look("screen", str, "what stands on its text screen", lambda seen, _: _screen(seen)),
    Look(
        "card", str, "what the card says: what just happened, and why", lambda seen, _: _card_text(seen.snapshot.card)
    ),
    Look("event.kind", str, "kind of the last event", _of_event(lambda event: event.kind.value, "")),
    Look("event.cause", str, "what stopped the CPU", _of_event(lambda event: event.cause, "")),
    Look("event.rule", str, "why it did, or did not", _of_event(lambda event: event.rule, "")),
    Look("event.handler", str, "who answered", _of_event(lambda event: event.handler, "")),
    Look("event.action", str, "what was done about it", _of_event(lambda event: event.action, "")),
    Look("event.instruction", str, "the instruction", _of_event(lambda event: event.instruction, "")),
    Look("event.address", int, "its address", _of_event(lambda event: event.address, 0)),
    Look("event.at", int, "instructions retired before it", _of_event(lambda event: event.at, 0)),
    Look("event.got", str, "silent: what the guest got", _of_event(lambda event: event.got, "")),
    Look("event.native", str, "silent: what it should have got", _of_event(lambda event: event.native_would, "")),
    Look("event.cycles", int, "its modelled price", _of_event(lambda event: event.cycles or 0, 0)),
    Look("event.escaped", bool, "the guest got at the machine itself", _of_event(lambda event: event.escaped, False)),
    Look("events.total", int, "events so far", lambda seen, _: seen.session.event_count()),
    Look(
        "events.",
        int,
        "events of one kind so far",
        lambda seen, kind: seen.counts[kind],
        lambda kind: kind in [row.value for row in Kind],
        "trap",
    ),
    Look("cycles.guest", int, "modelled cycles of the guest", lambda seen, _: seen.snapshot.ledger.guest_cycles),
    Look("cycles.overhead", int, "modelled overhead", lambda seen, _: seen.snapshot.ledger.overhead_cycles),
    Look("cycles.total", int, "both", lambda seen, _: seen.snapshot.ledger.total_cycles),
    Look("slowdown", float, "against bare metal up to here; 0 if not known", _slowdown),
    Look(
        "charged.",
        int,
        "how often a cause of cost was charged so far",
        lambda seen, cause: sum(row.count for row in seen.snapshot.ledger.rows if row.cause == cause),
        lambda cause: cause in CAUSES,
        "exit",
    ),
    Look("next.instruction", str, "the instruction about to run", _next("instruction")),
    Look("next.address", int, "its address", _next("address")),
    Look("next.label", str, "the symbol that stands there", _next("label")),
    Look("next.source", str, "the line of the guest's source", _next("source")),
    Look("next.verdict", str, "what will become of it: traps, silent, exits, …", _next("verdict")),
    Look("guest.", int, "a register or flag as the guest has it", _register(False), _is_register, "IF"),
    Look("real.", int, "a register or flag of the CPU itself", _register(True), _is_register, "cs"),
    Look(
        "differs.",
        bool,
        "whether a row of `The CPU, twice` differs",
        lambda seen, name: bool((row := seen.row(name)) and row.differs),
        example="IF",
    ),
    Look("memory.", str, "the 16 bytes at a linear address or symbol of the guest", _memory, example="stack_top"),
    Look("walk.", str, "where the translation of an address or symbol ends", _translates, example="0x300000"),
    Look("vmm", str, "what the VMM keeps beside the guest's code", lambda seen, _: _side(seen)),
    Look(
        "fidelity.",
        bool,
        "whether a technique shows the guest what bare metal shows, to the end of the run",
        _fidelity,
        lambda technique: technique in available(),
        "vt-x",
    ),
)
LOOKS: Mapping[str, Look] = {row.name: row for row in _ROWS}
"""Everything that `expect` understands, by key."""


def look_of(key: str) -> Look | None:
    """Give the row that a key is looked up with; None if there is no such thing to look at."""
    if key in LOOKS and not key.endswith("."):
        return LOOKS[key]
    family, dot, member = key.partition(".")
    row = LOOKS.get(family + dot)
    return row if row is not None and dot and row.members(member) else None


def looked_up(key: str) -> str:
    """Say what could have been meant by a key that is none."""
    family = LOOKS.get(key.partition(".")[0] + ".")
    if family is not None and key != family.name:
        return f"{family.title}, such as {family.name}{family.example}"
    names = [f"{row.name}{row.example}" for row in _ROWS]
    return f"one of {', '.join(names)}{did_you_mean(key, names)}"


def observe(seen: Observed, key: str) -> Value:
    """Look at one thing.

    Raises:
        KeyError: there is no such thing.
        InputError: the guest has no such symbol.
    """
    row = look_of(key)
    if row is None:
        raise KeyError(key)
    return row.found(seen, key[len(row.name) :] if row.name.endswith(".") else "")


def _outcome(seen: Observed) -> str:
    return seen.session.outcome if seen.session.is_over else ""


def _screen(seen: Observed) -> str:
    screen = seen.snapshot.screen
    return "" if screen is None else "\n".join(screen.written)


def _side(seen: Observed) -> str:
    side = seen.snapshot.side
    if side is None:
        return ""
    return "\n".join(f"{row.place} {row.name} {row.value}".strip() for row in side.rows)
