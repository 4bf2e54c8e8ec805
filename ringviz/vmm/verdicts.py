"""What will become of an instruction, read off the facts: shared rules of the techniques' `verdict`."""

from __future__ import annotations

from ringviz.facts.instructions import INSTRUCTIONS, Behaviour, PgClass

_FAULTS = (
    Behaviour.FAULTS_GP,
    Behaviour.FAULTS_GP_IF_IOPL,
    Behaviour.FAULTS_GP_IF_PORT,
    Behaviour.FAULTS_UD,
    Behaviour.FAULTS_GP_OR_UD,
)


def on_bare_cpu(form: str | None, cpl: int) -> tuple[str, str]:
    """What the CPU itself does, with the guest in the ring it believes in."""
    if form is None:
        return "", ""
    row = INSTRUCTIONS[form]
    if row.pg_class is PgClass.GATE:
        return "gate", row.title
    if row.behaviour[cpl] in _FAULTS:
        return "faults", f"in ring {cpl}: {row.behaviour[cpl].value}"
    return "", ""
