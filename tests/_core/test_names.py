"""From text to the thing it names."""

from typing import NamedTuple

import pytest

from gpubp._core.names import look_up, unknown
from gpubp.errors import DataError


class Unit(NamedTuple):
    number: float


ENTRIES = {"plain": Unit(0.0), "leaky": lambda slope=0.25: Unit(slope)}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("plain", 0.0),
        ("  plain ", 0.0),
        ("leaky", 0.25),
        ("leaky(2)", 2.0),
        ("leaky( 1e-3 )", 1e-3),
        (" leaky (0.5) ", 0.5),
    ],
)
def test_name_with_or_without_a_number(text, number):
    assert look_up("unit", text, ENTRIES) == Unit(number)


def test_the_entry_itself_is_given_back():
    assert look_up("unit", "plain", ENTRIES) is ENTRIES["plain"]


@pytest.mark.parametrize("text", ["", "Plain", "2", "plain(", "leaky)", "leaky(1)(2)", "le aky", None, 3, ["plain"]])
def test_what_is_no_name(text):
    with pytest.raises(DataError, match="unit must be a name such as 'plain', got"):
        look_up("unit", text, ENTRIES)


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(DataError, match=r"unknown unit 'leeky' \(did you mean 'leaky'\?\); known: plain, leaky"):
        look_up("unit", "leeky(0.5)", ENTRIES)


def test_unknown_name_like_none_that_is_known():
    assert unknown("unit", "zzz", ENTRIES) == "unknown unit 'zzz'; known: plain, leaky"


def test_a_number_where_none_is_taken():
    with pytest.raises(DataError, match=r"unit 'plain' takes no number, got 'plain\(2\)'"):
        look_up("unit", "plain(2)", ENTRIES)


@pytest.mark.parametrize("number", ["", "x", "0", "-1", "nan", "inf", "1, 2", "1e999"])
def test_a_number_that_is_none(number):
    with pytest.raises(DataError, match="unit 'leaky' takes one finite positive number, got 'leaky"):
        look_up("unit", f"leaky({number})", ENTRIES)
