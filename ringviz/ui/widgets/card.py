"""What just happened: one line of arrows, one of why, and the price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.reactive import reactive

from ringviz.engine.view import Card, CardPart, Snapshot
from ringviz.ui.glyphs import KIND_LOOKS, grouped, ring_name
from ringviz.ui.widgets.panel import Panel, printable, wrapped

if TYPE_CHECKING:
    from ringviz.engine.micro_steps import MicroStep

_ROLE_STYLES = {
    "instruction": "bold reverse",
    "rule": "$foreground",
    "fault": "bold $kind-silent",
    "vmm": "bold $kind-trap",
    "device": "$kind-io",
    "guest": "$kind-guest",
    "silent": "bold $kind-silent",
    "resume": "$kind-gate",
    "plain": "$foreground",
}


class CardPanel(Panel):
    """The card in the middle of the screen."""

    TITLE = "What just happened"
    EXPLANATION = (
        "The last instruction as a chain: what it asked for, which rule it met, who took over, what was done, and "
        "where the guest goes on. The second line says why. The price in the title is modelled, never measured: "
        "it comes from published figures for the CPU named in the top line. With u an event is shown part by part "
        "(fault, delivery, dispatch, decode, emulate, return): space goes on, b back, and each part says who "
        "acts, in which ring, and with which values."
    )

    part: reactive[int | None] = reactive(None, repaint=False)
    """Which part of the event is shown; None for the whole."""

    def watch_part(self) -> None:
        """Draw the other part."""
        self.watch_snapshot(self.snapshot)

    def title_for(self, snapshot: Snapshot) -> Content:
        """Put the price into the title, so that no width can cut it off."""
        card = snapshot.card
        look = KIND_LOOKS[card.kind]
        price = (
            () if card.cycles is None else ((f" · +{grouped(card.cycles)} cycles (modelled)", f"bold {look.colour}"),)
        )
        part = _part(snapshot, self.part)
        where = () if part is None else ((f" · part {part + 1} of {len(snapshot.micro)}", "bold $changed"),)
        return Content.assemble(self.TITLE, *where, *price)

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Give the chain, the reason, and the source of the price if a line is left."""
        card = snapshot.card
        part = _part(snapshot, self.part)
        if part is not None:
            return _part_lines(snapshot.micro, part, width, height)
        chain_lines = wrapped(chain(card), width, max(1, height - 1))
        lines = [*chain_lines]
        if card.why:
            why = Content.assemble(("Why: ", "bold $dim"), (printable(card.why), "$foreground"))
            lines += wrapped(why, width, height - len(lines))
        if card.price_note and card.cycles is not None and len(lines) < height:
            lines.append(Content.assemble((printable(card.price_note), "italic $dim")).truncate(width, ellipsis=True))
        return lines


def _part(snapshot: Snapshot, part: int | None) -> int | None:
    """Give the part to show; none where this event has no such part."""
    return part if part is not None and part < len(snapshot.micro) else None


def _part_lines(parts: Sequence[MicroStep], part: int, width: int, height: int) -> list[Content]:
    """Name all parts, the present one set off, and say what happened in it."""
    pieces: list[Content] = []
    for index, step in enumerate(parts):
        if index:
            pieces.append(Content(" → "))
        style = "bold reverse $changed" if index == part else "$foreground" if index < part else "$dim"
        pieces.append(Content.assemble((f" {step.name} " if index == part else step.name, style)))
    head = Content("").join(pieces)
    now = parts[part]
    who = f"{now.who}, ring {ring_name(now.ring)}: "
    text = Content.assemble(
        (who, f"bold {_WHO_STYLES.get(now.who, '$foreground')}"), (printable(now.text), "$foreground")
    )
    heads = wrapped(head, width, max(1, height - 1))
    return [*heads, *wrapped(text, width, height - len(heads))]


_WHO_STYLES = {"VMM": "$kind-trap", "CPU": "$kind-exit", "emulator": "$kind-trap"}


def chain(card: Card) -> Content:
    """Give the parts joined by arrows; the rule stands beside its instruction without one."""
    pieces: list[Content] = [Content.assemble((f"{KIND_LOOKS[card.kind].glyph} ", KIND_LOOKS[card.kind].colour))]
    for index, part in enumerate(card.parts):
        if index:
            is_rule = part.role == "rule" and card.parts[index - 1].role == "instruction"
            pieces.append(Content(" " if is_rule else " → "))
        pieces.append(_link(part))
    return Content("").join(pieces)


def _link(part: CardPart) -> Content:
    text = printable(part.text)
    return Content.assemble((f" {text} " if part.role == "instruction" else text, _ROLE_STYLES.get(part.role, "")))
