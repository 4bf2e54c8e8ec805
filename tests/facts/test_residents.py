from ringviz.facts.residents import RESIDENTS
from ringviz.facts.techniques import TECHNIQUES


def test_every_technique_has_its_picture() -> None:
    assert list(RESIDENTS) == list(TECHNIQUES)


def test_pictures_agree_with_the_facts_about_the_techniques() -> None:
    for row in TECHNIQUES.values():
        picture = RESIDENTS[row.id]
        assert [ring for ring, who in picture.rings.items() if who == "VMM"] == (
            [] if row.vmm_ring is None else [row.vmm_ring]
        )
        kernels = [ring for ring, who in picture.rings.items() if who.endswith("OS") and who != "host OS"]
        assert kernels == ([] if row.guest_kernel_ring is None else [row.guest_kernel_ring])
        assert picture.guest_is_data == (row.guest_kernel_ring is None)


def test_only_hardware_assistance_has_two_modes_each_in_its_vendors_words() -> None:
    modes = {row.technique: (row.vmm_mode, row.guest_mode) for row in RESIDENTS.values() if row.vmm_mode}
    assert modes == {"vt-x": ("VMX root", "VMX non-root"), "amd-v": ("host mode", "guest mode")}
    for technique, (vmm_mode, _) in modes.items():
        assert vmm_mode in RESIDENTS[technique].lesson
        assert "not a CPL" in RESIDENTS[technique].lesson


def test_every_picture_says_what_it_is_there_to_teach_and_by_whose_word() -> None:
    for row in RESIDENTS.values():
        assert row.lesson.endswith((".", "?"))
        assert len(row.lesson) <= 34
        assert row.source.work
