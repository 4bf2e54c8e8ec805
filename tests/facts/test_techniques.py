from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.techniques import TECHNIQUES

PROMISED = {
    "native": ("Bare metal", "no VMM"),
    "emulation": ("Full emulation", "a program above the CPU; no guest instruction runs directly"),
    "classic": ("Classically virtualizable (what if)", "ring 0, guest kernel in ring 1"),
    "trap-emulate": ("Trap-and-emulate on real x86", "ring 0, guest kernel in ring 1"),
    "binary-translation": ("Binary translation", "ring 0, translated kernel in ring 1, user code direct"),
    "paravirt": ("Paravirtualization", "ring 0, recompiled guest kernel in ring 1"),
    "vt-x": ("Intel VT-x", '"ring -1" = VMX root; guest kernel in ring 0 of non-root'),
    "amd-v": ("AMD-V", '"ring -1" = host mode; guest kernel in ring 0 of guest mode'),
}


def test_ids_titles_and_seats_are_those_that_scripts_rely_on() -> None:
    assert {row.id: (row.title, row.vmm_seat) for row in TECHNIQUES.values()} == PROMISED
    assert list(TECHNIQUES) == list(PROMISED)


def test_rings_agree_with_the_words() -> None:
    for row in TECHNIQUES.values():
        if row.vmm_ring == -1:
            assert row.vmm_seat.startswith('"ring -1"')
            assert row.guest_kernel_ring == 0
            assert "guest kernel in ring 0" in row.vmm_seat
        elif row.vmm_ring == 0:
            assert row.vmm_seat.startswith("ring 0")
            assert row.guest_kernel_ring == 1
            assert "kernel in ring 1" in row.vmm_seat
        else:
            assert row.id in ("native", "emulation")


def test_memory_virtualization_is_what_the_technique_allows() -> None:
    mmus = {row.id: row.mmus for row in TECHNIQUES.values()}
    assert mmus["native"] == ("none",)
    assert mmus["paravirt"] == ("direct",)
    assert set(mmus["vt-x"]) == set(mmus["amd-v"]) == {"nested", "shadow"}
    assert {mmus[id_] for id_ in ("emulation", "classic", "trap-emulate", "binary-translation")} == {("shadow",)}


def test_hardware_techniques_need_a_feature_that_some_cpu_has() -> None:
    needs = {row.id: row.needs_feature for row in TECHNIQUES.values() if row.needs_feature}
    assert needs == {"vt-x": "vt-x", "amd-v": "amd-v"}
    for feature in needs.values():
        assert any(feature in profile.features for profile in CPU_PROFILES.values())


def test_only_trap_and_emulate_on_real_x86_breaks_its_promise() -> None:
    assert [row.id for row in TECHNIQUES.values() if not row.promises_fidelity] == ["trap-emulate"]
