"""One paragraph on each thing that stands on the screen and is no word of the glossary: registers, flags, rings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.source import Source, by
from ringviz.facts.sources import AA06, APM2, POPEK_GOLDBERG, RING_COMPRESSION, SDM1, SDM3A, SDM3C, XEN03


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a thing is, and why a VMM cares."""

    id: str
    """`register IF`, `ring 1`."""
    title: str
    text: str
    source: Source
    see: tuple[str, ...] = ()
    """Ids of terms of the glossary."""
    lesson: str = ""
    """Id of the lesson that deals with it."""


_EFLAGS = SDM1.at("EFLAGS Register")
_SYSTEM_FLAGS = SDM3A.at("System Flags and Fields in the EFLAGS Register")
_CONTROL = SDM3A.at("Control Registers")
_TABLES = SDM3A.at("Memory-Management Registers")
_GENERAL = SDM1.at("General-Purpose Registers")
_SEGMENTS = SDM1.at("Segment Registers")
_RINGS = SDM3A.at("Privilege Levels")


def _general(name: str, use: str) -> Explanation:
    return Explanation(
        f"register {name}",
        name,
        f"{use} It belongs to whoever runs: no ring is asked, so the guest uses the CPU's own, and a VMM only saves "
        "and restores it when it switches.",
        _GENERAL,
    )


EXPLANATIONS: Mapping[str, Explanation] = by(
    "id",
    Explanation(
        "register mode",
        "mode",
        "The mode of the CPU, where it has two: VMX root and non-root with VT-x, host and guest with AMD-V. The four "
        "rings exist in both. A dash says that this CPU, or this technique, knows of no such thing.",
        SDM3C.at("Introduction to Virtual Machine Extensions", note="AMD: Secure Virtual Machine"),
        ("intel-vt", "amd-v"),
        "second-axis",
    ),
    Explanation(
        "register ring",
        "ring (CPL)",
        "The ring that the CPU is in: its CPL, which stands in the low two bits of CS. Every rule of privilege asks "
        "for it. A guest that reads CS reads the real one, and so may learn that it is not where it believes to be.",
        _RINGS,
        ("cpl", "protection-ring"),
        "where-am-i",
    ),
    Explanation(
        "register IF",
        "IF, the interrupt flag",
        "While it is 1, devices may interrupt the CPU. CLI and STI change it and fault where CPL > IOPL; POPF and IRET "
        "change it where they may, and where they may not, leave it alone without a word. A VMM must keep the real IF "
        "at 1, or the guest could keep the CPU for ever; so the guest's IF has to be a virtual one.",
        _SYSTEM_FLAGS,
        ("iopl", "silent-instruction"),
        "x86-hole",
    ),
    Explanation(
        "register IOPL",
        "IOPL, the I/O privilege level",
        "Two bits of EFLAGS: the outermost ring that may use CLI, STI and the ports without further question. A VMM "
        "that wants these to trap leaves it at 0 while the guest's kernel runs in ring 1: then CPL 1 > IOPL 0, and "
        "they fault.",
        SDM1.at("I/O Privilege Level"),
        ("iopl", "cpl"),
        "trap-and-emulate",
    ),
    Explanation(
        "register EFLAGS",
        "EFLAGS",
        "The flags: the results of arithmetic (CF, PF, AF, ZF, SF, OF), which are everybody's, and those that concern "
        "the system (IF, IOPL, TF, NT, VM and others). PUSHF stores all of them in every ring, the real IF included.",
        _EFLAGS,
        ("silent-instruction",),
        "x86-hole",
    ),
    *(
        Explanation(
            f"register {name}",
            f"{name}, a segment register",
            f"{use} Its low two bits are the RPL; in CS and SS they are the ring the CPU is in, and MOV or PUSH shows "
            "them to anyone.",
            _SEGMENTS,
            ("cpl",),
            "where-am-i",
        )
        for name, use in (
            ("CS", "Selects the segment that code is fetched from."),
            ("SS", "Selects the segment of the stack."),
            ("DS", "Selects the segment that data are read from unless an instruction says otherwise."),
            ("ES", "Selects one more segment of data; string instructions write there."),
            ("FS", "Selects one more segment of data."),
            ("GS", "Selects one more segment of data."),
        )
    ),
    Explanation(
        "register CR0",
        "CR0",
        "Switches protected mode (PE), paging (PG), write protection in ring 0 (WP) and the handling of the FPU (TS, "
        "EM, NE). MOV to and from it is privileged; SMSW shows its low half in every ring, which is one of the holes.",
        _CONTROL,
        ("privileged", "silent-instruction"),
        "x86-hole",
    ),
    Explanation(
        "register CR2",
        "CR2",
        "The linear address of the last page fault, written by the CPU. A VMM that takes a page fault meant for the "
        "guest must put the address into the guest's CR2 before it enters the guest's handler.",
        _CONTROL,
        ("shadow-structure",),
        "shadow-page-tables",
    ),
    Explanation(
        "register CR3",
        "CR3",
        "Where the page tables begin. With shadow paging the real CR3 points to the VMM's own tables, which it keeps "
        "in step with the guest's; with nested paging the guest's CR3 is real, and a second set of tables lies behind "
        "it.",
        _CONTROL,
        ("shadow-structure", "nested-paging"),
        "shadow-page-tables",
    ),
    Explanation(
        "register CR4",
        "CR4",
        "Switches the extensions of the architecture: large pages (PSE), PAE, global pages (PGE), whether RDTSC is for "
        "ring 0 only (TSD), and VT-x itself (VMXE).",
        _CONTROL,
        ("privileged",),
    ),
    Explanation(
        "register GDTR",
        "GDTR",
        "Base and limit of the global descriptor table. LGDT is privileged, SGDT is not: a guest under a VMM that "
        "needs the real table for itself reads the VMM's address and not its own.",
        _TABLES,
        ("silent-instruction",),
        "x86-hole",
    ),
    Explanation(
        "register IDTR",
        "IDTR",
        "Base and limit of the interrupt descriptor table: where every exception, interrupt and INT n goes. Whoever "
        "holds the real IDTR is called first. LIDT is privileged; SIDT is not, and tells anyone where the table is.",
        _TABLES,
        ("idt", "silent-instruction"),
        "crossing-the-line",
    ),
    Explanation(
        "register TR",
        "TR, the task register",
        "Selects the task-state segment, from which the CPU takes the stack for an inner ring and the I/O bitmap. LTR "
        "is privileged; STR shows the real selector in every ring.",
        _TABLES,
        ("silent-instruction",),
        "crossing-the-line",
    ),
    Explanation(
        "register LDTR",
        "LDTR",
        "Selects the local descriptor table, where a system uses one. LLDT is privileged; SLDT shows the real selector "
        "in every ring.",
        _TABLES,
        ("silent-instruction",),
    ),
    Explanation(
        "register EIP",
        "EIP (RIP)",
        "The address of the instruction that comes next. Under binary translation the real one lies in the code cache, "
        "while the guest's is where its own code would be.",
        SDM1.at("Instruction Pointer"),
        ("binary-translation",),
        "binary-translation",
    ),
    Explanation(
        "register ESP",
        "ESP (RSP)",
        "The top of the stack. On the way to an inner ring the CPU takes another stack from the TSS, so that the "
        "kernel never works on memory that a program chose.",
        _GENERAL,
        ("gate",),
        "crossing-the-line",
    ),
    _general("EAX", "The accumulator: results, the value for IN and OUT, the number of a system call."),
    _general("EBX", "A general register, often a base address."),
    _general("ECX", "The counter of LOOP and of repeated string instructions; the number of an MSR."),
    _general("EDX", "The upper half of wide results; the port of IN and OUT."),
    _general("ESI", "Where string instructions read."),
    _general("EDI", "Where string instructions write."),
    _general("EBP", "By custom the frame of the present function."),
    Explanation(
        "ring 0",
        "Ring 0",
        "The innermost ring: every instruction is allowed. An operating system's kernel is built for it. Without "
        "hardware assistance it is where a VMM has to be, because whoever is in ring 0 owns the machine.",
        _RINGS,
        ("protection-ring",),
        "where-am-i",
    ),
    Explanation(
        "ring 1",
        "Ring 1",
        "Left empty by nearly every system. Ring compression puts the guest's kernel there: privileged instructions "
        "fault in it, while page tables still treat it as the supervisor's, so that programs in ring 3 cannot touch "
        "it.",
        RING_COMPRESSION.at(""),
        ("ring-compression",),
        "trap-and-emulate",
    ),
    Explanation(
        "ring 2",
        "Ring 2",
        "Meant for drivers and services, used by next to nobody. To page tables it is the supervisor's, as ring 1 is.",
        _RINGS,
        ("protection-ring",),
    ),
    Explanation(
        "ring 3",
        "Ring 3",
        "Where programs run. They may compute, and reach the kernel through gates only. It is the one ring that every "
        "technique can let run at the CPU's own speed.",
        _RINGS,
        ("protection-ring", "gate"),
        "crossing-the-line",
    ),
    Explanation(
        "ring -1",
        "“Ring −1”",
        "No ring at all, but a mode: VMX root with VT-x, host mode with AMD-V, each with four rings of its own. The "
        "name says that whoever is there can see and stop ring 0 of the other mode. The guest's kernel keeps ring 0.",
        APM2.at("Secure Virtual Machine", note="Intel: SDM Vol. 3C, Introduction to Virtual Machine Extensions"),
        ("ring-minus-1", "exit"),
        "second-axis",
    ),
    Explanation(
        "resident VMM",
        "VMM",
        "The virtual machine monitor holds the machine: every trap and every exit of the guest ends with it, and it "
        "decides what the guest gets to see.",
        POPEK_GOLDBERG.at("modules of a virtual machine monitor"),
        ("vmm",),
        "what-is-a-vmm",
    ),
    Explanation(
        "resident guest OS",
        "guest OS",
        "The guest's own kernel, unchanged, as it would run on bare metal: it believes that ring 0 is its own.",
        POPEK_GOLDBERG.at("definition of a virtual machine"),
        ("guest",),
        "trap-and-emulate",
    ),
    Explanation(
        "resident translated OS",
        "translated OS",
        "The guest's kernel does not run itself: the VMM has translated its code, and this translation runs in its "
        "place. The silent instructions are gone from it.",
        AA06.at("section 3"),
        ("binary-translation",),
        "binary-translation",
    ),
    Explanation(
        "resident ported OS",
        "ported OS",
        "The guest's kernel was changed and built anew for the VMM. It knows that ring 0 is not its own, and asks by "
        "hypercall for what it may not do itself.",
        XEN03.at(""),
        ("paravirtualization", "hypercall"),
        "paravirtualization",
    ),
    Explanation(
        "resident applications",
        "applications",
        "The guest's programs. No technique here changes their code, and all but full emulation let the CPU run it "
        "directly.",
        AA06.at("section 3", note="user code runs directly"),
        ("innocuous",),
    ),
    Explanation(
        "resident host OS",
        "host OS",
        "The operating system of the real machine. To it, the emulator is one program like others.",
        AA06.at("section 2"),
        ("emulation",),
    ),
    Explanation(
        "resident emulator",
        "emulator",
        "A program in which the guest's whole CPU is data: it reads each of the guest's instructions and does what it "
        "says. No ring of the real CPU belongs to the guest.",
        AA06.at("section 2", note="an interpreter keeps the guest's state in its own memory"),
        ("emulation", "interpreter-routine"),
    ),
    Explanation(
        "crossing",
        "The last crossing",
        "The CPU changes its ring only at gates, exceptions, interrupts and system-call instructions, and on the way "
        "back from them; with hardware assistance at exits and entries, too. Each of these costs, and each is a chance "
        "for a VMM to take over.",
        SDM3A.at("Privilege Levels", note="inter-privilege control transfers go through gates"),
        ("gate", "trap", "exit"),
        "crossing-the-line",
    ),
    Explanation(
        "cycles",
        "Cycles, modelled",
        "No cycle on these screens is measured here. Each event is charged what published measurements of the named "
        "CPU say that it costs; where there is none, the nearest sourced figure stands in and says so.",
        AA06.at("section 6"),
        (),
        "exits",
    ),
)

LESSONS_OF_TERMS: Mapping[str, str] = {
    "protection-ring": "where-am-i",
    "cpl": "where-am-i",
    "gate": "crossing-the-line",
    "idt": "crossing-the-line",
    "vmm": "what-is-a-vmm",
    "popek-goldberg": "what-is-a-vmm",
    "fidelity": "what-is-a-vmm",
    "performance": "what-is-a-vmm",
    "safety": "what-is-a-vmm",
    "trap-and-emulate": "trap-and-emulate",
    "ring-compression": "trap-and-emulate",
    "trap": "trap-and-emulate",
    "sensitive": "x86-hole",
    "privileged": "x86-hole",
    "silent-instruction": "x86-hole",
    "binary-translation": "binary-translation",
    "paravirtualization": "paravirtualization",
    "hypercall": "paravirtualization",
    "shadow-structure": "shadow-page-tables",
    "nested-paging": "nested-paging",
    "intel-vt": "second-axis",
    "amd-v": "second-axis",
    "ring-minus-1": "second-axis",
    "exit": "exits",
    "entry": "exits",
    "intercept": "exits",
    "vmcs": "exits",
    "vmcb": "exits",
    "virtualization": "article-in-your-hands",
}
"""For terms of the glossary: the lesson that deals with it."""
