from hypothesis import given
from hypothesis import strategies as st

from ringviz.cli.table import Column, table


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    lines = list(table((Column("Cause"), Column("Count", is_number=True)), [("trap", "1,234,567"), ("exit", "5")], 80))
    assert lines == [
        "Cause      Count",
        "trap   1,234,567",
        "exit           5",
    ]


def test_the_wrapping_column_takes_what_the_others_leave() -> None:
    columns = (Column("Id"), Column("Text", wraps=True), Column("N", is_number=True))
    assert list(table(columns, [("a", "one two three four", "1")], 18)) == [
        "Id  Text         N",
        "a   one two      1",
        "    three four",
    ]


def test_columns_that_wrap_share_the_room_and_a_narrow_one_leaves_its_rest_to_the_others() -> None:
    columns = (Column("Id"), Column("Here", wraps=True), Column("There", wraps=True))
    assert list(table(columns, [("a", "one two", "one two three four five")], 29)) == [
        "Id  Here     There",
        "a   one two  one two three",
        "             four five",
    ]
    same = "one two three"
    assert list(table(columns, [("a", same, same)], 26)) == [
        "Id  Here        There",
        "a   one two     one two",
        "    three       three",
    ]


def test_a_table_without_rows_is_its_titles() -> None:
    assert list(table((Column("A"), Column("B")), [], 80)) == ["A  B"]


@given(st.lists(st.text("abc -", max_size=200), max_size=5), st.integers(40, 200))
def test_no_line_is_longer_than_the_width(texts: list[str], width_cells: int) -> None:
    columns = (Column("Id"), Column("Text", wraps=True))
    rows = [(str(number), text) for number, text in enumerate(texts)]
    assert all(len(line) <= width_cells for line in table(columns, rows, width_cells))


@given(st.lists(st.text("abc", min_size=1, max_size=30), max_size=20))
def test_wrapping_loses_no_word(words: list[str]) -> None:
    lines = list(table((Column("Text", wraps=True),), [(" ".join(words),)], 30))
    assert " ".join(lines[1:]).split() == words
