"""Profile files: what they say is what is charged, and what is wrong with one is said in one line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.errors import ProfileError
from ringviz.facts.costs import BUILT_IN_CPUS, CPU_PROFILES, PRICED, Cost, CpuProfile
from ringviz.facts.instruction_weights import CLASSES
from ringviz.facts.source import Status
from ringviz.machine.cpuid import profile_cpuid
from ringviz.machine.profile_file import PARTS, cpu_asked_for, load_profile, parse_profile
from ringviz.machine.profile_text import profile_toml

BASE = 'schema = 1\nbase = "p4-672"\n'
OWN = 'schema = 1\nvendor = "intel"\nyear = 2030\ntitle = "My CPU"\nfeatures = ["vt-x", "ept"]\n'
P4 = BUILT_IN_CPUS["p4-672"]


def read(text: str) -> CpuProfile:
    return parse_profile(text, "my.toml", "my.toml")


def costs(cells: str, base: str = BASE) -> CpuProfile:
    return read(f"{base}[costs]\n{cells}")


def printed(profile: CpuProfile) -> str:
    return "\n".join(profile_toml(profile))


@pytest.mark.parametrize("cpu", BUILT_IN_CPUS)
def test_every_profile_reads_back_with_the_same_prices_and_sources(cpu: str) -> None:
    profile = BUILT_IN_CPUS[cpu]
    again = read(printed(profile))
    assert again.costs == profile.costs
    assert (again.features, again.weights, again.tlb) == (profile.features, profile.weights, profile.tlb)
    assert (again.year, again.clock_hz, again.vendor) == (profile.year, profile.clock_hz, profile.vendor)
    assert again.id == "my.toml"
    assert again.title == f"{profile.title}, edited"


CELLS = st.one_of(
    st.integers(0, 10_000),
    st.just('"unknown"'),
    st.tuples(st.integers(0, 99), st.integers(100, 199), st.integers(200, 999)).map(
        lambda n: f'{{ cycles = {n[1]}, low = {n[0]}, high = {n[2]}, source = "a \\"lab\\"", note = "é" }}'
    ),
)
FREE = [cause for cause in PRICED if cause not in (*PARTS, "exit")]


@given(
    st.sampled_from(list(BUILT_IN_CPUS)),
    st.dictionaries(st.sampled_from(FREE), CELLS, max_size=8),
    st.none() | st.integers(0, 9999),
    st.dictionaries(st.sampled_from(list(CLASSES)), st.integers(0, 99_999), max_size=4),
)
def test_an_edited_profile_reads_back_as_it_is(
    cpu: str, cells: dict[str, object], exit_cycles: int | None, weights: dict[str, int]
) -> None:
    lines = [f"{cause} = {cell}" for cause, cell in cells.items()]
    lines += [] if exit_cycles is None else [f"exit = {exit_cycles}"]
    lines += ["[weights]", *(f"{name} = {weight // 100}.{weight % 100:02}" for name, weight in weights.items())]
    edited = costs("\n".join(lines), f'schema = 1\nbase = "{cpu}"\n')
    assert read(printed(edited)) == edited


@pytest.mark.parametrize("vendor", ["intel", "amd"])
def test_a_cpu_of_ones_own_borrows_what_it_does_not_say_and_reads_back(vendor: str) -> None:
    features = '"vt-x", "ept"' if vendor == "intel" else '"amd-v", "npt"'
    text = f'schema = 1\nvendor = "{vendor}"\nyear = 2030\ntitle = "My CPU"\nfeatures = [{features}]\n'
    own = costs("exit = 300\nwalk-reference = 100", text)
    assert set(own.costs) == set(PRICED)
    assert own.costs["exit"].cycles == 300
    assert own.costs["trap-emulate"].source.status is Status.BORROWED
    assert own.costs["trap-emulate"].lender == "P4 672"
    assert own.costs["nested-walk"].cycles == 65, "the second dimension of a CPU that has it is not free"
    assert own.costs["vm-entry"].cycles is None
    assert (own.costs["vmread"].cycles is None) == (vendor == "amd")
    assert read(printed(own)) == own
    assert profile_cpuid(own)(0, 0) == profile_cpuid(BUILT_IN_CPUS["p4-672" if vendor == "intel" else "k8-revf"])(0, 0)


def test_a_cell_of_the_files_is_yours_and_one_that_says_what_the_base_says_is_not() -> None:
    edited = costs(
        'trap-emulate = 2030\nvmwrite = 200\ntrace = { cycles = 900, low = 800, source = "lab", note = "n" }'
    )
    assert edited.costs["trap-emulate"] == P4.costs["trap-emulate"]
    vmwrite, trace = edited.costs["vmwrite"], edited.costs["trace"]
    assert (vmwrite.cycles, vmwrite.source.status, vmwrite.source.work) == (200, Status.YOURS, "my.toml")
    assert trace == Cost("trace", 900, 800, 900, trace.source, "n")
    assert str(trace.source) == "my.toml (lab)"
    unchanged = {cause for cause in PRICED if edited.costs[cause] == P4.costs[cause]}
    assert set(PRICED) - unchanged == {"vmwrite", "trace"}


def test_cells_that_are_computed_from_others_follow_them_unless_they_are_given() -> None:
    assert costs("vm-entry = 1000").costs["exit"].cycles == 1000 + 1931
    assert costs("vm-entry = 1000\nvm-exit = 10\nexit = 1010").costs["exit"].cycles == 1010
    assert costs("vmread = 50").costs["vmm-work"] == P4.costs["vmm-work"], "it is priced for itself"
    nehalem = 'schema = 1\nbase = "nehalem"\n'
    assert costs("walk-reference = 100", nehalem).costs["nested-walk"].cycles == 65
    assert costs("walk-reference = 100\nnested-walk = 3", nehalem).costs["nested-walk"].cycles == 3


def test_an_exit_that_is_given_whole_has_no_halves() -> None:
    edited = costs("exit = 500")
    assert [edited.costs[cause].cycles for cause in ("exit", "vm-entry", "vm-exit")] == [500, None, None]


def test_a_cpu_that_gets_nested_paging_by_its_file_pays_for_the_second_dimension() -> None:
    edited = read('schema = 1\nbase = "core2"\nfeatures = ["vt-x", "ept"]\n')
    assert P4.costs["nested-walk"].cycles is None
    assert edited.costs["nested-walk"].cycles is not None


def test_weights_are_exact_hundredths_and_the_tlb_is_the_files() -> None:
    edited = read(f"{BASE}[weights]\ncall = 2.25\nreturn = 5.5\n[tlb]\nentries = 128\n")
    assert edited.weights == {"call": 225}
    assert (edited.tlb.entries, edited.tlb.ways, edited.tlb.sets) == (128, 4, 32)
    assert edited.tlb.source.status is Status.YOURS


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "schema: missing, expected 1"),
        ("schema = 2", "schema: found 2, expected 1"),
        ("schema = true", "schema: found true, expected 1"),
        ("schema = 1\nbaze = 3", "baze: unknown key, expected schema, base, vendor,"),
        ("schema = 1\nbaze = 3", 'costs, weights, tlb; did you mean "base"?'),
        (
            'schema = 1\nbase = "p4-67"',
            'base: found "p4-67", expected one of p4-672, core2, nehalem, westmere, '
            'sandy-bridge, haswell, skylake, k8-revf, barcelona; did you mean "p4-672"?',
        ),
        ("schema = 1\nbase = 4", "base: found 4, expected one of p4-672,"),
        ("schema = 1", "features: missing, expected a list of features; without a base it must be given"),
        ('schema = 1\nvendor = "via"\nfeatures = []', 'vendor: found "via", expected one of intel, amd'),
        (f'{BASE}vendor = "intel"', "vendor: given together with base, expected only without"),
        (f"{BASE}year = 1900", "year: found 1900, expected a whole number from 1,978 to 9,999"),
        (f'{BASE}title = "a\\u001bb"', 'title: found "a?b", expected one line of printable text'),
        (f"{BASE}clock_hz = 3.8", "clock_hz: found 3.8, expected a whole number from 1 to"),
        (f'{BASE}features = "vt-x"', 'features: found "vt-x", expected a list of features'),
        (f'{BASE}features = ["vtx"]', 'features: found "vtx", expected one of vt-x, amd-v,'),
        (
            f'{BASE}features = ["vt-x", "amd-v"]',
            'features: found "amd-v" on a CPU of intel, expected only what its maker',
        ),
        (f'{BASE}features = ["ept"]', 'features: found "ept" alone, expected "vt-x" with it'),
        (
            f'{BASE}features = ["vt-x", "unrestricted-guest"]',
            'found "unrestricted-guest" alone, expected "ept" with it',
        ),
        (f"{BASE}costs = 1", "costs: found 1, expected a table: [costs]"),
        (f"{BASE}[costs]\nexti = 1", "costs.exti: unknown cause, expected one of native-port-io, "),
        (f"{BASE}[costs]\nexit = -5", "costs.exit: found -5, expected a whole number of cycles from 0 to 1,000"),
        (f"{BASE}[costs]\nexit = 1.5", "costs.exit: found 1.5, expected a whole number of cycles from 0 to"),
        (f"{BASE}[costs]\nexit = true", "costs.exit: found true, expected a whole number"),
        (f'{BASE}[costs]\nexit = "many"', 'costs.exit: found "many", expected a whole number'),
        (
            f"{BASE}[costs]\nexit = {{ cycle = 5 }}",
            "costs.exit.cycle: unknown key, expected cycles, low, high, source, note",
        ),
        (f"{BASE}[costs]\nexit = {{ low = 5 }}", "costs.exit.cycles: missing, expected a whole number of cycles"),
        (
            f"{BASE}[costs]\nexit = {{ cycles = 5, low = 6 }}",
            "costs.exit: found 6, 5, 5, expected low <= cycles <= high",
        ),
        (
            f"{BASE}[costs]\nexit = 5000\nvm-exit = 5",
            "costs.exit: found 5000, expected 2,414, which is vm-entry + vm-exit, or no exit",
        ),
        (
            f"{BASE}[costs]\nexit = 5000\nvm-exit = 1931",
            "costs.exit: given beside vm-exit, expected only one of the two",
        ),
        (
            'schema = 1\nbase = "nehalem"\n[costs]\nvm-exit = 5',
            "costs.vm-entry: unknown, expected a price beside that of the other half, or exit alone",
        ),
        (f"{BASE}[costs]\nguest-instruction = 1", "costs.guest-instruction: one price for all instructions, expected"),
        (f"{BASE}[weights]\ncal = 1", "weights.cal: unknown class, expected one of simple, load,"),
        (f"{BASE}[weights]\ncall = 1.005", "weights.call: found 1.005, expected cycles from 0 to 10,000,000, with two"),
        (f"{BASE}[weights]\ncall = -1", "weights.call: found -1, expected cycles from 0 to"),
        (f"{BASE}[weights]\ncall = nan", "weights.call: found NaN, expected cycles from 0 to"),
        (f"{BASE}[tlb]\nways = 3", "tlb.ways: found 3, expected a divisor of 64, the number of entries"),
        (f"{BASE}[tlb]\nentries = 0", "tlb.entries: found 0, expected a whole number from 1 to 65,536"),
        (f"{BASE}[costs", "not TOML: "),
        (f'{OWN}cpuid = "barcelona"', 'cpuid: found "barcelona", expected one of p4-672, core2,'),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_file_key_and_expectation(text: str, complaint: str) -> None:
    with pytest.raises(ProfileError) as error:
        read(text)
    assert str(error.value).startswith("my.toml: ")
    assert complaint in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("missing", ["vendor", "year", "title", "features"])
def test_a_cpu_of_ones_own_must_say_what_it_is(missing: str) -> None:
    text = "\n".join(line for line in OWN.splitlines() if not line.startswith(missing))
    with pytest.raises(
        ProfileError, match=f"my.toml: {missing}: missing, expected .*; without a base it must be given"
    ):
        read(text)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no such file"):
        load_profile(str(tmp_path / "none.toml"))
    with pytest.raises(ProfileError, match=r"ends in \.toml"):
        load_profile(str(tmp_path / "profile.txt"))
    (tmp_path / "latin.toml").write_bytes(b"title = '\xe9'")
    with pytest.raises(ProfileError, match="byte 9 is not UTF-8"):
        load_profile(str(tmp_path / "latin.toml"))
    (tmp_path / "huge.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ProfileError, match="larger than"):
        load_profile(str(tmp_path / "huge.toml"))


def test_an_id_stays_an_id() -> None:
    assert cpu_asked_for("nehalem") == "nehalem"
    assert cpu_asked_for("nehalm") == "nehalm"
    assert list(CPU_PROFILES)[: len(BUILT_IN_CPUS)] == list(BUILT_IN_CPUS)
