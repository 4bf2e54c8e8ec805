"""The two ends of `ringviz migrate` as two processes: one listens, the other moves its machine there over TCP."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ringviz.cli.exits import Exit, one_line
from ringviz.cli.migrate import equal_line, outcome_lines, tell_round
from ringviz.cli.output import print_lines, strong
from ringviz.engine import migration
from ringviz.errors import InputError
from ringviz.guest.scenario import Scenario
from ringviz.vmm.migration import tcp
from ringviz.vmm.migration.decision import FileRecord
from ringviz.vmm.migration.destination import Destination
from ringviz.vmm.migration.source import Plan
from ringviz.vmm.registry import choose

SHORTEST_SECRET_BYTES, LONGEST_SECRET_BYTES = 16, 4096
MOST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Link:
    """Which end this is, and what both have in common."""

    listen: int | None
    to: int | None
    secret: str | None
    record: str | None


def migrate(
    scenario: Scenario, technique: str, mmu: str | None, cpu: str | None, plan: Plan, link: Link, *, after: int
) -> int:
    """Be one end.

    Raises:
        RingvizError: the choices do not go together, or the other end cannot be reached; one line.
    """
    if link.listen is not None and link.to is not None:
        raise InputError("--listen and --to: one process is the destination, the other the source")
    port = link.listen if link.listen is not None else link.to
    assert port is not None
    if not 0 <= port <= MOST_PORT:
        raise InputError(f"port: found {port}, expected 0 to {MOST_PORT:,}")
    if link.record is None:
        raise InputError("--record: expected a file name, the same for both processes")
    record, secret, setup = FileRecord(_new(link.record)), _secret(link.secret), choose(technique, mmu, cpu)
    if link.to is None:

        def take(destination: Destination) -> None:
            tcp.serve(destination, tcp.accept(port, lambda at: print_lines([f"Listening at port {at}"])))

        report = migration.receive(scenario, technique, setup, secret, record, take)
    else:
        with tcp.connect(port) as connection:
            wire = tcp.SocketWire(connection)
            report = migration.send(
                scenario, technique, setup, plan, wire, secret, record, after=after, on_round=tell_round
            )
    print_lines(_lines(report, has_help=plan.auto_converge))
    has_moved = report.has_machine is (link.to is None)
    return Exit.DONE if has_moved and report.is_equal else Exit.FAILED


def _lines(report: migration.HostReport, *, has_help: bool) -> Iterator[str]:
    if report.outcome is not None:
        yield from outcome_lines(report.outcome, report.memory_bytes, has_help=has_help)
    elif report.has_machine:
        yield strong(f"{report.scenario} has come, and goes on here")
    else:
        yield strong(f"Nothing has come: {report.refusal}")
    if report.ending is not None:
        yield f"It ran to its end here: {report.ending.text}"
        yield equal_line(is_equal=report.is_equal)
        yield "The guest has printed:"
        yield from (f"  {one_line(line)}" for line in report.ending.console.splitlines())


def _secret(name: str | None) -> bytes:
    if name is None:
        raise InputError("--secret: expected a file with what both processes know")
    try:
        with Path(name).open("rb") as stream:
            secret = stream.read(LONGEST_SECRET_BYTES + 1)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    if not SHORTEST_SECRET_BYTES <= len(secret) <= LONGEST_SECRET_BYTES:
        raise InputError(
            f"{name}: found {len(secret):,} bytes, expected {SHORTEST_SECRET_BYTES} to {LONGEST_SECRET_BYTES:,}"
        )
    return secret


def _new(name: str) -> Path:
    """A record is for one migration: an old one would decide the new."""
    path = Path(name)
    if path.exists():
        raise InputError(f"{name}: is there already, from another migration; expected a name that is free")
    return path
