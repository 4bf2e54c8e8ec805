"""The works that ringviz's facts come from, each named once."""

from __future__ import annotations

from collections.abc import Mapping

from ringviz.facts.source import Status, Work, by

AA06 = Work(
    "AA06",
    "Adams & Agesen 2006",
    "Keith Adams, Ole Agesen: A Comparison of Software and Hardware Techniques for x86 Virtualization. ASPLOS 2006",
    Status.SEEN,
)
AG12 = Work(
    "AG12",
    "Agesen et al. 2012",
    "Ole Agesen, Jim Mattson, Radu Rugina, Jeffrey Sheldon: Software Techniques for Avoiding Hardware Virtualization "
    "Exits. USENIX ATC 2012",
    Status.SEEN,
)
BHARGAVA = Work(
    "BHARGAVA",
    "Bhargava et al. 2008",
    "Ravi Bhargava et al.: Accelerating Two-Dimensional Page Walks for Virtualized Systems. ASPLOS 2008",
    Status.SEEN,
)
XEN03 = Work(
    "XEN03",
    "Barham et al. 2003",
    "Paul Barham et al.: Xen and the Art of Virtualization. SOSP 2003",
    Status.SEEN,
)
XENIF = Work("XENIF", "Xen 2.0 interface manual", "Xen 2.0 interface manual, for x86", Status.SEEN)
XENH = Work("XENH", "Xen public header", "Xen 3.0 public headers: xen.h, arch-x86/xen.h, errno.h", Status.SEEN)
XENSCHED = Work("XENSCHED", "Xen public header sched.h", "Xen 3.0 public headers: sched.h", Status.SEEN)
XENEVT = Work("XENEVT", "Xen public header event_channel.h", "Xen 3.0 public headers: event_channel.h", Status.SEEN)
XENMEM = Work("XENMEM", "Xen public header memory.h", "Xen 3.0 public headers: memory.h", Status.SEEN)
ROBIN_IRVINE = Work(
    "ROBIN_IRVINE",
    "Robin & Irvine 2000",
    "John Scott Robin, Cynthia E. Irvine: Analysis of the Intel Pentium's Ability to Support a Secure Virtual Machine "
    "Monitor. USENIX Security 2000",
    Status.SEEN_SECONDHAND,
    "as listed in secondary sources, which count 17 or 18",
)
POPEK_GOLDBERG = Work(
    "POPEK_GOLDBERG",
    "Popek & Goldberg 1974",
    "Gerald J. Popek, Robert P. Goldberg: Formal Requirements for Virtualizable Third Generation Architectures. "
    "Communications of the ACM 17(7), 412-421, July 1974",
    Status.SEEN_SECONDHAND,
    "as told by secondary sources",
)
AMD06 = Work(
    "AMD06",
    "AMD statement, October 2006",
    "Statement of AMD's B. Sander on the Barcelona core, reported by virtualization.info, October 2006",
    Status.SEEN,
)
RING_COMPRESSION = Work(
    "RING_COMPRESSION",
    "J. Manning 2006",
    "James Manning: Ring compression, how Virtual PC works today. MSDN blogs, August 2006",
    Status.SEEN,
)
TIMELINE = Work(
    "TIMELINE",
    "Timeline of x86 virtualization",
    "List of launch dates in the awesome-virtualization collection",
    Status.SEEN,
)
CNET07 = Work(
    "CNET07",
    "CNET, June 2007",
    "Stephen Shankland: AMD's quad-core 'Barcelona' coming in August. CNET News, 29 June 2007",
    Status.SEEN,
)
VMLATENCY = Work(
    "VMLATENCY",
    "vmlatency",
    "Evgeny Yulyugin: vmlatency, VM exit and entry measured on 53 Intel CPUs, with the capability registers of each. "
    "Files of results in the public repository",
    Status.SEEN,
)
ANANDTECH04 = Work(
    "ANANDTECH04",
    "AnandTech, February 2004",
    "Anand Lal Shimpi, Derek Wilson: Intel's Pentium 4 E: Prescott Arrives with Luggage. AnandTech, 1 February 2004",
    Status.SEEN,
)
BOCHS = Work(
    "BOCHS",
    "Bochs sample configuration",
    "The Bochs Project: bochsrc, the sample configuration file and its manual page, with instructions per second "
    "measured on several hosts",
    Status.SEEN,
)
GCC_COSTS = Work(
    "GCC_COSTS",
    "GCC cost tables",
    "GNU Compiler Collection: costs of operations of individual x86 CPUs, by which it chooses instructions "
    "(gcc/config/i386/x86-tune-costs.h)",
    Status.SEEN,
)
ANANDTECH05 = Work(
    "ANANDTECH05",
    "AnandTech, February 2005",
    "AnandTech's review of the Pentium 4 6xx and of the Extreme Edition with the same core, February 2005",
    Status.SEEN,
)
XBIT07 = Work(
    "XBIT07",
    "Review of the QX9650, October 2007",
    "Review of the Core 2 Extreme QX9650, the first of 45 nm, as kept by thethirdmedia.com. October 2007",
    Status.SEEN,
)
SEVEN_CPU = Work("SEVEN_CPU", "7-cpu.com", "7-cpu.com: measured latencies of CPUs, one page for each", Status.SEEN)
KERNEL_ENTRY = Work(
    "KERNEL_ENTRY",
    "Kernel Entry Microbenchmarks",
    "Julian Stecklina: Kernel Entry Microbenchmarks, 2019. Public repository",
    Status.SEEN,
    "an Intel CPU that is not named, under KVM",
)
CPUID_DUMPS = Work(
    "CPUID_DUMPS",
    "libcpuid dumps",
    "The libcpuid project: answers of CPUID recorded on real CPUs, kept as its tests. Public repository",
    Status.SEEN,
)
CPU_REPORTS = Work(
    "CPU_REPORTS",
    "Reports of CPU owners",
    "What owners of a CPU posted in public: /proc/cpuinfo and WMI listings, and lists made from them",
    Status.SEEN_SECONDHAND,
)
XEN_CPUID = Work(
    "XEN_CPUID",
    "Xen public headers",
    "The Xen Project: public header arch-x86/cpuid.h, the CPUID interface to Xen",
    Status.SEEN,
)
STRIDE = Work(
    "STRIDE",
    "Waldspurger & Weihl 1995",
    "Carl A. Waldspurger, William E. Weihl: Stride Scheduling: Deterministic Proportional-Share Resource Management. "
    "MIT Laboratory for Computer Science, 1995",
    Status.SEEN_SECONDHAND,
    "as told by secondary sources",
)
XEN_CREDIT = Work(
    "XEN_CREDIT",
    "Xen wiki, Credit Scheduler",
    "The Xen Project wiki: Credit Scheduler, with the first description of weights and caps, "
    "and the commit on accurate accounting",
    Status.SEEN,
)
WALDSPURGER02 = Work(
    "WALDSPURGER02",
    "Waldspurger 2002",
    "Carl A. Waldspurger: Memory Resource Management in VMware ESX Server. OSDI 2002",
    Status.SEEN,
)
CLARK05 = Work(
    "CLARK05",
    "Clark et al. 2005",
    "Christopher Clark et al.: Live Migration of Virtual Machines. NSDI 2005",
    Status.SEEN,
)
XEN_SAVE = Work(
    "XEN_SAVE", "Xen xc_domain_save.c", "The Xen tools: xc_domain_save.c, the sender of a domain", Status.SEEN
)
QEMU_MIGRATION = Work("QEMU_MIGRATION", "QEMU migration", "QEMU: migration/options.c and migration/ram.c", Status.SEEN)
VHD_SPEC = Work(
    "VHD_SPEC",
    "Microsoft 2006, VHD format",
    "Microsoft: Virtual Hard Disk Image Format Specification, version 1.0, 11 October 2006. Read in a copy in a public "
    "repository",
    Status.SEEN,
)
SDM1 = Work(
    "SDM1", "Intel SDM Vol. 1", "Intel 64 and IA-32 Architectures Software Developer's Manual, Volume 1", Status.MANUAL
)
SDM2 = Work(
    "SDM2", "Intel SDM Vol. 2", "Intel 64 and IA-32 Architectures Software Developer's Manual, Volume 2", Status.MANUAL
)
SDM3A = Work(
    "SDM3A",
    "Intel SDM Vol. 3A",
    "Intel 64 and IA-32 Architectures Software Developer's Manual, Volume 3A",
    Status.MANUAL,
)
SDM3B = Work(
    "SDM3B",
    "Intel SDM Vol. 3B",
    "Intel 64 and IA-32 Architectures Software Developer's Manual, Volume 3B: System Programming Guide",
    Status.MANUAL,
)
SDM3C = Work(
    "SDM3C",
    "Intel SDM Vol. 3C",
    "Intel 64 and IA-32 Architectures Software Developer's Manual, Volume 3C",
    Status.MANUAL,
)
SDM3D = Work(
    "SDM3D",
    "Intel SDM Vol. 3D",
    "Intel 64 and IA-32 Architectures Software Developer's Manual, Volume 3D",
    Status.MANUAL,
)
APM2 = Work(
    "APM2", "AMD APM Vol. 2", "AMD64 Architecture Programmer's Manual, Volume 2: System Programming", Status.MANUAL
)
APM3 = Work(
    "APM3",
    "AMD APM Vol. 3",
    "AMD64 Architecture Programmer's Manual, Volume 3: General-Purpose and System Instructions",
    Status.MANUAL,
)

WORKS: Mapping[str, Work] = by(
    "key",
    AA06,
    AG12,
    BHARGAVA,
    XEN03,
    XENIF,
    XENH,
    XENSCHED,
    XENEVT,
    XENMEM,
    ROBIN_IRVINE,
    POPEK_GOLDBERG,
    AMD06,
    RING_COMPRESSION,
    TIMELINE,
    CNET07,
    VMLATENCY,
    ANANDTECH04,
    BOCHS,
    GCC_COSTS,
    ANANDTECH05,
    XBIT07,
    SEVEN_CPU,
    KERNEL_ENTRY,
    CPUID_DUMPS,
    CPU_REPORTS,
    XEN_CPUID,
    STRIDE,
    XEN_CREDIT,
    WALDSPURGER02,
    CLARK05,
    XEN_SAVE,
    QEMU_MIGRATION,
    VHD_SPEC,
    SDM1,
    SDM2,
    SDM3A,
    SDM3B,
    SDM3C,
    SDM3D,
    APM2,
    APM3,
)
