"""`ringviz whatif`: other prices and rates, and the verdict in words."""

from tests.cli.program import one_complaint, ringviz, valid_json

ARGUMENTS = ("whatif", "rings-tour", "-t", "binary-translation", "-t", "vt-x/shadow", "--cpu", "core2")
FREE = ("--set", "vmm-work=0", "--set", "vmread=0", "--set", "vmwrite=0")
"""With a VMM that does its work for nothing, the exits alone decide."""


def test_the_verdict_and_the_break_even_of_the_text_are_those_of_the_json() -> None:
    value = valid_json(ringviz(*ARGUMENTS, *FREE, "--set", "exit=x2", "--json").stdout, "whatif")
    result = ringviz(*ARGUMENTS, *FREE, "--set", "exit=x2")
    assert (result.returncode, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    assert value["changes"] == {"exit": 2 * 1579, "vmm-work": 0, "vmread": 0, "vmwrite": 0}
    assert "exit: 3,158 cycles instead of 1,579" in text
    assert f"{value['standings'][0]['technique']}" in text.partition("costs least")[0].rpartition("×")[2]
    for standing in value["standings"]:
        assert f"{standing['cycles']:,}" in text
    exits = value["knobs"][0]
    assert (exits["id"], exits["known"], exits["value"]) == ("exit", 1579, 3158)
    (pairing,) = exits["break_even"]
    assert pairing["below"] == "vt-x, shadow"
    assert pairing["above"] == "binary-translation"
    assert f"cost the same at {round(pairing['value'], 2):,}" in text
    assert "modelled" in ringviz(*ARGUMENTS).stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_price_of_a_page_walk_can_be_set_where_walks_are_counted() -> None:
    named = ("-t", "vt-x/nested", "-t", "vt-x/shadow")
    arguments = ("whatif", "paging-tour", *named, "--set", "walk-reference=30", "--json")
    value = valid_json(ringviz(*arguments).stdout, "whatif")
    assert [knob["id"] for knob in value["knobs"]] == ["exit", "tlb-misses", "page-table-writes", "walk-reference"]
    assert all(standing["cycles"] > standing["cycles_before"] for standing in value["standings"])


def test_what_is_no_price_and_no_rate_is_refused_in_one_line() -> None:
    assert 'did you mean "exit"?' in one_complaint(ringviz(*ARGUMENTS, "--set", "exti=5"))
    assert "expected interrupts=xFACTOR" in one_complaint(ringviz(*ARGUMENTS, "--set", "interrupts=5"))
