"""What fake VMMs have beside the guest's code: a code cache, control structures, hypercalls."""

from ringviz.engine.view import Side, SideMark, SideRow

# guest address, what it becomes
_TRANSLATIONS: tuple[tuple[int, tuple[str, ...], str], ...] = (
    (0x100040, ("push eax",), ""),
    (0x100041, ("mov eax, [ffc00200]",), "The VMM keeps the guest's CR0 in its own memory."),
    (0x100044, ("call callout_pushf",), "PUSHF would show the real flags: the VMM pushes the guest's."),
    (0x100045, ("pop edx",), ""),
    (
        0x100046,
        ("push eax", "mov al, 0", "mov [ffc00204], al", "pop eax"),
        "CLI only clears a flag in the VMM's memory: no trap, no call.",
    ),
    (0x100047, ("mov eax, [ebx]",), ""),
    (0x10004D, ("call callout_popf",), "POPF may turn interrupts on: the VMM must know."),
    (0x10004E, ("call callout_sidt",), ""),
    (0x100053, ("mov bx, [ffc00210]",), "The low bits of the guest's own CS, not of the real one."),
    (0x100056, ("call callout_int",), ""),
)


def code_cache(current: int) -> Side:
    rows: list[SideRow] = []
    place = 0xFFD0_0010
    for origin, texts, note in _TRANSLATIONS:
        for text in texts:
            mark = SideMark.CURRENT if origin == current else SideMark.NONE
            rows.append(SideRow(f"{place:08x}", text, "", "", mark, note, origin))
            place += 3
    rows.append(SideRow(f"{place:08x}", "jmp dispatch", note="Where the guest goes next is not translated yet."))
    caption = f"What the CPU runs in the kernel's place: {len(rows)} instructions"
    return Side("Code cache", caption, tuple(rows))


_VMCS: tuple[tuple[str, str, str, str, SideMark, str], ...] = (
    ("4402h", "Exit reason", "0000001E", "0000000A", SideMark.BY_CPU, "30 is I/O: the guest used IN or OUT."),
    ("6400h", "Exit qualification", "03F80000", "", SideMark.BY_CPU, "Port 3F8h, one byte, OUT."),
    ("440Ch", "VM-exit instruction length", "00000001", "00000002", SideMark.BY_CPU, "OUT DX, AL is one byte long."),
    ("681Eh", "Guest RIP", "00100047", "00100046", SideMark.BY_VMM, "Past the instruction that was done for it."),
    ("4002h", "Primary controls", "8401E1F2", "", SideMark.NONE, "Unconditional I/O exiting is on."),
    ("401Eh", "Secondary controls", "00000082", "", SideMark.NONE, "EPT is on."),
    ("201Ah", "EPT pointer", "000000001018005E", "", SideMark.NONE, "Where the second page walk begins."),
    ("6800h", "Guest CR0", "00000031", "", SideMark.NONE, "NE stays on: VMX asks for it."),
    *((f"4A{n:02X}h", f"Guest field {n}", "00000000", "", SideMark.NONE, "") for n in range(2, 60, 2)),
)
_VMCB: tuple[tuple[str, str, str, str, SideMark, str], ...] = (
    ("070h", "EXITCODE", "0000007B", "00000072", SideMark.BY_CPU, "VMEXIT_IOIO: the guest used IN or OUT."),
    ("078h", "EXITINFO1", "03F80110", "", SideMark.BY_CPU, "Port 3F8h, one byte, OUT."),
    ("578h", "RIP", "00100047", "00100046", SideMark.BY_VMM, "EXITINFO2 says where the next instruction is."),
    ("00Ch", "INTERCEPT_MISC1", "18000000", "", SideMark.NONE, "I/O, MSR and shutdown are intercepted."),
    ("558h", "CR0", "00000011", "", SideMark.NONE, ""),
    *((f"4{n:02X}h", f"SAVE_FIELD_{n}", "00000000", "", SideMark.NONE, "") for n in range(0, 40, 2)),
)


def vmcs() -> Side:
    return Side("VMCS", "The structure through which VMM and CPU hand the guest to and fro", _rows(_VMCS))


def vmcb() -> Side:
    return Side("VMCB", "One page of memory that the CPU and the VMM both write", _rows(_VMCB))


def _rows(fields: tuple[tuple[str, str, str, str, SideMark, str], ...]) -> tuple[SideRow, ...]:
    return tuple(SideRow(*field) for field in fields)


def hypercalls() -> Side:
    rows = (
        SideRow("0", "set_trap_table", "1×", note="The kernel hands over its interrupt table."),
        SideRow("3", "stack_switch", "12×", "11×", SideMark.CURRENT, "Where ring 1 finds its stack."),
        SideRow("14", "update_va_mapping", "40×", note="One page table entry, checked by the VMM."),
    )
    return Side("Hypercalls", "What this kernel has asked the VMM for, so far", rows)
