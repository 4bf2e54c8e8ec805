"""The small operating system: what it prints and how it ends, in QEMU, on bare metal and under every technique.

It is too long to be compared instruction by instruction with the other scenarios; here it is compared at its end.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from hashlib import sha256

import pytest

from ringviz.engine.fidelity import check_fidelity
from ringviz.engine.reasons import reasons_of
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.guest import load_source_map
from ringviz.guest.decode import decode
from ringviz.guest.scenario import Variant, find_scenario
from ringviz.machine.devices.uart import Uart
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.machine.state import fields_of
from ringviz.vmm.host.host import Host, MachineSpec
from tests.consoles import GOLDEN
from tests.vmm.lockstep import Run, default_cpu

TEACHOS = find_scenario("teachos")
SAID_IN_QEMU = (GOLDEN / "teachos.console.txt").read_text(encoding="ascii")
WELCOME = SAID_IN_QEMU.partition("$ ")[0]
OK, ASSERTION_FAILED = 1, 0x7E << 1 | 1
WAYS = (
    ("emulation", None, None),
    ("classic", None, None),
    ("binary-translation", None, None),
    ("vt-x", "shadow", "p4-672"),
    ("vt-x", "nested", "nehalem"),
    ("amd-v", "shadow", None),
    ("amd-v", "nested", None),
)
"""Technique, way of memory virtualization, CPU."""


LOAD, USER_TEXT, KERNEL_BASE, PAGE = 0x10_0000, 0x40_0000, 0xC000_0000, 4096
DATA = frozenset({"db", "dw", "dd", "dq", "times", "align", "incbin"})
both_builds = pytest.mark.parametrize("variant", list(Variant))


def physical(address: int) -> int:
    """Where the loader puts what the source has at an address: its three parts are linked for different ones."""
    if address >= KERNEL_BASE:
        return address - KERNEL_BASE
    return address if address < USER_TEXT else address - USER_TEXT + LOAD + PAGE


def is_code(text: str, macros: set[str]) -> bool:
    """Tell whether a line of the source is one instruction."""
    words = text.partition(";")[0].split()
    words = words[1:] if words[0].endswith(":") else words
    return not words[0].startswith("%") and words[0] not in DATA | macros


def played(technique: str, typed: bytes = b"", mmu: str | None = None, cpu: str | None = None) -> Run:
    """Run it to its end; `typed` comes in from the terminal from the start."""
    run = Run(TEACHOS, technique, cpu, mmu=mmu)
    terminal = Uart()
    terminal.feed(typed)
    bus = run.technique.machine.bus
    bus.restore(tuple((name, terminal.save() if name == Uart.name else state) for name, state in bus.save()))
    run.finish()
    return run


def said(run: Run) -> str:
    return run.technique.machine.bus.printed(Uart.name)


def ended(run: Run) -> tuple[str, int | None]:
    assert run.ended is not None
    return run.ended.how, run.technique.machine.bus.exit_code


def counts(run: Run) -> dict[str, int]:
    """What it counted, as it says on the debug console."""
    parts = run.technique.machine.bus.printed("debug-console").strip().split(", ")
    return {name: int(count) for count, _, name in (part.partition(" ") for part in parts)}


@both_builds
def test_every_instruction_decodes_to_what_nasm_assembled_and_none_shares_a_page_with_data(variant: Variant) -> None:
    source_map, image = load_source_map(TEACHOS, variant), TEACHOS.files(variant).image.read_bytes()
    macros = {line.split()[1] for line in source_map.source if line.startswith("%macro")}
    code_pages, data_pages, instructions = set(), set(), 0
    for line in source_map.lines:
        text = source_map.source[line.number - 1]
        if is_code(text, macros):
            instruction = decode(image[physical(line.address) - LOAD :][:15], line.address)
            assert instruction is not None, text
            assert instruction.size == line.size_bytes, text
            code_pages.add(line.address // PAGE)
            instructions += 1
        elif text.split()[0] not in ("align", "times", "%endrep", "program", "trap_gate", "gate"):
            first = text.partition(";")[0].replace(":", ": ").split()
            if first[0] in DATA or (first[0].endswith(":") and first[1] in DATA):
                data_pages.add(line.address // PAGE)
    assert instructions > 1_000
    assert len(data_pages) > 3
    assert code_pages & data_pages == {LOAD // PAGE}  # the Multiboot header is where a loader looks for it


def test_the_tables_that_a_vmm_watches_have_a_page_each() -> None:
    source_map = load_source_map(TEACHOS)
    for name in ("gdt", "idt", "tss"):
        address = source_map.address_of(name)
        assert address is not None
        assert address % PAGE == 0
        others = {symbol.name for symbol in source_map.symbols if symbol.address // PAGE == address // PAGE}
        assert {other.partition("_")[0] for other in others} == {name}


def test_bare_metal_says_what_qemu_says_and_runs_long_enough() -> None:
    run = played("native")
    assert said(run) == SAID_IN_QEMU
    assert ended(run) == ("exit", OK)
    assert run.position > 10_000_000
    told = counts(run)
    assert abs(told["ticks"] - run.technique.machine.now // 10_000) <= 1  # a hundred a second
    assert told["switches"] > 1_000
    assert told["sectors read"] == 7
    assert told["pages brought"] == 72
    assert run.technique.machine.idle > 900_000  # it sleeps while nobody types


def test_recompiled_for_a_hypervisor_it_means_the_same_at_every_marker() -> None:
    verdict = check_fidelity(TEACHOS, "paravirt")
    assert verdict.identical, verdict.first_divergence
    assert verdict.markers == SAID_IN_QEMU.count("\n$ ")


def test_under_trap_and_emulate_it_finds_out_in_its_first_critical_section() -> None:
    run = played("trap-emulate")
    assert said(run) == WELCOME + "panic: interrupts are on inside a critical section (processes)\n"
    assert ended(run) == ("exit", ASSERTION_FAILED)


STRIDE, CLOSE_STRIDE = 5_000, 1_000
"""Instructions between two looks; the closer one is for a soak test. What is in memory stays, and is seen later too."""
EMPTY = bytes(PAGE)


class Trail:
    """What a guest could tell of a run at every so many instructions, and what the run was in the end."""

    def __init__(self, technique: str, stride: int, mmu: str | None = None, cpu: str | None = None) -> None:
        self.run = run = Run(TEACHOS, technique, cpu, mmu=mmu)
        machine = run.technique.machine
        base = run.technique.guest_base >> PAGE_SHIFT
        chain = sha256()
        self.digests: list[bytes] = []
        contents: dict[int, bytes] = {}
        while run.ended is None:
            run.reach(run.position + stride)
            # Memory that has changed since; what is chained here stands for all of it.
            for page in sorted(machine.collect_dirty()):
                if 0 <= page - base < run.technique.guest_bytes >> PAGE_SHIFT:
                    content = machine.ram.page(page)
                    if contents.get(page, EMPTY) != content:
                        contents[page] = content
                        chain.update((page - base).to_bytes(4, "little"))
                        chain.update(content)
            chain.update(repr((sorted(fields_of(run.technique.guest_state()).items()), machine.now)).encode())
            chain.update(repr(machine.bus.save()).encode())
            self.digests.append(chain.digest())


@cache
def bare_metal(cpu: str, stride: int) -> Trail:
    """The reference: firmware tells a guest of its CPU, so each has its own."""
    return Trail("native", stride, cpu=cpu)


@pytest.mark.parametrize("stride", [STRIDE, pytest.param(CLOSE_STRIDE, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_every_faithful_technique_agrees_all_along(
    technique: str, mmu: str | None, cpu: str | None, stride: int
) -> None:
    trail, native = Trail(technique, stride, mmu, cpu), bare_metal(cpu or default_cpu(technique), stride)
    first = next((i for i, (a, b) in enumerate(zip(trail.digests, native.digests, strict=False)) if a != b), None)
    assert first is None, (
        f"another state after {(first or 0) * stride:,} to {((first or 0) + 1) * stride:,} instructions"
    )
    assert len(trail.digests) == len(native.digests) > 10_000_000 // stride
    assert said(trail.run) == SAID_IN_QEMU
    assert ended(trail.run) == ("exit", OK)
    assert trail.run.position == native.run.position
    assert guest_state_sha256(trail.run.technique) == guest_state_sha256(native.run.technique)
    golden = GOLDEN / "teachos" / f"{technique}-{mmu or 'default'}.txt"
    told = "".join(
        f"{r.count:7} {r.kind.value:10} {r.cause} {r.form}".rstrip() + "\n" for r in reasons_of(trail.run.events)
    )
    if os.environ.get("RINGVIZ_ACCEPT_GOLDENS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(told, encoding="utf-8")
    assert told == golden.read_text(encoding="utf-8")


def reasons_on_record(way: str) -> Counter[str]:
    """The golden counts of one way by cause."""
    lines = (GOLDEN / "teachos" / f"{way}.txt").read_text(encoding="utf-8").splitlines()
    counts: Counter[str] = Counter()
    for line in lines:
        count, _, rest = line.strip().partition(" ")
        counts[rest.split(maxsplit=1)[1]] += int(count)
    return counts


def test_shadow_paging_pays_an_exit_for_what_nested_paging_does_not_hear_of() -> None:
    shadow, nested = reasons_on_record("vt-x-shadow"), reasons_on_record("vt-x-nested")
    cr_accesses, switches = "VM exit 28, Control-register accesses", 1_200
    assert shadow["#PF (hidden)"] > 100
    assert shadow["#PF (trace)"] > 100
    assert shadow["VM exit 14, INVLPG"] > 50
    assert shadow[cr_accesses] > switches
    assert nested[cr_accesses] < 10
    for cause in ("#PF (hidden)", "#PF (trace)", "VM exit 14, INVLPG", "VM exit 0, Exception or NMI"):
        assert not nested[cause]
    io = "VM exit 30, I/O instruction"
    assert shadow[io] == nested[io]


@pytest.mark.parametrize("technique", ["native", "paravirt", "amd-v"])
def test_what_somebody_types_comes_before_the_script(technique: str) -> None:
    run = played(technique, b"echo hi there\nnonsense\nhalt\n")
    assert said(run).startswith(
        WELCOME + "$ echo hi there\nhi there\n$ nonsense\nno such program: nonsense\n$ halt\nhalted: "
    )
    assert ended(run) == ("exit", OK)


def test_a_terminal_that_falls_silent_is_as_good_as_halt() -> None:
    run = played("native", b"echo last words\r")
    assert said(run).startswith(WELCOME + "$ echo last words\nlast words\n$ halt\nhalted: ")
    assert run.technique.machine.now > 10_000_000  # ten seconds of silence


def test_control_d_ends_the_shell_and_so_the_system() -> None:
    run = played("native", b"\x04")
    assert said(run).startswith(WELCOME + "$ \nhalted: 0 pages brought")


def test_a_line_that_is_too_long_is_cut_and_one_that_waits_is_not_lost() -> None:
    typed = b"".join(b"echo %d %s\n" % (number, b"x" * 40) for number in range(4)) + b"echo " + b"y" * 70 + b"\nhalt\n"
    run = played("native", typed)
    lines = said(run).splitlines()
    assert [line for line in lines if line.endswith("x") and not line.startswith("$")] == [
        f"{number} {'x' * 40}" for number in range(4)
    ]
    assert "no such program: " + "y" * 11 in lines


@pytest.mark.parametrize("technique", ["vt-x", "binary-translation"])
def test_it_powers_itself_off_soon_after_it_is_asked(technique: str) -> None:
    """The clock's interrupt looks at the exit port; whatever runs meanwhile, a hundred times a second."""
    host = Host("haswell", 32)
    machine = host.add(MachineSpec("teachos", TEACHOS, technique))
    host.run_until(1_500_000)
    assert machine.end is None
    machine.ask_to_shut_down()
    asked_at = machine.guest_ticks
    host.run_until(4_500_000)
    assert machine.end is not None
    assert machine.end.text == "the guest ended the run through port F4h, exit code 1"
    console = machine.technique.machine.bus.console
    assert "The machine is to be switched off.\nhalted: " in console
    printed = len(console) * 20  # instructions that wait for the serial port and give it a byte
    assert machine.guest_ticks - asked_at < 10_000 + printed
