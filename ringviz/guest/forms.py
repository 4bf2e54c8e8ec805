"""Which of the instructions that matter to a VMM an instruction is.

A form is finer than a mnemonic where the manual's rules are: MOV to a control register and MOV from CS
have one mnemonic and nothing else in common. The ids are those of `ringviz.facts.instructions`.
"""

from collections.abc import Sequence

from ringviz.guest.instruction import Operand

SEGMENT_REGISTERS = frozenset({"cs", "ss", "ds", "es", "fs", "gs"})

_NAMED_AS_WRITTEN = (
    "cli sti hlt lgdt lidt lldt ltr lmsw clts invlpg invd wbinvd rdmsr wrmsr rdpmc rdtsc rdtscp"
    " in out sysexit sysret swapgs clac stac rsm monitor mwait xsetbv"
    " vmrun vmload vmsave stgi clgi skinit invlpga vmmcall"
    " vmcall vmxon vmxoff vmlaunch vmresume vmread vmwrite vmclear vmptrld vmptrst"
    " rdrand rdseed sgdt sidt sldt smsw str pushf popf lar lsl verr verw iret int int3 into int1 syscall sysenter cpuid"
    " ud2"
)
"""Forms that are called like their mnemonic."""

_FORM_BY_MNEMONIC = {name: name for name in _NAMED_AS_WRITTEN.split()} | {
    "insb": "ins",
    "insw": "ins",
    "insd": "ins",
    "outsb": "outs",
    "outsw": "outs",
    "outsd": "outs",
    "pushfd": "pushf",
    "pushfq": "pushf",
    "popfd": "popf",
    "popfq": "popf",
    "iretd": "iret",
    "iretq": "iret",
    "sysexitq": "sysexit",
    "sysretq": "sysret",
    "retf": "ret-far",
    "retfq": "ret-far",
    "lcall": "call-far",
    "ljmp": "jmp-far",
    "lds": "load-far-pointer",
    "les": "load-far-pointer",
    "lfs": "load-far-pointer",
    "lgs": "load-far-pointer",
    "lss": "load-far-pointer",
}

_FORM_BY_REGISTER: dict[tuple[str, str | None, bool], str] = {
    ("mov", "cr", True): "mov-to-cr",
    ("mov", "cr", False): "mov-from-cr",
    ("mov", "dr", True): "mov-to-dr",
    ("mov", "dr", False): "mov-from-dr",
    ("mov", "sreg", True): "mov-to-sreg",
    ("mov", "sreg", False): "mov-from-sreg",
    ("push", "sreg", False): "push-sreg",
    ("pop", "sreg", True): "pop-sreg",
}
"""Form by mnemonic, class of a register among the operands, and whether that register is written."""

FORMS = frozenset(_FORM_BY_MNEMONIC.values()) | frozenset(_FORM_BY_REGISTER.values())
"""Every id that `form_of` can give."""


def form_of(mnemonic: str, operands: Sequence[Operand]) -> str | None:
    """Return the form of an instruction, or None if it is none that matters to a VMM.

    Args:
        mnemonic: without prefixes, in lower case; far jumps and calls as "ljmp" and "lcall".
        operands: in Intel's order.
    """
    form = _FORM_BY_MNEMONIC.get(mnemonic)
    if form is not None:
        return form
    for operand in operands:
        if operand.register is not None:
            form = _FORM_BY_REGISTER.get((mnemonic, _register_class(operand.register), operand.is_written))
            if form is not None:
                return form
    return None


def _register_class(name: str) -> str | None:
    if name in SEGMENT_REGISTERS:
        return "sreg"
    prefix = name[:2]
    return prefix if prefix in ("cr", "dr") and name[2:].isdigit() else None
