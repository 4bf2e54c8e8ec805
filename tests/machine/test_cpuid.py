"""A guest finds the CPU of the profile, and whatever it advertises runs on the emulated one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.cpu_identity import CPU_IDENTITIES
from ringviz.facts.cpuid_features import CPUID_FEATURES, CpuidFeature
from ringviz.facts.exceptions import Vector
from ringviz.machine.cpuid import XEN_NAME, Cpuid, hypervisor_cpuid, profile_cpuid
from ringviz.machine.machine import Machine
from ringviz.machine.state import EAX, ECX
from ringviz.machine.stops import BudgetSpent, Fault, SensitiveInsn
from tests.machine.guests import make_machine

EXTENDED, HYPERVISOR = 0x8000_0000, 0x4000_0000
FEATURE_WORDS = ((1, "ecx"), (1, "edx"), (7, "ebx"), (EXTENDED + 1, "ecx"), (EXTENDED + 1, "edx"))
REGISTERS = ("eax", "ebx", "ecx", "edx")
AMD_REPEATS = 0x0183_F3FF
"""Leaf 8000_0001h, EDX: the bits that AMD repeats from leaf 1."""
OSFXSR, NXE, EFER = 1 << 9, 1 << 11, 0xC000_0080

# One instruction for each feature, and what EAX and ECX hold before it.
ONE_OF_EACH = {
    "fpu": ("d9e8", 0, 0),  # fld1
    "de": ("0f22e0", 1 << 3, 0),  # mov cr4, eax
    "pse": ("0f22e0", 1 << 4, 0),
    "tsc": ("0f31", 0, 0),  # rdtsc
    "msr": ("0f32", 0, 0x174),  # rdmsr
    "pae": ("0f22e0", 1 << 5, 0),
    "cx8": ("0fc70b", 0, 0),  # cmpxchg8b [ebx]
    "apic": ("0f32", 0, 0x1B),  # rdmsr of the address of its registers
    "sep": ("0f34", 0, 0),  # sysenter
    "pge": ("0f22e0", 1 << 7, 0),
    "cmov": ("0f44c1", 0, 0),  # cmove eax, ecx
    "clflush": ("0fae3b", 0, 0),  # clflush [ebx]
    "mmx": ("0fefc0", 0, 0),  # pxor mm0, mm0
    "fxsr": ("0fae03", 0, 0),  # fxsave [ebx]
    "sse": ("0f58c1", 0, 0),  # addps xmm0, xmm1
    "sse2": ("660f58c1", 0, 0),  # addpd xmm0, xmm1
    "sse3": ("f20fd0c1", 0, 0),  # addsubps xmm0, xmm1
    "pclmulqdq": ("660f3a44c100", 0, 0),
    "ssse3": ("660f3800c1", 0, 0),  # pshufb xmm0, xmm1
    "sse4_1": ("660f3840c1", 0, 0),  # pmulld xmm0, xmm1
    "sse4_2": ("f20f38f1c1", 0, 0),  # crc32 eax, ecx
    "movbe": ("0f38f003", 0, 0),  # movbe eax, [ebx]
    "popcnt": ("f30fb8c1", 0, 0),  # popcnt eax, ecx
    "aes": ("660f38dcc1", 0, 0),  # aesenc xmm0, xmm1
    "bmi1": ("c4e270f2c2", 0, 0),  # andn eax, ecx, edx
    "bmi2": ("c4e37bf0c105", 0, 0),  # rorx eax, ecx, 5
    "adx": ("660f38f6c1", 0, 0),  # adcx eax, ecx
    "clflushopt": ("660fae3b", 0, 0),  # clflushopt [ebx]
    "nx": ("0f30", NXE, EFER),  # wrmsr
    "mmxext": ("0fdec1", 0, 0),  # pmaxub mm0, mm1
    "abm": ("f30fbdc1", 0, 1),  # lzcnt eax, ecx
    "sse4a": ("f20f79c1", 0, 0),  # insertq xmm0, xmm1
}


def cpuid_of(profile: str) -> Cpuid:
    return profile_cpuid(CPU_PROFILES[profile])


def word(cpuid: Cpuid, leaf: int, register: str) -> int:
    return cpuid(leaf, 0)[REGISTERS.index(register)]


def advertised(cpuid: Cpuid) -> Iterator[CpuidFeature]:
    for row in CPUID_FEATURES.values():
        if word(cpuid, row.leaf, row.register) >> row.bit & 1:
            yield row


def text(words: tuple[int, ...]) -> str:
    return b"".join(value.to_bytes(4, "little") for value in words).decode("ascii")


def about_to_run(code: str, eax: int = 0, ecx: int = 0) -> Machine:
    machine = make_machine(bytes.fromhex(code))
    state = machine.state
    state.cr4, state.gpr[EAX], state.gpr[ECX] = OSFXSR, eax, ecx
    state.sysenter[0] = 8
    return machine


@pytest.mark.parametrize("profile", CPU_PROFILES)
def test_no_bit_is_set_that_has_no_name(profile: str) -> None:
    cpuid = cpuid_of(profile)
    for leaf, register in FEATURE_WORDS:
        named = sum(1 << row.bit for row in CPUID_FEATURES.values() if (row.leaf, row.register) == (leaf, register))
        if (leaf, register) == (EXTENDED + 1, "edx") and CPU_PROFILES[profile].vendor == "amd":
            repeated = word(cpuid, leaf, register) & AMD_REPEATS
            assert repeated == word(cpuid, 1, "edx") & AMD_REPEATS
            named |= AMD_REPEATS
        assert word(cpuid, leaf, register) & ~named == 0, f"{leaf:X}h {register}"


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_whatever_any_profile_advertises_runs(name: str) -> None:
    """Not #UD, and no other fault either: one instruction of the feature is carried out."""
    assert any(row.name == name for profile in CPU_PROFILES for row in advertised(cpuid_of(profile)))
    machine = about_to_run(*ONE_OF_EACH[name])
    stop = machine.run(1)
    if isinstance(stop, SensitiveInsn):
        eip = machine.state.eip
        machine.complete(stop)
        assert machine.state.eip != eip
    else:
        assert isinstance(stop, BudgetSpent), stop
    assert machine.retired == 1


def test_every_advertised_feature_has_an_instruction_above() -> None:
    names = {row.name for profile in CPU_PROFILES for row in advertised(cpuid_of(profile))}
    assert names == set(ONE_OF_EACH)


def test_an_instruction_that_the_cpu_does_not_have_is_not_one_that_runs() -> None:
    """The tests above can fail: 3DNow!, which every K8 had, is #UD here and therefore not advertised."""
    stop = about_to_run("0f0fc19e").run(1)  # pfadd mm0, mm1
    assert isinstance(stop, Fault)
    assert stop.vector == Vector.UD
    assert CPU_IDENTITIES["k8-revf"].extended_features[1] >> 31 & 1
    assert not word(cpuid_of("k8-revf"), EXTENDED + 1, "edx") >> 31 & 1


def test_lzcnt_counts_zeros_and_is_not_taken_for_bsr() -> None:
    machine = about_to_run("f30fbdc1", 0, 1)
    machine.run(1)
    assert machine.state.gpr[EAX] == 31


EVERYWHERE = "fpu de pse tsc msr pae cx8 apic sep pge cmov clflush mmx fxsr sse sse2 sse3 nx"
SHOWN = {
    "p4-672": "",
    "core2": "ssse3",
    "nehalem": "ssse3 sse4_1 sse4_2 popcnt",
    "westmere": "ssse3 sse4_1 sse4_2 popcnt pclmulqdq aes",
    "sandy-bridge": "ssse3 sse4_1 sse4_2 popcnt pclmulqdq aes",
    "haswell": "ssse3 sse4_1 sse4_2 popcnt pclmulqdq aes movbe bmi1 bmi2 abm",
    "skylake": "ssse3 sse4_1 sse4_2 popcnt pclmulqdq aes movbe bmi1 bmi2 abm adx clflushopt",
    "k8-revf": "mmxext",
    "barcelona": "mmxext popcnt abm sse4a",
}


@pytest.mark.parametrize("profile", CPU_PROFILES)
def test_a_guest_is_shown_the_same_features_on_every_host(profile: str) -> None:
    shown = {row.name for row in advertised(cpuid_of(profile))}
    assert shown == set(f"{EVERYWHERE} {SHOWN[profile]}".split())


@pytest.mark.parametrize("profile", CPU_PROFILES)
def test_a_guest_finds_vendor_signature_and_name(profile: str) -> None:
    cpuid, identity = cpuid_of(profile), CPU_IDENTITIES[profile]
    last, ebx, ecx, edx = cpuid(0, 0)
    assert text((ebx, edx, ecx)) == identity.vendor
    assert last == identity.max_basic_leaf
    assert cpuid(1, 0)[0] == identity.signature
    brand = text(cpuid(EXTENDED + 2, 0) + cpuid(EXTENDED + 3, 0) + cpuid(EXTENDED + 4, 0))
    assert brand.rstrip("\0") == identity.brand
    assert cpuid(EXTENDED, 0)[0] == identity.max_extended_leaf >= EXTENDED + 8


@pytest.mark.parametrize("profile", CPU_PROFILES)
def test_what_belongs_to_one_maker_is_found_on_its_cpus_only(profile: str) -> None:
    cpuid, is_amd = cpuid_of(profile), CPU_PROFILES[profile].vendor == "amd"
    nothing = (0, 0, 0, 0)
    assert (cpuid(2, 0) == nothing) == is_amd
    assert (cpuid(4, 0) == nothing) == is_amd
    assert (cpuid(EXTENDED + 5, 0) != nothing) == is_amd
    assert (cpuid(EXTENDED, 0)[1:] == cpuid(0, 0)[1:]) == is_amd
    assert cpuid(EXTENDED + 1, 0)[0] == (CPU_IDENTITIES[profile].signature if is_amd else 0)


@pytest.mark.parametrize("profile", CPU_PROFILES)
def test_there_is_one_cpu_without_what_this_machine_has_not(profile: str) -> None:
    cpuid = cpuid_of(profile)
    assert cpuid(1, 0)[1] == 0x800  # CLFLUSH lines of 64 bytes; one logical CPU, APIC id 0
    absent_ecx = {"monitor": 3, "vmx": 5, "cmpxchg16b": 13, "x2apic": 21, "xsave": 26, "avx": 28, "hypervisor": 31}
    for name, bit in absent_ecx.items():
        assert not cpuid(1, 0)[2] >> bit & 1, name
    for name, bit in {"mce": 7, "mtrr": 12, "mca": 14, "ht": 28}.items():
        assert not cpuid(1, 0)[3] >> bit & 1, name
    for name, bit in {"lahf in long mode": 0, "svm": 2}.items():
        assert not cpuid(EXTENDED + 1, 0)[2] >> bit & 1, name
    for name, bit in {"syscall": 11, "1 GiB pages": 26, "rdtscp": 27, "long mode": 29}.items():
        assert not cpuid(EXTENDED + 1, 0)[3] >> bit & 1, name
    for leaf in (3, 5, 6, 8, 9, 0xA, 0xB, 0xC, 0xD, 0x14, 0x15, 0x16, EXTENDED + 7, EXTENDED + 0xA, HYPERVISOR):
        assert cpuid(leaf, 0) == (0, 0, 0, 0), f"{leaf:X}h"
    assert cpuid(EXTENDED + 8, 0)[0] == 0x2024  # 36 bits of physical and 32 of linear addresses


@pytest.mark.parametrize("profile", CPU_PROFILES)
def test_leaves_beyond_the_last_are_empty_and_sub_leaves_end(profile: str) -> None:
    cpuid, identity = cpuid_of(profile), CPU_IDENTITIES[profile]
    for leaf in (identity.max_basic_leaf + 1, identity.max_extended_leaf + 1, 0x1000_0000, 0xFFFF_FFFF):
        assert cpuid(leaf, 0) == (0, 0, 0, 0)
    # An Intel CPU repeats its last basic leaf there: that one is empty, so the two rules agree.
    if CPU_PROFILES[profile].vendor == "intel":
        assert cpuid(identity.max_basic_leaf, 0) == (0, 0, 0, 0)
    caches = [cpuid(4, number) for number in range(len(identity.intel_caches) + 1)]
    assert all(cache[0] & 0x1F for cache in caches[:-1])
    assert caches[-1] == (0, 0, 0, 0)
    assert all(cache[0] >> 14 == 0 for cache in caches)  # shared with nobody
    if identity.max_basic_leaf < 7:
        assert cpuid(7, 0) == (0, 0, 0, 0)
    assert cpuid(7, 1) == (0, 0, 0, 0)
    assert cpuid(1, 7) == cpuid(1, 0)  # this leaf does not look at ECX


def test_caches_have_the_sizes_that_the_cpus_were_sold_with() -> None:
    def sizes(profile: str) -> list[int]:
        found = []
        for number in range(5):
            eax, ebx, ecx, _ = cpuid_of(profile)(4, number)
            if eax & 0x1F:
                found.append(((ebx >> 22) + 1) * ((ebx >> 12 & 0x3FF) + 1) * ((ebx & 0xFFF) + 1) * (ecx + 1) >> 10)
        return found

    assert sizes("p4-672") == [16, 2048]
    assert sizes("core2") == [32, 32, 4096]
    assert sizes("nehalem") == sizes("sandy-bridge") == sizes("haswell") == sizes("skylake") == [32, 32, 256, 8192]
    assert sizes("westmere") == [32, 32, 256, 12288]


def test_a_vmm_that_says_that_it_is_there_changes_nothing_else() -> None:
    inner = cpuid_of("nehalem")
    outer = hypervisor_cpuid(inner)
    assert outer(1, 0) == (*inner(1, 0)[:2], inner(1, 0)[2] | 1 << 31, inner(1, 0)[3])
    last, *name = outer(HYPERVISOR, 0)
    assert last == HYPERVISOR + 1
    assert text(tuple(name)) == "RingvizVMM  "
    assert outer(HYPERVISOR + 1, 0) == (0, 0, 0, 0)
    for leaf in (*range(2, 0x18), HYPERVISOR + 2, *range(EXTENDED, EXTENDED + 0x20)):
        for subleaf in range(5):
            assert outer(leaf, subleaf) == inner(leaf, subleaf)


def test_xen_has_its_name_and_its_version() -> None:
    outer = hypervisor_cpuid(cpuid_of("p4-672"), XEN_NAME, 2 << 16)
    # The three words of the public header.
    assert outer(HYPERVISOR, 0) == (HYPERVISOR + 1, 0x566E6558, 0x65584D4D, 0x4D4D566E)
    assert outer(HYPERVISOR + 1, 0) == (2 << 16, 0, 0, 0)


@pytest.mark.parametrize("name", ["", "short", "thirteen long", "elf Zeichen\xdf"])
def test_a_vmms_name_is_twelve_letters(name: str) -> None:
    with pytest.raises(ValueError, match="12 letters of ASCII"):
        hypervisor_cpuid(cpuid_of("p4-672"), name)
