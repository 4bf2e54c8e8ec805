"""Xen's hypercalls for a 32-bit x86 guest: numbers, arguments, and what each stands for in a kernel that was ported.

The instruction is `INT 82h` from ring 1: EAX holds the number, EBX, ECX, EDX, ESI and EDI up to five arguments; EAX
holds the answer, a negative error number if the hypervisor refuses. Numbers and structures are those of Xen's public
headers as of Xen 3.0, the last version whose guests are entered this way without a page of stubs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from ringviz.facts.source import Source, by
from ringviz.facts.sources import XENEVT, XENH, XENIF, XENMEM, XENSCHED

VECTOR = 0x82
"""Vector of the hypercall gate. XENIF prints `int $82`; Xen's public header has 0x82."""
ARGUMENT_REGISTERS = ("ebx", "ecx", "edx", "esi", "edi")
"""Registers of the arguments, in order."""

_NUMBERS = XENH.at("__HYPERVISOR_* hypercall numbers")
_GATE = XENIF.at("Hypercall Definitions")


@dataclass(frozen=True, slots=True)
class HypercallFacts:
    """One hypercall."""

    number: int
    name: str
    """Xen's own name, without `__HYPERVISOR_`."""
    title: str
    arguments: tuple[str, ...]
    """Names of the arguments, in the order of `ARGUMENT_REGISTERS`."""
    replaces: str
    """Instructions of a kernel on bare metal that it stands for; empty where there are none."""
    is_offered: bool
    """False: ringviz answers -ENOSYS, as Xen does to a call it was built without."""
    source: Source


def _call(
    number: int, name: str, title: str, arguments: str, replaces: str = "", *, offered: bool = True
) -> HypercallFacts:
    return HypercallFacts(number, name, title, tuple(arguments.split()), replaces, offered, _NUMBERS)


HYPERCALLS: Mapping[int, HypercallFacts] = by(
    "number",
    _call(0, "set_trap_table", "Register handlers for exceptions and interrupts", "table", "LIDT"),
    _call(
        1,
        "mmu_update",
        "Change page-table entries, many at once",
        "requests count done domain",
        "MOV to a page table",
    ),
    _call(2, "set_gdt", "Have frames checked and used as the GDT", "frames entries", "LGDT"),
    _call(3, "stack_switch", "Say which stack the kernel is to be entered on", "ss esp", "LTR, MOV to TSS.ESP0"),
    _call(
        4,
        "set_callbacks",
        "Register where to be called for events and for failed returns",
        "event_cs event_eip failsafe_cs failsafe_eip",
        "LIDT",
    ),
    _call(5, "fpu_taskswitch", "Set or clear CR0.TS", "set", "CLTS, MOV to CR0"),
    _call(6, "sched_op_compat", "Give the CPU away, or end", "command argument", "HLT"),
    _call(7, "dom0_op", "Control other domains", "operation", offered=False),
    _call(8, "set_debugreg", "Write a debug register", "number value", "MOV to DR"),
    _call(9, "get_debugreg", "Read a debug register", "number", "MOV from DR"),
    _call(
        10,
        "update_descriptor",
        "Have one descriptor checked and changed",
        "address_lo address_hi low high",
        "MOV to the GDT or LDT",
    ),
    _call(12, "memory_op", "Ask how much memory there is, for more of it, or give some back", "command argument"),
    _call(13, "multicall", "Several hypercalls in one", "list count"),
    _call(
        14,
        "update_va_mapping",
        "Change the page-table entry of an address",
        "address entry flags",
        "MOV to a page table, INVLPG",
    ),
    _call(15, "set_timer_op", "Ask for a timer event", "time_lo time_hi", "OUT to the timer"),
    _call(16, "event_channel_op_compat", "Event channels, older form", "operation", "OUT to the interrupt controller"),
    _call(17, "xen_version", "Ask which hypervisor this is", "command argument", "CPUID"),
    _call(18, "console_io", "Print or read text", "command count buffer", "IN, OUT to the serial port"),
    _call(
        19, "physdev_op_compat", "Manage devices, older form", "operation", "OUT, POPF asking for IOPL", offered=False
    ),
    _call(20, "grant_table_op", "Share memory with other domains", "command operations count", offered=False),
    _call(21, "vm_assist", "Switch help of the hypervisor on or off", "command type"),
    _call(
        22, "update_va_mapping_otherdomain", "The same for another domain", "address entry flags domain", offered=False
    ),
    _call(23, "iret", "Return to where the frame on the stack says", "", "IRET, POPF asking for IF"),
    _call(24, "vcpu_op", "Manage virtual CPUs", "command vcpu argument", offered=False),
    _call(26, "mmuext_op", "Page-table base, TLB and LDT", "operations count done domain", "MOV to CR3, INVLPG, LLDT"),
    _call(27, "acm_op", "Access control between domains", "operation", offered=False),
    _call(28, "nmi_op", "Non-maskable interrupts", "command argument", offered=False),
    _call(29, "sched_op", "Give the CPU away, or end", "command argument", "HLT"),
    _call(30, "callback_op", "Register callbacks one by one", "command argument", "LIDT", offered=False),
    _call(31, "xenoprof_op", "Profiling", "command argument", offered=False),
    _call(32, "event_channel_op", "Event channels", "command argument", "OUT to the interrupt controller"),
    _call(33, "physdev_op", "Manage devices", "command argument", "OUT, POPF asking for IOPL", offered=False),
)
"""By number. What a number without a row means is -ENOSYS as well."""


class Error(IntEnum):
    """Error numbers that a refused hypercall leaves in EAX, negated."""

    EPERM = 1
    ESRCH = 3
    EFAULT = 14
    EEXIST = 17
    EINVAL = 22
    ENOSPC = 28
    ENOSYS = 38


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What an error number says."""

    name: str
    title: str
    source: Source


_ERRORS = XENH.at("errno.h", note="errno.h of the same public headers")

ERRORS: Mapping[str, ErrorFacts] = by(
    "name",
    ErrorFacts("EPERM", "not permitted", _ERRORS),
    ErrorFacts("ESRCH", "no such domain", _ERRORS),
    ErrorFacts("EFAULT", "bad address", _ERRORS),
    ErrorFacts("EEXIST", "it exists already", _ERRORS),
    ErrorFacts("EINVAL", "invalid argument", _ERRORS),
    ErrorFacts("ENOSPC", "no room left", _ERRORS),
    ErrorFacts("ENOSYS", "not offered", _ERRORS),
)


class MmuExt(IntEnum):
    """Operations of `mmuext_op`."""

    PIN_L1_TABLE = 0
    PIN_L2_TABLE = 1
    PIN_L3_TABLE = 2
    PIN_L4_TABLE = 3
    UNPIN_TABLE = 4
    NEW_BASEPTR = 5
    TLB_FLUSH_LOCAL = 6
    INVLPG_LOCAL = 7
    TLB_FLUSH_MULTI = 8
    INVLPG_MULTI = 9
    TLB_FLUSH_ALL = 10
    INVLPG_ALL = 11
    FLUSH_CACHE = 12
    SET_LDT = 13


class MmuUpdate(IntEnum):
    """Commands of `mmu_update`: the low two bits of a request's machine address."""

    NORMAL_PT_UPDATE = 0
    MACHPHYS_UPDATE = 1


class Flush(IntEnum):
    """What `update_va_mapping` flushes afterwards: the low two bits of its flags."""

    NONE = 0
    TLB = 1
    PAGE = 2


FLUSH_TYPES, FLUSH_ALL_CPUS = 3, 4
"""The rest of those flags: the mask of the type, and all CPUs. Anything else is the address of a map of CPUs."""
LIST_GOES_ON = 1 << 31
"""Set by the hypervisor itself in the count of a long list of requests, when the guest's INT 82h is taken again."""


class Memory(IntEnum):
    """Commands of `memory_op`."""

    INCREASE_RESERVATION = 0
    DECREASE_RESERVATION = 1
    MAXIMUM_RAM_PAGE = 2
    CURRENT_RESERVATION = 3
    MAXIMUM_RESERVATION = 4
    POPULATE_PHYSMAP = 6
    MACHPHYS_MAPPING = 12


class Sched(IntEnum):
    """Commands of `sched_op`."""

    YIELD = 0
    BLOCK = 1
    SHUTDOWN = 2


class Shutdown(IntEnum):
    """Reasons of `sched_op(SHUTDOWN)` that Xen's header names; others mean what both sides agree on."""

    POWEROFF = 0
    REBOOT = 1
    SUSPEND = 2
    CRASH = 3


class EventChannel(IntEnum):
    """Commands of `event_channel_op`."""

    BIND_INTERDOMAIN = 0
    BIND_VIRQ = 1
    BIND_PIRQ = 2
    CLOSE = 3
    SEND = 4
    STATUS = 5
    ALLOC_UNBOUND = 6
    BIND_IPI = 7
    BIND_VCPU = 8
    UNMASK = 9


class Virq(IntEnum):
    """Virtual interrupts that are raised here."""

    TIMER = 0


class ConsoleIo(IntEnum):
    """Commands of `console_io`."""

    WRITE = 0
    READ = 1


class VmAssist(IntEnum):
    """Types of `vm_assist`."""

    FOUR_GB_SEGMENTS = 0
    FOUR_GB_SEGMENTS_NOTIFY = 1
    WRITABLE_PAGETABLES = 2


class XenVersion(IntEnum):
    """Commands of `xen_version`."""

    VERSION = 0
    EXTRAVERSION = 1
    CAPABILITIES = 3
    PLATFORM_PARAMETERS = 5
    GET_FEATURES = 6
    PAGESIZE = 7


DOMID_SELF = 0x7FF0
"""The domain that asks, by whatever number."""
VIRQS = 24
"""How many virtual interrupts there are."""
EVENT_CHANNELS = 1024
"""How many event channels a 32-bit domain has."""


class SharedInfo(IntEnum):
    """Byte offsets in `struct shared_info` of a 32-bit guest, virtual CPU 0."""

    UPCALL_PENDING = 0x000
    UPCALL_MASK = 0x001
    PENDING_SELECTOR = 0x004
    CR2 = 0x008
    TIME_VERSION = 0x020
    TIME_TSC = 0x028
    SYSTEM_TIME = 0x030
    TSC_MULTIPLIER = 0x038
    TSC_SHIFT = 0x03C
    EVENTS_PENDING = 0x800
    EVENTS_MASK = 0x880


class StartInfo(IntEnum):
    """Byte offsets in `struct start_info` of a 32-bit guest."""

    MAGIC = 0
    NR_PAGES = 32
    SHARED_INFO = 36
    FLAGS = 40
    PT_BASE = 64
    NR_PT_FRAMES = 68
    MFN_LIST = 72
    MOD_START = 76
    MOD_LEN = 80
    CMD_LINE = 84


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """One field that guest and hypervisor share."""

    name: str
    offset: int
    title: str
    source: Source


_SHARED = XENH.at("struct vcpu_info and struct shared_info")

SHARED_FIELDS: Mapping[int, FieldFacts] = by(
    "offset",
    FieldFacts("evtchn_upcall_pending", SharedInfo.UPCALL_PENDING, "An event waits", _SHARED),
    FieldFacts("evtchn_upcall_mask", SharedInfo.UPCALL_MASK, "The virtual interrupt flag, inverted", _SHARED),
    FieldFacts("evtchn_pending_sel", SharedInfo.PENDING_SELECTOR, "Which words of pending bits to look at", _SHARED),
    FieldFacts("arch.cr2", SharedInfo.CR2, "Linear address of the last page fault", _SHARED),
    FieldFacts("time.version", SharedInfo.TIME_VERSION, "Odd while the time is being written", _SHARED),
    FieldFacts("time.tsc_timestamp", SharedInfo.TIME_TSC, "Time-stamp counter at the last tick", _SHARED),
    FieldFacts("time.system_time", SharedInfo.SYSTEM_TIME, "Nanoseconds since the start, then", _SHARED),
    FieldFacts("time.tsc_to_system_mul", SharedInfo.TSC_MULTIPLIER, "Nanoseconds of a count, as a fraction", _SHARED),
    FieldFacts("time.tsc_shift", SharedInfo.TSC_SHIFT, "By how much to shift a count first", _SHARED),
    FieldFacts("evtchn_pending", SharedInfo.EVENTS_PENDING, "One bit for each event channel: it happened", _SHARED),
    FieldFacts("evtchn_mask", SharedInfo.EVENTS_MASK, "One bit for each event channel: do not call me", _SHARED),
)

HYPERVISOR_START, MACH2PHYS, MACH2PHYS_END = 0xFC00_0000, 0xFC00_0000, 0xFC40_0000
"""The top 64 MiB of every address space without PAE are the hypervisor's; the first 4 of them show the guest which page
of its own each machine frame is, for reading. Source: arch-x86/xen-x86_32.h."""
FIRST_HYPERVISOR_SLOT = HYPERVISOR_START >> 22
"""Entries of every page directory from here on are the hypervisor's."""
PT_FLAGS_REFUSED = 0x180
"""Bits of a page-table entry that Xen 3.0 lets no guest set: bit 7 (PAT of a page, PS of a directory entry) and G."""
FIRST_RESERVED_GDT_ENTRY = 14 * 4096 // 8
"""GDT entries from here on are the hypervisor's. Source: arch-x86/xen.h, FIRST_RESERVED_GDT_PAGE."""
FLAT_RING1_CS, FLAT_RING1_DS, FLAT_RING3_CS, FLAT_RING3_DS = 0xE019, 0xE021, 0xE02B, 0xE033
"""Selectors that every guest may use without a GDT of its own. Source: arch-x86/xen-x86_32.h."""

SOURCES: tuple[Source, ...] = (
    _NUMBERS,
    _GATE,
    _ERRORS,
    _SHARED,
    XENSCHED.at("SCHEDOP_* and SHUTDOWN_*"),
    XENEVT.at("EVTCHNOP_*"),
    XENH.at("MMU_*, MMUEXT_* and UVMF_*"),
    XENMEM.at("XENMEM_*"),
)
"""What the enumerations of this file come from."""
