import pytest

from ringviz.cli.names import known
from ringviz.errors import InputError


def test_a_known_name_is_given_back() -> None:
    assert known("format", "csv", ["plain", "csv"]) == "csv"


def test_an_unknown_name_is_refused_with_all_names_and_the_nearest() -> None:
    with pytest.raises(InputError, match=r'^format "cvs" unknown; choose one of plain, csv; did you mean "csv"\?$'):
        known("format", "cvs", ["plain", "csv"])


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(InputError, match=r'^format "xyz" unknown; choose one of plain, csv$'):
        known("format", "xyz", ["plain", "csv"])
