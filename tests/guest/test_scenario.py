"""Scenario folders: what is read from a good one, and the one line that a broken one gets."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from ringviz.errors import InputError, ScenarioError
from ringviz.guest import ImageFormat, Level, find_scenario, list_scenarios, load_scenario
from ringviz.guest.scenario import FOLDERS_VARIABLE
from tests.guest.folders import TOML, make_folder

SHIPPED_IDS = {"hello-serial", "rings-tour", "syscall-roundtrip", "popf-hole", "paging-tour"}


def test_a_folder_is_read_as_written(tmp_path: Path) -> None:
    scenario = load_scenario(make_folder(tmp_path, name="my-guest"))
    assert scenario.id == "my-guest"
    assert scenario.path == tmp_path.resolve() / "my-guest"
    assert (scenario.title, scenario.summary, scenario.level) == ("A title", "A summary.", Level.BEGINNER)
    assert scenario.guest.format is ImageFormat.MULTIBOOT
    assert scenario.guest.memory_bytes == 16 << 20
    assert scenario.limits.instructions == 1000
    assert (scenario.guest.load, scenario.guest.entry, scenario.guest.start) == (None, None, None)
    assert scenario.requires == frozenset()
    assert scenario.symbols_path.name == "guest.sym"


def test_a_guest_that_turns_paging_on_says_so(tmp_path: Path) -> None:
    toml = TOML.replace("memory_mib = 16", "memory_mib = 16\npaging = true")
    assert load_scenario(make_folder(tmp_path, toml)).requires == {"paging"}


def test_a_flat_guest_has_load_entry_and_start(tmp_path: Path) -> None:
    flat = 'format = "flat"\nload = 0x8000\nentry = 0x8010\nstart = "real"'
    guest = load_scenario(make_folder(tmp_path, TOML.replace('format = "multiboot"', flat))).guest
    assert (guest.load, guest.entry, guest.start) == (0x8000, 0x8010, "real")


BROKEN = {
    "nothing in it": ("", "schema: missing, expected a whole number"),
    "not TOML": ("title = \n", "not TOML: Invalid value (at line 1, column 9)"),
    "duplicate key": (TOML + "instructions = 2\n", "not TOML: Cannot overwrite a value"),
    "future schema": (TOML.replace("schema = 1", "schema = 2"), "schema: found 2, expected 1"),
    "schema as text": (
        TOML.replace("schema = 1", 'schema = "1"'),
        'schema: found "1", expected a whole number',
    ),
    "schema as bool": (TOML.replace("schema = 1", "schema = true"), "schema: found true, expected a whole number"),
    "no title": (TOML.replace('title = "A title"\n', ""), "title: missing, expected one line of printable text"),
    "empty title": (TOML.replace("A title", " "), 'title: found " ", expected one line of printable text'),
    "escape sequence in the title": (
        TOML.replace("A title", "\\u001b[2J"),
        'title: found "?[2J", expected one line of printable text',
    ),
    "two lines of summary": (TOML.replace("A summary.", "a\\nb"), "summary: found"),
    "unknown level": (
        TOML.replace('"beginner"', '"begginer"'),
        'level: found "begginer", expected one of beginner, intermediate, advanced; did you mean "beginner"?',
    ),
    "mistyped key": (
        TOML.replace("memory_mib", "memory_mb"),
        "guest.memory_mb: unknown key, expected source, image, format, memory_mib, load, entry, start, paging,"
        " long, svm, paravirt, disk, disk2, input, keys, balloon;"
        ' did you mean "memory_mib"?',
    ),
    "mistyped table": (
        TOML.replace("[limits]", "[limit]"),
        'limit: unknown key, expected schema, title, summary, level, guest, leftovers, limits; did you mean "limits"?',
    ),
    "key in the wrong table": (
        TOML.replace("schema = 1", "schema = 1\nmemory_mib = 16"),
        "memory_mib: unknown key, expected schema, title, summary, level, guest, leftovers, limits;"
        " it belongs in guest.memory_mib",
    ),
    "table as a number": ("guest = 3\n", "guest: found 3, expected a table: [guest]"),
    "table as a list": (TOML.replace("[guest]", "[[guest]]"), "guest: found a list, expected a table: [guest]"),
    "no limits": (TOML.split("[limits]")[0], "limits.instructions: missing, expected a whole number"),
    "no instructions at all": (TOML.replace("1_000", "0"), "limits.instructions: found 0, expected a number from 1"),
    "unknown format": (
        TOML.replace('"multiboot"', '"multibot"'),
        'guest.format: found "multibot", expected one of multiboot, bootsector, flat; did you mean "multiboot"?',
    ),
    "no memory": (
        TOML.replace("memory_mib = 16", "memory_mib = 0"),
        "guest.memory_mib: found 0, expected a number from 1 to 256",
    ),
    "too much memory": (TOML.replace("= 16", "= 257"), "guest.memory_mib: found 257, expected a number from 1 to 256"),
    "memory as a float": (TOML.replace("= 16", "= 1.5"), "guest.memory_mib: found 1.5, expected a whole number"),
    "load without flat": (
        TOML.replace("memory_mib = 16", "memory_mib = 16\nload = 0"),
        'guest.load: given for format "multiboot", expected only with flat',
    ),
    "flat without load": (
        TOML.replace('"multiboot"', '"flat"'),
        "guest.load: missing, expected a whole number",
    ),
    "flat with unknown start": (
        TOML.replace('"multiboot"', '"flat"\nload = 0\nentry = 0\nstart = "unreal"'),
        'guest.start: found "unreal", expected one of real, protected, long; did you mean "real"?',
    ),
    "paging as a word": (
        TOML.replace("memory_mib = 16", 'memory_mib = 16\npaging = "yes"'),
        'guest.paging: found "yes", expected true or false',
    ),
    "image outside the folder": (
        TOML.replace('"guest.bin"', '"../guest.bin"'),
        'guest.image: found "../guest.bin", expected the name of a file in the same folder',
    ),
    "image is the folder": (TOML.replace('"guest.bin"', '"."'), 'guest.image: found ".", expected the name of a file'),
    "image that is not there": (
        TOML.replace('"guest.bin"', '"guset.bin"'),
        'guest.image: found "guset.bin", expected a file in the same folder; did you mean "guest.bin"?',
    ),
    "source that is not there": (
        TOML.replace('"guest.asm"', '"x.asm"'),
        'guest.source: found "x.asm", expected a file',
    ),
    "far too long a name": (TOML.replace('"guest.asm"', '"' + "x" * 5000 + '"'), "guest.source: found"),
    "image over the source": (
        TOML.replace('"guest.bin"', '"guest.asm"'),
        'guest.image: found "guest.asm", expected three different names for the source, the image and its symbols',
    ),
    "symbols over the image": (
        TOML.replace('"guest.bin"', '"guest.SYM"'),
        'guest.image: found "guest.SYM", expected three',
    ),
    "symbols over the source": (
        TOML.replace('"guest.asm"', '"guest.sym"'),
        'guest.image: found "guest.bin", expected three',
    ),
    "nested for ever": ("a = " + "[" * 20000, "not TOML"),
}


@pytest.mark.parametrize(("toml", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_scenario_gets_one_line_with_file_key_and_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(make_folder(tmp_path, toml))
    message = str(caught.value)
    assert message.startswith(f"made/scenario.toml: {expected}")
    assert message.isprintable()
    assert len(message) < 300


def test_a_folder_whose_image_is_still_to_be_built_can_be_loaded_by_whoever_asks_for_that(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "guest.bin").unlink()
    with pytest.raises(ScenarioError, match=r'guest\.image: found "guest\.bin", expected a file in the same folder'):
        load_scenario(folder)
    assert load_scenario(folder, is_built=False).image_path == folder.resolve() / "guest.bin"


def test_a_source_is_needed_even_to_build(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "guest.asm").unlink()
    with pytest.raises(ScenarioError, match=r'guest\.source: found "guest\.asm"'):
        load_scenario(folder, is_built=False)


def test_bytes_that_are_not_utf_8_get_one_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "scenario.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(ScenarioError, match=r"scenario\.toml: byte 9 is not UTF-8$"):
        load_scenario(folder)


def test_a_hypervisor_is_a_32_bit_guest(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, TOML.replace("memory_mib", "svm = true\nlong = true\nmemory_mib"))
    with pytest.raises(ScenarioError, match=r"guest\.svm: found true, expected false where guest\.long is true"):
        load_scenario(folder)


def test_an_enormous_scenario_file_is_not_read(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, TOML + "#" * (1 << 20))
    with pytest.raises(ScenarioError, match=r"larger than 1,048,576 bytes"):
        load_scenario(folder)


def test_a_folder_without_scenario_file_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"scenario\.toml: no such file$"):
        load_scenario(tmp_path)


def test_the_shipped_scenarios_are_listed_easiest_first() -> None:
    scenarios = list_scenarios()
    assert {scenario.id for scenario in scenarios} >= SHIPPED_IDS
    ranks = [list(Level).index(scenario.level) for scenario in scenarios]
    assert ranks == sorted(ranks)


def test_only_the_paging_tour_of_the_shipped_scenarios_needs_paging() -> None:
    assert {name for name in SHIPPED_IDS if find_scenario(name).requires} == {"paging-tour"}


def test_a_scenario_is_found_by_id_and_by_folder(tmp_path: Path) -> None:
    assert find_scenario("rings-tour").id == "rings-tour"
    assert find_scenario(str(make_folder(tmp_path))).id == "made"


def test_an_unknown_id_names_the_nearest_one() -> None:
    with pytest.raises(
        InputError,
        match=r'scenario "rigns-tour" unknown; choose one of the \d+ in `ringviz list`; did you mean "rings-tour"\?$',
    ):
        find_scenario("rigns-tour")


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "\x1b[2J", "//", "~"])
def test_a_name_that_could_be_no_path_gets_one_line_too(name: str) -> None:
    with pytest.raises(InputError) as caught:
        find_scenario(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_folder_that_is_no_scenario_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no scenario\.toml in this folder$"):
        find_scenario(str(tmp_path))


def test_the_variable_adds_folders_and_their_scenarios_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, name="mine")
    own_tour = make_folder(tmp_path, name="rings-tour")
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    assert find_scenario("mine").title == "A title"
    assert find_scenario("rings-tour").path == own_tour.resolve()
    assert {"mine", "popf-hole"} <= {scenario.id for scenario in list_scenarios()}


def test_a_variable_that_names_no_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ScenarioError, match=r"^RINGVIZ_SCENARIOS: found .*nowhere\", expected a folder that exists$"):
        list_scenarios()


def test_in_an_installed_package_the_scenarios_are_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_scenarios").mkdir()
    make_folder(tmp_path / "_scenarios", name="packed")
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    assert [scenario.id for scenario in list_scenarios()] == ["packed"]


def test_a_folder_of_scenarios_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ScenarioError, match=r"scenarios: cannot be read: Permission denied$"):
        list_scenarios()


def test_one_broken_folder_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, "", name="broken")
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    errors: list[ScenarioError] = []
    assert {scenario.id for scenario in list_scenarios(errors.append)} >= SHIPPED_IDS
    assert [str(error).split(": ", 1)[1] for error in errors] == ["schema: missing, expected a whole number"]
    with pytest.raises(ScenarioError):
        list_scenarios()
