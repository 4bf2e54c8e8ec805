"""The words of the subject, each in one paragraph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.source import Source, by
from ringviz.facts.sources import (
    AA06,
    APM2,
    BHARGAVA,
    POPEK_GOLDBERG,
    RING_COMPRESSION,
    ROBIN_IRVINE,
    SDM1,
    SDM3A,
    SDM3C,
    TIMELINE,
    XEN03,
    XENIF,
)


@dataclass(frozen=True, slots=True)
class Term:
    """One word and what it means."""

    id: str
    term: str
    text: str
    source: Source
    see: tuple[str, ...] = ()
    """Ids of related terms."""


_PROPERTIES = AA06.at("section 2", note="after Popek & Goldberg 1974")
_CLASSES = POPEK_GOLDBERG.at("classification of instructions")
_NICKNAME = Source.ringviz("a nickname in common use; the manuals speak of modes")

GLOSSARY: Mapping[str, Term] = by(
    "id",
    # the idea
    Term(
        "virtual-machine",
        "Virtual machine",
        "A computer that exists as the work of a program on another computer. What runs inside finds a processor, "
        "memory and devices, and apart from timing and size it cannot tell them from real ones.",
        POPEK_GOLDBERG.at("definition of a virtual machine"),
        ("virtualization", "vmm"),
    ),
    Term(
        "virtualization",
        "Virtualization",
        "Giving each of several systems a machine of its own by dividing one real machine among them. Most guest "
        "instructions run on the real processor; only those that touch what is shared are taken over.",
        _PROPERTIES,
        ("virtual-machine", "emulation"),
    ),
    Term(
        "emulation",
        "Emulation",
        "Playing a machine entirely in software: a program reads each guest instruction and carries out its effect. It "
        "is faithful and safe, and works even for a processor of another kind, but no guest instruction runs directly.",
        _PROPERTIES,
        ("virtualization", "performance"),
    ),
    Term(
        "x86",
        "x86",
        "The processor family that began with Intel's 8086 and is made by Intel, AMD and others. It has four rings, "
        "and before 2005 some of its sensitive instructions did not trap, which made it hard to virtualize.",
        AA06.at("section 3, on the obstacles of x86"),
        ("protection-ring", "silent-instruction"),
    ),
    Term(
        "vmm",
        "Virtual machine monitor (VMM)",
        "The program that makes virtual machines and keeps the real one: it lets guest code run, takes over when the "
        "code touches what is not its own, and acts on the virtual machine instead. Also called a hypervisor.",
        POPEK_GOLDBERG.at("definition of a virtual machine monitor"),
        ("dispatcher", "allocator", "interpreter-routine"),
    ),
    Term(
        "guest",
        "Guest",
        "The operating system and programs inside a virtual machine. What is outside, with the VMM, is the host.",
        POPEK_GOLDBERG.at("definition of a virtual machine"),
        ("vmm",),
    ),
    # x86 protection
    Term(
        "protection-ring",
        "Protection ring",
        "A level of privilege, 0 to 3, that the processor holds the running code to. Ring 0 may do everything and is "
        "meant for the kernel; ring 3 is for programs; most systems leave 1 and 2 empty.",
        SDM3A.at("Privilege Levels"),
        ("cpl", "ring-compression"),
    ),
    Term(
        "cpl",
        "CPL, DPL, RPL",
        "CPL is the ring the processor is in now; it shows in the low two bits of CS and SS. DPL is the ring a "
        "descriptor belongs to. RPL is the ring a selector asks for. The processor compares the three.",
        SDM3A.at("Privilege Levels"),
        ("protection-ring",),
    ),
    Term(
        "iopl",
        "IOPL",
        "Two bits of EFLAGS that name the outermost ring allowed to execute CLI and STI and to use ports freely. Only "
        "ring 0 can change them.",
        SDM1.at("I/O Privilege Level"),
        ("cpl",),
    ),
    Term(
        "fault",
        "Fault",
        "An exception reported before its instruction took effect: the saved address is the instruction itself, so it "
        "can be tried again. A privileged instruction outside ring 0 gives the fault #GP.",
        SDM3A.at("Exception Classifications"),
        ("trap",),
    ),
    Term(
        "trap",
        "Trap",
        "In x86 manuals, an exception reported after its instruction, as a breakpoint is. In virtualization, any event "
        "by which the processor hands control from the guest to the VMM: there a #GP fault is a trap too.",
        SDM3A.at("Exception Classifications", note="the second sense is that of trap-and-emulate"),
        ("fault", "trap-and-emulate"),
    ),
    Term(
        "gate",
        "Gate",
        "An entry in a descriptor table that names the one place where outer rings may enter an inner one. INT n and "
        "every exception pass through a gate of the IDT.",
        SDM3A.at("Gate Descriptors"),
        ("idt",),
    ),
    Term(
        "idt",
        "GDT, IDT, TSS",
        "Tables in memory that the processor consults by itself: the GDT says what segments there are, the IDT who "
        "handles which exception, the TSS which stack to use on entering an inner ring. There is one current set.",
        SDM3A.at("System-Level Registers and Data Structures"),
        ("gate", "shadow-structure"),
    ),
    # Popek & Goldberg
    Term(
        "popek-goldberg",
        "Popek & Goldberg's theorem",
        "A VMM can be built for a conventional third-generation machine if every sensitive instruction is privileged: "
        "then whatever matters traps. The theorem says if, not only if: binary translation is a way round.",
        POPEK_GOLDBERG.at("Theorem 1"),
        ("sensitive", "privileged"),
    ),
    Term(
        "privileged",
        "Privileged instruction",
        "An instruction that traps in user mode and does not trap in supervisor mode. HLT is one: fine in ring 0, a "
        "fault anywhere else.",
        _CLASSES,
        ("sensitive", "innocuous"),
    ),
    Term(
        "sensitive",
        "Sensitive instruction",
        "An instruction that changes the machine's mode or resources (control sensitive) or whose result depends on "
        "them (behaviour sensitive). A VMM must see each one, or the guest sees through it.",
        _CLASSES,
        ("privileged", "silent-instruction"),
    ),
    Term(
        "innocuous",
        "Innocuous instruction",
        "An instruction that is not sensitive, such as ADD. It does the same in every ring, so the guest may run it on "
        "the real processor with no one watching.",
        _CLASSES,
        ("sensitive",),
    ),
    Term(
        "silent-instruction",
        "Silent instruction",
        "ringviz's word for an instruction that is sensitive but not privileged: outside ring 0 it does something else "
        "and does not trap. x86 has 17 or 18 by the usual count, POPF the best known.",
        ROBIN_IRVINE.at("sensitive, unprivileged instructions"),
        ("sensitive", "popek-goldberg"),
    ),
    Term(
        "fidelity",
        "Fidelity (equivalence)",
        "A guest under the VMM does exactly what it would do on the bare machine, apart from timing and the amount of "
        "resources. ringviz checks it after every guest instruction.",
        _PROPERTIES,
        ("performance", "safety"),
    ),
    Term(
        "performance",
        "Performance (efficiency)",
        "Almost all guest instructions run on the processor itself, with no VMM in between. ringviz shows the share.",
        _PROPERTIES,
        ("fidelity", "safety"),
    ),
    Term(
        "safety",
        "Safety (resource control)",
        "The VMM keeps every resource: no guest can reach memory, ports or registers that are not its own. ringviz "
        "counts the attempts and how each was contained.",
        _PROPERTIES,
        ("fidelity", "performance"),
    ),
    Term(
        "dispatcher",
        "Dispatcher",
        "The part of a VMM that every trap enters first; it decides who deals with it.",
        POPEK_GOLDBERG.at("modules of a virtual machine monitor"),
        ("allocator", "interpreter-routine"),
    ),
    Term(
        "allocator",
        "Allocator",
        "The part of a VMM that decides which resources a guest gets; it is asked whenever the guest tries to change "
        "them.",
        POPEK_GOLDBERG.at("modules of a virtual machine monitor"),
        ("dispatcher",),
    ),
    Term(
        "interpreter-routine",
        "Interpreter routine",
        "The part of a VMM that carries out one trapped instruction on the virtual machine instead of the real one.",
        POPEK_GOLDBERG.at("modules of a virtual machine monitor"),
        ("dispatcher", "trap-and-emulate"),
    ),
    # software techniques
    Term(
        "trap-and-emulate",
        "Trap-and-emulate",
        "Run the guest's kernel without privilege, wait for its privileged instructions to trap, and carry them out on "
        "the virtual machine. Enough where the theorem holds; on x86 the silent instructions slip through.",
        AA06.at("section 2"),
        ("ring-compression", "silent-instruction"),
    ),
    Term(
        "ring-compression",
        "Ring compression",
        "Moving the guest's kernel from ring 0 to ring 1 so that ring 0 is free for the VMM, while the kernel is led "
        "to believe that it is still in ring 0.",
        RING_COMPRESSION.at(""),
        ("trap-and-emulate", "protection-ring"),
    ),
    Term(
        "binary-translation",
        "Binary translation",
        "Rewriting the guest kernel's code, piece by piece as it is about to run, into code that is safe to run "
        "without privilege. Silent instructions become calls or short sequences; the rest is copied.",
        AA06.at("section 3"),
        ("trap-and-emulate",),
    ),
    Term(
        "paravirtualization",
        "Paravirtualization",
        "Changing the guest's kernel so that it knows it has a VMM: instead of sensitive instructions it makes "
        "hypercalls. Simple and fast, but the kernel's source is needed.",
        XEN03.at(""),
        ("hypercall",),
    ),
    Term(
        "hypercall",
        "Hypercall",
        "A request that a guest's kernel makes to the VMM on purpose, as a program makes a system call to its kernel.",
        XENIF.at("hypercalls"),
        ("paravirtualization",),
    ),
    Term(
        "shadow-structure",
        "Shadow structure",
        "The VMM's own copy of something that the guest believes it owns, such as page tables or the GDT. The "
        "processor uses the copy; the VMM keeps the two in step.",
        AA06.at("section 2"),
        ("idt", "nested-paging"),
    ),
    # hardware techniques
    Term(
        "amd-v",
        "AMD Virtualization (AMD-V)",
        "AMD's extension of x86, of May 2006: a guest mode with all four rings inside it, entered by VMRUN and left by "
        "#VMEXIT, so that the guest's kernel stays in its own ring 0. Also known as SVM and Pacifica.",
        APM2.at("Secure Virtual Machine"),
        ("vmcb", "intercept", "ring-minus-1"),
    ),
    Term(
        "nested-virtualization",
        "Nested virtualization",
        "A guest that is a hypervisor with a guest of its own. The lowest hypervisor is called L0, its guest L1, and "
        "the guest of that L2. The processor knows one level only: L0 runs L2 for L1, and hands L2's exits on to it.",
        APM2.at("Secure Virtual Machine"),
        ("amd-v", "exit", "vmcb"),
    ),
    Term(
        "intel-vt",
        "Intel Virtualization Technology (VT-x)",
        "Intel's extension of x86, of November 2005: VMX root operation for the VMM and non-root operation for guests, "
        "each with four rings. VM entry and VM exit lead from one to the other.",
        SDM3C.at("Introduction to Virtual Machine Extensions"),
        ("vmcs", "exit", "ring-minus-1"),
    ),
    Term(
        "ring-minus-1",
        '"Ring -1"',
        "A nickname for where the VMM sits under VT-x or AMD-V, below the guest's ring 0. It is a mode (VMX root, host "
        "mode) and not a ring: inside it the processor still has rings 0 to 3, and the VMM is in ring 0.",
        _NICKNAME,
        ("amd-v", "intel-vt"),
    ),
    Term(
        "exit",
        "Exit (VM exit, #VMEXIT)",
        "The hardware's passage from guest to VMM. It stores the guest's state, loads the VMM's and notes the reason.",
        APM2.at("#VMEXIT"),
        ("entry", "intercept", "world-switch"),
    ),
    Term(
        "entry",
        "Entry (VM entry, VMRUN)",
        "The way back: the VMM hands the processor to the guest, which goes on where it was, perhaps with an interrupt "
        "or exception delivered first.",
        APM2.at("VMRUN Instruction"),
        ("exit",),
    ),
    Term(
        "world-switch",
        "World switch",
        "Exchanging one whole processor state for another, as an exit or entry does. Its length in cycles is the price "
        "of hardware virtualization, so VMMs try to need fewer.",
        APM2.at("VMRUN Instruction"),
        ("exit", "entry"),
    ),
    Term(
        "intercept",
        "Intercept",
        "A bit by which the VMM tells an AMD processor what shall cause an exit: an instruction, an exception, a port, "
        "an interrupt. What is not intercepted runs in the guest at full speed.",
        APM2.at("Intercept Operation"),
        ("exit", "vmcb"),
    ),
    Term(
        "vmcb",
        "VMCB",
        "Virtual machine control block: one page of memory that holds, for an AMD processor, the guest's state, the "
        "intercepts, and after an exit its reason.",
        APM2.at("Layout of VMCB"),
        ("intercept", "vmcs"),
    ),
    Term(
        "vmcs",
        "VMCS",
        "Virtual-machine control structure: Intel's counterpart to the VMCB. Its layout is hidden; the VMM reads and "
        "writes its fields by VMREAD and VMWRITE.",
        SDM3C.at("Virtual Machine Control Structures"),
        ("vmcb",),
    ),
    Term(
        "nested-paging",
        "Nested paging (NPT, EPT)",
        "Two page walks by the hardware: the guest's tables lead to guest-physical addresses and the VMM's from there "
        "to real ones. No shadow tables and far fewer exits, but a TLB miss costs more.",
        BHARGAVA.at("section 1"),
        ("shadow-structure",),
    ),
    Term(
        "launch-dates",
        "2005 to 2008",
        "VT-x appeared in November 2005 in the Pentium 4 662 and 672, AMD-V in May 2006, nested paging in September "
        "2007 in AMD's Barcelona and in November 2008 in Intel's Nehalem.",
        TIMELINE.at("launch dates"),
        ("intel-vt", "amd-v", "nested-paging"),
    ),
)
