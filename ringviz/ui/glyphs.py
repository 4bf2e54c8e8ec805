"""How each kind of event and each verdict looks: one glyph, one word, one colour, the same in every panel.

Glyphs are one cell wide in every terminal font we know and differ in shape, so colour never carries a meaning alone.
Colours are names of theme variables (`themes.py`).
"""

from dataclasses import dataclass

from ringviz.engine.view import Kind, SideMark, Verdict


@dataclass(frozen=True, slots=True)
class Look:
    """The face of one kind of thing."""

    glyph: str
    word: str
    """The name shown in legends."""
    colour: str
    """A theme variable, with its dollar sign."""
    meaning: str
    """One sentence for the legend in the help screen."""


KIND_LOOKS: dict[Kind, Look] = {
    Kind.GUEST: Look("■", "guest", "$kind-guest", "The guest's own work, run by the CPU directly."),
    Kind.TRAP: Look("▲", "trap", "$kind-trap", "A privileged instruction faulted into the VMM, which emulated it."),
    Kind.REFLECT: Look(
        "△", "reflected", "$kind-reflect", "The VMM handed an exception back to the guest's own handler."
    ),
    Kind.SILENT: Look(
        "◆", "silent", "$kind-silent", "A sensitive instruction did not trap, and told or did the wrong thing."
    ),
    Kind.EXIT: Look("▼", "exit", "$kind-exit", "The hardware left the guest for the VMM below ring 0 and came back."),
    Kind.TRANSLATE: Look(
        "»", "translated", "$kind-translate", "The VMM translated a stretch of guest code into its code cache."
    ),
    Kind.CALLOUT: Look("∩", "callout", "$kind-callout", "Translated code called the VMM and came back."),
    Kind.HYPERCALL: Look(
        "↕", "hypercall", "$kind-hypercall", "The guest's kernel asked the VMM for something, and knew whom it asked."
    ),
    Kind.GATE: Look("◇", "gate", "$kind-gate", "The guest crossed between its own rings, with no VMM involved."),
    Kind.FAULT: Look("▽", "fault", "$kind-fault", "An exception went straight to the guest's own handler."),
    Kind.INTERRUPT: Look(
        "!", "interrupt", "$kind-interrupt", "A device's interrupt went straight to the guest's own handler."
    ),
    Kind.IO: Look("○", "I/O", "$kind-io", "A device read or wrote a port, or the CPU waits in HLT for one."),
    Kind.VIOLATION: Look(
        "×", "attempt", "$kind-violation", "The guest reached for what is not its own; its line says what came of it."
    ),
    Kind.END: Look("▣", "end", "$kind-end", "The run ended here."),
}

VERDICT_LOOKS: dict[Verdict, Look] = {
    Verdict.RUNS: Look(" ", "", "$foreground", "Runs directly; nobody notices."),
    Verdict.TRAPS: Look("▲", "traps", "$kind-trap", "Will fault into the VMM."),
    Verdict.SILENT: Look("◆", "silent", "$kind-silent", "Will run, but not do or tell what it should."),
    Verdict.GATE: Look("◇", "gate", "$kind-gate", "Will cross to another ring through the guest's own gate."),
    Verdict.EXITS: Look("▼", "exits", "$kind-exit", "Will leave the guest for the VMM below ring 0."),
    Verdict.FAULTS: Look("▽", "faults", "$kind-fault", "Will raise an exception in the guest."),
    Verdict.EMULATED: Look("≈", "emulated", "$dim", "Is carried out by a program, not by the CPU."),
    Verdict.TRANSLATED: Look("»", "replaced", "$kind-translate", "Other code, in the code cache, runs in its place."),
    Verdict.CALLOUT: Look("∩", "callout", "$kind-callout", "Code in the code cache calls the VMM in its place."),
    Verdict.CALLS: Look("↕", "asks VMM", "$kind-hypercall", "Asks the VMM for something, and knows whom it asks."),
}

MARK_LOOKS: dict[SideMark, Look] = {
    SideMark.NONE: Look(" ", "", "$foreground", "As it was."),
    SideMark.CURRENT: Look("►", "now", "$changed", "What the present instruction has become; the CPU executes this."),
    SideMark.BY_CPU: Look("▼", "cpu", "$kind-exit", "Changed by the hardware at the last exit."),
    SideMark.BY_VMM: Look("*", "vmm", "$kind-trap", "Changed by the VMM since."),
}

REAL = "►"
"""Where the CPU really is."""
BELIEVED = "◐"
"""Where the guest believes it is, when that is somewhere else."""
BOOKMARK = "§"
"""A place that the user has marked."""
DIFFERS = "≠"
"""The guest's belief and the truth are not the same."""


def ring_name(ring: int) -> str:
    """Give the ring's number as it is written on screen, with a true minus sign."""
    return f"−{-ring}" if ring < 0 else str(ring)


def grouped(number: float) -> str:
    """Give a number with its thousands apart: `36 448`."""
    return f"{number:,}".replace(",", " ")
