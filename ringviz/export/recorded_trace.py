"""A trace as a file of ringviz's own: JSON Lines with a head, an end, and a checksum in each line."""

from ringviz.engine.events import Event
from ringviz.export.trace_format import TraceEnd, TraceHead
from ringviz.record.trace_file import TraceEnding, TraceHeading, ending_line, event_line, heading_line


class RecordedTrace:
    """The only format that says by itself what was traced, and whether it is whole (`ringviz.record.trace_file`)."""

    id = "trace"

    def head(self, head: TraceHead) -> str:
        """Say what is traced, and with which versions of what."""
        return heading_line(
            TraceHeading(
                scenario=head.scenario_id,
                title=head.scenario_title,
                technique=head.technique_id,
                mmu=head.mmu,
                cpu=head.cpu_id,
                controls=head.controls,
                made_with=head.made_with,
            )
        )

    def event(self, event: Event) -> str:
        """Give one event as one line."""
        return event_line(event)

    def end(self, end: TraceEnd) -> str:
        """Say how it ended, and how many events there are."""
        return ending_line(TraceEnding(end.retired, end.events, end.outcome))
