import csv
import dataclasses
import io
import json

import pytest

from ringviz.engine.events import Change, Event
from ringviz.engine.view import Kind
from ringviz.export import TRACE_FORMATS, TraceEnd, TraceHead
from ringviz.record.event_record import FIELDS, event_record
from ringviz.record.made_with import MadeWith

END = TraceEnd(7531, 1234, "exit code 1")
HEAD = TraceHead(
    "rings-tour",
    "A tour",
    "amd-v",
    "AMD-V",
    "host mode",
    "nested",
    "AMD Opteron",
    "barcelona",
    (),
    MadeWith("a", "b", "c"),
)


def _event(**changed: object) -> Event:
    values: dict[str, object] = {
        "number": 3,
        "at": 1234,
        "address": 0x100040,
        "instruction": 'mov eax, [ebx] ; "x"',
        "kind": Kind.SILENT,
        "cause": "no trap",
        "rule": "IF is left alone where CPL > IOPL",
        "handler": "nobody",
        "action": "two\nlines, one comma",
        "cycles": None,
        "cost_cause": "silent",
        "changes": (Change("IF", "guest", "1", "0"), Change("EIP", "real", "100040", "100041")),
        "native_would": "IF = 0",
        "got": "IF = 1",
        "from_ring": 1,
        "to_ring": 1,
        "resume": 0x100041,
        "detail": (("EXITCODE", "7Bh"), ("EXITINFO1", "3F80010h")),
    }
    return Event(**(values | changed))  # type: ignore[arg-type]


def test_the_formats_are_known_by_their_own_names() -> None:
    assert list(TRACE_FORMATS) == ["plain", "jsonl", "csv", "trace"]
    assert all(name == trace_format.id for name, trace_format in TRACE_FORMATS.items())


def test_a_record_has_every_field_in_order_and_as_plain_values() -> None:
    record = event_record(_event())
    assert list(record) == list(FIELDS)
    assert record["kind"] == "silent"
    assert record["changes"] == [
        {"name": "IF", "owner": "guest", "old": "1", "new": "0"},
        {"name": "EIP", "owner": "real", "old": "100040", "new": "100041"},
    ]
    assert record["detail"] == [{"name": "EXITCODE", "value": "7Bh"}, {"name": "EXITINFO1", "value": "3F80010h"}]


def test_nothing_that_an_event_has_is_left_out_of_its_record() -> None:
    assert set(FIELDS) == {field.name for field in dataclasses.fields(Event)}


def test_every_kind_of_event_is_named_where_the_field_is_described() -> None:
    described = FIELDS["kind"].replace(" or ", ", ").split(", ")
    assert described == [kind.value for kind in Kind if kind is not Kind.GUEST]


@pytest.mark.parametrize("cycles", [None, 0, 2030])
def test_jsonl_gives_one_line_that_reads_back_as_the_record(cycles: int | None) -> None:
    event = _event(cycles=cycles)
    line = TRACE_FORMATS["jsonl"].event(event)
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line) == event_record(event)
    assert TRACE_FORMATS["jsonl"].head(HEAD) == ""
    assert TRACE_FORMATS["jsonl"].end(END) == TRACE_FORMATS["csv"].end(END) == ""


def test_csv_reads_back_with_commas_quotes_and_line_ends_in_its_fields() -> None:
    text = TRACE_FORMATS["csv"].head(HEAD) + TRACE_FORMATS["csv"].event(_event())
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows[0] == list(FIELDS)
    row = dict(zip(FIELDS, rows[1], strict=True))
    assert row["instruction"] == 'mov eax, [ebx] ; "x"'
    assert row["action"] == "two\nlines, one comma"
    assert row["cycles"] == ""
    assert row["changes"] == "guest IF 1 -> 0; real EIP 100040 -> 100041"
    assert row["detail"] == "EXITCODE 7Bh; EXITINFO1 3F80010h"
    assert text.endswith("\r\n")


def test_the_story_names_the_guest_the_technique_and_where_the_vmm_sits() -> None:
    head = TRACE_FORMATS["plain"].head(HEAD)
    for words in ("A tour", "rings-tour", "AMD-V", "nested", "host mode", "modelled", "AMD Opteron"):
        assert words in head


def test_the_story_tells_an_event_in_one_line_of_words() -> None:
    line = TRACE_FORMATS["plain"].event(_event(action="nobody was told"))
    assert line.startswith("3. After 1,234 instructions: ")
    assert line.count("\n") == 1
    assert "\x1b" not in line


def test_the_story_has_an_end() -> None:
    assert TRACE_FORMATS["plain"].end(END) == ("\nThe end, after 7,531 instructions and 1,234 events: exit code 1.\n")
