"""The top line: which guest, under what, on which CPU, where, and whether it moves."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from ringviz.engine.view import Snapshot
from ringviz.ui.glyphs import grouped
from ringviz.ui.widgets.panel import printable


class StatusLine(Widget):
    """One line; drops the less important words where it is short."""

    snapshot: reactive[Snapshot | None] = reactive(None)
    in_motion: reactive[bool] = reactive(False)
    is_busy: reactive[bool] = reactive(False)

    def render(self) -> Content:
        """Give the line for this moment."""
        if self.snapshot is None:
            return Content.assemble((" ringviz", "bold $primary"), ("  · loading …", "$dim"))
        return status_line(self.snapshot, self._state(self.snapshot), self.content_size.width)

    def _state(self, snapshot: Snapshot) -> tuple[str, str]:
        if self.in_motion or self.is_busy:
            return "» running, esc stops", "bold $kind-gate"
        if snapshot.outcome:
            return f"▣ {printable(snapshot.outcome)}", "bold $kind-end"
        return "■ paused", "$dim"


def status_line(snapshot: Snapshot, state: tuple[str, str], width: int) -> Content:
    """Give the longest form that fits."""
    end = snapshot.timeline.end
    of_end = "" if end is None or end == snapshot.position else f" of {grouped(end)}"
    scenario = (printable(snapshot.scenario_id), "bold $primary")
    step = (f"step {grouped(snapshot.position)}{of_end}", "bold")
    mmu = "" if snapshot.mmu == "none" else f", {snapshot.mmu} paging"
    count = len(snapshot.controls)
    mmu += f", {count} control{'s' if count > 1 else ''} changed" if count else ""
    cpu = f"{snapshot.cpu_title} ({snapshot.cpu_year})"
    forms = [
        [scenario, (f"{snapshot.technique_title}{mmu}", "bold"), (cpu, "$dim"), step, state],
        [scenario, (snapshot.technique_title, "bold"), (cpu, "$dim"), step, state],
        [scenario, (snapshot.technique_title, "bold"), (snapshot.cpu_id, "$dim"), step, state],
        [scenario, (snapshot.technique_id, "bold"), (snapshot.cpu_id, "$dim"), step, state],
        [scenario, (snapshot.technique_id, "bold"), step, state],
    ]
    lines = [Content(" · ").join([Content.assemble(part) for part in form]) for form in forms]
    for line in lines:
        if line.cell_length <= width - 2:
            return Content(" ") + line
    return (Content(" ") + lines[-1]).truncate(width, ellipsis=True)
