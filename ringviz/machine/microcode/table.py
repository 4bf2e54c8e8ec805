"""Which routine executes which instruction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ringviz.guest.instruction import Instruction
from ringviz.machine.microcode import control, flags, identity, ports, segments, svm, system_calls, tables, transfer
from ringviz.machine.microcode.canonical import faulting
from ringviz.machine.microcode.environment import Effect, Environment

Routine = Callable[[Environment, Instruction], Effect]

FORMS: Mapping[str, Routine] = MappingProxyType(
    {
        "cli": flags.cli,
        "sti": flags.sti,
        "pushf": flags.pushf,
        "popf": flags.popf,
        "lgdt": tables.lgdt,
        "lidt": tables.lidt,
        "lldt": tables.lldt,
        "ltr": tables.ltr,
        "sgdt": tables.sgdt,
        "sidt": tables.sidt,
        "sldt": tables.sldt,
        "str": tables.str_,
        "mov-to-cr": control.mov_to_cr,
        "mov-from-cr": control.mov_from_cr,
        "mov-to-dr": control.mov_to_dr,
        "mov-from-dr": control.mov_from_dr,
        "lmsw": control.lmsw,
        "smsw": control.smsw,
        "clts": control.clts,
        "invlpg": control.invlpg,
        "invd": control.flush_caches,
        "wbinvd": control.flush_caches,
        "cpuid": identity.cpuid,
        "rdtsc": identity.rdtsc,
        "rdpmc": identity.rdpmc,
        "rdmsr": identity.rdmsr,
        "wrmsr": identity.wrmsr,
        "hlt": identity.hlt,
        "sysenter": system_calls.sysenter,
        "sysexit": system_calls.sysexit,
        "rdtscp": identity.undefined,
        "rdrand": identity.undefined,
        "rdseed": identity.undefined,
        "syscall": system_calls.syscall,
        "sysret": system_calls.sysret,
        "swapgs": system_calls.swapgs,
        "clac": identity.undefined,
        "stac": identity.undefined,
        "monitor": identity.undefined,
        "mwait": identity.undefined,
        "xsetbv": identity.undefined,
        "vmrun": svm.vmrun,
        "vmload": svm.vmload,
        "vmsave": svm.vmsave,
        "stgi": svm.stgi,
        "clgi": svm.clgi,
        "skinit": identity.undefined,
        "invlpga": svm.invlpga,
        "in": ports.port_io,
        "out": ports.port_io,
        "ins": ports.port_io,
        "outs": ports.port_io,
        "mov-to-sreg": segments.mov_to_sreg,
        "mov-from-sreg": segments.mov_from_sreg,
        "push-sreg": segments.push_sreg,
        "pop-sreg": segments.pop_sreg,
        "load-far-pointer": segments.load_far_pointer,
        "lar": segments.lar,
        "lsl": segments.lsl,
        "verr": segments.verr,
        "verw": segments.verw,
        "iret": transfer.iret,
        "ret-far": transfer.ret_far,
        "jmp-far": transfer.jmp_far,
        "call-far": transfer.call_far,
    }
)
"""By form, as in `ringviz.facts.instructions`. INT n, INT3, INTO and INT1 go through `delivery` instead."""


@faulting
def execute(env: Environment, instruction: Instruction) -> Effect:
    """Execute one instruction on the state of `env`, EIP included.

    Raises:
        GuestFault: the instruction faults; registers are as before, but for what the manual says was done.
        PageFault: one of its memory accesses was refused; likewise.
        UnsupportedError: it asks for a hardware task switch.
        KeyError: no routine for this form.
    """
    assert instruction.form is not None
    return FORMS[instruction.form](env, instruction)
