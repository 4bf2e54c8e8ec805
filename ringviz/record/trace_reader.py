"""Reading a trace file: all of it, or what is there so far of one that is still being written, and what is wrong."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from ringviz.engine.events import Event
from ringviz.errors import TraceError
from ringviz.record.event_record import event_of
from ringviz.record.trace_file import TRACE_VERSION, TraceEnding, TraceHeading, parse_line

_MAX_LINE_BYTES = 1 << 20


class TraceReader:
    """A place in a trace file. What can be read is given; what is wrong is kept as one line, in `problem`."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            TraceError: it cannot be opened.
        """
        self.where = str(path)
        try:
            # Stays open: whoever writes it may append, and the next `events()` goes on from here.
            self._file = path.open("rb")
        except OSError as error:
            raise TraceError(f"{path}: cannot be read: {error.strerror}") from None
        self.heading: TraceHeading | None = None
        """What is traced; None before it was read, and in plain JSON lines, which do not say it."""
        self.ending: TraceEnding | None = None
        """How the run ended; None while that has not been read."""
        self.count = 0
        """Events read."""
        self._line = 0
        self._damage = ""

    def __enter__(self) -> "TraceReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    @property
    def is_done(self) -> bool:
        """Nothing more will be read: the end was, or something that cannot be."""
        return self.ending is not None or bool(self._damage)

    @property
    def problem(self) -> str:
        """What is wrong with the file as far as it was read, in one line; empty if it is whole."""
        if self._damage:
            return f"{self.where}: {self._damage}"
        if self._is_from_the_future():
            return (
                f"{self.where}: version {self._version()}, which this ringviz (up to {TRACE_VERSION}) may not"
                f" understand fully; {self._readable()}"
            )
        is_cut = self._has_part_of_a_line()
        if is_cut or (self.ending is None and (self.heading is not None or not self.count)):
            what = f"line {self._line + 1} is cut off" if is_cut else "no end"
            return f"{self.where}: {what}: the run was killed, or is still going; {self._readable()}"
        return ""

    def events(self) -> Iterator[Event]:
        """Give the events from here to the end of what can be read; call it again when more has been written."""
        while not self.is_done:
            start = self._file.tell()
            line = self._file.readline(_MAX_LINE_BYTES)
            if not line.endswith(b"\n"):
                if len(line) == _MAX_LINE_BYTES:
                    self._spoil("is longer than any that ringviz writes")
                self._file.seek(start)  # not whole yet
                return
            event = self._understand(line[:-1])
            if event is not None:
                yield event

    def _understand(self, line: bytes) -> Event | None:
        """Take one whole line in; gives its event, if it is one."""
        self._line += 1
        try:
            found = parse_line(line, is_checked=self._has_checksums())
            if isinstance(found, TraceHeading):
                if self._line > 1:
                    raise ValueError("is another beginning")
                self.heading = found
            elif isinstance(found, TraceEnding):
                self.ending = found
                if found.events != self.count:
                    raise ValueError(f"speaks of {found.events:,} events")
            else:
                return self._numbered(event_of(found))
        except (KeyError, TypeError):
            if not self._is_from_the_future():
                self._spoil("is no event")
        except ValueError as error:
            self._spoil(str(error))
        return None

    def _numbered(self, event: Event) -> Event:
        """Make sure that no event is missing before this one."""
        if event.number != self.count + 1:
            raise ValueError(f"is event {event.number:,}, expected {self.count + 1:,}")
        self.count += 1
        return event

    def _spoil(self, what: str) -> None:
        if not self.count and self.heading is None:
            self._damage = (
                f"line {self._line or 1} {what}; expected a trace, as `ringviz trace --format trace` writes it"
            )
        else:
            self._damage = f"line {self._line} {what}; {self._readable()}"

    def _readable(self) -> str:
        if not self.count:
            return "no event before that can be read"
        return f"the {self.count:,} events before that can be read" if self.count > 1 else "one event can be read"

    def _has_part_of_a_line(self) -> bool:
        """Tell whether something stands behind the last whole line."""
        place = self._file.tell()
        is_there = bool(self._file.read(1))
        self._file.seek(place)
        return is_there

    def _has_checksums(self) -> bool:
        return self.heading is not None and not self._is_from_the_future()

    def _version(self) -> int:
        return TRACE_VERSION if self.heading is None else self.heading.version

    def _is_from_the_future(self) -> bool:
        return self._version() > TRACE_VERSION
