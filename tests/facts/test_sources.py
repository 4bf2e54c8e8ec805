"""Every row of every table says where it comes from."""

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest

import ringviz.facts
from ringviz.facts.costs import CpuProfile
from ringviz.facts.source import Source, Status, Work, by
from ringviz.facts.sources import AA06, SDM3A, WORKS

MODULES = sorted(info.name for info in pkgutil.iter_modules(ringviz.facts.__path__, "ringviz.facts."))


def tables(module: ModuleType) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    for name, value in vars(module).items():
        if isinstance(value, MappingProxyType) and not name.startswith("_"):
            yield name, value


def rows() -> Iterator[tuple[str, Any]]:
    for module_name in MODULES:
        for table_name, table in tables(importlib.import_module(module_name)):
            for key, row in table.items():
                if isinstance(row, Work):
                    continue
                yield f"{module_name}.{table_name}[{key!r}]", row
                if isinstance(row, CpuProfile):
                    for cause, cost in row.costs.items():
                        yield f"{row.id}.{cause}", cost


ROWS = list(rows())


def test_the_tables_are_found() -> None:
    assert len(MODULES) >= 11
    assert len(ROWS) > 600


@pytest.mark.parametrize("module_name", MODULES)
def test_the_names_of_rows_are_not_blank(module_name: str) -> None:
    for where, row in ROWS:
        if where.startswith(f"{module_name}."):
            for attr in ("name", "title", "term", "text", "id", "cause"):
                assert getattr(row, attr, "x").strip(), where


def test_every_row_has_a_source_of_a_known_work_and_none_is_remembered() -> None:
    cites = {work.cite for work in WORKS.values()}
    for where, row in ROWS:
        source = row.source
        assert isinstance(source, Source), where
        assert source.status is not Status.REMEMBERED, where
        if source.work == "ringviz":
            assert source.status is Status.CHOSEN, where
            assert source.note, f"{where}: a number of our own says why"
        else:
            assert source.work in cites, where
            assert source.status is not Status.CHOSEN, where


def test_manuals_are_cited_by_section_title() -> None:
    manuals = {work.cite for work in WORKS.values() if work.status is Status.MANUAL}
    cited = [(where, row.source) for where, row in ROWS if row.source.work in manuals]
    assert len(cited) > 400
    for where, source in cited:
        assert source.status is Status.MANUAL, where
        assert source.section, where
        assert not re.match(r"\d+(\.\d+)*\.? (?!Emulation)", source.section), f"{where}: titles outlive numbers"


def test_computed_and_borrowed_rows_say_how() -> None:
    weak = [(where, row) for where, row in ROWS if row.source.status in (Status.COMPUTED, Status.BORROWED)]
    assert weak
    for where, row in weak:
        assert row.source.note, where


def test_work_keys_and_short_forms_are_unique() -> None:
    assert len({work.cite for work in WORKS.values()}) == len(WORKS)
    assert not any(work.status is Status.REMEMBERED for work in WORKS.values())


def test_a_source_reads_as_a_citation() -> None:
    assert str(SDM3A.at("Segment Descriptors")) == "Intel SDM Vol. 3A, Segment Descriptors"
    assert str(AA06.at("Table 1", note="P4")) == "Adams & Agesen 2006, Table 1 (P4)"
    assert str(Source.ringviz("because")) == "ringviz (because)"


def test_by_refuses_a_second_row_with_the_same_key() -> None:
    source = Source.ringviz("test")
    with pytest.raises(ValueError, match="two rows have work 'ringviz'"):
        by("work", source, Source.ringviz("other"))


def test_by_gives_a_read_only_table_in_the_order_given() -> None:
    table = by("note", Source.ringviz("b"), Source.ringviz("a"))
    assert list(table) == ["b", "a"]
    with pytest.raises(TypeError):
        table["c"] = Source.ringviz("c")  # type: ignore[index]


@pytest.mark.parametrize("module_name", MODULES)
def test_facts_import_the_standard_library_and_facts_only(module_name: str) -> None:
    path = Path(str(importlib.import_module(module_name).__file__))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names or name.startswith("ringviz.facts"), name
