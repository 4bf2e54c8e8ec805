import pytest

from tests.cli.program import one_complaint, ringviz, valid_json

LAZY = "0x300000"
"""The page of paging-tour that its handler brings."""
WAYS = (
    ("native", "none", 2),
    ("emulation", "shadow", 0),
    ("classic", "shadow", 2),
    ("trap-emulate", "shadow", 2),
    ("binary-translation", "shadow", 2),
    ("vt-x", "shadow", 2),
    ("vt-x", "nested", 14),
    ("amd-v", "shadow", 2),
    ("amd-v", "nested", 14),
)


@pytest.mark.parametrize(("technique", "mmu", "references"), WAYS)
def test_text_and_json_give_the_same_walk_under_every_technique(technique: str, mmu: str, references: int) -> None:
    arguments = ("walk", "paging-tour", LAZY, "-t", technique, "--mmu", mmu)
    walk = valid_json(ringviz(*arguments, "--json").stdout, "walk")
    assert (walk["technique"], walk["mmu"], walk["linear"], walk["references"]) == (
        technique,
        mmu,
        0x30_0000,
        references,
    )
    assert (walk["agreement"] is not None) == (mmu == "shadow" and technique != "emulation")
    result = ringviz(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert f"walk: {references}, if the TLB" in result.stdout or not references
    for one in walk["walks"]:
        assert one["count"] == len(one["reads"])
        assert one["arithmetic"] in result.stdout
        for entry in one["reads"]:
            assert f"{entry['value']:08X}" in result.stdout


def test_a_moment_is_a_step_an_address_or_a_symbol() -> None:
    def at(*when: str) -> tuple[int, int]:
        walk = valid_json(ringviz("walk", "paging-tour", LAZY, *when, "--json").stdout, "walk")
        return walk["position"], walk["references"]

    assert at("--at", "0") == at("--at", "start") == (0, 0)  # paging is off
    by_symbol = at("--at", "user_program")
    assert by_symbol == at("--at", str(by_symbol[0])) == at("--at", "0x101000") == at("--at", "101000h")
    assert 0 < by_symbol[0] < at()[0]


def test_the_page_that_is_not_there_yet_faults_and_under_a_vmm_is_hidden_first() -> None:
    arguments = ("walk", "paging-tour", LAZY, "--at", "user_program", "--write", "--user", "--json")
    native = valid_json(ringviz(*arguments).stdout, "walk")["walks"][0]
    assert (native["error_code"], native["host_physical"]) == (6, None)
    assert "the PTE has P = 0" in native["end"]
    shadow = valid_json(ringviz(*arguments, "-t", "classic").stdout, "walk")
    assert shadow["agreement"]["verdict"] == "agrees"
    kernel = valid_json(
        ringviz("walk", "paging-tour", "0x200000", "--at", "user_program", "-t", "classic", "--json").stdout, "walk"
    )
    assert kernel["agreement"]["verdict"] == "out of date"
    assert kernel["walks"][1]["guest_physical"] == 0x20_0000


def test_a_symbol_of_the_guest_names_the_address() -> None:
    text = ringviz("walk", "paging-tour", "page_table").stdout
    assert text.splitlines()[0].endswith("(page_table), read by the kernel")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("0x1ffffffff",), '"0x1ffffffff" is no linear address: expected 0x0 to 0xffffffff'),
        (("nowhere",), '"nowhere" is no linear address'),
        (("4096",), '"4096" is no linear address'),
        ((LAZY, "--at", "99999999"), "--at 99999999: the run ends after 12,048 instructions"),
        ((LAZY, "--at", "panic"), "--at panic: the guest never executes"),
        ((LAZY, "--at", "lunch"), '"lunch" is no linear address'),
        ((LAZY, "--write", "--fetch"), "--write and --fetch exclude each other"),
        ((LAZY, "-t", "native", "--mmu", "nested"), 'native has no --mmu "nested"'),
    ],
)
def test_wrong_input_is_one_line(arguments: tuple[str, ...], complaint: str) -> None:
    assert complaint in one_complaint(ringviz("walk", "paging-tour", *arguments))
