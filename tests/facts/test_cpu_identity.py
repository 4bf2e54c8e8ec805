"""What the CPUs say of themselves hangs together: vendor, family, name, and the features of their generation."""

import pytest

from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.cpu_identity import CPU_IDENTITIES
from ringviz.facts.cpuid_features import CPUID_FEATURES

FAMILY_MODEL_STEPPING = {
    "p4-672": (15, 4, 10),
    "core2": (6, 15, 6),
    "nehalem": (6, 26, 4),
    "westmere": (6, 44, 2),
    "sandy-bridge": (6, 42, 7),
    "haswell": (6, 60, 3),
    "skylake": (6, 94, 3),
    "k8-revf": (15, 67, 3),
    "barcelona": (16, 2, 1),
}
VMX, SVM = 1 << 5, 1 << 2


def test_every_profile_has_one() -> None:
    assert list(CPU_IDENTITIES) == list(CPU_PROFILES)


@pytest.mark.parametrize("profile", CPU_IDENTITIES)
def test_signatures_decode_as_the_manuals_say(profile: str) -> None:
    identity = CPU_IDENTITIES[profile]
    assert (identity.family, identity.model, identity.stepping) == FAMILY_MODEL_STEPPING[profile]


@pytest.mark.parametrize("profile", CPU_IDENTITIES)
def test_vendor_and_name_are_the_makers(profile: str) -> None:
    identity = CPU_IDENTITIES[profile]
    intel = CPU_PROFILES[profile].vendor == "intel"
    assert identity.vendor == ("GenuineIntel" if intel else "AuthenticAMD")
    assert ("Intel(R)" in identity.brand) == intel
    assert ("AMD" in identity.brand) != intel
    assert len(identity.brand) < 48
    assert (identity.intel_descriptors is not None) == bool(identity.intel_caches) == intel
    assert (identity.amd_first_level is None) == intel


@pytest.mark.parametrize("profile", CPU_IDENTITIES)
def test_a_clock_in_the_name_is_the_clock_of_the_profile(profile: str) -> None:
    brand, hertz = CPU_IDENTITIES[profile].brand, CPU_PROFILES[profile].clock_hz
    if brand.endswith("GHz"):
        assert hertz is not None
        assert brand.endswith(f"{hertz / 1e9:.2f}GHz")


def test_cpus_with_virtualization_said_so() -> None:
    """The dumps are of CPUs with VMX or SVM; only the Pentium 4's is of one without, and its row says so."""
    for profile, identity in CPU_IDENTITIES.items():
        has_vmx, has_svm = bool(identity.basic_features[0] & VMX), bool(identity.extended_features[0] & SVM)
        features = CPU_PROFILES[profile].features
        if profile == "p4-672":
            assert "without VT-x" in identity.source.note
            assert not has_vmx
        else:
            assert has_vmx == ("vt-x" in features), profile
        assert has_svm == ("amd-v" in features), profile


def test_instruction_sets_came_when_they_came() -> None:
    def having(name: str) -> list[str]:
        row = CPUID_FEATURES[name]
        words = {
            (1, "ecx"): lambda cpu: cpu.basic_features[0],
            (1, "edx"): lambda cpu: cpu.basic_features[1],
            (7, "ebx"): lambda cpu: cpu.structured_features,
            (0x8000_0001, "ecx"): lambda cpu: cpu.extended_features[0],
            (0x8000_0001, "edx"): lambda cpu: cpu.extended_features[1],
        }
        return [id_ for id_, cpu in CPU_IDENTITIES.items() if words[row.leaf, row.register](cpu) >> row.bit & 1]

    everyone = list(CPU_IDENTITIES)
    assert having("sse3") == having("sse2") == having("nx") == everyone
    assert having("ssse3") == ["core2", "nehalem", "westmere", "sandy-bridge", "haswell", "skylake"]
    assert having("sse4_2") == ["nehalem", "westmere", "sandy-bridge", "haswell", "skylake"]
    assert having("popcnt") == ["nehalem", "westmere", "sandy-bridge", "haswell", "skylake", "barcelona"]
    assert having("aes") == ["westmere", "sandy-bridge", "haswell", "skylake"]
    assert having("bmi2") == having("movbe") == ["haswell", "skylake"]
    assert having("adx") == ["skylake"]
    assert having("sse4a") == ["barcelona"]
    assert having("mmxext") == ["k8-revf", "barcelona"]
    assert having("hypervisor") == []


def test_feature_bits_have_one_row_each() -> None:
    places = [(row.leaf, row.register, row.bit) for row in CPUID_FEATURES.values()]
    assert len(set(places)) == len(places)
