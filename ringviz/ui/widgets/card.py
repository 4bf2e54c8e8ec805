"""What just happened: one line of arrows, one of why, and the price."""

from collections.abc import Sequence

from textual.content import Content

from ringviz.engine.view import Card, CardPart, Snapshot
from ringviz.ui.glyphs import KIND_LOOKS, grouped
from ringviz.ui.widgets.panel import Panel, printable, wrapped

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
        "where the guest goes on. The second line says why. The price in the title is modelled, never measured: it "
        "comes from published figures for the CPU named in the top line."
    )

    def title_for(self, snapshot: Snapshot) -> Content:
        """Put the price into the title, so that no width can cut it off."""
        card = snapshot.card
        look = KIND_LOOKS[card.kind]
        price = (
            () if card.cycles is None else ((f" · +{grouped(card.cycles)} cycles (modelled)", f"bold {look.colour}"),)
        )
        return Content.assemble(self.TITLE, *price)

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Give the chain, the reason, and the source of the price if a line is left."""
        card = snapshot.card
        chain_lines = wrapped(chain(card), width, max(1, height - 1))
        lines = [*chain_lines]
        if card.why:
            why = Content.assemble(("Why: ", "bold $dim"), (printable(card.why), "$foreground"))
            lines += wrapped(why, width, height - len(lines))
        if card.price_note and card.cycles is not None and len(lines) < height:
            lines.append(Content.assemble((printable(card.price_note), "italic $dim")).truncate(width, ellipsis=True))
        return lines


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
