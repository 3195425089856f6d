"""Registries: lookup by name, with parameters in brackets."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from gpubp._core.names import ABOVE_0, Parametric, Range, canonical_name, look_up, near_miss, unknown
from gpubp.errors import DataError


class Entry(NamedTuple):
    numbers: tuple[float, ...]


ENTRIES = {
    "plain": Entry(()),
    "leaky": Parametric(lambda slope=0.25: Entry((slope,)), {"slope": ABOVE_0}),
    "pair": Parametric(
        lambda q=0.5, width=1.0: Entry((q, width)), {"q": Range(0, 1), "width": Range(0, 1, includes_high=False)}
    ),
    "many": Parametric(lambda *sizes: Entry(sizes), {"sizes": Range(1, integer=True)}),
}


@pytest.mark.parametrize(
    ("text", "numbers", "canonical"),
    [
        ("plain", (), "plain"),
        ("  plain ", (), "plain"),
        ("leaky", (0.25,), "leaky"),
        ("leaky(0.25)", (0.25,), "leaky"),
        ("leaky(2)", (2.0,), "leaky(2)"),
        ("leaky(2.0)", (2.0,), "leaky(2)"),
        ("leaky( 1e-3 )", (1e-3,), "leaky(0.001)"),
        (" leaky (0.5) ", (0.5,), "leaky(0.5)"),
        ("leaky(slope=0.5)", (0.5,), "leaky(0.5)"),
        ("leaky( slope = 0.50 )", (0.5,), "leaky(0.5)"),
        ("pair(0.1)", (0.1, 1.0), "pair(0.1)"),
        ("pair(width=0.3)", (0.5, 0.3), "pair(0.5,0.3)"),
        ("pair(0.1, 0)", (0.1, 0.0), "pair(0.1,0)"),
        ("pair(0.1, width=0)", (0.1, 0.0), "pair(0.1,0)"),
        ("pair(width=0, q=1)", (1.0, 0.0), "pair(1,0)"),
        ("many", (), "many"),
        ("many(3, 4)", (3, 4), "many(3,4)"),
        ("many(3.0)", (3,), "many(3)"),
    ],
)
def test_name_and_arguments(text, numbers, canonical):
    assert look_up("entry", text, ENTRIES) == Entry(numbers)
    assert canonical_name("entry", text, ENTRIES) == canonical
    assert canonical_name("entry", canonical, ENTRIES) == canonical
    assert look_up("entry", canonical, ENTRIES) == Entry(numbers)


def test_an_entry_without_parameters_is_returned_unchanged():
    assert look_up("entry", "plain", ENTRIES) is ENTRIES["plain"]


@pytest.mark.parametrize("text", ["", "Plain", "2", "plain(", "leaky)", "leaky(1)(2)", "le aky", None, 3, ["plain"]])
def test_a_value_that_is_not_text_raises(text):
    with pytest.raises(DataError, match="entry must be a name such as 'plain', got"):
        look_up("entry", text, ENTRIES)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(
        DataError, match=r"unknown entry 'leeky' \(did you mean 'leaky'\?\); known: plain, leaky, pair, many"
    ):
        look_up("entry", "leeky(0.5)", ENTRIES)


def test_unknown_name_without_a_near_miss():
    assert unknown("entry", "zzz", ENTRIES) == "unknown entry 'zzz'; known: plain, leaky, pair, many"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("area (m3)", ["area (m2)", "area (ft2)", "town"], " (did you mean 'area (m2)' or 'area (ft2)'?)"),
        ("height (cn)", ["height (cm)", "height (in)"], " (did you mean 'height (in)' or 'height (cm)'?)"),
        ("parametrik", ["selu", "parametric(NAME)"], " (did you mean 'parametric(NAME)'?)"),
        ("alpha", ["x", "l2"], ""),
    ],
)
def test_names_of_columns_are_compared_whole(name, known, hint):
    assert near_miss(name, known) == hint


def test_a_parameter_for_an_entry_that_takes_none():
    with pytest.raises(DataError, match=r"entry 'plain' takes no parameters, got 'plain\(2\)'"):
        look_up("entry", "plain(2)", ENTRIES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leaky()", "leaky's slope must be a finite number, got ''"),
        ("leaky(x)", "leaky's slope must be a finite number, got 'x'"),
        ("leaky(nan)", "leaky's slope must be a finite number, got 'nan'"),
        ("leaky(1e999)", "leaky's slope must be a finite number, got '1e999'"),
        ("leaky(slope=inf)", "leaky's slope must be a finite number, got 'inf'"),
        ("leaky(0)", "leaky's slope must be above 0, got 0"),
        ("leaky(slope=-1)", "leaky's slope must be above 0, got -1"),
        ("leaky(1, 2)", "leaky takes 1 parameter, slope; got 'leaky(1, 2)'"),
        ("leaky(slop=1)", "unknown parameter of leaky 'slop' (did you mean 'slope'?); known: slope"),
        ("leaky(slope=1, slope=2)", "leaky takes slope once, got 'leaky(slope=1, slope=2)'"),
        ("pair(2)", "pair's q must be between 0 and 1, got 2"),
        ("pair(q=-0.1)", "pair's q must be between 0 and 1, got -0.1"),
        ("pair(0.5, 1)", "pair's width must be from 0 to below 1, got 1"),
        ("pair(0.5, q=0.5)", "pair takes q once, got 'pair(0.5, q=0.5)'"),
        ("pair(1, 0, 1)", "pair takes 2 parameters, q, width; got 'pair(1, 0, 1)'"),
        ("many(3, 1.5)", "many's sizes must be a whole number, 1 or more, got 1.5"),
        ("many(0)", "many's sizes must be a whole number, 1 or more, got 0"),
        ("many(" + "1," * 10**5 + ")", "many's sizes must be a finite number, got ''"),
    ],
)
def test_arguments_outside_their_range(text, message):
    with pytest.raises(DataError) as raised:
        look_up("entry", text, ENTRIES)
    assert str(raised.value) == message


def test_messages_stay_short():
    for text in (
        "leaky(" + "9" * 10**5 + ")",
        "x" * 10**5 + "!",
        "leaky(" + "1," * 10**5 + ")",
        "plain(" + " " * 10**5 + ")",
    ):
        with pytest.raises(DataError) as raised:
            look_up("entry", text, ENTRIES)
        assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "words"),
    [
        (Range(0), (0, 1e300), (-1e-300, math.inf, math.nan, True, np.True_, np.array(True)), "0 or more"),
        (ABOVE_0, (5e-324, 1), (0, -1, math.inf), "above 0"),
        (Range(0, 1), (0, 0.5, 1), (-1, 1.5), "between 0 and 1"),
        (Range(0, 1, includes_high=False), (0, 0.5), (1,), "from 0 to below 1"),
        (Range(0, 1, includes_low=False), (0.5, 1), (0,), "above 0 and at most 1"),
        (Range(0, 1, includes_low=False, includes_high=False), (0.5,), (0, 1), "above 0 and below 1"),
        (Range(1, integer=True), (1, 2.0), (0, 1.5), "a whole number, 1 or more"),
    ],
)
def test_ranges(allowed, inside, outside, words):
    assert all(number in allowed for number in inside)
    assert not any(number in allowed for number in outside)
    assert str(allowed) == words
