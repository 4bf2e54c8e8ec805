"""A trace as a story in sentences: for reading, for reading aloud, and for comparing with `diff`."""

from ringviz.engine.events import Event, sentence
from ringviz.export.trace_format import TraceEnd, TraceHead


class PlainTrace:
    """One paragraph line an event; nothing is told by colour, sign or place alone."""

    id = "plain"

    def head(self, head: TraceHead) -> str:
        """Say which guest runs under which technique, where the VMM sits, and that cycles are modelled."""
        return (
            f"{head.scenario_title} ({head.scenario_id}) under {head.technique_title} ({head.technique_id}), "
            f"memory virtualization: {head.mmu}.\n"
            f"Where the VMM sits: {head.vmm_seat}.\n"
            f"Cycles are modelled for {head.cpu_title}.\n"
            "\n"
        )

    def event(self, event: Event) -> str:
        """Tell one event, with its number and the retired guest instructions before it."""
        return f"{event.number}. After {event.at:,} instructions: {sentence(event)}\n"

    def end(self, end: TraceEnd) -> str:
        """Say how it all ended."""
        return f"\nThe end, after {end.retired:,} instructions and {end.events:,} events: {end.outcome}.\n"
