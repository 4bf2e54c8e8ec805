import pytest

from ringviz.facts.exceptions import EXCEPTIONS
from ringviz.facts.instructions import (
    GROUPS,
    INSTRUCTIONS,
    SILENT_IDS,
    Behaviour,
    Group,
    Instruction,
    PgClass,
    group_mnemonics,
)
from ringviz.facts.svm import INTERCEPT_FAMILIES

ROWS = list(INSTRUCTIONS.values())
FAULTING = {b for b in Behaviour if b.name.startswith("FAULTS")}

PRIVILEGED = [
    "cli", "sti", "hlt", "lgdt", "lidt", "lldt", "ltr", "lmsw", "clts", "mov-to-cr", "mov-from-cr", "mov-to-dr",
    "mov-from-dr", "invlpg", "invd", "wbinvd", "rdmsr", "wrmsr", "rdpmc", "rdtsc", "rdtscp", "in", "out", "ins",
    "outs", "sysexit", "sysret", "swapgs", "clac", "stac", "rsm", "monitor", "mwait", "xsetbv", "vmrun", "vmload",
    "vmsave", "stgi", "clgi", "skinit", "invlpga", "vmxon", "vmxoff", "vmlaunch", "vmresume", "vmread", "vmwrite",
    "vmclear", "vmptrld", "vmptrst",
]  # fmt: skip
SILENT = [
    "sgdt", "sidt", "sldt", "smsw", "str", "pushf", "popf", "lar", "lsl", "verr", "verw", "push-sreg", "pop-sreg",
    "mov-from-sreg", "mov-to-sreg", "load-far-pointer", "call-far", "jmp-far", "ret-far", "iret",
]  # fmt: skip
GATES = [
    "int", "int3", "into", "int1", "syscall", "sysenter", "vmmcall", "vmcall",
]  # fmt: skip


def ids(pg_class: PgClass) -> list[str]:
    return [row.id for row in ROWS if row.pg_class is pg_class]


def test_each_instruction_is_in_the_class_it_belongs_to() -> None:
    assert sorted(ids(PgClass.PRIVILEGED)) == sorted(PRIVILEGED)
    assert sorted(ids(PgClass.SENSITIVE_SILENT)) == sorted(SILENT)
    assert sorted(ids(PgClass.GATE)) == sorted(GATES)
    assert ids(PgClass.UNPRIVILEGED_MACHINE) == ["cpuid", "rdrand", "rdseed"]
    assert ids(PgClass.INNOCUOUS) == ["ud2"]
    assert frozenset(SILENT) == SILENT_IDS


def test_the_register_group_has_six_mnemonics_and_the_protection_group_twelve() -> None:
    assert sorted(group_mnemonics(Group.SENSITIVE_REGISTER)) == ["POPF", "PUSHF", "SGDT", "SIDT", "SLDT", "SMSW"]
    assert sorted(group_mnemonics(Group.PROTECTION_SYSTEM)) == [
        "CALL", "INT", "JMP", "LAR", "LSL", "MOV", "POP", "PUSH", "RET", "STR", "VERR", "VERW",
    ]  # fmt: skip
    assert set(GROUPS) == set(Group)


def test_every_cpl_has_a_behaviour() -> None:
    for row in ROWS:
        assert sorted(row.behaviour) == [0, 1, 2, 3], row.id


def test_privileged_instructions_may_fault_in_every_outer_ring() -> None:
    for row in ROWS:
        if row.pg_class is PgClass.PRIVILEGED:
            assert {row.behaviour[cpl] for cpl in (1, 2, 3)} <= FAULTING, row.id
            assert row.on_trap_emulate == "traps", row.id
            assert row.fault, row.id
            if row.id != "rsm":
                assert row.behaviour[0] in (Behaviour.RUNS, Behaviour.FAULTS_UD_IF_OFF), row.id


def test_silent_instructions_never_simply_fault() -> None:
    for row in ROWS:
        if row.pg_class is PgClass.SENSITIVE_SILENT:
            assert row.on_trap_emulate == "silent", row.id
            assert row.behaviour[0] is Behaviour.RUNS, row.id
            for cpl in (1, 2, 3):
                assert row.behaviour[cpl] in (Behaviour.REVEALS, Behaviour.SILENT_DIFFERENT, Behaviour.CHECKED), row.id


def test_a_fault_is_named_exactly_where_a_ring_can_cause_one() -> None:
    may_fault = FAULTING | {Behaviour.CHECKED, Behaviour.ENTERS_HANDLER}
    for row in ROWS:
        outer = row.behaviour[1]
        if outer is Behaviour.FAULTS_UD_IF_OFF:
            continue
        assert (row.fault is not None) == (outer in may_fault), row.id
        if row.fault:
            assert row.fault in {exception.mnemonic for exception in EXCEPTIONS.values()}, row.id


@pytest.mark.parametrize(
    ("id_", "cpl", "behaviour"),
    [
        ("hlt", 0, Behaviour.RUNS),
        ("hlt", 1, Behaviour.FAULTS_GP),
        ("cli", 1, Behaviour.FAULTS_GP_IF_IOPL),
        ("in", 3, Behaviour.FAULTS_GP_IF_PORT),
        ("rdtsc", 0, Behaviour.RUNS),
        ("rdtsc", 3, Behaviour.FAULTS_GP_IF_TSD),
        ("rdpmc", 1, Behaviour.FAULTS_GP_IF_NO_PCE),
        ("monitor", 1, Behaviour.FAULTS_UD),
        ("rsm", 0, Behaviour.FAULTS_UD),
        ("sidt", 3, Behaviour.REVEALS),
        ("smsw", 3, Behaviour.REVEALS),
        ("popf", 1, Behaviour.SILENT_DIFFERENT),
        ("verr", 1, Behaviour.SILENT_DIFFERENT),
        ("mov-to-sreg", 1, Behaviour.CHECKED),
        ("vmrun", 0, Behaviour.FAULTS_UD_IF_OFF),
        ("vmrun", 3, Behaviour.FAULTS_GP_OR_UD),
        ("vmmcall", 0, Behaviour.FAULTS_UD),
        ("cpuid", 3, Behaviour.REVEALS),
    ],
)
def test_instructions_behave_as_their_pages_in_the_manual_say(id_: str, cpl: int, behaviour: Behaviour) -> None:
    assert INSTRUCTIONS[id_].behaviour[cpl] is behaviour


def test_iopl_decides_for_these_and_no_others() -> None:
    assert sorted(row.id for row in ROWS if row.io_sensitive) == ["cli", "in", "ins", "out", "outs", "popf", "sti"]


def test_verdicts_other_than_traps_and_silent() -> None:
    verdicts = {row.id: row.on_trap_emulate for row in ROWS}
    assert {id_ for id_, verdict in verdicts.items() if verdict == "gate"} == {
        "int", "int3", "into", "int1", "syscall", "sysenter",
    }  # fmt: skip
    assert {id_ for id_, verdict in verdicts.items() if verdict == "runs"} == {"cpuid"}
    assert verdicts["ud2"] == "traps"


def test_intercepts_exist_in_the_vmcb() -> None:
    for row in ROWS:
        assert row.on_amd_v_intercept is None or row.on_amd_v_intercept in INTERCEPT_FAMILIES, row.id


def test_amd_v_cannot_intercept_the_protection_checks() -> None:
    blind = {row.id for row in ROWS if row.pg_class is PgClass.SENSITIVE_SILENT and row.on_amd_v_intercept is None}
    assert blind == {
        "lar", "lsl", "verr", "verw", "push-sreg", "pop-sreg", "mov-from-sreg", "mov-to-sreg", "load-far-pointer",
        "call-far", "jmp-far", "ret-far",
    }  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.id))
def test_rows_are_written_for_a_reader(row: Instruction) -> None:
    assert row.title[0].isupper()
    assert not row.title.endswith(".")
    assert row.leaks.endswith(".")
    assert all(name == name.upper() for name in row.mnemonics)
    assert row.source.work in ("Intel SDM Vol. 2", "Intel SDM Vol. 3C", "AMD APM Vol. 3")
    head = row.mnemonics[0]
    assert head.rstrip("123") in row.source.section or head in row.source.section.upper()
